"""Topic `driver`: how many messages the driver itself can send and count, against a relay that does nothing."""

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import cast

from bench import lines, load
from bench.machine import DRIVER_CORE, Running, free_port
from bench.options import Options
from bench.report import Table
from hanatalk.wire import frames
from hanatalk.wire.frames import PushedEntry


class _Hollow(asyncio.Protocol):
    """Answers like a relay as far as the load looks; stores nothing, checks nothing."""

    readers: dict[bytes, "_Hollow"] = {}  # noqa: RUF012 (one process, one purpose)

    def __init__(self) -> None:
        self._rest = b""
        self._greeted = False
        self._channel = b""
        self._seq = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if not self._greeted:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = head
                return
            self._greeted = True
            self.transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        position, end = 0, len(data)
        while end - position >= 6:
            size, start = data[position + 1] & 0x7F, position + 2
            if size == 126:
                size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
            elif size == 127:
                size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
            start += 4
            if start + size > end:
                break
            self._message(data[start : start + size])
            position = start + size
        self._rest = data[position:]

    def _message(self, message: bytes) -> None:
        stored: list[frames.Frame] = []
        pushed: list[PushedEntry] = []
        for frame in frames.decode_client_frames(message):
            if type(frame) is frames.Append:
                self._seq += 1
                stored.append(frames.Stored(frame.request, self._seq, 0))
                pushed.append(PushedEntry(self._seq, 0, frame.entry_class, False, frame.entry))
            elif type(frame) is frames.Open:
                self._channel = frame.channel_id
                stored.append(frames.Opened(frame.request, 1, bytes(16), 0, 0, 0))
            elif type(frame) is frames.Subscribe:
                self.readers[self._channel] = self
                stored.append(frames.CaughtUp(1, 0))
            elif type(frame) is frames.Hello:
                limits = frames.RelayLimits(1 << 20, 1 << 16, 1, 0, 0, 1, 1)
                stored.append(frames.Limits(1, limits, frames.RetentionDays(3, 30, 1), "", bytes(32)))
        if stored:
            self.say(stored)
        if pushed:
            self.readers[self._channel].say([frames.Entries(1, pushed)])

    def say(self, said: list[frames.Frame]) -> None:
        message = frames.encode(said)
        size = len(message)
        if size < 126:
            head = b"\x82" + bytes([size])
        elif size < 65_536:
            head = b"\x82\x7e" + size.to_bytes(2, "big")
        else:
            head = b"\x82\x7f" + size.to_bytes(8, "big")
        self.transport.write(head + message)


async def hollow(port: int) -> None:
    """Until it is killed."""
    server = await asyncio.get_running_loop().create_server(_Hollow, "127.0.0.1", port)
    await server.serve_forever()


async def _measure(options: Options, table: Table, port: int, running: Running) -> None:
    pairs = await lines.hanatalk_pairs(port, options.pairs)
    for _ in range(options.rounds):
        found = await load.closed_loop(pairs, running.pids, window=options.window, seconds=options.seconds)
        table.row("messages/s", "the driver", "/s", digits=0).values.append(found.rate)
        table.row("driver's share of its core", "the driver", "").values.append(found.driver_share)
        table.row("messages per CPU s of the driver", "the driver", "/s", digits=0).values.append(
            found.rate / max(found.driver_share, 0.01)
        )
    for pair in pairs:
        pair.close()


def driver(options: Options) -> Table:
    """See the module."""
    table = Table(
        "driver",
        "what the load driver can do at most",
        ["against a relay that answers at once and does nothing; every other table says how busy the driver was"],
    )
    os.sched_setaffinity(0, {DRIVER_CORE})
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        running = Running(
            [sys.executable, "-m", "bench", "--hollow", str(port)],
            folder=Path(folder),
            env={"PYTHONPATH": str(Path(__file__).parents[1])},
        )
        try:
            running.wait_for_port(port)
            load.run(_measure(options, table, port, running))
        finally:
            running.stop()
    return table
