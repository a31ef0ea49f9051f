"""The benchmarks run, and their tables say what was measured; what they measure is not tested."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bench.report import Table, write_json
from tests.conftest import ROOT


@pytest.fixture
def table() -> Table:
    table = Table("chat", "messages")
    table.row("messages/s", "ours", "/s").values.extend([10, 20, 60])
    table.row("messages/s", "theirs", "/s").values.extend([10, 10, 20])
    return table


def test_a_ratio_is_taken_round_by_round(table: Table) -> None:
    ours, theirs = table.rows
    table.ratio("against theirs", ours, theirs, 2, higher=True)
    table.ratio("slower than theirs", ours, theirs, 1.9, higher=False)
    met, missed = table.targets
    assert (met.value, met.spread, met.met, missed.met) == (2, (1, 3), True, False)


def test_what_was_not_measured_is_no_target_met(table: Table, tmp_path: Path) -> None:
    nothing = table.row("messages/s", "a server that is not there", "/s")
    nothing.why = "it is not installed"
    for higher in (True, False):
        table.ratio("against it", table.rows[0], nothing, 0, higher=higher)
    assert "not measured: it is not installed" in table.text()
    assert not any(target.met for target in table.targets)
    write_json([table], tmp_path / "table.json")
    (found,) = json.loads((tmp_path / "table.json").read_text())
    assert [target["value"] for target in found["targets"]] == [None, None]


def test_topics_run_at_a_tiny_size(tmp_path: Path) -> None:
    """Those that need nothing but this checkout; each in a process of its own, as in a real run."""
    wanted = ["fanout", "stalled", "open", "search", "file", "size", "mls", "groups", "message", "crowd", "link"]
    found = tmp_path / "tables.json"
    command = [sys.executable, "-m", "bench", "--quick", "--no-setup", "--json", str(found), *wanted]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    tables = json.loads(found.read_text())
    assert [table["topic"] for table in tables] == wanted
    for table in tables:
        assert table["rows"], (table, done.stdout)
        assert all(row["values"] for row in table["rows"]), table
