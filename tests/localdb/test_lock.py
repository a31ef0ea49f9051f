"""One process owns a profile (T-084); the lock survives nothing, the kernel drops it."""

import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hanatalk.errors import ProfileError
from hanatalk.localdb.lock import ProfileLock

HOLDER = """
import sys
from pathlib import Path
from hanatalk.localdb.lock import ProfileLock
lock = ProfileLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def refused(lock: ProfileLock) -> ProfileError:
    with pytest.raises(ProfileError) as caught:
        lock.acquire()
    assert caught.value.code == "profile.in-use"
    return caught.value


def test_t084_the_second_opener_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    home = tmp_path / "profile"
    with ProfileLock(home) as first:
        second = ProfileLock(home)
        assert refused(second).detail == {"pid": os.getpid()}
        assert not second.held
        refused(first)
    with second:
        assert stat.S_IMODE((home / "profile.lock").stat().st_mode) == 0o600


def test_t084_another_process_is_refused_until_kill_9(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        lock = ProfileLock(tmp_path)
        assert refused(lock).detail == {"pid": holder.pid}
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        lock.acquire()
        lock.release()


def test_a_program_started_by_the_owner_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock = ProfileLock(tmp_path)
    lock.acquire()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as child:
        lock.release()
        with ProfileLock(tmp_path):
            assert child.poll() is None
        assert child.stdin is not None
        child.stdin.close()


def test_a_lock_on_a_file_that_was_wiped_does_not_count(tmp_path: Path) -> None:
    with ProfileLock(tmp_path):
        (tmp_path / "profile.lock").unlink()
        with ProfileLock(tmp_path):
            refused(ProfileLock(tmp_path))


def test_a_file_wiped_between_opening_and_locking_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, wiped = fcntl.flock, False

    def wipe_first(descriptor: int, how: int) -> None:
        nonlocal wiped
        if not wiped:
            wiped = True
            (tmp_path / "profile.lock").unlink()
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", wipe_first)
    with ProfileLock(tmp_path):
        assert wiped
        refused(ProfileLock(tmp_path))


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("text")
    (tmp_path / "profile.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(Exception, match=r"storage\.io"):
        ProfileLock(tmp_path).acquire()
    assert (tmp_path / "victim").read_text() == "text"
