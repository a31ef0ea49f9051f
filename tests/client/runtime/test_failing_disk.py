"""The disk fails under a profile that is open: whoever waits, listens or calls is told why (T-083, HT-S-080)."""

import asyncio
import time
from pathlib import Path

import apsw
import pytest

from hanatalk.client import calls, create_profile, open_profile
from hanatalk.client.engine.formats import links
from hanatalk.client.runtime.doorway import Remote
from hanatalk.client.runtime.owner import Owner
from hanatalk.errors import HanaError, StorageError

NOWHERE = "ws://127.0.0.1:9"


def break_disk(owner: Owner, error: type[apsw.Error]) -> None:
    def trace(*_: object) -> bool:
        raise error("so it shall be")

    owner._engine._core.db._connection.exec_trace = trace


async def _listen(profile: Owner | Remote) -> None:
    async for _ in profile.events():
        pass


@pytest.mark.parametrize(
    ("error", "code"),
    [(apsw.FullError, "storage.full"), (apsw.IOError, "storage.io"), (apsw.BusyError, "storage.busy")],
)
async def test_t083_a_profile_closes_with_the_disks_error(tmp_path: Path, error: type[apsw.Error], code: str) -> None:
    """A timer meets the failing disk. A listener in this process gets the error, one in another the end; calls fail."""
    home = tmp_path / "home"
    create_profile(home, name="민지", relay=NOWHERE, passphrase=None)
    async with open_profile(home, passphrase=None) as owner, open_profile(home, passphrase=None) as remote:
        assert isinstance(owner, Owner)
        assert isinstance(remote, Remote)
        listening, from_afar = asyncio.ensure_future(_listen(owner)), asyncio.ensure_future(_listen(remote))
        await remote.call(calls.Status())
        waiting = asyncio.ensure_future(owner.call(calls.Sync(wait=30.0)))
        await asyncio.sleep(0)
        break_disk(owner, error)
        owner._tick()
        for ended in (listening, waiting):
            with pytest.raises(StorageError) as caught:
                await asyncio.wait_for(ended, 5)
            assert caught.value.code == code
        await asyncio.wait_for(asyncio.gather(from_afar, return_exceptions=True), 5)
        for profile in (owner, remote):
            with pytest.raises(HanaError) as refused:
                await profile.call(calls.Status())
            assert refused.value.code == code
    async with open_profile(home, passphrase=None) as again:
        assert isinstance(await again.call(calls.Status()), calls.Account)


async def test_t080_a_call_that_meets_a_full_disk_is_refused_and_the_next_one_is_not(tmp_path: Path) -> None:
    """Room is made in between; the process goes on."""
    home = tmp_path / "home"
    create_profile(home, name="민지", relay=NOWHERE, passphrase=None)
    async with open_profile(home, passphrase=None) as owner:
        assert isinstance(owner, Owner)
        connection = owner._engine._core.db._connection

        def full(_cursor: object, text: str, _values: object) -> bool:
            if text.startswith("INSERT"):
                connection.exec_trace = None
                raise apsw.FullError("no room")
            return True

        connection.exec_trace = full
        with pytest.raises(StorageError, match=r"storage\.full"):
            await owner.call(calls.Accept(link=_link(), wait=0.1))
        with pytest.raises(HanaError, match="network"):
            await owner.call(calls.Accept(link=_link(), wait=0.1))
        assert isinstance(await owner.call(calls.Status()), calls.Account)


def _link() -> str:
    return links.compose(
        links.InviteLink(1, NOWHERE, b"k" * 32, b"s" * 32, b"w" * 32, b"a" * 32, b"h" * 32, int(time.time()) + 600)
    )
