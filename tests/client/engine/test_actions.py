"""What a message can do: replies, reactions, edits, being seen once, going from one account or when all read it."""

import os
from collections.abc import Callable

import msgspec
import pytest
from tests.client.engine.conftest import Pair
from tests.client.engine.test_expiry import gone, held, pass_seconds
from tests.client.people import DAY, Person

from hanatalk.client import calls, events
from hanatalk.client.engine import Fate
from hanatalk.client.engine.formats import content
from hanatalk.client.engine.messages import actions, expiry, sending
from hanatalk.errors import ContentError, UsageError
from hanatalk.ids import ConversationId, MessageId
from hanatalk.localdb.rows import ActionKind, Message, MessageKind


def reactions(person: Person, conversation: str, message: str) -> list[tuple[str, int, bool]]:
    found = person.message(conversation, message).reactions
    return [(reaction.emoji, reaction.count, reaction.mine) for reaction in found]


def both(pair: Pair) -> tuple[Person, Person]:
    return pair.minji, pair.jihoon


def send(person: Person, conversation: str, text: str = "", **how: object) -> str:
    message = person.engine.send(conversation, text, now=person.now, **how)  # type: ignore[arg-type]
    person.events.extend(person.engine.take_events())
    return message.message.hex()


def bodies_held(person: Person) -> int:
    return person.database.number("SELECT count(*) FROM content WHERE body IS NOT NULL")


def changed_program(person: Person, pair: Pair, body: content.Action) -> None:
    """Send an action that `hana` would refuse."""
    sending.send_numbered(person.engine._core, _id(pair), body, now=person.now)
    person.tick()


def _id(pair: Pair) -> ConversationId:
    return ConversationId(bytes.fromhex(pair.conversation))


def _raw(message: str) -> bytes:
    return bytes.fromhex(message)


# Replies, mentions, stickers


def test_a_reply_quotes_what_is_there_and_nothing_that_is_gone(pair: Pair) -> None:
    """HT-C-102."""
    asked = pair.minji.send(pair.conversation, "들려?" * 30)
    pair.world.settle()
    send(pair.jihoon, pair.conversation, "응", reply_to=asked)
    pair.world.settle()
    for person in both(pair):
        reply = person.messages(pair.conversation)[-1].reply
        assert reply is not None
        assert (reply.from_, reply.text, reply.gone) == ("민지", ("들려?" * 30)[:100], False)
    pair.minji.recall(asked)
    pair.world.settle()
    for person in both(pair):
        assert person.messages(pair.conversation)[-1].reply == calls.Quoted(
            message=asked,
            from_="민지",
            from_account=pair.minji.engine._core.identity.account.hex(),
            text="",
            gone=True,
        )


def test_a_mention_is_shown_to_whom_it_names(pair: Pair) -> None:
    """HT-C-100."""
    send(pair.minji, pair.conversation, "야 @Jihoon, 봤어?")
    pair.world.settle()
    shown = pair.jihoon.messages(pair.conversation)[-1]
    assert [(mention.name, mention.start, mention.length) for mention in shown.mentions] == [("Jihoon", 2, 7)]
    assert shown.mentioned
    assert not pair.minji.messages(pair.conversation)[-1].mentioned


def test_a_sticker_is_an_id(pair: Pair) -> None:
    """HT-C-101."""
    send(pair.minji, pair.conversation, sticker="openmoji:1F600")
    pair.world.settle()
    shown = pair.jihoon.messages(pair.conversation)[-1]
    assert (shown.text, shown.sticker) == ("", "openmoji:1F600")
    for wrong in ("", "a/b", "x" * 65, "웃음", "a\n"):
        with pytest.raises(UsageError, match=r"sticker\.malformed"):
            send(pair.minji, pair.conversation, sticker=wrong)
        with pytest.raises(ContentError):
            content.parse_body(content.encode([1, "", None, None, [], 0, None, wrong]))


# Reactions


