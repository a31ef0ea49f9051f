"""Making, opening and wiping a profile folder."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from hanatalk.cipherfile import mapped_errors, sync_folder
from hanatalk.client import calls, engine
from hanatalk.client.events import Event
from hanatalk.client.runtime.doorway import Doorway, Remote
from hanatalk.client.runtime.owner import Owner
from hanatalk.errors import HanaError, ProfileError, StorageError, UsageError
from hanatalk.localdb.database import FILE, Database
from hanatalk.localdb.lock import ProfileLock
from hanatalk.localdb.vault import FLOOR, KdfCost, KeptIn, Vault, calibrate, os_keyring
from hanatalk.transport.urls import parse_relay_url

WIPE_WAIT = 5.0  # seconds for a running owner to end
OWNER_WAIT = 5.0  # seconds for a process that holds the lock to open its door, or to let go


class Profile(Protocol):
    """An open profile, owned by this process or another."""

    async def call(self, call: calls.Call) -> calls.Result:
        """Carry out one call; the result is of the call's `Result` type. :raises HanaError:"""
        ...

    def events(self, begun: asyncio.Event | None = None) -> AsyncIterator[Event]:
        """What happens from now on; `begun` is set once nothing is missed any more, which may take a while."""
        ...


class ProfileMade(msgspec.Struct, frozen=True, kw_only=True):
    """A new profile. `key_place`: where what opens it is kept: ``passphrase``, ``keyring`` or ``file``."""

    account: str
    device: str
    name: str
    key_place: str


def create_profile(
    home: Path,
    *,
    name: str,
    relay: str,
    fallbacks: Sequence[str] = (),
    passphrase: str | None,
    access_pass: bytes | None = None,
    cost: KdfCost | None = None,
    paper: bytes | None = None,
) -> ProfileMade:
    """Make a profile in `home`; no network. What a crash left of an earlier try is replaced.

    :param passphrase: None: the key is kept in the keyring or, without one, in a file
    :param fallbacks: relays where new conversations go when `relay` is gone
    :param access_pass: of `relay`, if it asks for one
    :param paper: seed of a paper device, 32 random bytes that the caller shows to the person and forgets (HT-M-131)
    :param cost: of the passphrase; None: calibrated to about a second. Only tests lower it
    :raises ProfileError: ``profile.exists``; :raises UsageError: ``name.invalid``, ``relay.url``, ``relay.twice``,
        ``relay.too-many``
    """
    bare = [parse_relay_url(url).without_fragment for url in (relay, *fallbacks)]
    if len(set(bare)) < len(bare):
        raise UsageError("relay.twice")
    engine.check_name(name)
    with ProfileLock(home):
        keyring = os_keyring() if passphrase is None else None
        vault = Vault(home, keyring=keyring, floor=cost or FLOOR)
        if _unfinished(home, vault):
            vault.destroy()
        if passphrase is not None and cost is None:
            cost = calibrate(time.perf_counter)
        unlocked = vault.create(passphrase=passphrase, cost=cost)
        try:
            relays = [relay, *fallbacks]
            made = _fill(home, unlocked.key, name=name, relays=relays, access_pass=access_pass, paper=paper)
        except BaseException:
            vault.destroy()
            raise
    return ProfileMade(
        account=made.account.hex(), device=made.device.key.hex(), name=made.name, key_place=str(unlocked.kept_in)
    )


def _fill(
    home: Path, key: bytes, *, name: str, relays: list[str], access_pass: bytes | None, paper: bytes | None
) -> engine.Identity:
    """Make the database under another name: one that has its own name has somebody in it (HT-S-084)."""
    passing = home / f"{FILE}.new"
    database = Database(passing, key)
    try:
        first, *rest = relays
        made = engine.create(database, name=name, relay=first, fallbacks=rest, access_pass=access_pass, paper=paper)
        if not database.empty_log():
            raise StorageError("storage.busy")
    finally:
        database.close()
    with mapped_errors():
        passing.replace(home / FILE)
    sync_folder(home)
    return made


