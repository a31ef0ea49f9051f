"""Opens the store that an operator asked for, and finds or makes the key of its file (HT-S-007 … HT-S-009)."""

import os
import re
from pathlib import Path

from hanatalk.cipherfile import COMPANIONS, KEY_LENGTH, mapped_errors, write_private
from hanatalk.errors import StorageError, UsageError
from hanatalk.stores.interface import Quota, Retention, Store
from hanatalk.stores.landing import SUFFIXES
from hanatalk.stores.memory import MemoryStore
from hanatalk.stores.sqlite import SqliteStore

FILE = "store.db"
KEY_FILE = "store.key"
RAM_FILE = "store-ram.db"  # its key died with the process that made it
BESIDE = "beside"
RAM = "ram"
_KEY_TEXT = re.compile(rb"[0-9a-f]{64}\n?", re.ASCII)


def open_store(
    kind: str,
    *,
    data: Path | None,
    key_source: str = BESIDE,
    retention: Retention | None = None,
    quota: Quota | None = None,
) -> Store:
    """Open the store in the folder `data`, which the caller holds for itself (HT-R-095).

    :param kind: ``sqlite`` or ``memory``.
    :param key_source: ``beside``: a file of mode 0600 in `data`; ``ram``: nowhere, what an earlier process left is
        removed; anything else is the path of the key file. A key file is made if there is none and no database either.
    :raises UsageError: ``store.unknown``, ``relay.data-needed``
    :raises StorageError: ``storage.key`` the key file does not hold a key; ``storage.key-missing`` there is a database,
        but no key file; and those of `SqliteStore`.
    """
    if kind == "memory":
        return MemoryStore(retention=retention, quota=quota)
    if kind != "sqlite":
        raise UsageError("store.unknown", kind=kind)
    if data is None:
        raise UsageError("relay.data-needed")
    if key_source == RAM:
        _remove_database(data / RAM_FILE)
        return SqliteStore(data / RAM_FILE, key=os.urandom(KEY_LENGTH), retention=retention, quota=quota)
    key = find_key(data, key_source, make=not (data / FILE).exists())
    return SqliteStore(data / FILE, key=key, retention=retention, quota=quota)


def find_key(data: Path, key_source: str, *, make: bool = False) -> bytes:
    """The 32-byte key of the store in `data`.

    :param make: write a new random one (mode 0600) if there is no file.
    :raises StorageError: ``storage.key``, ``storage.key-missing``, ``storage.io``
    """
    path = data / KEY_FILE if key_source == BESIDE else Path(key_source)
    with mapped_errors():
        if make and not path.exists():
            write_private(path, os.urandom(KEY_LENGTH).hex().encode() + b"\n")
        if not path.exists():
            raise StorageError("storage.key-missing")
        content = path.read_bytes()
    # Exactly as we write it: an empty, cut or badly written key must not become some other key (T-048).
    if not _KEY_TEXT.fullmatch(content):
        raise StorageError("storage.key", expected=KEY_LENGTH)
    return bytes.fromhex(content.decode("ascii"))


def _remove_database(path: Path) -> None:
    with mapped_errors():
        for suffix in ("", *COMPANIONS, *SUFFIXES):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
