"""Every byte that a relay's port takes: the request, then WebSocket frames, through picows (T-076, T-088).

The first byte of an input says into how large pieces the rest is cut (0: whole). What is delivered is compared with a
reader of our own that knows RFC 6455 and nothing else.
"""

import asyncio
import base64
import hashlib
from collections.abc import Iterator
from typing import Any

from fuzz.target import Attack, Target, hold
from hanatalk.errors import WireError
from hanatalk.transport.accepting import Accepted, Seated
from hanatalk.transport.arriving import Arriving, Door, Visit
from hanatalk.transport.asking import own_request, refusal
from hanatalk.transport.quiet import silent
from hanatalk.transport.unfinished import SMALL, Unfinished
from hanatalk.wire.frames import MESSAGE_SIZE
from hanatalk.wire.refusals import RefusalCode

KEY = b"AAAAAAAAAAAAAAAAAAAAAA=="
ACCEPTED = base64.b64encode(hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
REFUSED = {refusal(WireError(code)) for code in ("wire.no-page", "wire.no-request")}
TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0


class _Loop(asyncio.BaseEventLoop):
    """Time stands still; what is to happen later never does. Closed from the start, so that nobody has to."""

    def __init__(self) -> None:
        super().__init__()
        self.close()

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        return asyncio.Handle(callback, args, self)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return asyncio.TimerHandle(delay, callback, args, self)


class _Socket:
    def setsockopt(self, *_: object) -> None: ...

    def getsockopt(self, *_: object) -> int:
        return 0

    def fileno(self) -> int:
        return 0


class _Transport(asyncio.Transport):
    """Keeps what is written, and remembers who reads."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = bytearray()
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"socket": _Socket(), "peername": ("192.0.2.1", 1), "sockname": ("192.0.2.2", 2)}.get(name, default)

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def write(self, content: bytes | bytearray | memoryview) -> None:
        self.written += bytes(content)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class _Served:
    def __init__(self) -> None:
        self.told: list[tuple[int, bytes]] = []

    def arrived(self, message: bytes) -> float:
        self.told.append((BINARY, message))
        return 0.0

    def heard(self) -> None: ...

    def no_message(self, code: RefusalCode) -> None:
        self.told.append((TEXT if code is RefusalCode.NOT_BINARY else CONTINUATION, b""))

    def choked(self, choked: bool) -> None: ...

    def gone(self) -> None: ...


def _read(given: bytes) -> tuple[list[tuple[int, bytes]], list[bytes], int, bool]:
    """What was said, pings, bytes that are left, and whether it ends in something that RFC 6455 forbids."""
    told: list[tuple[int, bytes]] = []
    pings: list[bytes] = []
    at = 0
    while len(given) - at >= 2:
        first, second = given[at], given[at + 1]
        kind, size, begin = first & 15, second & 127, at + 2
        if kind not in (TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION) or not second & 128:
            return told, pings, len(given) - at, True
        if kind >= CLOSE and (size > 125 or not first & 128):
            return told, pings, len(given) - at, True
        if size >= 126:
            more = 2 if size == 126 else 8
            if len(given) - begin < more:
                break
            least, size = (126, 65_536)[more == 8], int.from_bytes(given[begin : begin + more], "big")
            begin += more
            if size < least or size > MESSAGE_SIZE:
                return told, pings, len(given) - at, True
        if len(given) - begin < 4 + size:
            break
        mask, masked = given[begin : begin + 4], given[begin + 4 : begin + 4 + size]
        content = bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))
        at = begin + 4 + size
        if kind == CLOSE:
            return told, pings, len(given) - at, True  # what picows makes of its code and reason is its own
        if kind == PING:
            pings.append(content)
        elif kind == BINARY and first & 0xF0 == 0x80:
            told.append((BINARY, content))
        elif kind in (BINARY, CONTINUATION):
            told.append((CONTINUATION, b""))
        elif kind == TEXT:
            told.append((TEXT, b""))
    return told, pings, len(given) - at, False


def _frames(written: bytes) -> Iterator[tuple[int, bytes]]:
    """The relay's own frames, all of them small."""
    while written:
        hold(len(written) >= 2 and written[1] < 126, "half a frame of our own")
        yield written[0], written[2 : 2 + written[1]]
        written = written[2 + written[1] :]


def _deliver(transport: _Transport, given: bytes, size: int) -> None:
    while given and not transport.closed:
        room = transport.protocol.get_buffer(-1)
        hold(len(room) > 0, "no room to read into")
        piece = given[: min(size or len(given), len(room))]
        room[: len(piece)] = piece
        del room
        transport.protocol.buffer_updated(len(piece))
        given = given[len(piece) :]


def _websocket_bytes() -> Attack:
    loop, logger = _Loop(), silent()

    def attack(given: bytes) -> None:
        asyncio._set_running_loop(loop)
        try:
            door, unfinished, served = Door(), Unfinished(0), _Served()
            accepted = Accepted(lambda _: served)

            def seat(visit: Visit, transport: asyncio.Transport, key: bytes, rest: bytes) -> None:
                Seated(accepted, visit, unfinished, logger=logger).take_over(transport, key, rest)

            visit = door.enter(b"here", lambda: None, now=0.0)
            assert visit is not None
            transport = _Transport(Arriving(visit, seat, seconds=1.0))
            transport.protocol.connection_made(transport)
            _deliver(transport, given[1:], given[0] if given else 0)
            _check(given[1:], transport, served, accepted, unfinished)
            transport.protocol.connection_lost(None)
            hold(door.arriving == 0 and not door._places, "somebody who has gone stands in the door")
            hold(unfinished.bytes == 0 and not unfinished._growing and not unfinished._left, "bytes of the dead")
        finally:
            asyncio._set_running_loop(None)

    return attack


def _check(given: bytes, transport: _Transport, served: _Served, accepted: Accepted, unfinished: Unfinished) -> None:
    _, ended, sent = given.partition(b"\r\n\r\n")
    head, answered, written = bytes(transport.written).partition(b"\r\n\r\n")
    if not answered:
        hold(not transport.written and not (ended and not transport.closed), "a request without an answer")
        return
    if not head.startswith(b"HTTP/1.1 101 "):
        hold(bytes(transport.written) in REFUSED and transport.closed, "an answer in other words than ours (HT-R-139)")
        hold(not served.told, "heard without a WebSocket")
        return
    told, pings, left, broken = _read(sent)
    hold(served.told == told[: len(served.told)], "other messages than were sent")
    pongs = []
    for first, content in _frames(written):
        hold(first in (0x88, 0x8A), "a frame that nobody sent")
        if first == 0x8A:
            pongs.append(content)
    hold(pongs == pings[: len(pongs)], "other pongs than pings")
    if not broken:
        hold(served.told == told and pongs == pings and not transport.closed, "something was not delivered")
        hold(accepted.unfinished == left, "the rest is counted wrongly (HT-R-137)")
        hold(unfinished.bytes >= left or left <= SMALL, "a rest that is not counted (HT-R-137)")


def _masked(opcode: int, content: bytes, *, final: bool = True, mask: bytes = b"mask") -> bytes:
    size = len(content)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    if size > 65_535:
        length = b"\xff" + size.to_bytes(8, "big")
    hidden = bytes(byte ^ mask[place % 4] for place, byte in enumerate(content))
    return bytes([(0x80 if final else 0) | opcode]) + length + mask + hidden


def _seeds() -> Iterator[bytes]:
    opened = own_request(KEY)
    yield b"\0" + opened + _masked(BINARY, b"\x91\x92\x01\x91\x01") + _masked(PING, b"there?")
    yield b"\3" + opened + _masked(BINARY, b"x" * 300) + _masked(PONG, b"") + _masked(BINARY, b"half")[:-2]
    yield b"\x40" + opened + _masked(BINARY, bytes(6_000))[:-1]
    yield b"\0" + opened + _masked(TEXT, b"text") + _masked(BINARY, b"a", final=False) + _masked(CONTINUATION, b"b")
    yield b"\0" + opened + _masked(CLOSE, b"\x03\xe8bye") + _masked(BINARY, b"after")
    yield b"\0" + opened + b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(20)
    yield b"\7GET / HTTP/1.1\r\nHost: SECRET\r\n\r\n"
    yield b"\0SECRET" * 100


def _shuffled(given: bytes, longest: int, seed: int) -> bytes:
    """Mutate what lies behind the request, or now and then all of it: a key that is no key leads nowhere."""
    import atheris

    begin = given.find(b"\r\n\r\n") + 4
    if begin < 4 or seed % 8 == 0:
        return bytes(atheris.Mutate(given, longest))
    return given[:begin] + bytes(atheris.Mutate(given[begin:], max(1, longest - begin)))


TARGETS = [
    Target(
        name="websocket-bytes",
        parsers=("hanatalk.transport.accepting.Seated", "hanatalk.transport.arriving.Arriving"),
        allowed=(),
        ready=_websocket_bytes,
        seeds=_seeds,
        mutate=_shuffled,
        longest=8192,
        short=1500,
    ),
]
