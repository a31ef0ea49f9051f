"""Topics about the relay besides `chat`: idle connections, one channel with many subscribers, one that stalls, TLS."""

import asyncio
import os
import ssl
import time
from collections.abc import Callable
from typing import cast

from bench import lines, load
from bench.lines import SIZE, HanatalkLine
from bench.machine import DRIVER_CORE, NotMeasured, cpu_seconds, own_cpu_seconds, resident_mib
from bench.options import Options
from bench.peers.ejabberd import Ejabberd
from bench.peers.hanatalk import Hanatalk
from bench.peers.prosody import Prosody
from bench.report import Table
from hanatalk.ids import EntryId, ReaderId
from hanatalk.wire import frames
from hanatalk.wire.classes import EntryClass

SETTLE = 1.0  # seconds after connecting, for what connecting left behind
FREE = {"limits": {"requests_per_second": 0, "bytes_per_second": 0}}


# --- idle ------------------------------------------------------------------------------------------------------------


async def _idle(make: Callable[[], Hanatalk | Prosody | Ejabberd], count: int) -> float:
    server = make()
    try:
        first = await server.idle(min(20, count))  # what the first ones cost is the server's, not theirs
        await asyncio.sleep(SETTLE)
        before = resident_mib(server.pids)
        if isinstance(server, Hanatalk):
            more = await server.idle(count)
        else:
            more = await server.idle(count, first=len(first))
        await asyncio.sleep(SETTLE)
        grown = resident_mib(server.pids) - before
        for line in [*first, *more]:
            line.transport.abort()
        return grown * 1_000 / count
    finally:
        server.stop()


def idle(options: Options) -> Table:
    """MiB per 1,000 connections that are logged in (ours: subscribed to a channel each) and silent."""
    table = Table(
        "idle",
        "memory of idle connections",
        [f"growth of the server's proportional set size by {options.connections:,} connections, per 1,000"],
    )
    os.sched_setaffinity(0, {DRIVER_CORE})
    candidates: list[tuple[str, Callable[[], Hanatalk | Prosody | Ejabberd]]] = [
        ("hanatalk sqlite", Hanatalk),
        ("prosody online only", Prosody),
        ("ejabberd online only", Ejabberd),
    ]
    rows = {name: table.row("per 1,000 idle", name, "MiB") for name, _ in candidates}
    for _ in range(options.rounds):
        for name, make in candidates:
            try:
                rows[name].values.append(load.run(_idle(make, options.connections)))
            except (NotMeasured, OSError) as error:
                rows[name].why = str(error)
    table.ratio(
        "per idle connection against Prosody", rows["hanatalk sqlite"], rows["prosody online only"], 0.5, higher=False
    )
    return table


# --- fan-out ---------------------------------------------------------------------------------------------------------


class _Sink(asyncio.BufferedProtocol):
    """Counts bytes; all sinks share one buffer."""

    buffer = memoryview(bytearray(1 << 20))
    total = 0

    def get_buffer(self, _: int) -> memoryview:
        return _Sink.buffer

    def buffer_updated(self, count: int) -> None:
        _Sink.total += count


