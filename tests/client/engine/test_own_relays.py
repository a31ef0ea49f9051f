"""A person with several relays, and moving because a person wants it (HT-M-064, HT-M-078, HT-M-079)."""

import os

import msgspec
import pytest
from tests.client.people import DAY, START, URL, Person, World
from tests.simulated_relay import SimulatedRelay

from hanatalk.client import events
from hanatalk.client.engine.formats import policy
from hanatalk.client.engine.people import invites
from hanatalk.errors import UsageError
from hanatalk.ids import ConversationId

SECOND, THIRD = "ws://127.0.0.1:7711", "ws://127.0.0.1:7712"


@pytest.fixture
def world(tmp_path: object, world: World) -> World:
    for url in (SECOND, THIRD):
        world.relays[url] = SimulatedRelay(day=START // DAY)
    return world


def befriended(world: World, **inviter: tuple[str, ...]) -> tuple[Person, Person, str]:
    minji = world.person("민지", **inviter)
    jihoon = world.person("Jihoon", relay=THIRD)
    world.run()
    conversation = world.befriend(minji, jihoon)
    for person in (minji, jihoon):
        person.events.clear()
    return minji, jihoon, conversation


def gone(world: World, url: str, *people: Person) -> SimulatedRelay:
    relay = world.relays.pop(url)
    for pipe in list(relay.pipes.values()):
        pipe.drop()
    for person in people:
        if url in person.pipes:
            person._lost(url)
    return relay


def test_the_inviters_relays_come_first_then_the_acceptors(world: World) -> None:
    """HT-M-064, HT-M-036: both sides agree, and every one of them is watched."""
    minji, jihoon, conversation = befriended(world, fallbacks=(SECOND,))
    for person in (minji, jihoon):
        assert person.engine.relays_agreed(conversation) == [URL, SECOND, THIRD]
        assert person.engine.wanted_relays() >= {URL, SECOND, THIRD}
        assert person.engine.caught_up()
    minji.send(conversation, "안녕")
    world.settle()
    assert jihoon.texts(conversation) == ["안녕"]


def test_a_fallback_that_was_never_reached_holds_nothing_up(world: World) -> None:
    """It is no part of new conversations, and nobody waits for it."""
    del world.relays[SECOND]
    minji, _, conversation = befriended(world, fallbacks=(SECOND,))
    assert minji.engine.relays_agreed(conversation) == [URL, THIRD]
    assert SECOND in minji.engine.wanted_relays()
    assert SECOND not in minji.engine.needed_relays()
    assert minji.engine.pending(minji.now) == 0


def test_the_inviters_own_fallback_takes_over_when_both_first_relays_are_gone(world: World) -> None:
    """T-086, HT-M-066: neither the inviter's first nor the acceptor's relay is needed."""
    minji, jihoon, conversation = befriended(world, fallbacks=(SECOND,))
    for url in (URL, THIRD):
        gone(world, url, minji, jihoon)
    minji.send(conversation, "waits")
    minji.engine.move(conversation, minji.now)
    world.settle(60)
    assert minji.engine.relays_agreed(conversation)[0] == SECOND
    assert jihoon.texts(conversation) == ["waits"]
    jihoon.send(conversation, "answers")
    world.settle()
    assert minji.texts(conversation) == ["waits", "answers"]


def test_a_person_chooses_the_relay(world: World) -> None:
    """HT-M-078: not the next one, and also while the first is there."""
    minji, jihoon, conversation = befriended(world, fallbacks=(SECOND,))
    minji.send(conversation, "before")
    minji.engine.move(conversation, minji.now, relay=THIRD)
    minji.send(conversation, "on the way")
    world.settle(60)
    for person in (minji, jihoon):
        assert person.engine.relays_agreed(conversation) == [THIRD, URL, SECOND]
        assert person.of(events.ConversationMoved) == [
            events.ConversationMoved(conversation=conversation, relay=THIRD, left=URL)
        ]
        assert person.alarms() == []
    jihoon.send(conversation, "after")
    world.settle()
    assert jihoon.texts(conversation) == ["before", "on the way", "after"]
    assert minji.texts(conversation) == ["before", "on the way", "after"]


def test_a_chosen_relay_is_waited_for_unless_the_first_is_gone(world: World) -> None:
    """HT-M-078: the wish outlives a restart."""
    minji, jihoon, conversation = befriended(world, fallbacks=(SECOND,))
    third = gone(world, THIRD, minji, jihoon)
    minji.engine.move(conversation, minji.now, relay=THIRD)
    minji.restart()
    world.settle(60)
    assert minji.engine.relays_agreed(conversation)[0] == URL
    world.relays[THIRD] = third
    for person in (minji, jihoon):
        person.online()
    world.settle(60)
    assert minji.engine.relays_agreed(conversation)[0] == jihoon.engine.relays_agreed(conversation)[0] == THIRD

    gone(world, URL, minji, jihoon)
    minji.engine.move(conversation, minji.now, relay=URL)
    world.settle()
    assert minji.engine.relays_agreed(conversation)[0] == THIRD
    gone(world, THIRD, minji, jihoon)
    for _ in range(3):
        minji.engine.unreachable(THIRD, minji.now)
    world.settle(60)
    assert minji.engine.relays_agreed(conversation)[0] == SECOND


def test_where_a_conversation_cannot_go(world: World) -> None:
    minji, _, conversation = befriended(world, fallbacks=(SECOND,))
    for relay, code in ((URL, "move.here"), ("ws://127.0.0.1:9", "move.unknown")):
        with pytest.raises(UsageError) as raised:
            minji.engine.move(conversation, minji.now, relay=relay)
        assert raised.value.code == code
    core = minji.engine._core
    row = core.conversation(ConversationId(bytes.fromhex(conversation)))
    agreed = policy.of(row.policy)
    with core.transaction():
        core.db.execute(
            "UPDATE conversation SET policy = ?", policy.encode(msgspec.structs.replace(agreed, admins=[bytes(32)]))
        )
    with pytest.raises(UsageError, match=r"move\.not-admin"):
        minji.engine.move(conversation, minji.now, relay=SECOND)


def test_the_return_of_a_relay_that_was_left_is_said_once(world: World) -> None:
    """HT-M-079: to both, also after a restart; the conversation stays; of a relay that was there it is not said."""
    minji, jihoon, conversation = befriended(world)
    first = gone(world, URL, minji, jihoon)
    minji.engine.move(conversation, minji.now)
    world.settle(60)
    minji.restart()
    world.relays[URL] = first
    for person in (minji, jihoon):
        person.online()
    world.settle(60)
    minji.restart()
    world.settle()
    for person in (minji, jihoon):
        assert person.of(events.RelayReturned) == [events.RelayReturned(conversation=conversation, relay=URL)]
        assert person.engine.relays_agreed(conversation)[0] == THIRD
    minji.engine.move(conversation, minji.now, relay=URL)
    world.settle(60)
    minji.restart()
    world.settle()
    assert len(minji.of(events.RelayReturned)) == 1
    assert jihoon.engine.relays_agreed(conversation)[0] == URL


def test_what_an_offer_may_say_of_relays() -> None:
    """HT-M-036: whole ones, not more than three; without any it is spelt as ever."""
    relay = [URL, os.urandom(32)]
    for relays in ([relay] * 4, [[URL, bytes(31)]], [["x" * 600, bytes(32)]], [[URL]]):
        with pytest.raises(msgspec.ValidationError):
            msgspec.msgpack.decode(msgspec.msgpack.encode([2, b"kp", "name", [], relays]), type=invites.Offer)
    packed = invites._packed(invites.Offer(1, b"kp", "name", []))
    assert msgspec.msgpack.decode(packed) == [1, b"kp", "name", []]


def test_too_many_relays(world: World) -> None:
    with pytest.raises(UsageError, match=r"relay\.too-many"):
        world.person("민지", fallbacks=tuple(f"ws://127.0.0.1:{port}" for port in range(1, 5)))
