"""The local database is encrypted or it is not opened (T-048, HT-S-001 …); shared half: tests/test_cipherfile.py."""

from pathlib import Path

import pytest

from hanatalk.cipherfile import open_cipherfile
from hanatalk.errors import StorageError
from hanatalk.localdb.cipher import APPLICATION, mapped_errors, open_database

KEY = bytes(range(32))


def test_what_is_written_is_there_again_and_not_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "profile.sqlite3"
    connection = open_database(path, key=KEY)
    connection.execute("CREATE TABLE t (x); INSERT INTO t VALUES ('canary')")
    connection.close()
    assert b"canary" not in path.read_bytes()
    connection = open_database(path, key=KEY)
    assert connection.execute("SELECT x FROM t").get == "canary"
    assert connection.pragma("application_id") == APPLICATION
    connection.close()


def test_the_pragmas_of_the_design_hold(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "db", key=KEY)
    found = {
        name: connection.pragma(name)
        for name in ("journal_mode", "synchronous", "secure_delete", "temp_store", "foreign_keys", "cell_size_check")
    }
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "temp_store": 2,
        "foreign_keys": 1,
        "cell_size_check": 1,
    }
    assert connection.pragma("busy_timeout") == 0
    connection.close()


def test_a_relays_store_is_foreign(tmp_path: Path) -> None:
    open_cipherfile(tmp_path / "db", key=KEY, application=APPLICATION + 1).close()
    with pytest.raises(StorageError) as caught:
        open_database(tmp_path / "db", key=KEY)
    assert caught.value.code == "storage.foreign"


def test_a_second_writer_is_busy_at_once(tmp_path: Path) -> None:
    first, second = (open_database(tmp_path / "db", key=KEY) for _ in range(2))
    first.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError) as caught, mapped_errors():
        second.execute("BEGIN IMMEDIATE")
    assert caught.value.code == "storage.busy"
    first.close()
    second.close()
