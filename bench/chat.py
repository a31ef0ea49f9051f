"""Topic `chat`: 1:1 messages through each server: how many, how late, for how much CPU."""

import dataclasses
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bench import load
from bench.lines import SIZE
from bench.load import Measured, Pair
from bench.machine import DRIVER_CORE, SERVER_CORE, NotMeasured
from bench.options import Options
from bench.peers import Server
from bench.peers.ejabberd import Ejabberd
from bench.peers.hanatalk import Hanatalk
from bench.peers.mosquitto import Mosquitto
from bench.peers.prosody import Prosody
from bench.report import Table

OURS, MEMORY = "hanatalk sqlite", "hanatalk memory"
EJABBERD, EJABBERD_ARCHIVE = "ejabberd online only", "ejabberd archive"
PROSODY, PROSODY_ARCHIVE = "prosody online only", "prosody archive"
MOSQUITTO = "mosquitto qos 1"
ECHO = "hanatalk sqlite, echo"  # the sender's own device reads along, as people's clients do
RATE = 10_000  # messages/s of the open loop that the target names


@dataclass
class Candidate:
    """One server under load. `slow`: with so few messages a second, more under way would only wait."""

    name: str
    make: Callable[[], Server]
    slow: bool = False
    server: Server | None = None
    pairs: list[Pair] = field(default_factory=list)
    why: str = ""


def candidates() -> list[Candidate]:
    return [
        Candidate(OURS, Hanatalk),
        Candidate(EJABBERD, Ejabberd),
        Candidate(MOSQUITTO, Mosquitto),
        Candidate(PROSODY, Prosody),
        Candidate(EJABBERD_ARCHIVE, lambda: Ejabberd(archive=True), slow=True),
        Candidate(PROSODY_ARCHIVE, lambda: Prosody(archive=True), slow=True),
        Candidate(MEMORY, lambda: Hanatalk("memory")),
        Candidate(ECHO, lambda: Hanatalk(echo=True)),
    ]


Round = Callable[[Candidate, Options, Table], Awaitable[None]]


async def _measure(options: Options, table: Table, everyone: list[Candidate], one: Round) -> None:
    try:
        for candidate in everyone:
            try:
                candidate.server = candidate.make()
                candidate.pairs = await candidate.server.pairs(options.pairs)
            except (NotMeasured, OSError) as error:
                candidate.why = str(error)
        for _ in range(options.rounds):
            for candidate in everyone:
                if not candidate.why:
                    try:
                        await one(candidate, options, table)
                    except (NotMeasured, OSError) as error:
                        candidate.why = str(error)
        for candidate in everyone:
            if candidate.why:
                table.row("messages/s", candidate.name, "/s", digits=0).why = candidate.why
    finally:
        for candidate in everyone:
            for pair in candidate.pairs:
                pair.close()
            if candidate.server is not None:
                candidate.server.stop()


async def _round(candidate: Candidate, options: Options, table: Table) -> None:
    assert candidate.server is not None
    name, pids = candidate.name, candidate.server.pids
    window = 1 if candidate.slow else options.window
    full = await load.closed_loop(candidate.pairs, pids, window=window, seconds=options.seconds)
    _note(table, name, full)
    half = await load.open_loop(candidate.pairs, pids, rate=full.rate / 2, seconds=options.seconds)
    table.row("p50 at half load", name, "ms").values.append(half.p50)
    table.row("p99 at half load", name, "ms").values.append(half.p99)
    if name == OURS:
        fixed = await load.open_loop(candidate.pairs, pids, rate=RATE, seconds=options.seconds)
        table.row(f"p50 at {RATE:,}/s", name, "ms").values.append(fixed.p50)
        table.row(f"p99 at {RATE:,}/s", name, "ms").values.append(fixed.p99)


def _note(table: Table, name: str, full: Measured) -> None:
    table.row("messages/s", name, "/s", digits=0).values.append(full.rate)
    table.row("CPU s per 10,000", name, "s", digits=3).values.append(full.server_per_10k)
    table.row("server's share of its core", name, "", digits=2).values.append(full.server_share)
    table.row("driver's share of its core", name, "", digits=2).values.append(full.driver_share)
    if full.lost:
        table.row("never delivered", name, "", digits=0).values.append(full.lost)


def chat(options: Options) -> Table:
    """See the module."""
    table = Table(
        "chat",
        "1:1 messages end to end, acknowledged after they are durable (ours), one server core",
        [
            f"{options.pairs} pairs, {options.window} messages of {SIZE} bytes under way in each (1 with an archive)",
            f"loopback, no TLS; servers on core {SERVER_CORE}, driver on core {DRIVER_CORE}",
            f"{options.rounds} rounds of {options.seconds:g} s, all servers in turn in each",
            "ours: sqlite FULL, encrypted; the receiver acknowledges, which burns the entry; echo: so does the sender",
        ],
    )
    os.sched_setaffinity(0, {DRIVER_CORE})
    load.run(_measure(options, table, candidates(), _round))
    rate = {name: table.row("messages/s", name, "/s", digits=0) for name in (OURS, EJABBERD, MOSQUITTO)}
    rate |= {name: table.row("messages/s", name, "/s", digits=0) for name in (EJABBERD_ARCHIVE, PROSODY_ARCHIVE)}
    table.ratio("messages/s against ejabberd without an archive", rate[OURS], rate[EJABBERD], 2, higher=True)
    table.ratio("messages/s against ejabberd with an archive", rate[OURS], rate[EJABBERD_ARCHIVE], 150, higher=True)
    table.ratio("messages/s against Prosody with an archive", rate[OURS], rate[PROSODY_ARCHIVE], 150, higher=True)
    table.ratio("messages/s against Mosquitto QoS 1", rate[OURS], rate[MOSQUITTO], 1, higher=True)
    table.ratio(
        f"p99 at {RATE:,}/s against ejabberd's at half load",
        table.row(f"p99 at {RATE:,}/s", OURS, "ms"),
        table.row("p99 at half load", EJABBERD, "ms"),
        1.5,
        higher=False,
    )
    return table


async def _one_at_a_time(candidate: Candidate, options: Options, table: Table) -> None:
    assert candidate.server is not None
    found = await load.closed_loop(candidate.pairs, candidate.server.pids, window=1, seconds=options.seconds)
    _note(table, candidate.name, found)


def single(options: Options) -> Table:
    """Topic `single`: the same without pipelining, every pair waits for each message before the next."""
    table = Table(
        "single",
        "1:1 messages, one under way in each pair: what a server does when nothing can be bundled",
        [f"{options.pairs * 2} pairs of connections; for information, no target"],
    )
    os.sched_setaffinity(0, {DRIVER_CORE})
    everyone = [candidate for candidate in candidates() if candidate.name in (OURS, EJABBERD, MOSQUITTO, MEMORY)]
    load.run(_measure(dataclasses.replace(options, pairs=options.pairs * 2), table, everyone, _one_at_a_time))
    return table
