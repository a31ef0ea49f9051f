"""With several devices and in groups: what is gone is gone everywhere (T-037, T-049, T-050; HT-S-060 …, HT-C-109 …).

As `test_forensics`: pages and log of every device are decrypted without SQLite and searched; each search has its
control. An examiner also gets the folder of chunks.
"""

import os
from collections.abc import Callable

import pytest
from tests.client import gatherings
from tests.client.engine.test_attachment_attacks import on_disk
from tests.client.engine.test_forensics import forms
from tests.client.people import Person, World

from hanatalk.client.engine import Fate
from hanatalk.client.engine.files.uploads import Staged

FIRST, SECOND = "첫째 카나리아 canary one", "둘째 카나리아 canary two"
KISS, FAMILY = "👩🏻‍❤️‍💋‍👨🏿", "👩‍👩‍👧‍👦"
STAYS = "남는 말 that stays"


class House:
    """민지 with a phone and a laptop, Jihoon with a phone and a tablet, 서연; a group, and conversations of two."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.minji, self.jihoon, self.seoyeon = people = gatherings.acquainted(world, 3)
        self.group = gatherings.founded(world, people)
        self.laptop, self.tablet = self.minji.new_device(), self.jihoon.new_device()
        world.settle(60)
        self.all = (self.minji, self.laptop, self.jihoon, self.tablet, self.seoyeon)
        self.two = next(chat.conversation for chat in self.jihoon.engine.chats().chats if chat.kind == "direct")

    def pass_seconds(self, seconds: float) -> None:
        self.world.settle(seconds)
        self.world.now += 1000
        for person in self.all:
            person.tick()
        self.world.settle(8)  # the log is emptied

    def holders(self, *marks: str | bytes) -> list[tuple[str, str | bytes]]:
        """Which device still has which of these, somewhere."""
        found = []
        for person in self.all:
            disk = on_disk(person)
            for mark in marks:
                looked_for = forms(mark) if isinstance(mark, str) else [mark]
                if any(form in disk for form in looked_for):
                    found.append((self.name(person), mark))
        return found

    def name(self, person: Person) -> str:
        return {
            id(self.minji): "minji",
            id(self.laptop): "laptop",
            id(self.jihoon): "jihoon",
            id(self.tablet): "tablet",
            id(self.seoyeon): "seoyeon",
        }[id(person)]

    def restarted(self) -> None:
        for person in self.all:
            person.restart()
        self.world.settle(8)


EVERYBODY = ["minji", "laptop", "jihoon", "tablet", "seoyeon"]


@pytest.fixture
def house(world: World) -> House:
    return House(world)


def read(house: House, conversation: str) -> None:
    for person in (house.laptop, house.tablet, house.seoyeon):  # one device of each person
        if conversation == house.group or person is not house.seoyeon:
            person.read(conversation)
    house.world.settle(8)


def write(house: House, conversation: str, fate: Fate, expire: int | None) -> str:
    """A text with an edit and two reactions by several devices, and one that stays."""
    message = house.laptop.engine.send(
        conversation, FIRST, expire=expire, fate=fate, now=house.laptop.now
    ).message.hex()
    house.world.settle(8)
    house.minji.engine.edit(message, SECOND, house.minji.now)
    house.world.settle(8)
    house.tablet.engine.react(message, KISS, house.tablet.now)
    house.laptop.engine.react(message, FAMILY, house.laptop.now)
    house.jihoon.send(conversation, STAYS)
    house.world.settle(8)
    return message


MARKS = (FIRST, SECOND, KISS, FAMILY)


def expires(house: House, conversation: str, message: str) -> None:
    read(house, conversation)
    house.pass_seconds(70)


def is_recalled(house: House, conversation: str, message: str) -> None:
    house.minji.recall(message)  # the other device wrote it
    house.pass_seconds(8)


def is_read_by_all(house: House, conversation: str, message: str) -> None:
    read(house, conversation)
    house.pass_seconds(20)


@pytest.mark.parametrize("in_group", [True, False])
@pytest.mark.parametrize(
    ("fate", "expire", "goes"),
    [
        (Fate.STAYS, 60, expires),
        (Fate.STAYS, None, is_recalled),
        (Fate.CONFIRMED, None, is_read_by_all),
    ],
)
def test_t049_a_text_goes_from_every_device_with_all_that_was_said_about_it(
    house: House, in_group: bool, fate: Fate, expire: int | None, goes: Callable[[House, str, str], None]
) -> None:
    """HT-C-041, HT-C-045, HT-C-109, HT-C-115, HT-C-165: sender, its sibling, receivers and theirs."""
    conversation = house.group if in_group else house.two
    message = write(house, conversation, fate, expire)
    there = EVERYBODY if in_group else EVERYBODY[:4]
    assert house.holders(*MARKS) == [(name, mark) for name in there for mark in MARKS]  # the control
    goes(house, conversation, message)
    assert house.holders(*MARKS) == []
    assert house.holders(STAYS) == [(name, STAYS) for name in there]
    house.restarted()
    assert house.holders(*MARKS) == []


def test_t049_what_can_be_seen_once_is_gone_from_the_readers_devices_at_once(house: House) -> None:
    """HT-C-112, HT-C-113: opened on one device of each; the sender's devices when everybody has opened it."""
    message = house.minji.engine.send(house.group, FIRST, fate=Fate.ONCE, now=house.minji.now).message.hex()
    house.world.settle(20)
    assert house.holders(FIRST) == [(name, FIRST) for name in ("jihoon", "tablet", "seoyeon")]
    assert house.tablet.engine.view(message, house.tablet.now).text == FIRST
    assert ("tablet", FIRST) not in house.holders(FIRST)  # when the call returns
    house.pass_seconds(8)
    assert house.holders(FIRST) == [("seoyeon", FIRST)]
    house.seoyeon.engine.view(message, house.seoyeon.now)
    house.pass_seconds(8)
    assert house.holders(FIRST) == []


