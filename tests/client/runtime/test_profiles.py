"""The profile folder and its owner, with a real relay process where one is needed."""

import asyncio
import os
import stat
from pathlib import Path

import pytest

from hanatalk.client import calls, create_profile, needs_passphrase, open_profile, wipe_profile
from hanatalk.client.runtime import doorway
from hanatalk.errors import HanaError, NetworkError, ProfileError, UsageError
from hanatalk.localdb.vault import KdfCost

NOWHERE = "ws://127.0.0.1:9"
CHEAP = KdfCost(memory_kib=64, passes=1, lanes=1)


def _make(home: Path, *, passphrase: str | None = None) -> None:
    create_profile(home, name="민지", relay=NOWHERE, passphrase=passphrase, cost=CHEAP if passphrase else None)


async def test_a_profile_is_made_opened_and_closed(tmp_path: Path) -> None:
    home = tmp_path / "deep" / ("x" * 120) / "home"  # longer than a unix socket's path may be
    _make(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    async with open_profile(home, passphrase=None) as profile:
        status = await profile.call(calls.Status())
        assert isinstance(status, calls.Account)
        assert (status.name, status.relay, status.connected) == ("민지", NOWHERE, False)
        assert stat.S_IMODE((home / doorway.NAME).stat().st_mode) == 0o600
    assert not (home / doorway.NAME).exists()


async def test_a_second_profile_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    _make(tmp_path / "home")
    with pytest.raises(ProfileError, match=r"profile\.exists"):
        _make(tmp_path / "home")


def test_bad_names_and_relays_leave_nothing(tmp_path: Path) -> None:
    for name, relay in (("", NOWHERE), ("a\nb", NOWHERE), ("x" * 65, NOWHERE), ("ok", "http://x"), ("ok", "nonsense")):
        with pytest.raises(UsageError):
            create_profile(tmp_path / "home", name=name, relay=relay, passphrase=None)
    assert not (tmp_path / "home").exists()


async def test_no_profile_is_said(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"profile\.none"):
        async with open_profile(tmp_path / "nobody", passphrase=None):
            pass


async def test_t052_a_wrong_passphrase_is_refused_and_the_right_one_opens(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _make(home, passphrase="옳은 비밀번호")
    assert needs_passphrase(home, floor=CHEAP)
    with pytest.raises(ProfileError, match=r"profile\.wrong-passphrase"):
        async with open_profile(home, passphrase=lambda: "틀린", floor=CHEAP):
            pass
    async with open_profile(home, passphrase=lambda: "옳은 비밀번호", floor=CHEAP) as profile:
        await profile.call(calls.Chats())


async def test_t084_a_second_opener_goes_through_the_first(tmp_path: Path) -> None:
    """T-084: one owner; the other reaches it through the socket and gets the same answers and errors."""
    home = tmp_path / "home"
    _make(home)
    async with open_profile(home, passphrase=None) as owner, open_profile(home, passphrase=None) as remote:
        assert isinstance(remote, doorway.Remote)
        assert await remote.call(calls.Status()) == await owner.call(calls.Status())
        for profile in (owner, remote):
            with pytest.raises(UsageError) as caught:
                await profile.call(calls.Messages(conversation="niemand"))
            assert (caught.value.code, caught.value.detail) == ("name.unknown", {"name": "niemand"})


async def test_an_unreachable_relay_is_said(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _make(home)
    async with open_profile(home, passphrase=None) as profile:
        for call in (calls.Sync(wait=5.0), calls.Invite()):
            with pytest.raises(NetworkError, match=r"network\.unreachable"):
                await asyncio.wait_for(profile.call(call), 10)


async def test_lock_ends_the_owner_and_its_listeners(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _make(home)
    async with open_profile(home, passphrase=None) as owner, open_profile(home, passphrase=None) as remote:
        listening = asyncio.ensure_future(_drain(remote))
        await remote.call(calls.Status())
        assert await remote.call(calls.Lock()) == calls.Done()
        await asyncio.wait_for(listening, 5)
        with pytest.raises(HanaError):
            await owner.call(calls.Sync())


async def _drain(profile) -> None:  # type: ignore[no-untyped-def]
    async for _ in profile.events():
        pass


async def test_wiping_leaves_no_file(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _make(home)
    await asyncio.to_thread(wipe_profile, home)
    assert not home.exists() or os.listdir(home) == []
    with pytest.raises(ProfileError, match=r"profile\.none"):
        await asyncio.to_thread(wipe_profile, home)


async def test_wiping_under_a_running_owner_ends_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _make(home)
    async with open_profile(home, passphrase=None) as owner:
        await asyncio.to_thread(wipe_profile, home)
        with pytest.raises(HanaError):
            await owner.call(calls.Sync(wait=1.0))
    assert not home.exists() or os.listdir(home) == []


async def test_what_a_crash_left_of_making_a_profile_is_replaced(tmp_path: Path) -> None:
    """Killed between the vault's header and the database: the folder is no profile, making it again works."""
    home = tmp_path / "home"
    _make(home)
    for name in os.listdir(home):
        if name.startswith("profile.sqlite3"):
            (home / name).unlink()
    _make(home)
    async with open_profile(home, passphrase=None) as profile:
        await profile.call(calls.Chats())


async def test_a_foreign_file_as_profile_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _make(home)
    (home / "vault.json").write_text('{"hello": "world"}')
    with pytest.raises(ProfileError, match=r"profile\.foreign"):
        async with open_profile(home, passphrase=None):
            pass


async def test_nonsense_at_the_door_is_answered(tmp_path: Path) -> None:
    """The socket's parser: malformed calls get an error, the owner goes on."""
    home = tmp_path / "home"
    _make(home)
    async with open_profile(home, passphrase=None) as owner:
        for line in (b"\n", b"{}\n", b'{"call":"nope"}\n', b"\xff\xfe\n", b"[" * 100_000 + b"\n"):
            with doorway._address(home) as address:
                reader, writer = await asyncio.open_unix_connection(address)
            writer.write(line)
            answer = await asyncio.wait_for(reader.readline(), 5)
            assert b"call.malformed" in answer
            writer.close()
        assert isinstance(await owner.call(calls.Status()), calls.Account)
