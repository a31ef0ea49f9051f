"""Whispers: messages of a 1:1 conversation, shown inside a group's thread too (HT-C-117). The group sees nothing."""

from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import content, policy
from hanatalk.errors import UsageError
from hanatalk.ids import AccountId, ConversationId
from hanatalk.localdb.rows import Conversation, ConversationState, Member, Message, MessageKind


def thread(core: Core, row: Conversation, sender: Member, text: content.Text) -> ConversationId | None:
    """The group in whose thread a text that arrived is shown: only one that both are members of."""
    if text.thread is None or row.kind != policy.Kind.DIRECT:
        return None
    group = core.db.first(Conversation, "conversation = ?", text.thread)
    if group is None or group.kind != policy.Kind.GROUP:
        return None
    people = {member.account for member in core.members(group.conversation)}
    return group.conversation if {sender.account, core.identity.account} <= people else None


def conversation_for(core: Core, group: Conversation, wanted: str) -> Conversation:
    """The 1:1 conversation with a member of a group, named by id, unique id prefix or unique name.

    :raises UsageError: ``whisper.no-group``, ``name.unknown``, ``name.ambiguous``, ``whisper.no-contact``
    """
    if group.kind != policy.Kind.GROUP:
        raise UsageError("whisper.no-group")
    others = {member.account for member in core.members(group.conversation)} - {core.identity.account}
    account = _member(core, others, wanted)
    for row in core.db.find(
        Conversation, "kind = ? AND state = ? ORDER BY created_at", policy.Kind.DIRECT, ConversationState.JOINED
    ):
        if account in {member.account for member in core.members(row.conversation)}:
            return row
    raise UsageError("whisper.no-contact", name=core.name(account))


def _member(core: Core, others: set[AccountId], wanted: str) -> AccountId:
    exact = [account for account in others if account.hex() == wanted.lower()]
    named = [account for account in others if core.name(account) == wanted]
    prefixed = [account for account in others if len(wanted) >= 4 and account.hex().startswith(wanted.lower())]
    for found in (exact, named, prefixed):
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError("name.ambiguous", name=wanted)
    raise UsageError("name.unknown", name=wanted)


def unread(core: Core, group: ConversationId) -> list[ConversationId]:
    """1:1 conversations of which something unread is shown in a group's thread."""
    found = core.db.tuples(
        "SELECT DISTINCT conversation FROM message WHERE thread = ? AND read = 0 AND kind = ?",
        group,
        MessageKind.PERSON,
    )
    return [ConversationId(conversation) for (conversation,) in found if isinstance(conversation, bytes)]


def is_whisper(message: Message, row: Conversation) -> bool:
    """Whether a message is shown in a thread that is not its own."""
    return message.thread is not None and message.thread == row.conversation
