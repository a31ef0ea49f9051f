"""What the index holds of a segment of messages: which of them have which one or two letters in a row (HT-S-091). Pure.

A bucket: `n(4) ‖ n ids(2 each, ascending) ‖ n lengths(1 each) ‖ n lists`, little-endian. A list names messages by their
place in the segment, one byte each; from 32 on it is a bitmap of 32 bytes. Ids are digests, so a list may name too
many, never too few.
"""

import itertools
import zlib
from collections import defaultdict
from collections.abc import Iterable

from hanatalk.client.engine.formats.folding import Word, initials
from hanatalk.localdb.segments import BUCKETS, LENGTH

Gram = tuple[int, int]  # bucket, id in it
GRAMS_LIMIT = 8  # of a pattern that are looked up; more would not leave out more
ENOUGH = 3  # letters
_BITMAP = LENGTH // 8  # bytes
_FIRST, _LAST = "\u1100", "\u1112"  # initial consonants


def build(folded: Iterable[tuple[int, str]]) -> list[bytes]:
    """The buckets of a segment. :param folded: places in the segment (ascending) and folded texts"""
    texts: defaultdict[str, bytearray] = defaultdict(bytearray)
    for place, text in folded:
        for gram in _of_text(text):
            texts[gram].append(place)
    buckets: list[dict[int, set[int]]] = [{} for _ in range(BUCKETS)]
    for gram, places in texts.items():
        bucket, name = _name(gram)
        buckets[bucket].setdefault(name, set()).update(places)
    return [_bucket(lists) for lists in buckets]


def _of_text(text: str) -> set[str]:
    found = set(text)
    found.update(map(str.__add__, text, text[1:]))
    consonants = initials(text)
    found.update("\0" + one for one in set(consonants) if _FIRST <= one <= _LAST)
    found.update(
        "\0" + one + other
        for one, other in set(itertools.pairwise(consonants))
        if _FIRST <= one <= _LAST and _FIRST <= other <= _LAST
    )
    return {gram for gram in found if " " not in gram}


def of_pattern(pattern: str, *, by_initials: bool) -> list[Gram]:
    """What a text that has this pattern must have in the index."""
    start = "\0" if by_initials else ""
    if len(pattern) == 1:
        return [_name(start + pattern)]
    pairs = list(dict.fromkeys(map(str.__add__, pattern, pattern[1:])))
    step = max(1, len(pairs) // GRAMS_LIMIT)
    return [_name(start + pair) for pair in pairs[::step][:GRAMS_LIMIT]]


def of_word(word: Word) -> list[list[Gram]]:
    """What to look up: one of these lists. Patterns differ in the last letter: the rest is enough if it is long."""
    first, *others = word.patterns
    patterns = (first[:-1],) if others and len(first) > ENOUGH else word.patterns
    return [of_pattern(pattern, by_initials=word.by_initials) for pattern in patterns]


def find(bucket: bytes, name: int) -> int:
    """The messages of a segment that may have this gram, as a bitmap."""
    count = int.from_bytes(bucket[:4], "little")
    ids, lengths, lists = bucket[4 : 4 + 2 * count], bucket[4 + 2 * count : 4 + 3 * count], 4 + 3 * count
    wanted = name.to_bytes(2, "little")
    at = ids.find(wanted)
    while at % 2:
        if at < 0:
            return 0
        at = ids.find(wanted, at + 1)
    start = lists + sum(lengths[: at // 2])
    places = bucket[start : start + lengths[at // 2]]
    if len(places) == _BITMAP:
        return int.from_bytes(places, "little")
    return sum(1 << place for place in places)


def _name(gram: str) -> Gram:
    digest = zlib.crc32(gram.encode("utf-8", "surrogatepass"))
    return digest % BUCKETS, digest >> 16


def _bucket(lists: dict[int, set[int]]) -> bytes:
    ids = sorted(lists)
    values = [_list(lists[name]) for name in ids]
    return b"".join(
        (
            len(ids).to_bytes(4, "little"),
            *(name.to_bytes(2, "little") for name in ids),
            bytes(map(len, values)),
            *values,
        )
    )


def _list(places: set[int]) -> bytes:
    if len(places) < _BITMAP:
        return bytes(sorted(places))
    return sum(1 << place for place in places).to_bytes(_BITMAP, "little")
