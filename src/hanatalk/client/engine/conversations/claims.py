"""Who says that this device is behind or on a fork, and whether that was true (HT-M-143).

In a group any member's device can say so, and this device asks to be added again. If the commit that adds it again
was made in the very epoch in which it stood, nothing was missing here. Whoever said so is not believed for a week,
unless a device of another account says the same.
"""

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine.conversations import enclosing
from hanatalk.client.engine.core import DAY, Core
from hanatalk.client.engine.formats import accounts, policy, sealing, statements
from hanatalk.errors import HanaError
from hanatalk.ids import ConversationId, DeviceKey
from hanatalk.localdb.rows import Control, Conversation, Statement
from hanatalk.wire.classes import EntryClass

UNBELIEVED = 7 * DAY  # milliseconds
_BELIEVED = "claim "  # setting, with a conversation's id: the device because of which this one asked
_MISLED = "misled "  # setting, with conversation and device: when it turned out to be wrong


def is_believed(core: Core, row: Conversation, said: Statement, now: int) -> bool:
    """Whether to ask because of this statement."""
    at = core.db.setting(_misled(row.conversation, said.device))
    if row.kind != policy.Kind.GROUP or at is None or now >= int.from_bytes(at) + UNBELIEVED:
        return True
    claim = statements.decode(said.body)
    whose = {member.device: member.account for member in core.members(row.conversation)}
    for other in core.db.find(Statement, "conversation = ?", row.conversation):
        same = statements.decode(other.body)
        if whose.get(other.device) not in (None, whose.get(said.device)) and (same.epoch, same.authenticator) == (
            claim.epoch,
            claim.authenticator,
        ):
            return True
    return False


def believed(core: Core, row: Conversation, said: Statement) -> None:
    """This device asks because of this statement."""
    core.db.put_setting(_believed(row.conversation), said.device)


def judge(core: Core, row: Conversation, now: int) -> None:
    """This device is about to be a member again; its former group is still here. Was it right to ask?"""
    raw = core.db.setting(_believed(row.conversation))
    if raw is None:
        return
    core.db.execute("DELETE FROM setting WHERE key = ?", _believed(row.conversation))
    if row.kind == policy.Kind.GROUP and _was_in_step(core, row):
        core.db.put_setting(_misled(row.conversation, DeviceKey(raw)), now.to_bytes(8))
        core.notice(
            events.Alarm(conversation=row.conversation.hex(), code="conversation.misled"), now, row.conversation
        )


def _was_in_step(core: Core, row: Conversation) -> bool:
    """Whether a commit that replaces this device's leaf lies in the era's channel and was made in this device's epoch:
    the former group stages it. The group is of no use after that; another one takes its place."""
    channel = core.channel(row.channel)
    if channel is None:
        return False
    group = core.group(row.conversation)
    own = core.identity.device.key
    last = core.db.number("SELECT max(seq) FROM control WHERE channel = ? AND merged = 1", channel.channel)
    later = "channel = ? AND is_commit = 1 AND seq > ? ORDER BY seq"
    for entry in core.db.find(Control, later, channel.channel, last):
        try:
            kind, body = sealing.unseal(
                channel.seal_key, channel.channel, entry_class=EntryClass.CONTROL, commit=True, entry=entry.entry
            )
            if kind is sealing.BodyKind.PIECES:
                body = enclosing.assemble(core, channel, body, entry.seq)
            staged = group.process(body)
        except HanaError:
            continue
        if isinstance(staged, mls.StagedCommit):
            if staged.self_removed and any(_device(added.credential) == own for added in staged.adds):
                return True
            group.staged_drop()
    return False


def _device(credential: bytes) -> bytes | None:
    try:
        return accounts.read_credential(credential).device
    except HanaError:
        return None


def _believed(conversation: ConversationId) -> str:
    return _BELIEVED + conversation.hex()


def _misled(conversation: ConversationId, device: DeviceKey) -> str:
    return f"{_MISLED}{conversation.hex()} {device.hex()}"
