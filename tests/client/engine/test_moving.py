"""A conversation whose first relay is gone (HT-M-064 … HT-M-068)."""

import os
from dataclasses import dataclass

import msgspec
import pytest
from tests.client.people import DAY, START, URL, Person, World
from tests.simulated_relay import SimulatedRelay

from hanatalk.client import events
from hanatalk.client.engine.conversations import commits
from hanatalk.client.engine.formats import content, policy, sealing
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import Channel, ConversationState, IntentKind, OutboxKind, Outgoing, Purpose
from hanatalk.wire.classes import EntryClass

OTHER = "ws://127.0.0.1:7711"
HOUR = 3_600_000


@dataclass
class Two:
    """민지's relay is the conversation's first, Jihoon's its fallback."""

    world: World
    minji: Person
    jihoon: Person
    conversation: str
    first: SimulatedRelay

    @property
    def id(self) -> ConversationId:
        return ConversationId(bytes.fromhex(self.conversation))

    def lose_first(self) -> None:
        """The first relay is gone: every connection drops and none comes back."""
        self.world.relays.pop(URL, None)
        for pipe in list(self.first.pipes.values()):
            pipe.drop()
        for person in (self.minji, self.jihoon):
            if URL in person.pipes:
                person._lost(URL)

    def try_in_vain(self, person: Person, hours: float = 1.1) -> None:
        """`person` tries the first relay every few minutes for this long."""
        tries = 6
        for _ in range(tries):
            person.engine.unreachable(URL, person.now)
            self.world.settle(10)
            self.world.now += int(hours * HOUR / (tries - 1))

    def relay_of(self, person: Person) -> str:
        core = person.engine._core
        found = core.channel(core.conversation(self.id).channel)
        assert found is not None
        return found.relay

    def together(self) -> bool:
        people = (self.minji, self.jihoon)
        joined = all(person.engine._core.conversation(self.id).state == ConversationState.JOINED for person in people)
        return joined and len({person.engine._core.group(self.id).epoch_authenticator for person in people}) == 1


