"""The one place that opens an encrypted SQLite file: the relay's store and the client's local database (spec/04).

sqlite3mc encrypts only if the key PRAGMA is spelt right and its value is not empty; otherwise it silently makes a
plaintext file, and a badly written hexadecimal key silently becomes a passphrase. So every open here starts from 32 raw
bytes, spells the PRAGMA itself and then looks at the file, not at the answer: no SQLite header, a salt that SQLite and
the first 16 bytes of the file agree on, the expected cipher (HT-S-001 … HT-S-006, T-048).
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NoReturn

import apsw

from hanatalk.errors import StorageError

CIPHER = "chacha20"  # ChaCha20-Poly1305 per page; 16 bytes nonce and 16 bytes tag at the end of every page
KEY_LENGTH = 32
SALT_LENGTH = 16  # bytes of the file's header that sqlite3mc replaces by a random salt
LEAST_SQLITE = (3, 51, 3)  # earlier ones can lose a WAL's frames when two connections checkpoint
PLAINTEXT_HEADER = b"SQLite format 3\x00"
KEY_PRAGMAS = frozenset({"key", "hexkey", "textkey", "rekey", "hexrekey", "textrekey"})  # refused once it is open
_WRITE = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
COMPANIONS = ("-wal", "-shm", "-journal")  # files that SQLite keeps beside the database


class EncryptedConnection(apsw.Connection):
    """An open encrypted file. It refuses the ways by which SQLite would write a copy that is not (HT-S-005)."""

    def all(self, statement: str, bindings: Sequence[str | bytes | int | float | None] = ()) -> list[tuple[Any, ...]]:
        """Every row that the statement gives; what type a column has, the schema says (tables are STRICT)."""
        return self.execute(statement, bindings).fetchall()

    def one(self, statement: str, bindings: Sequence[str | bytes | int | float | None] = ()) -> tuple[Any, ...] | None:
        """The first row, None for none."""
        cursor = self.execute(statement, bindings)
        row = cursor.fetchone()
        cursor.close()  # an unfinished statement would hold up checkpoints
        return row

    def only(self, statement: str, bindings: Sequence[str | bytes | int | float | None] = ()) -> tuple[Any, ...]:
        """The one row that there must be. :raises StorageError: ``storage.broken`` there is none"""
        row = self.one(statement, bindings)
        if row is None:
            raise StorageError("storage.broken")
        return row

    @contextmanager
    def changing(self) -> Iterator[None]:
        """One ``BEGIN IMMEDIATE`` … ``COMMIT``, undone by any exception (HT-S-082). Does not nest.

        If even undoing fails, the connection closes itself, which undoes it: nobody may read what was never committed.

        :raises apsw.Error: to be mapped by the caller
        """
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            try:
                if self.in_transaction:  # SQLite ends it itself after some errors
                    self.execute("ROLLBACK")
            except apsw.Error:
                self.close()
            raise

    def close(self, force: bool = False) -> None:
        """Copy the log into the database and close. What the disk refuses of it stays in the log for the next open."""
        with suppress(apsw.IOError, apsw.FullError, apsw.BusyError):
            super().close(force)

    def compact(self) -> None:
        """Write the whole database anew (VACUUM), outside of any transaction; needs its size in RAM.

        secure_delete clears what is deleted, but when SQLite moves rows between pages it leaves copies in their slack,
        and a row deleted later does not take these with it. Only writing anew, or dropping the whole table, does.
        Empty the write-ahead log afterwards (``wal_checkpoint(TRUNCATE)``).

        :raises StorageError: those of `mapped_errors`
        """
        self.authorizer = None
        self.limit(apsw.SQLITE_LIMIT_ATTACHED, 1)  # VACUUM attaches a database in RAM, see temp_store
        try:
            with mapped_errors():
                self.execute("VACUUM")
        finally:
            self.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
            self.authorizer = _authorize

    def backup(self, *_: object, **__: object) -> NoReturn:
        """Refused, as source and as target.

        :raises StorageError: ``storage.refused``
        """
        raise StorageError("storage.refused", what="backup")

    def serialize(self, *_: object, **__: object) -> NoReturn:
        """Refused: it would hand out the pages decrypted.

        :raises StorageError: ``storage.refused``
        """
        raise StorageError("storage.refused", what="serialize")


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Turn the errors of a disk into `StorageError`; anything else that SQLite says is a bug and passes.

    :raises StorageError: ``storage.full``, ``storage.busy``, ``storage.foreign``, ``storage.broken``, ``storage.io``,
        ``storage.closed``
    """
    try:
        yield
    except (apsw.Error, OSError) as error:
        found = storage_error(error)
        if found is None:
            raise
        raise found from error


