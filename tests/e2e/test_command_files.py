"""`send --file` and `save` through a real relay (HT-C-145, HT-C-147, HT-C-153, HT-C-154)."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.commands import Person, RelayProcess
from tests.e2e.conftest import acquaint

from hanatalk.drill import photos

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
    lines = jihoon.prose("ko").type_here("messages", conversation).out.splitlines()
    assert [line.split("  ")[-1] for line in lines if "📎" in line] == [shown["message"][:8]] * 2
    assert any("📎 video.mp4 (3.0 MiB)" in line for line in lines)
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
    assert minji.type("send", conversation).error["error"] == "usage.missing"
    text = minji.do("send", conversation, "text").object["message"]
    assert minji.type("save", text).error["error"] == "attachment.none"
    assert not list((minji.home).glob("profile.files/*"))


def test_a_photo_goes_without_its_place(pair: tuple[Person, Person, str], tmp_path: Path) -> None:
    """HT-C-160: unless a person says that it may; then the command says what that means."""
    minji, jihoon, conversation = pair
    path = tmp_path / "우리집.jpg"
    path.write_bytes(photos.with_place())
    minji.do_here("send", conversation, "--file", str(path))
    original = minji.prose("en").do("send", conversation, "--file", str(path), "--original")
    assert "where, when and with what a picture was taken may be in it" in original.err
    jihoon.do_here("sync")
    clean, untouched = jihoon.do_here("messages", conversation).objects
    saved = [jihoon.do("save", each["message"], "--to", str(tmp_path / "to")).object for each in (clean, untouched)]
    assert [Path(each["file"]).name for each in saved] == ["우리집.jpg", "우리집 (2).jpg"]
    contents = [Path(each["file"]).read_bytes() for each in saved]
    assert [photos.has_place(each) for each in contents] == [False, True]
    assert contents[1] == path.read_bytes()
    shown = clean["attachments"][0]
    assert (shown["type"], shown["width"], shown["height"]) == ("image/jpeg", 1_950, 2_600)  # turned upright
    assert len(shown["preview"]) > 20


def test_a_picture_that_cannot_be_made_anew_is_not_sent(pair: tuple[Person, Person, str], tmp_path: Path) -> None:
    """HT-C-160: what could still say where it was taken does not go by mistake (T-067)."""
    minji, _, conversation = pair
    for name, content, code in (
        ("iphone.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), "picture.unsupported"),
        ("raw.dng", b"II*\0" + bytes(100), "picture.unsupported"),
        ("broken.jpg", b"\xff\xd8\xff\xe1" + bytes(100), "picture.unreadable"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        assert minji.type_here("send", conversation, "--file", str(path)).error["error"] == code
        assert minji.type_here("send", conversation, "--file", str(path), "--original").object["message"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("photo.jpg", b"MZ\x90\0" + bytes(100), "photo.jpg"),
        ("page", b"<!DOCTYPE html><html></html>", "page"),
        ("plan\u202egpj.exe", b"MZ\x90\0" + bytes(100), "attachment.exe"),
    ],
)
def test_t068_t069_what_deceives_is_renamed_or_warned_of(
    pair: tuple[Person, Person, str], tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    """T-068, T-069: HT-C-153, HT-C-154."""
    minji, jihoon, conversation = pair
    path = tmp_path / name
    path.write_bytes(content)
    minji.do_here("send", conversation, "--file", str(path))
    jihoon.do_here("sync")
    message = jihoon.do_here("messages", conversation).objects[-1]["message"]
    saved = jihoon.do("save", message, "--to", str(tmp_path / "to")).object
    assert Path(saved["file"]).name == expected
    assert (saved["warning"] is None) is (name.endswith("exe"))
    warned = jihoon.prose("en").do("save", message, "--to", str(tmp_path / "to"))
    assert ("Careful" in warned.err) is (saved["warning"] is not None)
