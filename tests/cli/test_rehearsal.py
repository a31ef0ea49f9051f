"""What `hana demo` prints and how it ends; what it measures is tested in tests/drill and tests/e2e."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hanatalk.cli import main, rehearsal
from hanatalk.drill.demo import CLAIMS, Claim
from hanatalk.words import Language

EVIDENCE = {"url": "ws://127.0.0.1:1", "error": "x"}


def pretend(monkeypatch: pytest.MonkeyPatch, *claims: Claim) -> list[Path]:
    """Let these be the claims of the run; returns the folders it was carried out in."""
    folders = []

    async def rehearse(folder: Path) -> AsyncIterator[Claim]:
        folders.append(folder)
        for claim in claims:
            yield claim

    monkeypatch.setattr(rehearsal, "rehearse", rehearse)
    monkeypatch.setattr(rehearsal, "CLAIMS", {claim.claim: None for claim in claims})
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "")  # the demo changes it; put back afterwards
    return folders


def claim(name: str, *, ok: bool) -> Claim:
    return Claim(claim=name, ok=ok, evidence=EVIDENCE)


def test_one_object_per_claim_and_exit_0(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    folders = pretend(monkeypatch, claim("relay-up", ok=True), claim("two-people", ok=True))
    assert main(["demo", "--headless", "--json"]) == 0
    printed = capfd.readouterr()
    objects = [json.loads(line) for line in printed.out.splitlines()]
    assert [(found["claim"], found["ok"]) for found in objects] == [("relay-up", True), ("two-people", True)]
    assert objects[0]["evidence"] == EVIDENCE
    assert printed.err == ""
    assert [folder.exists() for folder in folders] == [False]  # nothing is left behind


def test_one_claim_that_fails_is_exit_1(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    pretend(monkeypatch, claim("relay-up", ok=True), claim("two-people", ok=False))
    assert main(["--json", "demo"]) == 1
    assert json.loads(capfd.readouterr().out.splitlines()[1])["ok"] is False


@pytest.mark.parametrize("language", list(Language))
def test_prose_names_what_held_and_what_did_not(
    language: Language, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, claim("relay-up", ok=True), claim("safety-number", ok=False))
    assert main(["--lang", language.value, "demo", "--headless"]) == 1
    printed = capfd.readouterr()
    held, shown, refuted, found = printed.out.splitlines()
    assert held.startswith("✓ ")
    assert "ws://127.0.0.1:1" in shown
    assert refuted.startswith("✗ ")
    assert "error=x" in found
    assert "1" in printed.err.splitlines()[-1]


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_has_its_sentences(
    name: str, language: Language, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, claim(name, ok=True))
    assert main(["--lang", language.value, "demo"]) == 0
    assert "cli.demo" not in capfd.readouterr().out
