"""Do the catalogues hold every sentence the code asks for, in both languages, and none besides?

    python scripts/check_catalogues.py            # prints what is wrong, exit code 1 if anything is
    python scripts/check_catalogues.py --missing  # prints entries to paste into the .po files

What counts as asking: the code of an error (`XError("profile.none")`), of an alarm (`code="relay.hole"`), the refusals
of the relay (`RefusalCode`, as ``relay.<name>``), and any string in `src` that looks like a key of a known family.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from hanatalk.words.catalogue import PLACEHOLDER
from hanatalk.words.particles import PARTICLES

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "hanatalk"
LANGUAGES = ("ko", "en")
KEY = re.compile(r"[a-z]+(-[a-z]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)+")
BARE_PARTICLE = re.compile(r"\}[’”']?(이|가|은|는|을|를|와|과|로|으로|이에요|예요)(?=[\s.,?!]|$)")
NOT_KEYS = re.compile(r".*\.(py|sqlite|sqlite3|db|log|sock|lock|json|sql|toml|key|pem|po|mo|txt|localhost|invalid)$")


@dataclass
class Asked:
    """What the code asks for."""

    errors: dict[str, list[str]] = field(default_factory=dict)  # code -> places
    others: dict[str, list[str]] = field(default_factory=dict)
    families: set[tuple[str, str]] = field(default_factory=set)  # (start, end) of keys that the code puts together
    supplied: list[tuple[str, frozenset[str], str]] = field(default_factory=list)  # code, names of values, place

    def covers(self, key: str) -> bool:
        """Whether anything asks for `key`."""
        if key in self.errors or key in self.others:
            return True
        return any(key.startswith(start) and key.endswith(end) for start, end in self.families)


@dataclass(frozen=True)
class Sentence:
    """One entry of a catalogue; `forms` has two members in an English entry with a plural."""

    key: str
    is_hint: bool
    forms: tuple[str, ...]
    fuzzy: bool


def read(language: str) -> tuple[list[Sentence], list[str]]:
    """The catalogue's entries, and what is wrong with the file itself."""
    path = SOURCE / "words" / f"{language}.po"
    text = path.read_text()
    with path.open("rb") as opened:
        catalogue: Catalog = read_po(opened, locale=language, abort_invalid=True)
    entries = [
        Sentence(
            key=message.id if isinstance(message.id, str) else message.id[0],
            is_hint=message.context == "hint",
            forms=(message.string,) if isinstance(message.string, str) else tuple(message.string or ("",)),
            fuzzy=message.fuzzy,
        )
        for message in catalogue
        if message.id
    ]
    ids = re.findall(r'^(?:msgctxt "(.*)"\n)?msgid "(.+)"$', text, flags=re.MULTILINE)
    twice = sorted({name for name in ids if ids.count(name) > 1})
    return entries, [f"{language}.po: {key} stands there twice" for _, key in twice]


def asked() -> Asked:
    """Walk through the source."""
    trees = {path: ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}
    classes = _error_classes(trees.values())
    found = Asked()
    heads = {"cli"}
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _name(node.func) in classes and node.args:
                _error(found, node, f"{path.relative_to(ROOT)}:{node.lineno}")
            elif isinstance(node, ast.ClassDef) and node.name == "RefusalCode":
                for value in _strings(node.body):
                    found.errors.setdefault(f"relay.{value}", []).append(f"{path.relative_to(ROOT)}:{node.lineno}")
    heads |= {key.partition(".")[0] for key in found.errors}
    for path, tree in trees.items():
        ignored = _docstrings(tree)
        for node in ast.walk(tree):
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
                found.errors.setdefault(str(node.value.value), []).append(place)
            elif isinstance(node, ast.JoinedStr):
                _family(found, node, heads)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in ignored:
                value = node.value
                if _is_key(value, heads):
                    asked_for = found.others if value.startswith("cli.") else found.errors
                    asked_for.setdefault(value, []).append(place)
    return found