async def _fan_out(options: Options, table: Table, store: str, size: int) -> None:
    server = Hanatalk(store)
    try:
        read, write = os.urandom(32), os.urandom(32)
        sender = cast(HanatalkLine, await lines.dial(HanatalkLine, server.port))
        await sender.greet()
        handle = await sender.open(read, write, reads=False, writes=True)
        subscribers = []
        for _ in range(options.subscribers):
            line = cast(HanatalkLine, await lines.dial(HanatalkLine, server.port))
            await line.greet()
            reading = await line.open(read, write, reads=True, writes=False)
            line.say([frames.Subscribe(reading, 0)])
            await line.answer(frames.CaughtUp)
            subscribers.append(line)
        counted = subscribers[0]
        for line in subscribers[1:]:
            line.transport.set_protocol(_Sink())
        seen = bytes_seen = 0
        entry = os.urandom(size)
        going = True

        def append(count: int) -> None:
            sender.request += count
            sender.say(
                [
                    frames.Append(
                        sender.request - n,
                        handle,
                        EntryId(os.urandom(16)),
                        EntryClass.MESSAGE,
                        False,
                        0,
                        None,
                        None,
                        entry,
                    )
                    for n in range(count - 1, -1, -1)
                ]
            )

        def arrived(got: list[frames.RelayFrame]) -> None:
            nonlocal seen
            count = sum(len(frame.entries) for frame in got if type(frame) is frames.Entries)
            seen += count
            if going and count:
                append(count)

        whole = counted.messages

        def hot(data: bytes) -> None:
            nonlocal bytes_seen
            bytes_seen += len(data)
            whole(data)

        sender.on_frames = lambda _: None
        counted.on_frames = arrived
        counted.hot = hot
        append(options.window * 4)
        await asyncio.sleep(1 if not options.quick else 0.1)
        pids = server.pids
        began, before, total, entries, own = time.perf_counter(), cpu_seconds(pids), _Sink.total, seen, bytes_seen
        mine = own_cpu_seconds()
        await asyncio.sleep(options.seconds)
        seconds = time.perf_counter() - began
        if seen == entries:
            raise NotMeasured("nothing arrived")
        each = (bytes_seen - own) / (seen - entries)
        deliveries = (_Sink.total - total) / each + (seen - entries)
        cpu = cpu_seconds(pids) - before
        going = False
        who = f"hanatalk {store}, {size} bytes"
        table.row("deliveries/s", who, "/s", digits=0).values.append(deliveries / seconds)
        table.row("deliveries per CPU s", who, "/s", digits=0).values.append(deliveries / cpu)
        table.row("server's share of its core", who, "").values.append(cpu / seconds)
        table.row("driver's share of its core", who, "").values.append((own_cpu_seconds() - mine) / seconds)
        for line in [sender, *subscribers]:
            line.transport.abort()
    finally:
        server.stop()


def fanout(options: Options) -> Table:
    """One channel with many subscribers."""
    table = Table(
        "fanout",
        f"deliveries/s, one channel × {options.subscribers:,} subscribers",
        [
            f"one appender keeps {options.window * 4} entries under way; nobody acknowledges",
            "one subscriber decodes everything, of the others bytes are counted",
        ],
    )
    os.sched_setaffinity(0, {DRIVER_CORE})
    for _ in range(options.rounds):
        for store, size in (("sqlite", 256), ("sqlite", SIZE)):
            try:
                load.run(_fan_out(options, table, store, size))
            except (NotMeasured, OSError) as error:
                table.row("deliveries/s", f"hanatalk {store}, {size} bytes", "/s").why = str(error)
    row = table.row("deliveries/s", f"hanatalk sqlite, {SIZE} bytes", "/s", digits=0)
    table.bound("deliveries/s", row, 1_000_000, higher=True)
    return table


# --- one that stalls -------------------------------------------------------------------------------------------------


