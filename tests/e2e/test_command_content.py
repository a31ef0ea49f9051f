"""`react`, `edit`, `versions`, `view`, `delete` and the ways of `send`: what people type and both see, in ko and en."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.commands import Person, RelayProcess
from tests.e2e.conftest import acquaint
from tests.e2e.test_command_expiry import found

SECRET = "카나리아 canary that must go"
Pair = tuple[Person, Person, str]


@pytest.fixture
def pair(relay: RelayProcess, person: Callable[[str], Person]) -> Pair:
    minji, jihoon = person("minji").join("민지", relay.url), person("jihoon").join("Jihoon", relay.url)
    conversation = acquaint(minji, jihoon)
    jihoon.do_here("sync")
    return minji, jihoon, conversation


def test_react_typed_by_a_person(pair: Pair) -> None:
    """HT-C-105, HT-C-106: put, seen in `listen` and in lists, changed, taken away; who reacted."""
    minji, jihoon, conversation = pair
    message = minji.do_here("send", conversation, "봐").object["message"]
    jihoon.do_here("sync")
    with minji.listening() as listening:
        assert jihoon.do("react", message[:8], "👍").object == {"message": message, "emoji": "👍", "state": "stored"}
        event = listening.until("reaction")
        assert (event["message"], event["from"], event["emoji"]) == (message, "Jihoon", "👍")
    shown = minji.do_here("messages", conversation).objects[-1]
    assert shown["reactions"] == [{"emoji": "👍", "count": 1, "mine": False}]
    minji.do_here("react", message, "👍")
    jihoon.do_here("react", message, "❤️")
    minji.do_here("sync")
    assert [(each["emoji"], each["from"]) for each in minji.do("react", message).object["reactions"]] == [
        ("👍", "민지"),
        ("❤️", "Jihoon"),
    ]
    assert "[👍 ❤️]" in minji.prose("ko").do_here("messages", conversation).out
    assert minji.do_here("react", message, "--remove").object["emoji"] is None
    jihoon.do_here("sync")
    assert jihoon.do_here("messages", conversation).objects[-1]["reactions"] == [
        {"emoji": "❤️", "count": 1, "mine": True}
    ]
    for typed, code in (
        (["--remove", "👍"], "react.both"),
        (["좋아"], "react.not-emoji"),
        (["👍👍"], "react.not-emoji"),
    ):
        ended = jihoon.type_here("react", message, *typed)
        assert (ended.code, ended.error["error"]) == (2, code)
    assert jihoon.type_here("react", "ffffffff", "👍").error["error"] == "message.unknown"


def test_edit_typed_by_a_person(pair: Pair) -> None:
    """HT-C-107: everybody sees that, and what it said before; only own messages."""
    minji, jihoon, conversation = pair
    message = minji.do_here("send", conversation, "안냥").object["message"]
    jihoon.do_here("sync")
    with jihoon.listening() as listening:
        assert minji.do("edit", message[:8], "-", stdin="안녕\n").object == {"message": message, "state": "stored"}
        assert listening.until("edited")["text"] == "안녕"
    shown = jihoon.do_here("messages", conversation).objects[-1]
    assert shown["text"] == "안녕"
    assert shown["edited_at"] is not None
    versions = jihoon.do("versions", message).object["versions"]
    assert [version["text"] for version in versions] == ["안냥", "안녕"]
    assert "(고침)" in jihoon.prose("ko").do_here("messages", conversation).out
    assert "(edited)" in jihoon.prose("en").do_here("messages", conversation).out
    assert "안냥" in jihoon.prose("en").do_here("versions", message).out
    ended = jihoon.type_here("edit", message, "x")
    assert (ended.code, ended.error["error"]) == (2, "edit.not-own")


def test_view_once_typed_by_a_person(pair: Pair) -> None:
    """HT-C-112, HT-C-113, T-049: in no list; shown once, and gone from both profiles' files."""
    minji, jihoon, conversation = pair
    message = minji.do("send", conversation, SECRET, "--view-once").object["message"]
    jihoon.do_here("sync")
    for person in (minji, jihoon):
        shown = person.do_here("messages", conversation).objects[-1]
        assert (shown["text"], shown["view_once"], shown["opened"]) == ("", True, False)
    assert found(jihoon.home, SECRET)  # the control
    assert "한 번만" in jihoon.prose("ko").do_here("messages", conversation).out
    assert "can be seen once" in jihoon.prose("en").do_here("messages", conversation).out
    assert jihoon.do("view", message[:8]).object == {"message": message, "text": SECRET, "files": []}
    assert not found(jihoon.home, SECRET)
    ended = jihoon.type_here("view", message)
    assert (ended.code, ended.error["error"]) == (2, "view.opened")
    jihoon.do_here("sync")
    minji.do_here("sync")
    shown = minji.do_here("messages", conversation).objects[-1]
    assert (shown["opened"], shown["opened_by"]) == (True, ["Jihoon"])
    assert not found(minji.home, SECRET)