def problems() -> list[str]:
    """Everything that is wrong, one line each."""
    wanted = asked()
    found: list[str] = []
    catalogues: dict[str, dict[tuple[str, bool], Sentence]] = {}
    for language in LANGUAGES:
        entries, wrong = read(language)
        found += wrong
        catalogues[language] = {(entry.key, entry.is_hint): entry for entry in entries}
        for entry in entries:
            found += [f"{language}.po: {_title(entry)}: {fault}" for fault in _faults(entry, language)]
            if not wanted.covers(entry.key):
                found.append(f"{language}.po: {_title(entry)}: nothing in src asks for it")
    everything = set(catalogues["ko"]) | set(catalogues["en"])
    for key, is_hint in sorted(everything):
        entries_of_key = [catalogues[language].get((key, is_hint)) for language in LANGUAGES]
        if None in entries_of_key:
            language = LANGUAGES[entries_of_key.index(None)]
            found.append(f"{language}.po: no {'hint' if is_hint else 'sentence'} for {key}")
        else:
            ko, en = [_placeholders(entry) for entry in entries_of_key if entry is not None]
            if ko != en:
                found.append(f"{key}: placeholders differ: ko {sorted(ko)}, en {sorted(en)}")
    for key, places in sorted({**wanted.others, **wanted.errors}.items()):
        for is_hint in (False, True) if key in wanted.errors else (False,):
            if (key, is_hint) not in everything:
                what = "hint" if is_hint else "sentence"
                found.append(f"ko.po, en.po: no {what} for {key} ({', '.join(sorted(set(places))[:2])})")
    for key, names, place in wanted.supplied:
        for is_hint in (False, True):
            used = catalogues["en"].get((key, is_hint))
            absent = ", ".join(sorted(_placeholders(used) - names)) if used is not None else ""
            if absent:
                found.append(f"{place}: {key}: the sentence needs {absent}, the error does not carry it")
    return found


def _faults(entry: Sentence, language: str) -> Iterator[str]:
    if entry.fuzzy:
        yield "is marked fuzzy"
    for form in entry.forms:
        if not form.strip():
            yield "is empty"
        if set(PLACEHOLDER.sub("", form)) & set("{}"):
            yield "has a brace that belongs to no placeholder"
        for spec in (match[2] for match in PLACEHOLDER.finditer(form) if match[2]):
            if language != "ko" or spec.removeprefix("~") not in PARTICLES:
                yield f"{{…:{spec}}} is no particle of hanatalk.words.particles"
        if language == "ko" and BARE_PARTICLE.search(form):
            yield "a particle is written out after a value; write {name:이/가}"


def _placeholders(entry: Sentence) -> set[str]:
    return {match[1] for form in entry.forms for match in PLACEHOLDER.finditer(form)}


def _title(entry: Sentence) -> str:
    return f"hint of {entry.key}" if entry.is_hint else entry.key


def _error_classes(trees: Iterable[ast.Module]) -> set[str]:
    """HanaError and whatever derives from it, by name."""
    bases: dict[str, set[str]] = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases.setdefault(node.name, set()).update(filter(None, map(_name, node.bases)))
    classes = {"HanaError"}
    while more := {name for name, parents in bases.items() if parents & classes} - classes:
        classes |= more
    return classes


def _error(found: Asked, call: ast.Call, place: str) -> None:
    code = call.args[0]
    choices = [code.body, code.orelse] if isinstance(code, ast.IfExp) else [code]
    for choice in choices:
        if isinstance(choice, ast.Constant) and isinstance(choice.value, str):
            found.errors.setdefault(choice.value, []).append(place)
            if all(keyword.arg for keyword in call.keywords):
                names = frozenset(keyword.arg for keyword in call.keywords if keyword.arg)
                found.supplied.append((choice.value, names, place))


def _family(found: Asked, node: ast.JoinedStr, heads: set[str]) -> None:
    """``f"cli.help.{name}"`` asks for every key that starts so."""
    first, last = node.values[0], node.values[-1]
    start = first.value if isinstance(first, ast.Constant) else ""
    end = last.value if isinstance(last, ast.Constant) and last is not first else ""
    if isinstance(start, str) and isinstance(end, str):
        head, dot, _ = start.partition(".")
        if dot and head in heads and re.fullmatch(r"[a-z.-]+", start) and re.fullmatch(r"[a-z.-]*", end):
            found.families.add((start, end))


def _is_key(value: str, heads: set[str]) -> bool:
    if not KEY.fullmatch(value) or value.partition(".")[0] not in heads:
        return False
    return value.startswith("cli.") or not NOT_KEYS.fullmatch(value)


def _docstrings(tree: ast.Module) -> set[int]:
    return {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def _strings(body: list[ast.stmt]) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
            yield str(statement.value.value)


def _name(node: ast.expr) -> str | None:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


def _print_missing() -> None:
    wanted = asked()
    present = {(entry.key, entry.is_hint) for language in LANGUAGES for entry in read(language)[0]}
    for key, places in sorted({**wanted.others, **wanted.errors}.items()):
        names = sorted({name for code, supplied, _ in wanted.supplied if code == key for name in supplied})
        note = f"#: {places[0]}" + (f"\n#. {', '.join(names)}" if names else "")
        if (key, False) not in present:
            print(f'{note}\nmsgid "{key}"\nmsgstr ""\n')
        if key in wanted.errors and (key, True) not in present:
            print(f'msgctxt "hint"\nmsgid "{key}"\nmsgstr ""\n')


if __name__ == "__main__":
    if "--missing" in sys.argv[1:]:
        _print_missing()
    else:
        wrong = problems()
        print("\n".join(wrong), file=sys.stderr)
        sys.exit(1 if wrong else 0)
