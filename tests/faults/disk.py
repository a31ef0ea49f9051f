"""A disk that loses what was not synced, and fails or kills when told to: a VFS under sqlite3mc (T-081 … T-083).

What it cannot reach from Python is SQLite's shared memory (`xShmLock` and its like): locks held by somebody else are
made by somebody else, another process.
"""

import random
import threading
from collections.abc import Callable
from pathlib import Path

import apsw

from hanatalk.cipherfile import EncryptedConnection

SECTOR = 512  # bytes that a disk writes whole or not at all
CHANGES = frozenset({"open", "write", "truncate", "sync", "delete"})  # after which the disk may hold something else
CALLS = CHANGES | {"read", "size", "lock"}
MOST_WRITTEN = 1 << 16  # bytes in one call: SQLite's own never ask for more than 128 KiB, and it relies on that
_DISKS: list["Disk"] = []  # sqlite3mc keeps pointing at a VFS that it was once used with: they are never unregistered


class HalfWritten(apsw.FullError):
    """No room in the middle of a write: its first half is there."""


class Disk(apsw.VFS):
    """Everything that SQLite does with files passes here. `fault` is asked before each call and may kill."""

    def __init__(self) -> None:
        self.name = f"hana-test-disk-{len(_DISKS)}"
        super().__init__(self.name, "unix")
        _DISKS.append(self)
        self.synced: dict[str, bytearray] = {}  # what a power cut leaves of each file
        self.unsynced: dict[str, list[tuple[int, bytes | None]]] = {}  # writes since; None: cut to this length
        self.deleted: dict[str, bytes] = {}  # and the folder not synced since: a power cut may bring it back
        self.fault: Callable[[str, str], Exception | None] = lambda _call, _path: None
        self.calls = 0
        self.lock = threading.RLock()  # two threads write; a power cut is one moment for all files

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self.called("open", path)
        return _File(self, name, path, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        with self.lock:
            self.called("delete", filename)
            super().xDelete(filename, syncdir)
            content = self.synced.pop(filename, None)
            if content is not None and not syncdir:
                self.deleted[filename] = bytes(content)
            self.unsynced.pop(filename, None)

    def called(self, call: str, path: str) -> None:
        """Raises if the disk is to fail now."""
        self.calls += 1
        error = self.fault(call, path)
        if error is not None:
            raise error

    def after_a_power_cut(self, chance: random.Random) -> dict[str, bytes]:
        """The files as the next start finds them: what was synced, and any part of what was not, in sectors.

        Of each sector that was written several times since the last sync any version may have reached the disk, and of
        the lengths that the file had, any.
        """
        back = {path: content for path, content in self.deleted.items() if chance.random() < 0.5}
        return back | {path: _torn(bytes(self.synced[path]), self.unsynced[path], chance) for path in self.synced}

    def plain(self, path: Path) -> "Plain":
        """In the place of `PlainFile`."""
        return Plain(self, path)

    def connection(self, name: str, *, flags: int) -> EncryptedConnection:
        """In the place of `EncryptedConnection`."""
        return EncryptedConnection(name, flags=flags, vfs=f"multipleciphers-{self.name}")


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, path: str, flags: list[int]) -> None:
        there = Path(path)
        content = there.read_bytes() if there.exists() else None
        super().__init__("unix", name, flags)
        self._disk = disk
        self._path = path
        self._new = content is None  # SQLite syncs the folder with the first sync of a file that it made
        if path not in disk.synced:
            disk.synced[path] = bytearray(content or b"")
            disk.unsynced[path] = []
            disk.deleted.pop(path, None)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        with self._disk.lock:
            try:
                self._disk.called("write", self._path)
            except HalfWritten:
                self._write(data[: len(data) // 2], offset)
                raise
            self._write(data, offset)

    def _write(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._disk.unsynced[self._path].append((offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        with self._disk.lock:
            self._disk.called("truncate", self._path)
            super().xTruncate(newsize)
            self._disk.unsynced[self._path].append((newsize, None))

    def xSync(self, flags: int) -> None:  # noqa: N802
        with self._disk.lock:
            self._disk.called("sync", self._path)
            super().xSync(flags)
            for change in self._disk.unsynced[self._path]:
                _change(self._disk.synced[self._path], *change)
            self._disk.unsynced[self._path].clear()
            if self._new:
                self._new = False
                self._disk.deleted.clear()

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        with self._disk.lock:
            self._disk.called("read", self._path)
            return super().xRead(amount, offset)

    def xFileSize(self) -> int:  # noqa: N802
        with self._disk.lock:
            self._disk.called("size", self._path)
            return super().xFileSize()

    def xLock(self, level: int) -> None:  # noqa: N802
        with self._disk.lock:
            self._disk.called("lock", self._path)
            super().xLock(level)


class Plain:
    """A file that is not SQLite's, on the same disk."""

    def __init__(self, disk: Disk, path: Path) -> None:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_SUPER_JOURNAL
        disk.called("open", str(path))
        self._file = _File(disk, str(path), str(path), [flags, 0])
        self.truncate, self.size, self.close = self._file.xTruncate, self._file.xFileSize, self._file.xClose

    def read(self, amount: int, offset: int) -> bytes:
        return self._file.xRead(min(amount, max(self.size() - offset, 0)), offset)

    def write(self, data: bytes, offset: int) -> None:
        for at in range(0, len(data), MOST_WRITTEN):
            self._file.xWrite(data[at : at + MOST_WRITTEN], offset + at)

    def sync(self) -> None:
        self._file.xSync(apsw.SQLITE_SYNC_NORMAL)


def _change(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
    else:
        if len(content) < offset:
            content.extend(bytes(offset - len(content)))
        content[offset : offset + len(data)] = data


def _torn(synced: bytes, changes: list[tuple[int, bytes | None]], chance: random.Random) -> bytes:
    """One of the contents that a file may have after its last sync was lost."""
    if not changes:
        return synced
    content = bytearray(synced)
    lengths = [len(content)]
    versions: dict[int, list[bytes]] = {}  # of each sector that was touched, the synced one first
    for offset, data in changes:
        before = len(content)
        _change(content, offset, data)
        lengths.append(len(content))
        touched = range(offset, max(before, offset) if data is None else offset + len(data))
        for sector in range(touched.start // SECTOR, -(-touched.stop // SECTOR)):
            known = versions.setdefault(sector, [synced[sector * SECTOR : (sector + 1) * SECTOR]])
            known.append(bytes(content[sector * SECTOR : (sector + 1) * SECTOR]))
    result = bytearray(synced.ljust(max(lengths), b"\0"))
    luck = chance.random()  # of this cut: from nearly nothing written to nearly everything
    for sector, known in versions.items():
        version = len(known) - 1 if chance.random() < luck else chance.randrange(len(known))
        chosen = known[version].ljust(SECTOR, b"\0")
        result[sector * SECTOR : (sector + 1) * SECTOR] = chosen
    return bytes(result[: chance.choice(lengths)])
