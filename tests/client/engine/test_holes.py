"""A log with something missing among its control entries (HT-C-060): no later candidate is taken in its place."""

from tests.client.engine.conftest import Pair

from hanatalk.client import events
from hanatalk.client.engine.conversations import commits
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import IntentKind, Outgoing
from hanatalk.wire.classes import EntryClass


def test_a_later_candidate_behind_a_hole_is_never_merged(pair: Pair) -> None:
    """HT-C-060, T-015: a relay withholds a commit for good and stores another one of the same epoch behind it."""
    conversation = ConversationId(bytes.fromhex(pair.conversation))
    here, there = (person.engine._core for person in (pair.jihoon, pair.minji))
    channel = here.conversation(conversation).channel
    for core in (here, there):
        with core.transaction():
            commits.want(core, conversation, IntentKind.UPDATE, pair.world.now)
    while not (frame := here.db.first(Outgoing, "is_commit = 1")):  # made, and not yet at the relay
        pair.jihoon.engine.tick(pair.world.now)
        pair.jihoon.step()
    assert pair.jihoon.pipe is not None
    pair.jihoon.pipe.drop()
    epoch = here.group(conversation).epoch
    while there.group(conversation).epoch == epoch:
        pair.minji.engine.tick(pair.world.now)
        pair.minji.step()
    (missing,) = [
        entry.seq
        for entry in pair.world.relay.store.read(channel, after=0, entries=99, size=1 << 20)
        if entry.commit and entry.seq > here.db.number("SELECT cursor FROM channel WHERE channel = ?", channel)
    ]
    pair.world.relay.plant(channel, frame.entry, entry_class=EntryClass.CONTROL, commit=True)
    pair.jihoon.step()
    pair.jihoon.online()
    pair.jihoon.pipe.withhold(lambda entry: entry.seq == missing and entry.entry_class is EntryClass.CONTROL)
    pair.world.settle(5)
    assert "relay.hole" in pair.jihoon.alarms()
    assert here.group(conversation).epoch == epoch
    pair.jihoon.offline()
    pair.jihoon.online()
    pair.world.settle(60)
    assert here.group(conversation).epoch_authenticator == there.group(conversation).epoch_authenticator
    assert pair.jihoon.of(events.MemberRejoined) == pair.minji.of(events.MemberRejoined) == []
