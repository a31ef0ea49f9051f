"""The outer layer of an entry: padded to one of five sizes, sealed so that the relay sees nothing (HT-M-022). Pure."""

import enum
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from hanatalk.errors import ContentError
from hanatalk.ids import ChannelId
from hanatalk.wire.classes import EntryClass

SIZES = (512, 1024, 4096, 16384, 65536)  # stored sizes in bytes, every overhead included
_NONCE = 12
_TAG = 16
_HEAD = 5  # kind, length
CAPACITY = SIZES[-1] - _NONCE - _TAG - _HEAD  # largest body in bytes


class BodyKind(enum.IntEnum):
    """What lies inside an entry."""

    MLS = 1  # an MLSMessage
    OFFER = 2  # an invite's offer
    WELCOME = 3  # a Welcome with the chain of who sends it
    STATEMENT = 4  # of a resync channel
    START = 5  # of a profile's own channel
    PIECE = 6  # of something that is larger than one entry
    PIECES = 7  # a commit: names its pieces
    ANNEX = 8  # a Welcome: names the channel and the pieces of its body
    LINK = 20  # between a new device and the one that approves it


def _aad(channel: ChannelId, entry_class: EntryClass, commit: bool) -> bytes:
    return channel + bytes([entry_class, commit])


def seal(
    key: bytes, channel: ChannelId, *, entry_class: EntryClass, commit: bool = False, kind: BodyKind, body: bytes
) -> bytes:
    """Return the entry: nonce(12) ‖ AES-256-GCM-SIV(kind ‖ length(4) ‖ body ‖ zeros).

    :raises ContentError: ``entry.too-large`` above `CAPACITY`
    """
    size = next((size for size in SIZES if len(body) <= size - _NONCE - _TAG - _HEAD), None)
    if size is None:
        raise ContentError("entry.too-large", size=len(body), limit=CAPACITY)
    plain = (bytes([kind]) + len(body).to_bytes(4) + body).ljust(size - _NONCE - _TAG, b"\0")
    nonce = os.urandom(_NONCE)
    return nonce + AESGCMSIV(key).encrypt(nonce, plain, _aad(channel, entry_class, commit))


def unseal(
    key: bytes, channel: ChannelId, *, entry_class: EntryClass, commit: bool = False, entry: bytes
) -> tuple[BodyKind, bytes]:
    """Open an entry of any declared size.

    :raises ContentError: ``entry.damaged``: not sealed with this key for this channel, class and commit flag, or its
        size or padding is not as declared
    """
    if len(entry) not in SIZES:
        raise ContentError("entry.damaged", why="size")
    try:
        plain = AESGCMSIV(key).decrypt(entry[:_NONCE], entry[_NONCE:], _aad(channel, entry_class, commit))
    except InvalidTag:
        raise ContentError("entry.damaged", why="seal") from None
    end = _HEAD + int.from_bytes(plain[1:_HEAD])
    if end > len(plain) or any(plain[end:]):
        raise ContentError("entry.damaged", why="padding")
    try:
        kind = BodyKind(plain[0])
    except ValueError:
        raise ContentError("entry.damaged", why="kind") from None
    return kind, plain[_HEAD:end]
