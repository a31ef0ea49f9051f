"""The relay dies, or its disk fails, at every step of everything it does (T-019, T-028, T-080 … T-083, HT-S-017).

Append, commit with its turn, feed, acknowledge and burn, take, erase, settle, a drain with the next start, a sweep. The
oracle: what was answered is so after the restart; nothing is there twice, and no seq with two contents; an entry_id and
a take_id get their first answer; what was burned, erased or expired stays away; turns and control hashes go on. Each
point is a process forked from this one (`mortal`).
"""

import time
from pathlib import Path

import pytest
from tests.faults.children import in_a_child
from tests.faults.points import NOTHING, Point, failures, points, sample
from tests.relay.mortal import Stage

from hanatalk.stores import sqlite
from hanatalk.stores.sqlite import SqliteStore


def _steps(stage: Stage) -> dict[str, int]:
    steps = in_a_child(lambda: stage.play(NOTHING))
    assert isinstance(steps, dict)
    assert min(steps[kind] for kind in ("statement", "begin", "frame", "change", "read", "sync")) >= 10
    return steps


def test_t081_a_sample_of_the_relays_crash_grid(tmp_path: Path) -> None:
    """Each way to die and each way to fail, at two steps."""
    stage = Stage(tmp_path)
    steps = _steps(stage)
    chosen = points(steps, most=2)
    assert {point.kind for point in sample(steps, 0)} <= {point.kind for point in chosen}
    assert not failures(chosen, stage.play)


@pytest.mark.soak
def test_t081_the_relays_whole_crash_grid(tmp_path: Path) -> None:
    """Every step, every fault."""
    stage = Stage(tmp_path)
    chosen, began = points(_steps(stage)), time.monotonic()
    found = failures(chosen, stage.play)
    print(f"\nrelay: {len(chosen)} points in {time.monotonic() - began:.0f} s, {len(found)} failures")
    assert not found


def _caught(folder: Path, broken: object, *, kind: str, fault: str) -> None:
    stage = Stage(folder)
    chosen = [point for point in points(_steps(stage), most=60) if (point.kind, point.fault) == (kind, fault)]

    def play(point: Point) -> object:
        return stage.play(point, broken)  # type: ignore[arg-type]

    assert any(failures([point], play) for point in chosen), f"not one of {len(chosen)} points saw it"


def _no_sync() -> None:
    connect = sqlite._connect

    def unsynced(path: Path, key: bytes) -> object:
        connection = connect(path, key)
        connection.pragma("synchronous", "NORMAL")
        return connection

    sqlite._connect = unsynced  # type: ignore[assignment]


def _ram_goes_on_after_a_rollback() -> None:
    ready = SqliteStore._ready

    def not_read_again(self: SqliteStore) -> None:
        if hasattr(self, "_settling") and getattr(self, "_began", False):
            self._stale = False
        self._began = True  # type: ignore[attr-defined]
        ready(self)

    SqliteStore._ready = not_read_again  # type: ignore[method-assign]


def test_the_grid_sees_a_store_that_does_not_sync(tmp_path: Path) -> None:
    _caught(tmp_path, _no_sync, kind="change", fault="power-0")


def test_the_grid_sees_a_store_whose_ram_says_more_than_its_rows(tmp_path: Path) -> None:
    _caught(tmp_path, _ram_goes_on_after_a_rollback, kind="write", fault="full")
