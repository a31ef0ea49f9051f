"""Topics about a person's engine: two of them with a relay between, catching up, opening, starting, MLS."""

import asyncio
import functools
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from bench import load
from bench.machine import DRIVER_CORE, NotMeasured, percentile
from bench.options import Options
from bench.peers.hanatalk import Hanatalk
from bench.report import Table
from hanatalk import mls as face
from hanatalk.client import calls, events, open_profile
from hanatalk.drill.people import Person
from hanatalk.ids import EntryId, MessageId
from hanatalk.localdb.database import FILE, Database
from hanatalk.localdb.rows import Content, Message, MessageKind, Stream
from hanatalk.localdb.vault import Vault
from hanatalk.wire import frames
from hanatalk.wire.classes import EntryClass

POLICY, WELCOME_CHANNEL = 0xF0A0, 0xF0A1  # extension types of the profile (spec/02-mls-profile.md)
HEAD = 8  # bytes of a WebSocket header from client to relay, for a message of 126 to 65,535 bytes
MESSAGES = 200  # of `send`


class Two:
    """A relay and two people in a conversation, each in a profile of their own."""

    def __init__(self) -> None:
        self.relay = Hanatalk()
        self.url = f"ws://127.0.0.1:{self.relay.port}"
        self.one = Person(self.relay.folder / "minji", name="minji")
        self.other = Person(self.relay.folder / "junho", name="junho")
        self.conversation = ""

    async def meet(self) -> None:
        for person in (self.one, self.other):
            person.sign_up(self.url)
            await person.arrive()
        invite = await self.one.ask(calls.Invite(), calls.InviteMade)
        accepted = await self.other.ask(calls.Accept(link=invite.invite), calls.Accepted)
        self.conversation = accepted.conversation
        await self.one.sync()
        await self.other.sync()
        await self.other.send(self.conversation, "hello")
        await received(self.one, 1)

    async def part(self) -> None:
        for person in (self.one, self.other):
            await person.leave()
        self.relay.stop()


async def received(person: Person, messages: int) -> None:
    """Until somebody was shown so many messages, counted since they arrived."""

    async def enough() -> bool:
        return person.saw(events.MessageReceived) >= messages

    await person.until(enough)


# --- send ------------------------------------------------------------------------------------------------------------


def _note(times: list[float], began: float, _: object) -> None:
    times.append(time.perf_counter() - began)


async def _send(options: Options, table: Table) -> None:
    two = Two()
    try:
        await two.meet()
        count = 10 if options.quick else MESSAGES
        for _ in range(options.rounds):
            times: list[float] = []
            stored: list[float] = []
            for number in range(count):
                seen = two.other.saw(events.MessageReceived)
                began = time.perf_counter()
                sending = asyncio.create_task(two.one.send(two.conversation, f"message {number}"))
                sending.add_done_callback(functools.partial(_note, stored, began))
                while two.other.saw(events.MessageReceived) == seen:
                    await asyncio.sleep(0)
                    if time.perf_counter() - began > 10:
                        raise NotMeasured("a message did not arrive in 10 s")
                times.append(time.perf_counter() - began)
                await sending
                await asyncio.sleep(0.005)
            who = "hanatalk"
            table.row("send to shown, p50", who, "ms").values.append(percentile(times, 0.5) * 1e3)
            table.row("send to shown, p99", who, "ms").values.append(percentile(times, 0.99) * 1e3)
            table.row("send to stored (✓), p50", who, "ms").values.append(percentile(stored, 0.5) * 1e3)
    finally:
        await two.part()


def send(options: Options) -> Table:
    """See the targets."""
    table = Table(
        "send",
        "from a person's send to the other's screen",
        ["two engines in one process on the driver's core, a relay with sqlite on the other; durable at all three"],
    )
    os.sched_setaffinity(0, {DRIVER_CORE})
    load.run(_send(options, table))
    table.bound("send to shown, p50", table.row("send to shown, p50", "hanatalk", "ms"), 15, higher=False)
    table.bound("send to shown, p99", table.row("send to shown, p99", "hanatalk", "ms"), 60, higher=False)
    return table


# --- catching up -----------------------------------------------------------------------------------------------------


