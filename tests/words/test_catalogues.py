"""Every sentence the code asks for exists in both languages, and none besides; and the check sees when it does not."""

from pathlib import Path

import pytest
from scripts import check_catalogues


def test_no_sentence_is_missing_unused_or_different() -> None:
    assert check_catalogues.problems() == []


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small `src` of its own, with catalogues that fit it."""
    (tmp_path / "words").mkdir()
    (tmp_path / "code.py").write_text(
        "class HanaError(Exception): ...\n"
        "class NetworkError(HanaError): ...\n"
        "class FarError(NetworkError): ...\n"
        "def f(): raise FarError('far.away', place='x')\n"
        "def g(name): print(f'cli.help.{name}')\n"
    )
    for language, place in (("ko", "{place:이/가} 멀어요."), ("en", "{place} is far.")):
        (tmp_path / "words" / f"{language}.po").write_text(
            f'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n'
            f'msgid "cli.help.go"\nmsgstr "x"\n\n'
            f'msgid "far.away"\nmsgstr "{place}"\n\nmsgctxt "hint"\nmsgid "far.away"\nmsgstr "y"\n'
        )
    monkeypatch.setattr(check_catalogues, "SOURCE", tmp_path)
    monkeypatch.setattr(check_catalogues, "ROOT", tmp_path)
    return tmp_path


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_the_small_source_is_clean(source: Path) -> None:
    assert check_catalogues.problems() == []


@pytest.mark.parametrize(
    ("file", "before", "after", "complaint"),
    [
        ("code.py", "'far.away'", "'far.off'", "ko.po, en.po: no sentence for far.off"),
        ("code.py", "'far.away'", "'far.off'", "ko.po, en.po: no hint for far.off"),
        ("code.py", "'far.away'", "'far.off'", "en.po: far.away: nothing in src asks for it"),
        ("code.py", "place='x'", "", "the sentence needs place, the error does not carry it"),
        ("code.py", "place='x'", "", "code.py:4: far.away"),
        ("code.py", "'far.away'", "'far.off' if 1 else 'far.away'", "ko.po, en.po: no sentence for far.off"),
        ("words/en.po", "{place} is", "{spot} is", "far.away: placeholders differ: ko ['place'], en ['spot']"),
        ("words/en.po", "{place} is", "{place is", "far.away: has a brace that belongs to no placeholder"),
        ("words/ko.po", "{place:이/가}", "{place}가", "a particle is written out after a value"),
        ("words/ko.po", "{place:이/가}", "{place:가/이}", "is no particle"),
        ("words/ko.po", 'msgstr "y"', 'msgstr ""', "ko.po: hint of far.away: is empty"),
        ("words/ko.po", 'msgctxt "hint"\nmsgid "far.away"\nmsgstr "y"\n', "", "ko.po: no hint for far.away"),
        ("words/ko.po", 'msgid "cli.help.go"\n', '#, fuzzy\nmsgid "cli.help.go"\n', "cli.help.go: is marked fuzzy"),
        ("words/en.po", 'msgid "cli.help.go"', 'msgid "far.away"\nmsgstr "z"\n\nmsgid "cli.help.go"', "twice"),
    ],
)
def test_the_check_sees(source: Path, file: str, before: str, after: str, complaint: str) -> None:
    change(source / file, before, after)
    found = check_catalogues.problems()
    assert any(complaint in line for line in found), found
