"""`hana relay serve` and `hana relay warrant`: what an operator types, and what a warrant gets."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.commands import PATIENCE, Ended, Person, RelayProcess, environment
from tests.e2e.conftest import acquaint

SIZES = {512, 1_024, 4_096, 16_384, 65_536}


@pytest.fixture
def operator(own_relay: RelayProcess) -> Person:
    """Somebody with the relay's folder and no profile."""
    return Person(own_relay.data.parent / "operator")


def warrant(operator: Person, relay: RelayProcess, *more: str) -> Ended:
    return operator.do("relay", "warrant", "--data", str(relay.data), *more)


def test_the_first_line_says_where_it_listens_and_nothing_follows(own_relay: RelayProcess) -> None:
    assert own_relay.url == f"ws://127.0.0.1:{own_relay.port}"
    assert own_relay.port > 0
    assert own_relay.data.stat().st_mode & 0o777 == 0o700
    assert own_relay.stop() == (0, "")


def test_a_warrant_gets_opaque_entries_of_declared_sizes(
    operator: Person, own_relay: RelayProcess, person: Callable[[str], Person]
) -> None:
    assert warrant(operator, own_relay).object["entries"] == []
    minji, jihoon = person("minji").join("민지", own_relay.url), person("jihoon").join("Jihoon", own_relay.url)
    conversation = acquaint(minji, jihoon)
    jihoon.do("sync")
    for number in range(3):
        minji.do("send", conversation, f"영장 {number}")
    found = warrant(operator, own_relay).object  # beside the running relay
    waiting = [held for held in found["entries"] if held["class"] == "message"]
    assert sum(held["count"] for held in waiting) >= 3
    assert {held["size"] for held in found["entries"]} <= SIZES
    assert {"names", "accounts", "addresses", "exact-times"} <= set(found["absent"])
    assert found["total"] == sum(file["size"] for file in found["files"])
    assert "영장" not in json.dumps(found, ensure_ascii=False)

    channel = max(found["channels"], key=lambda held: held["entries"])["channel"]
    only = warrant(operator, own_relay, "--channel", channel).object
    assert [held["channel"] for held in only["channels"]] == [channel]

    own_relay.stop()
    assert warrant(operator, own_relay).object["entries"] == found["entries"]  # the same from a seized folder
    jihoon_reads_late = own_relay.start().url
    assert jihoon_reads_late
    jihoon.do("sync")
    minji.do("sync")
    after = warrant(operator, own_relay).object["entries"]
    assert sum(held["count"] for held in after if held["class"] == "message") < 3  # burned once every device has them


def test_the_report_is_text_in_both_languages(operator: Person, own_relay: RelayProcess) -> None:
    english = warrant(operator.prose("en"), own_relay).out
    korean = warrant(operator.prose("ko"), own_relay).out
    assert "There is nothing of: accounts, names" in english
    assert "여기에 없는 것: 계정, 이름" in korean
    assert "cli." not in english + korean
    assert "store.db" in english


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["--data", "{tmp}/nothing"], 1, "warrant.no-data"),
        (["--data", "{tmp}", "--channel", "xyz"], 2, "usage.value"),
        (["--data", "{data}", "--key-file", "{tmp}/other-key"], 1, "storage.foreign"),
        (["--data", "{data}", "--key-file", "{tmp}/no-key"], 1, "storage.key"),
    ],
)
def test_what_cannot_be_reported(
    operator: Person, own_relay: RelayProcess, tmp_path: Path, arguments: list[str], code: int, error: str
) -> None:
    (tmp_path / "other-key").write_text("ab" * 32 + "\n")
    (tmp_path / "no-key").write_text("not a key")
    typed = [argument.format(tmp=tmp_path, data=own_relay.data) for argument in arguments]
    ended = operator.type("relay", "warrant", *typed)
    assert (ended.code, ended.error["error"], ended.out) == (code, error, "")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--retention", "4"], "retention.range"),
        (["--retention", "2,31"], "retention.range"),
        (["--retention", "soon"], "usage.value"),
        (["--key", "ram", "--key-file", "x"], "usage.value"),
        (["--store", "paper"], "usage.value"),
    ],
)
def test_what_an_operator_may_not_choose(operator: Person, tmp_path: Path, options: list[str], code: str) -> None:
    ended = operator.type("relay", "serve", "--port", "0", "--data", str(tmp_path / "new"), *options)
    assert (ended.code, ended.error["error"]) == (2, code)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("key", [["--key", "ram"], ["--key-file", "{tmp}/elsewhere"]])
def test_the_key_need_not_lie_beside_the_store(tmp_path: Path, key: list[str]) -> None:
    data = tmp_path / "relay"
    typed = ["--port", "0", "--data", str(data), *(part.format(tmp=tmp_path) for part in key)]
    with subprocess.Popen(
        [sys.executable, "-m", "hanatalk.cli", "relay", "serve", *typed],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    ) as relay:
        assert relay.stdout is not None
        url = json.loads(relay.stdout.readline())["listening"]
        somebody = Person(tmp_path / "somebody").join("누구", url)
        assert somebody.do("invite").object["state"] == "stored"
        relay.terminate()
        assert relay.wait(PATIENCE) == 0
    assert not (data / "store.key").exists()
    assert (tmp_path / "elsewhere").exists() is ("--key-file" in key)
    keys = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    assert keys == [], [oct(os.stat(path).st_mode) for path in keys]  # whatever was written is for its owner alone
