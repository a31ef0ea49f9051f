"""The key of the local database, and who may have it (spec/04-storage.md HT-S-030 …).

A random 32-byte database key is wrapped (AES-256-GCM) under a key that comes from the passphrase by Argon2id, or that
lies in the operating system's keyring, or, where there is none, in a key file of mode 0600 beside the profile. The
header `vault.json` holds the wrapped key; every parameter in it is authenticated by the wrapping, and a cost below the
floor is refused before any work is done with it (T-053, HT-S-032). Nothing else in the profile tells a right passphrase
from a wrong one, so each guess costs one Argon2id (T-052, HT-S-031).
"""

import enum
import hashlib
import os
import shutil
import struct
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Protocol

import msgspec
from argon2.exceptions import HashingError
from argon2.low_level import ARGON2_VERSION, Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hanatalk.cipherfile import KEY_LENGTH, blank_file, erase_file, mapped_errors, write_private
from hanatalk.errors import HanaError, ProfileError, StorageError, UsageError
from hanatalk.localdb import lock

HEADER = "vault.json"
KEY_FILE = "vault.key"
KEYRING_SERVICE = "hanatalk"
SALT_LENGTH = 16
NONCE_LENGTH = 12
WRAPPED_LENGTH = KEY_LENGTH + 16
HEADER_LIMIT = 4_096  # bytes; a larger file is not ours
MOST_MEMORY_KIB = 4 << 20  # a header asking for more is not ours: opening must not exhaust the machine
MOST_PASSES = 1_024
MOST_LANES = 64


class KdfCost(msgspec.Struct, frozen=True, kw_only=True):
    """What one guess of a passphrase costs: Argon2id (RFC 9106) memory, passes over it, lanes."""

    memory_kib: int = 256 << 10
    passes: int = 3
    lanes: int = 4


FLOOR = KdfCost(passes=1, lanes=1)  # the least that is opened: 256 MiB


def calibrate(clock: Callable[[], float], *, seconds: float = 1.0, base: KdfCost | None = None) -> KdfCost:
    """Passes so that one derivation takes about `seconds` here, never fewer than in `base` (default: `KdfCost()`).

    :param clock: monotonic seconds, e.g. `time.perf_counter`; this room reads no clock itself.
    """
    base = base if base is not None else KdfCost()
    _derive(b"warm up", bytes(SALT_LENGTH), base)  # the first run also pays for the pages
    start = clock()
    _derive(b"calibrate", bytes(SALT_LENGTH), base)
    took = max(clock() - start, 1e-6)
    passes = round(base.passes * seconds / took)
    return msgspec.structs.replace(base, passes=min(max(passes, base.passes), MOST_PASSES))


class Keyring(Protocol):
    """The operating system's keyring. Entries are text; errors are the backend's own."""

    def get_password(self, service: str, username: str) -> str | None: ...

    def set_password(self, service: str, username: str, password: str) -> None: ...

    def delete_password(self, service: str, username: str) -> None: ...


def os_keyring() -> Keyring | None:
    """The best backend that keeps secrets with the operating system, None where there is no such backend.

    Backends that write a file themselves, and the empty ones, do not count: our key file is the honest form of that.
    """
    from keyring import backend  # a slow import that only `--no-passphrase` needs

    real = ("SecretService", "libsecret", "kwallet", "macOS", "Windows")
    found: list[tuple[float, Keyring]] = []
    for candidate in backend.get_all_keyring():
        module = type(candidate).__module__
        if module.startswith("keyring.backends.") and module.split(".")[2] in real:
            with suppress(Exception):  # a backend that cannot even say its priority is not there
                found.append((float(candidate.priority), candidate))
    return max(found, key=lambda pair: pair[0])[1] if found else None


class KeptIn(enum.StrEnum):
    """Where the key that opens the header comes from (HT-S-033)."""

    PASSPHRASE = "passphrase"  # noqa: S105 (a place, not a passphrase)
    KEYRING = "keyring"
    KEY_FILE = "file"


class Unlocked:
    """An open vault: `key` is the database's, 32 bytes; `kept_in` is for the command to say what that means."""

    __slots__ = ("kept_in", "key")

    def __init__(self, key: bytes, kept_in: KeptIn) -> None:
        self.key = key
        self.kept_in = kept_in

    def __repr__(self) -> str:
        return f"Unlocked(kept_in={self.kept_in.value!r})"


