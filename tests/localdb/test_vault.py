"""The vault: who gets the database key (spec/04-storage.md HT-S-030 …; T-047, T-048, T-052, T-053, T-054)."""

import json
import os
import signal
import stat
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from argon2.exceptions import HashingError

from hanatalk.errors import HanaError, ProfileError
from hanatalk.localdb import vault as vault_module
from hanatalk.localdb.cipher import open_database
from hanatalk.localdb.vault import FLOOR, KdfCost, KeptIn, Unlocked, Vault, calibrate

CHEAP = KdfCost(memory_kib=64, passes=1, lanes=1)
WORDS = "correct horse 말 배터리"


class MemoryKeyring:
    """A keyring as an operating system has it, in memory."""

    def __init__(self, *, broken: bool = False) -> None:
        self.entries: dict[tuple[str, str], str] = {}
        self.broken = broken

    def get_password(self, service: str, username: str) -> str | None:
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.broken:
            raise RuntimeError("locked")
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.entries[service, username]


def cheap(home: Path, keyring: MemoryKeyring | None = None) -> Vault:
    return Vault(home, keyring=keyring, floor=CHEAP)


def create(home: Path, passphrase: str | None = WORDS, keyring: MemoryKeyring | None = None) -> Unlocked:
    return cheap(home, keyring).create(passphrase=passphrase, cost=CHEAP)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(HanaError) as caught:
        call()
    return caught.value.code


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "profile"


def test_the_key_comes_back_with_the_passphrase_and_only_with_it(home: Path) -> None:
    made = create(home)
    assert len(made.key) == 32
    assert made.kept_in is KeptIn.PASSPHRASE
    assert cheap(home).open(passphrase=WORDS).key == made.key
    for wrong in (WORDS + " ", WORDS[:-1], WORDS.upper(), "x"):
        with pytest.raises(ProfileError) as caught:
            cheap(home).open(passphrase=wrong)
        assert caught.value.code == "profile.wrong-passphrase"


def test_a_passphrase_is_the_same_in_every_unicode_form(home: Path) -> None:
    made = create(home, unicodedata.normalize("NFD", "비밀번호 é"))
    assert cheap(home).open(passphrase=unicodedata.normalize("NFC", "비밀번호 é")).key == made.key


def test_two_profiles_with_one_passphrase_share_nothing(tmp_path: Path) -> None:
    first, second = create(tmp_path / "a"), create(tmp_path / "b")
    assert first.key != second.key
    one, two = (json.loads((tmp_path / name / "vault.json").read_text()) for name in "ab")
    assert all(one[field] != two[field] for field in ("salt", "nonce", "wrapped"))


def test_codes(home: Path) -> None:
    assert refused(lambda: cheap(home).open(passphrase=WORDS)) == "profile.none"
    assert refused(lambda: cheap(home).kept_in()) == "profile.none"
    assert refused(lambda: cheap(home).destroy()) == "profile.none"
    assert refused(lambda: create(home, "")) == "profile.empty-passphrase"
    create(home)
    assert refused(lambda: create(home)) == "profile.exists"
    assert refused(lambda: cheap(home).open(passphrase=None)) == "profile.passphrase-needed"
    assert cheap(home).kept_in() is KeptIn.PASSPHRASE
    assert refused(lambda: cheap(Path.home()).create(passphrase=WORDS)) == "profile.unsafe-home"
    assert refused(lambda: cheap(Path("/")).destroy()) == "profile.unsafe-home"


def test_the_files_are_private(home: Path) -> None:
    os.umask(os.umask(0))
    before = os.umask(0)
    try:
        create(home, None)
    finally:
        os.umask(before)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert {path.name for path in home.iterdir()} == {"vault.json", "vault.key"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in home.iterdir())


# Without a passphrase


def test_without_a_passphrase_the_keyring_keeps_the_key(home: Path) -> None:
    keyring = MemoryKeyring()
    made = create(home, None, keyring)
    assert made.kept_in is KeptIn.KEYRING
    assert not (home / "vault.key").exists()
    assert cheap(home, keyring).open(passphrase=None).key == made.key
    assert refused(lambda: cheap(home, MemoryKeyring()).open(passphrase=None)) == "profile.key-missing"
    assert refused(lambda: cheap(home).open(passphrase=None)) == "profile.key-missing"
    assert all(made.key.hex() not in entry for entry in keyring.entries.values())