def test_a_reaction_is_seen_by_both_changes_and_goes(pair: Pair) -> None:
    """HT-C-105: one of each person."""
    message = pair.minji.send(pair.conversation, "봐")
    pair.world.settle()
    pair.jihoon.engine.react(message, "👍", pair.jihoon.now)
    pair.minji.engine.react(message, "👍", pair.minji.now)
    pair.world.settle()
    for person in both(pair):
        assert reactions(person, pair.conversation, message) == [("👍", 2, True)]
    pair.jihoon.engine.react(message, "❤️", pair.jihoon.now)
    pair.world.settle()
    assert reactions(pair.minji, pair.conversation, message) == [("👍", 1, True), ("❤️", 1, False)]
    assert [(r.emoji, r.from_) for r in pair.jihoon.engine.reactors(message).reactions] == [
        ("👍", "민지"),
        ("❤️", "Jihoon"),
    ]
    pair.jihoon.engine.react(message, None, pair.jihoon.now)
    assert pair.jihoon.engine.react(message, None, pair.jihoon.now)[1] is None  # nothing to do
    pair.world.settle()
    assert reactions(pair.minji, pair.conversation, message) == [("👍", 1, True)]
    assert [
        (event.from_, event.emoji)
        for event in pair.minji.of(events.Reacted)  # type: ignore[attr-defined]
    ] == [("Jihoon", "👍"), ("Jihoon", "❤️"), ("Jihoon", None)]
    assert pair.minji.engine.chats().chats[0].unread == 0  # nothing that has to be read
    assert pair.jihoon.engine.pending(pair.jihoon.now) == pair.minji.engine.pending(pair.minji.now) == 0


@pytest.mark.parametrize("wrong", ["", "a", "👍👍", "👍\u202e", "\U0001f3fd"])
def test_what_is_not_one_emoji_is_refused_here_and_void_there(pair: Pair, wrong: str) -> None:
    """HT-C-106."""
    message = pair.minji.send(pair.conversation, "봐")
    pair.world.settle()
    with pytest.raises(UsageError, match=r"react\.not-emoji"):
        pair.jihoon.engine.react(message, wrong, pair.jihoon.now)
    if wrong:
        changed_program(pair.jihoon, pair, content.Reaction(_raw(message), wrong, 1))
    pair.world.settle()
    assert reactions(pair.minji, pair.conversation, message) == []
    assert pair.minji.database.number("SELECT count(*) FROM action") == 0
    assert pair.minji.database.number("SELECT count(*) FROM gap") == 0


def test_of_reactions_that_change_places_the_last_one_counts(pair: Pair) -> None:
    """HT-C-105: the second arrives, the first is lost and comes later, asked for again."""
    message = pair.minji.send(pair.conversation, "봐")
    pair.world.settle()
    pipe = pair.minji.pipe
    assert pipe is not None
    pipe.hold()
    pair.jihoon.engine.react(message, "👍", pair.jihoon.now)
    pair.jihoon.engine.react(message, "❤️", pair.jihoon.now)
    pair.world.run()
    pipe.release(lambda pushed: list(reversed(pushed)))
    pair.world.settle(60)
    assert reactions(pair.minji, pair.conversation, message) == [("❤️", 1, False)]
    assert pair.minji.database.number("SELECT count(*) FROM action") == 1
    assert pair.minji.database.number("SELECT count(*) FROM gap") == 0


def test_a_reaction_without_connection_is_there_at_once_and_sent_later(pair: Pair) -> None:
    message = pair.minji.send(pair.conversation, "봐")
    pair.world.settle()
    pair.jihoon.offline()
    pair.jihoon.engine.react(message, "👍", pair.jihoon.now)
    assert reactions(pair.jihoon, pair.conversation, message) == [("👍", 1, True)]
    pair.jihoon.restart()
    pair.world.settle()
    assert reactions(pair.minji, pair.conversation, message) == [("👍", 1, False)]


# Edits