_Hex16 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]
_Hex12 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{24}\Z")]
_Hex48 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{96}\Z")]


class _Kdf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    memory_kib: Annotated[int, msgspec.Meta(ge=8, le=MOST_MEMORY_KIB)]
    passes: Annotated[int, msgspec.Meta(ge=1, le=MOST_PASSES)]
    lanes: Annotated[int, msgspec.Meta(ge=1, le=MOST_LANES)]
    name: Literal["argon2id"]
    version: Literal[19]

    def cost(self) -> KdfCost:
        return KdfCost(memory_kib=self.memory_kib, passes=self.passes, lanes=self.lanes)


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file. `check` finds accidental damage only; what counts is the tag inside `wrapped`."""

    salt: _Hex16  # of Argon2id; else the name of the keyring's entry
    nonce: _Hex12
    wrapped: _Hex48
    check: _Hex16
    kept_in: KeptIn
    kdf: _Kdf | None
    format: Literal["hana-vault"]
    version: Literal[1]

    def bound(self) -> bytes:
        """The additional authenticated bytes of the wrapping: everything that says how to get the wrapping key."""
        cost = (self.kdf.memory_kib, self.kdf.passes, self.kdf.lanes) if self.kdf is not None else (0, 0, 0)
        kept_in = self.kept_in.value.encode()
        return b"hana/vault/1" + struct.pack(">B", len(kept_in)) + kept_in + struct.pack(">III", *cost) + self._salt()

    def _salt(self) -> bytes:
        return bytes.fromhex(self.salt)

    def checksum(self) -> str:
        content = self.bound() + bytes.fromhex(self.nonce) + bytes.fromhex(self.wrapped)
        return hashlib.sha256(b"hana/vault-check/1" + content).hexdigest()[:32]


class Vault:
    """The key of the profile folder `home`.

    :param keyring: used by `create` without a passphrase, and to open such a profile; None: a key file instead.
    :param floor: the least Argon2id cost that is made or opened. Only tests lower it.
    """

    def __init__(self, home: Path, *, keyring: Keyring | None = None, floor: KdfCost = FLOOR) -> None:
        self._home = home
        self._keyring = keyring
        self._floor = floor

    def kept_in(self) -> KeptIn:
        """Where the key comes from, without opening anything. :raises ProfileError: as `open`"""
        return self._read().kept_in

    def create(self, *, passphrase: str | None, cost: KdfCost | None = None) -> Unlocked:
        """Make the folder (0700) and the header with a new database key.

        The key is in place, durably, when this returns; killed in between, the profile does not exist yet. What a
        wipe that was killed midway has left is wiped first.

        :param passphrase: compared in Unicode NFC; None puts the wrapping key into the keyring or a key file.
        :param cost: default `KdfCost()`; see `calibrate`.
        :raises ProfileError: ``profile.exists``; ``profile.unsafe-home`` the folder holds a person's home folder, which
            `destroy` would empty; ``profile.empty-passphrase``; ``profile.weak-kdf`` a cost below the floor.
        :raises StorageError: ``storage.full``, ``storage.io``
        """
        self._check_home()
        with mapped_errors():
            if (self._home / HEADER).exists():
                if (self._home / HEADER).stat().st_size:
                    raise ProfileError("profile.exists")
                self.destroy()  # a wipe was killed midway
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._wrap(os.urandom(KEY_LENGTH), passphrase, cost)

    def open(self, *, passphrase: str | None) -> Unlocked:
        """Unwrap the database key; takes about a second with a passphrase. A passphrase that is not needed is ignored.

        :raises ProfileError: ``profile.none``; ``profile.wrong-passphrase``; ``profile.passphrase-needed``;
            ``profile.key-missing`` the keyring or the key file does not have the key (any more); ``profile.weak-kdf``
            the header asks for less than the floor; ``profile.foreign`` damaged, or not ours.
        :raises StorageError: ``storage.io``
        """
        header = self._read()
        return Unlocked(self._unwrap(header, passphrase), header.kept_in)

    def change_passphrase(self, *, old: str | None, new: str | None, cost: KdfCost | None = None) -> Unlocked:
        """Wrap the same database key anew; `None` as in `create`. The old header and wrapping key are overwritten.

        An attacker who copied the old header can still open it with the old passphrase.

        :raises ProfileError: as `open` and `create`.
        """
        header = self._read()
        key = self._unwrap(header, old)
        if new is None and header.kept_in is KeptIn.KEY_FILE:
            return Unlocked(key, KeptIn.KEY_FILE)  # nothing to gain, and one key file cannot hold both keys
        unlocked = self._wrap(key, new, cost)
        self._forget(header, but=unlocked.kept_in)
        return unlocked

    def destroy(self) -> None:
        """The panic wipe: first the key, durably, then every other file of the folder (T-054, HT-S-035, HT-S-066).

        From the moment the header is overwritten the database is noise to everybody. Killed midway, call it again.
        It asks for no passphrase and no lock. Symbolic links are removed, never followed.

        :raises ProfileError: ``profile.none`` nothing here was ever a profile; ``profile.unsafe-home``
        :raises StorageError: ``storage.io`` a file could not be removed; the key is gone nevertheless.
        """
        self._check_home()
        if not any(os.path.lexists(self._home / name) for name in (HEADER, KEY_FILE, lock.NAME)):
            raise ProfileError("profile.none")
        header: _Header | None = None
        with suppress(HanaError):
            header = self._read()
        failed: list[HanaError] = []
        for erase in (
            lambda: blank_file(self._home / HEADER),
            lambda: erase_file(self._home / KEY_FILE),
            lambda: erase_file(self._home / (HEADER + ".new")),
            lambda: erase_file(self._home / (KEY_FILE + ".new")),
            lambda: self._forget(header, but=None),
        ):
            _try(erase, failed)
        paths: list[Path] = []
        _try(lambda: paths.extend(self._home.iterdir()), failed)
        last = (lock.NAME, HEADER)  # the empty header says until the end that this folder is to be emptied
        for path in sorted(paths, key=lambda path: last.index(path.name) if path.name in last else -1):
            _try(partial(_remove, path), failed)
        if failed:
            raise failed[0]
        with suppress(OSError):  # not ours to remove
            self._home.rmdir()

    def _check_home(self) -> None:
        home = self._home.resolve()
        if home == Path(home.anchor) or home in (Path.home().resolve(), *Path.home().resolve().parents):
            raise ProfileError("profile.unsafe-home")

    def _read(self) -> _Header:
        try:
            with mapped_errors(), (self._home / HEADER).open("rb") as file:
                content = file.read(HEADER_LIMIT + 1)
        except HanaError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                raise ProfileError("profile.none") from error
            raise
        if not content:
            raise ProfileError("profile.none")  # a wipe was killed midway
        try:
            header = msgspec.json.decode(content, type=_Header)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProfileError("profile.foreign") from error
        if len(content) > HEADER_LIMIT or (header.kdf is None) is (header.kept_in is KeptIn.PASSPHRASE):
            raise ProfileError("profile.foreign")
        if header.kdf is not None:
            self._check_cost(header.kdf.cost())
        if header.check != header.checksum():
            raise ProfileError("profile.foreign")
        return header

    def _check_cost(self, cost: KdfCost) -> None:
        # Argon2 wants 8 KiB for every lane.
        least = max(self._floor.memory_kib, 8 * cost.lanes)
        if cost.memory_kib < least or cost.passes < self._floor.passes or cost.lanes < 1:
            raise ProfileError("profile.weak-kdf", memory_kib=cost.memory_kib, passes=cost.passes)

    def _wrap(self, key: bytes, passphrase: str | None, cost: KdfCost | None) -> Unlocked:
        salt = os.urandom(SALT_LENGTH)
        kdf: _Kdf | None = None
        if passphrase is not None:
            cost = cost if cost is not None else KdfCost()
            self._check_cost(cost)
            kept_in = KeptIn.PASSPHRASE
            kdf = _Kdf(cost.memory_kib, cost.passes, cost.lanes, "argon2id", 19)
            wrapping_key = _derive(_normal(passphrase), salt, cost)
        else:
            wrapping_key = os.urandom(KEY_LENGTH)
            kept_in = self._keep(wrapping_key, salt)
        nonce = os.urandom(NONCE_LENGTH)
        header = _Header(salt.hex(), nonce.hex(), "", "", kept_in, kdf, "hana-vault", 1)
        wrapped = AESGCM(wrapping_key).encrypt(nonce, key, header.bound())
        header = msgspec.structs.replace(header, wrapped=wrapped.hex())
        header = msgspec.structs.replace(header, check=header.checksum())
        write_private(self._home / HEADER, msgspec.json.format(msgspec.json.encode(header)) + b"\n")
        return Unlocked(key, kept_in)

    def _keep(self, wrapping_key: bytes, salt: bytes) -> KeptIn:
        if self._keyring is not None:
            with suppress(Exception):  # a keyring that is locked or gone raises whatever its backend raises
                self._keyring.set_password(KEYRING_SERVICE, salt.hex(), wrapping_key.hex())
                if self._keyring.get_password(KEYRING_SERVICE, salt.hex()) == wrapping_key.hex():
                    return KeptIn.KEYRING
        write_private(self._home / KEY_FILE, wrapping_key.hex().encode() + b"\n")
        return KeptIn.KEY_FILE

    def _unwrap(self, header: _Header, passphrase: str | None) -> bytes:
        if header.kdf is not None:
            if passphrase is None:
                raise ProfileError("profile.passphrase-needed")
            wrapping_key = _derive(_normal(passphrase), bytes.fromhex(header.salt), header.kdf.cost())
        else:
            wrapping_key = self._kept(header)
        try:
            return AESGCM(wrapping_key).decrypt(
                bytes.fromhex(header.nonce), bytes.fromhex(header.wrapped), header.bound()
            )
        except InvalidTag as error:
            wrong = header.kept_in is KeptIn.PASSPHRASE
            raise ProfileError("profile.wrong-passphrase" if wrong else "profile.foreign") from error

    def _kept(self, header: _Header) -> bytes:
        kept: str | None = None
        if header.kept_in is KeptIn.KEYRING:
            if self._keyring is not None:
                with suppress(Exception):
                    kept = self._keyring.get_password(KEYRING_SERVICE, header.salt)
        else:
            with suppress(FileNotFoundError, UnicodeDecodeError):
                kept = (self._home / KEY_FILE).read_text("ascii")
        try:
            wrapping_key = bytes.fromhex(kept.strip()) if kept is not None else b""
        except ValueError:
            wrapping_key = b""
        if len(wrapping_key) != KEY_LENGTH:
            raise ProfileError("profile.key-missing", kept_in=header.kept_in.value)
        return wrapping_key

    def _forget(self, header: _Header | None, *, but: KeptIn | None) -> None:
        """Remove the wrapping key that belongs to an old header, unless it was overwritten by a new one."""
        if header is None:
            return
        if header.kept_in is KeptIn.KEYRING and self._keyring is not None:
            with suppress(Exception):  # the header is gone: what stays in the keyring opens nothing
                self._keyring.delete_password(KEYRING_SERVICE, header.salt)
        if header.kept_in is KeptIn.KEY_FILE and but is not KeptIn.KEY_FILE:
            erase_file(self._home / KEY_FILE)


def _normal(passphrase: str) -> bytes:
    """The passphrase's bytes (HT-S-031): NFC, so that 한 typed as one character or as its letters is the same."""
    if not passphrase:
        raise ProfileError("profile.empty-passphrase")
    try:
        return unicodedata.normalize("NFC", passphrase).encode()
    except UnicodeEncodeError as error:
        raise UsageError("passphrase.not-text") from error


def _derive(passphrase: bytes, salt: bytes, cost: KdfCost) -> bytes:
    """Argon2id, version 0x13, 32 bytes. The only place that turns a passphrase into anything.

    :raises ProfileError: ``profile.no-memory``: this machine does not have what the header asks for
    """
    try:
        return hash_secret_raw(
            passphrase, salt, cost.passes, cost.memory_kib, cost.lanes, KEY_LENGTH, Type.ID, version=ARGON2_VERSION
        )
    except HashingError:
        raise ProfileError("profile.no-memory", mebibytes=cost.memory_kib >> 10) from None


def _remove(path: Path) -> None:
    with mapped_errors():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _try(step: Callable[[], None], failed: list[HanaError]) -> None:
    """A wipe goes on after a failure and reports it at the end."""
    try:
        step()
    except HanaError as error:
        failed.append(error)
    except OSError:
        failed.append(StorageError("storage.io"))
