"""Topic `file`: a large file from one person to another through a real relay, and what it takes of memory."""

import os
import resource
import time
from pathlib import Path

from bench.client import Two, received
from bench.load import run
from bench.machine import DRIVER_CORE, NotMeasured
from bench.options import Options
from bench.report import Table
from hanatalk.client import calls, events

PAGE = resource.getpagesize()
WAIT = 280.0  # seconds


def _held() -> float:
    """MiB of this process that are in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 2**20


async def _transfer(options: Options, table: Table) -> None:
    two = Two()
    mebibytes = 1 if options.quick else 64
    path = two.relay.folder / "file"
    path.write_bytes(os.urandom(mebibytes << 20))
    figures = {what: table.row(what, "hanatalk", "MiB/s", digits=1) for what in ("sealing", "up", "down", "saving")}
    work = {what: table.row(f"{what}, of the client's CPU", "hanatalk", "MiB/s", digits=0) for what in ("up", "down")}
    try:
        await two.meet()
        before = _held()
        for _ in range(options.rounds):
            messages = two.other.saw(events.MessageReceived) + 1
            marks = [(time.perf_counter(), time.process_time())]
            attached = await two.one.ask(calls.Attach(path=str(path)), calls.Attached)
            marks.append((time.perf_counter(), time.process_time()))
            send = calls.Send(conversation=two.conversation, text="", attachments=[attached.attachment], wait=WAIT)
            sent = await two.one.ask(send, calls.Sent)
            marks.append((time.perf_counter(), time.process_time()))
            await received(two.other, messages)
            begun = (time.perf_counter(), time.process_time())
            fetched = await two.other.ask(calls.Fetch(message=sent.message, wait=WAIT), calls.Transfer)
            done = (time.perf_counter(), time.process_time())
            if (sent.state == "queued", fetched.state) != (False, "here"):
                raise NotMeasured("the file did not arrive")
            await two.other.ask(calls.Save(message=sent.message, folder=str(two.relay.folder / "to")), calls.SavedList)
            figures["sealing"].values.append(mebibytes / (marks[1][0] - marks[0][0]))
            figures["up"].values.append(mebibytes / (marks[2][0] - marks[1][0]))
            figures["down"].values.append(mebibytes / (done[0] - begun[0]))
            figures["saving"].values.append(mebibytes / (time.perf_counter() - done[0]))
            work["up"].values.append(mebibytes / (marks[2][1] - marks[1][1]))
            work["down"].values.append(mebibytes / (done[1] - begun[1]))
            table.row("memory more than before", "hanatalk", "MiB", digits=0).values.append(_held() - before)
    finally:
        await two.part()


def transfer(options: Options) -> Table:
    """No target: what the figures are compared with is the disk."""
    table = Table(
        "file",
        "a file of 64 MiB from one person to the other",
        ["two engines in one process on the driver's core, a relay with sqlite on the other; durable at all three"],
    )
    os.sched_setaffinity(0, {DRIVER_CORE})
    run(_transfer(options, table))
    return table
