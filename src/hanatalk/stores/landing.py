"""Where what has just arrived lies until it is settled: a file appended to, and synced once per commit (HT-S-022).

There are two of them; while one is being settled the other takes what arrives. A file begins with a random salt, and
its records are sealed under a key that is derived from it and the store's key: writing another salt over it makes
everything that the file held unreadable, burned entries first of all (HT-S-027).
"""

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hanatalk.cipherfile import mapped_errors, sync_folder

SUFFIXES = ("-landing-0", "-landing-1")  # beside the database
BLOCK = 4_096  # bytes; a record begins a new one, so that no write touches what was answered before
SALT_LENGTH = 32
GROWN_BY = 1 << 20  # bytes written ahead: syncing what lies inside a file needs no new length, which costs more
_MAGIC = b"HANA landing 1\x00\x00"
_HEAD = struct.Struct(">QI")  # n and the length of what is sealed
_TAG_LENGTH = 16


class PlainFile:
    """Bytes at offsets, as the operating system offers them. Tests put a disk that fails in its place."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        flags = os.O_RDONLY if read_only else os.O_RDWR | os.O_CREAT
        self._descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def read(self, amount: int, offset: int) -> bytes:
        return os.pread(self._descriptor, amount, offset)

    def write(self, data: bytes, offset: int) -> None:
        written = os.pwrite(self._descriptor, data, offset)
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], offset + written)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        os.close(self._descriptor)


class LandingFile:
    """One of the two. What an operation that failed has left in it counts for nothing."""

    def __init__(self, path: Path, *, key: bytes) -> None:
        """Open or create it; what an earlier process left is there to be read once (`records`).

        :raises StorageError: those of `mapped_errors`
        """
        with mapped_errors():
            there = path.exists()
            self._file = PlainFile(path)
        try:
            with mapped_errors():
                if not there:
                    self._file.sync()
            if not there:
                sync_folder(path.parent)
            self._key = key
            self._torn = False  # something was written behind `_end`, or may have been
            self._sealer, self._end = _begun(self._file, key)
            self._room = self._file.size()
        except BaseException:
            self.close()
            raise

    @property
    def filled(self) -> int:
        """Bytes up to the end of the last record."""
        return self._end

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Number and content of each record, in order. After the first look only what this process appended.

        :raises StorageError: those of `mapped_errors`
        """
        with mapped_errors():
            self._mend()
            if self._sealer is not None:
                at = BLOCK
                for n, record, end in _unsealed(self._file, self._sealer):
                    at = end
                    yield n, record
                self._end = at

    def append(self, n: int, record: bytes) -> None:
        """Make it durable. `n` is greater than any before, a failed one's too.

        :raises StorageError: those of `mapped_errors`; then it is not there
        """
        with mapped_errors():
            self._mend()
            at, begin = self._end, b""
            if self._sealer is None:
                salt = os.urandom(SALT_LENGTH)
                self._sealer = _sealer(self._key, salt)
                at, begin = 0, (_MAGIC + salt).ljust(BLOCK, b"\0")
            head = _HEAD.pack(n, len(record) + _TAG_LENGTH)
            sealed = self._sealer.encrypt(_nonce(n), record, head)
            length = len(begin) + len(head) + len(sealed)
            end = at + length + -length % BLOCK
            until, room = (end, self._room) if end <= self._room else (end + GROWN_BY,) * 2
            self._torn = True
            self._file.write(b"".join((begin, head, sealed, bytes(until - at - length))), at)
            self._file.sync()
            self._torn, self._end, self._room = False, end, room

    def _mend(self) -> None:
        """Cut off what a failed append may have left: nothing may bring it back later."""
        if self._torn:
            self._file.truncate(self._end)
            self._room = self._end
            self._file.sync()
            self._torn = False
            if not self._end:
                self._sealer = None

    def reset(self) -> None:
        """Everything in it is settled: make it unreadable. The next append begins the file anew.

        :raises StorageError: those of `mapped_errors`; the next append does it all the same
        """
        begun = self._end
        self._sealer, self._end = None, 0
        if begun:
            with mapped_errors():
                self._file.write(os.urandom(BLOCK), 0)
                self._file.sync()

    def shorten(self) -> None:
        """Give its room back, if nothing is in it. :raises StorageError: those of `mapped_errors`"""
        if self._room and not self._end:
            with mapped_errors():
                self._file.truncate(0)
                self._room = 0

    def close(self) -> None:
        with suppress(OSError):
            self._file.close()


def read_landing_file(path: Path, *, key: bytes) -> list[tuple[int, bytes]]:
    """The records of one that another process may be writing, or nobody. :raises StorageError: ``storage.io``"""
    with mapped_errors():
        if not path.exists():
            return []
        file = PlainFile(path, read_only=True)
        try:
            sealer, _ = _begun(file, key)
            return [(n, record) for n, record, _ in _unsealed(file, sealer)] if sealer is not None else []
        finally:
            file.close()


def read_landing_files(path: Path, *, key: bytes) -> list[list[tuple[int, bytes]]]:
    """The records of both files of the store at `path`. :raises StorageError: ``storage.io``"""
    return [read_landing_file(file, key=key) for file in landing_paths(path)]


def _begun(file: PlainFile, key: bytes) -> tuple[AESGCM | None, int]:
    """What opens its records, and where they begin; no key and 0 if it has no beginning."""
    begin = file.read(BLOCK, 0)
    if len(begin) < BLOCK or not begin.startswith(_MAGIC):
        return None, 0
    return _sealer(key, begin[len(_MAGIC) : len(_MAGIC) + SALT_LENGTH]), BLOCK


def _unsealed(file: PlainFile, sealer: AESGCM) -> Iterator[tuple[int, bytes, int]]:
    """Number, content and end of each record, up to the first that is none."""
    at, size = BLOCK, file.size()
    while at + BLOCK <= size:
        head = file.read(_HEAD.size, at)
        n, length = _HEAD.unpack(head)
        if at + _HEAD.size + length > size:
            return
        try:
            record = sealer.decrypt(_nonce(n), file.read(length, at + _HEAD.size), head)
        except InvalidTag:
            return
        at += _HEAD.size + length
        at += -at % BLOCK
        yield n, record, at


def _sealer(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt, b"hana/landing/1").derive(key))


def _nonce(n: int) -> bytes:
    return n.to_bytes(12, "big")


def landing_paths(path: Path) -> tuple[Path, Path]:
    """Where the two files of the store at `path` are."""
    first, second = (path.with_name(path.name + suffix) for suffix in SUFFIXES)
    return first, second
