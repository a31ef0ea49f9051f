"""The relay's side of a WebSocket on the loop that the relay runs on."""

import asyncio
import contextlib
import gc
import socket
import ssl
import threading
import weakref

import pytest
import uvloop

from hanatalk.relay.certificates import self_signed
from hanatalk.transport.accepting import Accepted, Rooms, Served, listen
from hanatalk.transport.tls import Greeting, client_context
from hanatalk.wire.refusals import RefusalCode

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
SIZES = [5, 100, 8_192, 8_193, 60_000, 70_000, 300_000, 9_000, 1_000_000, 126, 20_000] * 14  # 20 MB: no socket takes it


written = threading.Event()
GUESTS = 20


class Talker:
    """Writes all its messages in one turn of the loop, as soon as somebody is there."""

    def __init__(self, socket: Accepted) -> None:
        self.gone_event = asyncio.Event()
        self.chokes: list[bool] = []
        self.socket = socket

    def talk(self) -> None:
        messages = [bytes([number]) * size for number, size in enumerate(SIZES)]
        self.socket.write(messages, rooms=Rooms(), last=False)
        self.socket.write([b"last"], rooms=Rooms(), last=True)
        written.set()

    def arrived(self, message: bytes) -> float:
        return 0.0

    def heard(self) -> None: ...

    def no_message(self, code: RefusalCode) -> None: ...

    def choked(self, choked: bool) -> None:
        self.chokes.append(choked)

    def gone(self) -> None:
        self.gone_event.set()


def _read_messages(port: int, into: list[bytes], tls: ssl.SSLContext | None) -> None:
    plain = socket.create_connection(("127.0.0.1", port))
    client = plain if tls is None else tls.wrap_socket(plain)
    with client, client.makefile("rb") as stream:
        client.sendall(HANDSHAKE)
        while stream.readline() != b"\r\n":
            pass
        written.wait(10)
        while True:
            kind, size = stream.read(2)
            if kind == 0x88:
                return
            assert kind == 0x82
            if size == 126:
                size = int.from_bytes(stream.read(2), "big")
            elif size == 127:
                size = int.from_bytes(stream.read(8), "big")
            into.append(stream.read(size))


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_what_is_written_in_one_turn_arrives_whole_and_in_order(tls: bool) -> None:
    """HT-R-010: small and large messages, more than the socket takes at once, nothing overwritten while it waits."""
    shown = self_signed(None)
    greeting, trusting = Greeting(shown.pem).context if tls else None, client_context(shown.pin) if tls else None
    written.clear()
    received: list[bytes] = []
    talkers: list[Talker] = []

    def welcome(accepted: Accepted) -> Served:
        talker = Talker(accepted)
        talkers.append(talker)
        asyncio.get_running_loop().call_soon(talker.talk)
        return talker

    async def serve() -> None:
        server = await listen("127.0.0.1", 0, welcome, tls=greeting)
        port = server.port
        reader = threading.Thread(target=_read_messages, args=(port, received, trusting))
        reader.start()
        await asyncio.to_thread(reader.join, 20)
        server.close()
        await asyncio.wait_for(talkers[0].gone_event.wait(), 5)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
    assert [(message[:1], len(message)) for message in received] == [
        *((bytes([number]), size) for number, size in enumerate(SIZES)),
        (b"l", 4),
    ]
    assert all(set(message) == {number} for number, message in enumerate(received[:-1]))
    assert talkers[0].chokes[:1] == [True]


class Silent:
    """Looks after a connection and does nothing."""

    def arrived(self, message: bytes) -> float:
        return 0.0

    def heard(self) -> None: ...

    def no_message(self, code: RefusalCode) -> None: ...

    def choked(self, choked: bool) -> None: ...

    def gone(self) -> None: ...


def _come_and_go(port: int, tls: ssl.SSLContext | None) -> None:
    for _ in range(GUESTS):
        plain = socket.create_connection(("127.0.0.1", port))
        client = plain if tls is None else tls.wrap_socket(plain)
        with client, client.makefile("rb") as stream:
            client.sendall(HANDSHAKE)
            while stream.readline() != b"\r\n":
                pass


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_who_has_gone_costs_nothing(tls: bool) -> None:
    """T-076, T-077: what a connection took is free again when it ends, not when the garbage collector comes by."""
    shown = self_signed(None)
    greeting, trusting = Greeting(shown.pem).context if tls else None, client_context(shown.pin) if tls else None
    accepted: list[weakref.ref[Accepted]] = []
    freed: list[weakref.ref[Accepted]] = []

    async def serve() -> None:
        enough = asyncio.Event()

        def gone(reference: weakref.ref[Accepted]) -> None:
            freed.append(reference)
            if len(freed) == GUESTS - 1:  # the last one may be in somebody's hands still
                enough.set()

        def welcome(socket: Accepted) -> Served:
            accepted.append(weakref.ref(socket, gone))
            return Silent()

        server = await listen("127.0.0.1", 0, welcome, tls=greeting)
        await asyncio.to_thread(_come_and_go, server.port, trusting)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(enough.wait(), 10)
        server.close()

    gc.disable()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())
        assert len(accepted) == GUESTS
        assert len(freed) >= GUESTS - 1
    finally:
        gc.enable()
