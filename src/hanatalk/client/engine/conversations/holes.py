"""A log with something missing among its control entries: said, and read again (HT-C-060).

A relay that withholds a commit, or signs another history than it showed, may do so by mistake or for a while only. So
the log is read once more, from the last commit that counts here, then from its start; what was seen before is a
repetition to MLS and to the dedupe. A relay that goes on gets no commits on this connection.
"""

import enum

from hanatalk.client import events
from hanatalk.client.engine.core import Core, Link
from hanatalk.client.engine.messages import recovery
from hanatalk.ids import ChannelId, ConversationId
from hanatalk.localdb.rows import Channel, Closed, Control, Purpose
from hanatalk.wire.events import EntryReceived

READINGS = 2  # of one channel on one connection
PASSED_OVER = 2  # `Control.merged` of a commit that did not count because of a hole before it


class Found(enum.Enum):
    """`READ_AGAIN`: what was pushed is ignored, it will come again."""

    NOTHING = 0
    READ_AGAIN = 1
    HOLE = 2


def commits_seen(core: Core, channel: ChannelId) -> int:
    """How many commits this device was shown, up to its cursor."""
    return core.db.number(
        "SELECT count(*) FROM control WHERE channel = ? AND is_commit = 1 AND merged != ?", channel, PASSED_OVER
    )


def look(core: Core, link: Link, channel: ChannelId, now: int) -> None:
    """Everything was read, says the relay; its turn says how many commits that must have been."""
    row = core.channel(channel)
    if row is None or row.purpose != Purpose.ERA or row.closed:
        return  # of an era that is over its commits are not taken in any more
    if commits_seen(core, channel) < max(row.turn, link.turns.get(channel, 0)):
        found(core, link, row, "relay.hole", now)
    elif _doubtful(core, channel) and channel not in link.asked_receipt:
        link.ask_receipt(channel, row.cursor, now)  # was it garbage for everybody? `commits.signed` compares


def before(core: Core, link: Link, event: EntryReceived, now: int) -> Found:
    """Whether the relay says itself that a commit went by before this entry which it did not show."""
    if event.channel_id not in link.opened:
        return Found.READ_AGAIN  # it was pushed before we asked
    row = core.channel(event.channel_id)
    if row is None or row.purpose != Purpose.ERA or row.closed or event.seq <= row.cursor:
        return Found.NOTHING
    if commits_seen(core, row.channel) >= event.turn:
        return Found.NOTHING
    return Found.READ_AGAIN if found(core, link, row, "relay.hole", now) else Found.HOLE


def pass_over(core: Core, event: EntryReceived) -> None:
    """This commit does not count as seen: without the hole it will be judged."""
    core.db.execute(
        "UPDATE control SET merged = ? WHERE channel = ? AND seq = ?", PASSED_OVER, event.channel_id, event.seq
    )


def _doubtful(core: Core, channel: ChannelId) -> bool:
    """The last commits that came did not count here."""
    last = core.db.number("SELECT max(seq) FROM control WHERE channel = ? AND merged = 1", channel)
    return bool(core.db.value("SELECT 1 FROM control WHERE channel = ? AND is_commit = 1 AND seq > ?", channel, last))


def found(core: Core, link: Link, channel: Channel, code: str, now: int) -> bool:
    """Say it once on this connection, and read again. False if that was done as often as it is worth."""
    readings = link.readings.get(channel.channel, 0)
    if readings == 0:
        conversation = ConversationId(channel.owner)
        core.notice(events.Alarm(conversation=conversation.hex(), code=code), now, conversation)
    if readings >= READINGS or channel.closed == Closed.CLOSED:
        return False
    link.readings[channel.channel] = readings + 1
    if readings:
        seq, control_hash = 0, bytes(32)
        recovery.begin(core, channel)
    else:
        last = core.db.first(Control, "channel = ? AND merged = 1 ORDER BY seq DESC", channel.channel)
        seq, control_hash = (last.seq, last.control_hash) if last is not None else (0, bytes(32))
        core.db.execute("DELETE FROM control WHERE channel = ? AND seq > ?", channel.channel, seq)
    core.db.execute(
        "UPDATE channel SET cursor = ?, turn = ?, control_hash = ? WHERE channel = ?",
        seq,
        commits_seen(core, channel.channel),
        control_hash,
        channel.channel,
    )
    link.reopen(channel.channel)
    return True
