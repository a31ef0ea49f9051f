"""What others met in OpenMLS and MLS, one test each (design: mls.md, "Traps met by others")."""

import os
import re
import resource
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import hanatalk_mls
import msgspec
import pytest
from tests.mls import crafted
from tests.mls.people import POLICY, SUITES, Person, conversation, founder, in_step, newcomer

from hanatalk import mls
from hanatalk.mls import OwnMessage

ROOT = Path(__file__).parents[2]
suites = pytest.mark.parametrize("suite", [suite for suite, _ in SUITES], ids=[name for _, name in SUITES])


# --- echoes ---


@suites
def test_the_echo_of_the_pending_commit_is_known_by_its_digest(suite: int) -> None:
    """OpenMLS cannot tell: the echo is a PrivateMessage that its own author cannot decrypt. Also after a restart."""
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    made = minji.group.commit(self_update=True)
    minji.keep(made.writes)
    for _ in range(2):
        for _ in range(2):
            echo = minji.group.process(made.commit)
            assert isinstance(echo, OwnMessage)
            assert (echo.pending, echo.digest) == (True, made.digest)
        minji.reload()
    minji.merge()
    jihoon.follow(made.commit)
    in_step([minji.reload(), jihoon])


@suites
def test_the_echo_of_a_discarded_commit_is_not_pending_and_changes_nothing(suite: int) -> None:
    minji, _ = conversation(suite, b"minji", b"jihoon")
    first = minji.group.commit(self_update=True)
    minji.keep(first.writes)
    minji.keep(minji.group.pending_discard())
    for _ in range(2):
        echo = minji.group.process(first.commit)
        assert isinstance(echo, OwnMessage)
        assert (echo.pending, echo.digest) == (False, first.digest)
        minji.reload()
    second = minji.group.commit(self_update=True)
    echo = minji.group.process(first.commit)
    assert isinstance(echo, OwnMessage)
    assert not echo.pending
    echo = minji.group.process(second.commit)
    assert isinstance(echo, OwnMessage)
    assert echo.pending


@suites
def test_the_echo_of_an_application_message_damages_nothing(suite: int) -> None:
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    message = minji.say(b"first")
    for _ in range(3):
        echo = minji.group.process(message)
        assert isinstance(echo, OwnMessage)
        assert not echo.pending
    assert jihoon.hear(message) == b"first"
    assert jihoon.hear(minji.say(b"second")) == b"second"
    assert minji.hear(jihoon.say(b"third")) == b"third"


# --- KeyPackages, Welcomes, external commits ---


@suites
@pytest.mark.parametrize("last_resort", [False, True])
def test_staging_a_welcome_leaves_the_key_package_to_the_caller(suite: int, last_resort: bool) -> None:
    """OpenMLS deletes it while it opens the Welcome (and keeps a last-resort one among the group's rows); here it works
    on a copy, and `join` names no row of it."""
    minji = founder(suite)
    jihoon = newcomer(suite, b"jihoon", last_resort=last_resort)
    made = minji.group.commit(adds=[jihoon.key_package])
    assert made.welcome is not None
    rows = list(jihoon.rows)
    _, writes = mls.welcome_stage(made.welcome, rows).join()
    assert rows == jihoon.rows
    private = [key for key, _ in rows if key.startswith(b"kp")]
    assert private
    assert not set(private) & {key for key, _ in writes}
    assert all(value is not None for _, value in writes)


def test_there_is_no_way_to_an_external_commit() -> None:
    """A pending external commit cannot be cleared, and 0.9.2 mends a removed member who stayed after one: none is made,
    and none is taken (test_refusals.py)."""
    assert not [name for name in dir(mls.Group) if "external" in name]
    assert not [name for name in dir(mls) if "external" in name]


