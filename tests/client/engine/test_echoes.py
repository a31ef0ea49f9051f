"""A relay that says STORED and drops the entry (T-014, T-021; HT-C-073 … HT-C-075)."""

from tests.client.engine.conftest import Pair
from tests.client.people import Person

from hanatalk.client import events
from hanatalk.ids import ChannelId
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.frames import PushedEntry


class Dropping:
    """The relay takes the next `count` messages, says STORED, and shows them to nobody."""

    def __init__(self, pair: Pair, count: int) -> None:
        self.left, self.entries = count, set[bytes]()
        for person in (pair.minji, pair.jihoon):
            assert person.pipe is not None
            person.pipe.withhold(self.takes)

    def takes(self, pushed: PushedEntry) -> bool:
        entry = bytes(pushed.entry)
        if entry not in self.entries and self.left and pushed.entry_class is EntryClass.MESSAGE:
            self.left -= 1
            self.entries.add(entry)
        return entry in self.entries


def states(person: Person, message: str) -> list[str]:
    return [
        event.state for event in person.events if isinstance(event, events.StateChanged) and event.message == message
    ]


def era(person: Person, conversation: str) -> ChannelId:
    return person.engine._core.conversation(bytes.fromhex(conversation)).channel  # type: ignore[arg-type]


def test_t021_a_stored_message_that_does_not_come_back_is_sent_again(pair: Pair) -> None:
    """T-021, HT-C-073: the next entry overtakes it; the sender notices at once, no receiver has to miss it."""
    Dropping(pair, 1)
    dropped = pair.minji.send(pair.conversation, "dropped")
    pair.world.run()
    assert states(pair.minji, dropped) == ["stored"]
    assert pair.jihoon.texts(pair.conversation) == []
    pair.minji.send(pair.conversation, "shown")
    pair.world.run()
    assert states(pair.minji, dropped) == ["stored", "queued", "stored"]
    assert pair.minji.alarms() == ["relay.dropped"]
    pair.world.settle()
    assert sorted(pair.jihoon.texts(pair.conversation)) == ["dropped", "shown"]
    assert pair.minji.message(pair.conversation, dropped).state == "delivered"


def test_t014_a_dropped_tail_is_noticed_without_anything_behind_it(pair: Pair) -> None:
    """T-014, HT-C-073: nothing comes for half a minute; opened anew, the relay says that it has shown everything."""
    Dropping(pair, 1)
    dropped = pair.minji.send(pair.conversation, "the last word")
    pair.world.settle(25)
    assert pair.minji.message(pair.conversation, dropped).state == "stored"
    pair.world.settle(60)
    assert pair.minji.alarms() == ["relay.dropped"]
    assert pair.jihoon.texts(pair.conversation) == ["the last word"]
    pair.world.settle()
    assert pair.minji.message(pair.conversation, dropped).state == "delivered"


def test_a_message_that_is_gone_when_its_sender_connects_again(pair: Pair) -> None:
    """HT-C-073: stored and answered, removed before it was shown to anybody: the sender was offline in between."""
    world, minji, conversation = pair.world, pair.minji, pair.conversation
    pair.jihoon.offline()
    assert minji.pipe is not None
    minji.pipe.withhold(lambda pushed: pushed.entry_class is EntryClass.MESSAGE)
    dropped = minji.send(conversation, "gone overnight")
    world.run()
    assert states(minji, dropped) == ["stored"]
    minji.offline()
    channel = era(minji, conversation)
    state = world.relay.store.channel(channel)
    assert state is not None
    world.relay.store._remove(world.relay.store._channels[channel], state.head, day=world.relay.day)
    minji.restart()
    world.settle()
    assert minji.alarms() == ["relay.dropped"]
    assert minji.message(conversation, dropped).state == "stored"
    pair.jihoon.online()
    world.settle()
    assert pair.jihoon.texts(conversation) == ["gone overnight"]


def test_a_head_below_what_was_stored(pair: Pair) -> None:
    """T-024, HT-C-073: the relay went back behind an entry that its sender had not been shown yet."""
    world, minji, conversation = pair.world, pair.minji, pair.conversation
    pair.jihoon.offline()
    world.settle()
    before = world.relay.snapshot()
    assert minji.pipe is not None
    minji.pipe.withhold(lambda pushed: pushed.entry_class is EntryClass.MESSAGE)
    dropped = minji.send(conversation, "after the snapshot")
    world.run()
    assert states(minji, dropped) == ["stored"]
    world.relay.go_back(before)
    world.run()
    minji.online()
    world.settle()
    assert states(minji, dropped)[:2] == ["stored", "queued"]
    pair.jihoon.online()
    world.settle()
    assert pair.jihoon.texts(conversation) == ["after the snapshot"]


def test_a_relay_that_drops_everything_is_not_fed_without_end(pair: Pair) -> None:
    """HT-C-074: three more times on one connection, then hourly; what it does not keep is not called stored."""
    world, minji, conversation = pair.world, pair.minji, pair.conversation
    dropping = Dropping(pair, 1_000)
    message = minji.send(conversation, "into the void")
    world.settle(300)
    assert len(dropping.entries) <= 8
    assert minji.message(conversation, message).state in ("queued", "stored")
    assert minji.alarms() == ["relay.dropped"]
    for person in (minji, pair.jihoon):
        assert person.pipe is not None
        person.pipe.behave()
    world.settle(3_700)
    assert pair.jihoon.texts(conversation) == ["into the void"]
    assert minji.message(conversation, message).state == "delivered"


def test_what_was_taken_back_is_not_missed(pair: Pair) -> None:
    """HT-C-046: it is gone because its sender asked for it."""
    world, minji, conversation = pair.world, pair.minji, pair.conversation
    assert minji.pipe is not None
    minji.pipe.hold()
    message = minji.send(conversation, "oops")
    world.run()
    minji.recall(message)
    world.run()
    minji.pipe.release()
    minji.send(conversation, "never mind")
    world.settle(60)
    assert minji.alarms() == []
    assert pair.jihoon.texts(conversation)[-1] == "never mind"


def test_honest_relays_are_never_suspected(pair: Pair) -> None:
    """HT-C-073: burned after all took it, read again, expired while nobody was there."""
    world, minji, jihoon, conversation = pair.world, pair.minji, pair.jihoon, pair.conversation
    for number in range(5):
        minji.send(conversation, f"m{number}")
        jihoon.send(conversation, f"j{number}")
    world.settle()
    before = world.relay.snapshot()
    minji.restart()
    world.settle(100)
    assert minji.alarms() == jihoon.alarms() == []
    minji.send(conversation, "forgotten by the relay")
    world.settle()
    world.relay.go_back(before)  # what follows takes the seqs of what was there before
    for person in (minji, jihoon):
        person.step()
        person.online()
    world.settle(100)
    jihoon.send(conversation, "after")
    world.settle(100)
    for person in (minji, jihoon):
        assert "relay.dropped" not in person.alarms()
        assert len(person.texts(conversation)) == 12
    assert minji.database.number("SELECT count(*) FROM placed WHERE shown = 0") == 0
