"""A conversation begins here: its row, its roster, its first era (HT-M-020), how it greets."""

import msgspec

from hanatalk import mls
from hanatalk.client.engine.conversations import commits, key_packages, resync
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import keys, policy
from hanatalk.client.engine.messages import sending
from hanatalk.ids import ChannelId, ConversationId
from hanatalk.localdb.rows import Conversation, ConversationState


def begin(
    core: Core,
    conversation: ConversationId,
    group: mls.Group,
    agreed: policy.Policy,
    now: int,
    *,
    resync_secret: bytes | None = None,
) -> None:
    """Everything that a conversation known by its MLS group needs besides the group's own rows.

    A group that this profile knows already (it was a member before) keeps its row, its number and its messages.

    :param resync_secret: of whoever added this device late; None: it was there in the first epoch
    """
    core.adopt(conversation, group)
    fresh = Conversation(
        conversation,
        agreed.kind,
        ConversationState.JOINED,
        policy.encode(agreed),
        group.epoch,
        group.own_leaf,
        0,
        ChannelId(bytes(32)),
        now,
        now,
    )
    known = core.db.first(Conversation, "conversation = ?", conversation)
    if known is not None:
        core.db.execute("DELETE FROM member WHERE conversation = ?", conversation)
        core.roster_changed(conversation)
        fresh = msgspec.structs.replace(fresh, counter=known.counter, created_at=known.created_at)
    core.db.put(fresh)
    commits.refresh_roster(core, conversation, group)
    secret = group.export_secret(keys.ERA_LABEL, b"", 32)
    commits.start_era(core, conversation, secret, agreed.relays, epoch=group.epoch, now=now)
    if agreed.kind is not policy.Kind.GROUP:
        resync.begin(core, conversation, resync_secret or resync.first_secret(group), agreed.relays, now)
    else:  # its members find each other where they talk in twos (HT-M-092)
        core.db.execute("INSERT OR IGNORE INTO resync (conversation, exported) VALUES (?, ?)", conversation, b"")


def greet(core: Core, conversation: ConversationId, agreed: policy.Policy, now: int) -> None:
    """The device's first message: its person's name; to a contact also KeyPackages for groups to come (HT-C-080)."""
    spare = []
    if agreed.kind is policy.Kind.DIRECT:
        spare = key_packages.spares(core, conversation, agreed.relays[0], now)
    sending.send_hello(core, conversation, spare, now=now)


def replenish(core: Core, conversation: ConversationId, now: int) -> None:
    """Give a contact fresh KeyPackages in place of used ones and those about to expire (HT-C-080)."""
    row = core.conversation(conversation)
    if row.kind != policy.Kind.DIRECT or not sending.may_send(core, row):
        return
    spare = key_packages.spares(core, conversation, policy.of(row.policy).relays[0], now)
    if spare:
        sending.send_key_packages(core, conversation, spare, now=now)
