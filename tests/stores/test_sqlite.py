"""The SQLite store does what every store does, also across a clean end and across kill -9."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.stores.conformance import DAY, TOKEN, Conformance, Make, a_channel, acknowledge, append, erase, seqs

from hanatalk.errors import StorageError
from hanatalk.stores import channels, checkpoints, sqlite
from hanatalk.stores.interface import Acknowledged, Quota, Refusal, Store, Stored
from hanatalk.stores.landing import SUFFIXES, PlainFile
from hanatalk.stores.sqlite import SqliteStore
from hanatalk.wire.classes import EntryClass

KEY = bytes(range(32))


def landed(store: SqliteStore) -> list[channels.Record]:
    return channels.unsettled_records(store._connection, [file.records() for file in store._files])


class _Stores:
    """Opens stores in a folder and closes those that a test leaves open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: dict[Store, tuple[Path, dict[str, Any]]] = {}

    def make(self, path: Path | None = None, **settings: Any) -> Store:
        path = path or self.folder / f"store{len(self.opened)}.db"
        store = SqliteStore(path, key=KEY, **settings)
        self.opened[store] = (path, settings)
        return store


class TestSqliteStore(Conformance):
    """Closed and opened again."""

    @pytest.fixture(autouse=True)
    def stores(self, tmp_path: Path) -> Iterator[_Stores]:
        self._stores = _Stores(tmp_path)
        yield self._stores
        for store in self._stores.opened:
            store.close()

    @pytest.fixture
    def make(self, stores: _Stores) -> Make:
        return stores.make

    def again(self, store: Store) -> Store:
        path, settings = self._stores.opened[store]
        store.close()
        return self._stores.make(path, **settings)


class TestKilledSqliteStore(TestSqliteStore):
    """The files as they lie when the process is killed: copied away under the running store, and opened there."""

    def again(self, store: Store) -> Store:
        path, settings = self._stores.opened[store]
        copied = path.with_name(path.name + "+")
        for suffix in ("", "-wal", *SUFFIXES):
            file = path.with_name(path.name + suffix)
            if file.exists():
                copied.with_name(copied.name + suffix).write_bytes(file.read_bytes())
        return self._stores.make(copied, **settings)


def test_readers_that_were_forgotten_are_not_read_back(tmp_path: Path) -> None:
    """HT-S-024: who read what was burned takes nobody's place among the readers of what comes later."""
    for forget in ("read back", "settled and read back"):
        store = SqliteStore(tmp_path / f"{forget}.db", key=KEY, quota=Quota(channel_readers=2))
        channel = a_channel()
        store.apply([append(channel, burn_after=2)], day=DAY)
        store.apply([acknowledge(channel, b"a", 1)], day=DAY)
        if forget.startswith("settled"):
            store.settle()
        store.apply([acknowledge(channel, b"b", 1)], day=DAY)
        store._stale = True
        store.apply([append(channel, burn_after=2)], day=DAY)
        assert store.apply([acknowledge(channel, b"c", 2), acknowledge(channel, b"d", 2)], day=DAY) == [
            Acknowledged(0),
            Acknowledged(1),
        ]
        store.close()


def test_readers_are_read_back_though_nothing_that_settled_waits_for_them(tmp_path: Path) -> None:
    """HT-S-024: the reader was settled, what waits for readers has only landed."""
    store = SqliteStore(tmp_path / "store.db", key=KEY, quota=Quota(channel_readers=2))
    channel = a_channel()
    store.apply([append(channel, burn_after=3, erasable=True), acknowledge(channel, b"a", 1)], day=DAY)
    store._settling.begin()
    store.apply([append(channel, burn_after=3), erase(channel, 1, TOKEN)], day=DAY)
    while store._settle_step():
        pass
    store._stale = True
    assert store.apply([acknowledge(channel, b"b", 2), acknowledge(channel, b"c", 2)], day=DAY) == [
        Acknowledged(0),
        Refusal("too-many-readers"),
    ]
    store.close()


def test_what_is_burned_in_the_batch_it_came_in_is_never_written(tmp_path: Path) -> None:
    """The acknowledgement may stand in the same commit: nothing of the entry is left."""
    store = SqliteStore(tmp_path / "store.db", key=KEY)
    channel = a_channel()
    store.apply([append(channel, burn_after=1), acknowledge(channel, b"a", 1), append(channel)], day=DAY)
    held = [body for record in landed(store) for body in record.news.bodies if body is not None]
    assert len(held) == 1
    assert seqs(store, channel) == [2]
    store.close()


