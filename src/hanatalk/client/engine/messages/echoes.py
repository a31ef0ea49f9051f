"""An own message comes back through its channel. One that a relay stored and does not show is gone (HT-C-073 …).

A relay that says STORED and drops the entry would otherwise be noticed by the receivers' gap, days later, or never.
"""

import hashlib

from hanatalk.client import events
from hanatalk.client.engine.core import Core, Link
from hanatalk.client.engine.messages import sending
from hanatalk.ids import ChannelId, ConversationId
from hanatalk.localdb.rows import Message, Outgoing, Placed
from hanatalk.wire.events import EntryReceived

WAIT = 30_000  # milliseconds in which a relay shows what it has stored; then the channel is opened anew
TRIES = 3  # of one message on one connection; afterwards with the hourly chores


def came(core: Core, link: Link, event: EntryReceived, now: int) -> None:
    """An entry is shown: it is the one that lies at this seq, and none before it comes any more."""
    for row in _awaited(core, event.channel_id, event.seq):
        if row.seq == event.seq and row.digest == hashlib.sha256(event.entry).digest():
            _settle(core, row)
        else:
            _gone(core, link, row, now)


def read_to(core: Core, link: Link, channel: ChannelId, seq: int, now: int) -> None:
    """The relay says that it has shown everything up to `seq`."""
    link.heads[channel] = max(seq, link.heads.get(channel, 0))
    for row in _awaited(core, channel, seq):
        _gone(core, link, row, now)


def opened(core: Core, link: Link, channel: ChannelId, head: int, now: int) -> None:
    """The relay says that nothing lies behind `head`."""
    for row in core.db.find(Placed, "channel = ? AND shown = 0 AND seq > ? ORDER BY seq", channel, head):
        _gone(core, link, row, now)


def stored(core: Core, link: Link, frame: Outgoing, seq: int, now: int) -> None:
    """STORED, for an entry that should have been shown by now: only the answer was remembered."""
    at = core.channel(frame.channel)
    if at is not None and seq <= max(at.cursor, link.heads.get(frame.channel, 0)):
        for row in core.db.find(Placed, "channel = ? AND shown = 0 AND seq = ?", frame.channel, seq):
            _gone(core, link, row, now)


def due(core: Core, now: int) -> None:
    """Nothing came in a while, not even anything later: what does the relay say when the channel is opened again?"""
    for row in core.db.find(Placed, "shown = 0 AND seq IS NOT NULL AND at <= ?", now - WAIT):
        link = core.links.get(row.relay)
        if link is not None and row.channel in link.caught_up and row.number not in link.looked_for:
            link.looked_for.add(row.number)
            link.reopen(row.channel)


def next_due(core: Core) -> list[int]:
    """When `due` has something to do."""
    rows = core.db.tuples("SELECT min(at) FROM placed WHERE shown = 0 AND seq IS NOT NULL")
    return [at + WAIT for (at,) in rows if isinstance(at, int)]


def shown(core: Core, channel: ChannelId, seq: int) -> None:
    """It came back before the answer did."""
    core.db.execute("UPDATE placed SET shown = 1 WHERE channel = ? AND shown = 0 AND seq = ?", channel, seq)


def _awaited(core: Core, channel: ChannelId, seq: int) -> list[Placed]:
    return core.db.find(Placed, "channel = ? AND shown = 0 AND seq <= ? ORDER BY seq", channel, seq)


def _settle(core: Core, row: Placed) -> None:
    core.db.execute("UPDATE placed SET shown = 1 WHERE number = ?", row.number)


def _gone(core: Core, link: Link, row: Placed, now: int) -> None:
    """Say it once on this connection, and publish the message again: same id, same number."""
    _settle(core, row)
    message = core.db.first(Message, "message = ?", row.message)
    if row.wanted or message is None:
        return  # taken back: that is how it should be
    conversation = ConversationId(message.conversation)
    if row.channel not in link.dropping:
        link.dropping.add(row.channel)
        core.notice(events.Alarm(conversation=conversation.hex(), code="relay.dropped"), now, conversation)
    core.db.execute("UPDATE message SET stored_at = NULL WHERE message = ?", message.message)
    core.emit(events.StateChanged(conversation=conversation.hex(), message=message.message.hex(), state="queued"))
    tries = link.tries[message.message] = link.tries.get(message.message, 0) + 1
    if tries <= TRIES:
        newest = max(member.since_epoch for member in core.members(conversation))
        sending.publish_again(core, conversation, [message], now, as_of=newest)