@pytest.fixture
def two(world: World) -> Two:
    world.relays[OTHER] = SimulatedRelay(day=START // DAY)
    minji, jihoon = world.person("민지"), world.person("Jihoon", relay=OTHER)
    world.run()
    conversation = world.befriend(minji, jihoon)
    for person in (minji, jihoon):
        person.events.clear()
    return Two(world, minji, jihoon, conversation, world.relays[URL])


def test_a_dead_relay_is_left_and_nothing_is_lost(two: Two) -> None:
    """HT-M-066, HT-M-068: what was stored there, what waited, what comes later: once each, in the senders' order."""
    two.minji.send(two.conversation, "before")
    two.world.settle()
    two.jihoon.offline()
    two.minji.send(two.conversation, "stored at the relay that dies")
    two.world.settle()
    two.lose_first()
    two.jihoon.online()
    for number in range(3):
        two.minji.send(two.conversation, f"m{number}")
        two.jihoon.send(two.conversation, f"j{number}")
    two.world.settle()
    assert two.relay_of(two.minji) == URL
    two.try_in_vain(two.minji)
    two.world.settle(60)
    assert two.relay_of(two.minji) == two.relay_of(two.jihoon) == OTHER
    assert two.together()
    wanted = ["before", "stored at the relay that dies", *(f"{who}{n}" for who in "mj" for n in range(3))]
    for person in (two.minji, two.jihoon):
        assert sorted(person.texts(two.conversation)) == sorted(wanted)
        assert person.of(events.ConversationMoved) == [
            events.ConversationMoved(conversation=two.conversation, relay=OTHER, left=URL)
        ]
        assert person.engine.pending(two.world.now) == 0
        own = [text for text in person.texts(two.conversation) if text[0] == person.name[0].lower()]
        assert own == sorted(own)
    assert [t for t in two.jihoon.texts(two.conversation) if t[0] == "m"] == ["m0", "m1", "m2"]
    two.jihoon.send(two.conversation, "after")
    two.world.settle()
    assert two.minji.texts(two.conversation)[-1] == "after"
    assert two.minji.of(events.MemberRejoined) == two.jihoon.of(events.MemberRejoined) == []


def test_what_waited_for_a_start_at_the_old_relay_keeps_its_order(two: Two) -> None:
    """HT-M-068, HT-M-071: whoever never reached the old relay numbers its messages when it moved."""
    two.lose_first()
    two.minji.restart()
    for number in range(2):
        two.minji.send(two.conversation, f"before {number}")
    two.world.settle()
    two.minji.engine.move(two.conversation, two.minji.now)
    two.world.settle()
    two.minji.send(two.conversation, "after")
    two.world.settle()
    assert two.jihoon.texts(two.conversation) == ["before 0", "before 1", "after"]


def test_what_waits_unnumbered_waits_for_the_relay_too(two: Two) -> None:
    """HT-M-066: an hour, not a day, also for a process that could not count its start at the relay that is gone."""
    two.lose_first()
    two.minji.restart()
    two.minji.send(two.conversation, "waits")
    two.world.settle()
    two.try_in_vain(two.minji)
    two.world.settle(60)
    assert two.jihoon.texts(two.conversation) == ["waits"]


def test_the_old_relay_comes_back_and_is_ignored(two: Two) -> None:
    """HT-M-068: whatever it shows, the conversation stays where it went."""
    core = two.minji.engine._core
    old = core.channel(core.conversation(two.id).channel)
    assert old is not None
    two.lose_first()
    two.minji.send(two.conversation, "waits")
    two.try_in_vain(two.minji)
    two.world.settle(60)
    two.first.plant(old.channel, os.urandom(512), entry_class=EntryClass.CONTROL, commit=True)
    two.world.relays[URL] = two.first
    for person in (two.minji, two.jihoon):
        person.online()
    two.world.settle(60)
    assert two.relay_of(two.minji) == two.relay_of(two.jihoon) == OTHER
    two.jihoon.send(two.conversation, "bleibt hier")
    two.world.settle()
    assert two.minji.texts(two.conversation) == ["waits", "bleibt hier"]
    assert two.together()


def test_patience(two: Two) -> None:
    """HT-M-066: not by one failure, not while nothing else is reached, not before an hour; without a queue a day."""
    two.lose_first()
    two.minji.send(two.conversation, "waits")
    two.try_in_vain(two.minji, hours=0.5)
    assert two.relay_of(two.minji) == URL
    two.try_in_vain(two.jihoon, hours=3)  # nothing of his waits
    assert two.relay_of(two.jihoon) == URL
    alone = two.minji
    alone.offline()
    two.try_in_vain(alone, hours=30)  # a laptop without any network
    assert two.relay_of(alone) == URL
    two.world.relays[URL] = two.first
    alone.online()
    two.world.settle()
    assert alone.engine._core.db.value("SELECT failing_since FROM relay WHERE url = ?", URL) is None
    assert two.relay_of(alone) == URL
    assert two.jihoon.engine._core.db.number("SELECT count(*) FROM intent WHERE kind = ?", IntentKind.MOVE) == 0


def test_a_move_outranks_a_commit_that_one_member_merged(two: Two) -> None:
    """HT-M-067: Jihoon merged a commit at the first relay that 민지 never saw; she moves; he is added again."""
    assert two.minji.pipe is not None
    two.minji.pipe.drop()
    two.minji._lost(URL)
    core = two.jihoon.engine._core
    with core.transaction():
        commits.want(core, two.id, IntentKind.UPDATE, two.world.now)
    two.jihoon.engine.tick(two.jihoon.now)
    for _ in range(20):
        two.jihoon.step()
    assert core.conversation(two.id).epoch == two.minji.engine._core.conversation(two.id).epoch + 1
    two.jihoon.send(two.conversation, "of the epoch that is outranked")
    two.lose_first()
    two.minji.engine.move(two.conversation, two.minji.now)
    two.world.settle(120)
    assert "conversation.moved-away" in two.jihoon.alarms()
    assert two.together()
    assert two.relay_of(two.jihoon) == OTHER
    assert two.minji.texts(two.conversation) == ["of the epoch that is outranked"]


def test_nothing_but_a_move_counts_at_a_fallback_relay(two: Two) -> None:
    """HT-M-065: an insider's commit, message or wrong move there is nothing; a move at the first relay neither."""
    core = two.jihoon.engine._core
    fallback = core.db.first(Channel, "purpose = ? AND closed = 0", Purpose.FALLBACK)
    row = core.conversation(two.id)
    era = core.channel(row.channel)
    assert fallback is not None
    assert era is not None
    agreed = policy.parse([(policy.EXTENSION, row.policy)])
    epoch = row.epoch
    stranger = policy.Relay("ws://127.0.0.1:9", os.urandom(32))
    turned = list(reversed(agreed.relays))

    def forged(channel: Channel, relays: list[policy.Relay] | None, *, new_era: bool = True) -> None:
        group = core.group(two.id)
        extensions = None
        if relays is not None:
            extensions = [(policy.EXTENSION, policy.encode(policy.with_relays(agreed, relays)))]
        made = group.commit(
            self_update=True, extensions=extensions, aad=content.encode(content.CommitContext(1, new_era))
        )
        with core.transaction():  # each of a generation of its own
            core.db.mls_write(two.id, [*made.writes, *group.pending_discard()])
        sealed = sealing.seal(
            channel.seal_key,
            channel.channel,
            entry_class=EntryClass.CONTROL,
            commit=True,
            kind=sealing.BodyKind.MLS,
            body=made.commit,
        )
        two.world.relays[channel.relay].plant(channel.channel, sealed, entry_class=EntryClass.CONTROL, commit=True)

    forged(fallback, None)
    forged(fallback, agreed.relays)
    forged(fallback, [stranger, *agreed.relays])
    forged(fallback, turned, new_era=False)
    forged(era, turned)
    ciphertext = msgspec.msgpack.encode([1, 2, 3])
    two.world.relays[OTHER].plant(
        fallback.channel,
        sealing.seal(
            fallback.seal_key,
            fallback.channel,
            entry_class=EntryClass.MESSAGE,
            kind=sealing.BodyKind.MLS,
            body=ciphertext,
        ),
    )
    for person in (two.minji, two.jihoon):
        person.restart()
    two.world.settle(120)
    assert two.minji.engine._core.conversation(two.id).epoch == epoch
    assert two.relay_of(two.minji) == two.relay_of(two.jihoon) == URL
    assert two.together()
    two.jihoon.send(two.conversation, "ruhig")
    two.world.settle()
    assert two.minji.texts(two.conversation) == ["ruhig"]
    assert two.jihoon.engine._core.db.first(Outgoing, "kind = ?", OutboxKind.COMMIT) is None
