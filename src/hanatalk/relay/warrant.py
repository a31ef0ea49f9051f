"""Everything a relay holds, printed: what a warrant would get (HT-S-040 … HT-S-043).

Every byte of every file in the data folder is accounted for by kind, and every row of the store is counted by table. It
reads only, and works beside a running relay as well as on a folder that was seized.
"""

import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from hanatalk.cipherfile import EncryptedConnection, mapped_errors, open_cipherfile
from hanatalk.errors import StorageError
from hanatalk.ids import ChannelId
from hanatalk.stores.holdings import read_holdings
from hanatalk.stores.interface import Holding
from hanatalk.stores.landing import SUFFIXES, read_landing_files
from hanatalk.stores.opening import BESIDE, FILE, KEY_FILE, find_key
from hanatalk.stores.sqlite import APPLICATION
from hanatalk.wire.classes import EntryClass

WAL_HEADER, FRAME_HEADER = 32, 24  # bytes, SQLite's file format
ABSENT = ("accounts", "names", "contacts", "groups", "addresses", "exact-times", "texts", "message-keys")
_KEY_FILES = {KEY_FILE: "store-key", "signing.key": "signing-key", "tls.key": "tls-key", "relay.lock": "lock"}


class Part(msgspec.Struct, frozen=True):
    """Bytes of one kind within a file, e.g. the pages of one table."""

    kind: str
    size: int


class FileHeld(msgspec.Struct, frozen=True):
    """One file; its parts add up to its size. `opened`: the store's key fits, so its rows can be read."""

    name: str
    size: int
    parts: list[Part]


class Entries(msgspec.Struct, frozen=True, kw_only=True):
    """How many entries of one class, UTC day (since 1970) and padded size, over all channels asked for."""

    entry_class: str = msgspec.field(name="class")
    day: int
    size: int
    count: int


class ChannelHeld(msgspec.Struct, frozen=True):
    """One channel: its id (a hash that names nobody) and how many entries it holds, of how many bytes."""

    channel: str
    entries: int
    size: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it. `rows` counts the rows of each table; `absent` names what does not exist to be handed over."""

    files: list[FileHeld]
    total: int  # bytes of all files
    rows: dict[str, int]
    entries: list[Entries]
    channels: list[ChannelHeld]
    absent: list[str]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def report(data: Path, *, key_source: str = BESIDE, channel: ChannelId | None = None) -> Report:
    """Look at a relay's data folder.

    :param key_source: where the store's key lies, as for `relay serve`; without it the store's pages are ciphertext
        and no row can be read
    :param channel: only this channel's entries
    :raises StorageError: ``warrant.no-data`` there is no such folder; ``storage.key`` the key file holds no key;
        ``storage.foreign`` it is another file's key
    """
    if not data.is_dir():
        raise StorageError("warrant.no-data")
    with contextlib.ExitStack() as stack:
        store, key = _open(data, key_source, stack)
        with mapped_errors():
            sizes = {
                str(path.relative_to(data)): path.stat().st_size for path in sorted(data.rglob("*")) if path.is_file()
            }
            files = [FileHeld(name, size, _parts(name, size, store)) for name, size in sizes.items()]
            rows = _rows(store) if store is not None else {}
            held = _holdings(store, data, key) if store is not None else []
    held = [holding for holding in held if channel is None or holding.channel_id == channel]
    entries: Counter[tuple[int, int, int]] = Counter()
    counts: Counter[ChannelId] = Counter()
    bytes_held: Counter[ChannelId] = Counter()
    for holding in held:
        entries[int(holding.entry_class), holding.day, holding.size] += holding.count
        counts[holding.channel_id] += holding.count
        bytes_held[holding.channel_id] += holding.count * holding.size
    return Report(
        files=files,
        total=sum(sizes.values()),
        rows=rows,
        entries=[
            Entries(entry_class=EntryClass(number).name.lower(), day=day, size=size, count=count)
            for (number, day, size), count in sorted(entries.items())
        ],
        channels=[ChannelHeld(found.hex(), counts[found], bytes_held[found]) for found in sorted(counts)],
        absent=list(ABSENT),
    )


def _open(data: Path, key_source: str, stack: contextlib.ExitStack) -> tuple[EncryptedConnection | None, bytes]:
    """The store and its key, or None if there is none or its key is not to be had."""
    if not (data / FILE).exists() or not (data / FILE).stat().st_size:
        return None, b""
    try:
        key = find_key(data, key_source)
    except StorageError as error:
        if error.code == "storage.key-missing":
            return None, b""
        raise
    connection = open_cipherfile(data / FILE, key=key, application=APPLICATION, read_only=True)
    stack.callback(connection.close)
    return connection, key


def _holdings(store: EncryptedConnection, data: Path, key: bytes) -> list[Holding]:
    """What is held. A running relay may be settling one of its two files meanwhile: then look again."""
    while True:
        settled = store.only("SELECT settled FROM progress")
        held = read_holdings(store, read_landing_files(data / FILE, key=key))
        if store.only("SELECT settled FROM progress") == settled:
            return held


def _rows(store: EncryptedConnection) -> dict[str, int]:
    tables = [str(name) for (name,) in store.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")]
    counted = {}
    for table in tables:
        (count,) = store.only(f'SELECT count(*) FROM "{table}"')  # noqa: S608 (a name out of the schema)
        counted[table] = int(count)
    return counted


def _parts(name: str, size: int, store: EncryptedConnection | None) -> list[Part]:
    """Split a file's bytes by kind; the parts add up to `size`."""
    if name == FILE and store is not None:
        return _pages(size, store)
    if name.endswith("-wal"):
        return _log(size, store)
    if name.endswith("-shm"):
        return [Part("log-index", size)]
    if name.endswith(SUFFIXES):
        return [Part("landing", size)]
    if name.endswith(".db"):
        return [Part("ciphertext", size)]
    return [Part(_KEY_FILES.get(name, "other"), size)]


def _pages(size: int, store: EncryptedConnection) -> list[Part]:
    page_size = int(store.pragma("page_size"))
    owners = dict(store.execute("SELECT pageno, name FROM dbstat"))
    counted: Counter[str] = Counter()
    for page in range(1, size // page_size + 1):
        counted[f"pages of {owners[page]}" if page in owners else "free pages"] += page_size
    if size % page_size:
        counted["rest"] += size % page_size
    return [Part(kind, count) for kind, count in sorted(counted.items())]


def _log(size: int, store: EncryptedConnection | None) -> list[Part]:
    if store is None or size < WAL_HEADER:
        return [Part("ciphertext", size)]
    page_size = int(store.pragma("page_size"))
    frames, rest = divmod(size - WAL_HEADER, FRAME_HEADER + page_size)
    parts = [Part("log-header", WAL_HEADER), Part("log-frame-headers", frames * FRAME_HEADER)]
    parts.append(Part("log-pages", frames * page_size))
    return [part for part in [*parts, Part("rest", rest)] if part.size]
