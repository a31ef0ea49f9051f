"""Commits in entries: in one, or in pieces before it (HT-M-088)."""

import msgspec

from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import pieces, sealing
from hanatalk.client.engine.messages.sending import frame_for
from hanatalk.errors import ContentError
from hanatalk.ids import ChannelId, ConversationId
from hanatalk.localdb.rows import Channel, Control, Conversation, OutboxKind, Piece, Purpose
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.events import EntryReceived


def enclose(core: Core, row: Conversation, channel: Channel, commit: bytes) -> bytes:
    """The entry of a commit. If it is larger than one, its pieces go into the outbox before it."""
    kind, body = sealing.BodyKind.MLS, commit
    if len(commit) > sealing.CAPACITY:
        whole, found = pieces.cut(commit)
        for piece in found:
            entry = sealing.seal(
                channel.seal_key,
                channel.channel,
                entry_class=EntryClass.CONTROL,
                kind=sealing.BodyKind.PIECE,
                body=piece,
            )
            frame = frame_for(
                channel, kind=OutboxKind.PIECE, owner=row.conversation, entry=entry, entry_class=EntryClass.CONTROL
            )
            core.db.insert(msgspec.structs.replace(frame, epoch=row.epoch))
        kind, body = sealing.BodyKind.PIECES, msgspec.msgpack.encode(whole)
    return sealing.seal(
        channel.seal_key, channel.channel, entry_class=EntryClass.CONTROL, commit=True, kind=kind, body=body
    )


def give_up(core: Core, conversation: ConversationId) -> None:
    """An own commit is dropped: it goes out no more, nor do its pieces."""
    core.db.execute(
        "DELETE FROM outbox WHERE owner = ? AND kind IN (?, ?)", conversation, OutboxKind.COMMIT, OutboxKind.PIECE
    )


def waits(core: Core, conversation: bytes) -> bool:
    """Whether pieces of a commit are still on their way: it goes after them."""
    return bool(core.db.value("SELECT 1 FROM outbox WHERE owner = ? AND kind = ?", conversation, OutboxKind.PIECE))


def arrived(core: Core, channel: Channel, event: EntryReceived, body: bytes) -> None:
    """A piece came: remember where it lies."""
    if event.entry_class is not EntryClass.CONTROL or event.commit:
        return
    if channel.purpose == Purpose.FALLBACK:  # of a move; of an era every control entry is kept anyway
        core.db.put(Control(channel.channel, event.seq, 0, bytes(32), event.entry))
    core.db.put(Piece(channel.channel, pieces.digest(body), event.seq))


def assemble(core: Core, channel: Channel, body: bytes, seq: int) -> bytes:
    """The commit whose pieces `body` names. :raises ContentError: ``entry.damaged``: one is not at a lower seq"""
    whole = pieces.parse(body)
    found = []
    for digest in whole.digests:
        entry = core.db.value(
            "SELECT entry FROM piece JOIN control USING (channel, seq) WHERE channel = ? AND digest = ? AND seq < ? "
            "ORDER BY seq LIMIT 1",
            channel.channel,
            digest,
            seq,
        )
        if not isinstance(entry, bytes):
            raise ContentError("entry.damaged", why="pieces")
        _, piece = sealing.unseal(
            channel.seal_key, channel.channel, entry_class=EntryClass.CONTROL, commit=False, entry=entry
        )
        found.append(piece)
    return pieces.join(whole, found)


def merged(core: Core, channel: ChannelId, body: bytes, seq: int) -> None:
    """The commit counted: a relay that forgot gets its pieces again too (HT-M-050)."""
    if core.db.value("SELECT 1 FROM control WHERE channel = ? AND seq = ? AND merged = 1", channel, seq):
        for digest in pieces.parse(body).digests:
            core.db.execute(
                "UPDATE control SET merged = 1 WHERE channel = ? AND seq = "
                "(SELECT min(seq) FROM piece WHERE channel = ? AND digest = ?)",
                channel,
                channel,
                digest,
            )
