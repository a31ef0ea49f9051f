"""What the relay allows, case by case."""

import itertools

import msgspec
import pytest

from hanatalk.ids import ReadToken, WriteToken
from hanatalk.relay.policy import (
    BURN_AFTER,
    Capability,
    Challenge,
    TokenBucket,
    check_append,
    check_hello,
    check_open,
    check_proof,
)
from hanatalk.wire import channels, frames, proofs
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.refusals import RefusalCode

READ, WRITE = ReadToken(b"r" * 32), WriteToken(b"w" * 32)
R, W = channels.read_verifier(READ), channels.write_verifier(WRITE)
CHANNEL = channels.channel_id(READ, WRITE)
BOTH = Capability(read=True, write=True)
APPEND = frames.Append(1, 1, b"e" * 16, EntryClass.MESSAGE, False, None, None, None, b"entry")


def allowed(**changes: object) -> RefusalCode | None:
    return check_append(msgspec.structs.replace(APPEND, **changes), BOTH, entry_size=65_536)


@pytest.mark.parametrize(
    ("read", "read_is_token", "write", "write_is_token"),
    [(READ, True, WRITE, True), (READ, True, W, False), (R, False, WRITE, True), (R, False, W, False)],
)
def test_a_token_allows_and_a_verifier_does_not(
    read: bytes, read_is_token: bool, write: bytes, write_is_token: bool
) -> None:
    """HT-R-030, HT-R-004, T-006: who has only what could be found in a relay, or less, may do nothing."""
    request = frames.Open(1, CHANNEL, read, read_is_token, write, write_is_token)
    assert check_open(request) == Capability(read=read_is_token, write=write_is_token)


@pytest.mark.parametrize(
    ("read", "read_is_token", "write", "write_is_token"),
    [
        (R, True, W, True),  # verifiers passed off as tokens
        (READ, False, WRITE, True),
        (READ, True, WRITE, False),
        (WRITE, True, READ, True),  # swapped
        (bytes(32), True, WRITE, True),
        (CHANNEL, False, CHANNEL, False),
        (CHANNEL, True, CHANNEL, True),
    ],
)
def test_what_does_not_make_the_channel_id_opens_nothing(
    read: bytes, read_is_token: bool, write: bytes, write_is_token: bool
) -> None:
    """HT-R-001, HT-R-030, T-006"""
    request = frames.Open(1, CHANNEL, read, read_is_token, write, write_is_token)
    assert check_open(request) is RefusalCode.WRONG_CHANNEL_ID


def test_every_combination_of_fields_is_as_in_the_table() -> None:
    """HT-R-042: the table, written out once more."""
    may_carry = {
        EntryClass.MESSAGE: {"turn", "burn_after", "erase_hash"},
        EntryClass.ATTACHMENT: {"burn_after", "erase_hash"},
        EntryClass.CONTROL: {"commit", "turn"},
        EntryClass.INVITE: {"erase_hash"},
    }
    values = {"commit": True, "turn": 0, "burn_after": 1, "erase_hash": bytes(32)}
    for entry_class, names in may_carry.items():
        for carried in itertools.chain.from_iterable(itertools.combinations(values, n) for n in range(5)):
            code = allowed(entry_class=entry_class, **{name: values[name] for name in carried})
            assert (code is None) is (set(carried) <= names), (entry_class, carried)
            assert code in (None, RefusalCode.FIELDS)


@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.parametrize("changes", [{"burn_after": 1}, {"erase_hash": bytes(32)}], ids=str)
def test_a_control_entry_can_neither_burn_nor_be_erased(commit: bool, changes: dict[str, object]) -> None:
    """T-028, HT-R-042"""
    assert allowed(entry_class=EntryClass.CONTROL, commit=commit, **changes) is RefusalCode.FIELDS


