"""What a message can do leaves nothing for an examiner with the passphrase (T-049; HT-C-109 … HT-C-115, HT-S-060).

As `test_forensics`: pages and log are decrypted without SQLite and searched; each search has its control.
"""

import pytest
from tests.client.engine.conftest import Pair
from tests.client.engine.test_expiry import pass_seconds
from tests.client.engine.test_forensics import found_in
from tests.client.people import Person

from hanatalk.client.engine import Fate

FIRST, SECOND, THIRD = "첫째 카나리아 canary one", "둘째 카나리아 canary two", "셋째 카나리아 canary three"
KISS = "👩🏻‍❤️‍💋‍👨🏿"  # long enough to be searched for
FAMILY = "👩‍👩‍👧‍👦"


def both(pair: Pair) -> tuple[Person, Person]:
    return pair.minji, pair.jihoon


def anywhere(pair: Pair, *texts: str) -> list[tuple[str, str]]:
    return [(person.name, text) for person in both(pair) for text in texts if found_in(person, text)]


@pytest.mark.parametrize("way", ["expired", "recalled", "deleted", "confirmed"])
def test_t049_with_a_message_go_every_wording_and_every_reaction(pair: Pair, way: str) -> None:
    """HT-C-109, HT-C-110, HT-C-115: at both, or (deleted) at who deleted it; also after a restart."""
    message = pair.minji.engine.send(
        pair.conversation,
        FIRST,
        expire=60 if way == "expired" else None,
        fate=Fate.CONFIRMED if way == "confirmed" else Fate.STAYS,
        now=pair.minji.now,
    ).message.hex()
    pair.world.settle(5)
    for text in (SECOND, THIRD):
        pair.minji.engine.edit(message, text, pair.minji.now)
    pair.minji.engine.react(message, KISS, pair.minji.now)
    pair.world.settle(5)
    pair.jihoon.engine.react(message, FAMILY, pair.jihoon.now)
    pair.world.settle(5)
    marks = (FIRST, SECOND, THIRD, KISS, FAMILY)
    assert len(anywhere(pair, *marks)) == 2 * len(marks)  # the control
    if way == "recalled":
        pair.minji.recall(message)
        assert not [text for text in marks if found_in(pair.minji, text)]  # when the call returns
    elif way == "deleted":
        assert pair.jihoon.engine.delete(message, pair.jihoon.now).state == "deleted"
        assert not [text for text in marks if found_in(pair.jihoon, text)]
        assert len([text for text in marks if found_in(pair.minji, text)]) == len(marks)  # the control
        return
    else:
        pair.jihoon.read(pair.conversation)
    pass_seconds(pair.world, 70)
    assert anywhere(pair, *marks) == []
    for person in both(pair):
        person.restart()
    pair.world.settle(5)
    assert anywhere(pair, *marks) == []


def test_t049_a_reaction_that_was_changed_is_gone(pair: Pair) -> None:
    """HT-C-105: only the last one is kept."""
    message = pair.minji.send(pair.conversation, "봐")
    pair.world.settle(5)
    pair.jihoon.engine.react(message, KISS, pair.jihoon.now)
    pair.world.settle(5)
    assert len(anywhere(pair, KISS)) == 2  # the control
    pair.jihoon.engine.react(message, FAMILY, pair.jihoon.now)
    pair.world.settle(5)
    assert anywhere(pair, KISS) == []
    assert len(anywhere(pair, FAMILY)) == 2


def test_t049_what_was_seen_once_is_gone_when_it_is_shown(pair: Pair) -> None:
    """HT-C-112, HT-C-113: at the reader before the call returns, at the sender once it was decrypted."""
    pair.jihoon.offline()
    message = pair.minji.engine.send(pair.conversation, FIRST, fate=Fate.ONCE, now=pair.minji.now).message.hex()
    pair.world.settle(5)
    assert found_in(pair.minji, FIRST)  # the control
    pair.jihoon.online()
    pair.world.settle(10)
    assert anywhere(pair, FIRST) == [("Jihoon", FIRST)]
    assert pair.jihoon.engine.view(message, pair.jihoon.now).text == FIRST
    assert anywhere(pair, FIRST) == []


def test_t049_what_was_deleted_before_it_was_delivered_goes_when_it_is(pair: Pair) -> None:
    """HT-C-111: text, edit and reaction of the own device stay as long as they may have to be sent again."""
    pair.jihoon.offline()
    message = pair.minji.send(pair.conversation, FIRST)
    pair.minji.engine.edit(message, SECOND, pair.minji.now)
    pair.minji.engine.react(message, KISS, pair.minji.now)
    pair.world.settle(5)
    assert pair.minji.engine.delete(message, pair.minji.now).state == "hidden"
    pair.world.settle(5)
    assert [text for text in (FIRST, SECOND, KISS) if found_in(pair.minji, text)] == [FIRST, SECOND, KISS]
    pair.jihoon.online()
    pair.world.settle(10)
    assert not [text for text in (FIRST, SECOND, KISS) if found_in(pair.minji, text)]
    assert pair.jihoon.texts(pair.conversation) == [SECOND]
