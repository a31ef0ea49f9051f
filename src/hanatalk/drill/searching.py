"""Looking for texts and names in files, in every form in which a careless program leaves them.

A search that finds nothing proves little by itself, so whoever uses it also runs it where the needles must be found
(the positive control).
"""

import base64
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HEAD = 8  # bytes of a pattern that are looked up first; shorter patterns are searched one by one
SHORTEST = 5  # bytes: anything shorter stands in megabytes of random bytes by chance


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One place where a needle stands. `form` is how it was spelt: ``utf-8``, ``utf-16-le``, ``base64``, ``hex`` …"""

    place: str
    offset: int
    needle: str
    form: str


class Search:
    """All forms of some needles, ready to be looked for.

    Left out are forms shorter than five bytes (a two-syllable name in UTF-16): chance would find those.
    """

    def __init__(self, needles: Iterable[str]) -> None:
        self.patterns: Mapping[bytes, tuple[str, str]] = {
            pattern: (needle, form) for needle in needles for form, pattern in forms(needle) if len(pattern) >= SHORTEST
        }
        self._by_head: dict[bytes, list[bytes]] = {}
        for pattern in self.patterns:
            if len(pattern) >= HEAD:
                self._by_head.setdefault(pattern[:HEAD], []).append(pattern)
        self._short = [pattern for pattern in self.patterns if len(pattern) < HEAD]

    def files(self, folder: Path) -> list[Hit]:
        """Search every file below `folder`, its name included."""
        hits: list[Hit] = []
        for path in sorted(folder.rglob("*")):
            place = str(path.relative_to(folder))
            hits += self.content(place.encode(), place=f"name of {place}")
            if path.is_file() and not path.is_symlink():
                hits += self.content(path.read_bytes(), place=place)
        return hits

    def content(self, content: bytes, *, place: str) -> list[Hit]:
        """Search some bytes; one pass over them however many needles there are."""
        hits = [self._hit(pattern, offset, place) for pattern in self._short for offset in _all(content, pattern)]
        heads = self._by_head
        for offset in range(len(content) - HEAD + 1):
            found = heads.get(content[offset : offset + HEAD])
            if found is not None:
                hits += [self._hit(p, offset, place) for p in found if content.startswith(p, offset)]
        return hits

    def _hit(self, pattern: bytes, offset: int, place: str) -> Hit:
        needle, form = self.patterns[pattern]
        return Hit(place=place, offset=offset, needle=needle, form=form)


def forms(needle: str) -> Iterator[tuple[str, bytes]]:
    """Every spelling of a text that is looked for, by name."""
    raw = needle.encode()
    yield "utf-8", raw
    decomposed = unicodedata.normalize("NFD", needle).encode()
    if decomposed != raw:
        yield "utf-8 (NFD)", decomposed
    escaped = needle.encode("unicode_escape")
    if escaped != raw:
        yield "escaped", escaped
    yield "utf-16-le", needle.encode("utf-16-le")
    yield "utf-16-be", needle.encode("utf-16-be")
    yield "hex", raw.hex().encode()
    yield "HEX", raw.hex().upper().encode()
    for shift in range(3):
        core = _base64_core(raw, shift)
        yield "base64", core
        if core != (url_safe := core.translate(bytes.maketrans(b"+/", b"-_"))):
            yield "base64url", url_safe


def _base64_core(raw: bytes, shift: int) -> bytes:
    """The characters that depend on `raw` alone when it stands `shift` bytes (mod 3) into what was encoded."""
    encoded = base64.b64encode(bytes(shift) + raw)
    return encoded[-(-8 * shift // 6) : 8 * (shift + len(raw)) // 6]


def _all(content: bytes, pattern: bytes) -> Iterator[int]:
    offset = content.find(pattern)
    while offset >= 0:
        yield offset
        offset = content.find(pattern, offset + 1)
