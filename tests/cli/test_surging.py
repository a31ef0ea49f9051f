"""What `hana drill surge` prints and how it ends; what it measures is tested in tests/drill."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hanatalk.cli import main
from hanatalk.cli.surging import BAR, bar
from hanatalk.drill import surge
from hanatalk.drill.surge import Day, Hour, Summary
from hanatalk.words import Language

HOUR = Hour(
    hour=14,
    messages=100,
    per_second=50.0,
    sign_ups=200,
    delay_p50_ms=1.5,
    delay_p99_ms=12.0,
    newcomers_p99_ms=30.0,
    sign_up_p99_ms=None,
    refused={"relay.busy": 1_234},
    connections=99,
)
SUMMARY = Summary(
    people=100,
    newcomers=700,
    signed_up=650,
    acknowledged=9_000,
    delivered=9_000,
    lost=0,
    waiting=150,
    refused={"relay.busy": 1_234},
    calm_p99_ms=12.0,
    wave_p99_ms=None,
)


def pretend(monkeypatch: pytest.MonkeyPatch, *, lost: int) -> list[Day]:
    days: list[Day] = []

    async def play(day: Day, _: Path) -> AsyncIterator[Hour | Summary]:
        days.append(day)
        yield HOUR
        yield Summary(**{name: getattr(SUMMARY, name) for name in SUMMARY.__struct_fields__} | {"lost": lost})

    monkeypatch.setattr(surge, "play", play)
    return days


@pytest.mark.parametrize("lost", [0, 3])
def test_one_object_an_hour_then_the_summary(
    lost: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """T-079: the exit code says whether anything acknowledged was lost."""
    days = pretend(monkeypatch, lost=lost)
    assert main(["--json", "drill", "surge", "--people", "30", "--most", "50", "--kill"]) == (1 if lost else 0)
    assert days == [Day(people=30, most=50, kill=True)]
    printed = capfd.readouterr()
    hour, summary = map(json.loads, printed.out.splitlines())
    assert (hour["hour"], hour["sign_ups"], hour["refused"]) == (14, 200, {"relay.busy": 1_234})
    assert summary["summary"]["lost"] == lost
    assert printed.err == ""


@pytest.mark.parametrize("language", list(Language))
def test_a_person_sees_the_wave(
    language: Language, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, lost=0)
    assert main(["--lang", language.value, "drill", "surge"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[1].startswith("14  ")
    assert "█" * BAR in lines[1], "200 of 200 fill the bar"
    assert "relay.busy×1,234" in lines[1]
    assert "–" in lines[1]
    assert lines[-1].startswith("✓ ")
    assert "9,000" in lines[-1]
    assert not any("cli." in line or "{" in line for line in lines)


@pytest.mark.parametrize(
    ("part", "shown"), [(0.0, ""), (1.0, "█" * BAR), (1e-9, "▏"), (0.5, "█" * (BAR // 2)), (7.0, "█" * BAR)]
)
def test_a_bar_has_always_the_same_width(part: float, shown: str) -> None:
    assert bar(part) == shown.ljust(BAR)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--people", "1"],
        ["--people", "2001"],
        ["--sign-ups", "41"],
        ["--seconds", "5"],
        ["--relays", "9"],
        ["--kill=x"],
    ],
)
def test_it_is_bounded(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["drill", "surge", *arguments]) == 2
    assert capfd.readouterr().out == ""
