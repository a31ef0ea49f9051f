"""Every way to a file that is not encrypted is closed (T-048); the disk's errors have codes (HT-S-001 … HT-S-007)."""

import ast
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from tests.stores.carving import decrypted

import hanatalk
from hanatalk import cipherfile
from hanatalk.cipherfile import EncryptedConnection, blank_file, companions, erase_file, open_cipherfile, write_private
from hanatalk.errors import HanaError, StorageError

KEY = bytes(range(32))
APPLICATION = 0x54455354


def opened(path: Path, key: bytes = KEY, *, read_only: bool = False) -> EncryptedConnection:
    return open_cipherfile(path, key=key, application=APPLICATION, read_only=read_only)


def filled(path: Path) -> EncryptedConnection:
    connection = opened(path)
    connection.execute("CREATE TABLE t (x); INSERT INTO t VALUES ('canary')")
    return connection


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(HanaError) as caught:
        call()
    return caught.value.code


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.db"


def test_the_file_is_noise_but_for_eight_bytes(path: Path) -> None:
    """Bytes 16 to 23 (page size, versions, reserve) are readable, sqlite3mc leaves them so; nothing else is."""
    connection = filled(path)
    for file in companions(path):
        assert b"canary" not in file.read_bytes()
    connection.close()
    content = path.read_bytes()
    assert content[:16] != cipherfile.PLAINTEXT_HEADER
    assert b"canary" not in content
    assert b"CREATE TABLE" not in content
    assert content[16:24] == bytes.fromhex("1000020220402020")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("key", [b"", bytes(32), KEY[:-1], KEY + b"x", KEY.hex().encode(), KEY.hex()])
def test_t048_a_key_that_is_empty_or_not_32_raw_bytes_is_refused(path: Path, key: bytes) -> None:
    assert refused(lambda: opened(path, key)) == "storage.key"
    assert not path.exists()


def test_t048_the_trap_is_real(path: Path) -> None:
    """Positive control: what sqlite3mc does when it is not watched."""
    for pragma in ("PRAGMA key=''", "PRAGMA kye='raw:" + KEY.hex() + "'"):
        connection = apsw.Connection(str(path))
        connection.execute(pragma)
        connection.execute("CREATE TABLE t (x)")
        connection.close()
        assert path.read_bytes().startswith(cipherfile.PLAINTEXT_HEADER)
        assert refused(lambda: opened(path)) == "storage.plaintext"
        path.unlink()


