"""The tables of settled entries, one per day and length of stay (schema/shelf.sql; HT-S-013, HT-S-021)."""

import re
from collections.abc import Iterator
from importlib import resources

import msgspec

from hanatalk.cipherfile import EncryptedConnection
from hanatalk.stores.interface import Retention
from hanatalk.stores.rules import BURNS
from hanatalk.wire.classes import EntryClass

_NAME = re.compile(r"(short|long)_(\d+)")


class Shelf(msgspec.Struct, frozen=True, order=True):
    """One of these tables."""

    short: bool  # messages and attachments
    day: int

    @property
    def table(self) -> str:
        return f"{'short' if self.short else 'long'}_{self.day}"

    def days(self, retention: Retention) -> int:
        """How many days its entries stay."""
        return retention.message_days if self.short else retention.control_days


def shelf_of(entry_class: EntryClass, day: int) -> Shelf:
    return Shelf(entry_class in BURNS, day)


class Shelves:
    """Which of them there are, and the statements over all of them. Whoever rolls back calls `reload`."""

    def __init__(self, connection: EncryptedConnection) -> None:
        self._connection = connection
        self._template = resources.files("hanatalk.stores").joinpath("schema/shelf.sql").read_text()
        self._there: list[Shelf] = []
        self._worn: set[Shelf] = set()  # entries left them since they were made or renewed
        self.reload()

    def reload(self) -> None:
        self._there = list_shelves(self._connection)
        self._worn = set(self._there)
        self._compose()

    def _compose(self) -> None:
        """Statements over all shelves; their terms come sorted by `n`, so that nothing is sorted or kept in between."""
        terms = [f"SELECT n, turn, class, is_commit, body FROM {s.table} WHERE n > ?1 AND n < ?2" for s in self._there]  # noqa: S608
        self.reading = " UNION ALL ".join(terms) + " ORDER BY n LIMIT ?3"
        self.waiting = " UNION ALL ".join(
            f"SELECT n, burn_after, length(body), {shelf.day} FROM {shelf.table}"  # noqa: S608
            " WHERE n > ?1 AND n <= ?2 AND burn_after IS NOT NULL"
            for shelf in self._there
            if shelf.short
        )
        self.finding = " UNION ALL ".join(
            f"SELECT {shelf.short:d}, {shelf.day}, erase_hash, length(body), burn_after IS NOT NULL"  # noqa: S608
            f" FROM {shelf.table} WHERE n = ?1"
            for shelf in self._there
        )

    def __iter__(self) -> Iterator[Shelf]:
        return iter(self._there)

    def open(self, shelf: Shelf) -> str:
        """Its table's name; makes the table if there is none."""
        if shelf not in self._there:
            self._connection.execute(self._template.format(table=shelf.table))
            self._there = sorted([*self._there, shelf])
            self._compose()
        return shelf.table

    def remove(self, shelf: Shelf, key: int) -> None:
        """Delete an entry's row."""
        self._connection.execute(f"DELETE FROM {shelf.table} WHERE n = ?", (key,))  # noqa: S608
        self._worn.add(shelf)

    def due(self, day: int, retention: Retention) -> Shelf | None:
        """One whose entries may not be here any more on this day."""
        return next((shelf for shelf in self._there if shelf.day + shelf.days(retention) <= day), None)

    def drop(self, shelf: Shelf) -> None:
        """Remove an empty table with every page it had."""
        self._connection.execute(f"DROP TABLE {shelf.table}")
        self._there.remove(shelf)
        self._worn.discard(shelf)
        self._compose()

    @property
    def worn(self) -> bool:
        return bool(self._worn)

    def renew(self) -> None:
        """Write one that entries have left anew, so that the slack of its pages holds no copies of them."""
        shelf = self._worn.pop()
        self._connection.execute(self._template.format(table="renewed"))
        self._connection.execute(f"INSERT INTO renewed SELECT * FROM {shelf.table} ORDER BY n")  # noqa: S608
        self._connection.execute(f"DROP TABLE {shelf.table}")
        self._connection.execute(f"ALTER TABLE renewed RENAME TO {shelf.table}")


def list_shelves(connection: EncryptedConnection) -> list[Shelf]:
    """The tables that there are; works in a process that only reads."""
    found = (_NAME.fullmatch(name) for (name,) in connection.all("SELECT name FROM sqlite_schema WHERE type = 'table'"))
    return sorted(Shelf(match[1] == "short", int(match[2])) for match in found if match)
