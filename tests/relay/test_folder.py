"""One relay per data folder."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hanatalk.errors import StorageError
from hanatalk.relay.folder import DataFolder


def test_the_folder_is_made_private(tmp_path: Path) -> None:
    """HT-R-095"""
    folder = DataFolder(tmp_path / "new" / "relay")
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.close()


def test_a_second_relay_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    """HT-R-095"""
    first = DataFolder(tmp_path)
    with pytest.raises(StorageError, match=r"relay\.locked"):
        DataFolder(tmp_path)
    first.close()
    DataFolder(tmp_path).close()


def test_the_lock_does_not_survive_kill_9(tmp_path: Path) -> None:
    """HT-R-095"""
    code = (
        "import sys, pathlib; from hanatalk.relay.folder import DataFolder; "
        "held = DataFolder(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(StorageError, match=r"relay\.locked"):
        DataFolder(tmp_path)
    holder.kill()
    holder.communicate()
    DataFolder(tmp_path).close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """HT-R-095"""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"relay\.folder"):
        DataFolder(tmp_path / "file" / "relay")
