"""Copies the write-ahead log into the database off the commit path: inside a commit it makes the p99 (HT-S-014)."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

import apsw

from hanatalk.cipherfile import EncryptedConnection, mapped_errors
from hanatalk.errors import StorageError

PASSES = 4
LOG_PAGES = 2_048  # pages in the write-ahead log (16 MiB) from which on it is copied into the database
MOST_LOG_PAGES = 16_384  # from which on the writer stops to do it itself
CLOSE_ENOUGH = 128  # frames left that the writer may copy itself, inside about a millisecond


class Checkpointer:
    """A thread with a connection of its own. It never makes the writer wait; the writer does the last few frames."""

    def __init__(self, path: Path, connect: Callable[[], EncryptedConnection]) -> None:
        self._path = path
        self._connect = connect
        self._connection: EncryptedConnection | None = None
        self._asked: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._thread: threading.Thread | None = None
        self.finished = False  # a round has ended and the writer has not done its part yet

    @property
    def busy(self) -> bool:
        return not self._idle.is_set()

    def start(self) -> None:
        """Begin a round of passes unless something is going on."""
        self._ask(self._round)

    def sync(self) -> None:
        """Have what the log holds synced, so that the next commit that has to be durable waits for little."""
        self._ask(self._sync)

    def _ask(self, what: Callable[[], None]) -> None:
        if self.busy:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
            self._thread.start()
        self._idle.clear()
        self._asked.put(what)

    def wait(self) -> None:
        """Until the round that goes on, if any, has ended."""
        self._idle.wait()

    def close(self) -> None:
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            # What fails has changed nothing: the writer meets the same disk and says so.
            with suppress(apsw.Error, StorageError, OSError):
                asked()
            self._idle.set()
        if self._connection is not None:
            with suppress(apsw.Error):
                self._connection.close()

    def _round(self) -> None:
        try:
            if self._connection is None:
                self._connection = self._connect()
            for _ in range(PASSES):
                frames, copied = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                if frames - copied <= CLOSE_ENOUGH:
                    break
        finally:
            self.finished = True

    def _sync(self) -> None:
        descriptor = os.open(self._path.with_name(self._path.name + "-wal"), os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


class WriteAheadLog:
    """The writer's part: when a round begins, the last few frames, and emptying the log altogether (HT-S-015)."""

    def __init__(self, connection: EncryptedConnection, checkpointer: Checkpointer) -> None:
        self._connection = connection
        self._thread = checkpointer
        self._pages = 0
        self._limit = LOG_PAGES
        self._ahead = False
        connection.set_wal_hook(self._on_logged)

    def _on_logged(self, _connection: object, _name: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def nearly_synced(self) -> bool:
        """False while the thread syncs what commits left that need not be durable by themselves: ask again."""
        if self._thread.busy:
            return False
        self._ahead = not self._ahead and self._pages > CLOSE_ENOUGH
        if self._ahead:
            self._thread.sync()
        return not self._ahead

    def look(self) -> None:
        """After a commit: do what is due. :raises StorageError: the disk"""
        if self._pages >= self._limit or self._thread.finished:
            self._tidy()

    def tend(self, *, idle: bool) -> bool:
        """Between commits; True if the log is empty now that was not. :raises StorageError: the disk"""
        if self._thread.busy or not self._pages:
            return False
        if self._pages <= CLOSE_ENOUGH or (idle and self._thread.finished):
            return self.empty()
        self._tidy()
        return False

    def _tidy(self) -> None:
        """Let the thread copy most of it, then copy the rest ourselves, so that the next commit starts it anew."""
        if self._thread.busy and self._pages < MOST_LOG_PAGES:
            return
        if self._thread.finished or self._pages >= MOST_LOG_PAGES:
            self.wait()
            done = self._checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE)
            # Somebody reads (a warrant report): grow on for a while before the next try.
            self._limit = LOG_PAGES if done else self._pages + LOG_PAGES
        else:
            self._thread.start()

    def empty(self) -> bool:
        """Copy all of it and cut the file to nothing: superseded pages, burned entries among them, are gone with it.

        :returns: False if another process is reading (a warrant report): try again later
        :raises StorageError: the disk
        """
        self.wait()
        return self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def _checkpoint(self, mode: int) -> bool:
        try:
            with mapped_errors():
                frames, copied = self._connection.wal_checkpoint(mode=mode)
        except StorageError as error:
            if error.code != "storage.busy":
                raise
            return False
        self._thread.finished = False
        done = copied >= frames
        if done:
            self._pages = 0
        return done

    def wait(self) -> None:
        """Until the round that goes on, if any, has ended."""
        self._thread.wait()

    def close(self) -> None:
        """End the thread."""
        self._thread.close()
