"""What a message, a confirmation and a reading look like from outside: the same (T-043)."""

from collections.abc import Callable

import pytest
from tests.client.engine.conftest import Pair
from tests.client.people import Person

from hanatalk.wire import frames
from hanatalk.wire.classes import EntryClass

Shape = tuple[object, ...]


def _shape(frame: frames.ClientFrame) -> Shape:
    if isinstance(frame, frames.Append):
        hashed = frame.erase_hash is not None
        fields = (frame.entry_class, frame.commit, frame.turn, frame.burn_after, hashed, len(frame.entry))
        return ("append", *fields)
    return (type(frame).__name__,)


def told(person: Person, act: Callable[[], object]) -> list[list[Shape]]:
    """The messages that go out on this person's connection because of `act`, until nobody has anything to say."""
    assert person.pipe is not None
    before = len(person.pipe.sent)
    act()
    person.world.settle()
    return [[_shape(frame) for frame in frames.decode_client_frames(message)] for message in person.pipe.sent[before:]]


def test_sending_confirming_and_reading_look_the_same(pair: Pair) -> None:
    """T-043: message for message, field for field: class, turn, burn_after, erase_hash, 512 bytes; and what follows."""
    minji, jihoon, conversation = pair.minji, pair.jihoon, pair.conversation
    pair.world.settle(60)
    sending = told(minji, lambda: minji.send(conversation, "안녕, 들려?"))
    confirming = told(jihoon, lambda: minji.send(conversation, "그리고?"))
    reading = told(jihoon, lambda: jihoon.read(conversation))
    answering = told(jihoon, lambda: jihoon.send(conversation, "응"))
    for trace in (sending, confirming, reading, answering):
        appended = [shape for message in trace for shape in message if shape[0] == "append"]
        assert appended == [("append", EntryClass.MESSAGE, False, appended[0][3], 2, True, 512)], trace
    assert sending[0] == reading[0] == answering[0] != []
    assert len(sending[0]) == 1
    # who sends and who reads do the same things in the same order; who confirms acknowledges the entry before that
    assert sending[:2] == reading == answering[:2] == confirming[1:]
    # (that the other confirms a message and not a confirmation is said in spec/threat-model.md)
    assert sending[2:] == answering[2:] == confirming[:1] == [[("Ack",)]]


@pytest.mark.parametrize("text", ["a", "안녕하세요" * 10, "x" * 200])
def test_any_short_text_is_the_same_entry(pair: Pair, text: str) -> None:
    """T-043"""
    pair.world.settle(60)
    first = told(pair.minji, lambda: pair.minji.send(pair.conversation, "."))
    pair.world.settle(60)
    assert told(pair.minji, lambda: pair.minji.send(pair.conversation, text)) == first


def test_reading_again_or_reading_nothing_sends_nothing(pair: Pair) -> None:
    """T-043: only what was not said before is said."""
    pair.minji.send(pair.conversation, "안녕")
    pair.world.settle(60)
    pair.jihoon.read(pair.conversation)
    pair.world.settle(60)
    assert told(pair.jihoon, lambda: pair.jihoon.read(pair.conversation)) == []
