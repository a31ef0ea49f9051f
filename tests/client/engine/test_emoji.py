"""What a reaction may be (HT-C-106): one grapheme cluster that is an emoji, bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanatalk.client.engine.formats import content, emoji

ONE = [
    "👍",
    "❤",
    "❤️",
    "👩‍👩‍👧",
    "👩🏻‍❤️‍💋‍👨🏿",
    "1️⃣",
    "#⃣",
    "🇰🇷",
    "☺",
    "☺️",
    "©️",
    "↔️",
    "㊗️",
    "🫩",
    "👍🏽",
    "🧑‍🦱",
    "🏳️‍🌈",
    "♥",
    "⭐",
    "⌚",
    "〽️",
    "▶️",
]
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize("text", [*ONE, ENGLAND])
def test_an_emoji_is_one_however_it_is_put_together(text: str) -> None:
    assert emoji.is_one(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "ㅋ",
        "1",
        "👍👍",
        "👍a",
        "👍 ",
        "👍\n",
        "\U0001f1f0",
        "🇰🇷🇰🇷",
        "\U0001f3fd",
        "\u200d",
        "👍\u200d",
        "\u200d👍",
        "\ufe0f",
        "👍\u202e",
        "👍\ufe0f\ufe0f",
        "👍\U0001f3fd\U0001f3fd",
        "\u2800",
        "\u200d".join("😀" * 9),
        "👍" + "\U000e0067" * 17 + "\U000e007f",
        "\ud83d",
        "±",
    ],
)
def test_anything_else_is_not(text: str) -> None:
    assert not emoji.is_one(text)


@given(st.text(alphabet=st.sampled_from("👍❤\ufe0f\u200d\U0001f3fd🇰a1\u20e3\u202e\U000e0067\U000e007f"), max_size=40))
def test_whatever_is_one_is_short_and_has_nothing_hidden_around_it(text: str) -> None:
    if emoji.is_one(text):
        assert len(text.encode()) <= content.EMOJI_LIMIT
        assert "a" not in text
        assert "\u202e" not in text
        assert not text.endswith("\u200d")
        assert not text.startswith(("\u200d", "\ufe0f"))
