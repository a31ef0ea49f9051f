"""Groups: made of contacts, everybody reads everybody, membership and roles (HT-M-080 … HT-M-087)."""

import pytest
from tests.client import gatherings
from tests.client.people import World

from hanatalk.client import events
from hanatalk.errors import UsageError
from hanatalk.localdb.rows import ConversationState


def test_a_group_of_contacts_reads_what_each_of_them_writes(world: World) -> None:
    """HT-M-080, HT-M-086: four people, of whom three know only the founder; nothing is missing, nothing shown twice."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people)
    assert gatherings.together(people, group)
    for person in people:
        assert gatherings.names(person, group) == {each.name for each in people}
        (chat,) = [chat for chat in person.engine.chats().chats if chat.kind == "group"]
        assert (chat.name, chat.members, chat.state) == ("모임", 4, "joined")
    for person in people:
        person.send(group, f"{person.name} 왔어요")
    world.settle()
    for person in people:
        assert sorted(person.texts(group)) == sorted(f"{each.name} 왔어요" for each in people)
        assert not person.of(events.GapFound)
        assert not person.alarms()


def test_the_one_counts_people_down_to_zero(world: World) -> None:
    """HT-C-024: three others have not read it; each who reads counts one down, for everybody."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people)
    message = people[0].send(group, "몇 명?")
    world.settle()
    assert [person.message(group, message).unread for person in people] == [3, 3, 3, 3]
    assert people[0].message(group, message).state == "delivered"
    for read, person in enumerate(people[1:], start=1):
        person.read(group)
        world.settle()
        assert {each.message(group, message).unread for each in people} == {3 - read}
    assert people[0].message(group, message).state == "read"


def test_who_joins_later_sees_nothing_of_before_and_counts_for_nothing_of_before(world: World) -> None:
    """HT-C-081, HT-C-083: a newcomer's engine has no gap, asks for nothing, and is no reader of old messages."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people[:3])
    before = people[0].send(group, "우리끼리")
    for number in range(5):
        people[1].send(group, f"{number}")
    world.settle()
    gatherings.add(people[0], group, people[3])
    world.settle()
    people[1].send(group, "어서 와")
    people[0].send(group, "반가워")
    world.settle()
    newcomer = people[3]
    assert set(newcomer.texts(group)) == {"어서 와", "반가워"}
    assert not newcomer.of(events.GapFound)
    assert gatherings.together(people, group)
    assert people[0].message(group, before).unread == 2


def test_a_removed_member_reads_nothing_more(world: World) -> None:
    """T-026: nothing after the commit; what it had stays readable, and it cannot write."""
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    people[0].send(group, "다 같이")
    world.settle()
    gatherings.remove(people[0], group, people[2])
    world.settle()
    people[1].send(group, "둘이서")
    world.settle()
    assert people[0].texts(group) == people[1].texts(group) == ["다 같이", "둘이서"]
    assert people[2].texts(group) == ["다 같이"]
    assert gatherings.row(people[2], group).state == ConversationState.REMOVED
    with pytest.raises(UsageError):
        people[2].send(group, "나도")
    assert gatherings.names(people[0], group) == {people[0].name, people[1].name}
    assert gatherings.together(people[:2], group)


def test_roles_name_and_leaving(world: World) -> None:
    """HT-M-081, HT-M-084: promote, demote, rename; who leaves is removed by an admin; a removed person may come
    back."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people)
    with pytest.raises(UsageError):
        gatherings.rename(people[1], group, "내 모임")
    gatherings.promote(people[0], group, people[1])
    world.settle()
    gatherings.rename(people[1], group, "새 이름")
    world.settle()
    assert {chat.name for person in people for chat in person.engine.chats().chats if chat.kind == "group"} == {
        "새 이름"
    }
    gatherings.promote(people[1], group, people[0], admin=False)
    world.settle()
    gatherings.leave(people[0], group)
    world.settle()
    assert gatherings.row(people[0], group).state == ConversationState.REMOVED
    assert gatherings.together(people[1:], group)
    with pytest.raises(UsageError):
        gatherings.leave(people[1], group)
    gatherings.leave(people[3], group)
    world.settle()
    assert gatherings.names(people[1], group) == {people[1].name, people[2].name}


def test_a_device_that_was_away_follows_hop_by_hop(world: World) -> None:
    """HT-M-021: several eras went by; it reads each message in the era in which it was written."""
    people = gatherings.acquainted(world, 5)
    group = gatherings.founded(world, people[:3])
    away = people[2]
    away.offline()
    people[0].send(group, "하나")
    world.settle()
    gatherings.add(people[0], group, people[3])
    world.settle()
    people[1].send(group, "둘")
    world.settle()
    gatherings.add(people[0], group, people[4])
    world.settle()
    people[3].send(group, "셋")
    world.settle()
    away.online()
    world.settle()
    assert away.texts(group) == ["하나", "둘", "셋"]
    assert gatherings.together(people, group)
