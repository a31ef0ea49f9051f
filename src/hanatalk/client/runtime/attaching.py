"""Files of this machine into the profile and out of it. Blocking: for a thread of its own; holds a chunk at a time."""

import contextlib
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from hanatalk.cipherfile import mapped_errors, sync_folder
from hanatalk.client import calls, kinds
from hanatalk.client.engine import Readable, Staged, Writer
from hanatalk.errors import UsageError

SIZE_LIMIT = 256 << 20  # bytes of one attachment (client.md)
PIECE = 1 << 20  # bytes read at once
NAMES = 1_000  # tries for a name that is not there


def stage(path: str, writer: Callable[[int], Writer]) -> Staged:
    """Seal a file.

    :raises UsageError: ``attachment.file``, ``attachment.too-large``; :raises StorageError: the disk said no
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
        return _seal(lambda count: os.read(descriptor, count), path, found.st_size, writer)
    finally:
        os.close(descriptor)


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
