"""Korean particles: which of two forms follows a word depends on the last sound of the word as it is read aloud.

    민지가, 지훈이; 3이 (삼), 2가 (이); Jihoon이, Minji가; 민지(친구)가; 서울로 (ㄹ counts as a vowel before 로)

Digits are read as Sino-Korean numbers. Latin letters follow how the word is usually written in Hangul: a rule of
thumb. Where nobody can know (an emoji, another script) both forms are written: 🌲이(가).
"""

PARTICLES = {
    "이/가": ("이", "가", "이(가)"),
    "은/는": ("은", "는", "은(는)"),
    "을/를": ("을", "를", "을(를)"),
    "과/와": ("과", "와", "과(와)"),
    "으로/로": ("으로", "로", "(으)로"),
    "이에요/예요": ("이에요", "예요", "이에요"),
    "이라/라": ("이라", "라", "(이)라"),
}
"""Form after a consonant, after a vowel, and when the last sound is unknown."""

_PAIRS = {")": "(", "]": "[", "}": "{", "）": "（", "］": "［", "」": "「", "』": "『", "〉": "〈", "》": "《"}
_QUIET = " .,!?…~-_'\"`‘’“”·;:\u200b\u200e\u200f\u202c\u2069\ufe0f"  # marks and invisible signs are not read aloud
# 영 일 삼 육 칠 팔; the others end in vowels
_DIGITS = {
    "0": "ㅇ",
    "1": "ㄹ",
    "3": "ㅁ",
    "6": "ㄱ",
    "7": "ㄹ",
    "8": "ㄹ",
}
_LETTERS = {"L": "ㄹ", "M": "ㅁ", "N": "ㄴ", "R": "ㄹ"}  # 엘 엠 엔 알, read letter by letter
_JAMO_VOWELS = range(0x314F, 0x3164)
_JAMO_CONSONANTS = range(0x3131, 0x314F)
_SYLLABLES = range(0xAC00, 0xD7A4)
_RIEUL = 8  # index of ㄹ among the 28 finals


def particle(word: str, choice: str) -> str:
    """The form of `choice` (a key of `PARTICLES`) that follows `word`."""
    consonant, vowel, unknown = PARTICLES[choice]
    final = last_consonant(word)
    if final is None:
        return unknown
    if final == "" or (final == "ㄹ" and choice == "으로/로"):
        return vowel
    return consonant


def last_consonant(word: str) -> str | None:
    """``""`` if the word ends in a vowel, ``"ㄹ"`` for that one, another consonant for any other, None if unknown."""
    word = _spoken(word)
    if not word:
        return None
    last = word[-1]
    if ord(last) in _SYLLABLES:
        final = (ord(last) - _SYLLABLES.start) % 28
        return "" if final == 0 else "ㄹ" if final == _RIEUL else "ㄱ"
    if ord(last) in _JAMO_VOWELS:
        return ""
    if ord(last) in _JAMO_CONSONANTS:
        return "ㄱ"  # 기역, 니은, 디귿 … all end in a consonant; ㄹ itself is 리을
    if last in "0123456789":
        return _number(word)
    if last.isascii() and last.isalpha():
        return _latin(word)
    return None


def _spoken(word: str) -> str:
    """Without closing marks and what stands in brackets at the end: 민지(친구)가, not 민지(친구)는 because of 구."""
    word = word.rstrip(_QUIET)
    while word and word[-1] in _PAIRS:
        opening = word.rfind(_PAIRS[word[-1]])
        before = word[:opening].rstrip(_QUIET) if opening > 0 else ""
        word = before or word[max(opening, 0) :].strip("".join({*_PAIRS, *_PAIRS.values()}) + _QUIET)
    return word


def _number(word: str) -> str:
    start = len(word)
    while start and (word[start - 1] in "0123456789" or (word[start - 1] == "," and start < len(word))):
        start -= 1
    digits = word[start:].replace(",", "")
    zeros = len(digits) - len(digits.rstrip("0"))
    if not digits.strip("0") or not zeros or (start and word[start - 1] == "."):
        return _DIGITS.get(digits[-1], "")  # read digit by digit, or a single digit
    return "" if zeros // 4 == 3 else "ㄱ"  # 십 백 천 만 억 경 end in consonants, 조 (12 to 15 zeros) does not


def _latin(word: str) -> str:
    start = len(word)
    while start and word[start - 1].isascii() and word[start - 1].isalpha():
        start -= 1
    letters = word[start:]
    if letters.isupper():
        return _LETTERS.get(letters[-1], "")
    lower = letters.lower()
    if len(lower) > 2 and lower[-1] == "e" and lower[-2] in "lmn" and lower[-3] in "aeiouy":
        lower = lower[:-1]  # Jane, Nicole, Jerome
    if lower.endswith("l"):
        return "ㄹ"
    if lower.endswith(("m", "n", "ng", "ck")):
        return "ㄱ"
    # a short vowel before a stop keeps the stop as a final: Bob, Pat, Mac, Philip (but Mark, Kate)
    if len(lower) > 2 and lower[-1] in "bckpt" and lower[-2] in "aeiou" and lower[-3] not in "aeiou":
        return "ㄱ"
    return ""