def test_an_edit_is_shown_with_its_history(pair: Pair) -> None:
    """HT-C-107: both sides; the unread count and the order stay."""
    first = pair.minji.send(pair.conversation, "안냥")
    pair.minji.send(pair.conversation, "둘째")
    pair.world.settle()
    pair.minji.engine.edit(first, "안뇽 @Jihoon", pair.minji.now)
    pair.minji.engine.edit(first, "안녕 @Jihoon", pair.minji.now)
    assert pair.minji.engine.edit(first, "안녕 @Jihoon", pair.minji.now)[1] is None
    pair.world.settle()
    for person in both(pair):
        assert person.texts(pair.conversation) == ["안녕 @Jihoon", "둘째"]
        shown = person.message(pair.conversation, first)
        assert shown.edited_at is not None
        assert [mention.name for mention in shown.mentions] == ["Jihoon"]
        assert shown.unread == 1
        wordings = [version.text for version in person.engine.versions(first[:8]).versions]
        assert wordings == ["안냥", "안뇽 @Jihoon", "안녕 @Jihoon"]
    assert [event.text for event in pair.jihoon.of(events.Edited)] == ["안뇽 @Jihoon", "안녕 @Jihoon"]  # type: ignore[attr-defined]
    second = pair.minji.messages(pair.conversation)[1].message
    pair.minji.engine.edit(second, "고친 둘째", pair.minji.now)
    pair.world.settle()
    assert pair.jihoon.engine.chats().chats[0].last == "고친 둘째"


def test_t038_an_edit_of_anothers_message_is_ignored_with_an_alarm(pair: Pair) -> None:
    """HT-C-108, whichever of the two comes first."""
    message = pair.minji.send(pair.conversation, "mine")
    pair.world.settle()
    with pytest.raises(UsageError, match=r"edit\.not-own"):
        pair.jihoon.engine.edit(message, "yours", pair.jihoon.now)
    changed_program(pair.jihoon, pair, content.Edit(_raw(message), "yours", [], 1))
    pair.world.settle()
    assert pair.minji.texts(pair.conversation) == ["mine"]
    assert pair.minji.alarms() == ["message.foreign-edit"]
    pair.minji.offline()
    later = pair.minji.send(pair.conversation, "later")
    changed_program(pair.jihoon, pair, content.Edit(_raw(later), "yours", [], 1))
    pair.world.settle()
    pair.minji.events.clear()
    pair.minji.online()
    pair.world.settle()
    assert pair.minji.texts(pair.conversation) == pair.jihoon.texts(pair.conversation) == ["mine", "later"]
    assert pair.minji.alarms() == ["message.foreign-edit"]


def test_t038_an_edit_that_comes_before_another_persons_message_is_dropped_when_that_comes(pair: Pair) -> None:
    """HT-C-108: 민지 edits what Jihoon has not received yet and is not hers."""
    other = MessageId(os.urandom(16))
    changed_program(pair.minji, pair, content.Edit(other, "yours", [], 1))
    pair.world.settle()
    core = pair.jihoon.engine._core
    assert core.db.number("SELECT count(*) FROM action WHERE waits = 1") == 1
    real, sending.secrets.token_bytes = sending.secrets.token_bytes, lambda n: bytes(other) if n == 16 else real(n)
    try:
        pair.jihoon.send(pair.conversation, "jihoon's")
    finally:
        sending.secrets.token_bytes = real
    row = core.db.first(Message, "message = ?", other)
    assert row is not None
    assert not actions.meet(core, core.conversation(_id(pair)), core.members(_id(pair)), row, pair.jihoon.now)
    assert pair.jihoon.texts(pair.conversation) == ["jihoon's"]
    assert core.db.number("SELECT count(*) FROM action") == 0


def test_edits_are_bounded(pair: Pair) -> None:
    """HT-C-107: a hundred, here and at the parser."""
    message = pair.minji.send(pair.conversation, "0")
    for number in range(1, content.EDITS_LIMIT + 1):
        pair.minji.engine.edit(message, str(number), pair.minji.now)
    with pytest.raises(UsageError, match=r"edit\.limit"):
        pair.minji.engine.edit(message, "no more", pair.minji.now)
    pair.world.settle(120)
    assert pair.jihoon.texts(pair.conversation) == ["100"]
    with pytest.raises(ContentError):
        content.parse_body(content.encode([17, bytes(16), "x", [], content.EDITS_LIMIT + 1]))
    for wrong in ([17, bytes(16), "", [], 1], [17, bytes(16), "x" * (content.TEXT_LIMIT + 1), [], 1]):
        with pytest.raises(ContentError):
            content.parse_body(content.encode(wrong))
    with pytest.raises(ContentError, match=r"text\.too-long"):
        pair.minji.engine.edit(pair.minji.send(pair.conversation, "1"), "가" * 6000, pair.minji.now)


