"""What people see: names looked up, chats, messages, safety numbers. Reads only, but for `read` and `verify`."""

import collections
import datetime as dt

import msgspec

from hanatalk.client import calls
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.files import transfers
from hanatalk.client.engine.formats import content, keys, policy
from hanatalk.client.engine.formats.looks import same_look
from hanatalk.client.engine.messages import actions, going, receipts, timers, whispers
from hanatalk.errors import UsageError
from hanatalk.ids import AccountId, ConversationId, MessageId
from hanatalk.localdb.rows import Conversation, ConversationState, Message, MessageKind

KINDS = {policy.Kind.DIRECT: "direct", policy.Kind.GROUP: "group"}
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
PREFIX = 4  # characters that an id prefix has at least
PAGE = 10_000  # messages in one answer at most
QUOTE = 100  # characters of a message that is answered


def rfc3339(milliseconds: int) -> str:
    """UTC with milliseconds."""
    at = EPOCH + dt.timedelta(milliseconds=milliseconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def resolve(core: Core, wanted: str) -> Conversation:
    """An id, a unique id prefix or a unique name.

    :raises UsageError: ``name.unknown``, ``name.ambiguous``
    """
    rows = core.db.find(Conversation, "kind != ? ORDER BY created_at", policy.Kind.ACCOUNT)
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
        "message >= ? AND kind IN (?, ?, ?) ORDER BY message LIMIT 2",
        low,
        MessageKind.PERSON,
        MessageKind.EXPIRED,  # gone here, perhaps not elsewhere: it can still be recalled
        MessageKind.DELETED,
    )
    found = [row for row in rows if len(wanted) >= PREFIX and row.message.hex().startswith(wanted.lower())]
    if not found:
        raise UsageError("message.unknown", message=wanted)
    if len(found) > 1:
        raise UsageError("name.ambiguous", name=wanted)
    return found[0]


def text(core: Core, message: Message) -> str | None:
    """What a person wrote, as it reads now; None when it is gone. What can be seen once is not shown here."""
    found = actions.wording(core, message)
    if found is None:
        return None
    return "" if message.fate == content.Fate.ONCE else found.text


def shown(core: Core, row: Conversation, counts: receipts.Counts, message: Message) -> calls.Message:
    """A message as people see it. :param row: the conversation in which it was sent"""
    found = actions.wording(core, message)
    once = message.fate == content.Fate.ONCE
    seen = found is not None and not once
    edited = actions.edited_at(core, message) if seen else None
    mentions = _mentions(core, found) if found is not None and seen else []
    opened = actions.opened_by(core, message) if once else []
    own = core.identity.account
    return calls.Message(
        message=message.message.hex(),
        conversation=row.conversation.hex(),
        from_=core.name(message.account),
        from_account=message.account.hex(),
        text=found.text if found is not None and seen else "",
        sent_at=rfc3339(message.sent_at),
        state=counts.state(message),
        unread=counts.unread(message),
        approximate=counts.approximate,
        attachments=_attachments(core, message),
        expires_at=rfc3339(core.clock.wall(message.expires_at)) if message.expires_at is not None else None,
        reply_to=message.reply_to.hex() if message.reply_to else None,
        timer=message.timer // 1000 if message.timer else None,
        recalled=bool(message.recalled),
        edited_at=rfc3339(edited) if edited is not None else None,
        reply=quoted(core, message.reply_to) if message.reply_to else None,
        reactions=_reactions(core, message),
        mentions=mentions,
        mentioned=any(mention.account == own.hex() for mention in mentions),
        view_once=once,
        opened=bool(opened) if message.account == own else once and found is None,
        opened_by=[core.name(account) for account in opened],
        privacy=message.fate == content.Fate.CONFIRMED,
        thread=message.thread.hex() if message.thread else None,
        sticker=found.sticker if found is not None and seen else None,
    )


def own(core: Core, message: Message) -> calls.Message:
    """An own message that was just written."""
    row = core.conversation(message.conversation)
    return shown(core, row, _counts(core, row), core.db.first(Message, "number = ?", message.number) or message)


def _attachments(core: Core, message: Message) -> list[calls.Attachment]:
    """Of what can be seen once (HT-C-112) not even the preview."""
    found = transfers.shown(core, message.message)
    if message.fate != content.Fate.ONCE:
        return found
    return [msgspec.structs.replace(each, preview=None) for each in found]


def quoted(core: Core, message: MessageId) -> calls.Quoted:
    """The message that another one answers, wherever it is; one that is not here is gone."""
    known = core.db.first(Message, "message = ? AND kind = ?", message, MessageKind.PERSON)
    found = text(core, known) if known is not None else None
    return calls.Quoted(
        message=message.hex(),
        from_=core.name(known.account) if known is not None else "",
        from_account=known.account.hex() if known is not None else "",
        text=(found or "")[:QUOTE],
        gone=found is None,
    )


def _mentions(core: Core, found: content.Text) -> list[calls.Mention]:
    return [
        calls.Mention(
            account=mention.account.hex(),
            name=core.name(AccountId(mention.account)),
            start=mention.start,
            length=mention.length,
        )
        for mention in found.mentions
    ]


