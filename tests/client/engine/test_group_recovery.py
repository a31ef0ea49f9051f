"""Coming back into a group (HT-M-092): away for days or a year; relays that forget or go back; old copies."""

import pytest
from tests.client import gatherings
from tests.client.people import Person, World

from hanatalk.client import events
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import ConversationState


def _id(group: str) -> ConversationId:
    return ConversationId(bytes.fromhex(group))


def pass_days(world: World, days: int, present: list[Person]) -> None:
    """As `World.pass_days`; whoever is `present` connects again if the connection broke, and timers go off."""
    for day in range(days):
        world.pass_days(1)
        for person in present:
            person.online()
        if day % 4 == 3 or day == days - 1:
            world.settle(120)


def check(world: World, people: list[Person], group: str) -> None:
    """Everybody stands together, writes and reads."""
    assert gatherings.together(people, group), [gatherings.row(person, group) for person in people]
    for person in people:
        person.send(group, f"{person.name} 다시 왔어요")
    world.settle(60)
    for person in people:
        assert {f"{each.name} 다시 왔어요" for each in people} <= set(person.texts(group))


@pytest.mark.parametrize("days", [3, 31, 365])
def test_t086_away_for_long(world: World, days: int) -> None:
    """T-086 in a group: who was away for 3, 31 and 365 days follows, or is added again, and writes and reads."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people)
    away = people[3]
    world.settle(60)
    away.offline()
    people[1].send(group, "잘 다녀와")
    world.settle(60)
    pass_days(world, days, people[:3])
    for person in people[:3]:
        person.online()
    gatherings.rename(people[0], group, "떠난 사이에")
    world.settle(60)
    away.online()
    world.settle(600)
    pass_days(world, 1, people)
    world.settle(4 * 3600)
    check(world, people, group)
    if days <= 31:
        assert "잘 다녀와" in away.texts(group) or days == 31
    chats = [chat for chat in away.engine.chats().chats if chat.kind == "group"]
    assert [(chat.name, chat.state) for chat in chats] == [("떠난 사이에", "joined")]


def test_the_relay_is_wiped(world: World) -> None:
    """T-024 in a group: nothing forks; who was away follows."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people)
    people[3].offline()
    gatherings.rename(people[0], group, "앞으로")
    people[0].send(group, "하나")
    world.settle()
    world.relay.forget()
    for person in people[:3]:
        person.online()
    world.settle(120)
    people[3].online()
    world.settle(600)
    check(world, people, group)
    assert "하나" in people[3].texts(group)


def test_the_relay_goes_back_to_yesterday(world: World) -> None:
    """T-024 in a group: a rename and an add were after the snapshot; they are there again, nobody forks."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people[:3])
    yesterday = world.relay.snapshot()
    gatherings.rename(people[0], group, "오늘")
    gatherings.add(people[0], group, people[3])
    world.settle(60)
    people[1].send(group, "오늘 쓴 글")
    world.settle()
    world.relay.go_back(yesterday)
    for person in people:
        person.online()
    world.settle(600)
    check(world, people, group)
    for person in people:
        assert "오늘 쓴 글" in person.texts(group)


def test_an_old_copy_of_a_member(world: World, tmp_path: object) -> None:
    """T-058 in a group: a restored profile sends nothing until it was added again."""
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    old = people[2]
    copy = world.folder / "copy.sqlite3"
    old.copy_to(copy)
    world.settle()
    old.send(group, "복사한 뒤에 쓴 글")
    world.settle()
    old.put_back(copy)
    world.settle(600)
    check(world, people, group)
    assert old.of(events.ConversationChanged)


def test_a_member_who_lost_the_way_asks_and_is_added_again(world: World) -> None:
    """HT-M-092: it asks where it talks in twos; several could answer, one does; everybody sees that it came back."""
    people = gatherings.acquainted(world, 5)
    group = gatherings.founded(world, people)
    from hanatalk.client.engine.conversations import resync

    lost = people[0]  # knows everybody
    core = lost.engine._core
    with core.transaction():
        resync.lost(core, _id(group), "mls.path-fault", world.now)
    before = gatherings.row(people[1], group).epoch
    lost.send(group, "기다리는 글")
    world.settle(600)
    check(world, people, group)
    assert "기다리는 글" in people[4].texts(group)
    assert gatherings.row(people[1], group).epoch <= before + 8
    (rejoined,) = [
        event
        for person in people[1:]
        for event in person.of(events.MemberRejoined)
        if isinstance(event, events.MemberRejoined)
    ]
    assert rejoined.name == lost.name
    assert gatherings.row(lost, group).state == ConversationState.JOINED
