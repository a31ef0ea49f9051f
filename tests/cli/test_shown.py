"""T-073: what other people wrote cannot move the cursor, hide or reorder anything on a terminal."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanatalk.cli import shown

DANGEROUS = ["\x1b[2J", "\x07", "\x9b31m", "\u202e", "\u2066", "\u200b", "\ufeff", "\u3164", "\u2800", "\x7f", "\u2028"]


@pytest.mark.parametrize("bad", DANGEROUS)
def test_t073_dangerous_characters_are_spelt_out(bad: str) -> None:
    escaped = shown.text(f"a{bad}b")
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") for character in escaped)
    assert bad not in escaped
    assert escaped.startswith("a\\")
    assert escaped.endswith("b")


@pytest.mark.parametrize(
    "plain", ["안녕, 들려?", "naïve café", "👨‍👩‍👧 family", "❤️", "می‌خواهم", "क्‍ष", "1 + 1 = 2", "\\u202e typed"]
)
def test_what_people_type_stays_as_it_is(plain: str) -> None:
    assert shown.text(plain) == plain


def test_line_breaks_stay_in_texts_and_not_in_names() -> None:
    assert shown.text("a\nb\tc") == "a\nb\tc"
    assert shown.name("a\nb\tc") == "a\\x0ab\\x09c"


def test_a_joiner_that_joins_nothing_is_spelt_out() -> None:
    assert shown.name("min\u200dji") == "min\\u200dji"
    assert shown.name("가\ufe00\u200d나") == "가\\ufe00\\u200d나"  # the mark before it is spelt out itself


@given(st.text())
def test_t073_nothing_a_terminal_obeys_is_left_in_any_name(text: str) -> None:
    for place, character in enumerate(escaped := shown.name(text)):
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            assert character in "\u200c\u200d"
            assert 0 < place < len(escaped) - 1


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_json_stays_the_same_value(text: str) -> None:
    line = shown.json_line(json.dumps({"text": text}, ensure_ascii=False))
    assert json.loads(line) == {"text": text}
    assert not any(character in line for character in ("\x9b", "\u202e", "\u2066", "\x7f", "\u2028"))


@pytest.mark.parametrize(
    "same", ["민지\ufe0f", "민지\U000e0100", "minji\ufe00", "1\ufe0f", "민\u17b4지", "\u180bminji", "❤\ufe0f\ufe0f"]
)
def test_t073_a_selector_that_selects_nothing_is_spelt_out(same: str) -> None:
    """T-073, T-034: found by fuzzing. Such a name looked exactly like another member's."""
    assert "\\" in shown.name(same)
    assert shown.text(same) == shown.name(same)


@pytest.mark.parametrize("plain", ["❤️", "1️⃣", "葛\U000e0100城", "↔️", "©️", "ᠠ᠋"])
def test_a_selector_that_selects_something_stays(plain: str) -> None:
    assert shown.name(plain) == plain
