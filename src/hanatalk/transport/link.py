"""Pumps one WebSocket to one `ClientConnection`. Owns the socket, the clock and the timers; decides nothing."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable

import picows

from hanatalk.errors import HanaError, NetworkError, RefusedError, VerificationError, WireError
from hanatalk.transport.quiet import silent
from hanatalk.transport.tls import PinRefused, client_context
from hanatalk.transport.urls import RelayUrl, parse_relay_url
from hanatalk.wire.client import ClientConnection
from hanatalk.wire.events import Event, Refused
from hanatalk.wire.frames import MESSAGE_SIZE

CONNECT_SECONDS = 10.0  # TCP, TLS and WebSocket handshake together
PING_SECONDS = 30.0  # silence after which we ask whether the relay is there
SILENCE_SECONDS = 75.0  # silence after which it is not
WORK_TRIES = 4_096  # nonces between two turns of the loop: some milliseconds (HT-R-122)
GONE_SECONDS = 1.0  # for the relay's side of closing


class Link:
    """One open WebSocket. Made by `connect`.

    `closed` is done once the link is: with None after `close`, else with the reason: `NetworkError`, `RefusedError`
    (the relay ended the connection, its code after ``relay.``) or `WireError` (it broke the protocol). It never raises,
    so nobody has to await it.
    """

    def __init__(self, connection: ClientConnection, on_events: Callable[[list[Event]], None]) -> None:
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[HanaError | None] = loop.create_future()
        self._loop = loop
        self._connection = connection
        self._on_events = on_events
        self._transport: picows.WSTransport | None = None
        self._heard = loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._gone: asyncio.Task[None] | None = None

    def flush(self) -> None:
        """Send what the connection has queued. After calls on the connection; what arrives flushes by itself."""
        transport = self._transport
        if transport is not None and not self.closed.done():
            for message in self._connection.messages_to_send():
                transport.send(picows.WSMsgType.BINARY, message)

    @property
    def is_open(self) -> bool:
        """The WebSocket was opened and is not closed."""
        return self._transport is not None

    @property
    def unsent(self) -> int:
        """Bytes that the socket has not taken yet: whoever uploads much waits while this is large."""
        return 0 if self._transport is None else self._transport.underlying_transport.get_write_buffer_size()

    def close(self) -> None:
        """Close; `closed` is done at once and no event comes after this."""
        self._finish(None)

    async def gone(self, seconds: float = GONE_SECONDS) -> None:
        """After `close`: wait until the socket is closed too, at most that long."""
        if self._gone is not None:
            await asyncio.wait({self._gone}, timeout=seconds)

    # --- called by the listener ---

    def opened(self, transport: picows.WSTransport) -> None:
        """The WebSocket is open; under TLS the other side is who it should be (`client_context`)."""
        self._gone = self._loop.create_task(_until_gone(transport))
        if self.closed.done():
            transport.disconnect(graceful=False)
            return
        self._transport = transport
        self._heard = self._loop.time()
        self._timer = self._loop.call_later(PING_SECONDS, self._watch)
        self.flush()

    def arrived(self, message: bytes) -> None:
        """One binary message."""
        if self.closed.done():
            return
        self._heard = self._loop.time()
        try:
            events = self._connection.receive(message)
        except WireError as error:
            self._finish(error)
            return
        if events:
            try:
                self._on_events(events)
            except Exception as error:  # noqa: BLE001 (our bug, not the relay's: shown, and nothing goes on as if)
                self._loop.call_exception_handler({"message": "on_events raised", "exception": error})
                self._finish(NetworkError("network.aborted"))
                return
            last = events[-1]
            if isinstance(last, Refused) and last.channel_id is None:
                self._finish(RefusedError(f"relay.{last.code}"))
                return
        self.flush()
        if self._connection.working:
            self._loop.call_soon(self._work)

    def heard(self) -> None:
        """The relay is there."""
        self._heard = self._loop.time()

    def broken(self, reason: HanaError) -> None:
        """The socket is gone, or what came on it is no message."""
        self._finish(reason)

    # --- inside ---

    def _work(self) -> None:
        if not self.closed.done():
            self._connection.work(WORK_TRIES)
            if self._connection.working:
                self._loop.call_soon(self._work)
            self.flush()

    def _watch(self) -> None:
        silence = self._loop.time() - self._heard
        if silence >= SILENCE_SECONDS:
            self._finish(NetworkError("network.silent"))
            return
        if silence >= PING_SECONDS and self._transport is not None:
            self._transport.send_ping()
        self._timer = self._loop.call_later(PING_SECONDS / 2, self._watch)

    def _finish(self, reason: HanaError | None) -> None:
        if self.closed.done():
            return
        self.closed.set_result(reason)
        if self._timer is not None:
            self._timer.cancel()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.send_close(picows.WSCloseCode.OK)
            transport.disconnect()


async def _until_gone(transport: picows.WSTransport) -> None:
    # picows leaves its own reason in a future; unread it would be logged as forgotten. Ours is in `Link.closed`.
    with contextlib.suppress(Exception):
        await transport.wait_disconnected()


class _Listener(picows.WSListener):
    def __init__(self, link: Link) -> None:
        self._link = link

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._link.opened(transport)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        kind = frame.msg_type
        if kind == picows.WSMsgType.BINARY and frame.fin:
            self._link.arrived(frame.get_payload_as_bytes())
        elif kind == picows.WSMsgType.PONG:
            self._link.heard()
        elif kind == picows.WSMsgType.CLOSE:
            self._link.broken(NetworkError("network.closed"))
        else:
            self._link.broken(WireError("wire.not-binary"))

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        self._link.broken(NetworkError("network.lost"))

    def pause_writing(self) -> None:
        """The outbox is on disk: what waits in the socket's buffer is at most one flush."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""


