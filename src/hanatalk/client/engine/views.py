"""What people see: names looked up, chats, messages, safety numbers. Reads only, but for `read` and `verify`."""

import datetime as dt

from hanatalk.client import calls
from hanatalk.client.engine import bodies, content, keys, policy, receipts, timers
from hanatalk.client.engine.core import Core
from hanatalk.errors import UsageError
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import Conversation, ConversationState, Message, MessageKind

KINDS = {policy.Kind.DIRECT: "direct", policy.Kind.GROUP: "group"}
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
PREFIX = 4  # characters that an id prefix has at least
PAGE = 10_000  # messages in one answer at most


def rfc3339(milliseconds: int) -> str:
    """UTC with milliseconds."""
    at = EPOCH + dt.timedelta(milliseconds=milliseconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def resolve(core: Core, wanted: str) -> Conversation:
    """An id, a unique id prefix or a unique name.

    :raises UsageError: ``name.unknown``, ``name.ambiguous``
    """
    rows = core.db.find(Conversation, "1 ORDER BY created_at")
    named = [row for row in rows if core.conversation_name(row) == wanted]
    prefixed = [row for row in rows if len(wanted) >= PREFIX and row.conversation.hex().startswith(wanted.lower())]
    exact = [row for row in rows if row.conversation.hex() == wanted.lower()]
    for found in (exact, named, prefixed):
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError("name.ambiguous", name=wanted)
    raise UsageError("name.unknown", name=wanted)


def resolve_message(core: Core, wanted: str) -> Message:
    """A message id or a unique prefix of one. :raises UsageError: ``message.unknown``, ``name.ambiguous``"""
    try:
        low = bytes.fromhex(wanted + "0" * (len(wanted) % 2))
    except ValueError:
        raise UsageError("message.unknown", message=wanted) from None
    rows = core.db.find(
        Message,
        "message >= ? AND kind IN (?, ?) ORDER BY message LIMIT 2",
        low,
        MessageKind.PERSON,
        MessageKind.EXPIRED,  # gone here, perhaps not elsewhere: it can still be recalled
    )
    found = [row for row in rows if len(wanted) >= PREFIX and row.message.hex().startswith(wanted.lower())]
    if not found:
        raise UsageError("message.unknown", message=wanted)
    if len(found) > 1:
        raise UsageError("name.ambiguous", name=wanted)
    return found[0]


def text(core: Core, message: Message) -> str | None:
    """What a person wrote; None when it is gone."""
    body = bodies.find(core, message)
    found = content.known_body(body) if body is not None else None
    return found.text if isinstance(found, content.Text) else None


def shown(core: Core, row: Conversation, message: Message, counts: receipts.Counts) -> calls.Message:
    """A message as people see it."""
    return calls.Message(
        message=message.message.hex(),
        conversation=row.conversation.hex(),
        from_=core.name(message.account),
        from_account=message.account.hex(),
        text=text(core, message) or "",
        sent_at=rfc3339(message.sent_at),
        state=counts.state(message),
        unread=counts.unread(message),
        expires_at=rfc3339(core.clock.wall(message.expires_at)) if message.expires_at is not None else None,
        reply_to=message.reply_to.hex() if message.reply_to else None,
        timer=message.timer // 1000 if message.timer else None,
        recalled=bool(message.recalled),
    )


def _counts(core: Core, row: Conversation) -> receipts.Counts:
    return receipts.Counts(core, row, core.members(row.conversation))


def messages(core: Core, row: Conversation, limit: int) -> calls.MessageList:
    """The newest `limit` people's messages, oldest first."""
    found = core.db.find(
        Message,
        "conversation = ? AND kind = ? ORDER BY number DESC LIMIT ?",
        row.conversation,
        MessageKind.PERSON,
        max(0, min(limit, PAGE)),
    )
    counts = _counts(core, row)
    return calls.MessageList(messages=[shown(core, row, message, counts) for message in reversed(found)])


def state(core: Core, message: Message) -> str:
    """Current state of an own message."""
    row = core.conversation(message.conversation)
    fresh = core.db.first(Message, "message = ?", message.message) or message
    return _counts(core, row).state(fresh)


def chats(core: Core) -> calls.ChatList:
    """Joined conversations, the one with the newest message first."""
    found = []
    for row in core.db.find(Conversation, "1"):
        last = core.db.first(
            Message,
            "conversation = ? AND kind = ? ORDER BY number DESC",
            row.conversation,
            MessageKind.PERSON,
        )
        people = {member.account for member in core.members(row.conversation)}
        others = [core.account(account) for account in people - {core.identity.account}]
        chat = calls.Chat(
            conversation=row.conversation.hex(),
            name=core.conversation_name(row),
            kind=KINDS[policy.Kind(row.kind)],
            members=len(people),
            unread=core.db.number(
                "SELECT count(*) FROM message WHERE conversation = ? AND read = 0 AND kind = ?",
                row.conversation,
                MessageKind.PERSON,
            ),
            last=text(core, last) if last else None,
            verified=all(other is not None and other.verified for other in others),
            state=_state(core, row),
        )
        found.append((last.sent_at if last else row.created_at, chat))
    found.sort(key=lambda pair: pair[0], reverse=True)
    return calls.ChatList(chats=[chat for _, chat in found])


def _state(core: Core, row: Conversation) -> str:
    if core.elsewhere:
        return "blocked"
    if row.state == ConversationState.JOINED:
        return "joined"
    known = core.db.value("SELECT 1 FROM resync WHERE conversation = ?", row.conversation)
    return "rejoining" if known else "lost"


def read(core: Core, conversation: ConversationId, now: int) -> calls.ReadDone:
    """Everything shown so far is read; the others learn it with the next receipt."""
    with core.transaction():
        count = timers.read(core, conversation, now)
        if count:
            receipts.due(core, core.conversation(conversation), now, len(core.members(conversation)))
    return calls.ReadDone(read=count)


def safety(core: Core, row: Conversation, *, confirm: bool) -> calls.Safety:
    """The safety number of a direct conversation. :raises UsageError: ``verify.group``"""
    others = {member.account for member in core.members(row.conversation)} - {core.identity.account}
    if row.kind != policy.Kind.DIRECT or len(others) != 1:
        raise UsageError("verify.group")
    other = others.pop()
    if confirm:
        with core.transaction():
            core.db.execute("UPDATE account SET verified = 1 WHERE account = ?", other)
    known = core.account(other)
    return calls.Safety(
        safety_number=keys.safety_number(core.identity.account, other), verified=bool(known and known.verified)
    )
