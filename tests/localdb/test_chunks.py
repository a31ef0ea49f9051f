"""Files of sealed chunks (HT-C-156, HT-C-158)."""

import errno
import os
import stat
from pathlib import Path

import pytest

from hanatalk.errors import StorageError
from hanatalk.localdb.chunks import CHUNK, ChunkFiles


@pytest.fixture
def chunk_files(tmp_path: Path) -> ChunkFiles:
    return ChunkFiles(tmp_path / "profile.files")


def test_chunks_stand_where_they_were_put(chunk_files: ChunkFiles, tmp_path: Path) -> None:
    name = chunk_files.create(3)
    for position in (2, 0):
        chunk_files.write(name, position, bytes([position + 1]) * CHUNK)
    chunk_files.sync(name)
    assert [chunk_files.read(name, position)[0] for position in range(3)] == [1, 0, 3]
    assert chunk_files.names() == [name]
    folder = tmp_path / "profile.files"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    chunk_files.remove(name)
    chunk_files.remove(name)
    assert chunk_files.names() == []


def test_what_is_gone_or_short_is_said(chunk_files: ChunkFiles, tmp_path: Path) -> None:
    assert chunk_files.names() == []
    name = chunk_files.create()
    chunk_files.write(name, 0, b"short")
    for position in (0, 1):
        with pytest.raises(StorageError, match=r"storage\.broken"):
            chunk_files.read(name, position)
    with pytest.raises(StorageError, match=r"storage\.broken"):
        chunk_files.read("nothing", 0)


def test_no_link_is_followed(chunk_files: ChunkFiles, tmp_path: Path) -> None:
    name = chunk_files.create()
    target = tmp_path / "target"
    target.write_bytes(bytes(CHUNK))
    chunk_files.remove(name)
    (tmp_path / "profile.files" / name).symlink_to(target)
    with pytest.raises(StorageError):
        chunk_files.read(name, 0)
    with pytest.raises(StorageError):
        chunk_files.write(name, 0, b"x" * CHUNK)
    assert not any(target.read_bytes())


def test_a_full_disk_is_said_before_and_while(chunk_files: ChunkFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """HT-C-158."""
    with pytest.raises(StorageError, match=r"storage\.full"):
        chunk_files.create(1 << 40)
    assert chunk_files.names() == []

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(StorageError, match=r"storage\.full"):
            chunk_files.create(1)
    assert chunk_files.names() == []
    name = chunk_files.create(1)
    monkeypatch.setattr(os, "pwrite", lambda *_: 10)
    with pytest.raises(StorageError, match=r"storage\.full"):
        chunk_files.write(name, 0, bytes(CHUNK))
