"""Whispers: in the conversation of two, shown inside the group's thread (HT-C-117)."""

import pytest
from tests.client import gatherings
from tests.client.people import Person, World

from hanatalk.client.engine.formats import content
from hanatalk.client.engine.messages import sending
from hanatalk.errors import UsageError
from hanatalk.ids import ConversationId


class Table:
    """민지 knows the other two, who do not know each other; all three are in a group."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.people = gatherings.acquainted(world, 3)
        self.minji, self.jihoon, self.third = self.people
        self.group = gatherings.founded(world, self.people)

    def whisper(self, person: Person, text: str, to: Person, **how: object) -> str:
        message = person.engine.send(self.group, text, whisper=to.name, now=person.now, **how)  # type: ignore[arg-type]
        self.world.settle()
        return message.message.hex()


@pytest.fixture
def table(world: World) -> Table:
    return Table(world)


def direct(person: Person, other: Person) -> str:
    (found,) = [chat for chat in person.engine.chats().chats if chat.kind == "direct" and chat.name == other.name]
    return found.conversation


def thread(person: Person, group: str) -> list[tuple[str, bool]]:
    return [(message.text, message.thread == group) for message in person.messages(group)]


def test_a_whisper_stands_in_the_thread_of_two_and_nowhere_else(table: Table) -> None:
    """HT-C-117: in order among what everybody sees; the third sees nothing and receives nothing."""
    table.minji.send(table.group, "for all")
    table.world.settle()
    before = table.third.engine.counts(), table.third.database.number("SELECT count(*) FROM message")
    table.whisper(table.minji, "쉿", table.jihoon)
    assert before == (table.third.engine.counts(), table.third.database.number("SELECT count(*) FROM message"))
    table.jihoon.send(table.group, "for all again")
    table.world.settle()
    for person in (table.minji, table.jihoon):
        assert thread(person, table.group) == [("for all", False), ("쉿", True), ("for all again", False)]
    assert thread(table.third, table.group) == [("for all", False), ("for all again", False)]
    assert table.minji.texts(direct(table.minji, table.jihoon)) == ["쉿"]


def test_reading_the_thread_reads_the_whisper(table: Table) -> None:
    """HT-C-117, HT-C-023: the 1 at the sender goes out; what else waits in the conversation of two does not."""
    message = table.whisper(table.minji, "쉿", table.jihoon)
    after = table.minji.send(direct(table.minji, table.jihoon), "not in the thread")
    table.world.settle()
    table.jihoon.read(table.group)
    table.world.settle()
    unread = {shown.message: shown.unread for shown in table.minji.messages(direct(table.minji, table.jihoon))}
    assert unread == {message: 0, after: 1}


def test_a_whisper_can_answer_what_was_said_to_all(table: Table) -> None:
    """HT-C-102."""
    asked = table.third.send(table.group, "who?")
    table.world.settle()
    table.whisper(table.minji, "you", table.jihoon, reply_to=asked)
    reply = table.jihoon.messages(table.group)[-1].reply
    assert reply is not None
    assert (reply.text, reply.from_) == ("who?", table.third.name)


def test_only_members_with_a_conversation_of_their_own_can_be_whispered_to(table: Table) -> None:
    with pytest.raises(UsageError, match=r"whisper\.no-contact"):
        table.whisper(table.jihoon, "we have not met", table.third)
    with pytest.raises(UsageError, match=r"name\.unknown"):
        table.minji.engine.send(table.group, "x", whisper="nobody", now=table.minji.now)
    with pytest.raises(UsageError, match=r"whisper\.no-group"):
        alone = direct(table.minji, table.jihoon)
        table.minji.engine.send(alone, "x", whisper=table.jihoon.name, now=table.minji.now)


def test_t038_a_thread_that_is_not_of_both_is_none(table: Table) -> None:
    """HT-C-117: a changed program names a group that the sender is not in, an unknown one, or whispers to a group."""
    other = gatherings.create(table.jihoon, "둘만")
    gatherings.add(table.jihoon, other, table.minji)
    table.world.settle()
    # 민지 and Jihoon are in `other`; the third, who shares only the first group, names it in its conversation with 민지
    core = table.third.engine._core
    two = direct(table.third, table.minji)
    for number, group in enumerate((bytes.fromhex(other), b"x" * 16, bytes.fromhex(two))):
        body = content.Text(f"{number}", thread=group)
        sending.send_text(core, ConversationId(bytes.fromhex(two)), body, now=table.third.now)
    body = content.Text("to all", thread=bytes.fromhex(table.group))
    sending.send_text(core, ConversationId(bytes.fromhex(table.group)), body, now=table.third.now)
    table.third.tick()
    table.world.settle()
    assert table.minji.texts(other) == []
    assert [message.thread for message in table.minji.messages(two)] == [None, None, None]
    assert thread(table.jihoon, table.group) == [("to all", False)]


def test_who_was_removed_whispers_into_no_thread(table: Table) -> None:
    """HT-C-117: both must be members when it arrives."""
    gatherings.remove(table.minji, table.group, table.third)
    table.world.settle()
    two = direct(table.third, table.minji)
    core = table.third.engine._core
    body = content.Text("still here", thread=bytes.fromhex(table.group))
    sending.send_text(core, ConversationId(bytes.fromhex(two)), body, now=table.third.now)
    table.third.tick()
    table.world.settle()
    assert thread(table.minji, table.group) == []
    assert table.minji.texts(two) == ["still here"]


def test_a_whisper_can_be_reworded_pleased_and_taken_back_like_any_message(table: Table) -> None:
    message = table.whisper(table.minji, "쉬", table.jihoon)
    table.minji.engine.edit(message, "쉿", table.minji.now)
    table.jihoon.engine.react(message, "🤫", table.jihoon.now)
    table.world.settle()
    for person in (table.minji, table.jihoon):
        shown = person.message(table.group, message)
        assert (shown.text, [each.emoji for each in shown.reactions]) == ("쉿", ["🤫"])
    table.minji.recall(message)
    table.world.settle()
    assert table.jihoon.message(table.group, message).recalled


def test_actions_in_a_group_are_seen_by_all_and_counted_by_person(world: World) -> None:
    """HT-C-105, HT-C-107, HT-C-113: three people; what can be seen once stays till the last of them has seen it."""
    table = Table(world)
    message = table.minji.send(table.group, "어때")
    once = table.minji.engine.send(table.group, "한 번", fate=content.Fate.ONCE, now=table.minji.now).message.hex()
    world.settle()
    table.jihoon.engine.react(message, "👍", table.jihoon.now)
    table.third.engine.react(message, "👍", table.third.now)
    table.minji.engine.edit(message, "어때?", table.minji.now)
    assert table.jihoon.engine.view(once, table.jihoon.now).text == "한 번"
    world.settle(30)
    for person in table.people:
        shown = person.message(table.group, message)
        assert shown.text == "어때?"
        assert [(each.emoji, each.count) for each in shown.reactions] == [("👍", 2)]
    assert table.minji.message(table.group, once).opened_by == [table.jihoon.name]
    assert table.third.engine.view(once, table.third.now).text == "한 번"
    world.settle(30)
    assert sorted(table.minji.message(table.group, once).opened_by) == sorted([table.jihoon.name, table.third.name])
