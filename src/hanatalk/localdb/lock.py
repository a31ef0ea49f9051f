"""One process owns a profile (T-084, HT-S-036). The kernel drops the lock when the process dies, kill -9 included."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from hanatalk.cipherfile import mapped_errors
from hanatalk.errors import ProfileError

NAME = "profile.lock"


class ProfileLock:
    """The lock file of the profile folder `home`; taken by `acquire` or `with`, held until `release`.

    flock, not a POSIX record lock: a second opener in the *same* process is refused too, and closing some other
    descriptor of the file does not lose it. A forked child shares the lock; a child that executes another program
    does not inherit it.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / NAME
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; makes the folder (0700) and the file (0600) if need be.

        :raises ProfileError: ``profile.in-use``; detail `pid` if the owner wrote it.
        :raises StorageError: ``storage.io``, ``storage.full``
        """
        if self._descriptor is not None:
            raise ProfileError("profile.in-use", pid=os.getpid())
        while True:
            with mapped_errors():
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                owner = os.pread(descriptor, 20, 0)
                os.close(descriptor)
                raise ProfileError("profile.in-use", **({"pid": int(owner)} if owner.isdigit() else {})) from error
            except OSError:
                os.close(descriptor)
                raise
            if self._is_current(descriptor):
                break
            os.close(descriptor)  # a wipe removed the file between our opening and our locking it
        with mapped_errors():
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor = descriptor

    def _is_current(self, descriptor: int) -> bool:
        mine = os.fstat(descriptor)
        with suppress(FileNotFoundError):
            there = os.stat(self._path, follow_symlinks=False)
            return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)
        return False

    def release(self) -> None:
        """Let go. The file stays: removing it would let two processes lock two files of the same name."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