@pytest.mark.parametrize("spelling", ["PRAGMA kye='raw:{}'", "PRAGMA key=''", "PRAGMA key='raw:{}z'"])
def test_t048_a_misspelt_pragma_in_our_own_code_would_be_caught(
    path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    def badly(connection: EncryptedConnection, key: bytes) -> None:
        connection.pragma("cipher", cipherfile.CIPHER)
        connection.execute(spelling.format(key.hex()))

    if "z" not in spelling:  # a bad key becomes a passphrase: encrypted, and found out by the next open
        with monkeypatch.context() as patch:
            patch.setattr(cipherfile, "_unlock", badly)
            assert refused(lambda: opened(path)) == "storage.plaintext"
    else:
        with monkeypatch.context() as patch:
            patch.setattr(cipherfile, "_unlock", badly)
            opened(path).close()
        assert refused(lambda: opened(path)) == "storage.foreign"


def test_the_key_is_used_raw(path: Path) -> None:
    """Decrypted here by RFC 8439 alone, without sqlite3mc: no derivation, no passphrase in between."""
    filled(path).close()
    pages = decrypted(path.read_bytes(), KEY)
    assert b"canary" in pages
    assert pages[24:].find(b"CREATE TABLE t (x)") > 0


def test_t048_attach_and_what_uses_it_are_refused(path: Path, tmp_path: Path) -> None:
    connection = filled(path)
    other = tmp_path / "other.db"
    for statement in (
        f"ATTACH '{other}' AS other",
        f"ATTACH '{other}' AS other KEY ''",
        f"ATTACH '{other}' AS other KEY 'raw:{KEY.hex()}'",
        f"VACUUM INTO '{other}'",
        "VACUUM",
        "PRAGMA rekey=''",
        "PRAGMA ReKey=''",
        "PRAGMA main.rekey=''",
        "PRAGMA hexrekey=''",
        "PRAGMA textrekey=''",
        "PRAGMA key=''",
        f"PRAGMA rekey='raw:{KEY.hex()}'",
    ):
        with pytest.raises(apsw.Error):
            connection.execute(statement)
        assert not other.exists(), statement
    connection.close()
    assert b"canary" not in path.read_bytes()
    assert not path.read_bytes().startswith(cipherfile.PLAINTEXT_HEADER)
    assert opened(path).execute("SELECT x FROM t").get == "canary"


def test_t048_backup_and_serialize_are_refused_both_ways(path: Path, tmp_path: Path) -> None:
    connection = filled(path)
    plain = apsw.Connection(str(tmp_path / "plain.db"))
    assert refused(lambda: connection.backup("main", plain, "main")) == "storage.refused"
    assert refused(lambda: connection.serialize("main")) == "storage.refused"
    with pytest.raises(apsw.Error):  # sqlite3mc itself refuses a plaintext target
        plain.backup("main", connection, "main")
    plain.close()
    assert (tmp_path / "plain.db").stat().st_size == 0


def test_t048_only_one_module_opens_databases() -> None:
    root = Path(hanatalk.__file__).parent
    for module in root.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            opens = isinstance(node, ast.Attribute) and node.attr == "Connection" and ast.unparse(node.value) == "apsw"
            imports = isinstance(node, ast.Import | ast.ImportFrom) and any(
                name.name.split(".")[0] == "sqlite3" for name in node.names
            )
            assert not imports, module
            assert not opens or module.name == "cipherfile.py", module


def test_another_key_is_foreign(path: Path) -> None:
    filled(path).close()
    before = path.read_bytes()
    assert refused(lambda: opened(path, bytes(range(1, 33)))) == "storage.foreign"
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"x", b"not a database" * 1000, os.urandom(8192)])
def test_a_foreign_file_is_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert refused(lambda: opened(path)) == "storage.foreign"
    assert path.read_bytes() == content


def test_a_flipped_byte_is_noticed(path: Path) -> None:
    connection = opened(path)
    connection.execute("CREATE TABLE t (x)")
    connection.execute("INSERT INTO t SELECT randomblob(1000) FROM json_each(json_array(1,2,3,4,5,6,7,8))")
    connection.close()
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)

    def read_all() -> None:
        connection = opened(path)
        try:
            with cipherfile.mapped_errors():
                connection.execute("SELECT sum(length(x)) FROM t").fetchall()
        finally:
            connection.close()

    assert refused(read_all) in ("storage.broken", "storage.io", "storage.foreign")


