"""Messages that go from this account alone, or when enough people have them (HT-C-110 … HT-C-116)."""

from hanatalk.client import events
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import content
from hanatalk.client.engine.messages import actions, attached, gone, receipts, sending
from hanatalk.errors import UsageError
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import Conversation, Member, Message, MessageKind


def delete(core: Core, message: Message, now: int) -> bool:
    """Delete a message here; nobody else notices (HT-C-110). Whoever deletes it has read it.

    :returns: False if somebody may still need it from this device: then it is only hidden, and goes later
    :raises UsageError: ``message.gone``
    """
    if message.kind == MessageKind.DELETED:
        return not core.db.value("SELECT leaving FROM message WHERE number = ?", message.number)
    if message.kind != MessageKind.PERSON:
        raise UsageError("message.gone")
    with core.transaction():
        core.db.execute(
            "UPDATE message SET kind = ?, read = 1, expires_at = NULL WHERE number = ?",
            MessageKind.DELETED,
            message.number,
        )
        receipts.due(core, core.conversation(message.conversation), now, len(core.members(message.conversation)))
        core.index.forgotten(message.number or 0)  # only hidden, it is not searched either
        here = _leave(core, message, now)
        for action in actions.about(core, message):
            carrier = core.db.first(Message, "number = ?", action.number)
            if carrier is not None:
                _leave(core, carrier, now)
            core.db.execute("DELETE FROM action WHERE number = ?", action.number)
        core.emit(
            events.MessageGone(conversation=message.conversation.hex(), message=message.message.hex(), reason="deleted")
        )
    return here


def _leave(core: Core, message: Message, now: int) -> bool:
    """Forget a body, unless it is one that this device may have to send once more."""
    if message.device == core.identity.device.key and not _is_everywhere(core, message, now):
        core.db.execute("UPDATE message SET leaving = 1 WHERE number = ?", message.number)
        return False
    gone.let_go(core, message, now)
    return True


def _is_everywhere(core: Core, message: Message, now: int) -> bool:
    """Every other device of its roster (HT-C-083) has decrypted it, and has had the time to fetch what is attached."""
    if message.counter < 0:
        return False
    if message.sent_at > core.clock.wall(now) - sending.RELAY_KEEPS and attached.rows(core, message.message):
        return False
    own = core.identity.device.key
    return all(
        core.db.value(
            "SELECT 1 FROM receipt WHERE conversation = ? AND about = ? AND device = ? AND decrypted >= ?",
            message.conversation,
            own,
            member.device,
            message.counter,
        )
        for member in core.members(message.conversation)
        if member.device != own and member.since_epoch <= message.epoch
    )


def look(core: Core, row: Conversation, members: list[Member], now: int) -> None:
    """Receipts came, or something was read here: what does that let go?"""
    for message in core.db.find(Message, "conversation = ? AND leaving = 1", row.conversation):
        if _is_everywhere(core, message, now):
            _went(core, message, now)
    confirmed = core.db.find(
        Message,
        "conversation = ? AND fate = ? AND kind = ? AND recalled = 0 AND (expires_at IS NULL OR expires_at > ?)",
        row.conversation,
        content.Fate.CONFIRMED,
        MessageKind.PERSON,
        now,
    )
    if confirmed:
        counts = receipts.Counts(core, row, members)
        for message in confirmed:
            waits = message.account == core.identity.account and message.stored_at is None
            if not waits and counts.unread(message) == 0:
                core.db.execute("UPDATE message SET expires_at = ? WHERE number = ?", now, message.number)


def give_up(core: Core, conversation: ConversationId, before: int, now: int) -> None:
    """What is hidden goes when it would not be sent again any more either (HT-C-111).

    :param before: it was sent before this time by the device's clock
    """
    for message in core.db.find(Message, "conversation = ? AND leaving = 1", conversation):
        if message.sent_at < before or _is_everywhere(core, message, now):
            _went(core, message, now)


def old_copy(core: Core, now: int) -> None:
    """This copy of the profile is an old one: what it has not shown, the one that went on may have (HT-C-118)."""
    for message in core.db.find(
        Message, "fate = ? AND account != ? AND kind = ?", content.Fate.ONCE, core.identity.account, MessageKind.PERSON
    ):
        gone.let_go(core, message, now)


def _went(core: Core, message: Message, now: int) -> None:
    core.db.execute("UPDATE message SET leaving = 0 WHERE number = ?", message.number)
    gone.let_go(core, message, now)
