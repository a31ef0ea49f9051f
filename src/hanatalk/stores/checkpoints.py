"""Copies the write-ahead log into the database off the commit path: inside a commit it makes the p99 (HT-S-014)."""

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

import apsw

from hanatalk.cipherfile import EncryptedConnection
from hanatalk.errors import StorageError

PASSES = 4
CLOSE_ENOUGH = 128  # frames left that the writer may copy itself, inside about a millisecond


class Checkpointer:
    """A thread with a connection of its own. It never makes the writer wait; the writer does the last few frames."""

    def __init__(self, connect: Callable[[], EncryptedConnection]) -> None:
        self._connect = connect
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._thread: threading.Thread | None = None
        self.finished = False  # a round has ended and the writer has not done its part yet

    @property
    def busy(self) -> bool:
        return not self._idle.is_set()

    def start(self) -> None:
        """Begin a round of passes unless one is going on."""
        if self.busy:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
            self._thread.start()
        self._idle.clear()
        self._asked.put(True)

    def wait(self) -> None:
        """Until the round that goes on, if any, has ended."""
        self._idle.wait()

    def close(self) -> None:
        if self._thread is not None:
            self._asked.put(False)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        connection: EncryptedConnection | None = None
        while self._asked.get():
            # A checkpoint that fails has changed nothing: the writer meets the same disk and says so.
            with suppress(apsw.Error, StorageError):
                if connection is None:
                    connection = self._connect()
                for _ in range(PASSES):
                    frames, copied = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                    if frames - copied <= CLOSE_ENOUGH:
                        break
            self.finished = True
            self._idle.set()
        if connection is not None:
            with suppress(apsw.Error):
                connection.close()
