"""A disk that loses what was not synced, and fails when told to: a VFS under sqlite3mc (T-082, T-083)."""

import random
from collections.abc import Callable
from pathlib import Path

import apsw

from hanatalk.cipherfile import EncryptedConnection

_DISKS: list["Disk"] = []  # sqlite3mc keeps pointing at a VFS that it was once used with: they are never unregistered


class Disk(apsw.VFS):
    """Everything that SQLite writes passes here."""

    def __init__(self) -> None:
        self.name = f"hana-test-disk-{len(_DISKS)}"
        super().__init__(self.name, "unix")
        _DISKS.append(self)
        self.synced: dict[str, bytearray] = {}  # what a power cut leaves of each file
        self.unsynced: dict[str, list[tuple[int, bytes | None]]] = {}  # writes since; None: cut to this length
        self.fault: Callable[[str, str], Exception | None] = lambda _call, _path: None
        self.calls = 0

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self.called("delete", filename)
        super().xDelete(filename, syncdir)
        self.synced.pop(filename, None)
        self.unsynced.pop(filename, None)

    def called(self, call: str, path: str) -> None:
        """Raises if the disk is to fail now."""
        self.calls += 1
        error = self.fault(call, path)
        if error is not None:
            raise error

    def after_a_power_cut(self, chance: random.Random) -> dict[str, bytes]:
        """The files as the next start finds them: what was synced, and any part of what was not."""
        left = {}
        for path, content in self.synced.items():
            kept = bytearray(content)
            for change in self.unsynced[path]:
                if chance.random() < 0.5:
                    _change(kept, *change)
            left[path] = bytes(kept)
        return left

    def connection(self, name: str, *, flags: int) -> EncryptedConnection:
        """In the place of `EncryptedConnection`."""
        return EncryptedConnection(name, flags=flags, vfs=f"multipleciphers-{self.name}")


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        if self._path not in disk.synced:
            path = Path(self._path)
            disk.synced[self._path] = bytearray(path.read_bytes() if path.exists() else b"")
            disk.unsynced[self._path] = []

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.called("write", self._path)
        super().xWrite(data, offset)
        self._disk.unsynced[self._path].append((offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.called("truncate", self._path)
        super().xTruncate(newsize)
        self._disk.unsynced[self._path].append((newsize, None))

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.called("sync", self._path)
        super().xSync(flags)
        for change in self._disk.unsynced[self._path]:
            _change(self._disk.synced[self._path], *change)
        self._disk.unsynced[self._path].clear()

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._disk.called("read", self._path)
        return super().xRead(amount, offset)


def _change(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
    else:
        if len(content) < offset:
            content.extend(bytes(offset - len(content)))
        content[offset : offset + len(data)] = data