def test_delete_typed_by_a_person(pair: Pair) -> None:
    """HT-C-110, HT-C-111: here and only here; while somebody has not got it, it is only hidden."""
    minji, jihoon, conversation = pair
    message = minji.do_here("send", conversation, SECRET).object["message"]
    assert minji.do("delete", message[:8]).object == {"message": message, "state": "hidden"}
    assert minji.texts(conversation) == []
    jihoon.do_here("sync")
    assert jihoon.texts(conversation) == [SECRET]
    minji.do_here("sync")
    assert not found(minji.home, SECRET)
    assert jihoon.do_here("delete", message).object["state"] == "deleted"
    assert jihoon.texts(conversation) == []
    assert not found(jihoon.home, SECRET)


def test_replies_mentions_stickers_and_privacy_typed_by_a_person(pair: Pair) -> None:
    """HT-C-100 … HT-C-103, HT-C-115."""
    minji, jihoon, conversation = pair
    asked = minji.do_here("send", conversation, "@Jihoon 뭐 해?").object["message"]
    jihoon.do_here("sync")
    jihoon.do("send", conversation, "자", "--reply-to", asked[:8])
    jihoon.do_here("send", conversation, "--sticker", "openmoji:1F634")
    first, second, third = jihoon.do_here("messages", conversation).objects
    assert (first["mentioned"], first["mentions"][0]["name"]) == (True, "Jihoon")
    assert (second["reply"]["from"], second["reply"]["text"]) == ("민지", "@Jihoon 뭐 해?")
    assert (third["text"], third["sticker"]) == ("", "openmoji:1F634")
    prose = jihoon.prose("ko").do_here("messages", conversation, "--ids").out
    assert "↳ 민지: @Jihoon 뭐 해?" in prose
    assert "[스티커] openmoji:1F634" in prose
    assert asked[:8] in prose
    ended = jihoon.type_here("send", conversation, "--sticker", "no/such")
    assert (ended.code, ended.error["error"]) == (2, "sticker.malformed")
    ended = jihoon.type_here("send", conversation, "x", "--whisper", "민지")
    assert (ended.code, ended.error["error"]) == (2, "whisper.no-group")
    minji.do_here("sync")
    minji.do_here("send", conversation, SECRET, "--privacy")
    jihoon.do_here("sync")
    assert jihoon.do_here("messages", conversation).objects[-1]["privacy"]
    jihoon.do_here("read", conversation)
    assert SECRET not in jihoon.texts(conversation)
    assert not found(jihoon.home, SECRET)
    minji.do_here("sync")
    assert SECRET not in minji.texts(conversation)
    assert not found(minji.home, SECRET)