def test_nothing_but_a_regular_file_is_opened(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    assert refused(lambda: opened(path)) == "storage.io"
    assert not (tmp_path / "elsewhere").exists()
    assert refused(lambda: opened(tmp_path / "no" / "such" / "folder")) == "storage.io"
    assert refused(lambda: opened(tmp_path)) == "storage.io"


def test_read_only_changes_nothing(path: Path) -> None:
    assert refused(lambda: opened(path, read_only=True)) == "storage.io"
    assert not path.exists()
    writer = filled(path)
    reader = opened(path, read_only=True)
    assert reader.execute("SELECT x FROM t").get == "canary"
    with pytest.raises(StorageError) as caught, cipherfile.mapped_errors():
        reader.execute("INSERT INTO t VALUES (1)")
    assert caught.value.code == "storage.io"
    reader.close()
    writer.close()


def test_reading_what_nobody_has_open_leaves_nothing_beside_it(path: Path) -> None:
    filled(path).close()
    path = path.rename(path.with_name("a name with ? # % in it.db"))
    before = path.read_bytes()
    reader = opened(path, read_only=True)
    assert reader.execute("SELECT x FROM t").get == "canary"
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    reader.close()
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_what_a_killed_writer_left_in_the_log_is_read(path: Path, tmp_path: Path) -> None:
    writer = filled(path)
    left = tmp_path / "left"
    left.mkdir()
    for suffix in ("", "-wal"):
        (left / (path.name + suffix)).write_bytes(path.with_name(path.name + suffix).read_bytes())
    writer.close()
    reader = opened(left / path.name, read_only=True)
    assert reader.execute("SELECT x FROM t").get == "canary"
    reader.close()


def test_writing_anew_leaves_no_copies_in_the_slack_of_pages(path: Path) -> None:
    """SQLite's secure_delete alone does (the control): rows that were moved and then deleted stay in part."""
    connection = opened(path)
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, x)")
    order = random.Random(7).sample(range(2_000), 2_000)
    with connection:
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(n, b"canary" * (20 + n % 150)) for n in order])
        connection.executemany("DELETE FROM t WHERE n = ?", [(n,) for n in order if n % 4])
        connection.execute("UPDATE t SET x = zeroblob(length(x))")
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    assert b"canary" in decrypted(path.read_bytes(), KEY)
    connection.compact()
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    assert b"canary" not in decrypted(path.read_bytes(), KEY)
    assert connection.only("SELECT count(*) FROM t") == (500,)
    for statement in ("VACUUM", "PRAGMA rekey=''", "ATTACH ':memory:' AS other"):
        with pytest.raises(apsw.Error):  # refused again
            connection.execute(statement)
    connection.close()
    assert not path.read_bytes().startswith(cipherfile.PLAINTEXT_HEADER)


def test_another_build_of_apsw_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.delattr(apsw, "mc_version")
        assert refused(cipherfile.check_build) == "storage.build"
    with monkeypatch.context() as patch:
        patch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
        assert refused(cipherfile.check_build) == "storage.build"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (apsw.FullError(), "storage.full"),
        (apsw.IOError(), "storage.io"),
        (apsw.CantOpenError(), "storage.io"),
        (apsw.BusyError(), "storage.busy"),
        (apsw.CorruptError(), "storage.broken"),
        (apsw.NotADBError(), "storage.foreign"),
        (OSError(28, "no space"), "storage.full"),
        (OSError(5, "io"), "storage.io"),
    ],
)
def test_errors_of_the_disk_have_codes(error: Exception, code: str) -> None:
    with pytest.raises(StorageError) as caught, cipherfile.mapped_errors():
        raise error
    assert caught.value.code == code


def test_bugs_are_not_hidden() -> None:
    with pytest.raises(apsw.SQLError), cipherfile.mapped_errors():
        raise apsw.SQLError


def test_a_full_database_says_so(path: Path) -> None:
    connection = filled(path)
    connection.pragma("max_page_count", 4)
    with pytest.raises(StorageError) as caught, cipherfile.mapped_errors():
        connection.execute("INSERT INTO t VALUES (randomblob(100000))")
    assert caught.value.code == "storage.full"
    connection.close()


# Small private files


def test_a_private_file_is_there_whole_and_the_former_one_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, b"first secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open("rb") as former:
        write_private(path, b"second secret")
        assert former.read() == b""
    assert path.read_bytes() == b"second secret"
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_erasing_overwrites_before_removing(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"secret")
    os.link(path, tmp_path / "witness")
    erase_file(path)
    assert not path.exists()
    assert (tmp_path / "witness").read_bytes() == b""
    erase_file(path)
    blank_file(path)
    (tmp_path / "victim").write_bytes(b"kept")
    path.symlink_to(tmp_path / "victim")
    erase_file(path)
    assert (tmp_path / "victim").read_bytes() == b"kept"
    assert not path.is_symlink()