def test_the_same_step_twice_is_one_wording(pair: Pair) -> None:
    """HT-C-107: a changed program cannot fill others' disks with wordings."""
    message = pair.minji.send(pair.conversation, "0")
    for text in ("a", "b", "c"):
        changed_program(pair.minji, pair, content.Edit(_raw(message), text, [], 1))
    pair.world.settle()
    assert [version.text for version in pair.jihoon.engine.versions(message).versions] == ["0", "a"]


@pytest.mark.parametrize("way", ["expired", "recalled", "deleted"])
def test_what_is_said_about_a_message_that_is_gone_is_void(pair: Pair, way: str) -> None:
    """HT-C-104, HT-C-109: on its way while the message goes; counted, confirmed, not kept."""
    message = pair.minji.send(pair.conversation, "going", expire=60 if way == "expired" else None)
    pair.world.settle()
    pair.jihoon.read(pair.conversation)
    pair.world.settle()
    pair.jihoon.offline()
    pair.minji.engine.edit(message, "wording that is late", pair.minji.now)
    pair.minji.engine.react(message, "👍", pair.minji.now)
    pair.world.settle(5)
    if way == "expired":
        pass_seconds(pair.world, 60)
        pair.jihoon.tick()
    elif way == "recalled":
        core = pair.jihoon.engine._core
        row = core.db.first(Message, "message = ?", _raw(message))
        assert row is not None
        with core.transaction():
            expiry._take_back(core, row, pair.jihoon.now)
    else:
        pair.jihoon.engine.delete(message, pair.jihoon.now)
    before = bodies_held(pair.jihoon)
    pair.jihoon.online()
    pair.world.settle(60)
    assert bodies_held(pair.jihoon) == before
    assert pair.jihoon.database.number("SELECT count(*) FROM action") == 0
    assert pair.jihoon.database.number("SELECT count(*) FROM gap") == 0
    assert pair.minji.engine.pending(pair.minji.now) == 0
    with pytest.raises(UsageError, match=r"message\.gone"):
        pair.jihoon.engine.react(message, "👍", pair.jihoon.now)


def test_with_a_recalled_message_go_its_edits_and_reactions_at_both_and_at_the_relay(pair: Pair) -> None:
    """HT-C-109, T-049."""
    message = pair.minji.send(pair.conversation, "first")
    pair.world.settle()
    pair.jihoon.offline()
    pair.minji.engine.edit(message, "second", pair.minji.now)
    pair.world.settle()
    before = held(pair)
    pair.minji.recall(message)
    pair.world.settle()
    assert held(pair) == before  # the edit is erased, the recall came
    pair.jihoon.online()
    pair.world.settle(60)
    for person in both(pair):
        assert person.database.number("SELECT count(*) FROM action") == 0
        assert person.engine.versions(message).versions == []
        assert person.message(pair.conversation, message).recalled
    assert pair.jihoon.database.number("SELECT count(*) FROM gap") == 0
    assert pair.jihoon.of(events.Edited) == []


# What comes before its message


@pytest.mark.parametrize("what", ["edit", "reaction"])
def test_what_comes_first_holds_when_its_message_comes(pair: Pair, what: str) -> None:
    """HT-C-104: the relay withholds the message, what is said about it arrives; then the message is sent again."""
    pipe = pair.jihoon.pipe
    assert pipe is not None
    pair.world.settle()
    pipe.hold()
    message = pair.minji.send(pair.conversation, "late")
    if what == "edit":
        pair.minji.engine.edit(message, "late, edited", pair.minji.now)
    else:
        pair.minji.engine.react(message, "👍", pair.minji.now)
    pair.world.run()
    pipe.release(lambda pushed: list(reversed(pushed)))
    pair.world.run()
    pair.world.settle(60)
    if what == "edit":
        assert pair.jihoon.texts(pair.conversation) == ["late, edited"]
    else:
        assert reactions(pair.jihoon, pair.conversation, message) == [("👍", 1, False)]
    assert pair.jihoon.database.number("SELECT count(*) FROM action WHERE waits = 1") == 0


