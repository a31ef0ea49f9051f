"""The codec: what is allowed round-trips, everything else is a WireError and nothing else (T-019)."""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wire.samples import ANSWERS, PROOF, REQUESTS, client_frames, relay_frames

from hanatalk.errors import WireError
from hanatalk.wire import frames
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.outgoing import frame_size

SPEC = (Path(__file__).parents[2] / "spec/01-relay.md").read_text(encoding="utf-8")

quick = settings(max_examples=60, deadline=None)


@quick
@given(st.lists(client_frames, min_size=1, max_size=4))
def test_requests_round_trip(sent: list[frames.ClientFrame]) -> None:
    """HT-R-012"""
    assert frames.decode_client_frames(frames.encode(sent)) == sent


@quick
@given(st.lists(relay_frames, min_size=1, max_size=4))
def test_answers_round_trip(sent: list[frames.RelayFrame]) -> None:
    """HT-R-012"""
    assert frames.decode_relay_frames(frames.encode(sent)) == sent


@quick
@given(st.one_of(client_frames, relay_frames))
def test_no_frame_is_larger_than_its_bound(frame: frames.Frame) -> None:
    """HT-R-010: messages are cut by this bound."""
    assert len(frames.encode([frame])) - 1 <= frame_size(frame) or isinstance(frame, frames.Entries)


def _decode_both(message: bytes) -> list[str]:
    """The codes of both sides; anything but a WireError escapes and fails the test."""
    codes = []
    for decode in (frames.decode_client_frames, frames.decode_relay_frames):
        try:
            decode(message)
        except WireError as error:
            codes.append(error.code)
    return codes


@quick
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_or_frames(message: bytes) -> None:
    """T-019, HT-R-012"""
    assert set(_decode_both(message)) <= {"wire.malformed"}


@pytest.mark.parametrize("frame", [*REQUESTS, PROOF, *ANSWERS], ids=lambda frame: type(frame).__name__)
def test_every_truncation_is_refused(frame: frames.Frame) -> None:
    """T-019, HT-R-012"""
    message = frames.encode([frame])
    for length in range(len(message)):
        assert _decode_both(message[:length]) == ["wire.malformed", "wire.malformed"]
    assert _decode_both(message + b"\x00") == ["wire.malformed", "wire.malformed"]


@pytest.mark.parametrize("frame", [*REQUESTS, PROOF, *ANSWERS], ids=lambda frame: type(frame).__name__)
def test_every_flipped_bit_is_refused_or_frames(frame: frames.Frame) -> None:
    """T-019: no other exception for any single bit of any frame."""
    message = frames.encode([frame])
    for bit in range(8 * len(message)):
        changed = bytearray(message)
        changed[bit // 8] ^= 1 << bit % 8
        assert set(_decode_both(bytes(changed))) <= {"wire.malformed"}


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x90",
        b"\xc0",
        b"\x91\xc0",
        b"\x91\x90",
        b"\x80",
        b"\xdd\xff\xff\xff\xff",
        b"\xdc\xff\xff",
        b"\x91\xdd\xff\xff\xff\xff\x01",
        b"\x91\x94\x01\xdd\xff\xff\xff\xff",
        b"\x91\x93\x24\x01\xdd\xff\xff\xff\xff",
        b"\x91" * 100_000,
        b"\x91\x94\x01" + b"\x91" * 100_000,
        b"\x91\x81" * 50_000,
        b"\x91\x92\x09\xa1\xff",
        b"\x91\x95\x2a\xc0\xa1\xff\xc0\xa0",
        b"\x91\x95\x2a\xc0\xa4busy\xc0\xa1\xff",
        b"\x91\x92\x09\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x91\x92\x09\xd3\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x91\x92\x09\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00",
        b"\x91\x92\x09\xc7\xff",
    ],
    ids=lambda message: message[:12].hex(),
)
def test_hostile_shapes_are_refused(message: bytes) -> None:
    """HT-R-010, HT-R-012, T-076: huge counts, deep nesting, bad UTF-8, numbers out of range, floats, extensions."""
    assert _decode_both(message) == ["wire.malformed", "wire.malformed"]


def test_a_message_may_have_4096_frames_and_no_more() -> None:
    """HT-R-010"""
    assert len(frames.decode_client_frames(frames.encode([frames.Ping(1)] * 4096))) == 4096
    with pytest.raises(WireError):
        frames.decode_client_frames(frames.encode([frames.Ping(1)] * 4097))


def test_a_message_may_have_a_mebibyte_and_no_more() -> None:
    """HT-R-010"""
    with pytest.raises(WireError, match=r"wire\.too-large"):
        frames.decode_client_frames(bytes((1 << 20) + 1))
    with pytest.raises(WireError, match=r"wire\.too-large"):
        frames.decode_relay_frames(bytes((1 << 20) + 1))