@pytest.mark.parametrize("keyring", [None, MemoryKeyring(broken=True)])
def test_without_a_keyring_a_key_file_does_and_the_result_says_so(home: Path, keyring: MemoryKeyring | None) -> None:
    made = create(home, None, keyring)
    assert made.kept_in is KeptIn.KEY_FILE
    assert cheap(home).open(passphrase="not needed").key == made.key
    (home / "vault.key").write_text(os.urandom(32).hex())
    assert refused(lambda: cheap(home).open(passphrase=None)) == "profile.foreign"
    (home / "vault.key").write_text("zz" * 32)
    assert refused(lambda: cheap(home).open(passphrase=None)) == "profile.key-missing"
    (home / "vault.key").unlink()
    assert refused(lambda: cheap(home).open(passphrase=None)) == "profile.key-missing"


# The cost


def test_t052_the_shipped_cost_is_argon2id_with_at_least_256_mib(home: Path) -> None:
    assert FLOOR.memory_kib >= 256 << 10
    assert KdfCost().memory_kib >= 256 << 10
    assert KdfCost().passes >= FLOOR.passes
    Vault(home).create(passphrase=WORDS)
    kdf = json.loads((home / "vault.json").read_text())["kdf"]
    assert kdf["name"] == "argon2id"
    assert kdf["memory_kib"] >= 256 << 10
    assert refused(lambda: Vault(home / "cheap").create(passphrase=WORDS, cost=CHEAP)) == "profile.weak-kdf"


def test_t052_a_wrong_passphrase_costs_what_the_right_one_costs(home: Path) -> None:
    """And the header holds nothing else by which a guess could be checked."""
    cost = KdfCost(memory_kib=64 << 10, passes=2, lanes=1)
    vault = Vault(home, floor=CHEAP)
    vault.create(passphrase=WORDS, cost=cost)
    started = time.process_time()
    vault.open(passphrase=WORDS)
    right = time.process_time() - started
    for guess in ("x", WORDS[:-1], "한" * 500):
        started = time.process_time()
        assert refused(lambda guess=guess: vault.open(passphrase=guess)) == "profile.wrong-passphrase"  # type: ignore[misc]
        assert time.process_time() - started > right / 3
    assert set(json.loads((home / "vault.json").read_text())) == {
        *("format", "version", "kept_in", "kdf", "salt", "nonce", "wrapped", "check")
    }


def test_calibration_reads_only_the_clock_it_is_given() -> None:
    ticks = iter((100.0, 100.05))
    cost = calibrate(lambda: next(ticks), seconds=1.0, base=CHEAP)
    assert cost == KdfCost(memory_kib=64, passes=20, lanes=1)
    ticks = iter((0.0, 60.0))
    assert calibrate(lambda: next(ticks), base=CHEAP) == CHEAP  # a slow machine waits longer, it is not less safe


# The header


def damaged(home: Path, change: Callable[[dict[str, object]], None], *, checked: bool = True) -> Callable[[], object]:
    """Rewrite the header as somebody would who knows the format; `checked`: and repairs its checksum."""
    path = home / "vault.json"
    header = json.loads(path.read_text())
    change(header)
    path.write_text(json.dumps(header))
    if checked:
        parsed = msgspec.json.decode(path.read_bytes(), type=vault_module._Header)
        header["check"] = parsed.checksum()
        path.write_text(json.dumps(header))
    return lambda: cheap(home).open(passphrase=WORDS)


def test_t053_a_cost_below_the_floor_is_refused_before_any_work(home: Path) -> None:
    Vault(home, floor=CHEAP).create(passphrase=WORDS, cost=KdfCost(memory_kib=256, passes=2, lanes=1))
    call = damaged(home, lambda header: header["kdf"].update(memory_kib=8))  # type: ignore[attr-defined]
    assert refused(call) == "profile.weak-kdf"
    assert refused(lambda: Vault(home).open(passphrase=WORDS)) == "profile.weak-kdf"


