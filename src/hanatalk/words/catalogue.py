"""Look up and fill in. A start pays for one small file; nothing here ever raises over a missing sentence.

A lookup that raised would turn "the relay is gone" into a traceback, so an unknown key comes back as itself and an
unknown placeholder stays as written. The tests make sure that neither happens (tests/words/test_catalogues.py).
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from string import Formatter
from typing import Any

from hanatalk.words.particles import PARTICLES, particle


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


def placeholders(text: str) -> Iterator[str]:
    """The names in braces of a catalogue's sentence, in order, repeats included. :raises ValueError: unbalanced braces"""
    return (name for _, name, _, _ in Formatter().parse(text) if name is not None)


@cache  # of a file that does not change while we run
def _catalogue(language: Language) -> NullTranslations:
    try:
        with Path(__file__).with_name(f"{language}.mo").open("rb") as opened:
            return GNUTranslations(opened)
    except FileNotFoundError:
        return NullTranslations()  # a checkout before `make setup`


class _Filling(Formatter):
    """``{name}`` and, in Korean, ``{name:이/가}`` (value and particle) or ``{name:~이/가}`` (the particle alone)."""

    def get_value(self, key: int | str, args: Any, kwargs: Mapping[str, Any]) -> Any:
        return kwargs[key] if isinstance(key, str) and key in kwargs else f"{{{key}}}"

    def format_field(self, value: Any, format_spec: str) -> str:
        choice = format_spec.removeprefix("~")
        if choice not in PARTICLES:
            return str(value)
        chosen = particle(str(value), choice)
        return chosen if format_spec.startswith("~") else f"{value}{chosen}"


def _fill(text: str, values: Mapping[str, str | int]) -> str:
    return _Filling().vformat(text, (), values) if "{" in text else text
