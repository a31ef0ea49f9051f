"""Words that people compare or copy: the BIP-39 lists, 2,048 short everyday words each, in Korean and English.

The same numbers are the same words on every device. Typed back, a word may be spelt in any normal form of Unicode.
"""

import functools
import unicodedata

COUNT = 2048
SEED = 32  # bytes that 24 words hold
_NAMES = {"ko": "korean", "en": "english"}


@functools.cache
def _words(language: str) -> tuple[str, ...]:
    from mnemonic import Mnemonic  # a device's installation has it, a relay's needs none

    found = tuple(unicodedata.normalize("NFC", word) for word in Mnemonic(_NAMES[language]).wordlist)
    if len(set(found)) != COUNT:
        raise RuntimeError("the list of words is not what it was")
    return found


def spoken(numbers: list[int], language: str) -> list[str]:
    """The words of these numbers, each below 2,048, in ``ko`` or ``en``."""
    words = _words("ko" if language == "ko" else "en")
    return [words[number] for number in numbers]


def on_paper(seed: bytes, language: str) -> str:
    """32 bytes as 24 words with a checksum (BIP-39), to be written down."""
    from mnemonic import Mnemonic

    words = Mnemonic(_NAMES["ko" if language == "ko" else "en"]).to_mnemonic(seed)
    return unicodedata.normalize("NFC", words)


def off_paper(text: str) -> bytes | None:
    """The 32 bytes again, in whichever language they were written down; None: a word is wrong or missing."""
    from mnemonic import Mnemonic

    for language in _NAMES.values():
        words = unicodedata.normalize("NFKD", " ".join(text.split()).lower())
        try:
            seed = bytes(Mnemonic(language).to_entropy(words))
        except (LookupError, ValueError):
            continue
        if len(seed) == SEED:
            return seed
    return None
