"""T-079: a compressed day with 40 times as many sign-ups as usual, on real relays. Small here."""

from pathlib import Path

import pytest

from hanatalk.drill.callers import Ledger
from hanatalk.drill.surge import HOURS, WAVE, Day, Hour, Summary, play
from hanatalk.ids import EntryId


async def played(day: Day, folder: Path) -> tuple[list[Hour], Summary]:
    found = [one async for one in play(day, folder)]
    *hours, summary = found
    assert isinstance(summary, Summary)
    assert all(isinstance(hour, Hour) for hour in hours)
    return [hour for hour in hours if isinstance(hour, Hour)], summary


async def test_t079_nothing_that_was_acknowledged_is_lost_in_the_wave(tmp_path: Path) -> None:
    """T-079: everybody gets in, everything arrives, and who was there before is not kept waiting for seconds."""
    hours, summary = await played(Day(people=6, sign_ups=1, messages=24, seconds=7.2, relays=2), tmp_path)
    assert [hour.hour for hour in hours] == list(range(HOURS))
    assert max(hour.sign_ups for hour in hours) == 40
    assert min(hour.sign_ups for hour in hours) == 1
    assert sum(hour.sign_ups for hour in hours) == summary.newcomers == summary.signed_up == HOURS - 4 + 120
    assert summary.lost == summary.waiting == 0
    assert summary.delivered == summary.acknowledged > 3 * summary.newcomers
    assert summary.refused == {}
    assert hours[-1].connections == summary.people + summary.newcomers
    assert summary.wave_p99_ms is not None
    assert summary.wave_p99_ms < 3_000
    print(f"99 of 100 within {summary.calm_p99_ms} ms, in the wave within {summary.wave_p99_ms} ms")


async def test_t079_a_full_relay_refuses_strangers_and_goes_on_for_who_is_in(tmp_path: Path) -> None:
    """T-079, HT-R-090, HT-R-124: refusals have their code, and those who are in lose nothing and do not wait."""
    hours, summary = await played(Day(people=6, sign_ups=1, messages=24, seconds=4.8, most=60), tmp_path)
    assert set(summary.refused) == {"relay.busy"}
    assert all("relay.busy" not in hour.refused for hour in hours if hour.hour < min(WAVE))
    assert summary.signed_up < summary.newcomers
    assert summary.lost == 0
    assert summary.waiting >= 3 * (summary.newcomers - summary.signed_up)  # and each waits at its sender
    assert summary.wave_p99_ms is not None
    assert summary.wave_p99_ms < 3_000


async def test_t079_a_relay_killed_in_the_wave_loses_nothing(tmp_path: Path) -> None:
    """T-079, T-081: kill -9 under load; what was acknowledged before is delivered after."""
    _, summary = await played(Day(people=6, sign_ups=1, messages=24, seconds=4.8, kill=True), tmp_path)
    assert summary.lost == 0
    assert summary.refused.get("network.lost", 0) + summary.refused.get("network.closed", 0) > 0
    assert summary.delivered == summary.acknowledged > 0


async def test_what_was_acknowledged_and_nobody_got_is_a_loss() -> None:
    """The positive control: the books would show it."""
    ledger = Ledger()
    kept, lost, waiting = (EntryId(bytes([number]) * 16) for number in range(3))
    for entry_id in (kept, lost, waiting):
        ledger.append(entry_id, veteran=True)
    ledger.acknowledged |= {kept, lost}
    for _ in range(2):
        ledger.deliver(kept)
    ledger.deliver(EntryId(b"?" * 16))
    assert (ledger.lost, ledger.waiting, len(ledger.delays)) == (1, 1, 1)


async def test_a_relay_that_forgets_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control on a real relay: entries that subscribers never hear of are counted as lost."""
    monkeypatch.setattr("hanatalk.drill.surge.SETTLE_SECONDS", 1.0)
    monkeypatch.setattr(Ledger, "deliver", lambda *_: None)
    _, summary = await played(Day(people=2, sign_ups=1, messages=1, seconds=2.4), tmp_path)
    assert summary.lost == summary.acknowledged > 0
