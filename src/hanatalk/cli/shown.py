"""Other people's text on somebody's terminal (T-073): what could move the cursor, hide or reorder is escaped.

Escapes are spelt ``\\u202e``. What a person can type and see stays as it is, emoji families included.
"""

import re
import unicodedata
from collections.abc import Mapping

# Letters and marks by category, but nothing to see: Hangul fillers, Braille blank, combining grapheme joiner, Khmer
# inherent vowels.
_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")
# Ask for another form of the character before them; after any other they are invisible.
_SELECTORS = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
_MONGOLIAN_SELECTORS = frozenset("\u180b\u180c\u180d\u180f")
_KEYCAP = "\u20e3"
_EMOJI_TOO = "©®‼⁉™ℹ〰"  # below the blocks where every symbol may be one
_JOINER = "\u200d"
_NON_JOINER = "\u200c"
# Characters that JSON may carry raw, but that a terminal obeys or that reorder the line: C1, DEL, bidi, separators.
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|[\U000e0000-\U000e007f]")


def name(text: str) -> str:
    """A name on one line: line breaks and tabs are escaped too."""
    return _escaped(text, allowed="")


def text(text: str) -> str:
    """A message: line breaks and tabs stay."""
    return _escaped(text, allowed="\n\t")


def values(values: Mapping[str, str | int]) -> dict[str, str | int]:
    """What is put into a sentence: one line each."""
    return {key: name(value) if isinstance(value, str) else value for key, value in values.items()}


def json_line(encoded: str) -> str:
    """The same JSON value with every character escaped that a terminal would obey. Emoji joiners are kept readable."""
    return _UNSAFE_IN_JSON.sub(_json_escape, encoded)


def _escaped(text: str, *, allowed: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    for place, character in enumerate(text):
        if character in allowed or not _hidden(character) or _joins(text, place) or _selects(text, place):
            shown.append(character)
        else:
            shown.append(_escape(character))
    return "".join(shown)


def _hidden(character: str) -> bool:
    if character in _INVISIBLE or character in _SELECTORS or character in _MONGOLIAN_SELECTORS:
        return True
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _joins(text: str, place: int) -> bool:
    """A joiner between two emoji, or between two letters that need it (Persian, Indic), is part of what is written."""
    if text[place] not in (_JOINER, _NON_JOINER) or not 0 < place < len(text) - 1:
        return False
    if _hidden(text[place - 1]) and not _selects(text, place - 1):
        return False  # escaped itself: there is nothing to join to
    before, after = unicodedata.category(text[place - 1]), unicodedata.category(text[place + 1])
    emoji = text[place] == _JOINER and before in ("So", "Sk", "Mn") and after in ("So", "Sm")
    return emoji or (before in ("Lo", "Mn", "Mc") and after == "Lo")


def _selects(text: str, place: int) -> bool:
    """A selector after an emoji, in a keycap, after a Chinese character or a Mongolian letter is part of it."""
    if not place or text[place] not in _SELECTORS | _MONGOLIAN_SELECTORS:
        return False
    before = text[place - 1]
    number, category = ord(before), unicodedata.category(before)
    if text[place] in _MONGOLIAN_SELECTORS:
        return 0x1800 <= number < 0x18B0 and category == "Lo"
    if before in "0123456789#*":
        return text[place + 1 : place + 2] == _KEYCAP
    ideograph = category == "Lo" and (0x3400 <= number < 0xA000 or 0xF900 <= number < 0xFB00 or number >= 0x20000)
    return ideograph or before in _EMOJI_TOO or (number >= 0x2190 and category in ("So", "Sm", "Sk"))


def _escape(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _json_escape(match: re.Match[str]) -> str:
    number = ord(match.group())
    if number in (0x200C, 0x200D):
        return match.group()
    if number < 0x10000:
        return f"\\u{number:04x}"
    number -= 0x10000  # JSON spells these as two surrogates
    return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"