def test_what_waits_goes_when_a_tombstone_comes_instead(pair: Pair) -> None:
    """HT-C-104, HT-C-047: lost on the way, taken back meanwhile."""
    pipe = pair.jihoon.pipe
    assert pipe is not None
    pair.world.settle()
    pipe.hold()
    message = pair.minji.send(pair.conversation, "lost")
    pair.minji.engine.react(message, "👍", pair.minji.now)
    pair.world.run()
    pipe.release(lambda pushed: pushed[1:])
    pair.jihoon.step()
    assert pair.jihoon.database.number("SELECT count(*) FROM action WHERE waits = 1") == 1
    pair.minji.recall(message)
    pair.world.settle(60)
    assert pair.jihoon.database.number("SELECT count(*) FROM action") == 0
    assert pair.jihoon.database.number("SELECT count(*) FROM gap") == 0


def test_what_waits_is_bounded_and_the_oldest_goes(pair: Pair) -> None:
    """HT-C-104: reactions, edits and recalls of messages that nobody ever sent."""
    core = pair.minji.engine._core
    sent = [MessageId(os.urandom(16)) for _ in range(actions.WAITING_LIMIT + 20)]
    with core.transaction():
        for target in sent:
            sending.send_numbered(core, _id(pair), content.Reaction(target, "👍", 1), now=pair.minji.now)
            sending.send_recall(core, _id(pair), target, now=pair.minji.now)
    pair.minji.tick()
    pair.world.settle(120)
    database = pair.jihoon.database
    waiting = {bytes(target) for (target,) in database.tuples("SELECT target FROM action WHERE waits = 1")}  # type: ignore[arg-type]
    assert waiting == {bytes(target) for target in sent[20:]}
    assert {bytes(target) for (target,) in database.tuples("SELECT message FROM recall")} == waiting  # type: ignore[arg-type]
    assert pair.minji.engine.pending(pair.minji.now) == 0


def test_a_recall_that_waits_cannot_be_pushed_out_by_another_person(pair: Pair) -> None:
    """HT-C-104, HT-C-045: Jihoon names an id of 민지's whose recall waits; the recall holds all the same."""
    core = pair.jihoon.engine._core
    row = core.conversation(_id(pair))
    minji, jihoon = (
        next(member for member in core.members(_id(pair)) if member.account == person.engine._core.identity.account)
        for person in both(pair)
    )
    message = MessageId(os.urandom(16))
    with core.transaction():
        assert expiry.asked(core, row, minji, message, pair.jihoon.now)
        assert expiry.asked(core, row, jihoon, message, pair.jihoon.now)
        assert expiry.asked_before(core, _id(pair), minji.account, message)


def test_a_reaction_to_a_message_of_another_conversation_is_void(pair: Pair) -> None:
    """HT-C-104."""
    third = pair.world.person("Third")
    pair.world.run()
    other = pair.world.befriend(pair.jihoon, third)
    message = third.send(other, "elsewhere")
    pair.world.settle()
    changed_program(pair.minji, pair, content.Reaction(_raw(message), "👍", 1))
    pair.world.settle()
    assert reactions(pair.jihoon, other, message) == []
    assert pair.jihoon.database.number("SELECT count(*) FROM action") == 0


# What can be seen once


def once(pair: Pair) -> str:
    message = send(pair.minji, pair.conversation, "한 번만", fate=Fate.ONCE)
    pair.world.settle()
    return message


def test_what_can_be_seen_once_is_seen_once(pair: Pair) -> None:
    """HT-C-112, HT-C-113: in no list and no quotation; then gone at both, and both know."""
    message = once(pair)
    send(pair.jihoon, pair.conversation, "뭐야?", reply_to=message)
    pair.world.settle()
    for person in both(pair):
        shown = person.message(pair.conversation, message)
        assert (shown.text, shown.view_once, shown.opened) == ("", True, False)
        reply = person.messages(pair.conversation)[-1].reply
        assert reply is not None
        assert reply.text == ""
        with pytest.raises(UsageError, match=r"view\.hidden"):
            person.engine.versions(message)
    assert pair.jihoon.of(events.MessageReceived)[0].message.text == ""  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"view\.own"):
        pair.minji.engine.view(message, pair.minji.now)
    assert pair.jihoon.engine.view(message, pair.jihoon.now).text == "한 번만"
    pair.jihoon.events.extend(pair.jihoon.engine.take_events())
    assert gone(pair.jihoon) == [(message, "opened")]
    with pytest.raises(UsageError, match=r"view\.opened"):
        pair.jihoon.engine.view(message, pair.jihoon.now)
    pair.world.settle()
    assert pair.jihoon.message(pair.conversation, message).opened
    shown = pair.minji.message(pair.conversation, message)
    assert (shown.opened, shown.opened_by, shown.unread) == (True, ["Jihoon"], 0)
    assert [event.from_ for event in pair.minji.of(events.Opened)] == ["Jihoon"]  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"edit\.once"):
        pair.minji.engine.edit(message, "x", pair.minji.now)


