"""Everything in RAM: a relay that is switched off holds nothing, a restart is survived by the senders' outboxes.

Also the plain statement of what a store does; tests/stores compares the other stores with this one.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from hanatalk.errors import StorageError
from hanatalk.ids import ChannelId, EntryId, Incarnation, ReaderId, TakeId
from hanatalk.stores import rules
from hanatalk.stores.interface import (
    Acknowledge,
    Acknowledged,
    Append,
    ChannelState,
    Erase,
    Erased,
    Expired,
    Held,
    Holding,
    Operation,
    Quota,
    Refusal,
    Result,
    Retention,
    Stored,
    StoredEntry,
    Take,
    Taken,
)
from hanatalk.wire.channels import NO_CONTROL_HASH, next_control_hash
from hanatalk.wire.classes import EntryClass


@dataclass(slots=True)
class _Entry:
    stored: StoredEntry
    day: int
    burn_after: int | None
    erase_hash: bytes | None
    take_id: TakeId | None = None
    taken_day: int | None = None

    def due(self, retention: Retention) -> int:
        """First day on which the entry may not be here any more."""
        day = self.day + retention.days(self.stored.entry_class)
        return day if self.taken_day is None else min(day, self.taken_day + retention.taken_days)


@dataclass(slots=True)
class _Channel:
    incarnation: Incarnation
    head: int = 0
    turn: int = 0
    refused_takes: int = 0
    last_day: int = 0  # last day on which the channel held an entry
    held_bytes: int = 0
    burning: int = 0  # entries held that wait for readers
    entries: dict[int, _Entry] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)  # seqs ascending; may name entries that are gone
    answers: dict[EntryId, tuple[Stored, int]] = field(default_factory=dict)  # first answer and its day
    readers: dict[ReaderId, int] = field(default_factory=dict)
    control_seqs: list[int] = field(default_factory=lambda: [0])  # seqs whose hash is still known
    control_hashes: list[bytes] = field(default_factory=lambda: [NO_CONTROL_HASH])

    def after(self, seq: int) -> Iterator[_Entry]:
        for index in range(bisect_right(self.order, seq), len(self.order)):
            entry = self.entries.get(self.order[index])
            if entry is not None:
                yield entry

    def remove(self, seq: int, *, day: int) -> _Entry:
        entry = self.entries.pop(seq)
        if entry.burn_after is not None:
            self.burning -= 1
            if not self.burning:
                self.readers.clear()
        self.held_bytes -= len(entry.stored.entry)
        self.last_day = max(self.last_day, day)
        if len(self.order) > 2 * len(self.entries) + 16:
            self.order = sorted(self.entries)
        return entry


class MemoryStore:
    """A `Store` (see `hanatalk.stores.interface`) without a disk."""

    def __init__(self, *, retention: Retention | None = None, quota: Quota | None = None) -> None:
        self._retention = retention if retention is not None else Retention()
        self._quota = quota if quota is not None else Quota()
        self._channels: dict[ChannelId, _Channel] = {}
        self._held_entries = 0
        self._held_bytes = 0
        self._held_by_class = dict.fromkeys(EntryClass, 0)

    def apply(self, operations: Sequence[Operation], *, day: int) -> list[Result]:
        return [self._apply_one(operation, day) for operation in operations]

    def _apply_one(self, operation: Operation, day: int) -> Result:
        match operation:
            case Append():
                return self._append(operation, day)
            case Acknowledge():
                return self._acknowledge(operation, day)
            case Take():
                return self._take(operation, day)
            case Erase():
                return self._erase(operation, day)

    def _append(self, append: Append, day: int) -> Stored | Refusal:
        channel = self._channels.get(append.channel_id)
        fresh = channel is None
        if channel is None:
            channel = _Channel(append.incarnation)
        answer = channel.answers.get(append.entry_id)
        if answer is not None and answer[1] + self._retention.answer_days > day:
            return Stored(answer[0].seq, answer[0].turn, True)
        if append.turn is not None and append.turn != channel.turn:
            return Refusal("stale-turn", channel.turn)
        code = rules.over_quota(
            self._quota,
            append,
            channel=(len(channel.entries), channel.held_bytes),
            total=(self._held_entries, self._held_bytes),
        )
        if code is not None:
            return Refusal(code)
        if fresh:
            self._channels[append.channel_id] = channel
        channel.head += 1
        stored = StoredEntry(
            seq=channel.head,
            turn=channel.turn,
            entry_class=append.entry_class,
            commit=append.commit,
            entry=append.entry,
        )
        if append.entry_class is EntryClass.CONTROL:
            previous = channel.control_hashes[-1]
            channel.control_seqs.append(stored.seq)
            channel.control_hashes.append(
                next_control_hash(previous, seq=stored.seq, commit=append.commit, entry=append.entry)
            )
        if append.commit:
            channel.turn += 1
        channel.entries[stored.seq] = _Entry(
            stored=stored,
            day=day,
            burn_after=rules.burn_after(append),
            erase_hash=rules.erasable_by(append),
        )
        channel.burning += channel.entries[stored.seq].burn_after is not None
        channel.order.append(stored.seq)
        channel.last_day = max(channel.last_day, day)
        channel.held_bytes += len(append.entry)
        self._held_entries += 1
        self._held_by_class[append.entry_class] += 1
        self._held_bytes += len(append.entry)
        answered = Stored(stored.seq, channel.turn)
        channel.answers[append.entry_id] = (answered, day)
        return answered

    def _acknowledge(self, acknowledge: Acknowledge, day: int) -> Acknowledged | Refusal:
        channel = self._channels.get(acknowledge.channel_id)
        if channel is None:
            return Acknowledged()
        before = channel.readers.get(acknowledge.reader, 0)
        seq = min(acknowledge.seq, channel.head)
        if seq <= before or not channel.burning:
            return Acknowledged()  # nothing waits for this reader: who it is need not be remembered
        waiting = [
            (entry.stored.seq, entry.burn_after)
            for entry in takewhile(lambda entry: entry.stored.seq <= seq, channel.after(before))
            if entry.burn_after is not None
        ]
        if not waiting:
            return Acknowledged()
        if acknowledge.reader not in channel.readers and len(channel.readers) >= self._quota.channel_readers:
            return Refusal("too-many-readers")
        channel.readers[acknowledge.reader] = seq
        cursors = sorted(channel.readers.values())
        burned = 0
        for waiting_seq, readers in waiting:
            if len(cursors) - bisect_left(cursors, waiting_seq) >= readers:
                self._remove(channel, waiting_seq, day=day)
                burned += 1
        return Acknowledged(burned)

    def _take(self, take: Take, day: int) -> Taken:
        channel = self._channels.get(take.channel_id)
        if channel is None:
            return Taken(None, None)
        invites = [entry for entry in channel.after(0) if entry.stored.entry_class is EntryClass.INVITE]
        for entry in invites:
            if entry.take_id == take.take_id:
                return Taken(entry.stored.seq, entry.stored.entry)
        for entry in invites:
            if entry.take_id is None:
                entry.take_id, entry.taken_day = take.take_id, day
                return Taken(entry.stored.seq, entry.stored.entry)
        channel.refused_takes += 1
        return Taken(None, None)

    def _erase(self, erase: Erase, day: int) -> Erased | Refusal:
        channel = self._channels.get(erase.channel_id)
        if channel is None:
            return Erased()
        if erase.seq < 1 or erase.seq > channel.head:
            return Refusal("unknown-entry")
        entry = channel.entries.get(erase.seq)
        if entry is None:
            return Erased()
        if not rules.may_erase(entry.erase_hash, erase.erase_token):
            return Refusal("wrong-token")
        self._remove(channel, erase.seq, day=day)
        return Erased()

    def _remove(self, channel: _Channel, seq: int, *, day: int) -> None:
        entry = channel.remove(seq, day=day)
        self._held_entries -= 1
        self._held_by_class[entry.stored.entry_class] -= 1
        self._held_bytes -= len(entry.stored.entry)

    def channel(self, channel_id: ChannelId) -> ChannelState | None:
        channel = self._channels.get(channel_id)
        if channel is None:
            return None
        return ChannelState(
            incarnation=channel.incarnation,
            head=channel.head,
            turn=channel.turn,
            refused_takes=channel.refused_takes,
        )

    def read(self, channel_id: ChannelId, *, after: int, entries: int, size: int) -> list[StoredEntry]:
        channel = self._channels.get(channel_id)
        found: list[StoredEntry] = []
        if channel is None:
            return found
        for entry in channel.after(after):
            size -= len(entry.stored.entry)
            if len(found) >= entries or (found and size < 0):
                break
            found.append(entry.stored)
        return found

    def control_hash(self, channel_id: ChannelId, seq: int) -> bytes:
        channel = self._channels.get(channel_id)
        index = 0 if channel is None else bisect_right(channel.control_seqs, seq)
        if channel is None or index == 0:
            raise StorageError("storage.forgotten")
        return channel.control_hashes[index - 1]

    def expire(self, *, day: int) -> Expired:
        gone_entries = gone_channels = 0
        for channel_id, channel in list(self._channels.items()):
            for seq, entry in list(channel.entries.items()):
                due = entry.due(self._retention)
                if due <= day:
                    self._remove(channel, seq, day=due)
                    gone_entries += 1
                    if entry.stored.entry_class is EntryClass.CONTROL:
                        known = bisect_left(channel.control_seqs, seq)
                        del channel.control_seqs[:known], channel.control_hashes[:known]
            for entry_id, (_, answer_day) in list(channel.answers.items()):
                if answer_day + self._retention.answer_days <= day:
                    del channel.answers[entry_id]
            if not channel.entries and channel.last_day + self._retention.control_days <= day:
                del self._channels[channel_id]
                gone_channels += 1
        return Expired(gone_entries, gone_channels)

    def tend(self) -> bool:
        return False

    def held(self) -> Held:
        return Held(self._held_entries, self._held_bytes, dict(self._held_by_class))

    def holdings(self) -> list[Holding]:
        counts: dict[tuple[ChannelId, EntryClass, int, int], int] = {}
        for channel_id, channel in self._channels.items():
            for entry in channel.entries.values():
                key = (channel_id, entry.stored.entry_class, entry.day, len(entry.stored.entry))
                counts[key] = counts.get(key, 0) + 1
        return [
            Holding(channel_id=channel_id, entry_class=entry_class, day=day, size=size, count=count)
            for (channel_id, entry_class, day, size), count in sorted(counts.items())
        ]

    def close(self) -> None:
        self._channels.clear()
        self._held_entries = self._held_bytes = 0
        self._held_by_class = dict.fromkeys(EntryClass, 0)
