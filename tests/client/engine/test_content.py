"""Envelopes and bodies (HT-C-001 … HT-C-007): strict, bounded, never another error than ContentError."""

import os
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanatalk.client.engine.formats import content
from hanatalk.errors import ContentError
from hanatalk.ids import MessageId

ID = MessageId(os.urandom(16))


def test_text_comes_back_as_typed() -> None:
    for text in ("안녕, 들려?", "ㅎㅎ", "👩‍👩‍👧", "a\u0301", "\u202eabc", "\n\n", "\0"):
        plain = content.make(content.Text(text), message=ID, counter=1, sent_at=5)
        envelope, body = content.parse(plain)
        assert body == content.Text(text)
        assert (envelope.message, envelope.counter, envelope.sent_at) == (ID, 1, 5)


def test_a_short_message_fits_the_smallest_entry() -> None:
    """performance.md: "안녕" costs one 512-byte bucket; PrivateMessage and seal take less than 250 bytes."""
    assert len(content.make(content.Text("안녕"), message=ID, counter=1 << 30, sent_at=1 << 41)) < 250


def test_too_long_is_refused_both_ways() -> None:
    """HT-C-004."""
    long = content.Text("가" * (content.TEXT_LIMIT // 3 + 1))
    with pytest.raises(ContentError, match=r"text\.too-long"):
        content.make(long, message=ID, counter=1, sent_at=0)
    with pytest.raises(ContentError, match=r"content\.malformed"):
        content.parse_body(content.encode(long))


def test_names_are_bounded() -> None:
    """HT-C-005."""
    for name in ("", "x" * 65):
        with pytest.raises(ContentError):
            content.parse_body(content.encode(content.Hello(name, [])))


@given(st.binary(max_size=300))
def test_anything_parses_or_is_content_error(found: bytes) -> None:
    for parse in (content.parse, content.parse_body, content.parse_commit_context):
        with suppress(ContentError):
            parse(found)  # type: ignore[operator]


@given(st.integers(0, 10**6), st.integers(0, 7))
def test_a_flipped_bit_parses_or_is_content_error(place: int, bit: int) -> None:
    changed = bytearray(
        content.make(
            content.SendAgain([content.Range(1, 2, 3)]),
            message=ID,
            counter=0,
            sent_at=1,
            receipts=[content.ReceiptLine(0, 1, 1)],
        )
    )
    changed[place % len(changed)] ^= 1 << bit
    try:
        content.parse(bytes(changed))
    except ContentError as error:
        assert error.code == "content.malformed"


def test_nested_garbage_is_bounded() -> None:
    with pytest.raises(ContentError):
        content.parse(b"\x91" * 100_000)


def test_extra_fields_and_versions_are_refused() -> None:
    plain = content.make(content.Receipt(), message=ID, counter=0, sent_at=0)
    assert plain[0] == 0x96
    with pytest.raises(ContentError):
        content.parse(b"\x97" + plain[1:] + b"\xc0")
    with pytest.raises(ContentError):
        content.parse(plain[:1] + b"\x02" + plain[2:])