def test_timer_typed_by_a_person(pair: Pair) -> None:
    """HT-C-120: agreed by both, shown in JSON and in both languages, and every text obeys it."""
    minji, jihoon, conversation = pair
    assert minji.do("timer", conversation).object == {
        "conversation": conversation,
        "timer": None,
        "privacy": False,
        "state": "done",
    }
    with jihoon.listening() as listening:
        assert minji.do("timer", conversation, "2s").object["timer"] == 2
        event = listening.until("timer")
        assert (event["timer"], event["privacy"], event["by"]) == (2, False, "민지")
    assert "읽은 지 2s 뒤에" in jihoon.prose("ko").do_here("timer", conversation).out
    assert "2s after" in jihoon.prose("en").do_here("timer", conversation).out
    jihoon.do_here("send", conversation, SECRET)
    minji.do_here("sync")
    assert minji.do_here("messages", conversation).objects[-1]["timer"] == 2
    assert minji.do("timer", conversation, "off", "--privacy", "on").object["privacy"] is True
    for typed in ("soon", "0s", "400d"):
        ended = minji.type_here("timer", conversation, typed)
        assert (ended.code, ended.error["error"]) in ((2, "usage.duration"), (2, "expire.limit"))


def test_t073_what_hides_in_a_reaction_or_an_edit_is_escaped(pair: Pair) -> None:
    minji, jihoon, conversation = pair
    message = minji.do_here("send", conversation, "plain").object["message"]
    minji.do_here("edit", message, "turned \u202e round")
    jihoon.do_here("sync")
    for typed in (("messages", conversation), ("versions", message)):
        out = jihoon.prose("en").do_here(*typed).out
        assert "\\u202e" in out
        assert "\u202e" not in out


def test_a_file_that_can_be_seen_once_typed_by_a_person(pair: Pair, tmp_path: Path) -> None:
    """HT-C-119: opened into a folder, then gone from the profile."""
    minji, jihoon, conversation = pair
    note = tmp_path / "note.txt"
    note.write_text(SECRET)
    message = minji.do_here("send", conversation, "봐", "--file", str(note), "--view-once").object["message"]
    jihoon.do_here("sync")
    assert jihoon.type_here("save", message, "--to", str(tmp_path / "saved")).error["error"] == "view.hidden"
    assert jihoon.type_here("view", message).error["error"] == "view.folder"
    seen = jihoon.do("view", message, "--to", str(tmp_path / "seen")).object
    assert seen["text"] == "봐"
    (file,) = seen["files"]
    assert Path(file["file"]).read_text() == SECRET
    ended = jihoon.type_here("view", message, "--to", str(tmp_path / "again"))
    assert ended.error["error"] in ("view.opened", "attachment.none")


def test_introductions_typed_by_people(pair: Pair, person: Callable[[str], Person], relay: RelayProcess) -> None:
    """HT-C-125, HT-C-126: told, answered by both, a conversation without a link."""
    minji, jihoon, _ = pair
    third = person("third").join("서연", relay.url)
    acquaint(minji, third)
    third.do_here("sync")
    minji.do("introduce", "Jihoon", "서연")
    minji.do_here("sync")
    jihoon.do_here("sync")
    (told,) = jihoon.do("introductions").objects
    assert (told["name"], told["by"], told["state"]) == ("서연", "민지", "offered")
    assert "소개한 사람: 민지" in jihoon.prose("ko").do_here("introductions").out
    assert "introduced by 민지" in jihoon.prose("en").do_here("introductions").out
    assert jihoon.do("meet", "서연").object["state"] == "waiting"
    for each in (jihoon, minji, third):
        each.do_here("sync")
    met = third.do("meet", "Jihoon").object
    assert met["state"] == "done"
    third.do_here("send", met["conversation"], "반가워요")
    third.do_here("sync")
    jihoon.do_here("sync")
    assert jihoon.texts(met["conversation"]) == ["반가워요"]
    assert jihoon.type_here("meet", "nobody").error["error"] == "introduction.unknown"