def test_the_sender_keeps_it_no_longer_than_somebody_may_need_it(pair: Pair) -> None:
    """HT-C-112, HT-C-111: until it was decrypted; then not even its sender has it."""
    pair.jihoon.offline()
    message = once(pair)
    row = pair.minji.database.first(Message, "message = ?", _raw(message))
    assert row is not None
    assert bodies_of(pair.minji, row) is not None
    pair.jihoon.online()
    pair.world.settle()
    assert bodies_of(pair.minji, row) is None
    assert pair.jihoon.engine.view(message, pair.jihoon.now).text == "한 번만"


def bodies_of(person: Person, row: Message) -> object:
    return person.database.value("SELECT body FROM content WHERE number = ?", row.number)


def test_an_unopened_one_can_be_recalled(pair: Pair) -> None:
    """HT-C-045."""
    message = once(pair)
    pair.minji.recall(message)
    pair.world.settle()
    with pytest.raises(UsageError, match=r"message\.gone"):
        pair.jihoon.engine.view(message, pair.jihoon.now)


def test_opened_by_its_sender_or_of_an_ordinary_message_changes_nothing(pair: Pair) -> None:
    """HT-C-114."""
    message, plain = once(pair), pair.minji.send(pair.conversation, "plain")
    pair.world.settle()
    for target in (message, plain):
        changed_program(pair.minji, pair, content.Opened(_raw(target)))
    changed_program(pair.jihoon, pair, content.Opened(_raw(plain)))
    pair.world.settle()
    assert pair.jihoon.engine.view(message, pair.jihoon.now).text == "한 번만"
    for person in both(pair):
        assert person.message(pair.conversation, plain).text == "plain"
    with pytest.raises(UsageError, match=r"view\.not-once"):
        pair.jihoon.engine.view(plain, pair.jihoon.now)


def test_an_entry_that_nobody_fetched_is_erased_once_it_was_opened_elsewhere(pair: Pair) -> None:
    """HT-C-113: the sender asks the relay, as for a recall."""
    message = once(pair)
    core = pair.minji.engine._core
    assert core.db.number("SELECT count(*) FROM placed WHERE message = ?", _raw(message)) == 1
    pair.jihoon.engine.view(message, pair.jihoon.now)
    pair.world.settle()
    assert core.db.number("SELECT count(*) FROM placed WHERE message = ?", _raw(message)) == 0


def test_t058_an_old_copy_of_the_profile_shows_nothing_once_more(pair: Pair) -> None:
    """HT-C-118: copied unopened, opened, put back: nothing is opened before it is sure, and then it is gone."""
    message = once(pair)
    copy = pair.world.folder / "copy"
    pair.jihoon.copy_to(copy)
    pair.world.settle(10)
    assert pair.jihoon.engine.view(message, pair.jihoon.now).text == "한 번만"
    pair.world.settle(10)
    pair.jihoon.put_back(copy, online=False)
    row = pair.jihoon.database.first(Message, "message = ?", _raw(message))
    assert row is not None
    assert bodies_of(pair.jihoon, row) is not None  # the control: it is in the copy
    with pytest.raises(UsageError, match=r"view\.not-yet"):
        pair.jihoon.engine.view(message, pair.jihoon.now)
    pair.jihoon.online()
    pair.world.settle(120)
    assert bodies_of(pair.jihoon, row) is None
    with pytest.raises(UsageError, match=r"view\.opened"):
        pair.jihoon.engine.view(message, pair.jihoon.now)


# Deleting here


