"""The files of a profile whose process is killed at any statement (T-047, T-048 under SIGKILL)."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from hanatalk.cipherfile import PLAINTEXT_HEADER
from hanatalk.localdb.database import FILE, Database
from hanatalk.localdb.rows import Content

KEY = bytes(range(1, 33))
CANARY = "카나리아 canary 4711"
SECRET = b"ratchet secret of 32 bytes......"


def killed_at(statement: int, work: Callable[[], None]) -> bool:
    """Run `work` in a child that dies before its `statement`-th SQL statement; True if it did."""
    if (child := os.fork()) == 0:
        try:
            import apsw

            left = [statement]

            def count(connection: apsw.Connection) -> None:
                def trace(*_: object) -> bool:
                    left[0] -= 1
                    if left[0] == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return True

                connection.exec_trace = trace

            apsw.connection_hooks.append(count)
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def write(path: Path) -> None:
    """Make the database, fill it, change it, forget something, empty the log."""
    database = Database(path, KEY)
    with database.transaction():
        for number in range(1, 6):
            database.insert(Content(number, (CANARY * 300).encode()))
        database.mls_write(b"group", [(b"a", SECRET), (b"b", SECRET)])
    with database.transaction():
        database.execute("UPDATE content SET body = NULL WHERE number = 3")
        database.mls_write(b"group", [(b"a", SECRET[::-1]), (b"b", None)])
    database.empty_log()
    database.close()


@pytest.mark.timeout(60)
def test_t047_t048_killed_at_every_statement_nothing_is_ever_in_the_open(tmp_path: Path) -> None:
    """HT-S-001, HT-S-004, HT-S-062: while it is made, too. Afterwards it opens and holds whole transactions."""
    needles = [PLAINTEXT_HEADER, CANARY.encode(), CANARY.encode("utf-16-le"), SECRET, KEY, KEY.hex().encode()]
    died = 0
    for statement in range(1, 400):
        folder = tmp_path / str(statement)
        folder.mkdir()
        was_killed = killed_at(statement, lambda folder=folder: write(folder / FILE))  # type: ignore[misc]
        content = everything(folder)
        assert not [needle for needle in needles if needle in content], statement
        database = Database(folder / FILE, KEY)
        rows = database.number("SELECT count(*) FROM content")
        assert rows in (0, 5)
        found = dict(database.mls_rows(b"group"))
        assert found in ({}, {b"a": SECRET, b"b": SECRET}, {b"a": SECRET[::-1]})
        assert bool(found) is bool(rows)
        forgotten = database.number("SELECT count(*) FROM content WHERE body IS NULL")
        assert forgotten == (1 if found.keys() == {b"a"} else 0)
        database.close()
        died += was_killed
        if not was_killed:
            break
    else:
        pytest.fail("it never came to its end")
    assert died > 40