def _unfinished(home: Path, vault: Vault) -> bool:
    """A header without a database of its own name: the process died in between, nobody's messages are in there."""
    try:
        vault.kept_in()
    except ProfileError:
        return False
    return not (home / FILE).exists()


def needs_passphrase(home: Path, *, floor: KdfCost = FLOOR) -> bool:
    """:raises ProfileError: ``profile.none``, ``profile.foreign``"""
    return Vault(home, floor=floor).kept_in() is KeptIn.PASSPHRASE


@contextlib.asynccontextmanager
async def open_profile(
    home: Path,
    *,
    passphrase: Callable[[], str] | None,
    floor: KdfCost = FLOOR,
    patience: engine.Patience = engine.PATIENCE,
) -> AsyncIterator[Profile]:
    """Own the profile, or go through the process that does.

    :param passphrase: asked for only if it is needed
    :param floor: the least passphrase cost that is accepted; only tests lower it
    :param patience: with a relay that is gone; only tests lower it
    :raises ProfileError: ``profile.none``, ``profile.foreign``, ``profile.wrong-passphrase``, ``profile.in-use``
    """
    kept_in = Vault(home, floor=floor).kept_in()
    lock = ProfileLock(home)
    elsewhere = await _lock_or_connect(lock, home)
    if elsewhere is not None:
        try:
            yield elsewhere
        finally:
            elsewhere.let_go()
        return
    try:
        given = passphrase() if kept_in is KeptIn.PASSPHRASE and passphrase is not None else None
        keyring = os_keyring() if kept_in is KeptIn.KEYRING else None
        unlocked = Vault(home, keyring=keyring, floor=floor).open(passphrase=given)
        if not (home / FILE).exists():
            raise ProfileError("profile.none")
        database = Database(home / FILE, unlocked.key)
        del unlocked, given
        revoked = False
        try:
            async with _owned(home, database, patience) as owner:
                yield owner
                with contextlib.suppress(StorageError):  # then whoever opens it next asks again
                    revoked = owner.revoked
        except ProfileError as error:
            revoked = error.code == "profile.revoked"
            raise
        finally:
            database.close()
            if revoked:
                Vault(home, keyring=keyring, floor=floor).destroy()  # another own device asked for it (HT-M-128)
    finally:
        lock.release()


async def _lock_or_connect(lock: ProfileLock, home: Path) -> Remote | None:
    """Take the lock (None), or connect to who holds it; who is just opening or closing the profile is waited for."""
    deadline = time.monotonic() + OWNER_WAIT
    while True:
        try:
            lock.acquire()
        except ProfileError as error:
            if error.code != "profile.in-use":
                raise
            owner = Remote(home)
            with contextlib.suppress(ProfileError):
                await owner.hold()
                return owner
            if time.monotonic() > deadline:
                raise
        else:
            return None
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def _owned(home: Path, database: Database, patience: engine.Patience) -> AsyncIterator[Owner]:
    owner = Owner(engine.Engine(database, patience=patience))
    doorway = Doorway(owner)
    await doorway.start(home)
    try:
        owner.start()
        yield owner
    finally:
        await doorway.stop(home)
        await owner.stop()


def wipe_profile(home: Path) -> None:
    """Destroy the profile: the key first, then every file; then a running owner is told to end.

    :raises ProfileError: ``profile.none``; :raises StorageError: ``storage.io`` (the key is gone nevertheless)
    """
    vault = Vault(home)
    with contextlib.suppress(HanaError):
        vault = Vault(home, keyring=os_keyring() if vault.kept_in() is KeptIn.KEYRING else None)
    asyncio.run(_wipe(home, vault))


async def _wipe(home: Path, vault: Vault) -> None:
    owner = Remote(home)
    with contextlib.suppress(HanaError, OSError):
        await owner.hold()  # the socket's name is wiped with everything else: connect before
    vault.destroy()
    with contextlib.suppress(HanaError, OSError, TimeoutError):
        await asyncio.wait_for(owner.call(calls.Lock()), WIPE_WAIT)
