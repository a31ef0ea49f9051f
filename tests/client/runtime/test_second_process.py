"""Two processes on one profile, also if the first is killed, stopped, or left its socket behind (T-084, HT-S-083)."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from tests.faults.children import fork

from hanatalk.cipherfile import open_cipherfile
from hanatalk.client import Profile, calls, create_profile, open_profile, wipe_profile
from hanatalk.client.engine.formats import links
from hanatalk.client.runtime import doorway, profiles
from hanatalk.errors import NetworkError, ProfileError, StorageError
from hanatalk.localdb import cipher
from hanatalk.localdb.database import FILE
from hanatalk.localdb.vault import KdfCost, Vault

NOWHERE = "ws://127.0.0.1:9"
PASSPHRASE = "옳은 비밀번호"
CHEAP = KdfCost(memory_kib=64, passes=1, lanes=1)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(doorway, "HOLD_WAIT", 0.3)
    monkeypatch.setattr(profiles, "OWNER_WAIT", 0.5)
    home = tmp_path / "home"
    create_profile(home, name="민지", relay=NOWHERE, passphrase=PASSPHRASE, cost=CHEAP)
    return home


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[Profile]:
    async with open_profile(home, passphrase=lambda: PASSPHRASE, floor=CHEAP) as profile:
        yield profile


async def status(home: Path) -> str:
    async with opened(home) as profile:
        answer = await profile.call(calls.Status())
        assert isinstance(answer, calls.Account)
        return answer.name


@contextmanager
def owner_process(home: Path) -> Iterator[int]:
    """A process that has the profile open; killed at the end."""
    reading, writing = os.pipe()

    async def own() -> None:
        async with opened(home):
            os.write(writing, b"open")
            await asyncio.sleep(60)

    child = fork(lambda: asyncio.run(own()))
    os.close(writing)
    try:
        assert os.read(reading, 4) == b"open"
        yield child
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_t084_after_kill_9_the_next_one_owns_the_profile(home: Path) -> None:
    """Its socket and its lock file are still there; neither stands in the way."""
    with owner_process(home) as child:
        assert asyncio.run(status(home)) == "민지"  # through the first
        assert (home / doorway.NAME).exists()
        os.kill(child, signal.SIGKILL)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert (home / doorway.NAME).exists()
        assert asyncio.run(status(home)) == "민지"


def within(seconds: float, act: Callable[[], object]) -> None:
    began = time.monotonic()
    act()
    assert time.monotonic() - began < seconds


def test_t084_a_first_one_that_is_stopped_is_said_and_not_waited_for(home: Path) -> None:
    """SIGSTOP: the kernel still accepts connections for it, nobody answers. Once it goes on, so does everybody."""
    with owner_process(home) as child:
        os.kill(child, signal.SIGSTOP)

        def refused() -> None:
            with pytest.raises(ProfileError) as caught:
                asyncio.run(status(home))
            assert caught.value.code == "profile.in-use"
            assert caught.value.detail == {"pid": child}

        within(20, refused)
        os.kill(child, signal.SIGCONT)
        assert asyncio.run(status(home)) == "민지"


def test_t084_an_owner_that_stops_in_the_middle_of_a_call_is_not_waited_for_forever(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorway, "ANSWER_WAIT", 0.3)

    async def ask(child: int) -> None:
        async with opened(home) as remote:
            os.kill(child, signal.SIGSTOP)
            with pytest.raises(ProfileError, match=r"profile\.closed"):
                await remote.call(calls.Status())
            os.kill(child, signal.SIGCONT)

    with owner_process(home) as child:
        within(20, lambda: asyncio.run(ask(child)))


def test_t054_the_panic_wipe_waits_for_nobody(home: Path) -> None:
    """The owner is stopped: the key goes all the same, and first."""
    with owner_process(home) as child:
        os.kill(child, signal.SIGSTOP)
        within(20, lambda: wipe_profile(home))
        assert not home.exists() or not os.listdir(home)
    with pytest.raises(ProfileError, match=r"profile\.none"):
        asyncio.run(status(home))


@contextmanager
def somebody_has_locked(home: Path, how: str) -> Iterator[None]:
    """Another program writes to the database, against all rules: it did not ask for the profile's lock."""
    reading, writing = os.pipe()
    going, ending = os.pipe()

    def hold() -> None:
        key = Vault(home, floor=CHEAP).open(passphrase=PASSPHRASE).key
        connection = open_cipherfile(home / FILE, key=key, application=cipher.APPLICATION)
        connection.execute(how)
        os.write(writing, b"held")
        os.read(going, 1)
        connection.execute("ROLLBACK")
        connection.close()

    child = fork(hold)
    try:
        assert os.read(reading, 4) == b"held"
        yield
    finally:
        os.write(ending, b".")
        os.waitpid(child, 0)
        for descriptor in (reading, writing, going, ending):
            os.close(descriptor)


@pytest.mark.parametrize("how", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_t084_a_database_that_another_program_has_locked_is_busy(home: Path, how: str) -> None:
    with somebody_has_locked(home, how), pytest.raises(StorageError, match=r"storage\.busy"):
        asyncio.run(status(home))
    assert asyncio.run(status(home)) == "민지"


def test_t084_a_lock_taken_while_the_profile_is_open_is_an_error_and_no_end(home: Path) -> None:
    """A call meets the lock: refused with a code. The next one, once it is gone, is carried out, without a restart."""
    link = links.compose(
        links.InviteLink(1, NOWHERE, b"k" * 32, b"s" * 32, b"w" * 32, b"a" * 32, b"h" * 32, int(time.time()) + 600)
    )

    async def go() -> None:
        async with opened(home) as profile:
            with somebody_has_locked(home, "BEGIN IMMEDIATE"), pytest.raises(StorageError, match=r"storage\.busy"):
                await profile.call(calls.Accept(link=link))
            with pytest.raises(NetworkError):  # durable now, and nobody is there to ask
                await profile.call(calls.Accept(link=link, wait=0.1))

    asyncio.run(go())
