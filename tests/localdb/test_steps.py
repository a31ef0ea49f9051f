"""Schema steps on databases that are there already (HT-S-050)."""

import importlib.resources
import os
from pathlib import Path

from tests.stores.carving import decrypted, decrypted_wal

from hanatalk.localdb.cipher import open_database
from hanatalk.localdb.database import VERSION, Database
from hanatalk.localdb.rows import Content, Message, Outgoing

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


def test_a_step_gives_the_outbox_indexes_and_keeps_its_frames(tmp_path: Path) -> None:
    """HT-S-050: a queue written by the version before is there, in order, and found by what it carries."""
    path = tmp_path / "profile"
    connection = open_database(path, key=KEY)
    for step in range(1, 6):
        if step != 2:
            connection.execute(script(step))
        else:
            connection.execute(script(2) + "DROP TABLE mls_open;")
    entries = [os.urandom(512) for _ in range(300)]
    for number, entry in enumerate(entries, start=1):
        connection.execute(
            "INSERT INTO outbox (entry_id, relay, channel, read_half, read_is_token, write_token, entry_class, entry, "
            "kind, owner, refused_turn, stored_seq) VALUES (?, ?, ?, ?, 1, ?, 1, ?, 1, ?, ?, ?)",
            (
                os.urandom(16),
                f"ws://127.0.0.1:{number % 3}",
                b"c" * 32,
                b"r" * 32,
                b"w" * 32,
                entry,
                b"o" * 16,
                7 if number % 100 == 0 else None,
                8 if number % 50 == 0 else None,
            ),
        )
    connection.execute("INSERT INTO relay (url, key) VALUES ('ws://127.0.0.1:1', NULL)")
    connection.execute("PRAGMA user_version = 5")
    connection.close()
    database = Database(path, KEY)
    assert database.number("PRAGMA user_version") == VERSION
    assert [frame.entry for frame in database.find(Outgoing, "1 ORDER BY number")] == entries
    found = "channel = ? AND substr(entry, 1, 12) = ?"
    assert [frame.number for frame in database.find(Outgoing, found, b"c" * 32, entries[41][:12])] == [42]
    assert database.number("SELECT count(*) FROM outbox WHERE refused_turn IS NOT NULL") == 3
    assert database.number("SELECT count(*) FROM outbox WHERE channel = ? AND stored_seq > 1", b"c" * 32) == 6
    assert database.value("PRAGMA integrity_check") == "ok"
    database.close()
