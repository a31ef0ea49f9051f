"""Coming back into a conversation that a device can no longer follow (HT-M-054 … HT-M-062)."""

import os
import shutil
from pathlib import Path

import msgspec
import pytest
from tests.client.engine.conftest import Pair
from tests.client.people import DAY, Person

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine.conversations import commits, key_packages, resync
from hanatalk.client.engine.formats import accounts, content, policy, sealing, statements
from hanatalk.errors import ContentError, VerificationError
from hanatalk.ids import ConversationId, DeviceKey
from hanatalk.localdb.rows import (
    Channel,
    ConversationState,
    IntentKind,
    Message,
    OutboxKind,
    Outgoing,
    Purpose,
    Readmission,
    Statement,
)
from hanatalk.wire.classes import EntryClass


def _id(pair: Pair) -> ConversationId:
    return ConversationId(bytes.fromhex(pair.conversation))


def _lose(pair: Pair, person: Person) -> None:
    core = person.engine._core
    with core.transaction():
        resync.lost(core, _id(pair), "mls.path-fault", pair.world.now)
    person.engine.tick(person.now)


def _commit(pair: Pair, person: Person, kind: IntentKind = IntentKind.UPDATE) -> None:
    core = person.engine._core
    with core.transaction():
        commits.want(core, _id(pair), kind, pair.world.now)
    person.engine.tick(person.now)
    pair.world.settle()


def _state(pair: Pair, person: Person) -> ConversationState:
    return ConversationState(person.engine._core.conversation(_id(pair)).state)


def _together(pair: Pair) -> bool:
    """Both stand in one group, and both are members."""
    people = (pair.minji, pair.jihoon)
    found = {person.engine._core.group(_id(pair)).epoch_authenticator for person in people}
    return len(found) == 1 and all(_state(pair, person) == ConversationState.JOINED for person in people)


def _resync_channel(pair: Pair, person: Person) -> Channel:
    found = person.engine._core.db.first(Channel, "owner = ? AND purpose = ?", _id(pair), Purpose.RESYNC)
    assert found is not None
    return found


def test_a_lost_device_is_added_again_and_nothing_is_lost(pair: Pair) -> None:
    """HT-M-056, HT-M-059 … HT-M-061: what was written meanwhile on both sides arrives once, in order."""
    pair.minji.send(pair.conversation, "전")
    pair.world.settle()
    number = pair.minji.engine.verify(pair.conversation, confirm=True).safety_number
    _lose(pair, pair.jihoon)
    assert pair.jihoon.engine.chats().chats[0].state == "rejoining"
    pair.jihoon.send(pair.conversation, "waiting 1")
    pair.jihoon.send(pair.conversation, "waiting 2")
    assert {message.state for message in pair.jihoon.messages(pair.conversation)[1:]} == {"queued"}
    pair.minji.send(pair.conversation, "meanwhile")
    pair.world.settle(60)
    assert _together(pair)
    for person in (pair.minji, pair.jihoon):
        assert sorted(person.texts(pair.conversation)) == ["meanwhile", "waiting 1", "waiting 2", "전"]
        assert person.engine.pending(pair.world.now) == 0
        assert person.engine.chats().chats[0].state == "joined"
    own = [message for message in pair.jihoon.messages(pair.conversation) if message.text.startswith("waiting")]
    assert [message.text for message in own] == ["waiting 1", "waiting 2"]
    assert {message.state for message in own} == {"delivered"}
    (rejoined,) = pair.minji.of(events.MemberRejoined)
    assert isinstance(rejoined, events.MemberRejoined)
    assert rejoined.name == "Jihoon"
    assert pair.minji.engine.verify(pair.conversation, confirm=False) == pair.jihoon.engine.verify(
        pair.conversation, confirm=True
    )
    assert pair.minji.engine.verify(pair.conversation, confirm=False).safety_number == number
    _commit(pair, pair.jihoon, IntentKind.NEW_ERA)
    pair.jihoon.send(pair.conversation, "after")
    pair.world.settle()
    assert pair.minji.texts(pair.conversation)[-1] == "after"
    assert _together(pair)