def test_burn_after_ends_where_it_would_tell_the_groups_size() -> None:
    """HT-R-043"""
    assert BURN_AFTER == 9
    assert allowed(burn_after=BURN_AFTER) is None
    assert allowed(burn_after=BURN_AFTER + 1) is RefusalCode.FIELDS


def test_the_relays_own_entry_limit() -> None:
    """HT-R-046"""
    large = msgspec.structs.replace(APPEND, entry=bytes(1025))
    assert check_append(large, BOTH, entry_size=1025) is None
    assert check_append(large, BOTH, entry_size=1024) is RefusalCode.ENTRY_SIZE


def test_appending_needs_the_write_token() -> None:
    """HT-R-004"""
    for read in (True, False):
        capability = Capability(read=read, write=False)
        assert check_append(APPEND, capability, entry_size=65_536) is RefusalCode.WRITE_TOKEN_NEEDED


ASKED = Challenge(challenge=b"c" * 32, pass_wanted=True, work=0)
KEY = b"k" * 32


def proof_of(access_pass: bytes, *, challenge: bytes = b"c" * 32, relay_key: bytes = KEY) -> frames.Proof:
    return frames.Proof(proofs.access_proof(access_pass, challenge=challenge, relay_key=relay_key), None)


@pytest.mark.parametrize(
    ("proof", "expected"),
    [
        (proof_of(b"right"), None),
        (proof_of(b"wrong"), "access-pass"),
        (frames.Proof(None, None), "access-pass"),
        (proof_of(b"right "), "access-pass"),
        (proof_of(b""), "access-pass"),
        (frames.Proof(bytes(32), None), "access-pass"),
        (proof_of(b"right", challenge=b"d" * 32), "access-pass"),  # of another connection
        (proof_of(b"right", relay_key=b"m" * 32), "access-pass"),  # of another relay
    ],
)
def test_the_access_pass(proof: frames.Proof, expected: str | None) -> None:
    """HT-R-123, T-078"""
    assert check_proof(proof, ASKED, access_pass=b"right", relay_key=KEY) == expected


def test_work_is_checked_beside_the_pass() -> None:
    """HT-R-123, T-078"""
    asked = msgspec.structs.replace(ASKED, work=8)
    nonce = proofs.search(0, 1 << 16, challenge=asked.challenge, relay_key=KEY, work=8)
    right, wrong = proof_of(b"right"), proof_of(b"wrong")

    def code(proof: frames.Proof, nonce: int | None) -> str | None:
        return check_proof(msgspec.structs.replace(proof, nonce=nonce), asked, access_pass=b"right", relay_key=KEY)

    assert code(right, nonce) is None
    assert code(wrong, nonce) == "access-pass"
    assert code(right, None) == "work"
    others = [n for n in range(64) if not proofs.is_worked(n, challenge=asked.challenge, relay_key=KEY, work=8)]
    assert {code(right, n) for n in others} == {"work"}


def test_versions() -> None:
    """HT-R-020"""
    assert check_hello(frames.Hello([7, 1])) is None
    assert check_hello(frames.Hello([2])) is RefusalCode.VERSION


def test_a_bucket_allows_its_burst_and_then_its_rate() -> None:
    """HT-R-091"""
    bucket = TokenBucket(10, burst=20, now=0.0)
    assert bucket.spend(20, now=0.0) == 0.0
    assert bucket.spend(5, now=0.0) == pytest.approx(0.5)
    assert bucket.spend(0, now=0.5) == 0.0
    assert bucket.spend(10, now=1.5) == 0.0
    assert not bucket.full(now=1.5)
    assert bucket.full(now=100.0)


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    """HT-R-091"""
    bucket = TokenBucket(10, burst=20, now=0.0)
    assert bucket.spend(30, now=1e9) == pytest.approx(1.0)


def test_a_rate_of_zero_is_no_limit() -> None:
    """HT-R-022"""
    bucket = TokenBucket(0, burst=0, now=0.0)
    assert bucket.spend(1e12, now=0.0) == 0.0
    assert bucket.full(now=0.0)
