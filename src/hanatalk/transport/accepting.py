"""The relay's side of a WebSocket: accepts, reads messages, writes, pauses when the other side is slow or too fast."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Protocol

import picows
from picows.picows import WSProtocol  # type: ignore[attr-defined] # picows has no public hook for one connection

from hanatalk.transport.arriving import Arriving, Door, Visit
from hanatalk.transport.asking import own_request
from hanatalk.transport.listening import Listener, bound
from hanatalk.transport.quiet import silent
from hanatalk.transport.unfinished import SMALL, Unfinished
from hanatalk.wire.frames import MESSAGE_SIZE
from hanatalk.wire.refusals import RefusalCode

WRITE_BUFFER = 256 << 10  # bytes in a socket's buffer from which on its connection is paused (HT-R-055)
READ_BUFFER = 2 << 10  # bytes; picows doubles it for connections that send much
TLS_BUFFER = 256 << 10  # bytes that uvloop reads at once of TLS, in a buffer of each connection's own
TLS_READ_BUFFER = 64 << 10  # bytes of TLS records that wait while nothing is read (HT-R-055)
HANDSHAKE_SECONDS = 10.0  # for TLS, and as much again for the WebSocket's (HT-R-102)
MESSAGE_SECONDS = 20.0  # from the first byte of a message to its last; and one more … (HT-R-138)
MESSAGE_PACE = 16 << 10  # … for so many bytes of it that came
COPIED_BY_PICOWS = 8_192  # bytes
HEADER_ROOM = 14  # bytes, the largest WebSocket header


class Served(Protocol):
    """Who looks after one accepted WebSocket. All calls come on the loop."""

    def arrived(self, message: bytes) -> float:
        """A binary message. Returns for how many seconds nothing more shall be read."""
        ...

    def heard(self) -> None:
        """A sign of life."""
        ...

    def no_message(self, code: RefusalCode) -> None:
        """What came is no binary message (HT-R-011)."""
        ...

    def choked(self, choked: bool) -> None:
        """The socket takes no more, or takes more again. While it does not, nothing is read either."""
        ...

    def gone(self) -> None:
        """The socket is closed."""
        ...


class Rooms:
    """Messages with room for a header before them; the same message to many sockets is laid out once.

    What a socket does not take at once is copied, so the room may be used for the next socket right away.
    """

    __slots__ = ("_message", "_room")

    def __init__(self) -> None:
        self._message = b""
        self._room = bytearray()

    def of(self, message: bytes) -> bytearray:
        """`HEADER_ROOM` bytes, then the message."""
        if message is not self._message:
            self._message = message
            self._room = bytearray(HEADER_ROOM + len(message))
            self._room[HEADER_ROOM:] = message
        return self._room


class _Nobody(asyncio.BufferedProtocol):
    """Stands where a closed connection's protocol stood.

    uvloop's TLS goes on holding that one, and it holds the TLS: a circle with 50 KiB in it that only the garbage
    collector would find, which in a relay comes rarely (HT-R-055).
    """

    def get_buffer(self, sizehint: int) -> bytearray:
        return bytearray(1)

    def buffer_updated(self, nbytes: int) -> None: ...


_NOBODY = _Nobody()


class Accepted(picows.WSListener):
    """One accepted WebSocket."""

    def __init__(self, welcome: Callable[["Accepted"], Served]) -> None:
        self.address: str | None = None  # the other side's IP address; goes into no log
        self.unfinished = 0  # bytes of a message that is not whole, which picows holds
        self._welcome = welcome
        self._served: Served | None = None
        self._leaving: Served | None = None  # who served it until the other side said that it goes
        self._transport: picows.WSTransport | None = None
        self._choked = False
        self._waiting = False
        self._hurried = False
        self._began: float | None = None  # when a message that is not whole was first seen

    # --- for who serves it ---

    def write(self, messages: list[bytes], *, rooms: "Rooms", last: bool) -> None:
        """Send; after the last words, close. `rooms` is shared by all sockets written to in one turn of the loop."""
        transport = self._transport
        if transport is None:
            return
        for message in messages:
            if len(message) <= COPIED_BY_PICOWS:
                transport.send(picows.WSMsgType.BINARY, message)
            else:
                # Above this size `send` gives the loop a view of a header that the next `send` overwrites: a socket
                # that is behind would get frames with other frames' lengths.
                transport.send_reuse_external_bytearray(picows.WSMsgType.BINARY, rooms.of(message), HEADER_ROOM)
        if last:
            transport.send_close(picows.WSCloseCode.POLICY_VIOLATION)
            transport.disconnect()

    @property
    def overdrawn(self) -> bool:
        """True while nothing is read because too much came (HT-R-091)."""
        return self._waiting

    def late(self, *, now: float) -> bool:
        """True if the message that comes in takes too long (HT-R-138); asked every few seconds."""
        if not self.unfinished or self._choked or self._waiting:  # or it is us who do not read
            self._began = None
        elif self._began is None:
            self._began = now
        else:
            return now - self._began > MESSAGE_SECONDS + self.unfinished / MESSAGE_PACE
        return False

    def ping(self) -> None:
        """Ask whether anybody is there."""
        if self._transport is not None:
            self._transport.send_ping()

    def hurry(self) -> None:
        """After the last words: whoever has not taken them when this is called again goes without."""
        if self._hurried:
            self.abort()
        self._hurried = True

    def abort(self) -> None:
        """Close without waiting for the other side."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    # --- called by picows ---

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._transport = transport
        underlying: Any = transport.underlying_transport
        underlying.set_write_buffer_limits(high=WRITE_BUFFER, low=WRITE_BUFFER // 4)
        if transport.is_secure:
            underlying.set_read_buffer_limits(high=TLS_READ_BUFFER)
        peername = underlying.get_extra_info("peername")
        self.address = peername[0] if isinstance(peername, tuple) else None
        self._served = self._welcome(self)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        self.unfinished = frame.tail_size
        self._began = None
        served = self._served
        if served is None:
            return
        kind = frame.msg_type
        if kind == picows.WSMsgType.BINARY and frame.fin and not (frame.rsv1 or frame.rsv2 or frame.rsv3):
            seconds = served.arrived(frame.get_payload_as_bytes())
            if seconds:
                self._wait(seconds)
        elif kind == picows.WSMsgType.PONG:
            served.heard()
        elif kind == picows.WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
            served.heard()
        elif kind == picows.WSMsgType.CLOSE:
            transport.send_close(picows.WSCloseCode.OK)
            transport.disconnect()
            self._leaving, self._served = served, None  # what lies behind is not heard
        elif kind in (picows.WSMsgType.BINARY, picows.WSMsgType.CONTINUATION):
            served.no_message(RefusalCode.FRAGMENTED)
        else:
            served.no_message(RefusalCode.NOT_BINARY)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        served = self._served or self._leaving
        self._served = self._leaving = self._transport = None
        if transport.is_secure:
            underlying: Any = transport.underlying_transport
            underlying.set_protocol(_NOBODY)
        if served is not None:
            served.gone()

    def pause_writing(self) -> None:
        self._choke(True)

    def resume_writing(self) -> None:
        self._choke(False)

    # --- inside ---

    def _choke(self, choked: bool) -> None:
        self._choked = choked
        if self._served is not None:
            self._served.choked(choked)
        # A client that does not read its answers gets no more of them.
        self._read_or_not()

    def _wait(self, seconds: float) -> None:
        if not self._waiting:
            self._waiting = True
            self._read_or_not()
            asyncio.get_running_loop().call_later(seconds, self._waited)

    def _waited(self) -> None:
        self._waiting = False
        self._read_or_not()

    def _read_or_not(self) -> None:
        if self._transport is None or self._transport.underlying_transport.is_closing():
            return
        underlying: Any = self._transport.underlying_transport
        if self._choked or self._waiting:
            underlying.pause_reading()
        else:
            underlying.resume_reading()


class Seated(WSProtocol):  # type: ignore[misc] # see the import
    """picows's protocol for one connection whose request was read by `Arriving`; counts what its buffer holds."""

    __slots__ = ("_accepted", "_secure", "_transport", "_unfinished", "_visit", "pages")

    def __init__(self, accepted: "Accepted", visit: Visit, unfinished: Unfinished, *, logger: Any) -> None:
        super().__init__(
            None,  # host and port
            None,  # path
            False,  # a relay's side
            lambda _: accepted,
            logger,
            True,  # disconnect if a callback raises
            None,  # its handshake is over
            False,  # no pings of picows's own
            0.0,
            0.0,
            picows.WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # pings are answered by `Accepted`, which sees what lies behind them
            MESSAGE_SIZE,
            None,  # no headers more
            READ_BUFFER,
        )
        self._accepted = accepted
        self._visit = visit
        self._secure = False
        self._unfinished = unfinished
        self._transport: asyncio.Transport | None = None
        self.pages = 0

    def take_over(self, transport: asyncio.Transport, key: bytes, rest: bytes) -> None:
        """Open the WebSocket that `key` asks for; `rest` came after the request."""
        self._transport = transport
        self._secure = transport.get_extra_info("sslcontext") is not None
        transport.set_protocol(self)
        self.connection_made(transport)
        _fill(self, own_request(key), super().buffer_updated)
        _fill(self, rest, self.buffer_updated)

    def buffer_updated(self, nbytes: int) -> None:
        accepted = self._accepted
        filled = accepted.unfinished = accepted.unfinished + nbytes
        super().buffer_updated(nbytes)  # `Accepted.on_ws_frame` says what it left
        if filled > SMALL and self._transport is not None:
            if self._secure:
                filled += min(filled, TLS_BUFFER)
            self._unfinished.weigh(self, filled, accepted.unfinished)
            if accepted.unfinished > MESSAGE_SIZE + HEADER_ROOM:
                self.drop()  # picows refused a frame and goes on collecting until it closes

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._visit.tls = None  # else they would hold one another
        self._unfinished.leave(self)
        super().connection_lost(exc)

    def give_back(self) -> None:
        self._unfinished.reclaim(self.get_buffer(-1))
        if self._visit.tls is not None:
            self._unfinished.reclaim(self._visit.tls.get_buffer(1))

    def drop(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _fill(protocol: Seated, content: bytes, updated: Callable[[int], None]) -> None:
    while content:
        room = protocol.get_buffer(-1)
        size = min(len(room), len(content))
        room[:size] = content[:size]
        updated(size)
        content = content[size:]


async def listen(
    host: str,
    port: int,
    welcome: Callable[[Accepted], Served],
    *,
    door: Door | None = None,
    unfinished: Unfinished | None = None,
    tls: ssl.SSLContext | None = None,
) -> Listener:
    """Accept WebSockets on `port` (0 picks one); `welcome` is called for each once its handshake is over.

    :param door: who arrives goes through it; None: everybody may.
    :param unfinished: bounds what messages that are not whole cost; None: nothing does.
    :raises OSError: the address is taken, or not ours
    """
    counted = unfinished if unfinished is not None else Unfinished(0)
    logger = silent()

    def seat(visit: Visit, transport: asyncio.Transport, key: bytes, rest: bytes) -> None:
        Seated(Accepted(welcome), visit, counted, logger=logger).take_over(transport, key, rest)

    # Sockets of the loop's own, not of aiofastnet: as fast here, 5 KiB less per idle connection, and at DEBUG that
    # logs addresses.
    return Listener(
        bound(host, port),
        lambda visit: Arriving(visit, seat, seconds=HANDSHAKE_SECONDS),
        door=door if door is not None else Door(),
        tls=tls,
        seconds=HANDSHAKE_SECONDS,
    )
