"""Somebody on the wire between people and a relay: passes everything on and writes everything down."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec

from hanatalk.transport.urls import parse_relay_url
from hanatalk.wire import frames

HEADER_END = b"\r\n\r\n"
APPLICATION_DATA = 23  # TLS record type


class Wire(msgspec.Struct):
    """One TCP connection: what went up to the relay, what came down."""

    up: bytearray
    down: bytearray


class Observer:
    """Passes on connections to `relay`; `url` is what people are given instead (a pin stays)."""

    def __init__(self, relay: str) -> None:
        self._at = parse_relay_url(relay)
        self._relay = relay
        self.wires: list[Wire] = []
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = self._relay.replace(f":{self._at.port}", f":{port}", 1)

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        wire = Wire(bytearray(), bytearray())
        self.wires.append(wire)
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(self._at.host, self._at.port)
            try:
                await asyncio.gather(
                    _pass_on(reader, far_writer, wire.up),
                    _pass_on(far_reader, writer, wire.down),
                    return_exceptions=True,
                )
            finally:
                far_writer.close()
        writer.close()

    @property
    def sent(self) -> list[list[frames.ClientFrame]]:
        """Every WebSocket message of every client, in order per connection (plain connections only)."""
        return [
            list(frames.decode_client_frames(message)) for wire in self.wires for message in messages(bytes(wire.up))
        ]

    @property
    def received(self) -> list[list[frames.RelayFrame]]:
        """Every WebSocket message of the relay."""
        return [
            list(frames.decode_relay_frames(message)) for wire in self.wires for message in messages(bytes(wire.down))
        ]

    def appends(self) -> list[frames.Append]:
        return [frame for message in self.sent for frame in message if isinstance(frame, frames.Append)]


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bytearray) -> None:
    try:
        while received := await reader.read(65_536):
            record += received
            writer.write(received)
            await writer.drain()
    finally:
        writer.close()


def messages(raw: bytes) -> Iterator[bytes]:
    """The binary messages in one direction of a WebSocket, after its HTTP part; a cut one at the end is left out."""
    start = raw.find(HEADER_END)
    if start < 0:
        return
    start += len(HEADER_END)
    while start + 2 <= len(raw):
        kind, size = raw[start] & 0x0F, raw[start + 1] & 0x7F
        masked, at = raw[start + 1] & 0x80, start + 2
        if size == 126:
            size, at = int.from_bytes(raw[at : at + 2], "big"), at + 2
        elif size == 127:
            size, at = int.from_bytes(raw[at : at + 8], "big"), at + 8
        mask = raw[at : at + 4] if masked else bytes(4)
        at += 4 if masked else 0
        if at + size > len(raw):
            return
        content = raw[at : at + size]
        if masked:
            repeated = (mask * (size // 4 + 1))[:size]
            content = (int.from_bytes(content, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
        start = at + size
        if kind == 2:
            yield content


def records(raw: bytes, start: int, end: int) -> list[int]:
    """Sizes of the TLS records with application data that begin in raw[start:end]: what an observer of TLS sees."""
    found, at = [], 0
    while at + 5 <= len(raw):
        size = int.from_bytes(raw[at + 3 : at + 5], "big")
        if start <= at < end and raw[at] == APPLICATION_DATA:
            found.append(size)
        at += 5 + size
    return found


@asynccontextmanager
async def observed(relay: str) -> AsyncIterator[Observer]:
    """An observer before `relay`."""
    observer = Observer(relay)
    await observer.start()
    try:
        yield observer
    finally:
        await observer.stop()
