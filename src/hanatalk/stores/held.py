"""What the SQLite store keeps in RAM of its channels (HT-S-020). Rows say the same; this can be thrown away."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from hanatalk.ids import ChannelId, EntryId, Incarnation, ReaderId
from hanatalk.stores.shelves import Shelf, shelf_of
from hanatalk.wire.classes import EntryClass

SEQ_BITS = 32  # a row number of a shelf is channel number << SEQ_BITS | seq


class Fresh(msgspec.Struct, gc=False, eq=False):
    """A message or attachment that has just arrived, as a record says that is not settled yet.

    Out of the garbage collector's sight, there are many and they come and go: `Channels.lift` breaks the cycle.
    """

    n: int  # order of arrival
    side: int  # 0 or 1: on which its record is
    channel: "Channel"
    seq: int
    turn: int
    entry_class: EntryClass
    day: int
    size: int
    burn_after: int | None
    erase_hash: bytes | None
    entry_id: EntryId
    body: bytes | None  # None: gone, or `copied`
    alive: bool = True  # False: burned, erased or expired; only its answer is still to be settled
    copied: bool = False  # it lies on its shelf too

    @property
    def key(self) -> int:
        return self.channel.number << SEQ_BITS | self.seq

    @property
    def shelf(self) -> Shelf:
        return shelf_of(self.entry_class, self.day)


@dataclass(slots=True, eq=False)
class Channel:
    """A row of `channel`, with what has not been settled yet added to it."""

    number: int
    channel_id: ChannelId
    incarnation: Incarnation
    head: int
    turn: int
    refused_takes: int
    last_day: int
    control_hash: bytes
    control_base: int
    settled_entries: int
    settled_bytes: int
    settled_burning: int
    entries: int = 0  # with the fresh ones
    bytes: int = 0
    burning: int = 0
    has_answers: bool = True  # rows in `answers` may be its
    answered: bytearray | None = None  # a filter of the entry_ids in them (hanatalk.stores.answers)
    answers: int = 0  # how many the filter knows
    ids_cleaned: int = -1_000  # day up to which its old rows in `answers` were removed
    readers: dict[ReaderId, int] = field(default_factory=dict)
    readers_stored: bool = False  # rows in `reader` name it
    fresh: dict[int, Fresh] = field(default_factory=dict)  # by seq
    fresh_ids: dict[EntryId, Fresh] = field(default_factory=dict)
    waiting: dict[int, Fresh] = field(default_factory=dict)  # those on no shelf that wait for readers
    order: list[int] = field(default_factory=list)  # seqs of `fresh` ascending; may name some that are gone

    def __post_init__(self) -> None:
        self.entries, self.bytes, self.burning = self.settled_entries, self.settled_bytes, self.settled_burning

    @property
    def first_key(self) -> int:
        """Smaller than every row number of this channel's entries (their seq is at least 1)."""
        return self.number << SEQ_BITS

    @property
    def end_key(self) -> int:
        return (self.number + 1) << SEQ_BITS

    def add(self, fresh: Fresh) -> None:
        seq = fresh.seq
        self.fresh[seq] = fresh
        self.fresh_ids[fresh.entry_id] = fresh
        self.order.append(seq)
        if seq > self.head:
            self.head = seq
        if fresh.day > self.last_day:
            self.last_day = fresh.day
        if fresh.alive and not fresh.copied:
            self.entries += 1
            self.bytes += fresh.size
            if fresh.burn_after is not None:
                self.burning += 1
                self.waiting[seq] = fresh

    def count(self, size: int, *, burns: bool) -> None:
        """One entry more is held."""
        self.entries += 1
        self.bytes += size
        self.burning += burns

    def discount(self, size: int, *, count: int, burning: int) -> None:
        """So many entries of together `size` bytes are held no more, `burning` of them waited for readers."""
        self.entries -= count
        self.bytes -= size
        self.burning -= burning

    def settle(self, size: int, *, burns: bool) -> None:
        """A fresh entry lies on its shelf now."""
        self.settled_entries += 1
        self.settled_bytes += size
        self.settled_burning += burns

    def unsettle(self, size: int, *, burns: bool) -> None:
        """An entry left its shelf."""
        self.settled_entries -= 1
        self.settled_bytes -= size
        self.settled_burning -= burns

    def tidy(self) -> None:
        """Some of `fresh` is settled and gone."""
        if not self.fresh:
            self.order.clear()
        elif len(self.order) > 2 * len(self.fresh) + 16:
            self.order = sorted(self.fresh)

    def clear(self) -> None:
        """Break the cycles with what is fresh."""
        self.fresh.clear()
        self.fresh_ids.clear()
        self.waiting.clear()

    def unsettled(self, *, after: int, until: int | None = None) -> Iterator[Fresh]:
        """Fresh entries that are held and lie on no shelf, oldest first, after < seq <= until."""
        order = self.order
        for index in range(bisect_right(order, after), len(order)):
            if until is not None and order[index] > until:
                return
            fresh = self.fresh.get(order[index])
            if fresh is not None and fresh.alive and not fresh.copied:
                yield fresh


def runs(numbers: list[int]) -> list[tuple[int, int]]:
    """The same numbers as first and last of each unbroken run; sorts the list."""
    numbers.sort()
    found: list[tuple[int, int]] = []
    first = last = numbers[0]
    for number in numbers:
        if number > last + 1:
            found.append((first, last))
            first = number
        last = number
    found.append((first, last))
    return found
