"""What is due on a day, found in bounded steps (HT-S-010 … HT-S-013)."""

from collections.abc import Callable
from typing import Protocol

from hanatalk.cipherfile import EncryptedConnection
from hanatalk.stores.interface import Expired, Retention
from hanatalk.stores.shelves import Shelf, Shelves, shelf_of
from hanatalk.wire.classes import EntryClass

ENTRIES_AT_ONCE = 500  # HT-S-016
CHANNELS_AT_ONCE = 200


class Remove(Protocol):
    """Takes an entry out of the store; `due` is the first day on which it may not be there any more."""

    def __call__(
        self, shelf: Shelf, key: int, size: int, *, entry_class: EntryClass, burns: bool, due: int
    ) -> None: ...


class Sweep:
    """Looks only at what is settled; the caller settles first what is due and still landing."""

    def __init__(self, connection: EncryptedConnection, shelves: Shelves, retention: Retention) -> None:
        self._connection = connection
        self._shelves = shelves
        self._retention = retention
        self._empty_on = -1  # the last day on which no channel was due after a whole look

    def step(self, day: int, *, remove: Remove, forget: Callable[[int], bool]) -> Expired:
        """Inside the caller's transaction. Entries first, then the rows of channels, their entry_ids with them."""
        entries = self._taken(day, remove) or self._shelf(day, remove)
        if entries:
            self._empty_on = -1
            return Expired(entries, 0)
        return Expired(0, self._channels(day, forget))

    def _taken(self, day: int, remove: Remove) -> int:
        retention = self._retention
        rows = self._connection.all(
            "SELECT n, day, taken_day FROM invite WHERE taken_day <= ? LIMIT ?",
            (day - retention.taken_days, ENTRIES_AT_ONCE),
        )
        for n, appended, taken_day in rows:
            shelf = shelf_of(EntryClass.INVITE, appended)
            (size,) = self._connection.only(f"SELECT length(body) FROM {shelf.table} WHERE n = ?", (n,))  # noqa: S608
            due = min(taken_day + retention.taken_days, appended + shelf.days(retention))
            remove(shelf, n, size, entry_class=EntryClass.INVITE, burns=False, due=due)
        return len(rows)

    def _shelf(self, day: int, remove: Remove) -> int:
        """Empty a part of one that is due; drop those that are empty."""
        while (shelf := self._shelves.due(day, self._retention)) is not None:
            rows = self._connection.all(
                f"SELECT n, class, length(body), burn_after IS NOT NULL FROM {shelf.table} LIMIT ?",  # noqa: S608
                (ENTRIES_AT_ONCE,),
            )
            due = shelf.day + shelf.days(self._retention)
            for n, entry_class, size, burns in rows:
                remove(shelf, n, size, entry_class=EntryClass(entry_class), burns=bool(burns), due=due)
            if len(rows) < ENTRIES_AT_ONCE:
                self._shelves.drop(shelf)
            if rows:
                return len(rows)
        return 0

    def _channels(self, day: int, forget: Callable[[int], bool]) -> int:
        """The one look at a whole table; it is small, and looked at once a day if nothing is due."""
        if self._empty_on == day:
            return 0
        rows = self._connection.all(
            "SELECT number FROM channel WHERE entries = 0 AND last_day <= ?", (day - self._retention.control_days,)
        )
        forgotten = 0
        for (number,) in rows:
            forgotten += forget(number)
            if forgotten == CHANNELS_AT_ONCE:
                return forgotten
        if not forgotten:
            self._empty_on = day
        return forgotten