def test_delete_is_of_this_account_alone(pair: Pair) -> None:
    """HT-C-110: another's message and an own one; nobody is told."""
    theirs = pair.jihoon.send(pair.conversation, "theirs")
    pair.world.settle()
    mine = pair.minji.send(pair.conversation, "mine")
    pair.world.settle()
    pair.jihoon.engine.react(mine, "👍", pair.jihoon.now)
    pair.world.settle()
    held_before = held(pair)
    for message in (theirs, mine):
        assert pair.minji.engine.delete(message, pair.minji.now).state == "deleted"
        assert pair.minji.engine.delete(message, pair.minji.now).state == "deleted"  # again
    pair.minji.events.extend(pair.minji.engine.take_events())
    assert gone(pair.minji) == [(theirs, "deleted"), (mine, "deleted")]
    pair.world.settle()
    assert pair.minji.texts(pair.conversation) == []
    assert pair.minji.database.number("SELECT count(*) FROM action") == 0
    assert pair.jihoon.texts(pair.conversation) == ["theirs", "mine"]
    assert reactions(pair.jihoon, pair.conversation, mine) == [("👍", 1, True)]
    assert gone(pair.jihoon) == []
    assert held(pair) <= held_before + 1  # a receipt at most
    pair.minji.recall(mine)  # one can still take it back from the others
    pair.world.settle()
    assert pair.jihoon.message(pair.conversation, mine).recalled


def test_what_somebody_still_needs_is_hidden_first_and_goes_when_they_have_it(pair: Pair) -> None:
    """HT-C-111: deleted here before it was delivered, it is delivered all the same, also after the relay forgot it."""
    pair.jihoon.offline()
    message = pair.minji.send(pair.conversation, "for you")
    pair.world.settle()
    assert pair.minji.engine.delete(message, pair.minji.now).state == "hidden"
    assert pair.minji.texts(pair.conversation) == []
    row = pair.minji.database.first(Message, "message = ?", _raw(message))
    assert row is not None
    assert row.kind == MessageKind.DELETED
    pair.world.pass_days(4)
    pair.jihoon.online()
    pair.world.settle(60)
    assert pair.jihoon.texts(pair.conversation) == ["for you"]
    assert bodies_of(pair.minji, row) is None


def test_what_nobody_fetched_in_30_days_goes_too(pair: Pair) -> None:
    """HT-C-111."""
    pair.jihoon.offline()
    message = pair.minji.send(pair.conversation, "never fetched")
    pair.world.settle()
    pair.minji.engine.delete(message, pair.minji.now)
    row = pair.minji.database.first(Message, "message = ?", _raw(message))
    assert row is not None
    pair.world.pass_days(29)
    assert bodies_of(pair.minji, row) is not None
    pair.world.pass_days(2)
    assert bodies_of(pair.minji, row) is None


# Privacy mode


def test_in_privacy_mode_it_goes_when_everybody_has_read_it(pair: Pair) -> None:
    """HT-C-115: at both sides within a second of knowing."""
    message = send(pair.minji, pair.conversation, "읽으면 사라져", fate=Fate.CONFIRMED)
    stays = pair.minji.send(pair.conversation, "남아")
    pass_seconds(pair.world, 30)
    for person in both(pair):
        assert person.message(pair.conversation, message).privacy
    pair.jihoon.read(pair.conversation)
    pass_seconds(pair.world, 1)
    assert pair.jihoon.texts(pair.conversation) == ["남아"]
    pass_seconds(pair.world, 5)
    assert pair.minji.texts(pair.conversation) == ["남아"]
    assert gone(pair.minji) == gone(pair.jihoon) == [(message, "expired")]
    assert pair.minji.message(pair.conversation, stays).unread == 0


def later(pair: Pair, milliseconds: int) -> None:
    """A jump: 민지's device sleeps meanwhile."""
    pair.world.now += milliseconds
    pair.minji.tick()


def test_in_privacy_mode_it_goes_after_three_days_where_nobody_says_that_it_was_read(pair: Pair) -> None:
    """HT-C-115: Jihoon's confirmation never comes."""
    pair.jihoon.offline()
    send(pair.minji, pair.conversation, "x", fate=Fate.CONFIRMED)
    pair.world.run()
    later(pair, 3 * DAY - 1_000)
    assert pair.minji.texts(pair.conversation) == ["x"]
    later(pair, 2_000)
    assert pair.minji.texts(pair.conversation) == []


