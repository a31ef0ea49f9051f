"""Calls about files, part of `hanatalk.client.calls`, which see."""

from typing import ClassVar

import msgspec


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """One attachment of a message. `state`: ``uploading``; ``here``: all of it is on this device; ``remote``: not
    fetched; ``fetching``; ``missing``: no relay has it any more, its sender was asked; ``refused``: `failure` says why.

    `name` and `type` are what its sender says. `width` and `height`: pixels. `preview`: a few colours, hexadecimal
    (HT-C-155).
    """

    name: str
    type: str
    size: int
    state: str
    width: int | None = None
    height: int | None = None
    preview: str | None = None
    failure: str | None = None


class Attached(msgspec.Struct, frozen=True, kw_only=True):
    """A file that waits for its message (`Send.attachments`), sealed in the profile. Forgotten when the owner ends."""

    attachment: str
    name: str
    type: str
    size: int
    width: int | None = None
    height: int | None = None


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """How far a message's attachments are together: `done` of `size` bytes, `state` as in `Attachment`. `sent`: the
    state of the message (`Sent`), if it is an own one."""

    message: str
    state: str
    done: int
    size: int
    failure: str | None = None
    sent: str | None = None


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """One attachment as a file. `type`: what its content looks like; `warning`: a key of the catalogues, or None."""

    file: str
    name: str
    type: str
    size: int
    warning: str | None = None


class SavedList(msgspec.Struct, frozen=True, kw_only=True):
    files: list[Saved]


class Attach(msgspec.Struct, frozen=True, kw_only=True, tag="attach", tag_field="call"):
    """Seal a file of this machine for a message to come. The owner reads it, piece by piece.

    A picture is decoded and made anew, so that nothing goes but what can be seen (HT-C-160); with `original` it goes
    with everything in it. The path is one of this machine: for callers who may read that file themselves.

    :raises UsageError: ``attachment.file`` it cannot be read, ``attachment.too-large``, ``attachment.too-many``,
        ``picture.too-large``, ``picture.unreadable``, ``picture.unsupported``
    :raises StorageError: ``storage.full``; :raises LocalError: ``picture.worker``
    """

    Result: ClassVar = Attached
    path: str  # absolute
    original: bool = False


class ThumbnailMade(msgspec.Struct, frozen=True, kw_only=True):
    """A small picture, made on this device, kept nowhere."""

    type: str
    width: int
    height: int
    content: bytes  # in JSON: base64


class Thumbnail(msgspec.Struct, frozen=True, kw_only=True, tag="thumbnail", tag_field="call"):
    """A picture among a message's attachments (`position`), all of which are here, small: decoded and made anew in a
    process that can do nothing else (HT-C-162). `longest`: pixels of the longer side, at most 1,024.

    :raises UsageError: ``message.unknown``, ``name.ambiguous``, ``attachment.none``
    :raises ContentError: ``attachment.remote``, ``attachment.damaged``, ``picture.too-large``, ``picture.unreadable``
    :raises LocalError: ``picture.worker``
    """

    Result: ClassVar = ThumbnailMade
    message: str
    position: int = 0
    longest: int = 320


class Fetch(msgspec.Struct, frozen=True, kw_only=True, tag="fetch", tag_field="call"):
    """Fetch a message's attachments, or, with `cancel`, stop and forget what came of them (HT-C-164).

    Waits at most `wait` seconds until they are here or are refused. For own ones: until a relay has them and their
    message.

    :raises UsageError: ``message.unknown``, ``name.ambiguous``, ``attachment.none``, ``attachment.own``
    :raises ContentError: ``attachment.relay``, ``attachment.damaged``; :raises StorageError: ``storage.full``
    :raises NetworkError: the relay cannot be reached
    """

    Result: ClassVar = Transfer
    message: str
    cancel: bool = False
    wait: float = 5.0


class Save(msgspec.Struct, frozen=True, kw_only=True, tag="save", tag_field="call"):
    """Write a message's attachments, all of which are here, into a folder (absolute; made if need be). Nothing that is
    there is overwritten; names that deceive are replaced (HT-C-154).

    :raises UsageError: ``message.unknown``, ``name.ambiguous``, ``attachment.none``, ``attachment.folder``
    :raises ContentError: ``attachment.remote``, ``attachment.damaged``; :raises StorageError: the disk said no
    """

    Result: ClassVar = SavedList
    message: str
    folder: str