async def _stalled(options: Options, table: Table) -> None:
    server = Hanatalk(limits={**FREE["limits"], "unsent_size": 1 << 20})
    try:
        read, write = os.urandom(32), os.urandom(32)
        sender = cast(HanatalkLine, await lines.dial(HanatalkLine, server.port))
        await sender.greet()
        handle = await sender.open(read, write, reads=False, writes=True)
        slow = cast(HanatalkLine, await lines.dial(HanatalkLine, server.port))
        await slow.greet()
        reading = await slow.open(read, write, reads=True, writes=False)
        slow.say([frames.Subscribe(reading, 0)])
        await slow.answer(frames.CaughtUp)
        slow.transport.pause_reading()
        stored = asyncio.Event()
        waiting = 0

        def on_stored(got: list[frames.RelayFrame]) -> None:
            nonlocal waiting
            waiting -= sum(type(frame) is frames.Stored for frame in got)
            if waiting <= 2_000:
                stored.set()

        sender.on_frames = on_stored
        entry = os.urandom(SIZE)

        async def fill(count: int) -> None:
            nonlocal waiting
            done = 0
            while done < count:
                part = min(500, count - done)
                done += part
                waiting += part
                sender.request += part
                sender.say(
                    [
                        frames.Append(
                            sender.request - n,
                            handle,
                            EntryId(os.urandom(16)),
                            EntryClass.MESSAGE,
                            False,
                            0,
                            1,
                            None,
                            entry,
                        )
                        for n in range(part - 1, -1, -1)
                    ]
                )
                while waiting > 2_000:
                    stored.clear()
                    await stored.wait()
            while waiting:
                stored.clear()
                await stored.wait()

        before = resident_mib(server.pids)
        peak = before
        for part in range(10):
            await fill(options.pending // 10)
            peak = max(peak, resident_mib(server.pids))
            if part == 0:
                table.row(f"RSS with {options.pending // 10:,} pending", "hanatalk sqlite", "MiB").values.append(
                    resident_mib(server.pids)
                )
        table.row("RSS before", "hanatalk sqlite", "MiB").values.append(before)
        table.row(f"RSS with {options.pending:,} pending", "hanatalk sqlite", "MiB").values.append(
            resident_mib(server.pids)
        )
        table.row("RSS at most", "hanatalk sqlite", "MiB").values.append(peak)
        # Then it wakes up and reads everything.
        got = 0
        done = asyncio.Event()

        def arrived(answers: list[frames.RelayFrame]) -> None:
            nonlocal got
            for frame in answers:
                if type(frame) is frames.Entries:
                    got += len(frame.entries)
                    slow.say([frames.Ack(reading, ReaderId(b"r" * 16), frame.entries[-1].seq)])
            if got >= options.pending // 10 * 10:
                done.set()

        slow.on_frames = arrived
        began = time.perf_counter()
        slow.transport.resume_reading()
        async with asyncio.timeout(600):
            await done.wait()
        seconds = time.perf_counter() - began
        table.row("entries/s when it wakes up", "hanatalk sqlite", "/s", digits=0).values.append(got / seconds)
        peak = max(peak, resident_mib(server.pids))
        table.row("RSS at most, reading included", "hanatalk sqlite", "MiB").values.append(peak)
        slow.transport.abort()
        sender.transport.abort()
    finally:
        server.stop()


def stalled(options: Options) -> Table:
    """A subscriber that reads nothing while entries pile up."""
    table = Table(
        "stalled",
        "memory of the relay with one stalled subscriber",
        [
            f"{options.pending:,} entries of {SIZE} bytes for a subscriber that reads nothing; --full: 1,000,000",
            "includes SQLite's page cache (at most 64 MiB each for the writer and the thread that copies the log)",
        ],
    )
    os.sched_setaffinity(0, {DRIVER_CORE})
    load.run(_stalled(options, table))
    row = table.row("RSS at most, reading included", "hanatalk sqlite", "MiB")
    table.bound(f"{row.what}: bounded, this is the bound", row, 256, higher=False)
    return table


# --- TLS -------------------------------------------------------------------------------------------------------------


async def _tls(options: Options, table: Table) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the load does not ask who it is; people's clients compare the pin
    servers = {"plain": Hanatalk(), "TLS": Hanatalk(tls="self")}
    try:
        pairs = {
            name: await lines.hanatalk_pairs(server.port, options.pairs, context if name == "TLS" else None)
            for name, server in servers.items()
        }
        for _ in range(options.rounds):
            for name, server in servers.items():
                found = await load.closed_loop(pairs[name], server.pids, window=options.window, seconds=options.seconds)
                table.row("messages/s", f"hanatalk sqlite, {name}", "/s", digits=0).values.append(found.rate)
                table.row("CPU s per 10,000", f"hanatalk sqlite, {name}", "s", digits=3).values.append(
                    found.server_per_10k
                )
                table.row("driver's share of its core", f"hanatalk sqlite, {name}", "").values.append(
                    found.driver_share
                )
        for some in pairs.values():
            for pair in some:
                pair.close()
    finally:
        for server in servers.values():
            server.stop()


def tls(options: Options) -> Table:
    """What TLS costs the relay."""
    table = Table(
        "tls",
        "durable 1:1 messages with and without TLS",
        [f"{options.pairs} pairs, {options.window} under way in each; the relay's own self-signed key"],
    )
    os.sched_setaffinity(0, {DRIVER_CORE})
    load.run(_tls(options, table))
    return table
