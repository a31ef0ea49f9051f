"""What somebody holds who seized a relay's folder with its key, or a profile with its key: every row, decrypted."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw

from hanatalk.cipherfile import EncryptedConnection, open_cipherfile
from hanatalk.localdb import cipher
from hanatalk.localdb.database import FILE as PROFILE_FILE
from hanatalk.localdb.vault import Vault, os_keyring
from hanatalk.stores import opening, sqlite
from hanatalk.wire.classes import EntryClass


def relay_rows(data: Path) -> bytes:
    """Every row of every table of a relay's store. Works beside a running relay.

    :raises StorageError: the folder holds no store, or not its key
    """
    with closing(_relay(data, read_only=True)) as connection:
        return b"".join(_rows(connection))


def profile_rows(home: Path) -> bytes:
    """Every row of every table of a profile without a passphrase, search index included. Works beside a running owner.

    :raises ProfileError: no such profile, or its key is not there
    """
    unlocked = Vault(home, keyring=os_keyring()).open(passphrase=None)
    path = home / PROFILE_FILE
    with closing(open_cipherfile(path, key=unlocked.key, application=cipher.APPLICATION, read_only=True)) as connection:
        return b"".join(_rows(connection))


def waiting_messages(data: Path) -> list[int]:
    """Row numbers of the entries of class message that a stopped relay holds."""
    with closing(_relay(data, read_only=True)) as connection:
        found = connection.execute("SELECT n FROM entry WHERE class = ? ORDER BY n", (EntryClass.MESSAGE,))
        return [int(n) for (n,) in found]


def flip_byte(data: Path, n: int, *, offset: int) -> None:
    """Change one bit of one stored entry of a stopped relay, as a relay that forges would."""
    with closing(_relay(data, read_only=False)) as connection:
        ((body,),) = connection.execute("SELECT body FROM entry WHERE n = ?", (n,)).fetchall()
        changed = bytearray(body if isinstance(body, bytes) else b"")
        changed[offset] ^= 1
        connection.execute("UPDATE entry SET body = ? WHERE n = ?", (bytes(changed), n))


def _relay(data: Path, *, read_only: bool) -> EncryptedConnection:
    key = opening.find_key(data, opening.BESIDE)
    return open_cipherfile(data / opening.FILE, key=key, application=sqlite.APPLICATION, read_only=read_only)


def _rows(connection: EncryptedConnection) -> Iterator[bytes]:
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()]
    for table in tables:
        try:
            cursor = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608 (a name out of the schema)
        except apsw.SQLError:
            continue  # a virtual table whose module is not loaded here; its shadow tables are read
        for row in cursor:
            yield b"\0".join(_content(value) for value in row) + b"\n"


def _content(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return b"" if value is None else str(value).encode()