def storage_error(error: apsw.Error | OSError) -> StorageError | None:
    """What a disk's error is called; None for what is a bug. See `mapped_errors`, which costs more where it is busy."""
    match error:
        case apsw.FullError():
            return StorageError("storage.full")
        case apsw.BusyError() | apsw.LockedError():
            return StorageError("storage.busy")
        case apsw.NotADBError():
            return StorageError("storage.foreign")
        case apsw.CorruptError():
            return StorageError("storage.broken")
        case apsw.IOError() | apsw.CantOpenError() | apsw.ReadOnlyError() | apsw.PermissionsError():
            return StorageError("storage.io")
        case apsw.ConnectionClosedError():
            return StorageError("storage.closed")
        case OSError():
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            return StorageError("storage.full" if full else "storage.io", errno=error.errno or 0)
    return None


def check_build() -> None:
    """Assert that `apsw` is the sqlite3mc build and new enough; `apsw` itself installs the same name (HT-S-002).

    :raises StorageError: ``storage.build``
    """
    if not hasattr(apsw, "mc_version"):
        raise StorageError("storage.build", what="sqlite3mc")
    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")[:3]) < LEAST_SQLITE:
        raise StorageError("storage.build", what="sqlite", got=version)


def open_cipherfile(
    path: Path,
    *,
    key: bytes,
    application: int,
    page_size: int = 4096,
    read_only: bool = False,
) -> EncryptedConnection:
    """Open or create the encrypted database at `path` (a new file has mode 0600).

    WAL, synchronous=FULL, secure_delete, temp_store=MEMORY, foreign_keys, cell_size_check. The busy timeout is 0: one
    process owns a file, so a lock held by somebody else is an error to report and nothing to wait for. ATTACH (and so
    VACUUM and VACUUM INTO) and every change of the key are refused by the connection.

    :param key: 32 bytes, used as they are (no derivation); 32 zero bytes are refused as a mistake.
    :param application: `application_id` of this kind of file; a file of another kind is foreign.
    :param page_size: bytes; counts only when the file is made.
    :param read_only: never makes or changes the file; reading beside a running writer works. A file that nobody has
        open is read without making files beside it.
    :raises StorageError: ``storage.key`` not such a key; ``storage.plaintext`` the file is not encrypted (or would not
        have been); ``storage.foreign`` another key, another kind of file, or no database; ``storage.build``; and those
        of `mapped_errors`.
    """
    check_build()
    if not isinstance(key, bytes) or len(key) != KEY_LENGTH or not any(key):
        raise StorageError("storage.key", expected=KEY_LENGTH, got=len(key))
    with mapped_errors():
        fresh = _is_fresh(path, read_only=read_only)
        flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
        name = str(path.absolute())
        if read_only and not path.with_name(path.name + "-wal").exists():
            name = f"{path.absolute().as_uri()}?immutable=1"  # whoever has it open has a log
            flags |= apsw.SQLITE_OPEN_URI
        connection = EncryptedConnection(name, flags=flags)
    try:
        with mapped_errors():
            _unlock(connection, key)
            _settle(connection, fresh=fresh, page_size=page_size, read_only=read_only)
            _check_application(connection, application, fresh=fresh)
        _check_encrypted(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_fresh(path: Path, *, read_only: bool) -> bool:
    """Whether the file has yet to be filled; makes it (0600) if there is none, looks at its first bytes if there is."""
    flags = os.O_RDONLY if read_only else os.O_RDWR | os.O_CREAT
    with open(os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise StorageError("storage.foreign")
        start = file.read(len(PLAINTEXT_HEADER))
    if start == PLAINTEXT_HEADER:
        raise StorageError("storage.plaintext")
    if start and len(start) < len(PLAINTEXT_HEADER):
        raise StorageError("storage.foreign")
    return not start


def _unlock(connection: EncryptedConnection, key: bytes) -> None:
    connection.set_busy_timeout(0)
    connection.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
    if connection.pragma("cipher", CIPHER) != CIPHER:
        raise StorageError("storage.build", what="cipher")
    # Not cached: the statement's text is the key.
    answer = connection.execute(f"PRAGMA key='raw:{key.hex()}'", can_cache=False).fetchall()
    if answer != [("ok",)]:
        raise StorageError("storage.build", what="key")
    connection.authorizer = _authorize


def _authorize(action: int, first: str | None, *_: str | None) -> int:
    """Asked once for each statement that is prepared. An emptying rekey decrypts the file where it lies."""
    if action == apsw.SQLITE_ATTACH or (action == apsw.SQLITE_PRAGMA and (first or "").lower() in KEY_PRAGMAS):
        return apsw.SQLITE_DENY
    return apsw.SQLITE_OK


def _settle(connection: EncryptedConnection, *, fresh: bool, page_size: int, read_only: bool) -> None:
    if fresh and not read_only:
        connection.pragma("page_size", page_size)
    if not read_only and connection.pragma("journal_mode", "wal") != "wal":
        raise StorageError("storage.io")
    for name, value in (
        ("synchronous", "FULL"),
        ("secure_delete", "ON"),
        ("temp_store", "MEMORY"),
        ("foreign_keys", "ON"),
        ("cell_size_check", "ON"),
        ("mmap_size", 0),
    ):
        connection.pragma(name, value)


def _check_application(connection: EncryptedConnection, application: int, *, fresh: bool) -> None:
    found = connection.pragma("application_id")
    if found == application:
        return
    if found == 0 and (fresh or connection.pragma("schema_version") == 0):
        connection.pragma("application_id", application)
        return
    raise StorageError("storage.foreign")


def _check_encrypted(connection: EncryptedConnection, path: Path) -> None:
    """Assert by the file itself that it is encrypted, whatever the PRAGMAs answered (HT-S-004)."""
    with mapped_errors():
        with path.open("rb") as file:
            salt = file.read(SALT_LENGTH)
        if salt == PLAINTEXT_HEADER or len(salt) < SALT_LENGTH:
            raise StorageError("storage.plaintext")
        if connection.pragma("cipher_salt") != salt.hex().upper() or connection.pragma("cipher") != CIPHER:
            raise StorageError("storage.plaintext")


def companions(path: Path) -> list[Path]:
    """The database and the files that SQLite keeps beside it, those that are there."""
    return [file for suffix in ("", *COMPANIONS) if (file := path.with_name(path.name + suffix)).exists()]


def sync_folder(folder: Path) -> None:
    """Make a creation, renaming or removal in `folder` durable. :raises StorageError: ``storage.io``"""
    with mapped_errors():
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Write a small file so that it is there whole (0600, durable) or not at all, whatever was there (HT-S-034).

    What a former version of it held is overwritten once the new one is in place.

    :raises StorageError: ``storage.full``, ``storage.io``
    """
    passing = path.with_name(path.name + ".new")
    with mapped_errors(), ExitStack() as stack:
        with suppress(FileNotFoundError):
            passing.unlink()
        former: IO[bytes] | None = None
        with suppress(FileNotFoundError):
            former = stack.enter_context(open(os.open(path, _WRITE), "wb", buffering=0))
        try:
            with open(os.open(passing, _WRITE | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            passing.replace(path)
        except BaseException:
            with suppress(OSError):
                passing.unlink()
            raise
        sync_folder(path.parent)
        if former is not None:
            _overwrite(former)


def blank_file(path: Path) -> None:
    """Overwrite a small file with random bytes and cut it to nothing, durably. Nothing happens if there is none.

    Overwriting in place is all a program can do; an SSD or a copying file system may keep the old bytes. What a
    symbolic link leads to is left alone.

    :raises StorageError: ``storage.io``
    """
    with mapped_errors(), suppress(FileNotFoundError):
        if not path.is_symlink():
            with open(os.open(path, _WRITE), "wb", buffering=0) as file:
                _overwrite(file)


def erase_file(path: Path) -> None:
    """`blank_file`, then remove it, durably. :raises StorageError: ``storage.io``"""
    blank_file(path)
    with mapped_errors():
        path.unlink(missing_ok=True)
    sync_folder(path.parent)


def _overwrite(file: IO[bytes]) -> None:
    file.write(os.urandom(max(os.fstat(file.fileno()).st_size, 1)))
    os.fsync(file.fileno())
    file.truncate(0)
    os.fsync(file.fileno())
