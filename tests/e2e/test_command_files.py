"""`send --file` and `save` through a real relay (HT-C-145, HT-C-147, HT-C-153, HT-C-154)."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.commands import Person, RelayProcess
from tests.e2e.conftest import acquaint

LARGE = 3 << 20


@pytest.fixture
def pair(relay: RelayProcess, person: Callable[[str], Person]) -> tuple[Person, Person, str]:
    minji = person("minji").join("민지", relay.url)
    jihoon = person("jihoon").join("Jihoon", relay.url)
    return minji, jihoon, acquaint(minji, jihoon)


def test_files_arrive_as_they_were(pair: tuple[Person, Person, str], tmp_path: Path) -> None:
    """Small and large, with a text and without; the contract of `messages` and `save`."""
    minji, jihoon, conversation = pair
    small, large = tmp_path / "메모.txt", tmp_path / "video.mp4"
    small.write_text("안녕 " * 100)
    large.write_bytes(b"\0\0\0\x18ftypmp42" + os.urandom(LARGE))
    sent = minji.do("send", conversation, "여기", "--file", str(small), "--file", str(large)).object
    assert sent["state"] == "stored"
    jihoon.do("sync")
    (shown,) = jihoon.do_here("messages", conversation).objects
    assert shown["text"] == "여기"
    assert [(each["name"], each["type"], each["size"], each["state"]) for each in shown["attachments"]] == [
        ("메모.txt", "text/plain", small.stat().st_size, "here"),
        ("video.mp4", "video/mp4", large.stat().st_size, "remote"),
    ]
    folder = tmp_path / "new" / "folder"
    saved = jihoon.do("save", shown["message"], "--to", str(folder)).objects
    assert [Path(each["file"]).name for each in saved] == ["메모.txt", "video.mp4"]
    assert [Path(each["file"]).read_bytes() for each in saved] == [small.read_bytes(), large.read_bytes()]
    assert all(stat.S_IMODE(Path(each["file"]).stat().st_mode) == 0o600 for each in saved)
    again = jihoon.do("save", shown["message"], "--to", str(folder)).objects
    assert [Path(each["file"]).name for each in again] == ["메모 (2).txt", "video (2).mp4"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "video (2).mp4",
        "video.mp4",
        "메모 (2).txt",
        "메모.txt",
    ]


def test_progress_is_said_and_told(pair: tuple[Person, Person, str], tmp_path: Path) -> None:
    """Prose on stderr; events for who listens, who owns the profile: the command goes through them."""
    minji, jihoon, conversation = pair
    path = tmp_path / "large"
    path.write_bytes(os.urandom(LARGE))
    with minji.listening() as listening:
        done = minji.prose("en").do("send", conversation, "--file", str(path))
        listening.until("attachment", state="here", direction="up", done=LARGE, size=LARGE)
    assert "↑ 100% of 3.0 MiB" in done.err
    jihoon.do("sync")
    (shown,) = jihoon.do_here("messages", conversation).objects
    with jihoon.listening() as listening:
        saved = jihoon.prose("ko").do("save", shown["message"], "--to", str(tmp_path / "to"))
        listening.until("attachment", state="here", direction="down", done=LARGE)
    assert "↓ 100% (3.0 MiB)" in saved.err
    assert (tmp_path / "to" / "large").read_bytes() == path.read_bytes()


def test_what_cannot_be_sent_or_saved_is_said(pair: tuple[Person, Person, str], tmp_path: Path) -> None:
    minji, _, conversation = pair
    for path in (tmp_path / "nothing", tmp_path, Path("/dev/zero")):
        refused = minji.type("send", conversation, "--file", str(path))
        assert (refused.code, refused.error["error"]) == (2, "attachment.file")
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate((256 << 20) + 1)
    assert minji.type("send", conversation, "--file", str(huge)).error["error"] == "attachment.too-large"
    assert minji.type("send", conversation).error["error"] == "text.empty"
    text = minji.do("send", conversation, "text").object["message"]
    assert minji.type("save", text).error["error"] == "attachment.none"
    assert not list((minji.home).glob("profile.files/*"))