def test_an_old_copy_learns_its_number_before_it_sends(pair: Pair, tmp_path: Path) -> None:
    """HT-M-061: no number is used twice (HT-C-003); what the copy does not have is said to be missing."""
    pair.jihoon.send(pair.conversation, "one")
    pair.world.settle()
    pair.jihoon.copy_to(tmp_path / "copy")
    pair.world.settle()
    for text in ("two", "three"):
        pair.jihoon.send(pair.conversation, text)
    pair.minji.send(pair.conversation, "답")
    pair.world.settle()
    pair.jihoon.put_back(tmp_path / "copy")
    _lose(pair, pair.jihoon)
    pair.jihoon.send(pair.conversation, "four")
    pair.world.settle(60)
    assert _together(pair)
    (missing,) = pair.jihoon.of(events.OwnMissing)
    assert isinstance(missing, events.OwnMissing)
    assert missing.last - missing.first == 1
    assert sorted(pair.minji.texts(pair.conversation)) == sorted(["one", "two", "three", "답", "four"])
    assert sorted(pair.jihoon.texts(pair.conversation)) == sorted(["one", "답", "four"])
    assert not {"message.reused-id", "message.reused-counter", "message.reused-key"} & set(pair.minji.alarms())
    assert pair.minji.of(events.GapFound) == []


def test_both_lost_the_smaller_key_begins_again(pair: Pair) -> None:
    """HT-M-062: nobody is left to answer, and still both come back."""
    pair.minji.send(pair.conversation, "before")
    pair.world.settle()
    for person in (pair.minji, pair.jihoon):
        _lose(pair, person)
        person.send(pair.conversation, f"of {person.name}")
    pair.world.settle(120)
    assert _together(pair)
    for person in (pair.minji, pair.jihoon):
        assert sorted(person.texts(pair.conversation)) == ["before", "of Jihoon", "of 민지"]
    _commit(pair, pair.minji)
    pair.minji.send(pair.conversation, "on it goes")
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation)[-1] == "on it goes"
    _lose(pair, pair.minji)  # and once more, from the group that was founded anew
    pair.world.settle(600)
    assert _together(pair)


def test_both_old_copies_come_back(pair: Pair, tmp_path: Path) -> None:
    """HT-M-061, HT-M-062: each tells the other what it knows of its numbers."""
    for person in (pair.minji, pair.jihoon):
        person.copy_to(tmp_path / person.name)
    pair.world.settle()
    pair.minji.send(pair.conversation, "gone from both")
    pair.world.settle()
    for person in (pair.minji, pair.jihoon):
        person.put_back(tmp_path / person.name)
        _lose(pair, person)
    pair.world.settle(120)
    assert _together(pair)
    pair.minji.send(pair.conversation, "new")
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["new"]


def _forked(pair: Pair) -> None:
    """The relay shows each half a history of its own: one commit for Jihoon, another for 민지 (T-015, T-031)."""
    relay = pair.world.relay
    before = relay.snapshot()
    pair.jihoon.offline()
    _commit(pair, pair.minji)
    pair.minji.offline()
    relay.go_back(before)
    pair.jihoon.online()
    _commit(pair, pair.jihoon)
    pair.minji.online()
    pair.world.settle()


def test_t031_a_fork_converges_by_adding_one_again(pair: Pair) -> None:
    """T-031, HT-M-057, HT-M-058: seen by what does not decrypt, proved by statements; one asks."""
    _forked(pair)
    assert len({p.engine._core.group(_id(pair)).epoch_authenticator for p in (pair.minji, pair.jihoon)}) == 2
    for number in range(4):
        pair.minji.send(pair.conversation, f"m{number}")
        pair.jihoon.send(pair.conversation, f"j{number}")
        pair.world.settle(5)
    pair.world.settle(300)
    assert _together(pair)
    wanted = sorted([f"m{n}" for n in range(4)] + [f"j{n}" for n in range(4)])
    for person in (pair.minji, pair.jihoon):
        assert sorted(person.texts(pair.conversation)) == wanted
    asked = max((pair.minji, pair.jihoon), key=lambda person: person.engine._core.identity.device.key)
    assert "conversation.forked" in asked.alarms()


