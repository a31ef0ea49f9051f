"""A relay that forgot or went back gets again what it lost, control entries first (HT-M-050, HT-M-051, HT-M-052)."""

import msgspec

from hanatalk.client.engine.core import Core, Link, new_entry_id
from hanatalk.ids import ChannelId
from hanatalk.localdb.rows import Channel, Control, Kept, Outgoing, Restoring
from hanatalk.wire.classes import EntryClass

TRIES = 16  # of one entry on one connection: what a relay swallows or damages every time is not worth more


def keep(core: Core, frame: Outgoing) -> None:
    """Remember an offer or a Welcome that a relay has stored."""
    core.db.put(Kept(frame.channel, frame.owner, msgspec.msgpack.encode(frame)))


def no_longer(core: Core, owner: bytes) -> None:
    """The invite was used, the joiner was heard."""
    core.db.execute("DELETE FROM kept WHERE owner = ?", owner)


def leave_again(core: Core, owner: bytes) -> None:
    """Put what was kept for this invite or conversation into the outbox once more."""
    for row in core.db.find(Kept, "owner = ?", owner):
        if core.db.value("SELECT 1 FROM outbox WHERE channel = ?", row.channel):
            continue
        frame = msgspec.msgpack.decode(row.frame, type=Outgoing)
        core.db.insert(msgspec.structs.replace(frame, number=None, entry_id=new_entry_id()))


def begin(core: Core, channel: Channel) -> None:
    """The log of this channel starts anew: line up the commits that brought this device to its epoch (HT-M-050)."""
    merged = core.db.find(Control, "channel = ? AND merged = 1 ORDER BY seq", channel.channel)
    left = core.db.find(Restoring, "channel = ? ORDER BY position", channel.channel)
    lined_up = [(row.is_commit, row.entry) for row in merged] + [(row.is_commit, row.entry) for row in left]
    core.db.execute("DELETE FROM restoring WHERE channel = ?", channel.channel)
    core.db.execute("DELETE FROM control WHERE channel = ?", channel.channel)
    core.db.execute("DELETE FROM piece WHERE channel = ?", channel.channel)
    for position, (is_commit, entry) in enumerate(lined_up):
        core.db.insert(Restoring(channel.channel, position, is_commit, entry))


def seen(core: Core, channel: ChannelId, entry: bytes) -> bool:
    """A control entry came: if it is one of those lined up, it is there again. True if so."""
    row = core.db.first(Restoring, "channel = ? AND entry = ?", channel, entry)
    if row is None:
        return False
    core.db.execute("DELETE FROM restoring WHERE channel = ? AND position <= ?", channel, row.position)
    return True


def under_way(core: Core, channel: ChannelId) -> bool:
    """Until everything is there again this device neither sends nor commits in the channel."""
    return bool(core.db.value("SELECT 1 FROM restoring WHERE channel = ?", channel))


def pump(core: Core, link: Link, channel: Channel) -> None:
    """Append the next entry that is missing; every member does so, the turn lets one of them through."""
    if channel.channel not in link.caught_up or channel.channel in link.restoring:
        return
    row = core.db.first(Restoring, "channel = ? ORDER BY position", channel.channel)
    if row is None:
        return
    position, tries = link.restored.get(channel.channel, (row.position, 0))
    if position == row.position and tries >= TRIES:
        return
    link.restored[channel.channel] = (row.position, tries + 1 if position == row.position else 1)
    entry_id = new_entry_id()
    link.restoring[channel.channel] = entry_id
    link.connection.append(
        channel.channel,
        entry_id=entry_id,
        entry_class=EntryClass.CONTROL,
        entry=row.entry,
        commit=bool(row.is_commit),
        turn=channel.turn if row.is_commit else None,
    )


def answered(link: Link, channel: ChannelId) -> None:
    """The entry was stored, refused by limits, or some control entry came: the next may go."""
    link.restoring.pop(channel, None)
