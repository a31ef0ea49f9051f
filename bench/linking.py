"""Topic `link`: a second device joins every conversation of an account."""

import os
import time

from bench.load import run
from bench.machine import DRIVER_CORE, NotMeasured, cpu_seconds, own_cpu_seconds
from bench.options import Options
from bench.peers.hanatalk import Hanatalk
from bench.report import Table
from hanatalk.client import calls, group_calls
from hanatalk.drill.people import Person

PATIENCE = 280.0  # seconds


async def _link(options: Options, table: Table) -> None:
    server = Hanatalk("sqlite")
    url = f"ws://127.0.0.1:{server.port}"
    old, new = (Person(server.folder / name, name=name) for name in ("old", "new"))
    try:
        for person in (old, new):
            person.sign_up(url)
            await person.arrive()
        await old.sync()
        for number in range(options.conversations):
            await old.ask(group_calls.GroupCreate(name=f"group {number}"), group_calls.GroupDone)
        await old.sync(wait=60)
        began, own, theirs = time.perf_counter(), own_cpu_seconds(), cpu_seconds(server.pids)
        shown = await new.ask(calls.Link(language="en"), calls.Linking)
        await old.ask(calls.Approve(link=shown.link or ""), calls.Approving)
        approving = await old.ask(calls.ApproveState(seen="offered", wait=20), calls.Approving)
        linking = await new.ask(calls.LinkState(seen="shown", wait=20), calls.Linking)
        if approving.words != linking.words:
            raise NotMeasured("other words on the two screens")
        await new.ask(calls.LinkConfirm(yes=True), calls.Linking)
        await old.ask(calls.ApproveConfirm(yes=True), calls.Approving)

        async def there() -> bool:
            state = await new.ask(calls.LinkState(), calls.Linking)
            chats = await new.ask(calls.Chats(), calls.ChatList)
            if state.state == "failed":
                raise NotMeasured(state.failure or "failed")
            return state.state == "linked" and not state.awaited and len(chats.chats) >= options.conversations

        if not await new.until(there, patience=PATIENCE):
            raise NotMeasured(f"not in all conversations after {PATIENCE:g} s")
        who = "hanatalk"
        table.row("until it is in all of them", who, "s").values.append(time.perf_counter() - began)
        table.row("both devices", who, "s CPU").values.append(own_cpu_seconds() - own)
        table.row("the relay", who, "s CPU").values.append(cpu_seconds(server.pids) - theirs)
    finally:
        for person in (old, new):
            await person.leave()
        server.stop()


def link(options: Options) -> Table:
    """From the code to the last conversation; both devices are in this process."""
    table = Table(
        "link",
        f"linking a device to an account with {options.conversations} conversations",
        ["groups of this account alone, suite X-Wing; nobody has to compare words", "without history"],
    )
    os.sched_setaffinity(0, {DRIVER_CORE})
    for _ in range(1 if options.quick else options.rounds):
        run(_link(options, table))
    return table
