"""Is this profile an old copy? A counter at the own relay, written at every start (HT-M-070 … HT-M-074).

Keys that an old copy would use again were used already. So nothing is numbered or encrypted before the counter was read
and written; whoever finds a higher one is old, and asks to be added again everywhere.
"""

from typing import Annotated

import msgspec

from hanatalk.client import events
from hanatalk.client.engine import key_packages, keys, resync, sealing, sending
from hanatalk.client.engine.core import Core
from hanatalk.errors import ContentError
from hanatalk.ids import ChannelId, ConversationId, RelayKey
from hanatalk.localdb.rows import Channel, ConversationState, OutboxKind, Outgoing, Purpose
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.events import EntryReceived

OWNER = b"start"  # of the channels and frames
SETTING = "start"
AHEAD = "start-ahead"  # a start that this copy does not know of
WAIT = 60_000  # milliseconds for an own relay to be reached; then this device goes on unchecked
FAILURES = 2  # of an own relay in a row, while another is reached
REFUSALS = 5  # by the turn, of one process
AGAIN = 3_600_000  # milliseconds after which a device that sends counts on


class Start(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One start of a profile: its number, and which process it was."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    number: Annotated[int, msgspec.Meta(ge=0, lt=2**48)]
    run: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


def last(core: Core) -> Start:
    """The last start that this copy of the profile knows of."""
    raw = core.db.setting(SETTING)
    return msgspec.msgpack.decode(raw, type=Start) if raw is not None else Start(1, 0, bytes(16))


def _ahead(core: Core) -> int:
    return int.from_bytes(core.db.setting(AHEAD) or b"")


def listen(core: Core, url: str, key: RelayKey, now: int) -> None:
    """An own relay answered: its channel for the counter is read (HT-M-070)."""
    at = keys.start(core.identity.device.seed, key)
    if core.channel(at.channel) is None:
        core.db.execute("DELETE FROM channel WHERE purpose = ? AND relay = ?", Purpose.START, url)
        key_packages.listen(core, at.channel, Purpose.START, OWNER, url, at, now)
    core.db.execute("DELETE FROM outbox WHERE owner = ? AND relay = ?", OWNER, url)  # of a process that is gone


def entry(core: Core, channel: Channel, event: EntryReceived, now: int) -> None:
    """A start: of this process, an earlier one, or of another copy."""
    own = core.db.first(Outgoing, "channel = ? AND entry = ?", channel.channel, event.entry)
    if own is not None:
        stored(core, own, now)
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
    known = last(core)
    if start is not None and (start.number > known.number or (start.number == known.number and start.run != known.run)):
        core.db.put_setting(AHEAD, max(_ahead(core), start.number).to_bytes(8))  # the next process counts on from it
        if core.cleared:
            _elsewhere(core, now)
    link = core.links.get(channel.relay)
    if not core.counted and link is not None and channel.channel in link.caught_up:
        check(core, channel, now)


def check(core: Core, channel: Channel, now: int) -> None:
    """The counter is read to its head: is this copy old? Then count this start (HT-M-071)."""
    if core.counted or core.elsewhere:
        return
    if _ahead(core) and not core.cleared:
        _old_copy(core, now)
    _count(core, channel)


def forgotten(core: Core, channel: Channel) -> None:
    """The relay lost the counter: say it again, so that a later copy is noticed."""
    if core.cleared and not core.elsewhere:
        _count(core, channel)


def stored(core: Core, frame: Outgoing, now: int) -> None:
    """A start is counted: from here on this copy is the one that goes on (HT-M-071)."""
    core.db.execute("DELETE FROM outbox WHERE number = ?", frame.number)
    core.counted = True
    if not core.cleared:
        _clear(core, now)


def read(core: Core, channel_id: ChannelId, now: int) -> None:
    """The relay says that a channel is read to its head."""
    channel = core.channel(channel_id)
    if channel is not None and channel.purpose == Purpose.START:
        check(core, channel, now)


def refused(core: Core, frame: Outgoing, turn: int, now: int) -> None:
    """Another start came first (it was pushed before the refusal), or the entries that made the turn have expired."""
    core.db.execute("DELETE FROM outbox WHERE number = ?", frame.number)
    core.db.execute("UPDATE channel SET turn = ? WHERE channel = ?", turn, frame.channel)
    core.start_refusals += 1
    if core.start_refusals <= REFUSALS:  # a relay that goes on refusing: see `due`
        read(core, frame.channel, now)


def failed(core: Core, url: str, now: int) -> None:
    """An own relay was tried in vain while another was reached: what is said there need not wait for it (HT-M-074)."""
    if core.cleared or url not in core.own_relays() or not any(link.ready for link in core.links.values()):
        return
    core.start_failures += 1
    if core.start_failures >= FAILURES:
        with core.transaction():
            _go_on_unchecked(core, now)


def _go_on_unchecked(core: Core, now: int) -> None:
    core.emit(events.Alarm(conversation=None, code="profile.unchecked"))
    _clear(core, now)


def due(core: Core, now: int) -> None:
    """Go on unchecked when no own relay can be reached; count on while something is sent."""
    if not core.cleared and core.began_at is not None and now >= core.began_at + WAIT:
        with core.transaction():
            _go_on_unchecked(core, now)
    if core.cleared and not core.elsewhere and core.sent != core.sent_at_start and now >= core.counted_at + AGAIN:
        with core.transaction():
            core.sent_at_start, core.counted_at = core.sent, now
            for channel in core.db.find(Channel, "purpose = ? AND closed = 0", Purpose.START):
                _count(core, channel)


def next_due(core: Core) -> int | None:
    if not core.cleared:
        return core.began_at + WAIT if core.began_at is not None else None
    if core.elsewhere or core.sent == core.sent_at_start:
        return None
    return core.counted_at + AGAIN


def _count(core: Core, channel: Channel) -> None:
    start = Start(1, last(core).number + 1, core.run)
    core.db.put_setting(SETTING, msgspec.msgpack.encode(start))
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


def _clear(core: Core, now: int) -> None:
    core.cleared = True
    core.counted_at, core.sent_at_start = now, core.sent
    for (conversation,) in core.db.tuples(
        "SELECT conversation FROM conversation WHERE state = ?", ConversationState.JOINED
    ):
        if isinstance(conversation, bytes):
            sending.publish_unconfirmed(core, ConversationId(conversation), now, stored_before=0)
            sending.release(core, ConversationId(conversation), now)


def _old_copy(core: Core, now: int) -> None:
    """Every conversation may have gone on without this copy; so may what it would join (HT-M-072)."""
    core.db.put_setting(SETTING, msgspec.msgpack.encode(Start(1, _ahead(core), core.run)))
    core.db.put_setting(AHEAD, bytes(8))
    core.notice(events.Alarm(conversation=None, code="profile.old-copy"), now)
    core.db.execute("UPDATE key_package SET stale = 1 WHERE used = 0")
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
