"""Pictures, decoded and encoded anew in a process that can do nothing else (`worker`). Blocking: for a thread."""

import contextlib
import subprocess
import sys
import threading
from pathlib import Path
from typing import Annotated

import msgspec

from hanatalk.errors import ContentError, LocalError, UsageError

WORKER = Path(__file__).with_name("worker.py")
CLEANED = frozenset({f"image/{kind}" for kind in ("jpeg", "png", "webp", "gif", "bmp", "tiff", "avif")})
INPUT_LIMIT = 64 << 20  # bytes of a picture that is looked at
OUTPUT_LIMIT = 64 << 20
SECONDS = 40.0  # by the clock; the worker has a limit of its own for CPU (HT-C-161)
THUMBNAIL = 1_024  # pixels of the longer side at most
LINE = 1_024  # bytes of what the worker says

Side = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: Annotated[str, msgspec.Meta(pattern=r"^image/(jpeg|png|webp)$")]
    width: Side
    height: Side
    preview: Annotated[str, msgspec.Meta(max_length=260, pattern="^([0-9a-f]{2})*$")]
    confined: bool


class _Refused(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    error: Annotated[str, msgspec.Meta(pattern=r"^(too-large|unreadable|confinement)$")]


class Picture(msgspec.Struct, frozen=True):
    """A new one: nothing of the old file is in it but what can be seen. `confined`: made behind a filter of calls."""

    content: bytes
    type: str
    width: int
    height: int
    preview: bytes
    confined: bool

    def __repr__(self) -> str:
        return f"Picture({self.type}, {self.width} × {self.height})"


def clean(content: bytes) -> Picture:
    """The same picture without anything that it says of itself: place, device, time, thumbnail (HT-C-160).

    :raises UsageError: ``picture.too-large``; ``picture.unreadable``: it is none, or damaged
    :raises LocalError: ``picture.worker``: this machine cannot do it
    """
    return _work(b'{"job": "clean"}', content, UsageError)


def thumbnail(content: bytes, *, longest: int) -> Picture:
    """Somebody's picture, small, as WebP (HT-C-162). `longest`: pixels of the longer side.

    :raises ContentError: ``picture.too-large``, ``picture.unreadable``; :raises LocalError: ``picture.worker``
    """
    return _work(b'{"job": "thumbnail", "longest": %d}' % max(1, min(longest, THUMBNAIL)), content, ContentError)


def _work(job: bytes, content: bytes, whose: type[UsageError] | type[ContentError]) -> Picture:
    if len(content) > INPUT_LIMIT:
        raise whose("picture.too-large")
    answer = _run(job + b"\n" + content)
    try:
        said, made = read_answer(answer)
    except ValueError:
        # it was ended, by its limits or by what a picture did to it; what it said till then counts for nothing
        raise whose("picture.unreadable" if answer == b"" or b"\n" not in answer else "picture.too-large") from None
    if isinstance(said, _Refused):
        if said.error == "confinement":
            raise LocalError("picture.worker")
        raise whose("picture.too-large" if said.error == "too-large" else "picture.unreadable")
    preview = bytes.fromhex(said.preview)
    return Picture(made, said.type, said.width, said.height, preview if is_preview(preview) else b"", said.confined)


def read_answer(answer: bytes) -> tuple[_Said | _Refused, bytes]:
    """What the worker said and made: it may be in somebody else's hands by now.

    :raises ValueError: no such thing
    """
    line, end, made = answer.partition(b"\n")
    if not end or len(line) > LINE or len(made) > OUTPUT_LIMIT:
        raise ValueError("no answer")
    try:
        if b'"error"' in line:
            return msgspec.json.decode(line, type=_Refused), b""
        return msgspec.json.decode(line, type=_Said), made
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("no answer") from error


def is_preview(found: bytes) -> bool:
    """Whether these are a preview's cells (HT-C-155)."""
    return len(found) >= 2 and 1 <= found[0] <= 8 and 1 <= found[1] <= 8 and len(found) == 2 + 2 * found[0] * found[1]


def _run(given: bytes) -> bytes:
    """Everything the worker printed, at most a little more than it may."""
    try:
        process = subprocess.Popen(  # noqa: S603 (our own file, nothing of anybody else's in the arguments)
            [sys.executable, "-I", "-B", str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": "", "LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "1"},
        )
    except OSError:
        raise LocalError("picture.worker") from None
    timer = threading.Timer(SECONDS, process.kill)
    timer.start()
    with process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(given)
                process.stdin.close()
            return process.stdout.read(LINE + OUTPUT_LIMIT + 2)
        finally:
            timer.cancel()
            process.kill()
