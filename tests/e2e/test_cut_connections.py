"""A connection that ends inside a message, anywhere in it, either way (T-019, T-081): nothing half, everything once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest
from tests.e2e.test_crash_processes import Appender
from tests.relay.running import running_relay

from hanatalk.errors import HanaError

PATIENCE = 20.0  # seconds


class Cutter:
    """A TCP proxy that lets so many bytes of each connection through, one way, and then cuts it."""

    def __init__(self, host: str, port: int) -> None:
        self._relay = host, port
        self.up: int | None = None  # bytes to the relay; None: all
        self.down: int | None = None  # bytes to the client
        self.passed = 0  # of the last connection, in the counted way

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection(*self._relay)
        ways = [
            asyncio.ensure_future(self._copy(reader, here, self.up)),
            asyncio.ensure_future(self._copy(there, writer, self.down)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for end in (writer, here):
            end.transport.abort()

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, most: int | None) -> None:
        passed = 0
        with suppress(ConnectionError, asyncio.CancelledError):
            while part := await source.read(65_536):
                if most is not None:
                    part = part[: most - passed]
                target.write(part)
                await target.drain()
                passed += len(part)
                if most is not None and passed >= most:
                    break
        if most is not None:
            self.passed = passed


@asynccontextmanager
async def cutting() -> AsyncIterator[tuple[Cutter, str, str]]:
    """The proxy, its URL, and the relay's own."""
    async with running_relay() as url:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        cutter = Cutter(parts.hostname, parts.port)
        server = await asyncio.start_server(cutter.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            yield cutter, f"ws://127.0.0.1:{port}", url
        finally:
            server.close()


@pytest.mark.parametrize(
    ("way", "every"),
    [
        ("up", 197),
        ("down", 17),
        pytest.param("up", 1, marks=pytest.mark.soak),
        pytest.param("down", 1, marks=pytest.mark.soak),
    ],
)
async def test_t019_a_connection_cut_at_any_byte_stores_each_entry_once(way: str, every: int) -> None:
    """HT-R-041: the handshake, headers, lengths and bodies of messages; the client comes back and sends the rest."""
    async with cutting() as (cutter, through, direct):
        whole = await _bytes_of_a_life(cutter, through, way)
        for count in range(1, whole, every):
            await _life(cutter, through, way, count)
        appender = _appender(9)
        await asyncio.wait_for(appender.try_once(direct), PATIENCE)
        held = await asyncio.wait_for(appender.read(direct), PATIENCE)
    assert len(held) == len(set(held.values()))
    assert sorted(held) == list(range(1, len(held) + 1))
    assert {entry_id * 40 for entry_id in appender.entries} <= set(held.values())


def _appender(number: int) -> Appender:
    appender = Appender()
    appender.entries = [type(each)(each[:15] + bytes([number])) for each in appender.entries]
    return appender


async def _bytes_of_a_life(cutter: Cutter, url: str, way: str) -> int:
    setattr(cutter, way, 1 << 30)
    await asyncio.wait_for(_appender(0).try_once(url), PATIENCE)
    await asyncio.sleep(0)
    setattr(cutter, way, None)
    for _ in range(200):
        if cutter.passed:
            break
        await asyncio.sleep(0.01)
    assert cutter.passed > 300
    return cutter.passed


async def _life(cutter: Cutter, url: str, way: str, count: int) -> None:
    """Append until cut; then, uncut, everything that was not answered, under the same entry_ids."""
    appender = _appender(1 + count % 7)
    setattr(cutter, way, count)
    with suppress(HanaError):
        await asyncio.wait_for(appender.try_once(url), PATIENCE)
    setattr(cutter, way, None)
    answered = dict(appender.stored)
    await asyncio.wait_for(appender.try_once(url), PATIENCE)
    assert answered.items() <= appender.stored.items()
    held = await asyncio.wait_for(appender.read(url), PATIENCE)
    assert all(held[seq] == entry_id * 40 for entry_id, seq in appender.stored.items())
    assert not appender.refused
