"""Look up and fill in. A start pays for one small file; nothing here ever raises over a missing sentence.

A lookup that raised would turn "the relay is gone" into a traceback, so an unknown key comes back as itself and an
unknown placeholder stays as written. The tests make sure that neither happens (tests/words/test_catalogues.py).
"""

import os.path
import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from gettext import GNUTranslations, NullTranslations

from hanatalk.words.particles import PARTICLES, particle

PLACEHOLDER = re.compile(r"\{([a-z_]+)(?::([^{}]+))?\}")
"""``{name}`` and, in Korean, ``{name:이/가}`` (value and particle) or ``{name:~이/가}`` (the particle alone)."""


class Language(StrEnum):
    """The languages of the catalogues."""

    KO = "ko"
    EN = "en"


def sentence(language: Language, key: str, /, **values: str | int) -> str:
    """The sentence of `key`, filled in. A value `n` also chooses between singular and plural.

    :returns: the key itself if the catalogue has no such sentence.
    """
    if not key:
        return ""
    catalogue = _catalogue(language)
    number = values.get("n")
    text = catalogue.ngettext(key, key, number) if isinstance(number, int) else catalogue.gettext(key)
    return _fill(text, values) if text != key else key


def hint(language: Language, key: str, /, **values: str | int) -> str:
    """What to do about it: one sentence, or an empty string if there is no advice for `key`."""
    text = _catalogue(language).pgettext("hint", key)
    return _fill(text, values) if text != key else ""


@cache  # of a file that does not change while we run
def _catalogue(language: Language) -> NullTranslations:
    path = os.path.join(os.path.dirname(__file__), f"{language}.mo")  # pathlib would cost as much as all the rest
    try:
        with open(path, "rb") as opened:
            return GNUTranslations(opened)
    except FileNotFoundError:
        return NullTranslations()  # a checkout before `make setup`


def _fill(text: str, values: Mapping[str, str | int]) -> str:
    def filled(match: re.Match[str]) -> str:
        name, spec = match[1], match[2] or ""
        if name not in values:
            return match[0]
        value = str(values[name])
        choice = spec.removeprefix("~")
        if choice not in PARTICLES:
            return value
        return particle(value, choice) if spec.startswith("~") else value + particle(value, choice)

    return PLACEHOLDER.sub(filled, text)
