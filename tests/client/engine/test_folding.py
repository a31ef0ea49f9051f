"""What a word of a search finds, and where (HT-C-185 … HT-C-189)."""

import unicodedata

import pytest

from hanatalk.client.engine.formats.folding import QUERY_LIMIT, fold, matches, places, words
from hanatalk.errors import UsageError


def found(query: str, text: str) -> list[str]:
    """The parts of the text that a search would show; nothing if it does not find it."""
    wanted = words(query)
    spans = places(text, wanted)
    return [text[first:end] for first, end in spans] if matches(fold(text), wanted) else []


@pytest.mark.parametrize(
    "query",
    [
        "안녕",
        "안ㄴ",
        "안녀",
        "안",
        "아",
        "ㅇㄴ",
        "ㅇ",
        "녕",
        "녀",
        "하세",
        "ㅎㅅ",
        "ㅇㄴㅎㅅㅇ",
        unicodedata.normalize("NFD", "안녕"),
    ],
)
def test_every_stroke_on_the_way_to_a_greeting_finds_it(query: str) -> None:
    """HT-C-186, HT-C-187, HT-C-188: half-typed syllables, initial consonants, however they are stored."""
    assert found(query, "안녕하세요")
    assert found(query, unicodedata.normalize("NFD", "음, 안녕하세요"))


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("ㅎ", "하늘"),
        ("하", "하늘"),
        ("한", "하늘"),  # the IME shows ㄴ as a final until the vowel comes
        ("하느", "하늘"),
        ("고", "과일"),
        ("과", "과일"),
        ("곽", "과기"),
        ("달", "닭"),
        ("닭", "달걀"),
        ("갑", "값"),
        ("값", "값이 얼마"),
        ("의", "의자"),
        ("으", "의자"),
        ("ㄳ", "감사"),  # some IMEs join what was typed
        ("ㄱㅅ", "ㄳ"),
        ("ㅋㅋ", "ㅋㅋㅋ"),
        ("ㅋㅋ", "크크"),
        ("ㅠ", "ㅠㅠ"),
        ("ﾡ", "가"),
    ],
)
def test_what_is_typed_on_the_way_finds_the_word(query: str, text: str) -> None:
    assert found(query, text)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("한 ", "하늘"),  # a space says that the syllable is complete
        ("한강", "하낭"),  # only the last one may be half typed
        ("안녕", "안경"),
        ("ㅇㄴ", "안 녕"),  # another word begins
        ("ㅇㅇ", "안녕"),
        ("가나", "나가"),
        ("ㄱ", "까치"),
        ("か", "が"),
        ("कि", "का"),
        ("ab", "a b"),
        ("안녕 하세요", "안녕"),
    ],
)
def test_what_is_something_else_is_not_found(query: str, text: str) -> None:
    assert found(query, text) == []


@pytest.mark.parametrize(
    ("query", "text", "shown"),
    [
        ("ete", "Un ÉTÉ à Paris", ["ÉTÉ"]),
        ("STRASSE", "an der Straße", ["Straße"]),
        ("straße", "STRASSE", ["STRASSE"]),
        ("istanbul", "İstanbul", ["İstanbul"]),
        ("fi", "ﬁn", ["ﬁ"]),
        ("１２", "12시", ["12"]),
        ("שלום", "שָׁלוֹם", ["שָׁלוֹ\u05dd"]),
        ("회의", "내일 회의 있어요", ["회의"]),
        ("회의 내일", "내일 회의 있어요", ["내일", "회의"]),
        ("안ㄴ", "어제 안녕 오늘 안녕", ["안녕", "안녕"]),
        ("ㄴㅎ", "안녕하세요", ["녕하"]),
        ("aa", "aaaa", ["aaaa"]),
        ("👨", "👨‍👩‍👧 가족", ["👨"]),
        ("愛", "사랑 愛", ["愛"]),
        ("안녕", "안\u200b녕", ["안\u200b녕"]),
    ],
)
def test_case_and_accents_do_not_matter_and_places_are_characters_of_the_text(
    query: str, text: str, shown: list[str]
) -> None:
    """HT-C-186, HT-C-189."""
    assert found(query, text) == shown


@pytest.mark.parametrize(
    "query",
    [
        '"',
        "'",
        "*",
        "NEAR(x y)",
        "x OR y",
        "-x",
        "a*",
        "^a",
        "{a b}:c",
        'text:"a"',
        "%",
        "_",
        "\\",
        "\0",
        "[a-z]+",
        "(",
        ";--",
        "\ud800",
    ],
)
def test_a_query_is_no_language(query: str) -> None:
    """HT-C-185: what is typed is looked for as it is."""
    assert matches(fold(f"before {query} after"), words(query))
    assert not matches(fold("before after"), words(query))


@pytest.mark.parametrize("query", ["", " ", "\n\t", "\u200b", "\u0301", "\u3164"])
def test_nothing_to_look_for_is_said(query: str) -> None:
    with pytest.raises(UsageError) as caught:
        words(query)
    assert caught.value.code == "search.empty"


def test_a_query_has_a_limit() -> None:
    words("a" * QUERY_LIMIT)
    with pytest.raises(UsageError) as caught:
        words("a" * (QUERY_LIMIT + 1))
    assert caught.value.code == "search.too-long"
    assert len(words("ㅎ " * 100)) == 1
    assert len(words(" ".join(f"word{number}" for number in range(30)))) == 16