def test_in_a_conversation_of_two_no_reader_is_remembered(tmp_path: Path) -> None:
    """HT-S-024: the acknowledgement burns the entry and leaves nothing; where others are awaited, until they came."""
    store = SqliteStore(tmp_path / "store.db", key=KEY)

    def remembered() -> list[int]:
        store.settle()
        return [store._connection.only("SELECT count(*) FROM reader")[0], len(landed(store))]

    two, three = a_channel(), a_channel()
    store.apply([append(two, burn_after=1), append(three, burn_after=2), append(a_channel())], day=DAY)
    store.apply([acknowledge(two, b"a", 1)], day=DAY)
    assert remembered() == [0, 0]
    store.apply([acknowledge(three, b"a", 1)], day=DAY)
    assert remembered() == [1, 0]
    store.apply([acknowledge(three, b"b", 1)], day=DAY)
    assert remembered() == [0, 0]
    store.close()


@pytest.mark.parametrize("kind", [EntryClass.MESSAGE, EntryClass.CONTROL])
def test_a_batch_that_fails_leaves_nothing_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: EntryClass
) -> None:
    """HT-S-017, T-080, T-083: the error has a code, the store works on once there is room; whichever file is full."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    store = SqliteStore(tmp_path / "store.db", key=KEY)
    channel = a_channel()
    store.apply([append(channel)], day=DAY)
    store._connection.pragma("max_page_count", store._connection.pragma("page_count"))
    lost = append(channel, b"x" * 60_000, kind)
    with monkeypatch.context() as patch:
        patch.setattr(PlainFile, "write", full)
        for _ in range(2):
            with pytest.raises(StorageError, match=r"storage\.full"):
                store.apply([append(channel), lost], day=DAY)
            assert seqs(store, channel) == [1]
    store._connection.pragma("max_page_count", 1 << 30)
    assert store.apply([lost], day=DAY) == [Stored(2, 0)]
    assert seqs(store, channel) == [1, 2]
    store.close()
    with pytest.raises(StorageError, match=r"storage\.closed"):
        store.apply([], day=DAY)


@pytest.mark.parametrize("rounds", [1, 2, 3, 4])
def test_rows_read_back_from_both_sides_come_in_order(tmp_path: Path, rounds: int) -> None:
    """Whichever pair of tables is the older one, and however far the round was that settles it."""
    store = SqliteStore(tmp_path / "store.db", key=KEY)
    channel = a_channel()
    for n in range(rounds):
        store.apply([append(channel), append(channel, burn_after=1)], day=DAY)
        if n < rounds - 1:
            store.settle()
    for head in range(2 * rounds + 1, 2 * rounds + 4):
        store.tend()
        store.apply([append(channel)], day=DAY)
        store._stale = True  # as after a batch that failed
        assert seqs(store, channel, after=head - 2) == [head - 1, head]
        assert seqs(store, channel) == list(range(1, head + 1))
    store.close()


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db", key=KEY)
    store._connection.pragma("user_version", 99)
    store.close()
    with pytest.raises(StorageError, match=r"storage\.newer"):
        SqliteStore(tmp_path / "store.db", key=KEY)


def test_many_channels_are_let_go_of_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RAM for channels is bounded; those with something unsettled stay."""
    monkeypatch.setattr(channels, "MOST_KEPT", 16)
    store = SqliteStore(tmp_path / "store.db", key=KEY)
    made = [a_channel() for _ in range(200)]
    for turn in range(3):
        for channel in made:
            store.apply([append(channel, burn_after=2), acknowledge(channel, b"a", 99)], day=DAY)
            if turn == 1:
                store._log.wait()  # in a relay the time between two rounds
                store.tend()
        assert len(store._channels._by_id) <= (16 + 200 if turn != 1 else 64)
    assert all(seqs(store, channel) == [1, 2, 3] for channel in made)
    store.settle()
    for channel in made:
        store.apply([acknowledge(channel, b"b", 2)], day=DAY)
    assert all(seqs(store, channel) == [3] for channel in made)
    store.close()


def test_what_is_not_tended_is_bounded_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay under load may not come to tending for long: RAM and the log do not grow without end."""
    monkeypatch.setattr(sqlite, "MOST_LANDED", 500)
    monkeypatch.setattr(checkpoints, "LOG_PAGES", 64)
    store = SqliteStore(tmp_path / "store.db", key=KEY)
    made = [a_channel() for _ in range(10)]
    sizes = []
    for n in range(150):
        store.apply([append(made[n % 10], b"x" * 500) for _ in range(50)], day=DAY)
        sizes.append((tmp_path / "store.db-wal").stat().st_size)
        store._log.wait()
    assert store._channels.landed <= 1_500
    assert max(sizes[75:]) <= max(sizes[:75]) * 1.5 < 8 << 20
    assert all(len(seqs(store, channel)) == 750 for channel in made)
    store.close()
