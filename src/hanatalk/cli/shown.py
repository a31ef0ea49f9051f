"""Other people's text on somebody's terminal (T-073): what could move the cursor, hide or reorder is escaped.

Escapes are spelt ``\\u202e``. What a person can type and see stays as it is, emoji families included.
"""

import re
import unicodedata

# Letters by category, but nothing to see: Hangul fillers, Braille blank, combining grapheme joiner.
_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f")
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


def json_line(encoded: str) -> str:
    """The same JSON value with every character escaped that a terminal would obey. Emoji joiners are kept readable."""
    return _UNSAFE_IN_JSON.sub(_json_escape, encoded)


def _escaped(text: str, *, allowed: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    for place, character in enumerate(text):
        if character in allowed or not _hidden(character) or _joins(text, place):
            shown.append(character)
        else:
            shown.append(_escape(character))
    return "".join(shown)


def _hidden(character: str) -> bool:
    return character in _INVISIBLE or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _joins(text: str, place: int) -> bool:
    """A joiner between two emoji, or between two letters that need it (Persian, Indic), is part of what is written."""
    if text[place] not in (_JOINER, _NON_JOINER) or not 0 < place < len(text) - 1:
        return False
    before, after = unicodedata.category(text[place - 1]), unicodedata.category(text[place + 1])
    emoji = text[place] == _JOINER and before in ("So", "Sk", "Mn") and after in ("So", "Sm")
    return emoji or (before in ("Lo", "Mn", "Mc") and after == "Lo")


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
