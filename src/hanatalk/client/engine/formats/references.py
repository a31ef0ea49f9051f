"""What a message says of a file that lies in chunks in a channel of its own (HT-C-140). Pure."""

from typing import Annotated

import msgspec

from hanatalk.client.engine.formats import keys
from hanatalk.ids import ChannelId, ReadToken, RelayKey
from hanatalk.wire.channels import channel_id_of, read_verifier

PER_MESSAGE = 16  # attachments of one message at most
SIZE_LIMIT = 1 << 32  # bytes that any reference may say; what people send ends before (`calls.SIZE_LIMIT`)
NAME_LIMIT = 255  # characters
PREVIEW_LIMIT = 130  # bytes (HT-C-155)

Thirty2 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Side = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class Place(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Where the chunks lie: at the relay with this key, in the channel whose write token has this verifier."""

    relay_key: Thirty2
    write_verifier: Thirty2

    @property
    def relay(self) -> RelayKey:
        return RelayKey(self.relay_key)

    def __repr__(self) -> str:
        return "Place(…)"


class Reference(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One attachment. Secret: whoever has it can fetch and read it.

    `digest` is SHA-256 over the SHA-256 of each sealed chunk in order; `type` what its sender takes it for; `width` and
    `height` in pixels where it is something to look at, else 0.
    """

    secret: Thirty2
    place: Place
    digest: Thirty2
    size: Annotated[int, msgspec.Meta(ge=0, le=SIZE_LIMIT)]  # bytes, without padding
    type: Annotated[str, msgspec.Meta(max_length=100, pattern=r"^[a-z]+/[a-z0-9][a-z0-9.+-]*$")]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_LIMIT)]
    width: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    height: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    preview: Annotated[bytes, msgspec.Meta(max_length=PREVIEW_LIMIT)] = b""

    def __repr__(self) -> str:
        return f"Reference(size={self.size}, …)"


def read_token(secret: bytes, place: Place) -> ReadToken:
    """With which a receiver reads the channel at that relay; the write token stays with the sender (HT-C-141)."""
    return ReadToken(keys.expand(secret, salt=place.relay, info=b"hana attachment read/1", length=32))


def chunk_key(secret: bytes) -> bytes:
    """The key of the chunks, 32 bytes; wherever they lie, they are the same (HT-C-142)."""
    return keys.expand(secret, salt=bytes(32), info=b"hana attachment key/1", length=32)


def channel(secret: bytes, place: Place) -> ChannelId:
    """The channel in which the chunks lie."""
    return channel_id_of(read_verifier(read_token(secret, place)), place.write_verifier)
