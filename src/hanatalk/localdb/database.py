"""The profile's encrypted SQLite file: transactions, rows in and out, numbered schema changes. Synchronous.

Every write happens inside `Database.transaction`; whoever caches something that the rows say must drop it when the
transaction rolls back (the engine does so with its MLS handles).
"""

import contextlib
import functools
import importlib.resources
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from hanatalk.errors import StorageError
from hanatalk.localdb.cipher import mapped_errors, open_database
from hanatalk.localdb.rows import Row

FILE = "profile.sqlite3"
VERSION = 1

R = TypeVar("R", bound=Row)
Value = str | bytes | int | None
MlsWrites = list[tuple[bytes, bytes | None]]


@functools.cache
def _columns(kind: type[Row]) -> str:
    return ", ".join(kind.__struct_fields__)


@functools.cache
def _insert(kind: type[Row], verb: str) -> str:
    marks = ", ".join("?" * len(kind.__struct_fields__))
    return f"{verb} INTO {kind.table} ({_columns(kind)}) VALUES ({marks})"


class Database:
    """An open local database. Not safe for several threads; one process owns it (`localdb.lock`)."""

    def __init__(self, path: Path, key: bytes) -> None:
        """Open, creating it if it is not there, and bring its schema up to date.

        :raises StorageError: ``storage.foreign``, ``storage.newer``, ``storage.full``, ``storage.io``
        """
        self._connection = open_database(path, key=key)
        self._in_transaction = False
        self._migrate()

    def _migrate(self) -> None:
        with self.transaction():
            version = self.number("PRAGMA user_version")
            if version > VERSION:
                raise StorageError("storage.newer", version=version)
            for step in range(version + 1, VERSION + 1):
                script = importlib.resources.files("hanatalk.localdb").joinpath(f"schema/{step:04}.sql").read_text()
                self._connection.execute(script)
                self._connection.execute(f"PRAGMA user_version = {step}")

    def close(self) -> None:
        """Checkpoint and close."""
        self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """One `BEGIN IMMEDIATE` … `COMMIT`; any exception rolls everything back and goes on. Does not nest.

        :raises StorageError: the disk said no
        """
        if self._in_transaction:
            raise RuntimeError("transactions do not nest")
        with mapped_errors():
            self._connection.execute("BEGIN IMMEDIATE")
        self._in_transaction = True
        try:
            with mapped_errors():
                yield
                self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        finally:
            self._in_transaction = False

    def execute(self, sql: str, *values: Value) -> int:
        """Run one statement; returns the number of changed rows."""
        self._connection.execute(sql, values)
        return self._connection.changes()

    def value(self, sql: str, *values: Value) -> Value:
        """First column of the first row, None if there is none."""
        row = self._connection.execute(sql, values).fetchone()
        found: Value = None if row is None else row[0]
        return found

    def number(self, sql: str, *values: Value) -> int:
        """Like `value`, for counts and maxima; NULL is 0."""
        found = self.value(sql, *values)
        return found if isinstance(found, int) else 0

    def tuples(self, sql: str, *values: Value) -> list[tuple[Value, ...]]:
        """All rows of a query."""
        return list(self._connection.execute(sql, values))

    def find(self, kind: type[R], where: str, *values: Value) -> list[R]:
        """All rows of a table for which `where` holds (it may end in ORDER BY and LIMIT)."""
        sql = f"SELECT {_columns(kind)} FROM {kind.table} WHERE {where}"  # noqa: S608 (our own literals)
        return [kind(*row) for row in self._connection.execute(sql, values)]

    def first(self, kind: type[R], where: str, *values: Value) -> R | None:
        """The first row, or None."""
        found = self.find(kind, f"{where} LIMIT 1", *values)
        return found[0] if found else None

    def insert(self, row: Row) -> int:
        """Add a row; returns its rowid. :raises StorageError: ``storage.constraint``"""
        self._connection.execute(_insert(type(row), "INSERT"), _values(row))
        return self._connection.last_insert_rowid()

    def put(self, row: Row) -> None:
        """Add a row or replace the one with its primary key."""
        self._connection.execute(_insert(type(row), "INSERT OR REPLACE"), _values(row))

    def setting(self, key: str) -> bytes | None:
        found = self.value("SELECT value FROM setting WHERE key = ?", key)
        return found if isinstance(found, bytes) else None

    def put_setting(self, key: str, value: bytes) -> None:
        self.execute("INSERT OR REPLACE INTO setting (key, value) VALUES (?, ?)", key, value)

    def mls_rows(self, owner: bytes) -> list[tuple[bytes, bytes]]:
        """OpenMLS's rows of a group or a KeyPackage."""
        return list(self._connection.execute("SELECT key, value FROM mls WHERE owner = ?", (owner,)))

    def mls_write(self, owner: bytes, writes: MlsWrites) -> None:
        """Apply the writes of one call of the binding, in order."""
        for key, value in writes:
            if value is None:
                self._connection.execute("DELETE FROM mls WHERE owner = ? AND key = ?", (owner, key))
            else:
                self._connection.execute(
                    "INSERT OR REPLACE INTO mls (owner, key, value) VALUES (?, ?, ?)", (owner, key, value)
                )

    def mls_delete(self, owner: bytes) -> None:
        self._connection.execute("DELETE FROM mls WHERE owner = ?", (owner,))


def _values(row: Row) -> tuple[Value, ...]:
    return tuple(getattr(row, field) for field in row.__struct_fields__)
