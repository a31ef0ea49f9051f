"""T-053, T-052: every field of `vault.json` flipped, cut, or swapped with another profile's; what a guesser learns."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hanatalk.errors import HanaError, StorageError
from hanatalk.localdb import vault as vault_module
from hanatalk.localdb.cipher import open_database
from hanatalk.localdb.database import FILE
from hanatalk.localdb.vault import KdfCost, Vault

CHEAP = KdfCost(memory_kib=64, passes=2, lanes=1)
FLOOR = KdfCost(memory_kib=64, passes=1, lanes=1)
WORDS, WRONG, OTHERS = "correct horse 말", "wrong horse", "somebody else's"
FIELDS = ("format", "version", "kept_in", "salt", "nonce", "wrapped", "check")
COSTS = ("memory_kib", "passes", "lanes", "name", "version")
CODES = {"profile.wrong-passphrase", "profile.foreign", "profile.weak-kdf", "profile.key-missing"}

Header = dict[str, Any]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make(tmp_path / "mine", WORDS)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return make(tmp_path / "other", OTHERS)


@pytest.fixture(autouse=True)
def derivations(monkeypatch: pytest.MonkeyPatch) -> list[KdfCost]:
    """What every derivation cost, in order."""
    done: list[KdfCost] = []
    derive = vault_module._derive

    def counting(passphrase: bytes, salt: bytes, cost: KdfCost) -> bytes:
        done.append(cost)
        return derive(passphrase, salt, cost)

    monkeypatch.setattr(vault_module, "_derive", counting)
    return done


def make(home: Path, passphrase: str) -> Path:
    unlocked = Vault(home, floor=FLOOR).create(passphrase=passphrase, cost=CHEAP)
    open_database(home / FILE, key=unlocked.key).close()
    return home


def read(home: Path) -> Header:
    header: Header = json.loads((home / "vault.json").read_text())
    return header


def write(home: Path, header: Header, *, repaired: bool = True) -> None:
    """As somebody would who knows the format; `repaired`: with a checksum that fits, where there can be one."""
    if repaired:
        try:
            parsed = msgspec.json.decode(json.dumps(header), type=vault_module._Header)
            header = {**header, "check": parsed.checksum()}
        except msgspec.DecodeError:
            pass
    (home / "vault.json").write_text(json.dumps(header))


def guess(home: Path, passphrase: str) -> str:
    """What opening says."""
    try:
        Vault(home, floor=FLOOR).open(passphrase=passphrase)
    except HanaError as error:
        return error.code
    return "opened"


def flips(value: object) -> Iterator[object]:
    """The value with one thing in it changed: a bit of a number, a digit or a letter of a text; and without its end."""
    if isinstance(value, int):
        yield from (value ^ 1, value ^ 2, value ^ 64, -value, value << 1, value >> 1, 0, str(value))
    elif isinstance(value, str):
        for place in range(len(value)):
            changed = "0" if value[place] != "0" else "1"
            yield value[:place] + changed + value[place + 1 :]
        yield from (value[:-1], value[:-2], "", value + "0", value + "00", value.upper(), value[::-1], None)


def changes(header: Header) -> Iterator[tuple[str, Header]]:
    for field in FIELDS:
        for changed in flips(header[field]):
            if changed != header[field]:
                yield field, {**header, field: changed}
    for field in COSTS:
        for changed in flips(header["kdf"][field]):
            if changed != header["kdf"][field]:
                yield f"kdf.{field}", {**header, "kdf": {**header["kdf"], field: changed}}
    for field in header:
        yield f"without {field}", {name: value for name, value in header.items() if name != field}


@pytest.mark.parametrize("repaired", [True, False])
def test_t053_every_field_changed_is_a_typed_error_and_the_right_passphrase_fares_as_a_wrong_one(
    home: Path, derivations: list[KdfCost], repaired: bool
) -> None:
    """HT-S-030, HT-S-031, HT-S-032: no change opens, and no change answers a guess for less than a full Argon2id.

    What is said, and how often Argon2id runs at which cost, is the same for the right passphrase and a wrong one: a
    changed header tells nobody whether a guess was right.
    """
    good = read(home)
    fields: dict[str, set[str]] = {}
    for field, header in changes(good):
        if field == "check" and repaired:
            continue
        write(home, header, repaired=repaired)
        answers = []
        for passphrase in (WORDS, WRONG):
            derivations.clear()
            said = guess(home, passphrase)
            assert all(cost.memory_kib >= FLOOR.memory_kib and cost.passes >= FLOOR.passes for cost in derivations)
            answers.append((said, tuple(derivations)))
        assert answers[0] == answers[1], field
        assert answers[0][0] in CODES, (field, answers)
        fields.setdefault(field, set()).add(answers[0][0])
    assert {*FIELDS} - {"check"} <= fields.keys()
    assert {f"kdf.{field}" for field in COSTS} <= fields.keys()
    write(home, good, repaired=False)
    assert guess(home, WORDS) == "opened"  # the control


def test_t053_with_each_field_of_another_profile(home: Path, other: Path, derivations: list[KdfCost]) -> None:
    """Somebody who knows the passphrase of their own profile plants its fields: neither passphrase opens a mixture."""
    good, theirs = read(home), read(other)
    mixed = [("salt",), ("nonce",), ("wrapped",), ("salt", "nonce"), ("nonce", "wrapped"), ("salt", "wrapped")]
    for fields in mixed:
        write(home, {**good, **{field: theirs[field] for field in fields}})
        for passphrase in (WORDS, OTHERS, WRONG):
            derivations.clear()
            assert guess(home, passphrase) == "profile.wrong-passphrase", fields
            assert derivations == [CHEAP]


def test_t053_with_the_whole_header_of_another_profile(home: Path, other: Path) -> None:
    """It opens with the other's passphrase, to a key that opens nothing here; the own header opens everything again."""
    good = (home / "vault.json").read_bytes()
    (home / "vault.json").write_bytes((other / "vault.json").read_bytes())
    assert guess(home, WORDS) == "profile.wrong-passphrase"
    key = Vault(home, floor=FLOOR).open(passphrase=OTHERS).key
    with pytest.raises(StorageError, match=r"storage\.foreign"):
        open_database(home / FILE, key=key)
    (home / "vault.json").write_bytes(good)
    key = Vault(home, floor=FLOOR).open(passphrase=WORDS).key
    open_database(home / FILE, key=key).close()


def test_t053_a_header_cut_anywhere_or_doubled(home: Path, derivations: list[KdfCost]) -> None:
    """Every length; two headers in one file; a field twice, of which a reader might take either."""
    good = (home / "vault.json").read_bytes()
    salt = read(home)["salt"].encode()
    twice = good.replace(b'"salt"', b'"salt": "%s", "salt"' % bytes(32).replace(b"\0", b"0"), 1)
    for content in [*(good[:length] for length in range(len(good) - 2)), good + good, good + b"{}"]:
        (home / "vault.json").write_bytes(content)
        assert guess(home, WORDS) == ("profile.foreign" if content else "profile.none")
    assert derivations == [CHEAP]  # only the making of it
    (home / "vault.json").write_bytes(twice)
    assert guess(home, WORDS) in ("opened", "profile.foreign")  # the last one counts, which is authenticated
    (home / "vault.json").write_bytes(twice.replace(salt, bytes(32).replace(b"\0", b"1"), 1))
    assert guess(home, WORDS) != "opened"
