"""Is this profile an old copy? A counter at every relay it talks at, written at every start (HT-M-070 … HT-M-074).

Keys that an old copy would use again were used already. So nothing is numbered or encrypted for a relay before the
counter there was read and written; whoever finds a higher one is old, and asks to be added again everywhere.
"""

from typing import Annotated

import msgspec

from hanatalk.client import events
from hanatalk.client.engine.conversations import key_packages, resync
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import keys, sealing
from hanatalk.client.engine.messages import going, outbox, sending
from hanatalk.errors import ContentError
from hanatalk.ids import ChannelId, ConversationId, RelayKey
from hanatalk.localdb.rows import Channel, ConversationState, OutboxKind, Outgoing, Purpose
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.events import EntryReceived

OWNER = b"start"  # of the channels and frames
SETTING = "start"
AHEAD = "start-ahead"  # a start that this copy does not know of
OLD = "old-copy"  # the process that found itself to be one
REFUSALS = 5  # by the turn, in a row
PAUSE = 60_000  # milliseconds after them
AGAIN = 3_600_000  # milliseconds after which a device that sends counts on


class Start(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One start of a profile: its number, and which process it was."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    number: Annotated[int, msgspec.Meta(ge=0, lt=2**48)]
    run: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


def last(core: Core, relay: str) -> Start:
    """The last start that this copy of the profile knows to have been counted at a relay."""
    raw = core.db.setting(f"{SETTING} {relay}") or core.db.setting(SETTING)  # the latter: as of 0.1.0
    return msgspec.msgpack.decode(raw, type=Start) if raw is not None else Start(1, 0, bytes(16))


def _put(core: Core, relay: str, start: Start) -> None:
    core.db.put_setting(f"{SETTING} {relay}", msgspec.msgpack.encode(start))


def _ahead(core: Core, relay: str) -> int:
    return int.from_bytes(core.db.setting(f"{AHEAD} {relay}") or b"")


def greeted(core: Core, url: str) -> None:
    """A relay answered: what an earlier process or connection wanted to count there is over."""
    core.db.execute("DELETE FROM outbox WHERE relay = ? AND kind = ?", url, OutboxKind.START)


def listen(core: Core, url: str, now: int) -> None:
    """Have a channel for the counter wherever something may be encrypted for (HT-M-070)."""
    key = core.db.value("SELECT key FROM relay WHERE url = ?", url)
    if not isinstance(key, bytes) or not _talks_at(core, url):
        return
    at = keys.start(core.identity.device.seed, RelayKey(key))
    there = core.channel(at.channel)
    if there is None:
        with core.transaction():
            core.db.execute("DELETE FROM channel WHERE purpose = ? AND relay = ?", Purpose.START, url)
            key_packages.listen(core, at.channel, Purpose.START, OWNER, url, at, now)
    elif there.relay in core.counted and url not in core.counted:  # one relay that is known by two URLs
        with core.transaction():
            _stands(core, url, now)


def _talks_at(core: Core, url: str) -> bool:
    talks = "SELECT 1 FROM channel WHERE relay = ? AND purpose IN (?, ?) AND closed = 0"
    return url in core.own_relays() or bool(core.db.value(talks, url, Purpose.ERA, Purpose.FALLBACK))


def entry(core: Core, channel: Channel, event: EntryReceived, now: int) -> None:
    """A start: of this process, an earlier one, or of another copy."""
    relay = channel.relay
    own = outbox.sent_as(core, channel.channel, event.entry)
    if own is not None:
        _counted(core, own, now)
    try:
        kind, body = sealing.unseal(
            channel.seal_key,
            channel.channel,
            entry_class=event.entry_class,
            commit=event.commit,
            entry=event.entry,
        )
        start = msgspec.msgpack.decode(body, type=Start) if kind is sealing.BodyKind.START else None
    except (ContentError, msgspec.DecodeError):
        start = None  # the relay's own making
    known = last(core, relay)
    if start is not None and (start.number > known.number or (start.number == known.number and start.run != known.run)):
        ahead = max(_ahead(core, relay), start.number)  # the next process counts on from it
        core.db.put_setting(f"{AHEAD} {relay}", ahead.to_bytes(8))
        if relay in core.counted:
            _elsewhere(core, now)
    link = core.links.get(relay)
    if link is not None and channel.channel in link.caught_up and not _under_way(core, channel):
        _check(core, channel, now)


def _check(core: Core, channel: Channel, now: int) -> None:
    """The counter is read to its head: is this copy old? Then count this start (HT-M-071)."""
    relay = channel.relay
    if relay in core.counted or core.elsewhere:
        return
    if ahead := _ahead(core, relay):
        _put(core, relay, Start(1, ahead, core.run))
        core.db.put_setting(f"{AHEAD} {relay}", bytes(8))
        if core.db.setting(OLD) != core.run:  # once: what is joined after that has keys that no other copy has
            core.db.put_setting(OLD, core.run)
            _lose_everything(core, now)
    _count(core, channel)


def forgotten(core: Core, channel: Channel) -> None:
    """The relay lost the counter: say it again, so that a later copy is noticed."""
    if channel.relay in core.counted and not core.elsewhere:
        _count(core, channel)


def _under_way(core: Core, channel: Channel) -> bool:
    return bool(core.db.value("SELECT 1 FROM outbox WHERE channel = ?", channel.channel))


def stored(core: Core, frame: Outgoing, seq: int, now: int) -> None:
    """A relay says that it holds a start. The first counts when it comes back through the channel, as others will see
    it; if it does not, another one is tried later."""
    if frame.relay in core.counted:
        core.db.execute("DELETE FROM outbox WHERE number = ?", frame.number)
        return
    core.db.execute("UPDATE outbox SET stored_seq = ? WHERE number = ?", seq, frame.number)
    core.count_again_at = core.count_again_at or now + PAUSE


def _counted(core: Core, frame: Outgoing, now: int) -> None:
    """A start stands at a relay: there, this copy is the one that goes on (HT-M-071)."""
    core.db.execute("DELETE FROM outbox WHERE number = ?", frame.number)
    core.start_refusals.pop(frame.relay, None)
    if not core.counted:
        core.counted_at, core.sent_at_start = now, core.sent
    same = "SELECT other.url FROM relay JOIN relay AS other ON other.key = relay.key WHERE relay.url = ?"
    for (url,) in core.db.tuples(same, frame.relay):  # by whatever URL it is known
        _stands(core, str(url), now)


def _stands(core: Core, url: str, now: int) -> None:
    """What waited for this start to be counted at this relay goes on."""
    core.counted.add(url)
    for (conversation,) in core.db.tuples(
        "SELECT conversation.conversation FROM conversation JOIN channel ON channel.channel = conversation.channel "
        "WHERE state IN (?, ?) AND relay = ?",
        ConversationState.JOINED,
        ConversationState.LEAVING,
        url,
    ):
        if isinstance(conversation, bytes):
            sending.publish_unconfirmed(core, ConversationId(conversation), now, stored_before=0)
            sending.release(core, ConversationId(conversation), now)


def read(core: Core, channel_id: ChannelId, now: int) -> None:
    """The relay says that a channel is read to its head."""
    channel = core.channel(channel_id)
    if channel is not None and channel.purpose == Purpose.START:
        _check(core, channel, now)


def refused(core: Core, frame: Outgoing, turn: int, now: int) -> None:
    """Another start came first (it was pushed before the refusal), or the entries that made the turn have expired."""
    core.db.execute("DELETE FROM outbox WHERE number = ?", frame.number)
    core.db.execute("UPDATE channel SET turn = ? WHERE channel = ?", turn, frame.channel)
    refusals = core.start_refusals.get(frame.relay, 0) + 1
    core.start_refusals[frame.relay] = refusals
    if refusals % REFUSALS:
        read(core, frame.channel, now)
    else:  # it goes on refusing: said, and tried again later (HT-M-074)
        core.emit(events.Alarm(conversation=None, code="relay.stale-turn"))
        core.count_again_at = now + PAUSE


def due(core: Core, now: int) -> None:
    """Try again where a relay refused or did not show what it stored; count on while something is sent."""
    if core.count_again_at is not None and now >= core.count_again_at:
        with core.transaction():
            core.count_again_at = None
            for channel in core.db.find(Channel, "purpose = ? AND closed = 0", Purpose.START):
                link = core.links.get(channel.relay)
                waiting = core.db.value(
                    "SELECT 1 FROM outbox WHERE channel = ? AND stored_seq IS NULL", channel.channel
                )
                if link is not None and channel.channel in link.caught_up and not waiting:
                    _check(core, channel, now)
    if core.counted and not core.elsewhere and core.sent != core.sent_at_start and now >= core.counted_at + AGAIN:
        with core.transaction():
            core.sent_at_start, core.counted_at = core.sent, now
            for channel in core.db.find(Channel, "purpose = ? AND closed = 0", Purpose.START):
                if channel.relay in core.counted:
                    _count(core, channel)


def next_due(core: Core) -> int | None:
    found = [core.count_again_at] if core.count_again_at is not None else []
    if core.counted and not core.elsewhere and core.sent != core.sent_at_start:
        found.append(core.counted_at + AGAIN)
    return min(found, default=None)


def _count(core: Core, channel: Channel) -> None:
    start = Start(1, last(core, channel.relay).number + 1, core.run)
    _put(core, channel.relay, start)
    sealed = sealing.seal(
        channel.seal_key,
        channel.channel,
        entry_class=EntryClass.CONTROL,
        commit=True,
        kind=sealing.BodyKind.START,
        body=msgspec.msgpack.encode(start),
    )
    core.db.execute("DELETE FROM outbox WHERE channel = ?", channel.channel)
    frame = sending.frame_for(channel, kind=OutboxKind.START, owner=OWNER, entry=sealed, entry_class=EntryClass.CONTROL)
    row = core.channel(channel.channel) or channel
    core.db.insert(msgspec.structs.replace(frame, is_commit=1, turn=row.turn))


def _lose_everything(core: Core, now: int) -> None:
    """Every conversation may have gone on without this copy; so may what it would join (HT-M-072)."""
    core.notice(events.Alarm(conversation=None, code="profile.old-copy"), now)
    core.db.execute("UPDATE key_package SET stale = 1 WHERE used = 0")
    going.old_copy(core, now)
    for (conversation,) in core.db.tuples(
        "SELECT conversation FROM conversation WHERE state != ?", ConversationState.BROKEN
    ):
        if isinstance(conversation, bytes):
            resync.lost(core, ConversationId(conversation), "conversation.old-copy", now)


def _elsewhere(core: Core, now: int) -> None:
    """The same profile began elsewhere while it is open here: one of the two must end (HT-M-073)."""
    if not core.elsewhere:
        core.elsewhere = True
        core.notice(events.Alarm(conversation=None, code="profile.opened-elsewhere"), now)