def _append(**changes: object) -> bytes:
    append = frames.Append(1, 1, b"e" * 16, EntryClass.MESSAGE, False, None, None, None, b"entry")
    return frames.encode([msgspec.structs.replace(append, **changes)])


@pytest.mark.parametrize(
    "changes",
    [
        {"entry": b""},
        {"entry": bytes(65_537)},
        {"entry": "text"},
        {"entry_id": bytes(15)},
        {"entry_id": bytes(17)},
        {"entry_class": 0},
        {"entry_class": 5},
        {"commit": 1},
        {"turn": -1},
        {"turn": 2**53},
        {"burn_after": 0},
        {"erase_hash": bytes(31)},
        {"handle": 0},
        {"request": 0},
    ],
    ids=str,
)
def test_a_field_out_of_range_is_malformed(changes: dict[str, object]) -> None:
    """HT-R-012, HT-R-018"""
    with pytest.raises(WireError, match=r"wire\.malformed"):
        frames.decode_client_frames(_append(**changes))


def test_the_largest_entry_fits() -> None:
    """HT-R-018"""
    (frame,) = frames.decode_client_frames(_append(entry=bytes(65_536)))
    assert isinstance(frame, frames.Append)
    assert len(frame.entry) == 65_536


@pytest.mark.parametrize("frame", [*REQUESTS, PROOF, *ANSWERS], ids=lambda frame: type(frame).__name__)
def test_a_missing_or_an_extra_field_is_malformed(frame: frames.Frame) -> None:
    """HT-R-012"""
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(frame))
    for wrong in (fields[:-1], [*fields, None], [*fields, 1]):
        assert _decode_both(msgspec.msgpack.encode([wrong])) == ["wire.malformed", "wire.malformed"]


def test_one_side_does_not_take_the_other_sides_frames() -> None:
    """HT-R-012"""
    for request in REQUESTS:
        with pytest.raises(WireError):
            frames.decode_relay_frames(frames.encode([request]))
    for answer in ANSWERS:
        with pytest.raises(WireError):
            frames.decode_client_frames(frames.encode([answer]))


def test_an_error_quotes_nothing_of_what_came() -> None:
    """HT-R-094: such an error may be logged."""
    secret = "a very secret token"
    with pytest.raises(WireError) as caught:
        frames.decode_client_frames(msgspec.msgpack.encode([[1, [1], secret, None]]))
    assert secret not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("frame", [*REQUESTS, PROOF, *ANSWERS], ids=lambda frame: type(frame).__name__)
def test_no_bytes_in_the_repr(frame: frames.Frame) -> None:
    """Tokens, passes and entries never reach a log through a repr."""
    text = repr(frame)
    for name in frame.__struct_fields__:
        value = getattr(frame, name)
        if isinstance(value, bytes):
            assert repr(value)[2:-1] not in text
            assert f"{name}=<{len(value)} bytes>" in text


def test_shared_entries_are_the_entries_frame() -> None:
    """HT-R-050: what is encoded once for all subscribers reads as an ordinary ENTRIES."""
    pushed = [frames.PushedEntry(seq, 0, EntryClass.MESSAGE, False, b"x" * seq) for seq in (1, 2, 3)]
    shared = msgspec.Raw(frames.encode_entries(pushed))
    for handle in (1, 200, 70_000):
        assert frames.decode_relay_frames(frames.encode([frames.SharedEntries(handle, shared)])) == [
            frames.Entries(handle, pushed)
        ]


def test_the_table_of_frames_is_the_code() -> None:
    """spec/01-relay.md lists every frame with its type and its fields in order."""
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \| (.+) \| (client|relay) \|$", SPEC, re.MULTILINE)
    table = {}
    for number, name, fields, side in rows:
        flat = re.sub(r"\[(?:\[[^]]*\]|[^]\[])*\]|\([^)]*\)", "", fields)  # without lengths and what lists hold
        table[int(number)] = (name, [field.split()[0] for field in flat.split(", ") if field.strip()], side)
    code = {}
    samples: list[tuple[str, Sequence[frames.Frame]]] = [("client", [*REQUESTS, PROOF]), ("relay", ANSWERS)]
    for side, sample in samples:
        for frame in sample:
            tag = frame.__struct_config__.tag
            assert isinstance(tag, int)
            name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(frame).__name__).upper()
            code[tag] = (name, list(frame.__struct_fields__), side)
    assert {tag: (name, side) for tag, (name, _, side) in table.items()} == {
        tag: (name, side) for tag, (name, _, side) in code.items()
    }
    renamed = {"entry_class": "class"}
    for tag, (_, fields, _) in code.items():
        assert [renamed.get(field, field) for field in fields] == table[tag][1]
