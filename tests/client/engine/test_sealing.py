"""The outer layer (HT-M-022)."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanatalk.client.engine.formats import sealing
from hanatalk.errors import ContentError
from hanatalk.ids import ChannelId
from hanatalk.wire.classes import EntryClass

KEY = os.urandom(32)
CHANNEL = ChannelId(os.urandom(32))


def _seal(body: bytes, **changes: object) -> bytes:
    arguments: dict[str, object] = {"entry_class": EntryClass.MESSAGE, "kind": sealing.BodyKind.MLS, "body": body}
    return sealing.seal(KEY, CHANNEL, **(arguments | changes))  # type: ignore[arg-type]


@given(st.integers(0, sealing.CAPACITY))
def test_every_length_comes_back_and_only_five_sizes_leave(length: int) -> None:
    body = b"\xa5" * length
    entry = _seal(body)
    assert len(entry) in sealing.SIZES
    assert sealing.unseal(KEY, CHANNEL, entry_class=EntryClass.MESSAGE, entry=entry) == (sealing.BodyKind.MLS, body)


@pytest.mark.parametrize("size", sealing.SIZES)
def test_the_smallest_size_that_fits(size: int) -> None:
    overhead = sealing.SIZES[-1] - sealing.CAPACITY
    assert len(_seal(bytes(size - overhead))) == size
    if size != sealing.SIZES[-1]:
        assert len(_seal(bytes(size - overhead + 1))) > size


def test_too_large_is_refused() -> None:
    with pytest.raises(ContentError, match=r"entry\.too-large"):
        _seal(bytes(sealing.CAPACITY + 1))


@given(st.binary(max_size=2000), st.sampled_from([*sealing.SIZES[:3], 0, 1, 511, 513]))
def test_t019_bytes_of_anybody_are_refused(found: bytes, size: int) -> None:
    """T-019, T-020: never another error than ContentError."""
    entry = (found * (size // max(1, len(found)) + 1))[:size] if found else bytes(size)
    with pytest.raises(ContentError, match=r"entry\.damaged"):
        sealing.unseal(KEY, CHANNEL, entry_class=EntryClass.MESSAGE, entry=entry)


def test_t019_every_bit_of_an_entry_counts() -> None:
    entry = _seal(b"hello")
    for bit in range(0, len(entry) * 8, 7):
        changed = bytearray(entry)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ContentError):
            sealing.unseal(KEY, CHANNEL, entry_class=EntryClass.MESSAGE, entry=bytes(changed))


def test_channel_class_and_commit_flag_are_bound() -> None:
    entry = _seal(b"x", entry_class=EntryClass.CONTROL, commit=True)
    for channel, entry_class, commit in (
        (ChannelId(bytes(32)), EntryClass.CONTROL, True),
        (CHANNEL, EntryClass.MESSAGE, True),
        (CHANNEL, EntryClass.CONTROL, False),
    ):
        with pytest.raises(ContentError):
            sealing.unseal(KEY, channel, entry_class=entry_class, commit=commit, entry=entry)