@pytest.mark.parametrize(
    "change",
    [
        {"kdf": {"memory_kib": 128, "passes": 2, "lanes": 1, "name": "argon2id", "version": 19}},
        {"kdf": {"memory_kib": 256, "passes": 1, "lanes": 1, "name": "argon2id", "version": 19}},
        {"kdf": {"memory_kib": 256, "passes": 2, "lanes": 2, "name": "argon2id", "version": 19}},
        {"salt": "00" * 16},
        {"nonce": "00" * 12},
        {"wrapped": "00" * 48},
    ],
)
def test_t053_every_parameter_is_authenticated(home: Path, change: dict[str, object]) -> None:
    Vault(home, floor=CHEAP).create(passphrase=WORDS, cost=KdfCost(memory_kib=256, passes=2, lanes=1))
    assert refused(damaged(home, lambda header: header.update(change))) == "profile.wrong-passphrase"


def test_t053_the_parameters_are_bound_even_where_the_derivation_would_not_notice(home: Path) -> None:
    """The same wrapping key with other parameters written beside it: refused by the wrapping's own tag."""
    create(home, None)
    header = msgspec.json.decode((home / "vault.json").read_bytes(), type=vault_module._Header)
    claimed = msgspec.structs.replace(header, kept_in=KeptIn.KEYRING)
    keyring = MemoryKeyring()
    keyring.set_password("hanatalk", header.salt, (home / "vault.key").read_text().strip())
    claimed = msgspec.structs.replace(claimed, check=claimed.checksum())
    (home / "vault.json").write_bytes(msgspec.json.encode(claimed))
    assert refused(lambda: cheap(home, keyring).open(passphrase=None)) == "profile.foreign"


@pytest.mark.parametrize(
    "change",
    [
        {"kdf": None},
        {"kdf": {"memory_kib": 1 << 40, "passes": 1, "lanes": 1, "name": "argon2id", "version": 19}},
        {"kdf": {"memory_kib": 64, "passes": 1, "lanes": 1, "name": "argon2i", "version": 19}},
        {"kept_in": "file"},
        {"kept_in": "cloud"},
        {"version": 2},
        {"format": "other"},
        {"extra": 1},
        {"salt": "0" * 31},
        {"wrapped": ""},
        {"wrapped": "00" * 32},
    ],
)
def test_a_foreign_header_is_refused(home: Path, change: dict[str, object]) -> None:
    create(home)
    assert refused(damaged(home, lambda header: header.update(change), checked=False)) == "profile.foreign"


def test_every_damaged_byte_of_the_header_is_refused(home: Path) -> None:
    create(home)
    path = home / "vault.json"
    good = path.read_bytes()
    for index in range(len(good)):
        for bad in (good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :], good[:index]):
            path.write_bytes(bad)
            try:
                same = json.loads(bad) == json.loads(good)  # only white space changed
            except ValueError:
                same = False
            if not same:
                code = refused(lambda: cheap(home).open(passphrase=WORDS))
                assert code in ("profile.foreign", "profile.weak-kdf", "" if bad else "profile.none")
    path.write_bytes(b" " * 10_000 + good)
    assert refused(lambda: cheap(home).open(passphrase=WORDS)) == "profile.foreign"


def test_secrets_stay_out_of_repr(home: Path) -> None:
    made = create(home)
    assert made.key.hex() not in repr(made)
    assert repr(made.key) not in repr(made)


# Changing the passphrase


@pytest.mark.parametrize("old", [WORDS, None])
@pytest.mark.parametrize("new", ["other words", None])
@pytest.mark.parametrize("keyring", [None, "real"])
def test_another_passphrase_opens_the_same_database(home: Path, old: str | None, new: str | None, keyring: str) -> None:
    ring = MemoryKeyring() if keyring else None
    made = create(home, old, ring)
    former = (home / "vault.json").open("rb")
    held = former.read()
    with former:
        changed = cheap(home, ring).change_passphrase(old=old, new=new, cost=CHEAP)
        assert changed.key == made.key
        assert cheap(home, ring).open(passphrase=new).key == made.key
        former.seek(0)
        if held != (home / "vault.json").read_bytes():
            assert former.read() != held, "the old header is overwritten, not only unlinked"
    if new is not None:
        assert not (home / "vault.key").exists()
        assert ring is None or not ring.entries
        if old is not None:
            assert refused(lambda: cheap(home, ring).open(passphrase=old)) == "profile.wrong-passphrase"
    assert ring is None or len(ring.entries) <= 1