@suites
def test_a_removed_member_does_not_stay_by_an_external_commit(suite: int) -> None:
    """T-016, T-027: with GroupInfo and tree still in hand, and a commit that would remove its own old leaf."""
    minji, jihoon, sora = conversation(suite, b"minji", b"jihoon", b"sora")
    info, tree = jihoon.group.group_info(), jihoon.group.ratchet_tree()
    made = minji.group.commit(removes=[1])
    minji.keep(made.writes)
    minji.merge()
    sora.follow(made.commit)
    back = hanatalk_mls.testing_external_commit(mls.signer_new(), b"jihoon", info, tree)
    for person in (minji, sora):
        with pytest.raises(mls.BadMessage):
            person.group.process(back)
        assert [member.credential for member in person.group.roster()] == [b"minji", b"sora"]
    in_step([minji, sora])


def nested(depth: int) -> bytes:
    """A KeyPackage whose leaf's extension is a ratchet tree with a leaf whose extension is a ratchet tree …"""
    extensions = b""
    for _ in range(depth):
        leaf = (
            crafted.vector(b"e") + crafted.vector(b"s") + b"\x00\x01" + crafted.vector(b"") + 5 * crafted.vector(b"")
        ) + b"\x02"
        leaf += crafted.vector(extensions) + crafted.vector(b"")
        extensions = crafted.extension(2, crafted.vector(b"\x01\x01" + leaf))
    return crafted.KeyPackage(leaf_extensions=extensions).message()


NESTED = """
import sys, threading, hanatalk_mls
def inspect(message):
    try:
        hanatalk_mls.key_package_inspect(message)
    except hanatalk_mls.BadKeyPackage as error:
        print(error.args[1])
threading.stack_size(256 * 1024)
message = open(sys.argv[1], "rb").read()
worker = threading.Thread(target=inspect, args=(message,))
worker.start()
worker.join()
"""


@pytest.mark.parametrize("depth", [1, 2, 3_000])
def test_extensions_nested_in_extensions_do_not_crash(depth: int, tmp_path: Path) -> None:
    """0.9.1 mends a crash that any peer could trigger: a stack overflow, which nothing could have caught."""
    message = tmp_path / "message"
    message.write_bytes(nested(depth))
    ran = subprocess.run(
        [sys.executable, "-c", NESTED, message], check=False, capture_output=True, text=True, timeout=60
    )
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "malformed", "")


def locked(name: str) -> str:
    packages = tomllib.loads((ROOT / "rust" / "hanatalk-mls" / "Cargo.lock").read_text())["package"]
    (version,) = [package["version"] for package in packages if package["name"] == name]
    return version


def test_the_versions_are_the_mended_ones() -> None:
    assert hanatalk_mls.OPENMLS_VERSION == locked("openmls") == "0.9.2"
    assert tuple(map(int, locked("tls_codec").split("."))) >= (0, 4, 3)


