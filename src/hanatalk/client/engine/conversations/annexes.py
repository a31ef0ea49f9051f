"""Welcomes that are larger than one entry: their body lies in pieces in a channel of its own, one for all joiners of a
commit (HT-M-089)."""

import secrets
from typing import Annotated

import msgspec

from hanatalk.client.engine.conversations import key_packages
from hanatalk.client.engine.core import Core, new_entry_id
from hanatalk.client.engine.formats import content, keys, pieces, policy, sealing
from hanatalk.errors import ContentError
from hanatalk.ids import ConversationId, ReadToken, WriteToken
from hanatalk.localdb.rows import Annex, Annexed, Channel, OutboxKind, Outgoing, Purpose
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.events import EntryReceived

Thirty2 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class At(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Body of the Welcome's entry: where the rest lies, and its pieces."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    relay_url: Annotated[str, msgspec.Meta(max_length=512)]
    read_token: Thirty2
    write_token: Thirty2
    seal_key: Thirty2
    whole: pieces.Whole

    def __repr__(self) -> str:
        return "At(…)"


def body_of(
    core: Core, conversation: ConversationId, relay: policy.Relay, enclosed: key_packages.Enclosed
) -> tuple[sealing.BodyKind, bytes]:
    """What goes into each joiner's Welcome channel: all of it, or where the rest lies, which goes into the outbox."""
    whole = msgspec.msgpack.encode(enclosed)
    if len(whole) <= sealing.CAPACITY:
        return sealing.BodyKind.WELCOME, whole
    named, found = pieces.cut(whole)
    at = keys.annex(secrets.token_bytes(32), relay.relay_key)
    for piece in found:
        entry = sealing.seal(
            at.seal_key, at.channel, entry_class=EntryClass.CONTROL, kind=sealing.BodyKind.PIECE, body=piece
        )
        core.db.insert(
            Outgoing(
                None,
                new_entry_id(),
                relay.url,
                at.channel,
                at.read_token,
                1,
                at.write_token,
                EntryClass.CONTROL,
                0,
                None,
                None,
                entry,
                OutboxKind.ANNEX,
                conversation,
            )
        )
    head = At(1, relay.url, at.read_token, at.write_token, at.seal_key, named)
    return sealing.BodyKind.ANNEX, msgspec.msgpack.encode(head)


def parse(body: bytes) -> At:
    """:raises ContentError: ``entry.damaged``"""
    try:
        return msgspec.msgpack.decode(body, type=At)
    except content.MALFORMED:
        raise ContentError("entry.damaged", why="annex") from None


def begin(core: Core, ref: bytes, body: bytes, now: int) -> None:
    """A Welcome names an annex: read it. :raises ContentError: ``entry.damaged``"""
    head = parse(body)
    at = keys.Capability(ReadToken(head.read_token), WriteToken(head.write_token), head.seal_key)
    if core.channel(at.channel) is not None:
        return
    core.db.execute("INSERT OR IGNORE INTO relay (url, key) VALUES (?, NULL)", head.relay_url)
    core.db.put(Annex(at.channel, ref, msgspec.msgpack.encode(head.whole)))
    key_packages.listen(core, at.channel, Purpose.ANNEX, ref, head.relay_url, at, now)


def entry(core: Core, channel: Channel, event: EntryReceived) -> tuple[bytes, bytes] | None:
    """A piece of an annex came; when all are there: the KeyPackageRef whose Welcome it is, and the body."""
    row = core.db.first(Annex, "channel = ?", channel.channel)
    if row is None:
        return None
    whole = pieces.parse(row.whole)
    try:
        kind, piece = sealing.unseal(
            channel.seal_key,
            channel.channel,
            entry_class=event.entry_class,
            commit=event.commit,
            entry=event.entry,
        )
    except ContentError:
        return None
    digest = pieces.digest(piece)
    if kind is not sealing.BodyKind.PIECE or digest not in whole.digests:
        return None
    core.db.put(Annexed(channel.channel, digest, piece))
    held = {each.digest: each.piece for each in core.db.find(Annexed, "channel = ?", channel.channel)}
    if set(whole.digests) - held.keys():
        return None
    core.db.execute("UPDATE channel SET closed = 1 WHERE channel = ?", channel.channel)
    core.db.execute("DELETE FROM annexed WHERE channel = ?", channel.channel)
    core.db.execute("DELETE FROM annex WHERE channel = ?", channel.channel)
    return row.ref, pieces.join(whole, [held[each] for each in whole.digests])
