"""Where own messages lie at relays, and taking them back from there (HT-C-046)."""

import hashlib

from hanatalk.client.engine.core import Core, Link
from hanatalk.ids import ChannelId
from hanatalk.localdb.rows import Outgoing, Placed
from hanatalk.wire.events import EntryReceived


def remember(core: Core, frame: Outgoing, seq: int | None, now: int) -> None:
    """A relay stored a message's frame, or perhaps did (`seq` None): to be known as long as it may lie there."""
    if frame.message is None or frame.erase_token is None:
        return
    recalled = core.db.number("SELECT recalled FROM message WHERE message = ?", frame.message)
    digest = hashlib.sha256(frame.entry).digest()
    core.db.insert(
        Placed(None, frame.message, frame.relay, frame.channel, seq, digest, frame.erase_token, now, recalled)
    )


def came_back(core: Core, event: EntryReceived) -> None:
    """An own entry whose answer was never heard shows where it lies."""
    if core.db.value("SELECT 1 FROM placed WHERE channel = ? AND seq IS NULL", event.channel_id):
        core.db.execute(
            "UPDATE placed SET seq = ? WHERE channel = ? AND seq IS NULL AND digest = ?",
            event.seq,
            event.channel_id,
            hashlib.sha256(event.entry).digest(),
        )


def erase(core: Core, url: str, link: Link) -> None:
    """Ask a relay to erase what was taken back, one entry of a channel at a time."""
    for row in core.db.find(Placed, "relay = ? AND wanted = 1 AND seq IS NOT NULL ORDER BY number", url):
        if row.channel in link.erasing or row.seq is None:
            continue
        channel = core.channel(row.channel)
        if channel is None:
            continue  # an era of months ago: nothing of it is there
        if row.channel not in link.opened:
            link.opened.add(row.channel)
            link.connection.open(row.channel, read=channel.read_token, write=channel.write_token)
        link.erasing[row.channel] = row.seq
        link.connection.erase(row.channel, seq=row.seq, erase_token=row.erase_token)


def answered(core: Core, link: Link, channel: ChannelId, *, done: bool) -> None:
    """The relay erased it or never had it (`done`), or it is to be asked again."""
    seq = link.erasing.pop(channel, None)
    if seq is not None and done:
        core.db.execute("DELETE FROM placed WHERE channel = ? AND seq = ? AND wanted = 1", channel, seq)
