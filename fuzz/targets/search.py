"""What somebody searches for, in what others wrote: no query and no text confuses the index (HT-C-185, HT-S-091)."""

from collections.abc import Iterator

from fuzz.target import Attack, Target, hold
from hanatalk.client.engine.formats import folding, grams
from hanatalk.errors import UsageError


def _search() -> Attack:
    def attack(given: bytes) -> None:
        query, *texts = given.decode("utf-8", "surrogatepass").split("\n")
        wanted = folding.words(query)
        texts = texts[:256]
        folded = [(place, folding.fold(text)) for place, text in enumerate(texts)]
        buckets = grams.build(folded)
        candidates = (1 << 256) - 1
        for word in wanted:
            either = 0
            for pattern in grams.of_word(word):
                places = candidates
                for bucket, name in pattern:
                    places &= grams.find(buckets[bucket], name)
                either |= places
            candidates &= either
        for place, text in folded:
            spans = folding.places(texts[place], wanted)
            if folding.matches(text, wanted):
                hold(candidates >> place & 1, "a text that the index leaves out (HT-S-091)")
                hold(spans, "a text that is found nowhere in itself (HT-C-189)")
            ends = [0, *(edge for span in spans for edge in span), len(texts[place])]
            hold(ends == sorted(ends), "places outside of the text, or in no order (HT-C-189)")

    return attack


def _searches() -> Iterator[bytes]:
    for query in ("안ㄴ", "ㅇㄴ", "한", "닭 ete", "NEAR(a) OR *", "ㄳ"):
        texts = (
            "안녕하세요",
            "하늘",
            "닭갈비 ÉTÉ",
            "near or (a) *",
            "감사 ㄳ",
            "어제 안녕",
            "İ ﬁ ㋿ ﷺ",
            "a\u0301\u0315b",
        )
        yield "\n".join((query, *texts)).encode()


TARGETS = [
    Target(
        name="search",
        parsers=tuple(
            f"hanatalk.client.engine.{name}"
            for name in (
                "formats.folding.words",
                "formats.folding.fold",
                "formats.folding.places",
                "formats.grams.build",
                "formats.grams.find",
            )
        ),
        allowed=(UsageError, UnicodeDecodeError),
        ready=_search,
        seeds=_searches,
        short=1000,
    ),
]
