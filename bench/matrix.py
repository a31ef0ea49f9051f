"""Topic `synapse`: the same 1:1 messages through a Matrix server."""

import asyncio
import base64
import os
import time

from bench import load
from bench.chat import OURS
from bench.lines import SIZE
from bench.machine import DRIVER_CORE, NotMeasured, cpu_seconds, percentile
from bench.options import Options
from bench.peers.hanatalk import Hanatalk
from bench.peers.synapse import Client, Synapse
from bench.report import Table

PAIRS = 4
NAME = "synapse"


async def _pair(port: int, number: int) -> tuple[Client, Client, str, str]:
    one, other = Client(port), Client(port)
    await one.register(f"a{number}")
    await other.register(f"b{number}")
    room = (
        await one.ask(
            "POST", "/_matrix/client/v3/createRoom", {"preset": "private_chat", "invite": [f"@b{number}:localhost"]}
        )
    )["room_id"]
    await other.ask("POST", f"/_matrix/client/v3/rooms/{room}/join", {})
    since = (await other.ask("GET", "/_matrix/client/v3/sync?timeout=0"))["next_batch"]
    return one, other, room, since


async def _measure(options: Options, table: Table) -> None:
    server = Synapse()
    ours = Hanatalk()
    body = base64.b64encode(os.urandom(SIZE))[:SIZE].decode()
    try:
        pairs = [await _pair(server.port, number) for number in range(PAIRS)]
        our_pairs = await ours.pairs(options.pairs)
        for _ in range(options.rounds):
            found = await load.closed_loop(our_pairs, ours.pids, window=options.window, seconds=options.seconds)
            table.row("messages/s", OURS, "/s", digits=0).values.append(found.rate)
            sent: dict[int, list[float]] = {number: [] for number in range(PAIRS)}
            times: list[float] = []
            until = time.perf_counter() + options.seconds

            async def write(number: int, until: float, sent: dict[int, list[float]]) -> None:
                one, _, room, _ = pairs[number]
                while time.perf_counter() < until:
                    sent[number].append(time.perf_counter())
                    await one.send(room, body)

            async def read(number: int, until: float, sent: dict[int, list[float]], times: list[float]) -> None:
                one, other, room, since = pairs[number]
                while True:
                    found = await other.ask("GET", f"/_matrix/client/v3/sync?since={since}&timeout=1000")
                    since = found["next_batch"]
                    pairs[number] = (one, other, room, since)
                    joined = found.get("rooms", {}).get("join", {}).get(room, {})
                    arrived = joined.get("timeline", {}).get("events", [])
                    for _ in range(sum(event["type"] == "m.room.message" for event in arrived)):
                        times.append(time.perf_counter() - sent[number].pop(0))  # noqa: PERF401
                    if time.perf_counter() > until + 0.5 and not sent[number]:
                        return

            before, began = cpu_seconds(server.pids), time.perf_counter()
            async with asyncio.timeout(options.seconds + 60):
                await asyncio.gather(
                    *[write(n, until, sent) for n in range(PAIRS)], *[read(n, until, sent, times) for n in range(PAIRS)]
                )
            seconds = min(time.perf_counter() - began, options.seconds + 0.5)
            table.row("messages/s", NAME, "/s", digits=0).values.append(len(times) / seconds)
            cpu = (cpu_seconds(server.pids) - before) / len(times) * 1e4
            table.row("CPU s per 10,000", NAME, "s").values.append(cpu)
            table.row("p50 while saturated", NAME, "ms").values.append(percentile(times, 0.5) * 1e3)
            table.row("p99 while saturated", NAME, "ms").values.append(percentile(times, 0.99) * 1e3)
        for one, other, _, _ in pairs:
            one.close()
            other.close()
        for pair in our_pairs:
            pair.close()
    finally:
        server.stop()
        ours.stop()


def synapse(options: Options) -> Table:
    """See the module."""
    table = Table(
        "synapse",
        "1:1 messages through a Matrix server, unencrypted events",
        [f"{PAIRS} rooms of two, each sender waits for the answer, each receiver syncs by long polling; SQLite"],
    )
    os.sched_setaffinity(0, {DRIVER_CORE})
    try:
        load.run(_measure(options, table))
    except (NotMeasured, OSError) as error:
        table.row("messages/s", NAME, "/s").why = str(error)
    return table
