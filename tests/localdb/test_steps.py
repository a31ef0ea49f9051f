"""Schema steps on databases that are there already (HT-S-050)."""

import importlib.resources
import os
from pathlib import Path

from tests.stores.carving import decrypted, decrypted_wal

from hanatalk.localdb.cipher import open_database
from hanatalk.localdb.database import VERSION, Database
from hanatalk.localdb.rows import Content, Message

KEY = bytes(range(7, 39))


def script(step: int) -> str:
    return importlib.resources.files("hanatalk.localdb").joinpath(f"schema/{step:04}.sql").read_text()


def first_version(path: Path, count: int) -> dict[bytes, bytes]:
    """A database as step 1 made it, with messages and rows of OpenMLS; returns the latter."""
    connection = open_database(path, key=KEY)
    connection.execute(script(1))
    rows = {b"%03d" % number: b"secret %03d " % number + os.urandom(number * 7) for number in range(60)}
    with connection:
        connection.executemany("INSERT INTO mls VALUES (?, ?, ?)", ((b"group", *row) for row in rows.items()))
        for number in range(1, count + 1):
            body = b"body of %06d" % number * (1 + number % 40)
            connection.execute(
                "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, 1, 1, 5, ?, ?, NULL, 1, NULL)",
                (number, os.urandom(16), b"c" * 16, b"a" * 32, b"d" * 32, number, body, body.decode()),
            )
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    return rows


def test_step_2_moves_bodies_and_seals_rows_and_leaves_no_copy_of_either(tmp_path: Path) -> None:
    """HT-S-060, HT-S-062: nothing is lost, and nothing of before is left in the files in the open or twice."""
    path = tmp_path / "profile"
    rows = first_version(path, 500)
    database = Database(path, KEY)
    assert database.number("PRAGMA user_version") == VERSION
    assert dict(database.mls_rows(b"group")) == rows
    messages = database.find(Message, "1 ORDER BY number")
    assert [message.counter for message in messages] == list(range(1, 501))
    bodies = database.find(Content, "1 ORDER BY number")
    assert [row.body for row in bodies] == [b"body of %06d" % n * (1 + n % 40) for n in range(1, 501)]
    with database.transaction():
        database.execute("UPDATE content SET body = NULL WHERE number % 2 = 0")
    assert database.empty_log()
    content = decrypted(path.read_bytes(), KEY) + decrypted_wal(path.with_name("profile-wal").read_bytes(), KEY)
    assert b"secret " not in content
    assert all((b"body of %06d" % number in content) is bool(number % 2) for number in range(1, 501))
    database.close()


def test_a_step_that_is_killed_is_done_again(tmp_path: Path) -> None:
    """HT-S-050: each step is one transaction."""
    path = tmp_path / "profile"
    rows = first_version(path, 20)
    connection = open_database(path, key=KEY)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(script(2))
    connection.close()  # nothing was committed
    database = Database(path, KEY)
    assert dict(database.mls_rows(b"group")) == rows
    assert database.number("SELECT count(*) FROM content") == 20
    database.close()
