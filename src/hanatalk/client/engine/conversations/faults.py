"""A commit that nobody can follow (HT-M-145, docs/adr/0025).

A path fault ends following, and the device asks to be added again (HT-M-038, HT-M-056): whoever could follow answers.
But a member can make a commit that all the others fault at. Then all ask and nobody answers. Their requests say where
they stand: if others stand where this device does, and at most one account elsewhere, the candidate counts for none of
them, and they go on without it.
"""

from typing import Annotated

import msgspec

from hanatalk.client import events
from hanatalk.client.engine.conversations import holes, resync
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import policy, statements
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import Channel, Control, Conversation, ConversationState, Resync, Statement

WAIT = 600_000  # milliseconds in which somebody who could follow may answer
_FAULT = "fault "  # setting, with a conversation's id


class Fault(msgspec.Struct, array_like=True, frozen=True):
    """Where a commit lies that this device cannot follow, and when it met it."""

    channel: bytes
    seq: int
    at: Annotated[int, msgspec.Meta(ge=0)]


def met(core: Core, row: Conversation, channel: Channel, seq: int, now: int) -> None:
    """This device stops here."""
    if row.kind == policy.Kind.GROUP:
        core.db.put_setting(_FAULT + row.conversation.hex(), msgspec.msgpack.encode(Fault(channel.channel, seq, now)))


def due(core: Core, now: int) -> None:
    """Whether it turned out that nobody can follow."""
    for conversation, fault in _open(core):
        row = core.conversation(conversation)
        if row.state != ConversationState.BROKEN or row.channel != fault.channel:
            with core.transaction():
                _forget(core, conversation)
        elif now >= fault.at + WAIT and resync.heard_out(core, row) and _counts_for_nobody(core, row, fault):
            with core.transaction():
                _go_on(core, row, fault, now)


def next_due(core: Core) -> list[int]:
    """When `due` has something to do."""
    return [fault.at + WAIT for _, fault in _open(core)]


def _open(core: Core) -> list[tuple[ConversationId, Fault]]:
    rows = core.db.tuples("SELECT key, value FROM setting WHERE key >= ? AND key < ?", _FAULT, _FAULT + "g")
    return [
        (ConversationId(bytes.fromhex(str(key).removeprefix(_FAULT))), msgspec.msgpack.decode(value, type=Fault))
        for key, value in rows
        if isinstance(value, bytes)
    ]


def _forget(core: Core, conversation: ConversationId) -> None:
    core.db.execute("DELETE FROM setting WHERE key = ?", _FAULT + conversation.hex())


def _counts_for_nobody(core: Core, row: Conversation, fault: Fault) -> bool:
    """Somebody else asks from the same place, or went on from there, and at most one account stands elsewhere."""
    here = row.epoch, statements.authenticator(core.group(row.conversation).epoch_authenticator)
    whose = {member.device: member.account for member in core.members(row.conversation)}
    lost, well = set(), set()
    for said in core.db.find(Statement, "conversation = ?", row.conversation):
        account = whose.get(said.device)
        if account is None or account == core.identity.account:
            continue
        statement = statements.decode(said.body)
        since = said.came_at >= fault.at
        if (statement.epoch, statement.authenticator) == here and (since or statement.key_package is not None):
            lost.add(account)
        elif since:
            well.add(account)
    return bool(lost) and len(well - lost) <= 1


def _go_on(core: Core, row: Conversation, fault: Fault, now: int) -> None:
    """Pass the candidate over, withdraw the request, and read on behind it."""
    conversation = row.conversation
    _forget(core, conversation)
    mine = core.db.first(Resync, "conversation = ?", conversation)
    channel = core.channel(row.channel)
    if mine is None or channel is None:
        return
    core.notice(events.Alarm(conversation=conversation.hex(), code="commit.unfollowable"), now, conversation)
    met_at = core.db.first(Control, "channel = ? AND seq = ?", channel.channel, fault.seq)
    core.db.execute("DELETE FROM control WHERE channel = ? AND seq > ?", channel.channel, fault.seq)
    core.db.execute("DELETE FROM piece WHERE channel = ? AND seq > ?", channel.channel, fault.seq)
    if met_at is not None:
        core.db.execute(
            "UPDATE channel SET cursor = ?, turn = ?, control_hash = ? WHERE channel = ?",
            fault.seq,
            holes.commits_seen(core, channel.channel),
            met_at.control_hash,
            channel.channel,
        )
        link = core.links.get(channel.relay)
        if link is not None:
            link.reopen(channel.channel)
    resync.stand_again(core, row, mine, now)
