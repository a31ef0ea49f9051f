"""The client's link: against a real relay on loopback, and against things that are none."""

import asyncio
import base64
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import picows
import pytest
from tests.relay.running import running_relay
from tests.wire.samples import LIMITS

from hanatalk.errors import HanaError, NetworkError, RefusedError, UsageError, VerificationError, WireError
from hanatalk.ids import EntryId, ReadToken, WriteToken
from hanatalk.transport.link import Link, connect
from hanatalk.transport.tls import spki_pin
from hanatalk.wire import channels, events, frames
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection
from hanatalk.wire.events import Event

READ, WRITE = ReadToken(b"r" * 32), WriteToken(b"w" * 32)
CHANNEL = channels.channel_id(READ, WRITE)


class Events:
    """Collects events; `until` waits for one kind."""

    def __init__(self) -> None:
        self.all: list[Event] = []
        self._more = asyncio.Event()

    def __call__(self, reported: list[Event]) -> None:
        assert reported
        self.all.extend(reported)
        self._more.set()

    async def until(self, kind: type[Event], count: int = 1) -> list[Event]:
        while True:
            found = [event for event in self.all if isinstance(event, kind)]
            if len(found) >= count:
                return found
            self._more.clear()
            await asyncio.wait_for(self._more.wait(), 10)


async def opened(url: str) -> tuple[ClientConnection, Link, Events]:
    connection, seen = ClientConnection(), Events()
    connection.open(CHANNEL, read=READ, write=WRITE)
    connection.subscribe(CHANNEL, 0)
    return connection, await connect(url, connection, seen), seen


async def failure(url: str) -> HanaError:
    with pytest.raises(HanaError) as caught:
        await connect(url, ClientConnection(), Events(), seconds=2)
    return caught.value


Behaviour = Callable[[picows.WSTransport], None]


