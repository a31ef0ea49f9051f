"""Looking up and filling in."""

import os
import subprocess
import sys

import pytest

from hanatalk.words import Language, hint, sentence
from hanatalk.words.catalogue import _fill


def test_sentence_and_hint_in_both_languages() -> None:
    assert sentence(Language.KO, "invite.used") == "이미 쓴 초대예요."
    assert sentence(Language.EN, "invite.used") == "This invite was used already."
    assert hint(Language.KO, "invite.used").endswith("받으세요.")
    assert hint(Language.EN, "invite.used").endswith("a new link.")


def test_values_are_filled_in_with_their_particle() -> None:
    assert sentence(Language.KO, "name.unknown", name="지훈") == "‘지훈’을 찾을 수 없어요."
    assert sentence(Language.KO, "name.unknown", name="민지") == "‘민지’를 찾을 수 없어요."
    assert _fill("{name:이/가} {n}명", {"name": "Jihoon", "n": 3}) == "Jihoon이 3명"


@pytest.mark.parametrize("language", Language)
def test_nothing_about_a_lookup_ever_raises(language: Language) -> None:
    """A command that reports an error must not fail while doing so."""
    assert sentence(language, "no.such-key", n=1) == "no.such-key"
    assert hint(language, "no.such-key") == ""
    assert sentence(language, "") == ""  # gettext would return the catalogue's own header
    assert "{name}" in sentence(language, "name.ambiguous")
    assert sentence(language, "name.ambiguous", name="{relay} %s {") != ""


def test_a_value_with_braces_is_text_not_a_placeholder() -> None:
    assert "{0.__class__}" in sentence(Language.EN, "name.unknown", name="{0.__class__}")


def test_a_start_costs_at_most_five_milliseconds() -> None:
    """On top of click, which the command loads anyway; the best of five, other builds may share the machine."""
    assert min(_start() for _ in range(5)) < 0.005


def _start() -> float:
    code = (
        "import click, time\n"
        "start = time.perf_counter()\n"
        "from hanatalk.words import Language, sentence\n"
        "assert sentence(Language.KO, 'invite.used') != 'invite.used'\n"
        "print(time.perf_counter() - start)"
    )
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=compiled)
    return float(done.stdout)
