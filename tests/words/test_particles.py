"""Korean particles by the last sound of the word before them."""

import pytest

from hanatalk.words.particles import PARTICLES, particle


@pytest.mark.parametrize(
    ("word", "subject"),
    [
        ("민지", "가"),
        ("지훈", "이"),
        ("서울", "이"),
        ("값", "이"),
        ("ㅇㅇ", "이"),
        ("ㅏ", "가"),
        ("민지(친구)", "가"),  # the word counts, not what stands in brackets
        ("지훈[회사]", "이"),
        ("(지훈)", "이"),  # unless there is nothing else
        ("‘지훈’", "이"),
        ("민지!", "가"),
        ("\u2068민지\u2069", "가"),
    ],
)
def test_hangul(word: str, subject: str) -> None:
    assert particle(word, "이/가") == subject


@pytest.mark.parametrize(
    ("number", "subject"),
    [
        *zip("0123456789", "이이가이가가이이이가", strict=True),  # 영 일 이 삼 사 오 육 칠 팔 구
        ("10", "이"),
        ("12", "가"),
        ("100", "이"),
        ("1000", "이"),
        ("10,000", "이"),
        ("100,000", "이"),
        ("100000000", "이"),
        ("1000000000000", "가"),  # 조
        ("1.5", "가"),
        ("1.0", "이"),
        ("제2", "가"),
    ],
)
def test_digits_are_read_as_sino_korean(number: str, subject: str) -> None:
    assert particle(number, "이/가") == subject


@pytest.mark.parametrize(
    ("word", "subject"),
    [
        ("Jihoon", "이"),
        ("Minji", "가"),
        ("Bob", "이"),
        ("Jack", "이"),
        ("Jane", "이"),
        ("Kate", "가"),
        ("Mark", "가"),
        ("Paul", "이"),
        ("Kim", "이"),
        ("Song", "이"),
        ("URL", "이"),  # 유아르엘
        ("QR", "이"),  # 큐알
        ("SMS", "가"),  # 에스엠에스
        ("--relay", "가"),
    ],
)
def test_latin_letters_as_they_are_usually_written_in_hangul(word: str, subject: str) -> None:
    assert particle(word, "이/가") == subject


def test_rieul_counts_as_a_vowel_before_ro_only() -> None:
    assert particle("서울", "으로/로") == "로"
    assert particle("7", "으로/로") == "로"
    assert particle("부산", "으로/로") == "으로"
    assert particle("대구", "으로/로") == "로"
    assert particle("서울", "과/와") == "과"


@pytest.mark.parametrize("word", ["", "🌲", "太郎", "!?", "()", "Ж"])
@pytest.mark.parametrize("choice", PARTICLES)
def test_both_forms_where_nobody_can_know(word: str, choice: str) -> None:
    assert particle(word, choice) == PARTICLES[choice][2]