@asynccontextmanager
async def impostor(behave: Behaviour, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A WebSocket server that answers the first message with `behave`; yields its port."""

    class Listener(picows.WSListener):
        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if frame.msg_type == picows.WSMsgType.BINARY:
                heard.append(frame.get_payload_as_bytes())
                behave(transport)

    heard.clear()
    server = await picows.ws_create_server(lambda _: Listener(), "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


heard: list[bytes] = []


async def test_entries_travel_both_ways(relay_url: str) -> None:
    connection, link, seen = await opened(relay_url)
    _, other, others = await opened(relay_url)
    await others.until(events.CaughtUp)
    for number in range(30):
        connection.append(
            CHANNEL, entry_id=EntryId(os.urandom(16)), entry_class=EntryClass.ATTACHMENT, entry=bytes([number]) * 65_536
        )
    link.flush()
    await seen.until(events.EntryStored, 30)
    received = await others.until(events.EntryReceived, 30)
    assert [event.entry[0] for event in received if isinstance(event, events.EntryReceived)] == list(range(30))
    for each in (link, other):
        each.close()
        assert await each.closed is None


async def test_no_event_comes_after_close(relay_url: str) -> None:
    connection, link, seen = await opened(relay_url)
    await seen.until(events.CaughtUp)
    connection.ping()
    link.flush()
    link.close()
    count = len(seen.all)
    connection, link, others = await opened(relay_url)
    await others.until(events.CaughtUp)
    assert len(seen.all) == count
    link.close()


async def test_a_relay_that_stops_says_so() -> None:
    """HT-R-096"""
    async with running_relay() as url:
        _, link, seen = await opened(url)
        await seen.until(events.CaughtUp)
    reason = await asyncio.wait_for(link.closed, 5)
    assert isinstance(reason, RefusedError)
    assert reason.code == "relay.draining"


async def test_a_wrong_access_pass_says_so() -> None:
    """HT-R-021"""
    async with running_relay(access_pass=b"sesame") as url:
        link = await connect(url, ClientConnection(access_pass=b"barley"), Events())
        reason = await asyncio.wait_for(link.closed, 5)
        assert isinstance(reason, RefusedError)
        assert reason.code == "relay.access-pass"


async def test_nobody_there(unused_tcp_port: int) -> None:
    error = await failure(f"ws://127.0.0.1:{unused_tcp_port}")
    assert isinstance(error, NetworkError)
    assert error.code == "network.unreachable"


async def test_somebody_who_never_answers() -> None:
    """T-076, seen from the client."""
    accepted: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: accepted.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(NetworkError, match=r"network\.timeout"):
        await connect(f"ws://127.0.0.1:{port}", ClientConnection(), Events(), seconds=0.2)
    for writer in accepted:
        writer.close()
    server.close()


async def test_a_connection_that_ends_within_the_handshake_is_said() -> None:
    """`connect` used to return a link that never was open and never closed."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(NetworkError):
        await asyncio.wait_for(connect(f"ws://127.0.0.1:{port}", ClientConnection(), Events()), 5)
    server.close()


async def test_somebody_who_speaks_http() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    error = await failure(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert error.code == "network.unreachable"  # and the redirect was not followed
    server.close()


async def test_an_onion_service_without_a_proxy_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """HT-R-093, T-044: fails closed, no name is asked for."""

    def asked(*_: object, **__: object) -> None:
        raise AssertionError("a name was looked up")

    monkeypatch.setattr("socket.getaddrinfo", asked)
    assert (await failure("ws://abcdef.onion")).code == "network.proxy-needed"


async def test_plain_to_elsewhere_is_refused() -> None:
    """HT-R-093"""
    assert isinstance(await failure("ws://192.0.2.1"), UsageError)


@pytest.mark.parametrize(
    "behave",
    [
        lambda transport: transport.send(picows.WSMsgType.BINARY, b"garbage"),
        lambda transport: transport.send(picows.WSMsgType.BINARY, frames.encode([LIMITS, LIMITS])),
        lambda transport: transport.send(picows.WSMsgType.TEXT, b"text"),
        lambda transport: transport.send(picows.WSMsgType.BINARY, frames.encode([LIMITS]), False),
        lambda transport: transport.send(picows.WSMsgType.BINARY, b""),
    ],
    ids=["garbage", "twice", "text", "fragment", "empty"],
)
async def test_a_relay_that_breaks_the_protocol_is_dropped(behave: Behaviour) -> None:
    """T-019, HT-R-011, HT-R-012"""
    async with impostor(behave) as port:
        seen = Events()
        link = await connect(f"ws://127.0.0.1:{port}", ClientConnection(), seen)
        assert isinstance(await asyncio.wait_for(link.closed, 5), WireError)
        assert seen.all == []


async def test_too_large_a_message_ends_the_link() -> None:
    """HT-R-010, T-076"""
    async with impostor(lambda transport: transport.send(picows.WSMsgType.BINARY, bytes((1 << 20) + 1))) as port:
        link = await connect(f"ws://127.0.0.1:{port}", ClientConnection(), Events())
        assert isinstance(await asyncio.wait_for(link.closed, 5), NetworkError | WireError)


async def test_a_broken_connection_is_noticed() -> None:
    async with impostor(lambda transport: transport.disconnect(graceful=False)) as port:
        link = await connect(f"ws://127.0.0.1:{port}", ClientConnection(), Events())
        reason = await asyncio.wait_for(link.closed, 5)
        assert isinstance(reason, NetworkError)
        assert reason.code == "network.lost"


async def test_a_bug_of_ours_closes_the_link_and_is_reported(relay_url: str) -> None:
    loop, shown = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: shown.append(context["exception"]))

    def broken(_: list[Event]) -> None:
        raise ZeroDivisionError

    link = await connect(relay_url, ClientConnection(), broken)
    reason = await asyncio.wait_for(link.closed, 5)
    assert isinstance(reason, NetworkError)
    assert [type(error) for error in shown] == [ZeroDivisionError]
    loop.set_exception_handler(None)


def answer_hello(transport: picows.WSTransport) -> None:
    transport.send(picows.WSMsgType.BINARY, frames.encode([LIMITS]))


def pinned(port: int, pin: bytes) -> str:
    return f"wss://127.0.0.1:{port}#pin={base64.urlsafe_b64encode(pin).rstrip(b'=').decode()}"


async def test_the_pinned_key_is_enough(certificate: tuple[ssl.SSLContext, bytes]) -> None:
    """HT-R-097: self-signed, expired or not, another name: the key decides."""
    context, der = certificate
    async with impostor(answer_hello, context) as port:
        seen = Events()
        link = await connect(pinned(port, spki_pin(der)), ClientConnection(), seen)
        await seen.until(events.HelloAnswered)
        link.close()


async def test_another_key_gets_no_frame(certificate: tuple[ssl.SSLContext, bytes]) -> None:
    """T-046, HT-R-097: refused before HELLO, which may carry the access pass."""
    context, der = certificate
    wrong = bytes([spki_pin(der)[0] ^ 1]) + spki_pin(der)[1:]
    async with impostor(answer_hello, context) as port:
        with pytest.raises(VerificationError, match=r"relay\.pin-mismatch"):
            await connect(pinned(port, wrong), ClientConnection(access_pass=b"secret"), Events())
        await asyncio.sleep(0)
        assert heard == []


async def test_without_a_pin_the_system_decides(certificate: tuple[ssl.SSLContext, bytes]) -> None:
    """HT-R-097: a self-signed certificate is no authority."""
    async with impostor(answer_hello, certificate[0]) as port:
        error = await failure(f"wss://127.0.0.1:{port}")
        assert isinstance(error, VerificationError)
        assert (error.code, heard) == ("relay.untrusted", [])
