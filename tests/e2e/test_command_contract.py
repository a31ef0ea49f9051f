"""`hana` is a contract: what every command prints, field by field, with two people on a real relay.

Most tests share one pair of people, so each looks at the end of the conversation only.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from tests.e2e.commands import Person, RelayProcess
from tests.e2e.conftest import acquaint

HEX = re.compile(r"[0-9a-f]+")
RFC3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
UNKNOWN = "no such conversation"


@dataclass(frozen=True)
class Pair:
    """Two people who know each other, and what their conversation is called."""

    minji: Person
    jihoon: Person
    conversation: str

    def settle(self) -> None:
        """Everything sent is received, read and confirmed."""
        self.jihoon.do_here("sync")
        self.jihoon.do_here("read", self.conversation)
        self.jihoon.do_here("sync")
        self.minji.do_here("sync")


@pytest.fixture(scope="module")
def pair(relay: RelayProcess, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    homes = tmp_path_factory.mktemp("pair")
    minji = Person(homes / "minji").join("민지", relay.url)
    jihoon = Person(homes / "jihoon").join("Jihoon", relay.url)
    return Pair(minji, jihoon, acquaint(minji, jihoon))


def test_init_makes_an_account_without_phone_or_e_mail(person: Callable[[str], Person], relay: RelayProcess) -> None:
    somebody = person("somebody")
    made = somebody.do("init", "--name", "누구", "--relay", relay.url, "--no-passphrase").object
    assert made.keys() == {"account", "device", "name"}
    assert made["name"] == "누구"
    assert len(made["account"]) == len(made["device"]) == 64
    assert HEX.fullmatch(made["account"] + made["device"])
    assert somebody.home.stat().st_mode & 0o777 == 0o700
    again = somebody.type("init", "--name", "누구", "--relay", relay.url, "--no-passphrase")
    assert (again.code, again.error["error"]) == (1, "profile.exists")


def test_the_folders_on_the_way_to_home_are_made(relay: RelayProcess, tmp_path: Path) -> None:
    deep = Person(tmp_path / "a" / "b" / "c").join("깊이", relay.url)
    assert deep.home.stat().st_mode & 0o777 == 0o700
    assert deep.do("chats").objects == []


def test_home_wins_over_the_environment(person: Callable[[str], Person], relay: RelayProcess, tmp_path: Path) -> None:
    somebody, other = person("nobody"), str(tmp_path / "other")
    somebody.do("--home", other, "init", "--name", "x", "--relay", relay.url, "--no-passphrase")
    assert not somebody.home.exists()
    assert somebody.do("chats", "--home", other).objects == []


def test_invite_and_accept(person: Callable[[str], Person], relay: RelayProcess) -> None:
    minji, jihoon = person("minji").join("민지", relay.url), person("jihoon").join("Jihoon", relay.url)
    invite = minji.do("invite", "--expires", "2h").object
    assert invite["invite"].startswith("hana:")
    assert invite["state"] == "stored"
    assert RFC3339_UTC.fullmatch(invite["expires_at"])
    assert 7000 < datetime.fromisoformat(invite["expires_at"]).timestamp() - time.time() < 7300
    accepted = jihoon.do("accept", invite["invite"]).object
    assert accepted.keys() == {"conversation", "name"}
    assert accepted["name"] == "민지"
    again = jihoon.do("accept", "-", stdin=invite["invite"] + "\n").object
    assert again == accepted  # the same person, the same link: nothing new


def test_chats_lists_who_and_what(pair: Pair) -> None:
    pair.settle()
    pair.minji.do("send", pair.conversation, "첫 줄")
    pair.jihoon.do("sync")
    (chat,) = pair.jihoon.do("chats").objects
    wanted = {"name": "민지", "kind": "direct", "members": 2, "unread": 1, "last": "첫 줄"}
    assert {**chat, **wanted, "conversation": pair.conversation} == chat
    (mine,) = pair.minji.do("chats").objects
    assert (mine["unread"], mine["last"], mine["name"]) == (0, "첫 줄", "Jihoon")


def test_send_sync_messages_read_and_the_1(pair: Pair) -> None:
    pair.settle()
    minji, jihoon = pair.minji, pair.jihoon
    sent = minji.do("send", "Jihoon", "안녕, 들려?").object
    assert sent.keys() == {"message", "state"}
    assert sent["state"] == "stored"
    synced = jihoon.do("sync").object
    assert synced.keys() == {"received", "sent", "pending", "rejoining", "invitations"}
    assert (synced["received"], synced["pending"]) == (1, 0)
    (received,) = jihoon.do("messages", "민지", "--limit", "1").objects
    wanted = {
        "message": sent["message"],
        "conversation": pair.conversation,
        "from": "민지",
        "text": "안녕, 들려?",
        "unread": 1,
        "attachments": [],
        "expires_at": None,
    }
    assert {**received, **wanted} == received
    assert RFC3339_UTC.fullmatch(received["sent_at"])
    assert len(received["from_account"]) == 64

    minji.do("sync")
    (delivered,) = minji.do("messages", "Jihoon", "--limit", "1").objects
    assert (delivered["state"], delivered["unread"]) == ("delivered", 1)  # decrypted there, not read: the 1 stays
    assert jihoon.do("chats").object["unread"] == 1  # neither sync nor messages read anything

    assert jihoon.do("read", "민지").object == {"read": 1}
    assert jihoon.do("read", "민지").object == {"read": 0}
    jihoon.do("sync")
    minji.do("sync")
    (read,) = minji.do("messages", "Jihoon", "--limit", "1").objects
    assert (read["state"], read["unread"]) == ("read", 0)  # the 1 went out
    assert jihoon.do("chats").object["unread"] == 0


def test_messages_are_the_last_ones_oldest_first(pair: Pair) -> None:
    for number in range(3):
        pair.minji.do("send", pair.conversation, f"{number}")
    pair.jihoon.do("sync")
    assert pair.jihoon.texts(pair.conversation, 3) == ["0", "1", "2"]
    assert pair.jihoon.texts(pair.conversation, 2) == ["1", "2"]


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("hello", "hello"),
        ("hello\n", "hello"),
        ("hello\n\n", "hello\n"),
        ("  two  \n lines\t\n", "  two  \n lines\t"),
        ("가나다 👨‍👩‍👧 \u202e e\u0301", "가나다 👨‍👩‍👧 \u202e e\u0301"),
    ],
)
def test_send_reads_standard_input_as_typed_minus_one_newline(pair: Pair, typed: str, text: str) -> None:
    pair.minji.do("send", pair.conversation, "-", stdin=typed)
    assert pair.minji.texts(pair.conversation, 1) == [text]


def test_a_conversation_is_named_by_name_id_or_the_ids_beginning(pair: Pair) -> None:
    spellings = ["Jihoon", pair.conversation, pair.conversation[:6]]
    for spelling in spellings:
        pair.minji.do("send", spelling, spelling)
    assert pair.minji.texts(pair.conversation, 3) == spellings


def test_a_text_that_begins_with_a_dash_follows_two_dashes(pair: Pair) -> None:
    pair.minji.do("send", pair.conversation, "--", "--json is text here")
    assert pair.minji.texts(pair.conversation, 1) == ["--json is text here"]
    wrong = pair.minji.type("send", pair.conversation, "-5 degrees")
    assert (wrong.code, wrong.error["error"]) == (2, "usage.option-unknown")


def test_both_see_the_same_safety_number(pair: Pair) -> None:
    mine, theirs = pair.minji.do("verify", pair.conversation).object, pair.jihoon.do("verify", "민지").object
    assert mine == theirs
    assert mine["verified"] is False
    assert len(re.findall(r"\d", mine["safety_number"])) == 60
    assert pair.jihoon.do("verify", "민지", "--confirm").object == {**mine, "verified": True}
    assert pair.jihoon.do("verify", "민지").object["verified"] is True
    assert pair.minji.do("verify", pair.conversation).object["verified"] is False  # each says it for themselves


def test_two_people_of_one_name_are_told_apart(person: Callable[[str], Person], relay: RelayProcess) -> None:
    minji, others = person("minji").join("민지", relay.url), [person(name) for name in ("one", "other")]
    first, second = (acquaint(minji, other.join("Jihoon", relay.url)) for other in others)
    ambiguous = minji.type("send", "Jihoon", "which one?")
    assert (ambiguous.code, ambiguous.error["error"]) == (2, "name.ambiguous")
    minji.do("send", second, "you")
    others[1].do("sync")
    assert others[1].texts("민지") == ["you"]
    assert minji.texts(first) == []


@pytest.mark.parametrize(
    "command", [["send", UNKNOWN, "x"], ["messages", UNKNOWN], ["read", UNKNOWN], ["verify", UNKNOWN]]
)
def test_an_unknown_conversation(pair: Pair, command: list[str]) -> None:
    wrong = pair.minji.type(*command)
    assert (wrong.code, wrong.error["error"], wrong.out) == (2, "name.unknown", "")


def test_prose_is_on_stderr_and_results_on_stdout(pair: Pair) -> None:
    pair.settle()
    minji, jihoon, conversation = pair.minji.prose("en"), pair.jihoon.prose("en"), pair.conversation
    assert minji.do("send", conversation, "in prose").out == "Sent.\n"
    jihoon.do("sync")
    printed = jihoon.do("messages", conversation, "--limit", "1").out.splitlines()
    assert re.fullmatch(r"── \d{4}-\d\d-\d\d ──", printed[0])
    assert re.fullmatch(r"\d\d:\d\d  민지: in prose", printed[1])
    minji.do("sync")
    assert minji.do("messages", conversation).out.endswith("Me: in prose ✓✓ ¹\n")
    assert jihoon.do("chats").out == f"민지 [1]  in prose  {conversation[:8]}\n"
    assert jihoon.do("read", conversation).out == "1 read.\n"
    assert len(jihoon.do("verify", conversation).out.splitlines()) == 3
    assert "읽" in jihoon.prose("ko").do("read", conversation).out


def test_a_qr_code_goes_to_stderr_and_the_link_to_stdout(pair: Pair) -> None:
    drawn = pair.minji.prose("en").do("invite", "--qr")
    assert re.fullmatch(r"hana:\S+\n", drawn.out)
    assert drawn.err.count("▀") > 100
    assert "\x1b" not in drawn.err  # no terminal, no colours


def test_t073_what_others_wrote_cannot_drive_the_terminal(pair: Pair) -> None:
    pair.minji.do("send", pair.conversation, "-", stdin="\x1b]0;owned\x07 \u202egnp.exe \x9b2J")
    pair.jihoon.do("sync")
    for reader in (pair.jihoon, pair.jihoon.prose("ko")):
        for command in (("messages", pair.conversation), ("chats",)):
            printed = reader.do(*command).out
            assert "gnp.exe" in printed
            assert not any(bad in printed for bad in ("\x1b", "\x07", "\u202e", "\x9b"))
    # a script gets it exactly
    assert pair.jihoon.texts(pair.conversation, 1) == ["\x1b]0;owned\x07 \u202egnp.exe \x9b2J"]


def test_listen_tells_messages_receipts_and_states_as_they_come(pair: Pair) -> None:
    pair.settle()
    with pair.minji.listening() as mine, pair.jihoon.listening() as theirs:
        sent = pair.jihoon.do("send", "민지", "실시간").object  # through the running listen: one process owns a profile
        event = mine.until("message")
        assert event["message"]["text"] == "실시간"
        assert event["message"]["from"] == "Jihoon"
        theirs.until("state", message=sent["message"], state="delivered")
        pair.minji.do("read", "Jihoon")
        receipt = theirs.until("receipt", message=sent["message"], unread=0)
        assert receipt["conversation"] == pair.conversation


def test_who_listens_through_another_listener_misses_nothing_either(pair: Pair) -> None:
    """Its first line comes once the process that owns the profile tells it everything."""
    pair.settle()
    with pair.jihoon.listening() as first, pair.jihoon.listening() as second:
        sent = pair.jihoon.do("send", "민지", "둘 다 들려?").object
        for listening in (first, second):
            assert listening.until("message")["message"]["message"] == sent["message"]


def test_fields_may_be_added_never_renamed(pair: Pair) -> None:
    """The field lists of the command's contract, in one place."""
    pair.minji.do("send", pair.conversation, "x")
    contract = {
        ("chats",): "conversation name kind members unread last",
        ("messages", pair.conversation): "message conversation from text sent_at state unread attachments expires_at",
        ("verify", pair.conversation): "safety_number verified",
        ("sync",): "received sent pending",
        ("invite",): "invite",
        ("send", pair.conversation, "y"): "message state",
    }
    for command, fields in contract.items():
        assert set(fields.split()) <= pair.minji.do(*command).objects[0].keys(), command
