"""Where the devices of a group find each other when the group's own channel is of no use: in the resync channels of the
conversations of two that its members have with each other (HT-M-092)."""

import hashlib

from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import policy
from hanatalk.ids import ChannelId, ConversationId
from hanatalk.localdb.rows import Channel, Conversation, Purpose

ASKED_MOST = 8  # conversations of two in which one request or statement about a group is left


def channels(core: Core, conversation: ConversationId) -> list[Channel]:
    """Resync channels for a conversation: its own, or those shared with other members of a group, the ones talked in
    last first."""
    row = core.conversation(conversation)
    if row.kind != policy.Kind.GROUP:
        return core.db.find(Channel, "owner = ? AND purpose = ? AND closed = 0", conversation, Purpose.RESYNC)
    owners = core.db.tuples(
        "SELECT DISTINCT other.conversation FROM member AS other JOIN conversation ON "
        "conversation.conversation = other.conversation WHERE kind = ? AND other.account != ? AND other.account IN "
        "(SELECT account FROM member WHERE conversation = ?) ORDER BY conversation.receipt_sent DESC LIMIT ?",
        policy.Kind.DIRECT,
        core.identity.account,
        conversation,
        ASKED_MOST,
    )
    return [
        channel
        for (owner,) in owners
        if isinstance(owner, bytes)
        for channel in core.db.find(Channel, "owner = ? AND purpose = ? AND closed = 0", owner, Purpose.RESYNC)
    ]


def spoken_of(core: Core, channel: Channel, conversation: bytes) -> Conversation | None:
    """The conversation that a statement in this channel is about: the channel's own, or a group of this device."""
    row = core.db.first(Conversation, "conversation = ?", conversation)
    if row is None or (conversation != channel.owner and row.kind != policy.Kind.GROUP):
        return None
    return row


def frame_owner(channel: ChannelId, row: Conversation) -> bytes:
    """Owner of a statement's frame in the outbox: a later one about the same conversation takes its place."""
    if row.kind != policy.Kind.GROUP:
        return channel
    return hashlib.sha256(channel + row.conversation).digest()


def groups_of(core: Core, channel: Channel) -> list[ConversationId]:
    """Groups about which something was left in this channel by this device."""
    rows = core.db.tuples(
        "SELECT resync.conversation FROM resync JOIN conversation USING (conversation) WHERE kind = ? "
        "AND last IS NOT NULL",
        policy.Kind.GROUP,
    )
    found = [ConversationId(conversation) for (conversation,) in rows if isinstance(conversation, bytes)]
    return [each for each in found if channel.channel in {known.channel for known in channels(core, each)}]
