"""Tokens and keys of eras that are over (HT-C-077)."""

from tests.client.engine.conftest import Pair
from tests.client.people import Person

from hanatalk.client.engine.conversations import commits
from hanatalk.ids import ChannelId, ConversationId
from hanatalk.localdb.rows import Channel, IntentKind, Purpose

HOUR = 3_600_000


def new_era(pair: Pair) -> ChannelId:
    """민지 begins a new era, both are heard in it; returns the channel of the one before."""
    core = pair.minji.engine._core
    conversation = ConversationId(bytes.fromhex(pair.conversation))
    before = core.conversation(conversation).channel
    with core.transaction():
        commits.want(core, conversation, IntentKind.NEW_ERA, pair.minji.now)
    pair.minji.tick()
    pair.world.settle()
    assert core.conversation(conversation).channel != before
    for person in (pair.minji, pair.jihoon):
        person.send(pair.conversation, "in the new era")
    pair.world.settle()
    return before


def an_hour(pair: Pair) -> None:
    pair.world.now += HOUR + 1
    for person in (pair.minji, pair.jihoon):
        person.tick()
    pair.world.settle()


def known(person: Person, channel: ChannelId) -> Channel | None:
    return person.engine._core.channel(channel)


def test_keys_of_an_era_that_is_over_go_within_an_hour(pair: Pair) -> None:
    """HT-C-077: nothing of one's own lies there any more, everybody has left it."""
    with pair.jihoon.database.transaction():
        pair.jihoon.database.execute("DELETE FROM placed")  # as if three days had gone by since he wrote there
    before = new_era(pair)
    row = known(pair.jihoon, before)
    assert row is not None
    an_hour(pair)
    assert known(pair.jihoon, before) is None
    assert pair.jihoon.database.number("SELECT count(*) FROM control WHERE channel = ?", before) == 0
    pair.minji.send(pair.conversation, "goes on")
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation)[-1] == "goes on"


def test_what_may_have_to_be_erased_keeps_its_tokens_for_three_days(pair: Pair) -> None:
    """HT-C-046, HT-C-077: a message of the era before can still be taken back at the relay."""
    world, minji = pair.world, pair.minji
    pair.jihoon.offline()
    message = minji.send(pair.conversation, "of the era before")
    world.settle()
    old = minji.engine._core.conversation(ConversationId(bytes.fromhex(pair.conversation))).channel
    pair.jihoon.online()
    world.settle()
    before = new_era(pair)
    assert before == old
    an_hour(pair)
    assert known(minji, before) is not None
    minji.recall(message)
    world.settle()
    assert minji.engine.pending(minji.now) == 0
    assert minji.database.number("SELECT count(*) FROM placed WHERE wanted = 1") == 0
    world.pass_days(4)
    assert known(minji, before) is None
    assert pair.jihoon.alarms() == []


def test_an_era_that_somebody_may_still_follow_stays(pair: Pair) -> None:
    """HT-M-053: who was not heard in a later era may need its commits."""
    pair.jihoon.offline()
    core = pair.minji.engine._core
    conversation = ConversationId(bytes.fromhex(pair.conversation))
    before = core.conversation(conversation).channel
    with core.transaction():
        commits.want(core, conversation, IntentKind.NEW_ERA, pair.minji.now)
    pair.minji.tick()
    pair.world.pass_days(5)
    assert known(pair.minji, before) is not None
    pair.jihoon.online()
    pair.world.settle(60)
    pair.jihoon.send(pair.conversation, "back")
    pair.world.settle(60)
    an_hour(pair)
    assert known(pair.minji, before) is None


def test_used_welcome_channels_go_too(pair: Pair) -> None:
    """HT-C-077: the KeyPackage was used, nothing comes there any more."""
    an_hour(pair)
    assert pair.minji.database.find(Channel, "purpose = ? AND closed = 1", Purpose.WELCOME) == []
    assert pair.minji.database.find(Channel, "purpose = ? AND closed = 1", Purpose.FALLBACK) == []
