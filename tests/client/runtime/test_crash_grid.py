"""Making a profile, killed or refused by the disk at any step (T-081, T-082, T-083; HT-S-034, HT-S-084)."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.children import fast_folder, in_a_child
from tests.faults.points import FAMILIES, NOTHING, Point, Steps, failures, points, whole

from hanatalk.client import calls, create_profile, open_profile
from hanatalk.errors import ProfileError, StorageError
from hanatalk.localdb.vault import KdfCost

NOWHERE = "ws://127.0.0.1:9"
PASSPHRASE = "옳은 비밀번호"
CHEAP = KdfCost(memory_kib=64, passes=1, lanes=1)


class Making:
    """`hana init`, at each point in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def play(self, point: Point) -> dict[str, int]:
        """In this process. Afterwards: there is a profile that opens, or none and making it again works."""
        folder = self.folder / f"{point.kind}-{point.number}-{point.fault}"
        folder.mkdir()
        counted: dict[str, int] = {}
        try:
            counted = in_a_child(lambda: self._make(folder / "home", point))
        except AssertionError:
            if not point.kills:
                raise
        home = folder / ("after" if point.fault.startswith("power") else "home")
        try:
            create_profile(home, name="민지", relay=NOWHERE, passphrase=PASSPHRASE, cost=CHEAP)
        except ProfileError as error:
            assert error.code == "profile.exists"
        asyncio.run(self._open(home))
        shutil.rmtree(folder)
        return counted

    def _make(self, home: Path, point: Point) -> dict[str, int]:
        steps = Steps(point, home)
        steps.watch_files()
        try:
            create_profile(home, name="민지", relay=NOWHERE, passphrase=PASSPHRASE, cost=CHEAP)
        except StorageError as error:
            assert error.code in ("storage.full", "storage.io", "storage.busy")
            assert point != NOTHING
        return steps.counts

    async def _open(self, home: Path) -> None:
        async with open_profile(home, passphrase=lambda: PASSPHRASE, floor=CHEAP) as profile:
            found = await profile.call(calls.Status())
            assert isinstance(found, calls.Account)
            assert found.name == "민지"


@pytest.fixture
def making() -> Iterator[Making]:
    with fast_folder() as folder:
        yield Making(folder)


def _steps(making: Making) -> dict[str, int]:
    steps = in_a_child(lambda: making.play(NOTHING))
    assert isinstance(steps, dict)
    assert steps["file"] >= 4
    return steps


def test_t081_a_sample_of_making_a_profile(making: Making) -> None:
    """HT-S-034: killed at any moment there is no profile, or a whole one."""
    assert not failures(points(_steps(making), most=1), making.play)


@pytest.mark.soak
@pytest.mark.parametrize("family", FAMILIES)
def test_t081_making_a_profile_at_every_step(making: Making, family: str) -> None:
    print(f"\nmaking a profile, {whole(_steps(making), family, making.play)}")
