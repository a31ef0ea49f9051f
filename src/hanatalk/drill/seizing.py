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
from hanatalk.stores.channels import read_landing
from hanatalk.stores.landing import read_landing_files

ENTRY_SIZES = frozenset({512, 1_024, 4_096, 16_384, 65_536})  # bytes; what clients pad to (spec/02-mls-profile.md)


def relay_rows(data: Path) -> bytes:
    """Every row of every table of a relay's store, and what has landed beside it. Works beside a running relay.

    :raises StorageError: the folder holds no store, or not its key
    """
    with closing(_relay(data, read_only=True)) as connection:
        return b"".join([*_rows(connection), *(record for file in _landing(data) for _, record in file)])


def profile_rows(home: Path) -> bytes:
    """Every row of every table of a profile without a passphrase, search index included. Works beside a running owner.

    :raises ProfileError: no such profile, or its key is not there
    """
    unlocked = Vault(home, keyring=os_keyring()).open(passphrase=None)
    path = home / PROFILE_FILE
    with closing(open_cipherfile(path, key=unlocked.key, application=cipher.APPLICATION, read_only=True)) as connection:
        return b"".join(_rows(connection))


def entries(data: Path) -> list[bytes]:
    """Every entry that a relay holds: the values of a declared size, wherever its store keeps them."""
    with closing(_relay(data, read_only=True)) as connection:
        settled = [value for _, _, value in _entries(connection)]
        return settled + [body for _, body in read_landing(connection, _landing(data))]


def flip_byte(data: Path, entry: bytes, *, offset: int) -> None:
    """Change one bit of one stored entry of a stopped relay, as a relay that forges would."""
    changed = bytearray(entry)
    changed[offset] ^= 1
    with closing(_relay(data, read_only=False)) as connection:
        for table, column, value in _entries(connection):
            if value == entry:
                connection.execute(
                    f'UPDATE "{table}" SET "{column}" = ? WHERE "{column}" = ?',  # noqa: S608 (names out of the schema)
                    (bytes(changed), entry),
                )


def _entries(connection: EncryptedConnection) -> list[tuple[str, str, bytes]]:
    """Table, column and value, read whole before anything is changed."""
    found: list[tuple[str, str, bytes]] = []
    for table in _tables(connection):
        cursor = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608 (a name out of the schema)
        for row in cursor:
            columns = [name for name, _ in cursor.get_description()]
            found += [
                (table, column, value)
                for column, value in zip(columns, row, strict=True)
                if isinstance(value, bytes) and len(value) in ENTRY_SIZES
            ]
    return found


def _relay(data: Path, *, read_only: bool) -> EncryptedConnection:
    key = opening.find_key(data, opening.BESIDE)
    return open_cipherfile(data / opening.FILE, key=key, application=sqlite.APPLICATION, read_only=read_only)


def _landing(data: Path) -> list[list[tuple[int, bytes]]]:
    return read_landing_files(data / opening.FILE, key=opening.find_key(data, opening.BESIDE))


def _tables(connection: EncryptedConnection) -> list[str]:
    found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    return [str(name) for (name,) in found]


def _rows(connection: EncryptedConnection) -> Iterator[bytes]:
    for table in _tables(connection):
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
