"""T-054: a profile with messages in it, wiped by a process that is killed before any of its file operations."""

import contextlib
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.client.engine.test_forensics import forms, raw

from hanatalk.client import create_profile, wipe_profile
from hanatalk.errors import HanaError
from hanatalk.localdb.database import FILE, Database
from hanatalk.localdb.rows import Content
from hanatalk.localdb.vault import KdfCost, Vault

CHEAP = KdfCost(memory_kib=64, passes=1, lanes=1)
WORDS = "correct horse 말"
TEXT = "카나리아 canary to be wiped"
OPERATIONS = ("open", "unlink", "rmdir", "replace", "fsync", "ftruncate", "truncate", "close", "mkdir")


def opened(home: Path) -> bytes | None:
    """The database key, for somebody who knows the passphrase."""
    with contextlib.suppress(HanaError):
        return Vault(home, floor=CHEAP).open(passphrase=WORDS).key
    return None


def wipe_and_die(home: Path, moment: int) -> bool:
    """Wipe in a child that is killed before its `moment`-th file operation; True if it came so far."""
    if (child := os.fork()) == 0:
        left = moment

        def deadly(real: Callable[..., object]) -> Callable[..., object]:
            def operation(*arguments: object, **options: object) -> object:
                nonlocal left
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                return real(*arguments, **options)

            return operation

        for name in OPERATIONS:
            setattr(os, name, deadly(getattr(os, name)))
        with contextlib.suppress(BaseException):
            wipe_profile(home)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_t054_killed_before_any_file_operation_a_wipe_leaves_all_or_noise(tmp_path: Path) -> None:
    """HT-S-035, HT-S-066: either everything is as it was, or nobody who knows the passphrase can read any of it."""
    template = tmp_path / "template"
    create_profile(template, name="민지", relay="ws://127.0.0.1:1", passphrase=WORDS, cost=CHEAP)
    key = opened(template)
    assert key is not None
    database = Database(template / FILE, key)
    with database.transaction():
        database.insert(Content(database.number("SELECT max(number) FROM content") + 1, TEXT.encode()))
    # as a running owner leaves it: the text is in the log
    assert (template / f"{FILE}-wal").stat().st_size
    assert any(form in raw(template / FILE, key) for form in forms(TEXT))  # the control
    intact = noise = 0
    for moment in range(300):
        home = tmp_path / "home"
        shutil.copytree(template, home)
        before = {path.name: path.read_bytes() for path in home.iterdir()}
        died = wipe_and_die(home, moment)
        if opened(home) is not None:
            intact += 1
            assert {path.name: path.read_bytes() for path in home.iterdir()} == before
        else:
            noise += 1
            left = b"".join(path.read_bytes() for path in home.iterdir()) if home.exists() else b""
            assert key not in left
            assert not [form for form in forms(TEXT) if form in left]
        if home.exists() and any(home.iterdir()):
            wipe_profile(home)  # asked again, it finishes
        elif home.exists():
            home.rmdir()
        assert not home.exists()
        if not died:
            break
    else:
        pytest.fail("the wipe never came to its end")
    assert intact >= 1
    assert noise >= 10
    database.close()
