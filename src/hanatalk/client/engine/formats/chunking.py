"""A file as equal sealed chunks: STREAM over AES-256-GCM (HT-C-142 … HT-C-144). It touches chunk files only."""

import hashlib
import secrets
from collections.abc import Iterable, Iterator

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hanatalk.client.engine.formats import references
from hanatalk.errors import ContentError
from hanatalk.localdb.chunks import CHUNK, ChunkFiles

_HEAD = 4  # position
_TAG = 16
CAPACITY = CHUNK - _HEAD - _TAG  # bytes of the file in one chunk
_AAD = b"hana chunk/1"
_FINE = 256  # chunks (16 MiB) from which the number is rounded to 1/16 instead of to a power of two
SECRET = 32  # bytes


def chunks_of(size: int) -> int:
    """In how many chunks a file of `size` bytes lies, padding included (HT-C-144)."""
    least = max(1, -(-size // CAPACITY))
    if least <= _FINE:
        return 1 << (least - 1).bit_length()
    step = 1 << (least.bit_length() - 1 - 4)
    return -(-least // step) * step


def _nonce(position: int, *, last: bool) -> bytes:
    return bytes(7) + position.to_bytes(4) + bytes([last])


class ChunkKey:
    """Seals and opens the chunks of one attachment."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(references.chunk_key(secret))

    def seal(self, position: int, content: bytes, *, last: bool) -> bytes:
        """One chunk: position(4) ‖ AES-256-GCM(content ‖ zeros), `CHUNK` bytes (HT-C-142)."""
        plain = content.ljust(CAPACITY, b"\0")
        return position.to_bytes(_HEAD) + self._cipher.encrypt(_nonce(position, last=last), plain, _AAD)

    def open(self, chunk: bytes, *, chunks: int) -> tuple[int, bytes]:
        """Its position and content, padding included, of an attachment of so many chunks.

        :raises ContentError: ``attachment.damaged``: not this attachment's, not where it says, not whole (T-070)
        """
        position = int.from_bytes(chunk[:_HEAD])
        if len(chunk) != CHUNK or position >= chunks:
            raise ContentError("attachment.damaged", why="place")
        try:
            return position, self._cipher.decrypt(_nonce(position, last=position == chunks - 1), chunk[_HEAD:], _AAD)
        except InvalidTag:
            raise ContentError("attachment.damaged", why="seal") from None


def root(digests: Iterable[bytes]) -> bytes:
    """What a reference says of its chunks: SHA-256 over their digests in order (HT-C-143)."""
    found = hashlib.sha256()
    for digest in digests:
        found.update(digest)
    return found.digest()


def chunk_digest(chunk: bytes) -> bytes:
    """SHA-256 of a sealed chunk."""
    return hashlib.sha256(chunk).digest()


class Sealed(msgspec.Struct, frozen=True):
    """A file that lies sealed in `name`, durably. `secret` is everything needed to read it."""

    name: str
    secret: bytes
    digest: bytes
    size: int

    def __repr__(self) -> str:
        return f"Sealed(size={self.size}, …)"


class Writer:
    """Seals what is written to it, in pieces of any size; holds one chunk in memory. Uses no clock and no database.

    Between `Writer` and `finish` (or `drop`) its file belongs to nobody: what a killed process left is removed.
    """

    def __init__(self, files: ChunkFiles, *, size: int | None = None) -> None:
        """:param size: how much will come, if known: then there is room for it, or it is refused at once

        :raises StorageError: ``storage.full``
        """
        self._files = files
        self._secret = secrets.token_bytes(SECRET)
        self._key = ChunkKey(self._secret)
        self.name = files.create(None if size is None else chunks_of(size))
        self._waiting = bytearray()
        self._digests: list[bytes] = []
        self.size = 0

    def write(self, content: bytes) -> None:
        """:raises StorageError: ``storage.full``, ``storage.io``"""
        self._waiting += content
        self.size += len(content)
        while len(self._waiting) > CAPACITY:  # the last one stays: it may be the end
            self._put(bytes(self._waiting[:CAPACITY]), last=False)
            del self._waiting[:CAPACITY]

    def _put(self, content: bytes, *, last: bool) -> None:
        position = len(self._digests)
        chunk = self._key.seal(position, content, last=last)
        self._files.write(self.name, position, chunk)
        self._digests.append(chunk_digest(chunk))

    def finish(self) -> Sealed:
        """Pad, and make it durable. :raises StorageError:"""
        chunks = chunks_of(self.size)
        while len(self._digests) < chunks:
            content, self._waiting = bytes(self._waiting), bytearray()
            self._put(content, last=len(self._digests) == chunks - 1)
        self._files.sync(self.name)
        return Sealed(self.name, self._secret, root(self._digests), self.size)

    def drop(self) -> None:
        """It is not wanted after all."""
        self._files.remove(self.name)


def read(files: ChunkFiles, name: str, reference: references.Reference) -> Iterator[bytes]:
    """What a file held, piece by piece, each verified before it is given out.

    :raises ContentError: ``attachment.damaged``; :raises StorageError: the disk said no, or the file is gone
    """
    key, chunks, left = ChunkKey(reference.secret), chunks_of(reference.size), reference.size
    for position in range(-(-reference.size // CAPACITY)):
        place, content = key.open(files.read(name, position), chunks=chunks)
        if place != position:
            raise ContentError("attachment.damaged", why="place")
        yield content[:left]
        left -= CAPACITY
