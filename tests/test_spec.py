"""Every rule that code or a test cites is in spec/, and every rule in spec/ is cited by code or a test."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RULE = re.compile(r"HT-[A-Z]-\d{3}")
STATED = re.compile(
    r"^(?:- )?\*\*(HT-[A-Z]-\d{3})\*\*|^\|\s*(HT-[A-Z]-\d{3})\s*\||^#+\s*(HT-[A-Z]-\d{3})\b", re.MULTILINE
)
SOURCES = ("src/**/*.py", "tests/**/*.py", "rust/*/src/**/*.rs", "rust/*/*.pyi", "ui/src/**/*.ts", "ui/src/**/*.svelte")


def stated() -> dict[str, list[str]]:
    """Each rule and the spec files that state it."""
    found: dict[str, list[str]] = {}
    for page in sorted((ROOT / "spec").glob("*.md")):
        for groups in STATED.findall(page.read_text(encoding="utf-8")):
            found.setdefault("".join(groups), []).append(page.name)
    return found


def cited() -> dict[str, list[str]]:
    """Each rule and the files that cite it."""
    found: dict[str, list[str]] = {}
    for pattern in SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            for rule in set(RULE.findall(path.read_text(encoding="utf-8"))):
                found.setdefault(rule, []).append(str(path.relative_to(ROOT)))
    return found


def test_every_cited_rule_is_stated() -> None:
    unknown = {rule: places for rule, places in cited().items() if rule not in stated()}
    assert not unknown


def test_every_stated_rule_is_cited() -> None:
    assert not sorted(set(stated()) - set(cited()))


def test_a_rule_is_stated_once() -> None:
    assert not {rule: pages for rule, pages in stated().items() if len(pages) > 1}


@pytest.mark.parametrize("page", sorted((ROOT / "spec").glob("*.md")), ids=lambda page: page.name)
def test_a_page_refers_only_to_stated_rules(page: Path) -> None:
    assert not sorted(set(RULE.findall(page.read_text(encoding="utf-8"))) - set(stated()))
