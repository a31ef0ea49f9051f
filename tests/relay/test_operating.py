"""What docs/operating-a-relay gives an operator: the service unit, the dashboard, the advice (T-009, T-010)."""

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.conftest import ROOT
from tests.relay.running import running_relay
from tests.relay.test_metrics import READINGS, filled
from tests.transport.test_link import Events, opened

from hanatalk.cli.relays import serve, warrant
from hanatalk.ids import EntryId, ReadToken, WriteToken
from hanatalk.relay.metrics import page
from hanatalk.relay.warrant import report
from hanatalk.transport.link import connect
from hanatalk.wire import events
from hanatalk.wire.channels import channel_id
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection

UNIT = ROOT / "docs" / "relay" / "hana-relay.service"
DASHBOARD = ROOT / "docs" / "relay" / "grafana.json"
GUIDES = [ROOT / "docs" / "operating-a-relay.md", ROOT / "docs" / "operating-a-relay.ko.md"]
WITH_FOLDER = msgspec.structs.replace(READINGS, store_bytes=1)
MOST_EXPOSED = 20  # tenths of systemd's score, where 10.0 is no sandbox at all


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_the_service_is_sandboxed() -> None:
    """By systemd's own measure; and every line of it is one that systemd knows."""
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-1000:] + judged.stderr
    verified = subprocess.run(["systemd-analyze", "verify", str(UNIT)], capture_output=True, text=True, check=False)
    complaints = [line for line in verified.stderr.splitlines() if "is not executable" not in line]
    assert complaints == []


def test_t009_the_service_keeps_nothing_that_the_relay_does_not() -> None:
    """T-009: no core dump, no swap, no debug output, no folder but its own, and a drain is waited for (HT-R-096)."""
    unit = settings()
    assert unit["LimitCORE"] == unit["MemorySwapMax"] == ["0"]
    assert (unit["DynamicUser"], unit["UMask"], unit["StateDirectoryMode"]) == (["yes"], ["0077"], ["0700"])
    assert int(unit["TimeoutStopSec"][0]) > 5
    assert "Environment" not in unit
    assert "--data ${STATE_DIRECTORY} " in unit["ExecStart"][0]


@pytest.mark.parametrize("path", [UNIT, *GUIDES], ids=lambda path: path.name)
def test_every_option_that_is_named_exists(path: Path) -> None:
    known = {option for command in (serve, warrant) for parameter in command.params for option in parameter.opts}
    lines = [line for line in path.read_text().splitlines() if re.search(r"hana relay (serve|warrant)\b", line)]
    assert lines
    for line in lines:
        said = line[line.index("hana relay") :].partition("#")[0]
        assert set(re.findall(r"(?<!\S)--[a-z-]+", said)) <= known, line


def code_of(guide: Path) -> list[str]:
    """The fenced examples, without what is said in a language."""
    blocks = re.findall(r"(?ms)^```\n(.*?)^```", guide.read_text())
    said = ("이 릴레이가 가진", "Everything this relay holds")
    return [re.sub(r"(?m)\s*#.*$", "", block) for block in blocks if not block.startswith(said)]


def test_both_guides_give_the_same_examples() -> None:
    english, korean = map(code_of, GUIDES)
    assert english == korean


def expressions() -> list[str]:
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 5
    assert len({tuple(panel["gridPos"].items()) for panel in panels}) == len(panels)
    return [target["expr"] for panel in panels for target in panel["targets"]]


@pytest.mark.parametrize("source", ["dashboard", *(guide.name for guide in GUIDES)])
def test_every_metric_that_is_drawn_or_named_exists(source: str) -> None:
    """HT-R-131: what Prometheus would ask for is on the page, with the labels that are asked for."""
    text = page(filled(), WITH_FOLDER)
    there = set(re.findall(r"(?m)^(hana_relay_\w+)", text))
    families = set(re.findall(r"# TYPE (hana_relay_\w+) histogram", text))
    labels = {name: set(re.findall(r"(\w+)=", given)) for name, given in re.findall(r"(?m)^(\w+)\{(.*?)\}", text)}
    asked = expressions() if source == "dashboard" else [(ROOT / "docs" / source).read_text()]
    for expression in asked:
        names = set(re.findall(r"hana_relay_\w+", expression))
        assert names
        assert names <= there | (set() if source == "dashboard" else families), names - there
        if source == "dashboard":
            for wanted in re.findall(r"by \((\w+)\)", expression):
                assert all(wanted in labels.get(name, ()) for name in names), expression
            assert expression.count("(") == expression.count(")")


def test_the_dashboard_leaves_nothing_out_that_can_go_wrong() -> None:
    drawn = " ".join(expressions())
    for name in re.findall(r"# TYPE (hana_relay_\w+(?:refused|dropped)\w*)", page(filled(), WITH_FOLDER)):
        assert name in drawn, name


async def test_t010_a_backup_made_as_advised_holds_who_the_relay_is_and_nothing_else(tmp_path: Path) -> None:
    """T-010: the two files that the guide names bring the same address and identity back, and no entry."""
    read, write = ReadToken(b"r" * 32), WriteToken(b"w" * 32)
    named = re.search(r"(?m)^cp -p (.*) /", GUIDES[0].read_text())
    assert named is not None
    files = [Path(name).name for name in named[1].split()]
    first, second = tmp_path / "first", tmp_path / "second"
    async with running_relay(store="sqlite", data=first, tls="self") as url:
        connection, link, seen = await opened(url)
        channel = channel_id(read, write)
        connection.append(channel, entry_id=EntryId(bytes(16)), entry_class=EntryClass.MESSAGE, entry=b"x" * 512)
        link.flush()
        await seen.until(events.EntryStored)
        pin, key = url.partition("#")[2], await key_of(url)
        link.close()
        await link.gone(10)
    second.mkdir(mode=0o700)
    for name in files:
        shutil.copy2(first / name, second / name)
    assert sum((second / name).stat().st_size for name in files) < 1_000
    assert report(second, key_source="beside").entries == []
    async with running_relay(store="sqlite", data=second, tls="self") as url:
        assert (url.partition("#")[2], await key_of(url)) == (pin, key)
    assert len(report(first, key_source="beside").entries) == 1
    assert report(second, key_source="beside").entries == []


async def key_of(url: str) -> bytes:
    """The relay's signing key, as it tells it (HT-R-022)."""
    seen = Events()
    link = await connect(url, ClientConnection(), seen)
    (answered,) = await asyncio.wait_for(seen.until(events.HelloAnswered), 10)
    assert isinstance(answered, events.HelloAnswered)
    link.close()
    await link.gone(10)
    return answered.relay_key
