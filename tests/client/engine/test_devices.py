"""Several equal devices of one account (HT-M-120 … HT-M-129)."""

from tests.client.engine.conftest import Pair

from hanatalk.client import events


def test_a_second_device_receives_and_sends(pair: Pair) -> None:
    """HT-M-123 … HT-M-125: linked by words, a member of the conversation; every device has every new message."""
    pair.minji.send(pair.conversation, "before")
    pair.world.settle()
    laptop = pair.minji.new_device()
    assert [chat.name for chat in laptop.engine.chats().chats] == ["Jihoon"]
    (seen,) = pair.jihoon.of(events.DeviceChanged)
    assert isinstance(seen, events.DeviceChanged)
    assert (seen.name, seen.change) == ("민지", "added")
    pair.jihoon.send(pair.conversation, "to both")
    pair.minji.send(pair.conversation, "from the phone")
    laptop.send(pair.conversation, "from the laptop")
    pair.world.settle()
    wanted = ["from the laptop", "from the phone", "to both"]
    for person in (pair.minji, pair.jihoon, laptop):
        assert person.engine.pending(pair.world.now) == 0
        assert person.of(events.GapFound) == []
        assert person.alarms() == []
    assert sorted(laptop.texts(pair.conversation)) == wanted
    for person in (pair.minji, pair.jihoon):
        assert sorted(person.texts(pair.conversation)) == ["before", *wanted]
    (own,) = [message for message in laptop.messages(pair.conversation) if message.text == "from the phone"]
    assert (own.state, own.unread) == ("delivered", 1)