def test_a_length_that_lies_allocates_nothing() -> None:
    """tls_codec before 0.4.3 allocated what a prefix claimed: here it claims a gigabyte, many times over."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    for wire_format in range(1, 6):
        for claim in (b"\xbf\xff\xff\xff", b"\x80\x00\x00\x00", b"\x7f\xff"):
            message = b"\x00\x01" + wire_format.to_bytes(2, "big") + claim + bytes(64)
            minji = founder(mls.SUITE_X25519)
            with pytest.raises(mls.BadMessage):
                minji.group.process(message)
            with pytest.raises(mls.BadKeyPackage):
                mls.key_package_inspect(message)
            with pytest.raises(mls.BadMessage):
                mls.welcome_stage(message, [])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB
    assert time.monotonic() - started < 10


# --- past epochs ---


def byte_strings(value: object) -> set[bytes]:
    """Every byte string of at least 32 bytes in a decoded row."""
    if isinstance(value, bytes):
        return {value} if len(value) >= 32 else set()
    if isinstance(value, dict):
        return set().union(*map(byte_strings, value.values()))
    if isinstance(value, list):
        return set().union(*map(byte_strings, value))
    return set()


def secrets(person: Person, *kinds: bytes) -> set[bytes]:
    rows = [value for key, value in person.rows.items() if key[:2] in kinds]
    return set().union(*(byte_strings(msgspec.msgpack.decode(row[1:], strict=False)) for row in rows))


@suites
def test_a_past_epochs_secrets_are_gone_from_the_rows(suite: int) -> None:
    """T-037: key schedule, ratchets and path keys of an epoch are in no row once everybody updated, founder and joiner.

    Resumption PSKs are apart: no message can be decrypted with them (and the profile takes none).
    """
    people = minji, jihoon = conversation(suite, b"minji", b"jihoon")
    jihoon.hear(minji.say(b"something to ratchet"))
    minji.hear(jihoon.say(b"both ways"))
    old = {person.name: secrets(person, b"es", b"ms", b"ep") for person in people}
    assert all(len(found) >= 8 for found in old.values())
    kept = {person.name: secrets(person, b"rp", b"tr", b"gc", b"ct", b"it", b"sk") for person in people}
    for committer, other in ((minji, jihoon), (jihoon, minji)):
        made = committer.group.commit(self_update=True)
        committer.keep(made.writes)
        committer.merge()
        other.follow(made.commit)
    for person in people:
        public = kept[person.name]
        everything = b"".join(person.rows.values())
        left = [secret for secret in old[person.name] - public if secret in everything]
        assert left == []


@suites
def test_the_rows_do_not_grow_with_the_epochs(suite: int) -> None:
    """Each kept past epoch would cost a member list: none is kept, by the founder's configuration and the joiner's."""
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    sizes = []
    for _ in range(40):
        made = minji.group.commit(self_update=True)
        minji.keep(made.writes)
        minji.merge()
        jihoon.follow(made.commit)
        sizes.append([(sum(map(len, person.rows.values())), len(person.rows)) for person in (minji, jihoon)])
    (minji_first, jihoon_first), (minji_last, jihoon_last) = sizes[34], sizes[39]
    assert abs(minji_last[0] - minji_first[0]) < 64
    assert abs(jihoon_last[0] - jihoon_first[0]) < 64
    assert (minji_last[1], jihoon_last[1]) == (minji_first[1], jihoon_first[1]) == (12, 12)


# --- clocks ---

CLOCK = """
import sys
sys.path[:0] = sys.argv[1:]
from hanatalk import mls
from tests.mls.people import conversation, grow, in_step, newcomer
for suite in (mls.SUITE_X_WING, mls.SUITE_X25519):
    people = grow(conversation(suite, b"a", b"b"), [newcomer(suite, b"c")])
    in_step(people)
print("in step")
"""


@pytest.mark.parametrize("year", [1971, 2001, 2038, 2100])
def test_no_commit_depends_on_the_machines_clock(year: int, tmp_path: Path) -> None:
    """OpenMLS compares lifetimes with the clock while it stages; with the profile's KeyPackages every client agrees."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the clock")
    library = tmp_path / "fixed_clock.so"
    source = Path(__file__).with_name("fixed_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    seconds = str((year - 1970) * 31_556_952)
    ran = subprocess.run(
        [sys.executable, "-c", CLOCK, str(ROOT), str(ROOT / "src")],
        env={**os.environ, "LD_PRELOAD": str(library), "HANA_TEST_CLOCK": seconds},
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.stdout == "in step\n", ran.stderr


# --- secrets and stubs ---


@suites
def test_no_secret_in_any_repr(suite: int) -> None:
    signer = mls.signer_new()
    assert repr(signer) == f"Signer({signer.public_key.hex()})"
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    sora = newcomer(suite, b"sora")
    made = minji.group.commit(adds=[sora.key_package], extensions=[(POLICY, b"p")])
    assert made.welcome is not None
    heard = jihoon.group.process(minji.say(b"plaintext"))
    staged = jihoon.group.process(made.commit)
    welcome = mls.welcome_stage(made.welcome, sora.rows)
    info = mls.key_package_inspect(sora.key_package)
    things = [signer, sora.made, made, heard, staged, welcome, info, minji.group, minji.group._inner, staged.adds[0]]
    for thing in things:
        assert re.fullmatch(r"<?[\w. ]+( object at 0x[0-9a-f]+>|\([\w=, ]*\))", repr(thing)), repr(thing)


def test_the_stubs_say_what_the_module_has() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "hanatalk_mls", "--concise", "--allowlist", "stubtest-allowlist.txt"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT / "rust" / "hanatalk-mls",
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
