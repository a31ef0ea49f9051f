"""What happens to a group over time: its relay goes, somebody was away, loses everything, is led astray."""

import contextlib

import pytest
from tests.client import gatherings
from tests.client.engine.test_group_attacks import Insider
from tests.client.people import START, URL, Person, World
from tests.simulated_relay import SimulatedRelay

from hanatalk.client import events
from hanatalk.client.engine.conversations import commits, welcoming
from hanatalk.client.engine.formats import content, policy
from hanatalk.client.engine.messages import sending
from hanatalk.client.engine.people import groups
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import ConversationState, Gap, OutboxKind, Outgoing

OTHER = "ws://127.0.0.1:7711"


class _NeverHappenedError(Exception):
    """Undoes a transaction."""


def _id(group: str) -> ConversationId:
    return ConversationId(bytes.fromhex(group))


def relay_of(person: Person, group: str) -> str:
    core = person.engine._core
    channel = core.channel(core.conversation(_id(group)).channel)
    assert channel is not None
    return channel.relay


def test_a_group_moves_to_its_next_relay(world: World) -> None:
    """HT-M-064 … HT-M-068 in a group: the first relay is gone for good, an admin moves, everybody follows and reads."""
    world.relays[OTHER] = SimulatedRelay(day=START // 86_400_000)
    people = gatherings.acquainted(world, 4)
    founder = people[0]
    core = founder.engine._core
    relays = [policy.Relay(url, relay.relay_key) for url, relay in world.relays.items()]
    group = groups.create(core, "이사", large=False, relays=relays, rights=0, now=founder.now).hex()
    gatherings.add(founder, group, *people[1:])
    for person in people:
        person.online()
    world.settle(60)
    for person in people:
        person.online()
    world.settle(60)
    assert gatherings.together(people, group)
    first = world.relays.pop(URL)
    for pipe in list(first.pipes.values()):
        pipe.drop()
    for person in people:
        if URL in person.pipes:
            person._lost(URL)
    people[2].send(group, "아직 도착 안 한 글")
    founder.engine.move(group, founder.now)
    world.settle(60)
    assert [relay_of(person, group) for person in people] == [OTHER] * 4
    assert gatherings.together(people, group)
    for person in people:
        assert person.texts(group) == ["아직 도착 안 한 글"]


def test_in_a_large_group_a_device_that_was_away_asks_for_what_it_missed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HT-C-031: nobody publishes again by itself above the limit; the returning device finds the numbers and asks."""
    monkeypatch.setattr(sending, "BURN_LIMIT", 1)  # as if there were more than eight others
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people)
    away = people[3]
    away.offline()
    for number in range(5):
        people[1].send(group, f"{number}")
    people[0].send(group, "여섯째")
    world.settle()
    world.pass_days(5)
    for person in people[:3]:
        person.online()
    world.settle(60)
    people[1].send(group, "지금")
    world.settle(60)
    away.online()
    world.settle(600)
    people[0].send(group, "어서 와")
    world.settle(600)
    assert set(away.texts(group)) == {*"01234", "여섯째", "지금", "어서 와"}
    assert not away.engine._core.db.find(Gap, "1")
    assert sorted(people[2].texts(group)) == sorted(away.texts(group))


def test_what_was_written_before_somebody_joined_is_not_sent_again_to_all(world: World) -> None:
    """HT-C-083: a message that a device missed, older than the newest member: the newcomer never reads it; the gap is
    closed by a tombstone, and was said."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people[:3])
    away, newcomer = people[2], people[3]
    away.offline()
    people[1].send(group, "새 사람은 못 볼 글")
    world.settle()
    people[1].offline()  # else it publishes it again in time
    world.pass_days(4)
    people[0].online()
    gatherings.add(people[0], group, newcomer)
    world.settle(60)
    people[1].online()
    world.settle(60)
    people[1].send(group, "모두에게")
    world.settle(60)
    away.online()
    world.settle(600)
    assert "새 사람은 못 볼 글" not in newcomer.texts(group)
    assert "모두에게" in away.texts(group)
    assert not away.engine._core.db.find(Gap, "1")
    assert "새 사람은 못 볼 글" not in away.texts(group)
    assert away.of(events.GapFound)


def test_who_lost_every_device_comes_as_somebody_new(world: World) -> None:
    """Issue 4.7: the others see a new account with another safety number; the old one is removed and reads nothing."""
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    lost = people[2]
    lost.offline()
    before = people[0].engine.verify(
        next(chat.conversation for chat in people[0].engine.chats().chats if chat.name == lost.name), confirm=True
    )
    again = world.person(lost.name)
    world.run()
    conversation = world.befriend(people[0], again)
    after = people[0].engine.verify(conversation, confirm=False)
    assert before.safety_number != after.safety_number
    assert not after.verified
    account = again.engine._core.identity.account.hex()
    from hanatalk.client import calls

    people[0].engine.group(calls.GroupAdd(conversation=group, people=[account]), people[0].now)
    world.settle(60)
    shown = [each for each in people[1].engine.members(group).members if each.name == lost.name]
    assert len(shown) == 2
    assert all(each.same_name for each in shown)  # T-034
    old = next(each.account for each in shown if each.account != account)
    people[0].engine.group(calls.GroupRemove(conversation=group, people=[old]), people[0].now)
    world.settle(60)
    people[1].send(group, "다시 셋")
    world.settle(60)
    assert again.texts(group) == ["다시 셋"]
    assert gatherings.together([people[0], people[1], again], group)


def test_t030_the_welcome_of_a_commit_that_lost(world: World) -> None:
    """T-030, HT-M-087: a Welcome into an epoch that nobody entered leads astray only until the right one comes."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people[:3])
    insider, joiner = Insider(people[0], group), people[3]
    core = insider.core
    joiner.offline()
    key_package, person = insider.key_package(joiner.engine._core.identity.account)
    frames: list[Outgoing] = []
    with contextlib.suppress(_NeverHappenedError), core.transaction():
        row = core.conversation(insider.id)
        context = content.CommitContext(1, True, None, [person])
        other = core.group(insider.id)
        made = other.commit(adds=[key_package], self_update=True, aad=content.encode(context))
        assert made.welcome is not None
        other.pending_merge()
        commits.refresh_roster(core, insider.id, other)
        welcoming.leave(core, row, [key_package], made.welcome)
        frames = core.db.find(Outgoing, "kind IN (?, ?) ORDER BY number", OutboxKind.WELCOME, OutboxKind.ANNEX)
        raise _NeverHappenedError
    assert frames
    with core.transaction():
        for frame in frames:
            core.db.insert(frame)
    people[0].tick()
    world.run()
    joiner.online()
    world.settle(30)
    assert [chat.state for chat in joiner.engine.chats().chats if chat.kind == "group"] == ["joining"]
    joiner.send(group, "거기 누구 없어요?")
    world.settle(30)
    assert people[1].texts(group) == []
    core.db.execute("DELETE FROM contact_key_package WHERE key_package = ?", key_package)
    gatherings.add(people[0], group, joiner)
    world.settle(120)
    assert gatherings.together(people, group)
    assert [chat.state for chat in joiner.engine.chats().chats if chat.kind == "group"] == ["joined"]
    joiner.send(group, "이제 있네요")
    world.settle(60)
    assert "이제 있네요" in people[1].texts(group)
    assert gatherings.row(joiner, group).state == ConversationState.JOINED
