"""Leaving a group when something comes in between (HT-M-084, HT-M-140)."""

import pytest
from tests.client import gatherings
from tests.client.people import DAY, Person, World

from hanatalk.client import events
from hanatalk.client.engine.conversations import resync
from hanatalk.errors import UsageError
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import Change, ChangeKind, ConversationState, OutboxKind, Outgoing


def _id(group: str) -> ConversationId:
    return ConversationId(bytes.fromhex(group))


def _forget(people: list[Person], group: str) -> None:
    """As if these people's devices had never heard who wants to leave."""
    for person in people:
        person.engine._core.db.execute(
            "DELETE FROM change WHERE conversation = ? AND kind = ?", _id(group), ChangeKind.LEFT
        )
        person.engine._core.db.execute("DELETE FROM intent WHERE conversation = ?", _id(group))


def _leaves_unheard(world: World, people: list[Person], group: str, leaver: Person) -> None:
    """Somebody says Leave, everybody hears it, and nobody sees to it."""
    admins = [person for person in people if person is not leaver]
    gatherings.leave(leaver, group)
    world.run()
    _forget(admins, group)
    world.settle(60)
    assert gatherings.row(leaver, group).state == ConversationState.LEAVING


def test_what_was_written_before_three_new_eras_arrives(world: World) -> None:
    """HT-C-012, HT-C-201: a frame that three commits refused is no victim of garbage: it keeps its turn, and lands
    where people read. (Without one it went, as stored, into an era that was over.)"""
    people = gatherings.acquainted(world, 5)
    group = gatherings.founded(world, people)
    people[1].offline()
    people[1].send(group, "비행기에서 쓴 글")
    for _ in range(2):
        gatherings.remove(people[0], group, people[4])
        world.settle(30)
        gatherings.add(people[0], group, people[4])
        world.settle(30)
    people[1].online()
    world.settle(30)
    for person in (people[0], people[2], people[3]):
        assert "비행기에서 쓴 글" in person.texts(group)
        assert person.of(events.GapFound) == []


def test_who_leaves_with_a_commit_on_its_way_is_out(world: World) -> None:
    """HT-M-140: the commit is not dropped: it comes back, is followed, and the Leave goes on from there."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people)
    gatherings.promote(people[0], group, people[1])
    world.settle(60)
    leaver = people[1]
    gatherings.rename(leaver, group, "나가기 전에")
    pending = leaver.engine._core.db
    while pending.first(Outgoing, "kind = ?", OutboxKind.COMMIT) is None:  # first it asks for the relay's receipt
        assert leaver.step()
    gatherings.leave(leaver, group)
    world.settle(60)
    assert gatherings.row(leaver, group).state == ConversationState.REMOVED
    others = [people[0], *people[2:]]
    assert gatherings.together(others, group)
    assert gatherings.names(people[0], group) == {person.name for person in others}
    chats = [chat.name for chat in people[0].engine.chats().chats if chat.kind == "group"]
    assert chats == ["나가기 전에"]
    assert not leaver.of(events.ChangeVoid)
    assert not leaver.of(events.EntryDamaged)


def test_what_who_leaves_still_wanted_is_void_and_said(world: World) -> None:
    """HT-M-091: it is neither forgotten in silence nor done after all."""
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    gatherings.promote(people[0], group, people[1])
    world.settle(60)
    people[1].offline()
    gatherings.rename(people[1], group, "안 될 이름")
    gatherings.leave(people[1], group)
    people[1].online()
    world.settle(60)
    void = [event for event in people[1].events if isinstance(event, events.ChangeVoid)]
    assert [(event.change, event.why) for event in void] == [("rename", "leaving")]
    assert gatherings.row(people[1], group).state == ConversationState.REMOVED
    assert [chat.name for chat in people[0].engine.chats().chats if chat.kind == "group"] == ["모임"]


def test_a_leave_that_nobody_remembers_is_seen_to_when_it_is_said_again(world: World) -> None:
    """HT-M-084: the same Leave, three days later, counts although its message is known."""
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    _leaves_unheard(world, people, group, people[1])
    world.pass_days(3)
    for person in people:
        person.online()
    world.now += DAY // 12
    for person in people:
        person.tick()
    world.settle(600)
    assert gatherings.row(people[1], group).state == ConversationState.REMOVED
    assert gatherings.names(people[0], group) == {people[0].name, people[2].name}


def test_an_admin_who_came_later_hears_it_at_once(world: World) -> None:
    """HT-M-140: who became an admin and was not there when it was said sees to it within seconds."""
    people = gatherings.acquainted(world, 4)
    newcomer, leaver = people[3], people[1]
    group = gatherings.founded(world, people[:3])
    _leaves_unheard(world, people[:3], group, leaver)
    gatherings.add(people[0], group, newcomer)
    world.settle(30)
    assert newcomer.engine._core.db.find(Change, "1") == []
    gatherings.promote(people[0], group, newcomer)
    world.settle(30)
    assert gatherings.row(leaver, group).state == ConversationState.REMOVED
    assert gatherings.names(newcomer, group) == {people[0].name, people[2].name, newcomer.name}


def test_the_last_admin_stays_although_everybody_wanted_to_leave(world: World) -> None:
    """HT-M-084, HT-M-140: the other is removed while one waits to be; it is told that it stays, and may try again."""
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    gatherings.promote(people[0], group, people[1])
    world.settle(60)
    people[1].offline()
    gatherings.leave(people[0], group)
    world.settle(60)
    assert gatherings.row(people[0], group).state == ConversationState.LEAVING
    gatherings.leave(people[1], group)
    people[1].online()
    world.settle(120)
    (staying,) = [p for p in people[:2] if gatherings.row(p, group).state == ConversationState.JOINED]
    void = [event for event in staying.events if isinstance(event, events.ChangeVoid)]
    assert [(event.change, event.why) for event in void] == [("leave", "last-admin")]
    assert gatherings.together([staying, people[2]], group)
    gatherings.promote(staying, group, people[2])
    world.settle(60)
    assert gatherings.row(staying, group).state == ConversationState.JOINED, "what was void is not done later"
    gatherings.leave(staying, group)
    world.settle(60)
    assert gatherings.row(staying, group).state == ConversationState.REMOVED


def test_who_cannot_follow_leaves_when_it_is_back(world: World) -> None:
    """HT-M-061, HT-M-140: Leave waits with what else waits, and is said by whoever came back."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people)
    lost = people[1]
    core = lost.engine._core
    lost.offline()
    with core.transaction():
        resync.lost(core, _id(group), "mls.path-fault", world.now)
    gatherings.leave(lost, group)
    with pytest.raises(UsageError) as caught:
        gatherings.leave(lost, group)
    assert caught.value.code == "group.not-a-member"
    lost.online()
    world.settle(600)
    assert gatherings.row(lost, group).state == ConversationState.REMOVED
    others = [people[0], *people[2:]]
    assert gatherings.together(others, group)
    assert gatherings.names(people[0], group) == {person.name for person in others}


def test_what_was_wanted_before_the_way_was_lost_is_done_after(world: World) -> None:
    """HT-M-091: made or void, also when its maker had to be added again in between."""
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    lost = people[0]
    core = lost.engine._core
    lost.offline()
    gatherings.rename(lost, group, "돌아와서 바꾼 이름")
    with core.transaction():
        resync.lost(core, _id(group), "mls.path-fault", world.now)
    lost.online()
    world.settle(600)
    assert gatherings.together(people, group)
    assert [chat.name for chat in people[1].engine.chats().chats if chat.kind == "group"] == ["돌아와서 바꾼 이름"]
    assert core.db.find(Change, "1") == []
