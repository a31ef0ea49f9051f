"""Words that people compare or copy: the BIP-39 lists, 2,048 short everyday words each, in Korean and English.

The same numbers are the same words on every device. Typed back, a word may be spelt in any normal form of Unicode.
"""

import functools
import unicodedata

COUNT = 2048
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