@pytest.mark.parametrize("goes", [expires, is_recalled])
def test_t049_a_whisper_goes_from_both_and_was_never_anywhere_else(
    house: House, goes: Callable[[House, str, str], None]
) -> None:
    """HT-C-117: shown in the group's thread, it lies in the conversation of two, on the two people's devices."""
    message = house.laptop.engine.send(
        house.group,
        FIRST,
        expire=60 if goes is expires else None,
        whisper=house.jihoon.name,
        now=house.laptop.now,
    ).message.hex()
    house.world.settle(20)
    there = EVERYBODY[:4]
    assert house.holders(FIRST) == [(name, FIRST) for name in there]
    assert house.tablet.texts(house.group) == [FIRST]
    goes(house, house.group, message)
    assert house.holders(FIRST) == []


def test_t049_deleted_for_me_goes_from_this_device_and_its_own_only_when_nobody_needs_it(house: House) -> None:
    """HT-C-110, HT-C-111: at a receiver at once; at the sender's device once all devices have it."""
    message = write(house, house.group, Fate.STAYS, None)
    assert house.seoyeon.engine.delete(message, house.seoyeon.now).state == "deleted"
    assert not [mark for name, mark in house.holders(*MARKS) if name == "seoyeon"]
    house.world.settle(60)
    house.laptop.engine.delete(message, house.laptop.now)
    house.pass_seconds(8)
    assert not [mark for name, mark in house.holders(FIRST, FAMILY) if name == "laptop"]
    assert {name for name, _ in house.holders(FIRST)} >= {"jihoon", "tablet"}  # nobody else lost it


@pytest.mark.parametrize("goes", [expires, is_recalled])
def test_t050_an_attachment_goes_from_every_device(house: House, goes: Callable[[House, str, str], None]) -> None:
    """T-050, HT-C-148, HT-C-156, HT-C-157: name, key, preview and chunks, at sender, sibling, receivers, theirs."""
    writer = house.laptop.engine.attachments.writer()
    writer.write(os.urandom(200_000))
    sealed = writer.finish()
    preview = b"\6\6" + os.urandom(72)
    name = "카나리아 canary.jpg"
    staged = Staged(sealed=sealed, type="image/jpeg", name=name, preview=preview)
    message = house.laptop.engine.send(
        house.group, FIRST, attachments=[staged], expire=60 if goes is expires else None, now=house.laptop.now
    ).message.hex()
    house.world.settle(30)
    marks = (FIRST, name, sealed.secret, preview)
    assert house.holders(*marks) == [(who, mark) for who in EVERYBODY for mark in marks]
    held = [file for person in house.all for file in person.path.with_suffix(".files").glob("*")]
    assert len(held) == 5
    goes(house, house.group, message)
    assert house.holders(*marks) == []
    assert not [file for person in house.all for file in person.path.with_suffix(".files").glob("*")]


def test_t037_what_devices_say_to_each_other_is_not_kept(house: House) -> None:
    """HT-C-210: no name of a contact, no KeyPackage and no key outlives its use in a message's body."""
    for person in house.all:
        kept = person.database.tuples("SELECT body FROM content WHERE body IS NOT NULL")
        kinds = {bytes(body)[1] for (body,) in kept if isinstance(body, bytes)}
        assert not kinds & {2, 19, 20, 32, 40}
