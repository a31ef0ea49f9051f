"""Messages that somebody has not confirmed 30 days after sending (HT-C-070 … HT-C-072)."""

import pytest
from tests.client.engine.conftest import Pair
from tests.client.people import DAY, Person

from hanatalk.client import events
from hanatalk.errors import UsageError


def states(person: Person, message: str) -> list[str]:
    """What was said of a message, in order."""
    return [
        event.state for event in person.events if isinstance(event, events.StateChanged) and event.message == message
    ]


def pass_days(pair: Pair, days: int) -> None:
    """A relay that forgets a channel ends the connections that have it open; who was there connects again."""
    there = [person for person in pair.world.people if person.pipes]
    for _ in range(days):
        pair.world.pass_days(1)
        for person in there:
            person.online()
        pair.world.run()


def test_what_nobody_confirms_is_not_delivered_after_30_days(pair: Pair) -> None:
    """HT-C-070, T-086: until then it is published again; afterwards it is said, once, and stays said."""
    minji, conversation = pair.minji, pair.conversation
    confirmed = minji.send(conversation, "들려?")
    pair.world.settle()
    pair.jihoon.offline()
    lost = minji.send(conversation, "아직 거기 있어?")
    pair.world.settle()
    pass_days(pair, 29)
    assert minji.message(conversation, lost).state == "stored"
    pass_days(pair, 4)
    assert minji.message(conversation, lost).state == "failed"
    assert minji.message(conversation, confirmed).state == "delivered"
    assert states(minji, lost) == ["stored", "failed"]
    pass_days(pair, 10)
    assert states(minji, lost) == ["stored", "failed"]
    minji.restart()
    pair.world.settle()
    assert minji.message(conversation, lost).state == "failed"
    assert minji.message(conversation, lost).unread == 1


def test_who_comes_back_later_asks_for_it_and_then_it_is_delivered(pair: Pair) -> None:
    """HT-C-071: what was said is taken back by a confirmation."""
    world, minji, jihoon, conversation = pair.world, pair.minji, pair.jihoon, pair.conversation
    jihoon.offline()
    lost = minji.send(conversation, "아직 거기 있어?")
    pass_days(pair, 34)
    assert minji.message(conversation, lost).state == "failed"
    jihoon.online()
    world.settle(200)
    minji.send(conversation, "anybody?")
    world.settle(200)
    assert "아직 거기 있어?" in jihoon.texts(conversation)
    assert minji.message(conversation, lost).state == "delivered"


def test_resending_tries_for_another_30_days(pair: Pair) -> None:
    """HT-C-072: the same message; whoever had it already sees it once."""
    world, minji, jihoon, conversation = pair.world, pair.minji, pair.jihoon, pair.conversation
    message = minji.send(conversation, "still true")
    world.settle()
    with minji.database.transaction():  # his confirmations were lost
        minji.database.execute("DELETE FROM receipt")
    jihoon.offline()
    pass_days(pair, 34)
    assert minji.message(conversation, message).state == "failed"
    minji.events.clear()
    minji.engine.resend(message, minji.now)
    minji.events.extend(minji.engine.take_events())
    assert minji.message(conversation, message).state == "queued"
    world.settle()
    assert states(minji, message) == ["queued", "stored"]
    published = minji.database.number("SELECT stored_at FROM message WHERE message = ?", bytes.fromhex(message))
    pass_days(pair, 25)
    again = minji.database.number("SELECT stored_at FROM message WHERE message = ?", bytes.fromhex(message))
    assert again > published + 20 * DAY  # it was published again and again
    assert minji.message(conversation, message).state == "stored"
    jihoon.online()
    world.settle(200)
    minji.send(conversation, "hello again")
    world.settle(200)
    assert jihoon.texts(conversation) == ["still true", "hello again"]
    assert minji.message(conversation, message).state == "delivered"


def test_a_resent_message_that_nobody_confirms_fails_again(pair: Pair) -> None:
    minji, conversation = pair.minji, pair.conversation
    pair.jihoon.offline()
    message = minji.send(conversation, "words")
    pass_days(pair, 34)
    minji.engine.resend(message, minji.now)
    pass_days(pair, 29)
    assert minji.message(conversation, message).state == "stored"
    pass_days(pair, 5)
    assert minji.message(conversation, message).state == "failed"


def test_resending_before_the_start_is_counted_waits_for_it(pair: Pair) -> None:
    """HT-M-071: a command that just began encrypts nothing before; the wish survives its end."""
    world, minji, conversation = pair.world, pair.minji, pair.conversation
    pair.jihoon.offline()
    message = minji.send(conversation, "words")
    pass_days(pair, 34)
    minji.restart(online=False)
    minji.engine.resend(message, minji.now)
    minji.restart(online=False)
    assert minji.message(conversation, message).state == "queued"
    minji.online()
    world.settle()
    assert minji.message(conversation, message).state == "stored"


def test_what_still_waits_for_a_relay_is_queued_and_gets_its_chance(pair: Pair) -> None:
    """HT-C-070: nothing was tried in vain yet."""
    world, minji, conversation = pair.world, pair.minji, pair.conversation
    pair.jihoon.offline()
    minji.offline()
    message = minji.send(conversation, "from the mountains")
    pass_days(pair, 40)
    assert minji.message(conversation, message).state == "queued"
    minji.online()
    world.settle()
    assert minji.message(conversation, message).state == "stored"
    pass_days(pair, 4)
    assert minji.message(conversation, message).state == "failed"


def test_a_wrong_clock_is_taken_back(pair: Pair) -> None:
    """HT-C-043: a clock that was months ahead destroys nothing and leaves nothing said."""
    world, minji, conversation = pair.world, pair.minji, pair.conversation
    pair.jihoon.offline()
    message = minji.send(conversation, "words")
    world.settle()
    minji.skew = 60 * DAY
    minji.tick()
    assert minji.message(conversation, message).state == "failed"
    minji.skew = 0
    minji.tick()
    pair.jihoon.online()
    world.settle()
    assert minji.message(conversation, message).state == "delivered"


def test_what_can_be_resent(pair: Pair) -> None:
    world, minji, jihoon, conversation = pair.world, pair.minji, pair.jihoon, pair.conversation
    delivered = minji.send(conversation, "one")
    world.settle()
    jihoon.offline()
    recalled, waiting = minji.send(conversation, "two"), minji.send(conversation, "three")
    world.settle()
    minji.recall(recalled)
    pass_days(pair, 34)
    assert minji.message(conversation, recalled).state == "stored"
    assert states(minji, recalled) == ["stored"]
    for message, code in (
        (delivered, "resend.not-failed"),
        (recalled, "resend.not-failed"),
        ("ab" * 16, "message.unknown"),
    ):
        with pytest.raises(UsageError) as raised:
            minji.engine.resend(message, minji.now)
        assert raised.value.code == code
    minji.engine.resend(waiting, minji.now)
    with pytest.raises(UsageError, match=r"resend\.not-failed"):
        minji.engine.resend(waiting, minji.now)  # it is under way
    with pytest.raises(UsageError, match=r"resend\.not-own"):
        jihoon.engine.resend(delivered, jihoon.now)
