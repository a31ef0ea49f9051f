"""What a reaction may be: one emoji, a single grapheme cluster, however it is put together (HT-C-106). Pure.

The shapes are those of UTS #51: a keycap, a flag of two letters, or pictures with their selectors, skin tones and tags,
joined by ZERO WIDTH JOINER. Whether such a picture exists is not asked: a newer device may know newer ones.
"""

import re
import unicodedata

from hanatalk.client.engine.formats import content

PICTURES = 8  # joined to one at most; families have four, couples that kiss too
_KEYCAP = re.compile("[0-9#*]\ufe0f?\u20e3")
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]{2}")
_ENDING = re.compile("\ufe0f?[\U0001f3fb-\U0001f3ff]?(?:[\U000e0020-\U000e007e]{1,16}\U000e007f)?")
_JOINER = "\u200d"
_TOO = frozenset("©®‼⁉™ℹ〰〽㊗㊙↔↕⤴⤵▪▫▶◀◻◼◽◾")  # what no category tells apart from letters and marks


def is_one(text: str) -> bool:
    """Whether a text is one emoji and nothing else."""
    if not text or len(text.encode("utf-8", "surrogatepass")) > content.EMOJI_LIMIT:
        return False
    if _KEYCAP.fullmatch(text) or _FLAG.fullmatch(text):
        return True
    pictures = text.split(_JOINER)
    return len(pictures) <= PICTURES and all(map(_is_picture, pictures))


def _is_picture(text: str) -> bool:
    if not text or not _is_base(text[0]):
        return False
    return _ENDING.fullmatch(text, 1) is not None


def _is_base(character: str) -> bool:
    number = ord(character)
    if 0x1F3FB <= number <= 0x1F3FF or 0x1F1E6 <= number <= 0x1F1FF:  # a tone or half a flag is no picture
        return False
    if 0x1F000 <= number <= 0x1FAFF:  # room for pictures that this Python does not know yet
        return unicodedata.category(character) in ("So", "Cn")
    if character in _TOO:
        return True
    symbol = 0x2300 <= number <= 0x27FF or 0x2900 <= number <= 0x2BFF  # Braille, one of which is blank, lies in between
    return symbol and unicodedata.category(character) == "So"
