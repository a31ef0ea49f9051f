"""A commit whose path or tag is wrong for some or all of the others (HT-M-038, HT-M-145; T-031)."""

import hanatalk_mls
import pytest
from tests.client import gatherings
from tests.client.engine.test_group_claims import _claim
from tests.client.people import Person, World

from hanatalk.client import events
from hanatalk.client.engine.formats import sealing
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import ConversationState
from hanatalk.wire.classes import EntryClass


def _id(group: str) -> ConversationId:
    return ConversationId(bytes.fromhex(group))


def _spoilt(attacker: Person, group: str, *, victim: Person | None = None) -> None:
    """The attacker's client commits so that one cannot decrypt its path secret, or that the confirmation tag fits
    nobody's; then it is silent."""
    core = attacker.engine._core
    row = core.conversation(_id(group))
    channel = core.channel(row.channel)
    assert channel is not None
    inner = core.group(_id(group))._inner
    leaf = None
    if victim is not None:
        device = victim.engine._core.identity.device.key
        leaf = next(member.leaf for member in core.members(_id(group)) if member.device == device)
    commit, _, _ = hanatalk_mls.testing_commit(inner, victim_leaf=leaf, spoil_tag=victim is None)
    entry = sealing.seal(
        channel.seal_key,
        channel.channel,
        entry_class=EntryClass.CONTROL,
        commit=True,
        kind=sealing.BodyKind.MLS,
        body=commit,
    )
    attacker.offline()
    attacker.world.relay.plant(channel.channel, entry, entry_class=EntryClass.CONTROL, commit=True)
    core._groups.clear()


def _reconnect(people: list[Person]) -> None:
    for person in people:
        person.offline()
        person.online()


def _all_know_each_other(world: World, count: int) -> list[Person]:
    people = gatherings.acquainted(world, count)
    for one in range(1, count):
        for other in range(one + 1, count):
            world.befriend(people[one], people[other])
    return people


@pytest.mark.parametrize("attacker", [0, 3], ids=["an-admin", "anybody"])
def test_a_commit_that_nobody_can_follow_stops_the_group_for_minutes(world: World, attacker: int) -> None:
    """HT-M-145: all fault, all ask, nobody could answer. Ten minutes later they go on without it; what was written in
    between arrives, once."""
    people = _all_know_each_other(world, 4)
    group = gatherings.founded(world, people)
    world.settle(60)
    honest = [person for person in people if person is not people[attacker]]
    _spoilt(people[attacker], group)
    _reconnect(honest)
    world.run()
    for person in honest:
        assert gatherings.row(person, group).state == ConversationState.BROKEN
        assert person.alarms() == ["mls.path-fault"]
        person.send(group, f"{person.name}: 기다리는 글")
    world.settle(900)
    assert gatherings.together(honest, group), [gatherings.row(person, group) for person in honest]
    for person in honest:
        assert person.alarms() == ["mls.path-fault", "commit.unfollowable"]
        assert {f"{each.name}: 기다리는 글" for each in honest} <= set(person.texts(group))
        assert len(person.texts(group)) == len(honest)
        assert not person.of(events.MemberRejoined)
    if attacker:
        gatherings.rename(honest[0], group, "그래도 우리는")
        world.settle(60)
        assert gatherings.together(honest, group)
        gatherings.remove(honest[0], group, people[attacker])
        world.settle(60)
        assert gatherings.names(honest[1], group) == {person.name for person in honest}
        assert gatherings.together(honest, group)


def test_who_made_it_cannot_lead_the_others_astray(world: World) -> None:
    """HT-M-145, HT-M-143: it says that it stands an epoch later. One account does not hold up the others, and
    after they went on it is believed once."""
    people = _all_know_each_other(world, 4)
    group = gatherings.founded(world, people)
    world.settle(60)
    honest, attacker = people[:3], people[3]
    _spoilt(attacker, group)
    _reconnect(honest)
    world.run()
    for _ in range(2):
        attacker.online()
        _claim(attacker, group, epoch=gatherings.row(attacker, group).epoch + 1, authenticator=bytes(32))
        world.run()
        attacker.offline()
        world.settle(1800)
    assert gatherings.together(honest, group), [gatherings.row(person, group) for person in honest]
    for person in honest:
        person.send(group, f"{person.name} 여기")
    world.settle(60)
    for person in honest:
        assert {f"{each.name} 여기" for each in honest} <= set(person.texts(group))


def test_who_alone_cannot_follow_is_added_again(world: World) -> None:
    """HT-M-038, HT-M-059: for the others it was no path fault; they answer, and nothing is passed over."""
    people = _all_know_each_other(world, 4)
    group = gatherings.founded(world, people)
    world.settle(60)
    victim, attacker = people[2], people[3]  # beside it in the tree: a path secret of its own
    honest = people[:3]
    _spoilt(attacker, group, victim=victim)
    _reconnect(honest)
    victim.send(group, "기다리는 글")
    world.settle(300)
    assert victim.alarms() == ["mls.path-fault"]
    assert gatherings.together(honest, group), [gatherings.row(person, group) for person in honest]
    assert "기다리는 글" in people[0].texts(group)
    world.settle(1800)
    assert gatherings.together(honest, group)
    assert all("commit.unfollowable" not in person.alarms() for person in honest)
