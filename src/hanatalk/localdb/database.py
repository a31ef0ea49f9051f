"""The profile's encrypted SQLite file: transactions, rows in and out, numbered schema changes. Synchronous.

Every write happens inside `Database.transaction`; whoever caches something that the rows say must drop it when the
transaction rolls back (the engine does so with its MLS handles).
"""

import contextlib
import functools
import importlib.resources
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import apsw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hanatalk.errors import StorageError
from hanatalk.localdb.chunks import ChunkFiles
from hanatalk.localdb.cipher import mapped_errors, open_database, storage_error
from hanatalk.localdb.rows import Row

FILE = "profile.sqlite3"
VERSION = 17
SEAL_KEY = 32  # bytes
_FREE = bytes(SEAL_KEY)  # what stands in a slot that is free
_NONCE = bytes(12)  # every key seals once

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
    """An open local database. Not safe for several threads; one process owns it (`localdb.lock`).

    Everything here raises `StorageError` if the disk says no, reads outside of transactions too (HT-S-080).
    """

    def __init__(self, path: Path, key: bytes) -> None:
        """Open, creating it if it is not there, and bring its schema up to date.

        :raises StorageError: ``storage.foreign``, ``storage.newer``, ``storage.full``, ``storage.io``
        """
        self._connection = open_database(path, key=key)
        self.files = ChunkFiles(path.with_suffix(".files"))  # of attachments
        self._in_transaction = False
        self._changes = self._connection.total_changes()
        self._migrate()
        self.log_holds = True  # a process that was killed may have left what was to go

    def _migrate(self) -> None:
        with self.transaction():
            version = self.number("PRAGMA user_version")
            if version > VERSION:
                raise StorageError("storage.newer", version=version)
            for step in range(version + 1, VERSION + 1):
                script = importlib.resources.files("hanatalk.localdb").joinpath(f"schema/{step:04}.sql").read_text()
                self._connection.execute(script)
                if step == 2:
                    self._seal_open_rows()
                self._connection.execute(f"PRAGMA user_version = {step}")
        if version == 1:
            self._connection.compact()  # what the step moved has left copies

    def _seal_open_rows(self) -> None:
        for owner, key, value in self.tuples("SELECT owner, key, value FROM mls_open"):
            if isinstance(owner, bytes) and isinstance(key, bytes) and isinstance(value, bytes):
                self.mls_write(owner, [(key, value)])
        self._connection.execute("DROP TABLE mls_open")

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
        self._in_transaction = True
        try:
            with mapped_errors(), self._connection.changing():
                yield
            if self._connection.total_changes() != self._changes:
                self._changes = self._connection.total_changes()
                self.log_holds = True
        finally:
            self._in_transaction = False

    def _run(self, sql: str, values: tuple[Value, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except apsw.Error as error:
            self._refuse(error)

    def _refuse(self, error: apsw.Error) -> NoReturn:
        # Inside a transaction it stays what it is until `transaction` has rolled back: nobody in between, who skips
        # what a peer sent wrong, may take it for that and go on.
        found = None if self._in_transaction else storage_error(error)
        if found is None:
            raise error
        raise found from error

    def execute(self, sql: str, *values: Value) -> int:
        """Run one statement; returns the number of changed rows."""
        self._run(sql, values)
        return self._connection.changes()

    def value(self, sql: str, *values: Value) -> Value:
        """First column of the first row, None if there is none."""
        try:
            row = self._connection.execute(sql, values).fetchone()
        except apsw.Error as error:
            self._refuse(error)
        found: Value = None if row is None else row[0]
        return found

    def number(self, sql: str, *values: Value) -> int:
        """Like `value`, for counts and maxima; NULL is 0."""
        found = self.value(sql, *values)
        return found if isinstance(found, int) else 0

    def tuples(self, sql: str, *values: Value) -> list[tuple[Value, ...]]:
        """All rows of a query."""
        return self._run(sql, values)

    def find(self, kind: type[R], where: str, *values: Value) -> list[R]:
        """All rows of a table for which `where` holds (it may end in ORDER BY and LIMIT)."""
        sql = f"SELECT {_columns(kind)} FROM {kind.table} WHERE {where}"  # noqa: S608 (our own literals)
        return [kind(*row) for row in self._run(sql, values)]

    def first(self, kind: type[R], where: str, *values: Value) -> R | None:
        """The first row, or None."""
        found = self.find(kind, f"{where} LIMIT 1", *values)
        return found[0] if found else None

    def insert(self, row: Row) -> int:
        """Add a row; returns its rowid."""
        self._run(_insert(type(row), "INSERT"), _values(row))
        return self._connection.last_insert_rowid()

    def put(self, row: Row) -> None:
        """Add a row or replace the one with its primary key."""
        self._run(_insert(type(row), "INSERT OR REPLACE"), _values(row))

    def setting(self, key: str) -> bytes | None:
        found = self.value("SELECT value FROM setting WHERE key = ?", key)
        return found if isinstance(found, bytes) else None

    def put_setting(self, key: str, value: bytes) -> None:
        self.execute("INSERT OR REPLACE INTO setting (key, value) VALUES (?, ?)", key, value)

    def empty_log(self) -> bool:
        """Copy the write-ahead log into the database and cut it to nothing: it still holds what was removed (HT-S-064).

        :returns: False while somebody else reads the file; then ask again
        :raises StorageError: the disk said no
        """
        with mapped_errors():
            busy = self.number("PRAGMA wal_checkpoint(TRUNCATE)")
        self.log_holds = bool(busy)
        return not busy

    # rows of OpenMLS, sealed (HT-S-062) -----------------------------------------------------------------------

    def mls_rows(self, owner: bytes) -> list[tuple[bytes, bytes]]:
        """OpenMLS's rows of a group or a KeyPackage. :raises StorageError: ``storage.broken``"""
        rows = self._run("SELECT mls.key, value, seal.key FROM mls JOIN seal USING (slot) WHERE owner = ?", (owner,))
        return [(key, _unseal(seal, value, owner + key)) for key, value, seal in rows]

    def mls_write(self, owner: bytes, writes: MlsWrites) -> None:
        """Apply the writes of one call of the binding, in order."""
        for key, value in writes:
            slot = self.value("SELECT slot FROM mls WHERE owner = ? AND key = ?", owner, key)
            if value is None:
                if isinstance(slot, int):
                    self._run("DELETE FROM mls WHERE owner = ? AND key = ?", (owner, key))
                    self._free(slot)
                continue
            seal = os.urandom(SEAL_KEY)
            if isinstance(slot, int):
                self._run("UPDATE seal SET key = ? WHERE slot = ?", (seal, slot))
            else:
                slot = self._take_slot(seal)
            sealed = AESGCM(seal).encrypt(_NONCE, value, owner + key)
            self._run(
                "INSERT OR REPLACE INTO mls (owner, key, slot, value) VALUES (?, ?, ?, ?)", (owner, key, slot, sealed)
            )

    def mls_delete(self, owner: bytes) -> None:
        """Forget a group or a KeyPackage."""
        for (slot,) in self.tuples("SELECT slot FROM mls WHERE owner = ?", owner):
            if isinstance(slot, int):
                self._free(slot)
        self._run("DELETE FROM mls WHERE owner = ?", (owner,))

    def seal_new(self) -> tuple[int, bytes]:
        """A slot with a new random key, for what is sealed elsewhere (`localdb.segments`)."""
        seal = os.urandom(SEAL_KEY)
        return self._take_slot(seal), seal

    def seal_free(self, slot: int) -> None:
        """Overwrite a slot's key: what it sealed opens no more."""
        self._free(slot)

    def _take_slot(self, seal: bytes) -> int:
        free = self.value("SELECT min(slot) FROM free_slot")
        if not isinstance(free, int):
            self._run("INSERT INTO seal (key) VALUES (?)", (seal,))
            return self._connection.last_insert_rowid()
        self._run("DELETE FROM free_slot WHERE slot = ?", (free,))
        self._run("UPDATE seal SET key = ? WHERE slot = ?", (seal, free))
        return free

    def _free(self, slot: int) -> None:
        self._run("UPDATE seal SET key = ? WHERE slot = ?", (_FREE, slot))
        self._run("INSERT INTO free_slot (slot) VALUES (?)", (slot,))


def _unseal(seal: bytes, value: bytes, row: bytes) -> bytes:
    try:
        return AESGCM(seal).decrypt(_NONCE, value, row)
    except InvalidTag as error:
        raise StorageError("storage.broken", what="mls") from error


def _values(row: Row) -> tuple[Value, ...]:
    return tuple(getattr(row, field) for field in row.__struct_fields__)
