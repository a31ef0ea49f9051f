"""What every store of the relay does (one conformance suite: tests/stores/conformance.py).

A store is synchronous and owned by one thread. Writes come in batches: `apply` makes a whole batch durable in one
transaction and returns one result per operation, in order; a refused operation is a result, not an exception, and does
not disturb the others. Days are whole UTC days since 1970-01-01: nothing finer is ever stored (HT-R, retention).

Codes of a `Refusal` (spec/01-relay.md): ``stale-turn``, ``channel-full``, ``relay-full``, ``unknown-entry`` (an erase
beyond the head), ``wrong-token`` (an erase without the right token), ``too-many-readers``.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from hanatalk.errors import UsageError
from hanatalk.ids import ChannelId, EntryId, Incarnation, ReaderId, TakeId
from hanatalk.wire.classes import EntryClass


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """Days an entry may stay. An operator may only lower them.

    :raises UsageError: ``retention.range`` below one day or above the default.
    """

    message_days: int = 3  # classes message and attachment
    control_days: int = 30  # classes control and invite; also the channel's own row and its entry_ids
    taken_days: int = 1

    def __post_init__(self) -> None:
        for what, days, most in (
            ("message", self.message_days, 3),
            ("control", self.control_days, 30),
            ("taken", self.taken_days, 1),
        ):
            if not 1 <= days <= most:
                raise UsageError("retention.range", what=what, days=days, most=most)

    @property
    def answer_days(self) -> int:
        """Days an entry_id is remembered with its first answer (HT-S-012)."""
        return max(self.message_days, self.control_days)

    def days(self, entry_class: EntryClass) -> int:
        """Days an entry of this class may stay: one of day d goes at the start of d + this (HT-S-010)."""
        if entry_class in (EntryClass.MESSAGE, EntryClass.ATTACHMENT):
            return self.message_days
        return self.control_days


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """How much may be held at once. Bytes are the bytes of entries, as padded by the clients.

    Only control entries may use the last eighth of a channel's quota: a channel full of messages must still take the
    commit that removes the member who filled it (T-022).
    """

    channel_entries: int = 2_000_000
    channel_bytes: int = 1 << 30
    total_entries: int = 100_000_000
    total_bytes: int = 64 << 30
    channel_readers: int = 8_192


class Append(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Store an entry. Authorisation, sizes and field combinations were checked by `relay.policy` before."""

    channel_id: ChannelId
    entry_id: EntryId
    entry_class: EntryClass
    entry: bytes
    commit: bool = False  # only with class control: moves the channel's turn on by one
    turn: int | None = None  # None: append without a turn
    burn_after: int | None = None
    erase_hash: bytes | None = None  # SHA-256("hana/erase/1" || erase_token)
    incarnation: Incarnation  # used if this append creates the channel


class Acknowledge(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """This reader holds everything up to `seq`."""

    channel_id: ChannelId
    reader: ReaderId
    seq: int


class Take(msgspec.Struct, frozen=True, kw_only=True):
    """Reserve the oldest entry that nobody took for this take_id; the same take_id gets the same entry again."""

    channel_id: ChannelId
    take_id: TakeId


class Erase(msgspec.Struct, frozen=True, kw_only=True):
    """Remove an entry; `erase_token` must be the preimage of its erase_hash."""

    channel_id: ChannelId
    seq: int
    erase_token: bytes


Operation = Append | Acknowledge | Take | Erase


class Stored(msgspec.Struct, frozen=True, gc=False):
    """`turn` is the channel's turn after the entry. A repeated entry_id gets the first answer, `repeated` set."""

    seq: int
    turn: int
    repeated: bool = False


class Acknowledged(msgspec.Struct, frozen=True, gc=False):
    """How many entries this acknowledgement burned."""

    burned: int = 0


class Taken(msgspec.Struct, frozen=True):
    """The reserved entry; seq and entry are None if nothing is left (the refused take is counted)."""

    seq: int | None
    entry: bytes | None


class Erased(msgspec.Struct, frozen=True):
    """The entry is gone (or was gone already)."""


class Refusal(msgspec.Struct, frozen=True):
    """One operation was refused. `code` from the table in spec/01-relay.md, `turn` the current turn with stale-turn."""

    code: str
    turn: int | None = None


Result = Stored | Acknowledged | Taken | Erased | Refusal


class StoredEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry as it is pushed. `turn` is the channel's turn when it was appended (a commit's: before it moved)."""

    seq: int
    turn: int
    entry_class: EntryClass
    commit: bool
    entry: bytes


class ChannelState(msgspec.Struct, frozen=True, kw_only=True):
    """What OPEN answers. `head` is the last seq given out, 0 for none."""

    incarnation: Incarnation
    head: int
    turn: int
    refused_takes: int


class Expired(msgspec.Struct, frozen=True):
    """What one step of a sweep removed."""

    entries: int
    channels: int

    def __bool__(self) -> bool:
        """True while the sweep is to go on."""
        return bool(self.entries or self.channels)


class Held(msgspec.Struct, frozen=True):
    """How much is held in all: entries, and their bytes as padded by the clients.

    `by_class`: entries of each class, zeros included; None from a store that does not count them.
    """

    entries: int
    bytes: int
    by_class: Mapping[EntryClass, int] | None = None


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the warrant report: entries of one channel, class, day and padded size."""

    channel_id: ChannelId
    entry_class: EntryClass
    day: int
    size: int
    count: int


class Store(Protocol):
    """See the module's docstring."""

    def apply(self, operations: Sequence[Operation], *, day: int) -> list[Result]:
        """Make a batch durable. :raises StorageError: nothing of the batch was stored (disk full, I/O)."""
        ...

    def channel(self, channel_id: ChannelId) -> ChannelState | None:
        """State of a channel, None if the store never saw an append (or forgot it)."""
        ...

    def read(self, channel_id: ChannelId, *, after: int, entries: int, size: int) -> list[StoredEntry]:
        """Oldest first, at most `entries` and about `size` bytes (at least one entry if there is one)."""
        ...

    def control_hash(self, channel_id: ChannelId, seq: int) -> bytes:
        """Running hash over the control entries up to `seq` (32 zero bytes before the first).

        :raises StorageError: ``storage.forgotten``: a later control entry has expired, so the hash at `seq` is gone;
            also for a channel that the store does not know.
        """
        ...

    def expire(self, *, day: int) -> Expired:
        """Remove what is due on this day, bytes included: one bounded step; call it again while the answer is true.

        Only the step that finds nothing more has also emptied the write-ahead log (HT-S-015).
        """
        ...

    def tend(self) -> bool:
        """One bounded step (some milliseconds) of what `apply` put off: settling what arrived, checkpoints.

        Call it every few seconds, again and again while it answers True. What arrived before the last round of calls
        keeps no order across channels after this one (HT-S-022). A store that is never tended still bounds its work.

        :raises StorageError: the disk; nothing is lost, call it again later.
        """
        ...

    def held(self) -> Held:
        """How much is held in all; costs nothing."""
        ...

    def holdings(self) -> list[Holding]:
        """Everything held, for the warrant report."""
        ...

    def close(self) -> None: ...
