"""Files of this machine into the profile and out of it. Blocking: for a thread of its own; holds a chunk at a time."""

import contextlib
import io
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec

from hanatalk import pictures
from hanatalk.cipherfile import mapped_errors, sync_folder
from hanatalk.client import calls, kinds
from hanatalk.client.engine import Readable, Staged, Writer
from hanatalk.errors import ContentError, UsageError

SIZE_LIMIT = 256 << 20  # bytes of one attachment (client.md)
PIECE = 1 << 20  # bytes read at once
NAMES = 1_000  # tries for a name that is not there


def stage(path: str, writer: Callable[[int], Writer], *, original: bool) -> Staged:
    """Seal a file; a picture is made anew before, unless it is to go with everything in it (HT-C-160).

    :raises UsageError: ``attachment.file``, ``attachment.too-large``, ``picture.too-large``, ``picture.unreadable``,
        ``picture.unsupported``
    :raises StorageError: the disk said no; :raises LocalError: ``picture.worker``
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise UsageError("attachment.file", path=path, why=reason or type(error).__name__) from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UsageError("attachment.file", path=path, why="no regular file")
        check_size(found.st_size)
        head = os.pread(descriptor, kinds.HEAD, 0)
        kind = kinds.kind_of(head)
        if not original and (kind in pictures.CLEANED or kind == "image/heic"):
            return _picture(descriptor, path, kind, writer)
        return _seal(lambda count: os.read(descriptor, count), path, found.st_size, writer)
    finally:
        os.close(descriptor)


def _picture(descriptor: int, path: str, kind: str, writer: Callable[[int], Writer]) -> Staged:
    if kind not in pictures.CLEANED or kinds.extension_of(path) in kinds.RAW:
        raise UsageError("picture.unsupported", path=path)
    if os.fstat(descriptor).st_size > pictures.INPUT_LIMIT:
        raise UsageError("picture.too-large")
    content = io.BytesIO()
    while piece := _piece(lambda count: os.read(descriptor, count), path):
        content.write(piece)
    made = pictures.clean(content.getvalue())
    pieces = io.BytesIO(made.content)
    staged = _seal(pieces.read, path, len(made.content), writer)
    name = kinds.renamed(staged.name, made.type)
    return msgspec.structs.replace(
        staged, type=made.type, name=name, width=made.width, height=made.height, preview=made.preview
    )


def check_size(size: int) -> None:
    """:raises UsageError: ``attachment.too-large``"""
    if size > SIZE_LIMIT:
        raise UsageError("attachment.too-large", limit=SIZE_LIMIT >> 20, size=size >> 20)


def _seal(read: Callable[[int], bytes], path: str, size: int, writer: Callable[[int], Writer]) -> Staged:
    sealing = writer(size)
    try:
        head = b""
        while (piece := _piece(read, path)) != b"":
            head = head or piece[: kinds.HEAD]
            check_size(sealing.size + len(piece))  # it may have grown
            sealing.write(piece)
        sealed = sealing.finish()
    except BaseException:
        sealing.drop()
        raise
    return Staged(sealed=sealed, type=kinds.kind_of(head), name=name_of(path))


def _piece(read: Callable[[int], bytes], path: str) -> bytes:
    try:
        return read(PIECE)
    except OSError as error:
        raise UsageError("attachment.file", path=path, why=error.strerror or "") from None


def name_of(path: str) -> str:
    """What the others are told: the last part of the path, whatever of it is text."""
    name = os.fsencode(Path(path).name).decode(errors="replace").replace("\0", "")
    return name[:255] or "attachment"


def save(attachments: list[Readable], folder: str) -> calls.SavedList:
    """Write them into a folder, each under a name of its own, whole or not at all.

    :raises UsageError: ``attachment.folder``; :raises ContentError, StorageError: see `Readable`
    """
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        if not place.is_dir():
            raise NotADirectoryError
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise UsageError("attachment.folder", folder=folder, why=reason or type(error).__name__) from None
    return calls.SavedList(files=[_save(each, place) for each in attachments])


def _save(attachment: Readable, place: Path) -> calls.Saved:
    passing = place / f".hana-{secrets.token_hex(8)}.part"
    head = b""
    with mapped_errors(), contextlib.ExitStack() as stack:
        with open(os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            stack.callback(passing.unlink, missing_ok=True)
            for piece in attachment:
                head = head or piece[: kinds.HEAD]
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        kind = kinds.kind_of(head)
        final = _take_name(place, kinds.safe_name(attachment.name, kind))
        passing.replace(final)
    sync_folder(place)
    warning = "attachment.type" if kinds.disagree(final.name, kind) else None
    return calls.Saved(file=str(final), name=final.name, type=kind, size=attachment.size, warning=warning)


def _take_name(place: Path, name: str) -> Path:
    """Make an empty file under the first name that is free: nothing that is there is overwritten."""
    for number in range(1, NAMES):
        path = place / kinds.numbered(name, number)
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        except FileExistsError:
            continue
        return path
    raise UsageError("attachment.folder", folder=str(place), why="names")


def thumbnail(attachment: Readable, longest: int) -> calls.ThumbnailMade:
    """A picture, small. :raises ContentError: see `pictures.thumbnail`; ``picture.unreadable``: it says it is none"""
    if attachment.size > pictures.INPUT_LIMIT:
        raise ContentError("picture.too-large")
    content = b"".join(attachment)
    if kinds.kind_of(content[: kinds.HEAD]) not in pictures.CLEANED:
        raise ContentError("picture.unreadable")
    made = pictures.thumbnail(content, longest=longest)
    return calls.ThumbnailMade(type=made.type, width=made.width, height=made.height, content=made.content)