def _reactions(core: Core, message: Message) -> list[calls.Reactions]:
    found = actions.reactions(core, message)
    mine = {emoji for account, emoji in found if account == core.identity.account}
    counted: dict[str, int] = {}
    for _, emoji in found:
        counted[emoji] = counted.get(emoji, 0) + 1
    return [calls.Reactions(emoji=emoji, count=count, mine=emoji in mine) for emoji, count in counted.items()]


def reactors(core: Core, message: Message) -> calls.ReactorList:
    """Who put what to a message."""
    return calls.ReactorList(
        message=message.message.hex(),
        reactions=[
            calls.Reactor(emoji=emoji, from_=core.name(account), from_account=account.hex())
            for account, emoji in actions.reactions(core, message)
        ],
    )


def versions(core: Core, message: Message) -> calls.VersionList:
    """What a message said before it was edited, and says now. :raises UsageError: ``view.hidden``"""
    if message.fate == content.Fate.ONCE:
        raise UsageError("view.hidden")
    there = message.kind == MessageKind.PERSON and not message.recalled
    found = actions.versions(core, message) if there else []
    return calls.VersionList(
        message=message.message.hex(),
        versions=[calls.Version(text=wording, sent_at=rfc3339(at)) for wording, at in found],
    )


def _counts(core: Core, row: Conversation) -> receipts.Counts:
    return receipts.Counts(core, row, core.members(row.conversation))


def messages(core: Core, row: Conversation, limit: int) -> calls.MessageList:
    """The newest `limit` people's messages, oldest first; in a group's thread the whispers too."""
    limit = max(0, min(limit, PAGE))
    found = _page(core, "conversation", row.conversation, limit)
    counts = {row.conversation: (row, _counts(core, row))}
    if row.kind == policy.Kind.GROUP:
        whispered = _page(core, "thread", row.conversation, limit)
        for conversation in {message.conversation for message in whispered}:
            direct = core.conversation(conversation)
            counts[conversation] = (direct, _counts(core, direct))
        found = sorted([*found, *whispered], key=lambda message: message.number or 0, reverse=True)[:limit]
    return calls.MessageList(
        messages=[shown(core, *counts[message.conversation], message) for message in reversed(found)]
    )


def _page(core: Core, column: str, conversation: ConversationId, limit: int) -> list[Message]:
    where = f"{column} = ? AND kind = ? ORDER BY number DESC LIMIT ?"
    return core.db.find(Message, where, conversation, MessageKind.PERSON, limit)


def state(core: Core, message: Message) -> str:
    """Current state of an own message."""
    row = core.conversation(message.conversation)
    fresh = core.db.first(Message, "message = ?", message.message) or message
    return _counts(core, row).state(fresh)


def chats(core: Core) -> calls.ChatList:
    """Joined conversations, the one with the newest message first."""
    found = []
    for row in core.db.find(Conversation, "kind != ?", policy.Kind.ACCOUNT):
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
    looks = collections.Counter(same_look(chat.name) for _, chat in found)
    twins = {name for name, count in looks.items() if count > 1}
    marked = [msgspec.structs.replace(chat, same_name=same_look(chat.name) in twins) for _, chat in found]
    return calls.ChatList(chats=marked)


STANDING = {ConversationState.LEAVING: "leaving", ConversationState.REMOVED: "removed"}


def _state(core: Core, row: Conversation) -> str:
    if core.elsewhere:
        return "blocked"
    if row.state == ConversationState.JOINED:
        nobody_heard = core.db.value("SELECT 1 FROM joining WHERE conversation = ?", row.conversation)  # HT-M-087
        return "joining" if nobody_heard else "joined"
    if row.state in STANDING:
        return STANDING[ConversationState(row.state)]
    known = core.db.value("SELECT 1 FROM resync WHERE conversation = ?", row.conversation)
    return "rejoining" if known else "lost"


def rejoining(core: Core) -> list[calls.Rejoining]:
    """Conversations that wait for this device to be added again (HT-M-056)."""
    return [
        calls.Rejoining(conversation=row.conversation.hex(), name=core.conversation_name(row))
        for row in core.db.find(
            Conversation, "state != ? AND kind != ? ORDER BY created_at", ConversationState.JOINED, policy.Kind.ACCOUNT
        )
        if _state(core, row) == "rejoining"
    ]


def read(core: Core, row: Conversation, now: int) -> calls.ReadDone:
    """Everything shown so far is read; the others learn it with the next receipt."""
    whispered = whispers.unread(core, row.conversation) if row.kind == policy.Kind.GROUP else []
    with core.transaction():
        count = timers.read(core, row.conversation, now)
        for conversation in whispered:
            count += timers.read(core, conversation, now, thread=row.conversation)
        for conversation in [row.conversation, *whispered] if count else []:
            members = core.members(conversation)
            receipts.due(core, core.conversation(conversation), now, len(members))
            going.look(core, core.conversation(conversation), members, now)
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
            core.thaw(other)
    known = core.account(other)
    return calls.Safety(
        safety_number=keys.safety_number(core.identity.account, other), verified=bool(known and known.verified)
    )
