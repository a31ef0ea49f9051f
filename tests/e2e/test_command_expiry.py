"""`hana send --expire`, `hana recall`: what people type and see, and what is in their files afterwards (T-049)."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.client.engine.test_forensics import forms, raw
from tests.e2e.commands import PATIENCE, Person, RelayProcess
from tests.e2e.conftest import acquaint

from hanatalk.localdb.database import FILE
from hanatalk.localdb.vault import Vault, os_keyring

SECRET = "카나리아 canary that must go"


def found(home: Path, text: str) -> bool:
    """Whether an examiner with the key finds the text anywhere in the profile's files, page by page or as they are."""
    key = Vault(home, keyring=os_keyring()).open(passphrase=None).key
    content = raw(home / FILE, key) + b"".join(path.read_bytes() for path in home.iterdir() if path.is_file())
    return any(form in content for form in forms(text))


@pytest.fixture
def pair(relay: RelayProcess, person: Callable[[str], Person]) -> tuple[Person, Person, str]:
    minji, jihoon = person("minji").join("민지", relay.url), person("jihoon").join("Jihoon", relay.url)
    conversation = acquaint(minji, jihoon)
    jihoon.do_here("sync")
    return minji, jihoon, conversation


def test_t049_a_timer_typed_by_a_person(pair: tuple[Person, Person, str]) -> None:
    """HT-C-040, HT-C-041: `expires_at` appears when the timer runs; `listen` is killed when it is over."""
    minji, jihoon, conversation = pair
    sent = minji.do("send", conversation, SECRET, "--expire", "2s").object
    shown = minji.do_here("messages", conversation).objects[-1]
    assert shown["message"] == sent["message"]
    assert shown["timer"] == 2
    assert shown["expires_at"] is not None
    jihoon.do_here("sync")
    shown = jihoon.do_here("messages", conversation).objects[-1]
    assert (shown["text"], shown["timer"], shown["expires_at"]) == (SECRET, 2, None)
    assert found(jihoon.home, SECRET)  # the control
    with jihoon.listening() as listening:
        jihoon.do("read", conversation)
        assert listening.until("gone")["reason"] == "expired"
        listening.process.send_signal(signal.SIGKILL)
        listening.process.wait(PATIENCE)
        assert not found(jihoon.home, SECRET)
    for person in (minji, jihoon):
        assert person.texts(conversation) == []  # not even the first command after it shows it
        assert not found(person.home, SECRET)


def test_recall_typed_by_a_person(pair: tuple[Person, Person, str], relay: RelayProcess) -> None:
    """HT-C-045: the other sees that something was taken back, in `listen`, in JSON and in both languages."""
    minji, jihoon, conversation = pair
    sent = minji.do_here("send", conversation, SECRET).object["message"]
    minji.do_here("send", conversation, "stays")
    jihoon.do_here("sync")
    assert jihoon.texts(conversation) == [SECRET, "stays"]
    assert jihoon.type_here("recall", sent).error["error"] == "recall.not-own"
    with jihoon.listening() as listening:
        assert minji.do("recall", sent[:8]).object == {"message": sent, "state": "recalled"}
        assert listening.until("gone") == {
            "event": "gone",
            "conversation": conversation,
            "message": sent,
            "reason": "recalled",
        }
    for person in (minji, jihoon):
        first, second = person.do_here("messages", conversation).objects
        assert (first["text"], first["recalled"], second["text"], second["recalled"]) == ("", True, "stays", False)
        assert not found(person.home, SECRET)
        assert found(person.home, "stays")
    assert "되돌린" in jihoon.prose("ko").do_here("messages", conversation).out
    assert "taken back" in jihoon.prose("en").do_here("messages", conversation).out
    relay.kill()
    try:
        assert (
            minji.do("recall", minji.do_here("messages", conversation).objects[1]["message"]).object["state"]
            == "queued"
        )
        assert not found(minji.home, "stays")
    finally:
        relay.start()
    minji.do_here("sync")
    jihoon.do_here("sync")
    assert [message["recalled"] for message in jihoon.do_here("messages", conversation).objects] == [True, True]


@pytest.mark.parametrize("typed", [["--expire", "soon"], ["--expire", "0s"], ["--expire", "400d"]])
def test_what_is_no_timer(pair: tuple[Person, Person, str], typed: list[str]) -> None:
    minji, _, conversation = pair
    ended = minji.type_here("send", conversation, "x", *typed)
    assert (ended.code, ended.error["error"]) in ((2, "usage.duration"), (2, "expire.limit"))
    assert minji.texts(conversation) == []