@pytest.mark.parametrize("days", [31, 365])
def test_t086_away_beyond_the_control_retention(pair: Pair, days: int) -> None:
    """T-086: the relay forgot the commits of a hop; added again, then everything unconfirmed arrives."""
    pair.jihoon.offline()
    pair.jihoon.send(pair.conversation, "written offline")
    pair.minji.send(pair.conversation, "long ago")
    for _ in range(days // 31):
        _commit(pair, pair.minji, IntentKind.NEW_ERA)
        pair.world.pass_days(31)
        pair.minji.online()  # the relay forgot channels that were open: it asked to open them again
        pair.world.settle(13 * 3600)
    pair.minji.send(pair.conversation, "yesterday")
    pair.world.pass_days(1)
    pair.jihoon.online()
    pair.world.settle(3600)
    for person in (pair.minji, pair.jihoon):
        person.online()
    pair.world.settle(3600)
    assert _together(pair)
    assert "yesterday" in pair.jihoon.texts(pair.conversation)
    assert "long ago" in pair.jihoon.texts(pair.conversation)


def test_t023_what_a_relay_alone_can_show_causes_no_request(pair: Pair) -> None:
    """T-023, HT-M-057: invalid commits, garbage, replayed and withheld entries: no rejoining, at most a statement."""
    core = pair.jihoon.engine._core
    channel = core.channel(core.conversation(_id(pair)).channel)
    assert channel is not None
    at = _resync_channel(pair, pair.jihoon)
    old = pair.world.relay.store.read(channel.channel, after=0, entries=20, size=1 << 20)
    for _ in range(5):
        pair.world.relay.plant(channel.channel, os.urandom(512), entry_class=EntryClass.CONTROL, commit=True)
        pair.world.relay.plant(at.channel, os.urandom(4096), entry_class=EntryClass.CONTROL)
        pair.world.relay.plant(at.channel, os.urandom(64), entry_class=EntryClass.INVITE)
    for entry in old:  # an old commit, an old Welcome's era: the same bytes once more
        pair.world.relay.plant(channel.channel, entry.entry, entry_class=entry.entry_class, commit=entry.commit)
    for person in (pair.minji, pair.jihoon):
        person.restart()
    assert pair.jihoon.pipe is not None
    pair.jihoon.pipe.withhold(lambda entry: entry.commit)
    pair.world.settle(600)
    for person in (pair.minji, pair.jihoon):
        assert _state(pair, person) == ConversationState.JOINED
        assert person.engine._core.db.number("SELECT sum(asked) FROM resync") == 0
        assert person.of(events.MemberRejoined) == []
    pair.minji.send(pair.conversation, "noch da")
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["noch da"]


def test_t023_a_member_s_garbage_causes_no_request(pair: Pair) -> None:
    """HT-M-057: sealed by a member, but no MLS: said, answered by statements, nobody rejoins."""
    core = pair.minji.engine._core
    channel = core.channel(core.conversation(_id(pair)).channel)
    assert channel is not None
    for _ in range(80):
        sealed = sealing.seal(
            channel.seal_key,
            channel.channel,
            entry_class=EntryClass.MESSAGE,
            kind=sealing.BodyKind.MLS,
            body=os.urandom(200),
        )
        pair.world.relay.plant(channel.channel, sealed)
    pair.jihoon.restart()
    pair.world.settle(600)
    assert _state(pair, pair.jihoon) == ConversationState.JOINED
    assert pair.jihoon.engine._core.db.number("SELECT sum(asked) FROM resync") == 0
    said = pair.minji.engine._core.db.first(Statement, "conversation = ?", _id(pair))
    assert said is not None, "it said where it stands"


def test_a_withheld_commit_ends_in_a_rejoin_that_only_the_member_makes(pair: Pair) -> None:
    """HT-M-057, HT-M-058: the relay withholds a commit for good; the other's statement says so."""
    assert pair.jihoon.pipe is not None
    pair.jihoon.pipe.withhold(lambda entry: entry.commit)
    _commit(pair, pair.minji)
    pair.minji.send(pair.conversation, "in the next epoch")
    pair.world.settle(25)
    assert "conversation.behind" in pair.jihoon.alarms()
    pair.jihoon.restart()  # on a connection that behaves
    pair.world.settle(120)
    assert _together(pair)
    assert pair.jihoon.texts(pair.conversation) == ["in the next epoch"]


def _request(pair: Pair, person: Person, **changes: object) -> tuple[statements.Statement, bytes]:
    """What `person` last said, changed and signed again, as its entry's body."""
    mine = person.engine._core.db.value("SELECT last FROM resync WHERE conversation = ?", _id(pair))
    assert isinstance(mine, bytes)
    said, _ = statements.parse(mine)
    said = msgspec.structs.replace(said, **changes)
    return said, statements.sign(said, person.engine._core.identity.device)


def _plant(pair: Pair, body: bytes) -> None:
    at = _resync_channel(pair, pair.minji)
    sealed = sealing.seal(
        at.seal_key, at.channel, entry_class=EntryClass.CONTROL, kind=sealing.BodyKind.STATEMENT, body=body
    )
    pair.world.relay.plant(at.channel, sealed, entry_class=EntryClass.CONTROL)
    pair.minji.restart()
    pair.world.settle()


def test_requests_of_others_replayed_or_changed_are_not_answered(pair: Pair) -> None:
    """HT-M-055, HT-M-059: number, signature, device, conversation and KeyPackage count."""
    _lose(pair, pair.jihoon)
    pair.world.settle(60)
    assert _together(pair)
    _lose(pair, pair.jihoon)
    pair.jihoon.offline()
    core = pair.jihoon.engine._core
    row = core.conversation(_id(pair))
    with core.transaction():
        resync._ask(core, row, resync._mine(core, _id(pair)), pair.world.now)  # type: ignore[arg-type]
    epoch = pair.minji.engine._core.conversation(_id(pair)).epoch
    seen = pair.minji.engine._core.db.first(Statement, "conversation = ?", _id(pair))
    assert seen is not None
    stranger = accounts.Device(accounts.new_seed())
    said, _ = _request(pair, pair.jihoon)
    other = _of_the_other_suite(pair, pair.jihoon)
    for body in (
        _request(pair, pair.jihoon, number=seen.number)[1],  # not newer
        statements.sign(said, stranger),  # not its signature
        _request(pair, pair.jihoon, device=stranger.key)[1],  # nobody's device
        _request(pair, pair.jihoon, conversation=os.urandom(16))[1],
        _request(pair, pair.jihoon, chain=list(pair.minji.engine._core.identity.chain.links))[1],
        _request(pair, pair.jihoon, key_package=os.urandom(400))[1],
        _request(pair, pair.jihoon, number=said.number + 1, key_package=other)[1],  # nobody could add it
        os.urandom(300),
    ):
        _plant(pair, body)
    assert pair.minji.engine._core.conversation(_id(pair)).epoch == epoch
    assert pair.minji.engine._core.db.find(Readmission, "1") == []
    assert pair.minji.engine._core.db.value("SELECT count(*) FROM intent WHERE kind = ?", IntentKind.READMIT) == 0
    pair.jihoon.online()
    _lose(pair, pair.jihoon)
    pair.world.settle(8 * DAY / 1000)
    assert _together(pair)


def test_a_storm_of_requests_is_bounded(pair: Pair) -> None:
    """HT-M-056, HT-M-059: a device that asks all the time is answered eight times a day, and that is said."""
    for _ in range(12):
        core = pair.jihoon.engine._core
        _lose(pair, pair.jihoon)
        core.db.execute("UPDATE resync SET asked = 0, asked_at = 0, ask_at = ?", pair.world.now)
        pair.jihoon.engine.tick(pair.jihoon.now)
        pair.world.settle(30)
    rejoined = len(pair.minji.of(events.MemberRejoined))
    assert rejoined == resync.ANSWERS_PER_DAY
    assert "conversation.asks-often" in pair.minji.alarms()
    # the asking side by itself: each time later
    pair.world.settle(DAY / 1000 + 60)
    assert _together(pair)


def _of_the_other_suite(pair: Pair, person: Person) -> bytes:
    """A KeyPackage of this device for groups of the other suite."""
    core = person.engine._core
    relay = policy.parse([(policy.EXTENSION, core.conversation(_id(pair)).policy)]).relays[0]
    with core.transaction():
        expires_at = core.clock.wall(pair.world.now) + DAY
        row = key_packages.make(core, relay, expires_at=expires_at, now=pair.world.now, suite=mls.SUITE_X25519)
    return row.key_package


def test_a_spare_key_package_does_not_bring_a_device_into_another_group(pair: Pair) -> None:
    """HT-M-060: a member replaces our leaf with a KeyPackage that we gave away: no Welcome for it is taken; we ask."""
    core = pair.minji.engine._core
    spare = core.db.value("SELECT key_package FROM contact_key_package WHERE suite = ?", mls.SUITE_X_WING)
    assert isinstance(spare, bytes)
    device = pair.jihoon.engine._core.identity.device.key
    with core.transaction():
        core.db.put(Readmission(_id(pair), DeviceKey(device), spare))
        commits.want(core, _id(pair), IntentKind.READMIT, pair.world.now)
    pair.minji.engine.tick(pair.minji.now)
    pair.world.settle(60)
    assert "conversation.replaced" in pair.jihoon.alarms()
    assert _together(pair)  # by its own request
    assert len(pair.minji.of(events.MemberRejoined)) == 2
    pair.minji.send(pair.conversation, "gut")
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["gut"]


def test_a_reused_generation_is_an_alarm(pair: Pair, tmp_path: Path) -> None:
    """T-058, HT-C-003 below it: two ciphertexts of one generation; the second is refused and said, a replay is not."""
    pair.world.settle()
    pair.jihoon.copy_to(tmp_path / "copy")
    pair.world.settle()
    pair.jihoon.send(pair.conversation, "first")
    pair.world.settle()
    pair.jihoon.offline()
    core_path = tmp_path / "twin.sqlite3"
    shutil.copy(tmp_path / "copy", core_path)
    twin = Person(pair.world, "Jihoon", core_path, pair.jihoon.key)
    core = twin.engine._core
    row = core.conversation(_id(pair))
    ciphertext, _ = core.group(_id(pair)).encrypt(
        content.make(content.Text("second"), message=os.urandom(16), counter=row.counter + 1, sent_at=0)  # type: ignore[arg-type]
    )
    channel = core.channel(row.channel)
    assert channel is not None
    sealed = sealing.seal(
        channel.seal_key,
        channel.channel,
        entry_class=EntryClass.MESSAGE,
        kind=sealing.BodyKind.MLS,
        body=ciphertext,
    )
    pair.world.relay.plant(channel.channel, sealed)
    pair.minji.restart()
    pair.world.settle()
    assert pair.minji.texts(pair.conversation) == ["first"]
    assert "message.reused-key" in pair.minji.alarms()
    twin.database.close()


def test_while_rejoining_nothing_of_the_conversation_leaves(pair: Pair) -> None:
    """HT-M-056: no message, receipt or commit; the outbox keeps what was written."""
    pair.minji.offline()
    pair.jihoon.send(pair.conversation, "queued")
    _lose(pair, pair.jihoon)
    pair.jihoon.send(pair.conversation, "held")
    pair.world.settle(60)
    frames = pair.jihoon.engine._core.db.find(Outgoing, "1")
    assert {frame.kind for frame in frames} <= {OutboxKind.STATEMENT, OutboxKind.WELCOME}
    held = pair.jihoon.engine._core.db.find(Message, "counter < 0")
    assert [message.counter for message in held] == [-1]
    pair.jihoon.restart()
    pair.minji.online()
    pair.world.settle(120)
    assert pair.minji.texts(pair.conversation) == ["queued", "held"]


def test_statements_are_strict() -> None:
    """HT-M-055: anything else is refused, never another error."""
    for raw in (b"", b"\xc1", os.urandom(100), msgspec.msgpack.encode([1, 2]), msgspec.msgpack.encode([b"", b""])):
        with pytest.raises((ContentError, VerificationError)):
            statements.parse(raw)
