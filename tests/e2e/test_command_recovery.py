"""Losing the way and coming back, with real processes: an old copy of a profile, a relay whose disk is gone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.commands import Person, RelayProcess, running_relay


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    with running_relay(tmp_path / "relay") as running:
        yield running


@pytest.fixture
def people(tmp_path: Path, relay: RelayProcess) -> tuple[Person, Person, str]:
    minji = Person(tmp_path / "minji").join("민지", relay.url)
    jihoon = Person(tmp_path / "jihoon").join("Jihoon", relay.url)
    link = minji.do_here("invite").object["invite"]
    conversation = jihoon.do_here("accept", link).object["conversation"]
    minji.do_here("sync")
    jihoon.do_here("sync")
    return minji, jihoon, conversation


def _go_on(*people: Person) -> None:
    """Everybody syncs until what waits for the others has come."""
    for _ in range(3):
        for person in people:
            person.do_here("sync", "--wait", "3")


def test_t058_an_old_copy_is_noticed_and_joins_again(tmp_path: Path, people: tuple[Person, Person, str]) -> None:
    """T-058: copied, talked, put back: blocked, said in words, added again; everybody has every message once."""
    minji, jihoon, conversation = people
    jihoon.do("send", conversation, "before the copy")
    shutil.copytree(jihoon.home, tmp_path / "copy")
    assert jihoon.do("send", conversation, "after the copy").object["state"] in ("stored", "delivered")
    minji.do("sync")
    minji.do("send", conversation, "답장")
    jihoon.do("sync")
    shutil.rmtree(jihoon.home)
    shutil.copytree(tmp_path / "copy", jihoon.home)
    assert jihoon.do("send", conversation, "of the old copy").object["state"] == "queued"
    (chat,) = jihoon.do("chats").objects
    assert chat["state"] == "rejoining"
    assert "다시 들어가는 중" in jihoon.prose("ko").type("chats").out
    assert "rejoining" in jihoon.prose("en").type("chats").out
    waiting = jihoon.do("sync", "--wait", "1").object["rejoining"]
    assert waiting == [{"conversation": conversation, "name": "민지"}]
    assert "다시 들어가는 중: 민지" in jihoon.prose("ko").type("sync", "--wait", "1").err
    assert "Rejoining: 민지" in jihoon.prose("en").type("sync", "--wait", "1").err
    with minji.listening(), jihoon.listening() as listening:
        listening.until("conversation", state="joined")
        while "답장" not in [seen["message"]["text"] for seen in listening.seen if seen["event"] == "message"]:
            listening.until("message")  # the copy had lost it: asked for, sent again
    (chat,) = jihoon.do("chats").objects
    assert chat["state"] == "joined"
    assert jihoon.do("sync").object["rejoining"] == []
    assert sorted(minji.texts(conversation)) == sorted(["before the copy", "after the copy", "답장", "of the old copy"])
    assert sorted(jihoon.texts(conversation)) == sorted(["before the copy", "답장", "of the old copy"])
    assert jihoon.do("send", conversation, "weiter").object["state"] in ("stored", "delivered")
    minji.do("sync")
    assert minji.texts(conversation)[-1] == "weiter"


def test_t024_a_relay_whose_disk_is_gone(people: tuple[Person, Person, str], relay: RelayProcess) -> None:
    """T-024: what was on its way arrives after the relay's data was deleted, once; the conversation goes on."""
    minji, jihoon, conversation = people
    jihoon.do("send", conversation, "on its way")
    relay.kill()
    for path in relay.data.iterdir():
        if "key" not in path.name:
            path.unlink()
    relay.start()
    _go_on(jihoon, minji)
    assert minji.texts(conversation) == ["on its way"]
    minji.do("send", conversation, "and on")
    _go_on(jihoon)
    assert jihoon.texts(conversation) == ["on its way", "and on"]
