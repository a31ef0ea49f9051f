"""The profile folder through `hana`: passphrases, locking, wiping, several processes at once (T-084, T-047)."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.commands import PATIENCE, Person, RelayProcess, environment
from tests.e2e.conftest import acquaint

PASSPHRASE = "정확한 말 배터리 스테이플"
NOBODY = "ws://127.0.0.1:9"


@pytest.fixture(scope="module")
def guarded(relay: RelayProcess, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """A profile behind a passphrase, at the command's own cost."""
    home = tmp_path_factory.mktemp("guarded") / "minji"
    somebody = Person(home)
    somebody.do("--passphrase-file", "-", "init", "--name", "민지", "--relay", relay.url, stdin=PASSPHRASE + "\n")
    return somebody


def test_without_anybody_to_ask_a_missing_passphrase_is_an_error_and_no_hang(guarded: Person) -> None:
    for command in (["chats"], ["send", "x", "y"], ["listen"]):
        ended = guarded.type(*command)
        assert (ended.code, ended.error["error"]) == (1, "profile.passphrase-needed")
        assert "--passphrase-file" in ended.error["hint"]
    fresh = Person(guarded.home.parent / "fresh")
    ended = fresh.type("init", "--name", "x", "--relay", NOBODY)
    assert (ended.code, ended.error["error"]) == (1, "profile.passphrase-needed")
    assert not fresh.home.exists()


def test_a_wrong_passphrase(guarded: Person) -> None:
    ended = guarded.type("--passphrase-file", "-", "chats", stdin="wrong\n")
    assert (ended.code, ended.error["error"], ended.out) == (1, "profile.wrong-passphrase", "")


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xff\n", b"x" * 5000])
def test_a_passphrase_file_without_a_passphrase(guarded: Person, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    ended = guarded.type("--passphrase-file", str(tmp_path / "file"), "chats")
    assert ended.code in (1, 2)
    assert ended.error["error"] in ("profile.empty-passphrase", "passphrase.file")


def test_the_passphrase_comes_from_a_file_or_a_line_of_standard_input(guarded: Person, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(PASSPHRASE + "\nsecond line\n")
    assert guarded.do("--passphrase-file", str(tmp_path / "file"), "chats").objects == []
    # the first line is the passphrase, the rest is the message
    ended = guarded.type("--passphrase-file", "-", "send", "nobody", "-", stdin=f"{PASSPHRASE}\nhello")
    assert ended.error["error"] == "name.unknown"


def test_no_secret_is_in_argv_or_the_environment(guarded: Person, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(PASSPHRASE)
    opened = Person(guarded.home, ("--json", "--passphrase-file", str(tmp_path / "file")))
    with opened.listening() as listening:
        process = Path(f"/proc/{listening.process.pid}")
        assert PASSPHRASE.encode() not in (process / "cmdline").read_bytes()
        assert PASSPHRASE.encode() not in (process / "environ").read_bytes()


def test_lock_closes_the_profile_and_the_next_command_asks_again(guarded: Person, tmp_path: Path) -> None:
    assert guarded.do("lock").object == {"locked": True}  # nobody has it open: it is locked, and nothing is asked
    (tmp_path / "file").write_text(PASSPHRASE)
    opened = Person(guarded.home, ("--json", "--passphrase-file", str(tmp_path / "file")))
    with opened.listening() as listening:
        assert guarded.do("chats").objects == []  # through the running process: no passphrase is needed
        assert guarded.do("lock").object == {"locked": True}
        assert listening.process.wait(PATIENCE) == 0
    assert guarded.type("chats").error["error"] == "profile.passphrase-needed"


def test_lock_without_a_passphrase_says_that_there_is_nothing_to_lock(person: Callable[[str], Person]) -> None:
    open_to_all = person("open").join("x", NOBODY)
    assert open_to_all.do("lock").object == {"locked": False}
    assert "nothing to lock" in open_to_all.prose("en").do("lock").out


def test_t084_several_commands_on_one_profile_at_once(person: Callable[[str], Person], relay: RelayProcess) -> None:
    minji, jihoon = person("minji").join("민지", relay.url), person("jihoon").join("Jihoon", relay.url)
    conversation = acquaint(minji, jihoon)

    def all_at_once(texts: list[str]) -> None:
        running = [
            subprocess.Popen(
                minji.command("send", conversation, text),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment(HANA_HOME=str(minji.home)),
            )
            for text in texts
        ]
        for process in running:
            printed, said = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, said
            assert b'"state"' in printed

    all_at_once([f"without listen {number}" for number in range(5)])
    with minji.listening() as listening:
        all_at_once([f"through listen {number}" for number in range(5)])
        listening.interrupt()
    jihoon.do("sync")
    texts = jihoon.texts(conversation)
    expected = {f"{how} listen {number}" for how in ("without", "through") for number in range(5)}
    assert len(texts) == 10
    assert set(texts) == expected


def test_the_lock_survives_kill_9(person: Callable[[str], Person]) -> None:
    minji = person("minji").join("민지", NOBODY)
    with minji.listening() as listening:
        listening.process.send_signal(signal.SIGKILL)
        listening.process.wait(PATIENCE)
        assert minji.do("chats").objects == []


def test_listen_ends_in_order_when_told_to(person: Callable[[str], Person]) -> None:
    minji = person("minji").join("민지", NOBODY)
    with minji.listening() as listening:
        listening.interrupt()
    assert listening.process.returncode == 130
    assert listening.last_words == b""
    with minji.listening() as listening:
        listening.process.send_signal(signal.SIGTERM)
        assert listening.process.wait(PATIENCE) == 143
    assert minji.do("chats").objects == []


def test_wipe_asks_first_and_leaves_nothing(person: Callable[[str], Person]) -> None:
    minji = person("minji").join("민지", NOBODY)
    unsure = minji.type("wipe")
    assert (unsure.code, unsure.error["error"]) == (2, "usage.unconfirmed")
    assert minji.do("chats").objects == []
    with minji.listening() as listening:
        assert minji.do("wipe", "--yes").object == {"wiped": True}
        listening.process.wait(PATIENCE)
    assert not minji.home.exists() or not list(minji.home.iterdir())
    assert minji.type("chats").error["error"] == "profile.none"


def test_t047_a_profile_on_disk_is_noise(person: Callable[[str], Person], relay: RelayProcess, tmp_path: Path) -> None:
    from hanatalk.drill.searching import Search
    from hanatalk.drill.seizing import profile_rows

    minji, jihoon = person("minji").join("민지네", relay.url), person("jihoon").join("Jihoon Park", relay.url)
    conversation = acquaint(minji, jihoon)
    canaries = [f"canary {number} 카나리아 {number}" for number in range(3)]
    for canary in canaries:
        minji.do("send", conversation, canary)
    jihoon.do("sync")
    needles = [*canaries, "민지네", "Jihoon Park"]
    for somebody in (minji, jihoon):
        on_disk = Search([*needles, "SQLite format 3"])
        assert on_disk.files(somebody.home) == []
        opened = Search(needles).content(profile_rows(somebody.home), place="opened")
        assert {hit.needle for hit in opened} == set(needles)  # the positive control
