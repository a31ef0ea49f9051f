"""The relay dies, or its disk fails, at every step of everything it does (T-019, T-028, T-080 … T-083, HT-S-017).

Append, commit with its turn, feed, acknowledge and burn, take, erase, settle, a drain with the next start, a sweep. The
oracle: what was answered is so after the restart; nothing is there twice, and no seq with two contents; an entry_id and
a take_id get their first answer; what was burned, erased or expired stays away; turns and control hashes go on. Each
point is a process forked from this one (`mortal`).
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.children import fast_folder, in_a_child
from tests.faults.disk import Plain
from tests.faults.points import FAMILIES, NOTHING, Point, failures, points, whole
from tests.relay.mortal import Stage

from hanatalk.stores.sqlite import SqliteStore


def _steps(stage: Stage) -> dict[str, int]:
    steps = in_a_child(lambda: stage.play(NOTHING))
    assert isinstance(steps, dict)
    assert min(steps[kind] for kind in ("statement", "begin", "frame", "change", "read", "sync")) >= 10
    return steps


@pytest.fixture
def folder() -> Iterator[Path]:
    with fast_folder() as found:
        yield found


def test_t081_a_sample_of_the_relays_crash_grid(folder: Path) -> None:
    """Each way to die and each way to fail."""
    stage = Stage(folder)
    assert not failures(points(_steps(stage), most=1), stage.play)


@pytest.mark.soak
@pytest.mark.parametrize("family", FAMILIES)
def test_t081_the_relays_whole_crash_grid(family: str, folder: Path) -> None:
    """Every step, every fault."""
    stage = Stage(folder)
    print(f"\nrelay, {whole(_steps(stage), family, stage.play)}")


def _caught(folder: Path, broken: object, *, kind: str, fault: str) -> None:
    stage = Stage(folder)
    chosen = [point for point in points(_steps(stage), most=60) if (point.kind, point.fault) == (kind, fault)]

    def play(point: Point) -> object:
        return stage.play(point, broken)  # type: ignore[arg-type]

    assert any(failures([point], play) for point in chosen), f"not one of {len(chosen)} points saw it"


def _no_sync() -> None:
    Plain.sync = lambda _file: None  # type: ignore[method-assign]


def _ram_goes_on_after_a_rollback() -> None:
    ready = SqliteStore._ready

    def not_read_again(self: SqliteStore) -> None:
        if hasattr(self, "_settling") and getattr(self, "_began", False):
            self._stale = False
        self._began = True  # type: ignore[attr-defined]
        ready(self)

    SqliteStore._ready = not_read_again  # type: ignore[method-assign]


def test_the_grid_sees_a_store_that_does_not_sync(folder: Path) -> None:
    _caught(folder, _no_sync, kind="change", fault="power-0")


def test_the_grid_sees_a_store_whose_ram_says_more_than_its_rows(folder: Path) -> None:
    _caught(folder, _ram_goes_on_after_a_rollback, kind="write", fault="full")
