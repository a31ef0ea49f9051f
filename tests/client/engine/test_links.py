"""Invite links (HT-M-030)."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanatalk.client.engine.formats import links
from hanatalk.errors import ContentError

LINK = links.InviteLink(
    1,
    "wss://relay.example/#pin=abc",
    os.urandom(32),
    os.urandom(32),
    os.urandom(32),
    os.urandom(32),
    os.urandom(32),
    1_800_000_000,
)
TEXT = links.compose(LINK)


def test_a_link_comes_back_with_white_space_around_it() -> None:
    assert links.parse(f"  {TEXT}\n") == LINK


def test_a_link_fits_a_qr_code_and_a_line() -> None:
    assert len(TEXT) < 350


@pytest.mark.parametrize("length", range(0, len(TEXT), 5))
def test_a_truncated_link_is_refused(length: int) -> None:
    with pytest.raises(ContentError, match=r"invite\.malformed"):
        links.parse(TEXT[:length])


@given(st.text(max_size=400))
def test_anything_else_is_refused(text: str) -> None:
    for candidate in (text, links.SCHEME + text):
        with pytest.raises(ContentError, match=r"invite\.malformed"):
            links.parse(candidate)


@given(st.integers(len(links.SCHEME), len(TEXT) - 1), st.sampled_from("AZaz09-_=+/ \u200b\u3164"))
def test_one_link_has_one_spelling(index: int, character: str) -> None:
    """A changed character is refused."""
    changed = TEXT[:index] + character + TEXT[index + 1 :]
    if changed == TEXT:
        return
    with pytest.raises(ContentError, match=r"invite\.malformed"):
        links.parse(changed)


def test_a_link_does_not_show_itself() -> None:
    assert repr(LINK) == "InviteLink(…)"
    assert LINK.secret.hex() not in repr(LINK.capability)


def test_t046_the_relays_pin_travels_in_the_link() -> None:
    """T-046: whoever accepts connects to that relay with that pin, or not at all (`transport` refuses another key)."""
    assert links.parse(TEXT).relay_url == "wss://relay.example/#pin=abc"