async def _catch_up(options: Options, table: Table) -> None:
    two = Two()
    try:
        await two.meet()
        await two.other.leave()
        began = time.perf_counter()
        for number in range(options.messages):
            # Now and then until it is stored: a queue of thousands is another story.
            await two.one.send(two.conversation, f"message {number}", wait=0 if number % 50 else 5)
        await two.one.ask(calls.Sync(wait=60), calls.Synced)
        table.row(f"writing {options.messages:,} messages, one by one", "hanatalk", "s").values.append(
            time.perf_counter() - began
        )
        await two.one.leave()
        began = time.perf_counter()
        await two.other.arrive()
        synced = await two.other.sync(wait=150)
        found = await two.other.ask(calls.Messages(conversation=two.conversation, limit=1), calls.MessageList)
        if not found.messages or found.messages[-1].text != f"message {options.messages - 1}":
            raise NotMeasured(f"{synced.received} of {options.messages} messages in 150 s")
        table.row(f"catching up {options.messages:,} messages", "hanatalk", "s").values.append(
            time.perf_counter() - began
        )
    finally:
        await two.part()


def catchup(options: Options) -> Table:
    """A device that was away."""
    table = Table("catchup", "a device comes back to many messages", ["from opening the profile to the last one shown"])
    os.sched_setaffinity(0, {DRIVER_CORE})
    load.run(_catch_up(options, table))
    row = table.row(f"catching up {options.messages:,} messages", "hanatalk", "s")
    table.bound(row.what, row, 10 * options.messages / 10_000, higher=False)
    return table


# --- opening ---------------------------------------------------------------------------------------------------------


async def _opening(options: Options, table: Table) -> None:
    two = Two()
    try:
        await two.meet()
        conversation = two.conversation
        await two.one.leave()
        home = two.one.home
        database = Database(home / FILE, Vault(home).open(passphrase=None).key)
        (like,) = database.find(Message, "kind = ?", MessageKind.PERSON)
        assert like.number is not None
        (content,) = database.find(Content, "number = ?", like.number)
        began = time.perf_counter()
        for start in range(0, options.opened, 10_000):
            with database.transaction():
                for number in range(start, min(start + 10_000, options.opened)):
                    inserted = database.insert(
                        msgspec.structs.replace(
                            like,
                            number=None,
                            message=MessageId(os.urandom(16)),
                            counter=like.counter + 1 + number,
                            sent_at=like.sent_at + number,
                            read=1,
                        )
                    )
                    database.insert(msgspec.structs.replace(content, number=inserted))
        last = like.counter + options.opened
        with database.transaction():
            (stream,) = database.find(Stream, "conversation = ? AND device = ?", like.conversation, like.device)
            database.put(Stream(stream.conversation, stream.device, last, last, last, last))
        database.close()
        table.row("making it", "hanatalk", "s").values.append(time.perf_counter() - began)
        for _ in range(options.rounds):
            began = time.perf_counter()
            async with open_profile(home, passphrase=None) as profile:
                opened = time.perf_counter() - began
                await profile.call(calls.Chats())
                listed = time.perf_counter() - began
                found = await profile.call(calls.Messages(conversation=conversation, limit=50))
                assert isinstance(found, calls.MessageList)
                assert len(found.messages) == min(50, options.opened)
                shown = time.perf_counter() - began
            table.row("profile open", "hanatalk", "s", digits=3).values.append(opened)
            table.row("… and chats listed", "hanatalk", "s", digits=3).values.append(listed)
            table.row("… and 50 messages shown", "hanatalk", "s", digits=3).values.append(shown)
    finally:
        await two.part()


def opening(options: Options) -> Table:
    """A profile with a long history."""
    table = Table(
        "open",
        f"opening a profile with {options.opened:,} messages",
        ["the key in a file: without the second that Argon2id takes on purpose; the cache of the disk is warm"],
    )
    os.sched_setaffinity(0, {DRIVER_CORE})
    load.run(_opening(options, table))
    row = table.row("… and 50 messages shown", "hanatalk", "s", digits=3)
    table.bound("profile open, 50 messages shown", row, 1, higher=False)
    return table


# --- starting --------------------------------------------------------------------------------------------------------


