"""The way of a message between two engines: invite, accept, send, read, offline, restart."""

import pytest
from tests.client.engine.conftest import Pair
from tests.client.people import World

from hanatalk.client import events
from hanatalk.errors import ContentError
from hanatalk.localdb.rows import Message


def test_two_people_become_a_conversation(world: World) -> None:
    """HT-M-014, HT-M-015: both see the other's name and the same safety number; the joiner updates its leaf."""
    minji, jihoon = world.person("민지"), world.person("Jihoon")
    world.run()
    conversation = world.befriend(minji, jihoon)
    assert [chat.name for chat in minji.engine.chats().chats] == ["Jihoon"]
    assert [chat.name for chat in jihoon.engine.chats().chats] == ["민지"]
    one = minji.engine.verify(conversation, confirm=False)
    assert one == jihoon.engine.verify(conversation, confirm=False)
    assert len(one.safety_number.replace(" ", "")) == 60
    assert minji.engine._core.conversation(bytes.fromhex(conversation)).epoch == 2  # type: ignore[arg-type]
    assert (
        minji.engine._core.group(bytes.fromhex(conversation)).epoch_authenticator  # type: ignore[arg-type]
        == jihoon.engine._core.group(bytes.fromhex(conversation)).epoch_authenticator  # type: ignore[arg-type]
    )


def test_accepting_while_the_inviter_is_offline(world: World) -> None:
    minji, jihoon = world.person("민지"), world.person("Jihoon")
    world.run()
    link = minji.invite()
    minji.offline()
    accepted = jihoon.accept(link)
    assert accepted.name == "민지"
    jihoon.send(accepted.conversation, "안녕")
    world.settle()
    jihoon.offline()
    minji.online()
    world.settle()
    assert minji.texts(accepted.conversation) == ["안녕"]
    assert [chat.name for chat in minji.engine.chats().chats] == ["Jihoon"]


def test_the_one_goes_out_after_reading_and_not_before(pair: Pair) -> None:
    """HT-C-024: 1 while unread, delivered when decrypted, 0 only after the other has read."""
    message = pair.minji.send(pair.conversation, "안녕, 들려?")
    assert pair.minji.message(pair.conversation, message).unread == 1
    assert pair.minji.message(pair.conversation, message).state == "queued"
    pair.world.run()
    assert pair.minji.message(pair.conversation, message).state == "stored"
    pair.world.settle()
    seen = pair.minji.message(pair.conversation, message)
    assert (seen.state, seen.unread) == ("delivered", 1)
    assert pair.jihoon.message(pair.conversation, message).unread == 1
    pair.jihoon.read(pair.conversation)
    assert pair.minji.message(pair.conversation, message).unread == 1
    pair.world.settle()
    seen = pair.minji.message(pair.conversation, message)
    assert (seen.state, seen.unread) == ("read", 0)
    assert pair.jihoon.message(pair.conversation, message).unread == 0
    last = [event for event in pair.minji.events if isinstance(event, events.ReceiptReceived)][-1]
    assert (last.message, last.unread) == (message, 0)


def test_messages_keep_their_order_both_ways(pair: Pair) -> None:
    """HT-C-002: numbered from 1 by each device, Hello first."""
    for number in range(20):
        pair.minji.send(pair.conversation, f"m{number}")
        pair.jihoon.send(pair.conversation, f"j{number}")
    pair.world.settle()
    for person in (pair.minji, pair.jihoon):
        texts = person.texts(pair.conversation)
        assert [text for text in texts if text[0] == "m"] == [f"m{n}" for n in range(20)]
        assert [text for text in texts if text[0] == "j"] == [f"j{n}" for n in range(20)]
        rows = person.engine._core.db.find(Message, "1 ORDER BY device, counter")
        assert [row.counter for row in rows] == [*range(1, 22), *range(1, 22)]


def test_sent_offline_arrives_once_after_a_restart(pair: Pair) -> None:
    """HT-C-010: what is in the outbox survives the process and goes out byte by byte the same."""
    pair.minji.offline()
    pair.minji.send(pair.conversation, "하나")
    pair.minji.restart(online=False)
    pair.minji.send(pair.conversation, "둘")
    pair.minji.online()
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["하나", "둘"]
    assert pair.minji.engine.pending(pair.world.now) == 0


def test_the_relay_answer_is_lost_but_the_message_is_not_doubled(pair: Pair) -> None:
    """HT-C-010: the connection breaks after the relay stored the entry; the same bytes get the first answer."""
    pair.minji.send(pair.conversation, "한 번만")
    pipe = pair.minji.pipe
    assert pipe is not None
    for message in pipe.connection.messages_to_send():
        pair.world.relay.core.receive(pipe._peer, message, now=0.0)
    pair.world.relay.settle()
    pair.minji.restart()
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["한 번만"]
    assert pair.minji.engine.pending(pair.world.now) == 0
    assert pair.minji.messages(pair.conversation)[0].state == "delivered"


def test_the_relay_erases_what_both_have(pair: Pair) -> None:
    """HT-M-023: after both devices acknowledged, no message entry is left at the relay."""
    for number in range(5):
        pair.minji.send(pair.conversation, f"{number}")
    pair.world.settle()
    pair.jihoon.read(pair.conversation)
    pair.world.settle()
    held = [holding for holding in pair.world.relay.store.holdings() if holding.entry_class.name == "MESSAGE"]
    assert held == []


def test_an_invite_serves_one_person(world: World) -> None:
    """T-075: the second taker is refused, the inviter sees it; accepting again is the same conversation."""
    minji, jihoon, eve = world.person("민지"), world.person("Jihoon"), world.person("Eve")
    world.run()
    link = minji.invite()
    accepted = jihoon.accept(link)
    assert jihoon.accept(link) == accepted
    channel = eve.engine.accept(link, world.now)
    world.run()
    with pytest.raises(ContentError, match=r"invite\.used"):
        eve.engine.accepted(channel)
    minji.offline()
    minji.online()
    world.settle()
    assert [event.refused for event in minji.events if isinstance(event, events.InviteRefused)] == [1]
    assert len(minji.engine.chats().chats) == 1
    assert eve.engine.chats().chats == []
