"""Several relays of one person, and moving a conversation, with real processes (HT-M-064, HT-M-078, HT-M-079)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.commands import Person, RelayProcess, running_relay


@pytest.fixture
def relays(tmp_path: Path) -> Iterator[tuple[RelayProcess, RelayProcess]]:
    with running_relay(tmp_path / "one") as one, running_relay(tmp_path / "two") as two:
        yield one, two


def test_a_conversation_moves_to_another_relay_and_back(
    tmp_path: Path, relays: tuple[RelayProcess, RelayProcess]
) -> None:
    """HT-M-078, HT-M-079: by choice, and when one is gone; both hear of it, and of its return."""
    one, two = relays
    minji = Person(tmp_path / "minji").join("민지", one.url, "--relay", two.url)
    jihoon = Person(tmp_path / "jihoon").join("Jihoon", one.url)
    minji.do("sync")
    conversation = jihoon.do("accept", minji.do("invite").object["invite"]).object["conversation"]
    minji.do("sync")
    jihoon.do("sync")
    refused = minji.type("move", conversation, "--relay", "ws://127.0.0.1:9")
    assert (refused.code, refused.error["error"]) == (2, "move.unknown")
    assert (minji.type("move", conversation, "--relay", one.url)).error["error"] == "move.here"

    with jihoon.listening() as listening:
        moved = minji.do("move", conversation, "--relay", two.url).object
        assert moved == {"conversation": conversation, "relay": two.url, "state": "moved"}
        listening.until("moved", conversation=conversation, relay=two.url, left=one.url)
    one.kill()
    assert minji.do("send", conversation, "over the second").object["state"] == "stored"
    jihoon.type("sync")
    assert jihoon.texts(conversation) == ["over the second"]

    one.start()
    two.kill()
    assert minji.do("move", conversation).object["state"] == "moved"
    assert minji.do("send", conversation, "over the first again").object["state"] == "stored"
    jihoon.do("sync")
    assert jihoon.texts(conversation) == ["over the second", "over the first again"]
    with minji.listening() as listening:
        two.start()
        listening.until("relay-returned", conversation=conversation, relay=two.url)
    assert "이미 그 릴레이" in minji.prose("ko").type_here("move", conversation, "--relay", one.url).err
    assert "Moved: " in minji.prose("en").type("move", conversation, "--relay", two.url).out


def test_the_same_relay_twice_and_too_many(tmp_path: Path) -> None:
    """Nothing is made."""
    person = Person(tmp_path / "home")
    for relays, code in (
        (["ws://127.0.0.1:1", "ws://127.0.0.1:1"], "relay.twice"),
        ([f"ws://127.0.0.1:{port}" for port in range(1, 6)], "relay.too-many"),
        (["ws://127.0.0.1:1", "http://127.0.0.1"], "relay.url"),
    ):
        arguments = [word for url in relays for word in ("--relay", url)]
        ended = person.type_here("init", "--name", "민지", "--no-passphrase", *arguments)
        assert (ended.code, ended.error["error"]) == (2, code)
        assert person.type_here("chats").error["error"] == "profile.none"
