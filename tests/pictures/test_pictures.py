"""Pictures made anew in a process that can do nothing else (HT-C-155, HT-C-160 … HT-C-163, T-067)."""

import contextlib
import io
import json
import platform
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from hanatalk import pictures
from hanatalk.errors import ContentError, UsageError
from hanatalk.pictures import worker

CONFINED = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")
SECRETS = [b"SecretCam", b"37.5665", b"taken at home", b"xpacket", b"http://ns.adobe.com", b"comment of mine"]


def photo(width: int = 64, height: int = 48) -> Image.Image:
    """Left half red, right half blue, so that one sees how it is turned."""
    made = Image.new("RGB", (width, height), (230, 20, 20))
    made.paste((20, 20, 230), (width // 2, 0, width, height))
    return made


def told(kind: str, *, orientation: int = 1) -> bytes:
    """A picture that says everything about itself."""
    exif = Image.Exif()
    exif[0x0110] = "SecretCam"
    exif[0x0112] = orientation
    exif[0x9286] = b"taken at home"
    place = exif.get_ifd(0x8825)
    place[1], place[2], place[29] = "N", (37.0, 33.0, 59.0), "2026:11:25"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    out = io.BytesIO()
    more: dict[str, Any] = {}
    if kind == "JPEG":
        more = {"comment": b"comment of mine", "xmp": b'<?xpacket?><x xmlns="http://ns.adobe.com/xap/1.0/">37.5665</x>'}
    elif kind == "PNG":
        more["pnginfo"] = PngImagePlugin.PngInfo()
        more["pnginfo"].add_itxt("Comment", "comment of mine 37.5665")
    elif kind == "WEBP":
        more["xmp"] = b"<?xpacket?>37.5665"
    photo().save(out, kind, exif=exif, icc_profile=profile, **more)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_nothing_that_a_picture_says_of_itself_stays(kind: str) -> None:
    """HT-C-160."""
    given = told(kind)
    assert b"SecretCam" in given  # the positive control
    made = pictures.clean(given)
    for secret in SECRETS:
        assert secret not in made.content
    again = Image.open(io.BytesIO(made.content))
    assert dict(again.getexif()) == {}
    assert not {"exif", "icc_profile", "xmp", "comment", "Comment"} & set(again.info)
    assert (made.width, made.height) == again.size == (64, 48)
    assert made.confined is CONFINED


@pytest.mark.parametrize(
    ("orientation", "size", "red"),
    [(1, (64, 48), (5, 24)), (3, (64, 48), (58, 24)), (6, (48, 64), (24, 5)), (8, (48, 64), (24, 58))],
)
def test_a_picture_is_turned_as_it_says(orientation: int, size: tuple[int, int], red: tuple[int, int]) -> None:
    """HT-C-160: the note that says how to hold it goes, so the pixels are turned."""
    made = Image.open(io.BytesIO(pictures.clean(told("JPEG", orientation=orientation)).content)).convert("RGB")
    assert made.size == size
    colour = made.getpixel(red)
    assert isinstance(colour, tuple)
    assert colour[0] > 180 > 60 > colour[2]


def test_what_is_seen_through_stays_so_and_what_moves_moves() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (20, 10), (0, 200, 0, 0)).save(out, "PNG")
    made = Image.open(io.BytesIO(pictures.clean(out.getvalue()).content))
    assert (made.mode, made.getpixel((3, 3))) == ("RGBA", (0, 200, 0, 0))
    out = io.BytesIO()
    frames = [Image.new("RGB", (30, 30), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=70, comment=b"comment of mine")
    moving = pictures.clean(out.getvalue())
    again = Image.open(io.BytesIO(moving.content))
    assert (moving.type, again.n_frames) == ("image/webp", 3)
    assert b"comment" not in moving.content


def test_a_preview_is_a_few_colours() -> None:
    """HT-C-155: at most 6 × 6 cells of 16 bits."""
    out = io.BytesIO()
    photo(1_200, 300).save(out, "PNG")
    preview = pictures.clean(out.getvalue()).preview
    assert pictures.is_preview(preview)
    across, down = preview[0], preview[1]
    assert (across, down, len(preview)) == (6, 2, 2 + 24)
    cells = struct.unpack(">12H", preview[2:])
    assert cells[0] >> 11 > 25
    assert cells[5] >> 11 < 5
    assert cells[5] & 31 > 25


def test_a_thumbnail_is_small_and_somebody_elses_fault_is_theirs() -> None:
    """HT-C-162."""
    out = io.BytesIO()
    photo(900, 600).save(out, "PNG")
    made = pictures.thumbnail(out.getvalue(), longest=90)
    assert (made.type, made.width, made.height) == ("image/webp", 90, 60)
    with pytest.raises(ContentError, match=r"picture\.unreadable"):
        pictures.thumbnail(b"no picture", longest=90)


def bomb(width: int, height: int) -> bytes:
    """A PNG of so many pixels in a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(min(width * 3 + 1, 1 << 20)) * 64, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(60_000, 60_000), (2_000_000_000, 1), (10_001, 10_000)])
def test_t067_a_bomb_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    """HT-C-163."""
    given = bomb(*size)
    assert len(given) < 100_000
    with pytest.raises(UsageError, match=r"picture\.(too-large|unreadable)"):
        pictures.clean(given)


def test_t067_a_moving_bomb_too() -> None:
    """HT-C-163: thousands of frames in a few bytes."""
    out = io.BytesIO()
    frames = [Image.new("L", (400, 400), number % 200) for number in range(600)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(UsageError, match=r"picture\.too-large"):
        pictures.clean(out.getvalue())


def test_t067_whatever_it_takes_the_worker_ends() -> None:
    """HT-C-161: its memory is bounded; who needs more is refused, and nobody else notices."""
    out = io.BytesIO()
    Image.new("I;16", (9_000, 9_000)).save(out, "TIFF", compression="tiff_lzw")
    with pytest.raises(UsageError, match=r"picture\.(too-large|unreadable)"):
        pictures.clean(out.getvalue() + b"x" * pictures.INPUT_LIMIT)
    script = CONFINEMENT.replace("ATTEMPT", "blocks = [bytes(1 << 26) for _ in range(32)]")
    assert attempted(script) == "MemoryError"


CONFINEMENT = """
import sys
sys.path.insert(0, FOLDER)
import os, socket, subprocess, ctypes
import worker
worker.prepare()
worker.give_up_limits()
confined = worker.give_up_calls()
try:
    ATTEMPT
except BaseException as error:
    print(type(error).__name__, flush=True)
else:
    print("done", flush=True)
os._exit(0)
"""


def attempted(script: str) -> str:
    source = script.replace("FOLDER", repr(str(Path(worker.__file__).parent)))
    done = subprocess.run([sys.executable, "-I", "-c", source], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.strip() or f"ended {done.returncode}"


@pytest.mark.skipif(not CONFINED, reason="no filter of system calls for this machine")
@pytest.mark.parametrize(
    "attempt",
    [
        "open('/etc/passwd').read()",
        "os.open('/tmp', os.O_RDONLY)",
        "socket.socket()",
        "os.fork()",
        "os.kill(os.getppid(), 0)",
        "subprocess.run(['/bin/true'])",
        "os.listdir('/')",
        "os.unlink('/tmp/none')",
        "os.execv('/bin/true', ['true'])",
        "ctypes.CDLL(None).ptrace(0, 0, 0, 0) and (_ for _ in ()).throw(OSError)",
    ],
)
def test_the_worker_can_do_nothing_else(attempt: str) -> None:
    """HT-C-161: what a decoder might be talked into fails; the positive control is what it may do."""
    assert attempted(CONFINEMENT.replace("ATTEMPT", attempt)) in ("PermissionError", "OSError")
    assert attempted(CONFINEMENT.replace("ATTEMPT", "sum(range(1000)); bytearray(1 << 24)")) == "done"


def test_what_the_worker_says_is_somebody_elses() -> None:
    """HT-C-161: an answer that is not exactly one is none."""
    good = b'{"type": "image/png", "width": 2, "height": 2, "preview": "", "confined": true}\nPNG'
    assert pictures.read_answer(good)[1] == b"PNG"
    for changed in (
        good.replace(b"image/png", b"text/html"),
        good.replace(b'"width": 2', b'"width": 0'),
        good.replace(b'"width": 2', b'"width": 99999999'),
        good.replace(b'"preview": ""', b'"preview": "zz"'),
        good.replace(b'"confined": true', b'"confined": true, "more": 1'),
        good.replace(b"\n", b" "),
        b"x" * 2_000 + b"\n",
        b"",
    ):
        with pytest.raises(ValueError, match="no answer"):
            pictures.read_answer(changed)


@given(st.binary(max_size=400))
def test_any_answer_is_one_or_none(answer: bytes) -> None:
    with contextlib.suppress(ValueError):
        pictures.read_answer(answer)


@settings(max_examples=150)
@given(
    st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF"]), st.integers(0, 10**6), st.binary(min_size=1, max_size=8)
)
def test_a_damaged_picture_is_refused_or_one(kind: str, place: int, change: bytes) -> None:
    """T-067: in this process, where a crash would end the test."""
    out = io.BytesIO()
    photo().save(out, kind)
    raw = bytearray(out.getvalue())
    place %= len(raw)
    raw[place : place + len(change)] = change
    try:
        said, made = worker.run({"job": "clean"}, bytes(raw))
    except worker.Refused as refused:
        assert str(refused) in ("too-large", "unreadable")
    else:
        json.dumps(said)
        assert made


def test_t025_nothing_but_the_worker_is_ever_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """T-025: the one place of a device that starts a process starts this one, whatever it is given."""
    started: list[tuple[list[str], dict[str, Any]]] = []
    honest = subprocess.Popen

    def popen(command: list[str], **how: Any) -> Any:
        started.append((command, how))
        return honest(command, **how)

    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(UsageError):
        pictures.clean(b"; rm -rf / #\n$(reboot)")
    ((command, how),) = started
    assert command == [sys.executable, "-I", "-B", str(pictures.WORKER)]
    assert "shell" not in how
    assert set(how["env"]) == {"PATH", "LC_ALL", "MALLOC_ARENA_MAX"}
