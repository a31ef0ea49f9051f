"""Own messages that somebody has not confirmed in 30 days: said, and sent again if a person wants it (HT-C-070 …)."""

import msgspec

from hanatalk.client import events
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.messages import receipts, sending
from hanatalk.errors import UsageError
from hanatalk.localdb.rows import Conversation, Member, Message, MessageKind

# No relay has it any more: its copy has expired, or its frame was lost with the way into the conversation.
_NOWHERE = (
    "(stored_at <= ? OR (stored_at IS NULL AND NOT EXISTS "
    "(SELECT 1 FROM outbox WHERE outbox.message = message.message)))"
)


def look(core: Core, row: Conversation, now: int) -> None:
    """Which messages will not be published again although some device has not confirmed them? (HT-C-070)"""
    members = core.members(row.conversation)
    others = [member for member in members if member.device != core.identity.device.key]
    if not others or len(others) > sending.BURN_LIMIT:
        return
    counts: receipts.Counts | None = None
    for member in others:
        for message in _unconfirmed(core, row, member, now):
            counts = counts or receipts.Counts(core, row, members)
            if counts.state(msgspec.structs.replace(message, failed=1)) == "failed":
                core.db.execute("UPDATE message SET failed = 1 WHERE message = ?", message.message)
                _say(core, message, "failed")


def _unconfirmed(core: Core, row: Conversation, by: Member, now: int) -> list[Message]:
    own = core.identity.device.key
    decrypted = core.db.number(
        "SELECT decrypted FROM receipt WHERE conversation = ? AND about = ? AND device = ?",
        row.conversation,
        own,
        by.device,
    )
    before_it_came = core.db.number(
        "SELECT counter FROM message WHERE conversation = ? AND device = ? AND epoch < ? ORDER BY counter DESC LIMIT 1",
        row.conversation,
        own,
        by.since_epoch,
    )
    return core.db.find(
        Message,
        "conversation = ? AND device = ? AND counter > ? AND kind = ? AND recalled = 0 AND failed = 0 "
        f"AND coalesce(resent_at, sent_at) <= ? AND {_NOWHERE} ORDER BY counter",
        row.conversation,
        own,
        max(decrypted, before_it_came, 0),
        MessageKind.PERSON,
        core.clock.wall(now) - sending.GIVE_UP,
        now - sending.RELAY_KEEPS,
    )


def resend(core: Core, message: Message, now: int) -> None:
    """Try for another 30 days: the same message, the same number (HT-C-072).

    :raises UsageError: ``resend.not-own``, ``resend.not-failed``, ``resend.newcomers``
    """
    if message.device != core.identity.device.key:
        raise UsageError("resend.not-own")
    row = core.conversation(message.conversation)
    members = core.members(row.conversation)
    if message.recalled or receipts.Counts(core, row, members).state(message) != "failed":
        raise UsageError("resend.not-failed")
    if any(member.since_epoch > message.epoch for member in members if member.device != message.device):
        raise UsageError("resend.newcomers")  # it was not written for them (HT-C-083)
    with core.transaction():
        core.db.execute(
            "UPDATE message SET failed = 0, stored_at = NULL, resent_at = ? WHERE message = ?",
            core.clock.wall(now),
            message.message,
        )
        sending.publish_again(core, row.conversation, [message], now)  # if not now, once the conversation goes on
        _say(core, message, "queued")


def _say(core: Core, message: Message, state: str) -> None:
    core.emit(events.StateChanged(conversation=message.conversation.hex(), message=message.message.hex(), state=state))