async def connect(
    url: str,
    connection: ClientConnection,
    on_events: Callable[[list[Event]], None],
    *,
    seconds: float = CONNECT_SECONDS,
) -> Link:
    """Open a WebSocket to the relay at `url` and pump `connection` through it.

    `on_events` is called on the loop with the events of one message, in order, never empty; it must not raise.

    :raises UsageError: ``relay.url``, ``relay.plain-host``, ``relay.pin``
    :raises NetworkError: ``network.unreachable``, ``network.timeout``, ``network.tls``, ``network.proxy-needed``
        (an onion service; proxies are not supported yet, and nothing is looked up)
    :raises VerificationError: ``relay.pin-mismatch``, ``relay.certificate``, ``relay.untrusted`` (no pin, and no CA of
        this system vouches for it) (T-046)
    """
    parsed = parse_relay_url(url)
    if parsed.onion:
        raise NetworkError("network.proxy-needed")
    link = Link(connection, on_events)
    try:
        async with asyncio.timeout(seconds):
            await _open(parsed, link, seconds=seconds)
    except TimeoutError:
        link.close()
        raise NetworkError("network.timeout") from None
    except PinRefused as error:
        link.close()
        raise error.why from None
    except ssl.SSLCertVerificationError as error:
        link.close()
        raise VerificationError("relay.untrusted", why=error.verify_message) from None
    except ssl.SSLError as error:
        link.close()
        raise NetworkError("network.tls", why=error.reason or "unknown") from None
    except (OSError, picows.WSError, asyncio.InvalidStateError) as error:
        link.close()
        raise NetworkError("network.unreachable", why=type(error).__name__) from None
    if link.closed.done():
        reason = link.closed.result()
        if reason is not None:
            raise reason
    elif not link.is_open:  # picows calls nobody if the socket ends within the handshake
        link.close()
        raise NetworkError("network.lost")
    return link


async def _open(url: RelayUrl, link: Link, *, seconds: float) -> None:
    await picows.ws_connect(
        lambda: _Listener(link),
        url.without_fragment,
        ssl_context=client_context(url.pin) if url.scheme == "wss" else None,
        websocket_handshake_timeout=seconds,
        logger_name=silent(),
        max_frame_size=MESSAGE_SIZE,
        max_redirects=0,
        read_buffer_init_size=16 << 10,
        use_aiofastnet=False,  # at DEBUG it logs addresses
    )
