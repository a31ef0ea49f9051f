"""Any number of members commit at once, come to one history; each change is made or void (T-029, HT-M-091)."""

import contextlib
import functools
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.client import gatherings
from tests.client.people import Person, World

from hanatalk.client import events
from hanatalk.errors import UsageError
from hanatalk.localdb.rows import Change, ConversationState

COUNT = 6  # people; five of them in the group
MEMORY = Path("/dev/shm")


class Town:
    """Six acquainted people, five in a group of which all are admins; made once, copied as files."""

    def __init__(self) -> None:
        self.kept = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        world = World(Path(self.kept.name))
        people = [world.person(gatherings.NAMES[n]) for n in range(COUNT)]
        world.run()
        for one in range(COUNT):
            for other in range(one):
                world.befriend(people[one], people[other])
        self.group = gatherings.founded(world, people[: COUNT - 1])
        gatherings.promote(people[0], self.group, *people[1 : COUNT - 1])
        world.settle(600)
        assert gatherings.together(people[: COUNT - 1], self.group)
        self.relay = world.relay
        self.now = world.now
        self.store = world.relay.snapshot()
        for person in people:
            person.offline()
            person.database.close()
        self.profiles = [(person.name, person.path, person.key) for person in people]

    @contextlib.contextmanager
    def copied(self) -> Iterator[tuple[World, list[Person]]]:
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            world = World(Path(folder))
            world.now = self.now
            self.relay.go_back(self.store)
            world.relays = {next(iter(world.relays)): self.relay}
            people = []
            for name, path, key in self.profiles:
                shutil.copy(path, Path(folder) / path.name)
                people.append(world.join(Person(world, name, Path(folder) / path.name, key)))
            world.settle()
            try:
                yield world, people
            finally:
                for person in people:
                    person.offline()
                    person.database.close()


@functools.cache
def town() -> Town:
    return Town()


def in_it(people: list[Person], group: str) -> list[Person]:
    """Those who think that they are members."""
    known = [person for person in people if any(c.conversation == group for c in person.engine.chats().chats)]
    return [person for person in known if gatherings.row(person, group).state == ConversationState.JOINED]


def check(world: World, people: list[Person], group: str) -> None:
    """One history: the same epoch, secrets, people, roles, name; nothing is still wanted; everybody reads everybody."""
    members = in_it(people, group)
    if members:
        assert gatherings.together(members, group)
        assert gatherings.names(members[0], group) == {person.name for person in members}
    else:  # the last one was alone and wanted to leave
        assert {gatherings.row(person, group).state for person in people[: COUNT - 1]} == {ConversationState.REMOVED}
    for person in people:
        assert not person.engine._core.db.find(Change, "1"), "neither made nor said to be void"
        assert "relay.two-histories" not in person.alarms()
    for person in members:
        person.send(group, f"{person.name} 여기 있어요")
    world.settle(60)
    for person in members:
        assert {f"{each.name} 여기 있어요" for each in members} <= set(person.texts(group))


def test_t029_everybody_changes_something_at_the_same_moment() -> None:
    """Five commits for one epoch: one wins everywhere, the others' changes follow, each exactly once."""
    with town().copied() as (world, people):
        group = town().group
        gatherings.add(people[0], group, people[5])
        gatherings.rename(people[1], group, "둘째가 바꾼 이름")
        gatherings.promote(people[2], group, people[4], admin=False)
        gatherings.remove(people[3], group, people[4])
        gatherings.leave(people[4], group)
        before = gatherings.row(people[0], group).epoch
        world.settle(120)
        members = [*people[:4], people[5]]
        check(world, people, group)
        assert {person.name for person in members} == gatherings.names(people[0], group)
        assert gatherings.row(people[0], group).state == ConversationState.JOINED
        assert {chat.name for chat in people[5].engine.chats().chats if chat.kind == "group"} == {"둘째가 바꾼 이름"}
        joined = [event for event in people[1].events if isinstance(event, events.MemberJoined)]
        assert [event.name for event in joined if event.conversation == group] == [people[5].name]
        left = [event for event in people[1].events if isinstance(event, events.MemberLeft)]
        assert [event.name for event in left] == [people[4].name]
        assert gatherings.row(people[0], group).epoch <= before + 6


def test_the_same_person_is_added_by_all_at_once() -> None:
    """One of five adds counts; the others are neither repeated nor an alarm, and no KeyPackage serves two Welcomes."""
    with town().copied() as (world, people):
        group = town().group
        for person in people[:5]:
            gatherings.add(person, group, people[5])
        world.settle(120)
        check(world, people, group)
        joined = [event for event in people[1].events if isinstance(event, events.MemberJoined)]
        assert [event.name for event in joined if event.conversation == group] == [people[5].name]
        assert not people[5].alarms()


