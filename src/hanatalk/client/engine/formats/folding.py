"""Texts as search compares them: letters without case and accents, Hangul as its jamo (HT-C-185, HT-C-186). Pure.

Every character folds by itself, so a place in the folded text leads back to the character it came from.
"""

import itertools
import re
import unicodedata
from typing import NamedTuple

from hanatalk.errors import UsageError

QUERY_LIMIT = 256  # characters of a query
WORD_LIMIT = 16  # words that count
KNOWN_LIMIT = 20_000  # characters whose folding is remembered

_LEADS = "".join(map(chr, range(0x1100, 0x1113)))  # initial consonants
_VOWELS = "".join(map(chr, range(0x1161, 0x1176)))
_TAILS = "".join(map(chr, range(0x11A8, 0x11C3)))  # final consonants
_WITHOUT_INITIALS = str.maketrans("", "", _VOWELS + _TAILS)
_JAMO = re.compile(f"[{_LEADS}{_VOWELS}{_TAILS}]")
_ONLY_INITIALS = re.compile(f"[{_LEADS}]+")

# Typed as two strokes, written as one: in any order of typing, the first stroke alone must be found in the whole.
_TWO_STROKES = "ᅪᅩᅡ ᅫᅩᅢ ᅬᅩᅵ ᅯᅮᅥ ᅰᅮᅦ ᅱᅮᅵ ᅴᅳᅵ ᆪᆨᆺ ᆬᆫᆽ ᆭᆫᇂ ᆰᆯᆨ ᆱᆯᆷ ᆲᆯᆸ ᆳᆯᆺ ᆴᆯᇀ ᆵᆯᇁ ᆶᆯᇂ ᆹᆸᆺ"
_SPLIT = {one[0]: one[1:] for one in _TWO_STROKES.split()}
# A final consonant that becomes the initial of the next syllable when typing goes on: 한 on the way to 하늘.
_MOVED = dict(zip("ᆨᆩᆫᆮᆯᆷᆸᆺᆻᆼᆽᆾᆿᇀᇁᇂ", "ᄀᄁᄂᄃᄅᄆᄇᄉᄊᄋᄌᄎᄏᄐᄑᄒ", strict=True))
# A consonant by itself (ㄱ …) is an initial; two written as one (ㄳ) are two.
_PAIRS = "ㄳᄀᄉ ㄵᄂᄌ ㄶᄂᄒ ㄺᄅᄀ ㄻᄅᄆ ㄼᄅᄇ ㄽᄅᄉ ㄾᄅᄐ ㄿᄅᄑ ㅀᄅᄒ ㅄᄇᄉ"
_ALONE = dict(zip("ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ", _LEADS, strict=True))
_ALONE |= {one[0]: one[1:] for one in _PAIRS.split()}


def _fold_character(character: str) -> str:
    narrow = unicodedata.decomposition(character)
    if narrow.startswith("<narrow> 31"):  # half as wide
        character = chr(int(narrow[-4:], 16))
    if character in _ALONE:
        return _ALONE[character]
    if character.isspace():
        return " "
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    kept = "".join(_SPLIT.get(part, part) for part in parts if not _is_dropped(part))
    return kept if _JAMO.search(kept) else unicodedata.normalize("NFC", kept)  # か is no part of が


def _is_dropped(part: str) -> bool:
    """Accents, the points of Hebrew and Arabic, what is invisible.

    Vowel signs of Indic scripts and Thai, and the voicing marks of kana, make another word and stay.
    """
    mark = unicodedata.combining(part)
    return mark >= 200 or 10 <= mark <= 36 or unicodedata.category(part) == "Cf" or part in _INVISIBLE


_INVISIBLE = frozenset("\u115f\u1160\u3164\u034f") | frozenset(map(chr, range(0xFE00, 0xFE10)))


class _Known(dict[int, str]):
    """For `str.translate`: folds a character when it is first met."""

    def __missing__(self, number: int) -> str:
        folded = _fold_character(chr(number))
        if len(self) < KNOWN_LIMIT:
            self[number] = folded
        return folded


_known = _Known()


def fold(text: str) -> str:
    """The text as it is compared."""
    return text.translate(_known)


def initials(folded: str) -> str:
    """Of folded Hangul the initial consonants; everything else as it is."""
    return folded.translate(_WITHOUT_INITIALS)


class Word(NamedTuple):
    """A word of a query: one of `patterns` has to stand in the text (if `by_initials`: in its initials)."""

    patterns: tuple[str, ...]
    by_initials: bool


def words(query: str) -> list[Word]:
    """What to look for: every word has to be there. What is typed is taken as it is, there are no operators.

    A word of consonants only (ㅇㄴ) is looked for among the initials. The last word may be half typed: 안ㄴ and 안녀
    are the beginnings of 안녕 as they stand, 한 may become 하늘.

    :raises UsageError: ``search.empty``, ``search.too-long``
    """
    if len(query) > QUERY_LIMIT:
        raise UsageError("search.too-long", limit=QUERY_LIMIT)
    folded = fold(query)
    found: dict[Word, None] = {}
    for pattern in itertools.islice(folded.split(), WORD_LIMIT):
        if _ONLY_INITIALS.fullmatch(pattern):
            found[Word((pattern,), True)] = None
        elif pattern[-1] in _MOVED and folded.endswith(pattern):
            found[Word((pattern, pattern[:-1] + _MOVED[pattern[-1]]), False)] = None
        else:
            found[Word((pattern,), False)] = None
    if not found:
        raise UsageError("search.empty")
    return list(found)


def matches(folded: str, wanted: list[Word]) -> bool:
    """Whether a folded text has every word."""
    consonants = initials(folded) if any(word.by_initials for word in wanted) else ""
    return all(
        any(pattern in (consonants if word.by_initials else folded) for pattern in word.patterns) for word in wanted
    )


def places(text: str, wanted: list[Word], *, limit: int = 100) -> list[tuple[int, int]]:
    """Where the words stand: (first, last + 1) in characters of the text, ascending, merged where they touch."""
    parts = [fold(character) for character in text]
    spans: set[tuple[int, int]] = set()
    for by_initials in {word.by_initials for word in wanted}:
        shown = [initials(part) for part in parts] if by_initials else parts
        origin = [place for place, part in enumerate(shown) for _ in part]
        whole = "".join(shown)
        for pattern in {one for word in wanted if word.by_initials == by_initials for one in word.patterns}:
            at = whole.find(pattern)
            while at >= 0 and len(spans) < limit:
                spans.add((origin[at], origin[at + len(pattern) - 1] + 1))
                at = whole.find(pattern, at + 1)
    merged: list[tuple[int, int]] = []
    for first, end in sorted(spans):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((first, end))
    return merged
