"""The SQLite store on a disk that loses power and a disk that fails (T-080, T-082, T-083; HT-S-017)."""

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from tests.faults.disk import Disk, Plain
from tests.stores.conformance import DAY, acknowledge, append

from hanatalk import cipherfile
from hanatalk.errors import StorageError
from hanatalk.ids import ChannelId
from hanatalk.stores import checkpoints, landing
from hanatalk.stores.interface import Operation, Stored
from hanatalk.stores.memory import MemoryStore
from hanatalk.stores.sqlite import SqliteStore
from hanatalk.wire.classes import EntryClass

KEY = bytes(range(32))
CHANNELS = [ChannelId(bytes([n]) * 32) for n in range(6)]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk()
    with monkeypatch.context() as patch:
        patch.setattr(cipherfile, "EncryptedConnection", made.connection)
        patch.setattr(landing, "PlainFile", made.plain)
        patch.setattr(checkpoints, "LOG_PAGES", 40)  # so that checkpoints come often
        yield made


def a_batch(chance: random.Random) -> list[Operation]:
    operations: list[Operation] = []
    for _ in range(chance.choice((1, 2, 12))):
        channel = chance.choice(CHANNELS)
        if chance.random() < 0.2:
            operations.append(acknowledge(channel, b"r", chance.randrange(40)))
        else:
            kind = chance.choice(list(EntryClass))
            body = os.urandom(chance.choice((100, 1_000, 6_000)))
            operations.append(append(channel, body, kind, burn_after=chance.choice((None, 1, 2))))
    return operations


def held(store: SqliteStore | MemoryStore) -> dict[tuple[ChannelId, int], bytes]:
    return {
        (channel, entry.seq): entry.entry
        for channel in CHANNELS
        for entry in store.read(channel, after=0, entries=10_000, size=1 << 30)
    }


def lost_by_power_cuts(disk: Disk, folder: Path) -> tuple[int, int]:
    """Cut the power at many moments, inside commits too; how many cuts, and how many of them lost something stored."""
    chance = random.Random(82)
    store = SqliteStore(folder / "store.db", key=KEY)
    model = MemoryStore()
    cuts: list[tuple[dict[str, bytes], list[dict[tuple[ChannelId, int], bytes]]]] = []
    states = [held(model)]  # what is held now, and while a batch is being stored also what is held after it
    due = chance.randrange(30)

    def maybe_cut(_call: str, _path: str) -> None:
        nonlocal due
        due -= 1
        if due < 0:
            due = chance.randrange(90)
            cuts.append((disk.after_a_power_cut(chance), list(states)))

    disk.fault = maybe_cut
    for _ in range(120):
        batch = a_batch(chance)
        expected = model.apply(batch, day=DAY)
        states.append(held(model))
        assert store.apply(batch, day=DAY) == expected
        del states[0]
        if chance.random() < 0.2:
            store.tend()
    disk.fault = lambda _call, _path: None
    store.close()
    lost = 0
    for number, (files, either) in enumerate(cuts):
        after = folder / f"cut-{number}"
        after.mkdir()
        for path, content in files.items():
            (after / Path(path).name).write_bytes(content)
        try:
            again = SqliteStore(after / "store.db", key=KEY)
            lost += held(again) not in either or again._connection.pragma("integrity_check") != "ok"
            again.close()
        except (StorageError, apsw.Error):
            lost += 1
    return len(cuts), lost


def test_t082_what_was_answered_survives_a_power_cut(disk: Disk, tmp_path: Path) -> None:
    """Any part of what was not synced is lost: what was answered is there, of the rest a whole batch or nothing."""
    cuts, lost = lost_by_power_cuts(disk, tmp_path)
    assert cuts > 30
    assert lost == 0


def test_t082_the_power_cut_is_one(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positive control: a store that does not sync what lands loses what it answered."""
    monkeypatch.setattr(Plain, "sync", lambda _file: None)
    cuts, lost = lost_by_power_cuts(disk, tmp_path)
    assert lost > cuts / 10


@pytest.mark.parametrize("kind", ["EIO", "ENOSPC", "BUSY"])
@pytest.mark.parametrize("call", ["write", "sync", "read"])
def test_t083_a_failing_disk_stores_a_batch_whole_or_not_at_all(
    disk: Disk, tmp_path: Path, kind: str, call: str
) -> None:
    """At every n-th call of the disk once: an error with a code, nothing of the batch, and the store works on."""
    errors = {"EIO": apsw.IOError, "ENOSPC": apsw.FullError, "BUSY": apsw.BusyError}
    chance = random.Random(83)
    store = SqliteStore(tmp_path / "store.db", key=KEY)
    store._connection.pragma("cache_size", 8)  # so that it reads
    model = MemoryStore()
    failed = 0
    left = 0

    def fail(its_call: str, _path: str) -> Exception | None:
        nonlocal left
        if its_call != call:
            return None
        left -= 1
        return errors[kind](os.strerror(errno.EIO)) if left == 0 else None

    for number in range(150):  # a batch syncs once, so that most of them meet no failing sync
        batch = a_batch(chance)
        left, disk.fault = 1 + number % 15, fail
        try:
            results = store.apply(batch, day=DAY)
        except StorageError as error:
            assert error.code in ("storage.io", "storage.full", "storage.busy")
            failed += 1
            results = None
        try:
            store.tend()
        except StorageError:
            failed += 1
        disk.fault = lambda _call, _path: None
        if results is not None:
            assert results == model.apply(batch, day=DAY)
        assert held(store) == held(model), number
        assert store.holdings() == model.holdings()
    while store.tend():
        pass
    assert store.apply([append(CHANNELS[0], b"after")], day=DAY) == model.apply(
        [append(CHANNELS[0], b"after")], day=DAY
    )
    assert held(store) == held(model)
    assert store._connection.pragma("integrity_check") == "ok"
    store.close()
    assert failed >= (3 if call == "read" else 10)
    again = SqliteStore(tmp_path / "store.db", key=KEY)
    assert held(again) == held(model)
    assert isinstance(again.apply([append(CHANNELS[1])], day=DAY)[0], Stored)
    again.close()
