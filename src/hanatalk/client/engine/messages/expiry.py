"""Messages that go: by their timer, or because their sender takes them back (HT-C-040 … HT-C-048).

Of a message that is gone its row stays, so that it is not shown twice and its number is no gap. Its text does not: not
in the local database nor its files (HT-S-060 …), not in the outbox, and not at the relay if it was taken back.
"""

from hanatalk.client import events
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.messages import actions, gone, sending
from hanatalk.errors import UsageError
from hanatalk.ids import AccountId, ConversationId, MessageId
from hanatalk.localdb.rows import (
    Conversation,
    ConversationState,
    Member,
    Message,
    MessageKind,
    Recall,
)

STEP = 500  # messages that go in one transaction
WAITING_LIMIT = 256  # of one account in one conversation: recalls of messages that are not here (HT-C-104)


def expire(core: Core, now: int) -> bool:
    """Let go what is due, at most `STEP` messages; True if there was something."""
    due = core.db.find(Message, "expires_at <= ? ORDER BY expires_at LIMIT ?", now, STEP)
    if not due:
        return False
    with core.transaction():
        for message in due:
            core.db.execute(
                "UPDATE message SET kind = ?, expires_at = NULL, leaving = 0 WHERE number = ?",
                MessageKind.EXPIRED,
                message.number,
            )
            _let_go(core, message, "expired", now)
            actions.forget(core, message, now)
        core.clock.keep()
    return True


def recall(core: Core, message: Message, now: int) -> None:
    """Take an own message back: here, at the relay, and from whoever has it.

    In a conversation that is broken nobody can be asked, the rest happens.

    :raises UsageError: ``recall.not-own``
    """
    if message.account != core.identity.account:
        raise UsageError("recall.not-own")
    if message.recalled:
        return
    with core.transaction():
        _take_back(core, message, now)
        if core.conversation(message.conversation).state == ConversationState.JOINED:
            sending.send_recall(core, message.conversation, message.message, now=now)


def asked(core: Core, row: Conversation, sender: Member, message: MessageId, now: int) -> bool:
    """A member asks to forget a message. False: it is not its own, and nothing happens (T-038)."""
    target = core.db.first(Message, "message = ?", message)
    if target is None:
        _wait(core, Recall(None, message, row.conversation, sender.account))  # it may still come
        return True
    if target.conversation != row.conversation or target.account != sender.account:
        return False
    if target.kind == MessageKind.PERSON and not target.recalled:
        _take_back(core, target, now)
    return True


def asked_before(core: Core, conversation: ConversationId, account: AccountId, message: MessageId) -> bool:
    """Whether its sender took a message back before it arrived."""
    who = (message, conversation, account)
    known = core.db.value("SELECT 1 FROM recall WHERE message = ? AND conversation = ? AND account = ?", *who)
    core.db.execute("DELETE FROM recall WHERE message = ?", message)
    return bool(known)


def _wait(core: Core, recall: Recall) -> None:
    core.db.put(recall)
    mine = "conversation = ? AND account = ?"
    core.db.execute(
        f"DELETE FROM recall WHERE {mine} AND number <= "  # noqa: S608
        f"(SELECT number FROM recall WHERE {mine} ORDER BY number DESC LIMIT 1 OFFSET ?)",
        *(recall.conversation, recall.account) * 2,
        WAITING_LIMIT,
    )


def _take_back(core: Core, message: Message, now: int) -> None:
    core.db.execute("UPDATE message SET recalled = 1, expires_at = NULL, leaving = 0 WHERE number = ?", message.number)
    gone.erase(core, message)
    _let_go(core, message, "recalled", now)
    actions.forget(core, message, now, erase=True)


def _let_go(core: Core, message: Message, reason: str, now: int) -> None:
    gone.let_go(core, message, now)
    core.emit(events.MessageGone(conversation=message.conversation.hex(), message=message.message.hex(), reason=reason))
