"""Files of sealed chunks beside the local database: what attachments consist of. Synchronous.

A file has a random name and holds what goes over the wire, chunk by chunk, at `position × CHUNK`. Keys are not here but
in the database: once a key is forgotten, its file is noise to everybody (HT-C-156, docs/adr/0019).
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from hanatalk.cipherfile import mapped_errors
from hanatalk.errors import StorageError

CHUNK = 65_536  # bytes of one sealed chunk, on disk and on the wire
RESERVE = 64 << 20  # bytes of disk that an attachment leaves free: messages need them more (HT-C-158)
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


class ChunkFiles:
    """A folder of such files. Made when the first one is; everything here raises `StorageError` if the disk says no."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, chunks: int | None = None) -> str:
        """Make an empty file, with room for so many chunks if it is known how many come; returns its name.

        :raises StorageError: ``storage.full``: not even the reserve would be left
        """
        name = secrets.token_hex(16)
        with mapped_errors():
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self.check_room((chunks or 1) * CHUNK)
            descriptor = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
            try:
                if chunks is not None:
                    _reserve(descriptor, chunks * CHUNK)
            except OSError:
                self.remove(name)
                raise
            finally:
                os.close(descriptor)
        return name

    def check_room(self, size: int) -> None:
        """:raises StorageError: ``storage.full``: so many bytes more would eat into the reserve"""
        with mapped_errors():
            disk = os.statvfs(self._folder)
        if disk.f_bavail * disk.f_frsize < size + RESERVE:
            raise StorageError("storage.full")

    def write(self, name: str, position: int, chunk: bytes) -> None:
        """Put one chunk in its place. Durable after `sync`."""
        with self._opened(name, os.O_WRONLY) as descriptor:
            written = os.pwrite(descriptor, chunk, position * CHUNK)
            if written != len(chunk):  # the disk took a part: it is full
                raise OSError(errno.ENOSPC, "short write")

    def sync(self, name: str) -> None:
        """What was written is durable when this returns."""
        with self._opened(name, os.O_WRONLY) as descriptor:
            os.fdatasync(descriptor)

    def read(self, name: str, position: int) -> bytes:
        """One chunk as it was written. :raises StorageError: ``storage.broken``: the file is gone or shorter"""
        try:
            with self._opened(name, os.O_RDONLY) as descriptor:
                found = os.pread(descriptor, CHUNK, position * CHUNK)
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise StorageError("storage.broken", what="attachment") from None
            raise
        if len(found) != CHUNK:
            raise StorageError("storage.broken", what="attachment")
        return found

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(OSError):
            (self._folder / name).unlink()

    def names(self) -> list[str]:
        """The files that are there."""
        try:
            return os.listdir(self._folder)
        except OSError:
            return []

    @contextlib.contextmanager
    def _opened(self, name: str, flags: int) -> Iterator[int]:
        with mapped_errors():
            descriptor = os.open(self._folder / name, flags | _FLAGS)
            try:
                yield descriptor
            finally:
                os.close(descriptor)


def _reserve(descriptor: int, size: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # not every file system can: then writing tells
            raise