def test_t055_privacy_mode_is_not_extended_by_a_clock_set_back(pair: Pair) -> None:
    """HT-C-042, HT-C-115."""
    pair.jihoon.offline()
    send(pair.minji, pair.conversation, "x", fate=Fate.CONFIRMED)
    pair.world.run()
    later(pair, 2 * DAY)
    pair.minji.skew = -365 * DAY
    pair.minji.restart()
    later(pair, DAY - 5_000)
    assert pair.minji.texts(pair.conversation) == ["x"]
    later(pair, 10_000)
    assert pair.minji.texts(pair.conversation) == []


def test_a_shorter_timer_goes_first(pair: Pair) -> None:
    """HT-C-115."""
    send(pair.minji, pair.conversation, "x", fate=Fate.CONFIRMED, expire=10)
    pair.world.settle(3)
    pass_seconds(pair.world, 12)
    assert pair.minji.texts(pair.conversation) == []


# Frames and probing


def test_every_action_is_one_smallest_entry(pair: Pair) -> None:
    """T-043: a reaction looks like a message, a receipt, an edit."""
    message = pair.minji.send(pair.conversation, "봐")
    opened = send(pair.minji, pair.conversation, "한 번", fate=Fate.ONCE)
    pair.world.settle()
    sizes: set[int] = set()
    acts: list[Callable[[], object]] = [
        lambda: pair.jihoon.engine.react(message, "👍", pair.jihoon.now),
        lambda: pair.jihoon.engine.view(opened, pair.jihoon.now),
    ]
    for act in acts:
        act()
        sizes.update(len(bytes(entry)) for (entry,) in pair.jihoon.database.tuples("SELECT entry FROM outbox"))  # type: ignore[arg-type]
        pair.world.settle()
    assert sizes == {512}


def test_t040_reactions_are_answered_by_nothing_but_a_receipt_in_its_time(pair: Pair) -> None:
    """HT-C-022: twenty reactions, one receipt."""
    message = pair.minji.send(pair.conversation, "봐")
    pair.world.settle()
    before = pair.minji.engine.counts()[1]
    for number in range(20):
        pair.jihoon.engine.react(message, "👍" if number % 2 else "❤️", pair.jihoon.now)
    pair.world.run()
    pair.world.settle(1)
    assert pair.minji.engine.counts()[1] - before <= 1
    assert pair.minji.database.number("SELECT count(*) FROM action") == 1


@pytest.mark.parametrize("act", ["react", "edit", "view", "delete"])
def test_what_the_disk_refuses_has_not_happened(pair: Pair, act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """HT-S-051: one transaction."""
    message = once(pair) if act == "view" else pair.minji.send(pair.conversation, "x")
    pair.world.settle()
    person = pair.jihoon if act == "view" else pair.minji
    before = person.database.tuples("SELECT * FROM content"), person.database.tuples("SELECT * FROM action")

    def torn(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(person.database, "mls_write", torn)
    if act == "delete":
        monkeypatch.setattr(actions, "about", torn)
    calls_of: dict[str, Callable[[], object]] = {
        "react": lambda: person.engine.react(message, "👍", person.now),
        "edit": lambda: person.engine.edit(message, "y", person.now),
        "view": lambda: person.engine.view(message, person.now),
        "delete": lambda: person.engine.delete(message, person.now),
    }
    with pytest.raises(ZeroDivisionError):
        calls_of[act]()
    assert (person.database.tuples("SELECT * FROM content"), person.database.tuples("SELECT * FROM action")) == before


def test_rows_of_actions_hold_no_words(pair: Pair) -> None:
    """HT-S-060: what is said stands in `content` alone."""
    message = pair.minji.send(pair.conversation, "x")
    pair.minji.engine.edit(message, "카나리아", pair.minji.now)
    (row,) = pair.minji.database.tuples("SELECT * FROM action")
    assert "카나리아".encode() not in msgspec.msgpack.encode(row)
    assert pair.minji.database.number("SELECT kind FROM action") == ActionKind.EDIT
