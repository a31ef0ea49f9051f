"""T-080 from end to end: a relay without room, by `hana` commands. Nothing is acknowledged, nothing is lost."""

import resource
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.commands import Person, RelayProcess
from tests.e2e.conftest import acquaint


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[RelayProcess]:
    """A relay with an admin port."""
    relay = RelayProcess(tmp_path / "relay", "sqlite", "--admin-port", "0").start()
    yield relay
    relay.kill()


def ready(relay: RelayProcess) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{relay.admin}/ready", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def metric(relay: RelayProcess, name: str) -> str:
    with urllib.request.urlopen(f"{relay.admin}/metrics", timeout=20) as answer:
        lines: list[str] = answer.read().decode().splitlines()
    return next(line.rsplit(" ", 1)[1] for line in lines if line.startswith(f"hana_relay_{name} "))


def test_a_message_waits_in_the_outbox_until_the_disk_has_room(
    watched: RelayProcess, person: Callable[[str], Person]
) -> None:
    """T-080, HT-R-044, HT-R-132: less free than the operator wants; then it is freed."""
    minji, jihoon = person("minji").join("민지", watched.url), person("jihoon").join("Jihoon", watched.url)
    conversation = acquaint(minji, jihoon)
    jihoon.do_here("sync")
    watched.stop()
    watched.more = ("--admin-port", "0", "--limit", "least-free=8000T")
    watched.start()
    assert ready(watched) == (503, "disk-full\n")
    held = metric(watched, "entries")
    assert minji.do("send", conversation, "자리가 있나요?").object["state"] == "queued"
    assert metric(watched, "entries") == held
    assert minji.do_here("sync", "--wait", "1").object["pending"] > 0
    watched.stop()
    watched.more = ("--admin-port", "0")
    watched.start()
    assert ready(watched) == (200, "ready\n")
    minji.do_here("sync")
    jihoon.do_here("sync")
    assert jihoon.texts(conversation) == ["자리가 있나요?"]
    assert "disk-full" in watched.log.read_text()


def test_a_disk_that_fills_up_while_a_batch_is_written(watched: RelayProcess, person: Callable[[str], Person]) -> None:
    """T-080, T-083, HT-R-044: the write itself fails. The running relay says so, goes on, and recovers by itself."""
    minji, jihoon = person("minji").join("민지", watched.url), person("jihoon").join("Jihoon", watched.url)
    conversation = acquaint(minji, jihoon)
    jihoon.do_here("sync")
    minji.do_here("sync")
    watched.bound_files(4_096)
    assert minji.do("send", conversation, "자리가 있나요?").object["state"] == "queued"
    assert ready(watched) == (503, "storage\n")
    watched.bound_files(resource.RLIM_INFINITY)
    minji.do_here("sync")
    jihoon.do_here("sync")
    assert jihoon.texts(conversation) == ["자리가 있나요?"]
    assert ready(watched) == (200, "ready\n")
    assert "commit-failed" in watched.log.read_text()