# The wipe


def test_t054_a_wipe_leaves_nothing(home: Path, tmp_path: Path) -> None:
    keyring = MemoryKeyring()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "photo").write_text("kept")
    for passphrase, ring in ((WORDS, None), (None, None), (None, keyring)):
        made = create(home, passphrase, ring)
        open_database(home / "profile.sqlite3", key=made.key).close()
        (home / "attachments").mkdir()
        (home / "attachments" / "one").write_text("x")
        (home / "link").symlink_to(outside)
        cheap(home, ring).destroy()
        assert not home.exists()
        assert not keyring.entries
    assert (outside / "photo").read_text() == "kept"


def test_t054_killed_at_any_moment_the_key_goes_before_anything_else(home: Path) -> None:
    """SIGKILL before each system call of the wipe that changes anything: data may only be missing where the key is."""
    calls = ("unlink", "fsync", "replace", "rmdir", "mkdir", "open", "truncate", "ftruncate", "close")
    survived = wiped = 0
    for moment in range(200):
        made = create(home, None if moment % 2 else WORDS)
        with open_database(home / "profile.sqlite3", key=made.key) as connection:
            connection.execute("CREATE TABLE t (x); INSERT INTO t VALUES ('canary')")
        connection.close()
        (home / "photo").write_bytes(b"x" * 100)
        before = {path.name: path.read_bytes() for path in home.iterdir() if not path.name.startswith("vault.")}
        child = os.fork()
        if child == 0:
            left = moment
            for name in calls:
                real = getattr(os, name)

                def dying(*args: object, real: Callable[..., object] = real, **kwargs: object) -> object:
                    nonlocal left
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    left -= 1
                    return real(*args, **kwargs)

                setattr(os, name, dying)
            try:
                cheap(home).destroy()
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        try:
            opened = cheap(home).open(passphrase=WORDS).key == made.key
        except (HanaError, OSError):
            opened = False
        if opened:
            survived += 1
            assert {path.name: path.read_bytes() for path in home.iterdir() if path.name in before} == before
        else:
            wiped += 1
        if home.exists() and moment % 3:
            cheap(home).destroy()  # asked again, it finishes
            assert not home.exists()
        elif home.exists() and not opened:
            create(home)  # and so does a new start
            assert {path.name for path in home.iterdir()} == {"vault.json"}
        if home.exists():
            cheap(home).destroy()
        if not os.WIFSIGNALED(status):
            break
    else:
        pytest.fail("the wipe never came to its end")
    assert survived >= 1
    assert wiped >= 5


def test_t047_a_powered_off_disk_shows_nothing(home: Path) -> None:
    made = create(home)
    canary = "카나리아 canary 4711"
    connection = open_database(home / "profile.sqlite3", key=made.key)
    connection.execute("CREATE TABLE t (x)")
    with connection:
        connection.executemany("INSERT INTO t VALUES (?)", [(canary + str(n),) for n in range(500)])
    for state in ("open", "closed"):
        found = b"".join(path.read_bytes() for path in home.iterdir())
        for needle in (b"SQLite format 3", canary.encode(), canary.encode("utf-16-le"), made.key):
            assert needle not in found, state
        assert made.key.hex().encode() not in found.lower(), state
        if state == "open":
            assert any(path.name.endswith("-wal") and path.stat().st_size for path in home.iterdir())
            assert connection.execute("SELECT count(*) FROM t WHERE x LIKE ?", (canary + "%",)).get == 500  # control
            connection.close()


def test_t053_less_memory_than_the_lanes_need_is_refused(home: Path) -> None:
    """T-053, T-088: Argon2 would refuse it with an exception of its own."""
    cost = KdfCost(memory_kib=64, passes=1, lanes=9)
    with pytest.raises(ProfileError, match=r"profile\.weak-kdf"):
        cheap(home).create(passphrase=WORDS, cost=cost)


def test_a_header_that_asks_for_memory_there_is_not(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T-088: found by fuzzing."""

    def no_memory(*_: object, **__: object) -> bytes:
        raise HashingError("Memory allocation error")

    create(home)
    monkeypatch.setattr(vault_module, "hash_secret_raw", no_memory)
    with pytest.raises(ProfileError, match=r"profile\.no-memory"):
        cheap(home).open(passphrase=WORDS)
