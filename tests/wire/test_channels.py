"""Hashes of the wire. The hexadecimal values are frozen: another client computes the same ones from the spec."""

import hashlib

import pytest

from hanatalk.errors import ContentError
from hanatalk.ids import ChannelId, Incarnation, ReadToken, WriteToken
from hanatalk.wire import channels

READ = ReadToken(bytes(range(32)))
WRITE = WriteToken(bytes(range(32, 64)))


def test_verifiers_are_the_hashes_of_the_spec() -> None:
    """HT-R-002"""
    assert channels.read_verifier(READ) == hashlib.sha256(b"hana/read/1" + READ).digest()
    assert channels.write_verifier(WRITE) == hashlib.sha256(b"hana/write/1" + WRITE).digest()


def test_a_channel_id_is_frozen() -> None:
    """HT-R-001"""
    expected = "1a647f5dd5e55d56301562767f492683545d4786881876e7705c70682d7e2f6a"
    assert channels.channel_id(READ, WRITE).hex() == expected


def test_tokens_and_verifiers_make_the_same_channel() -> None:
    """HT-R-001, HT-R-002"""
    r, w = channels.read_verifier(READ), channels.write_verifier(WRITE)
    assert channels.channel_id_of(r, w) == channels.channel_id(READ, WRITE)
    assert channels.channel_id_of(w, r) != channels.channel_id(READ, WRITE)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_token_of_another_length_makes_no_channel(length: int) -> None:
    """HT-R-002: else token and verifier lengths could be traded against each other."""
    with pytest.raises(ContentError):
        channels.channel_id(ReadToken(bytes(length)), WRITE)
    with pytest.raises(ContentError):
        channels.channel_id(READ, WriteToken(bytes(length)))
    with pytest.raises(ContentError):
        channels.channel_id_of(bytes(length), bytes(32))


def test_an_erase_hash_is_the_hash_of_the_spec() -> None:
    """HT-R-054"""
    assert channels.erase_hash(bytes(32)) == hashlib.sha256(b"hana/erase/1" + bytes(32)).digest()


def test_the_control_hash_depends_on_every_field_and_on_the_order() -> None:
    """HT-R-061"""
    zero = channels.NO_CONTROL_HASH
    first = channels.next_control_hash(zero, seq=1, commit=True, entry=b"one")
    assert (
        first
        == hashlib.sha256(
            b"hana/control/1" + bytes(32) + (1).to_bytes(8, "big") + b"\x01" + hashlib.sha256(b"one").digest()
        ).digest()
    )
    others = {
        channels.next_control_hash(zero, seq=2, commit=True, entry=b"one"),
        channels.next_control_hash(zero, seq=1, commit=False, entry=b"one"),
        channels.next_control_hash(zero, seq=1, commit=True, entry=b"two"),
        channels.next_control_hash(first, seq=1, commit=True, entry=b"one"),
    }
    assert len(others | {first}) == 5


def test_a_receipt_states_channel_incarnation_seq_and_hash() -> None:
    """HT-R-060"""
    statement = channels.receipt_statement(
        ChannelId(b"c" * 32), Incarnation(b"i" * 16), seq=258, control_hash=b"h" * 32
    )
    assert statement == b"hana/receipt/1" + b"c" * 32 + b"i" * 16 + bytes(6) + b"\x01\x02" + b"h" * 32
