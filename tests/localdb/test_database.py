"""The local database: transactions, rows, schema steps (spec/04-storage.md, HT-S)."""

import os
from pathlib import Path

import apsw
import pytest

from hanatalk.errors import StorageError
from hanatalk.localdb import rows
from hanatalk.localdb.database import Database

KINDS = [
    kind
    for kind in vars(rows).values()
    if isinstance(kind, type) and issubclass(kind, rows.Row) and kind is not rows.Row
]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "profile.sqlite3", os.urandom(32))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_row_has_the_columns_of_its_table(database: Database, kind: type[rows.Row]) -> None:
    columns = [str(name) for _, name, *_ in database.tuples(f"PRAGMA table_info({kind.table})")]
    assert list(kind.__struct_fields__) == columns


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    """HT-S-051."""
    with pytest.raises(RuntimeError, match="boom"), database.transaction():
        database.put_setting("a", b"1")
        raise RuntimeError("boom")
    assert database.setting("a") is None
    with database.transaction():
        database.put_setting("a", b"2")
    assert database.setting("a") == b"2"


def test_transactions_do_not_nest(database: Database) -> None:
    with database.transaction(), pytest.raises(RuntimeError, match="nest"), database.transaction():
        pass


def test_binding_rows_are_written_and_deleted_in_order(database: Database) -> None:
    """HT-S-052."""
    with database.transaction():
        database.mls_write(b"group", [(b"a", b"1"), (b"b", b"2"), (b"a", None), (b"b", b"3")])
        database.mls_write(b"other", [(b"a", b"9")])
    assert database.mls_rows(b"group") == [(b"b", b"3")]
    database.mls_delete(b"group")
    assert database.mls_rows(b"group") == []
    assert database.mls_rows(b"other") == [(b"a", b"9")]


def test_what_is_written_is_there_after_opening_again(tmp_path: Path) -> None:
    key = os.urandom(32)
    first = Database(tmp_path / "p", key)
    with first.transaction():
        first.insert(rows.Notice(None, None, 5, b"{}"))
    first.close()
    again = Database(tmp_path / "p", key)
    assert again.find(rows.Notice, "1") == [rows.Notice(1, None, 5, b"{}")]
    again.close()
    with pytest.raises(StorageError, match=r"storage\.foreign"):
        Database(tmp_path / "p", os.urandom(32))


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """HT-S-050."""
    key = os.urandom(32)
    database = Database(tmp_path / "p", key)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StorageError, match=r"storage\.newer"):
        Database(tmp_path / "p", key)


def test_deleted_rows_are_overwritten(database: Database) -> None:
    """HT-S-053."""
    assert database.number("PRAGMA secure_delete") == 1


def test_secrets_stay_out_of_repr() -> None:
    """Rows that hold keys, tokens, text or links show none of it."""
    secret = b"\xab" * 32
    shown = [
        repr(rows.Channel(secret, 1, secret, "r", secret, secret, secret, secret, secret, 0, 0, secret, 0, 0)),
        repr(rows.Message(1, secret, secret, secret, secret, 1, 1, 1, 0, secret)),
        repr(rows.Content(1, b"geheim")),
        repr(rows.Outgoing(1, secret, "r", secret, secret, 1, secret, 1, 0, 1, None, secret, 1, secret)),
        repr(rows.Invite(secret, "hana:geheim", secret, 0)),
        repr(rows.Acceptance(secret, "hana:geheim", secret)),
        repr(rows.Resync(secret, secret)),
        repr(rows.Readmission(secret, secret, secret)),
    ]
    for text in shown:
        assert "geheim" not in text
        assert "xab" not in text


def refuse(database: Database, begin: str, error: apsw.Error) -> None:
    """Every statement that begins so fails with this error."""

    def trace(_cursor: object, text: str, _values: object) -> bool:
        if text.startswith(begin):
            raise error
        return True

    database._connection.exec_trace = trace


@pytest.mark.parametrize(
    ("error", "code"),
    [(apsw.FullError, "storage.full"), (apsw.IOError, "storage.io"), (apsw.BusyError, "storage.busy")],
)
def test_t083_every_refusal_of_the_disk_has_a_code(database: Database, error: type[apsw.Error], code: str) -> None:
    """HT-S-080: reads outside of transactions too."""
    refuse(database, "SELECT", error("so it shall be"))
    for read in (
        lambda: database.setting("x"),
        lambda: database.find(rows.Account, "1"),
        lambda: database.tuples("SELECT 1"),
        lambda: database.mls_rows(b"x"),
    ):
        with pytest.raises(StorageError) as caught:
            read()
        assert caught.value.code == code
    with pytest.raises(StorageError), database.transaction():
        with pytest.raises(error):  # nobody who skips a peer's faults takes it for one
            database.setting("x")
        raise error("and out")


def test_t083_what_cannot_be_rolled_back_is_read_by_nobody(tmp_path: Path) -> None:
    """HT-S-082: the connection closes itself; the next open finds nothing of it."""
    key = os.urandom(32)
    database = Database(tmp_path / "a.sqlite3", key)
    refuse(database, "ROLLBACK", apsw.IOError("so it shall be"))
    with pytest.raises(StorageError), database.transaction():
        database.put_setting("x", b"half done")
        raise apsw.FullError("no room")
    for _ in range(2):
        with pytest.raises(StorageError, match=r"storage\.closed"):
            database.setting("x")
        with pytest.raises(StorageError, match=r"storage\.closed"), database.transaction():
            pass
    database.close()
    again = Database(tmp_path / "a.sqlite3", key)
    assert again.setting("x") is None
    again.close()