def help_time(options: Options) -> Table:
    """`hana --help`."""
    table = Table("help", "hana --help", ["the whole process, on a core of its own"])
    os.sched_setaffinity(0, {DRIVER_CORE})
    command = [str(Path(sys.executable).with_name("hana")), "--help"]
    row = table.row("hana --help", "hanatalk", "ms", digits=0)
    bare = table.row("python -I -c pass", "python", "ms", digits=0)
    for number in range(1 if options.quick else 11):
        for one, asked in ((row, command), (bare, [sys.executable, "-I", "-c", "pass"])):
            began = time.perf_counter()
            done = subprocess.run(asked, capture_output=True, check=False)
            if done.returncode:
                raise NotMeasured(f"{asked[0]}: {done.returncode}")
            if number or options.quick:  # the first one fills caches
                one.values.append((time.perf_counter() - began) * 1e3)
    table.bound("hana --help", row, 150, higher=False)
    return table


# --- size ------------------------------------------------------------------------------------------------------------


async def _size(table: Table) -> None:
    two = Two()
    try:
        await two.meet()
        await two.other.leave()
        await two.one.sync()
        two.relay.running.stop()
        await two.one.send(two.conversation, "안녕", wait=0)
        await two.one.leave()
        home = two.one.home
        database = Database(home / FILE, Vault(home).open(passphrase=None).key)
        rows = database.tuples("SELECT entry, burn_after, turn FROM outbox WHERE message IS NOT NULL")
        database.close()
        ((entry, burn_after, turn),) = rows
        assert isinstance(entry, bytes)
        assert isinstance(burn_after, int)
        assert isinstance(turn, int)
        append = frames.Append(1, 1, EntryId(bytes(16)), EntryClass.MESSAGE, False, turn, burn_after, None, entry)
        table.row("entry", "hanatalk", "bytes", digits=0).values.append(len(entry))
        on_wire = HEAD + len(frames.encode([append]))
        table.row("with APPEND and WebSocket header", "hanatalk", "bytes", digits=0).values.append(on_wire)
    finally:
        await two.part()


def size(_: Options) -> Table:
    """What a short message costs on the wire."""
    table = Table("size", "“안녕” in a conversation of two, from sender to relay", ["TCP and TLS come on top"])
    load.run(_size(table))
    table.bound("entry: one bucket", table.row("entry", "hanatalk", "bytes", digits=0), 512, higher=False)
    whole = table.row("with APPEND and WebSocket header", "hanatalk", "bytes", digits=0)
    table.bound("with framing", whole, 576, higher=False)
    return table


# --- MLS -------------------------------------------------------------------------------------------------------------


def _timed(table: Table, who: str, what: str, began: float, count: int = 1) -> None:
    table.row(what, who, "ms", digits=3).values.append((time.perf_counter() - began) * 1e3 / count)


def mls(options: Options) -> Table:
    """The binding, per call."""
    table = Table(
        "mls",
        "MLS through the binding: two members; a message of 200 bytes, rows to store included",
        ["without the database that keeps the rows"],
    )
    os.sched_setaffinity(0, {DRIVER_CORE})
    count = 20 if options.quick else 500
    for _ in range(options.rounds):
        for suite, who in ((face.SUITE_X_WING, "X-Wing"), (face.SUITE_X25519, "X25519")):
            began = time.perf_counter()
            group, _writes = face.Group.create(
                face.signer_new(),
                suite=suite,
                group_id=bytes(16),
                credential=b"minji",
                extensions=[(POLICY, b"policy")],
            )
            _timed(table, who, "create", began)
            began = time.perf_counter()
            made = face.key_package_new(
                face.signer_new(),
                suite=suite,
                credential=b"junho",
                extensions=[(WELCOME_CHANNEL, b"channel")],
                not_before=1_700_000_000,
                not_after=1_800_000_000,
            )
            _timed(table, who, "KeyPackage", began)
            began = time.perf_counter()
            added = group.commit(adds=[made.key_package])
            group.pending_merge()
            _timed(table, who, "add one", began)
            assert added.welcome is not None
            began = time.perf_counter()
            rows = [(key, value) for key, value in made.writes if value is not None]
            other, _writes = face.welcome_stage(added.welcome, rows).join()
            _timed(table, who, "join", began)
            began = time.perf_counter()
            said = [group.encrypt(bytes(200))[0] for _ in range(count)]
            _timed(table, who, "encrypt a message", began, count)
            began = time.perf_counter()
            for message in said:
                other.process(message)
            _timed(table, who, "decrypt a message", began, count)
    for what in ("encrypt a message", "decrypt a message"):
        table.bound(f"{what}, X-Wing", table.row(what, "X-Wing", "ms", digits=3), 0.8, higher=False)
    return table
