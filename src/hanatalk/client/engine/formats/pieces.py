"""What is larger than one entry goes in pieces: control entries before it, named by their hashes (HT-M-088). Pure."""

import hashlib
from typing import Annotated

import msgspec

from hanatalk.client.engine.formats import content, sealing
from hanatalk.errors import ContentError

PIECE = sealing.CAPACITY  # bytes in each
PIECES_LIMIT = 256
ROUND = 8  # above this many pieces their number is a multiple of it, below a power of two

Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Whole(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Names the pieces of something: its length in bytes, SHA-256 of each piece in order."""

    length: Annotated[int, msgspec.Meta(ge=1, le=PIECES_LIMIT * PIECE)]
    digests: Annotated[list[Digest], msgspec.Meta(min_length=1, max_length=PIECES_LIMIT)]


def cut(whole: bytes) -> tuple[Whole, list[bytes]]:
    """Equal pieces, zeros after the end; their number tells little of the length.

    :raises ContentError: ``entry.too-large``
    """
    count = -(-len(whole) // PIECE)
    count = 1 << (count - 1).bit_length() if count <= ROUND else -(-count // ROUND) * ROUND
    if count > PIECES_LIMIT:
        raise ContentError("entry.too-large", size=len(whole), limit=PIECES_LIMIT * PIECE)
    padded = whole.ljust(count * PIECE, b"\0")
    found = [padded[start : start + PIECE] for start in range(0, len(padded), PIECE)]
    return Whole(len(whole), [digest(piece) for piece in found]), found


def digest(piece: bytes) -> bytes:
    """What names a piece."""
    return hashlib.sha256(piece).digest()


def parse(body: bytes) -> Whole:
    """:raises ContentError: ``entry.damaged``"""
    try:
        return msgspec.msgpack.decode(body, type=Whole)
    except content.MALFORMED:
        raise ContentError("entry.damaged", why="pieces") from None


def join(whole: Whole, found: list[bytes]) -> bytes:
    """Put the pieces together; the caller found each by its hash. :raises ContentError: ``entry.damaged``"""
    joined = b"".join(found)
    if len(joined) < whole.length or any(joined[whole.length :]):
        raise ContentError("entry.damaged", why="pieces")
    return joined[: whole.length]
