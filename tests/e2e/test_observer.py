"""What somebody on the wire sees of people who talk: declared sizes, and no more of a text than its bucket (T-041)."""

import asyncio
import math
import random
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from tests.e2e.commands import Person, environment
from tests.e2e.conftest import acquaint
from tests.e2e.observing import Observer, messages, observed, records
from tests.relay.running import running_relay

from hanatalk.client import Profile, calls, create_profile, open_profile
from hanatalk.client.engine.formats.content import TEXT_LIMIT
from hanatalk.client.engine.formats.sealing import SIZES
from hanatalk.wire import frames
from hanatalk.wire.classes import EntryClass

ACKNOWLEDGEMENT = 60  # bytes of a TLS record; an acknowledgement has 46
COUNTERS = 6  # bytes by which the counters of a frame grow while a connection lives
ROOM = (200, 420)  # bytes of an entry that are not the text: at least, at most (a few receipts among them)


@pytest.fixture
def choice() -> random.Random:
    return random.Random(41)


def a_text(choice: random.Random) -> str:
    """Of any length that a text may have, short ones most often; ASCII or Hangul."""
    size = int(math.exp(choice.uniform(0, math.log(TEXT_LIMIT))))
    return "가" * (size // 3) + "x" * (size % 3) if choice.random() < 0.5 else "x" * size


class Talking(msgspec.Struct, frozen=True):
    """Two people who know each other, and who watches them; everyone has one connection, hers came first."""

    minji: Profile
    jihoon: Profile
    observer: Observer
    conversation: str


@asynccontextmanager
async def talking(folder: Path, **options: object) -> AsyncIterator[Talking]:
    async with AsyncExitStack() as stack:
        observer = await stack.enter_async_context(observed(await stack.enter_async_context(running_relay(**options))))
        people = []
        for name in ("민지", "Jihoon"):
            create_profile(folder / name, name=name, relay=observer.url, passphrase=None)
            people.append(await stack.enter_async_context(open_profile(folder / name, passphrase=None)))
            await people[-1].call(calls.Sync(wait=10))
        minji, jihoon = people
        made = await minji.call(calls.Invite(expires=86_400))
        assert isinstance(made, calls.InviteMade)
        accepted = await jihoon.call(calls.Accept(link=made.invite))
        assert isinstance(accepted, calls.Accepted)
        for person in (minji, jihoon, minji):
            await person.call(calls.Sync(wait=10))
        yield Talking(minji, jihoon, observer, accepted.conversation)
        assert len(observer.wires) == 2


def shape(append: frames.Append) -> tuple[object, ...]:
    """Everything of an APPEND that is neither random nor a count of what was before it."""
    return (append.entry_class, append.commit, append.burn_after, append.erase_hash is None, len(append.entry))


async def check_sizes(folder: Path, choice: random.Random, count: int) -> None:
    """Texts of all lengths, one after the other; then what the observer has."""
    sizes: dict[int, set[int]] = defaultdict(set)  # of entries, by the length of the text
    async with talking(folder) as people:
        observer = people.observer
        for number in range(count):
            text = a_text(choice)
            talker, listener, wire = people.minji, people.jihoon, observer.wires[0]
            if choice.random() < 0.2:
                talker, listener, wire = listener, talker, observer.wires[1]
            before = len(wire.up)
            sent = await talker.call(calls.Send(conversation=people.conversation, text=text, wait=30))
            assert isinstance(sent, calls.Sent)
            assert sent.state != "queued"
            appended = [frame for frame in said(wire.up, before) if isinstance(frame, frames.Append)]
            if len(appended) == 1:  # else a confirmation went by itself in the same moment
                sizes[len(text.encode())].add(len(appended[0].entry))
            if number % 50 == 0:
                await listener.call(calls.Read(conversation=people.conversation, wait=0))
        for person in (people.jihoon, people.minji):
            await person.call(calls.Sync(wait=20))
        appends = observer.appends()
        pushed = [
            entry
            for message in observer.received
            for frame in message
            if isinstance(frame, frames.Entries)
            for entry in frame.entries
        ]
        for wire in observer.wires:  # no message holds a byte that is no frame
            for message in messages(bytes(wire.up)):
                assert frames.encode(frames.decode_client_frames(message)) == message

    # only declared sizes, whatever it was: texts, receipts, commits, Welcomes, invites; up and down
    assert {len(append.entry) for append in appends} <= set(SIZES)
    assert {len(entry.entry) for entry in pushed} <= set(SIZES)
    assert len(pushed) > 2 * count

    # of a message nothing varies but which of the sizes it has
    told = [append for append in appends if append.entry_class is EntryClass.MESSAGE]
    assert len(told) >= count
    assert len({shape(append)[:-1] for append in told}) == 1

    # and that is the smallest size with room for the text, whatever the text is
    assert {size for entries in sizes.values() for size in entries} == {512, 1024, 4096, 16384}
    for length, entries in sizes.items():
        for entry in entries:
            smaller = max((size for size in SIZES if size < entry), default=0)
            assert smaller - ROOM[1] < length <= entry - ROOM[0], (length, entry)
    print(
        f"{count} texts, {len(told)} entries of class message, {sum(map(len, sizes.values()))} pairs of length and size"
    )


def kind(frame: frames.ClientFrame) -> str:
    """What an observer would call it."""
    name = type(frame).__name__
    return f"{name} {frame.entry_class.name}" if isinstance(frame, frames.Append) else name


def said(up: bytearray, start: int) -> list[frames.ClientFrame]:
    """The frames of a client's messages from a place in its stream on (a place between two messages)."""
    raw = b"\r\n\r\n" + bytes(up[start:])
    return [frame for message in messages(raw) for frame in frames.decode_client_frames(message)]


async def test_an_observer_sees_declared_sizes_only(tmp_path: Path, choice: random.Random) -> None:
    """T-041: a sample; the full number is in the soak."""
    await check_sizes(tmp_path, choice, 120)


@pytest.mark.soak
async def test_ten_thousand_messages_show_declared_sizes_only(tmp_path: Path, choice: random.Random) -> None:
    """T-041: 10,000 real messages of all lengths through a real relay."""
    await check_sizes(tmp_path, choice, 10_000)


async def test_tls_records_show_the_bucket_and_no_more(tmp_path: Path) -> None:
    """T-041 as an observer of TLS has it: one way to send each bucket, whatever the text in it."""
    seen: dict[int, set[tuple[int, ...]]] = defaultdict(set)
    lengths = {512: (1, 3, 30, 200), 1024: (350, 400, 700), 4096: (900, 2000, 3500), 16_384: (5000, 9000, 14_000)}
    async with talking(tmp_path, tls="self") as people:
        wire = people.observer.wires[0]
        texts = [(bucket, "x" * length) for bucket, each in lengths.items() for length in each]
        for bucket, text in texts * 3:
            before = len(wire.up)
            await people.minji.call(calls.Send(conversation=people.conversation, text=text, wait=30))
            sizes = records(bytes(wire.up), before, len(wire.up))
            seen[bucket].add(tuple(size for size in sizes if size > ACKNOWLEDGEMENT))
    for bucket, ways in seen.items():
        assert len({len(way) for way in ways}) == 1
        totals = [sum(way) for way in ways]
        assert max(totals) - min(totals) <= COUNTERS, seen
        assert bucket < min(totals) <= bucket + 120


async def test_typing_sends_nothing(tmp_path: Path) -> None:
    """T-043: a text typed bit by bit and one that is there at once are the same frames on the wire."""
    async with running_relay() as relay, observed(relay) as observer:
        people = [Person(tmp_path / name).join(name, observer.url) for name in ("minji", "jihoon")]
        minji = people[0]
        conversation = await asyncio.to_thread(acquaint, *people)
        for person in (people[1], minji, people[1], minji):
            await asyncio.to_thread(person.do_here, "sync")

        def type_slowly() -> None:
            with subprocess.Popen(
                minji.command("send", conversation, "-"),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                env=environment(HANA_HOME=str(minji.home)),
            ) as typing:
                assert typing.stdin is not None
                for syllable in "안녕, 지금 천천히 쓰는 중이야":
                    typing.stdin.write(syllable.encode())
                    typing.stdin.flush()
                typing.stdin.close()
                assert typing.wait(30) == 0

        seen = []
        for send in (type_slowly, lambda: minji.do("send", conversation, "안녕, 지금 천천히 쓰는 중이야")):
            before = len(observer.wires)
            await asyncio.to_thread(send)
            assert len(observer.wires) == before + 1
            wire = observer.wires[-1].up
            seen.append([kind(frame) for frame in said(wire, wire.find(b"\r\n\r\n") + 4)])
        assert seen[0].count("Append MESSAGE") == 1
        assert seen[0].count("Append CONTROL") == 1  # the start of the process is counted (HT-M-071)
        assert sorted(set(seen[0])) == sorted(set(seen[1]))
        for appended in ("Append MESSAGE", "Append CONTROL"):
            assert seen[0].count(appended) == seen[1].count(appended)
