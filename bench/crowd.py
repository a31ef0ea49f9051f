"""Topic `crowd`: a group of people through their engines and a relay, from its founding to a removal."""

import asyncio
import os
import time

from bench.load import run
from bench.machine import DRIVER_CORE, NotMeasured, cpu_seconds, own_cpu_seconds
from bench.options import Options
from bench.peers.hanatalk import Hanatalk
from bench.report import Table
from hanatalk.client import calls, events, group_calls
from hanatalk.drill.people import Person

PATIENCE = 90.0  # seconds
MESSAGES = 5


class _Meter:
    """Seconds, CPU of all devices and of the relay, from its making to `tell`."""

    def __init__(self, table: Table, server: Hanatalk) -> None:
        self.table, self.server = table, server
        self.began, self.own, self.relay = time.perf_counter(), own_cpu_seconds(), cpu_seconds(server.pids)

    def tell(self, what: str, count: int = 1) -> None:
        for name, unit, value in (
            ("", "s", time.perf_counter() - self.began),
            (", all devices", "s CPU", own_cpu_seconds() - self.own),
            (", the relay", "s CPU", cpu_seconds(self.server.pids) - self.relay),
        ):
            self.table.row(what + name, "hanatalk", unit, digits=3).values.append(value / count)


async def _until(person: Person, number: int, conversation: str) -> None:
    async def there() -> bool:
        chats = (await person.ask(calls.Chats(), calls.ChatList)).chats
        return any(chat.conversation == conversation and chat.members == number for chat in chats)

    if not await person.until(there, patience=PATIENCE):
        raise NotMeasured(f"{person.name} does not see {number} members after {PATIENCE:g} s")


async def _crowd(options: Options, table: Table) -> None:
    server = Hanatalk("sqlite")
    url = f"ws://127.0.0.1:{server.port}"
    people = [Person(server.folder / f"person-{number}", name=f"person {number}") for number in range(options.crowd)]
    founder, others = people[0], people[1:]
    try:
        for person in people:
            person.sign_up(url)
            await person.arrive()
        for other in others:
            invite = await founder.ask(calls.Invite(), calls.InviteMade)
            await other.ask(calls.Accept(link=invite.invite), calls.Accepted)
        for person in people:
            await person.sync(wait=60)
        made = await founder.ask(group_calls.GroupCreate(name="crowd"), group_calls.GroupDone)
        conversation = made.conversation
        await founder.sync()
        meter = _Meter(table, server)
        contacts = [other.name for other in others]
        await founder.ask(group_calls.GroupAdd(conversation=conversation, people=contacts), group_calls.GroupDone)
        await asyncio.gather(*(_until(person, len(people), conversation) for person in people))
        meter.tell("adding all in one commit, until each sees all")
        for person in people:
            await person.sync(wait=60)
        for number in range(1 if options.quick else MESSAGES):
            meter = _Meter(table, server)
            seen = {person.name: person.saw(events.MessageReceived) for person in others}
            sent = await founder.send(conversation, f"message {number}")

            async def shown(person: Person, before: int) -> None:
                async def there() -> bool:
                    return person.saw(events.MessageReceived) > before

                if not await person.until(there, patience=PATIENCE):
                    raise NotMeasured("a message did not arrive")

            await asyncio.gather(*(shown(person, seen[person.name]) for person in others))
            meter.tell("a message, until all see it")
            await asyncio.gather(
                *(person.ask(calls.Read(conversation=conversation, wait=0), calls.ReadDone) for person in others)
            )

            async def read() -> bool:
                found = await founder.message(conversation, sent.message)  # noqa: B023 (waited for in this round)
                return found is not None and found.unread == 0

            if not await founder.until(read, patience=PATIENCE):
                raise NotMeasured("the 1 did not go out")
            meter.tell("… until all have read it and the 1 is out")
        meter = _Meter(table, server)
        await founder.ask(
            group_calls.GroupRemove(conversation=conversation, people=[others[-1].name]), group_calls.GroupDone
        )
        await asyncio.gather(*(_until(person, len(people) - 1, conversation) for person in people[:-1]))
        meter.tell("removing one, until each sees it")
    finally:
        for person in people:
            await person.leave()
        server.stop()


def crowd(options: Options) -> Table:
    """All devices are in this process, each with a profile of its own."""
    table = Table(
        "crowd",
        f"a group of {options.crowd} people through their engines and a relay",
        [
            "all devices in one process on the driver's core, durable at all of them; receipts wait on purpose",
            "(at most one per max(2 s, 50 ms × devices), with jitter)",
        ],
    )
    os.sched_setaffinity(0, {DRIVER_CORE})
    for _ in range(1 if options.quick else min(options.rounds, 2)):
        run(_crowd(options, table))
    return table