def test_two_admins_remove_each_other() -> None:
    """One commit wins; who lost is out, and does not come back by its own commit."""
    with town().copied() as (world, people):
        group = town().group
        gatherings.remove(people[1], group, people[2])
        gatherings.remove(people[2], group, people[1])
        world.settle(120)
        check(world, people, group)
        states = {gatherings.row(person, group).state for person in people[1:3]}
        assert states == {ConversationState.JOINED, ConversationState.REMOVED}


def test_a_change_that_became_impossible_is_said_to_be_void() -> None:
    """People 0 demotes 1 while 1, offline, renames: the rename is void and said so."""
    with town().copied() as (world, people):
        group = town().group
        gatherings.promote(people[0], group, people[1], admin=False)
        people[1].offline()
        gatherings.rename(people[1], group, "너무 늦은 이름")
        world.settle(60)
        people[1].online()
        world.settle(120)
        check(world, people, group)
        void = [event for event in people[1].events if isinstance(event, events.ChangeVoid)]
        assert [(event.change, event.why) for event in void] == [("rename", "not-allowed")]


NAMES = (
    *("add", "remove", "promote", "demote", "rename", "leave"),
    *("send", "offline", "online", "restart", "run", "pass"),
)
ACTS = st.tuples(
    st.sampled_from(NAMES),
    st.integers(0, COUNT - 1),
    st.integers(0, COUNT - 1),
)


def play(world: World, people: list[Person], group: str, acts: list[tuple[str, int, int]]) -> None:
    """Each act as far as it is allowed."""
    for number, (what, who, whom) in enumerate(acts):
        person, other = people[who], people[whom]
        with contextlib.suppress(UsageError):
            if what == "add":
                gatherings.add(person, group, other)
            elif what == "remove":
                gatherings.remove(person, group, other)
            elif what in ("promote", "demote"):
                gatherings.promote(person, group, other, admin=what == "promote")
            elif what == "rename":
                gatherings.rename(person, group, f"이름 {number}")
            elif what == "leave":
                gatherings.leave(person, group)
            elif what == "send":
                person.send(group, f"{number}")
            elif what == "offline":
                person.offline()
            elif what == "online":
                person.online()
            elif what == "restart":
                person.restart()
            elif what == "run":
                world.run()
            else:
                world.settle(whom)
    for person in people:
        person.online()
    world.settle(300)
    check(world, people, group)


def _play(acts: list[tuple[str, int, int]]) -> None:
    with town().copied() as (world, people):
        play(world, people, town().group, acts)


FOUND = {
    "the Leave went, without a turn, into an era that was over": [
        ("offline", 0, 1),
        ("online", 4, 3),
        ("remove", 3, 2),
        ("restart", 5, 1),
        ("remove", 1, 3),
        ("remove", 5, 0),
        ("pass", 4, 4),
        ("add", 1, 3),
        ("promote", 4, 3),
        ("remove", 2, 4),
        ("leave", 4, 1),
        ("pass", 3, 1),
        ("run", 4, 1),
        ("pass", 1, 5),
        ("promote", 0, 5),
        ("leave", 0, 4),
        ("demote", 3, 1),
        ("rename", 1, 1),
        ("leave", 3, 5),
    ],
    "a demotion and a promotion of the same person": [
        ("offline", 3, 0),
        ("demote", 3, 4),
        ("promote", 3, 4),
        ("online", 3, 0),
    ],
    "removed and added again while away": [
        ("offline", 2, 0),
        ("remove", 1, 2),
        ("pass", 0, 3),
        ("add", 1, 2),
        ("pass", 0, 3),
    ],
}


@pytest.mark.parametrize("acts", FOUND.values(), ids=[name.replace(" ", "-") for name in FOUND])
def test_schedules_that_once_ended_badly(acts: list[tuple[str, int, int]]) -> None:
    """HT-M-084, HT-M-091, HT-M-140, HT-M-141: nobody waits to be removed for ever, nothing is wanted for ever."""
    _play(acts)


def _drawn(seed: int) -> list[tuple[str, int, int]]:
    """A schedule as the search draws it; a seed stands for a long list."""
    draw = random.Random(seed)
    length = draw.randint(4, 60 if seed >= 3_000 else 40 if seed >= 1_000 else 30)
    return [(draw.choice(NAMES), draw.randrange(COUNT), draw.randrange(COUNT)) for _ in range(length)]


@pytest.mark.parametrize("seed", [225, 287, 1049, 1870, 3082, 3185, 5194])
def test_drawn_schedules_that_once_ended_badly(seed: int) -> None:
    """The same, as they were found."""
    _play(_drawn(seed))


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), print_blob=False)
@given(st.lists(ACTS, min_size=4, max_size=24))
def test_any_order_of_changes_comes_to_one_history(acts: list[tuple[str, int, int]]) -> None:
    """T-029, T-031: whatever people do, and whoever is away or dies meanwhile."""
    _play(acts)


@pytest.mark.soak
@settings(max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(st.lists(ACTS, min_size=4, max_size=60))
def test_any_order_of_changes_at_length(acts: list[tuple[str, int, int]]) -> None:
    """The same for hours."""
    _play(acts)
