"""What is due on a day, found in bounded steps (HT-S-010 … HT-S-013)."""

from collections.abc import Callable
from typing import Protocol

from hanatalk.cipherfile import EncryptedConnection
from hanatalk.stores.interface import Expired, Retention
from hanatalk.wire.classes import EntryClass

ENTRIES_AT_ONCE = 500
CHANNELS_AT_ONCE = 200


class Remove(Protocol):
    """Takes an entry out of the store; `due` is the first day on which it may not be there any more."""

    def __call__(self, key: int, entry_class: EntryClass, size: int, *, burns: bool, due: int) -> None: ...


class Sweep:
    """Looks only at what is settled; the caller settles first what is due and still landing."""

    def __init__(self, connection: EncryptedConnection, retention: Retention) -> None:
        self._connection = connection
        self._retention = retention
        self._empty_on = -1  # the last day on which no channel was due after a whole look

    def step(self, day: int, *, remove: Remove, forget: Callable[[int], bool]) -> Expired:
        """Inside the caller's transaction. Entries first, then the rows of channels, their entry_ids with them."""
        entries = self._entries(day, remove)
        if entries:
            self._empty_on = -1
            return Expired(entries, 0)
        return Expired(0, self._channels(day, forget))

    def _entries(self, day: int, remove: Remove) -> int:
        retention = self._retention
        rows = self._connection.all(
            "SELECT n, length(body), taken_day, day FROM invite JOIN entry USING (n) WHERE taken_day <= ? LIMIT ?",
            (day - retention.taken_days, ENTRIES_AT_ONCE),
        )
        for n, size, taken_day, appended in rows:
            due = min(taken_day + retention.taken_days, appended + retention.days(EntryClass.INVITE))
            remove(n, EntryClass.INVITE, size, burns=False, due=due)
        removed = len(rows)
        for entry_class in EntryClass:
            days = retention.days(entry_class)
            rows = self._connection.all(
                "SELECT n, length(body), burn_after IS NOT NULL, day FROM entry WHERE class = ? AND day <= ? LIMIT ?",
                (int(entry_class), day - days, ENTRIES_AT_ONCE - removed),
            )
            for n, size, burns, appended in rows:
                remove(n, entry_class, size, burns=bool(burns), due=appended + days)
            removed += len(rows)
        return removed

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
