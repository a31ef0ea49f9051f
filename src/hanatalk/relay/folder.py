"""The relay's data folder: one relay at a time, and where its files lie."""

import fcntl
import os
from pathlib import Path

from hanatalk.errors import StorageError


class DataFolder:
    """A data folder held by this process (HT-R-095).

    The lock is the kernel's and ends with the process, however it ends: nothing is left behind by kill -9.
    """

    def __init__(self, path: Path) -> None:
        """Create the folder (mode 0700) if need be and lock it.

        :raises StorageError: ``relay.locked`` (another relay runs on it), ``relay.folder`` (cannot be made)
        """
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / "relay.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError("relay.folder", why=type(error).__name__) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise StorageError("relay.locked") from error

    @property
    def signing_key(self) -> Path:
        """Seed of the relay's identity, apart from the store."""
        return self.path / "signing.key"

    @property
    def tls_key(self) -> Path:
        """The key of `--tls self`, made when it is first needed (HT-R-101)."""
        return self.path / "tls.key"

    def free_bytes(self) -> int:
        """What the disk has left for us."""
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize

    def size(self) -> int:
        """Bytes of all files in it."""
        return sum(entry.stat().st_size for entry in os.scandir(self.path) if entry.is_file(follow_symlinks=False))

    def close(self) -> None:
        """Let the next relay in."""
        os.close(self._lock)


def write_new(path: Path, secret: bytes) -> None:
    """Write a new file for its owner alone (mode 0600). :raises OSError:"""
    # Written beside and renamed: a crash in between must not leave half a secret, which would be another identity.
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secret)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(beside, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
