"""The frames, one struct each, and their codec (spec/01-relay.md, table of frames).

A WebSocket message is one MessagePack array of frames; a frame is an array whose first element is its type. Everything
a peer can send either decodes to exactly these structs or raises `WireError`.
"""

from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

import msgspec

from hanatalk.errors import WireError
from hanatalk.ids import EntryId, ReaderId
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.refusals import RefusalCode

PROTOCOL_VERSION: Final = 1
MESSAGE_SIZE: Final = 1 << 20  # bytes of one WebSocket message, HT-R-010
MESSAGE_FRAMES: Final = 4096  # frames of one message, HT-R-010
ENTRY_SIZE: Final = 65_536  # bytes of one entry, HT-R-018
FRAME_OVERHEAD: Final = 512  # no frame is larger than this beside its entry or its policy text

# Whole numbers stay below 2**53 so that a client in JavaScript reads them exactly (HT-R-018).
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Positive: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
Bytes16: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
EntryIdBytes: TypeAlias = Annotated[EntryId, msgspec.Meta(min_length=16, max_length=16)]
ReaderIdBytes: TypeAlias = Annotated[ReaderId, msgspec.Meta(min_length=16, max_length=16)]
Bytes32: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Bytes64: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
EntryBytes: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=1, max_length=ENTRY_SIZE)]
WorkBits: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=22)]
CodeText: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=32, pattern="^[a-z][a-z-]*$")]
DetailText: TypeAlias = Annotated[str, msgspec.Meta(max_length=100)]
PolicyText: TypeAlias = Annotated[str, msgspec.Meta(max_length=1024)]


def _shape(value: object) -> str:
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else repr(value)


class Frame(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """Any frame. Its repr shows lengths instead of bytes: tokens and passes never reach a log."""

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={_shape(getattr(self, name))}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({fields})"


# --- client to relay -------------------------------------------------------------------------------------------------


class Hello(Frame, frozen=True, tag=1):
    """First frame of a connection (HT-R-013, HT-R-020)."""

    versions: Annotated[list[Count], msgspec.Meta(min_length=1, max_length=16)]


class Open(Frame, frozen=True, tag=2):
    """Name a channel and show what one may do there (HT-R-030)."""

    request: Positive
    channel_id: Bytes32
    read: Bytes32  # the read token, or R
    read_is_token: bool
    write: Bytes32  # the write token, or W
    write_is_token: bool


class Append(Frame, frozen=True, tag=3):
    """Store an entry (HT-R-040)."""

    request: Positive
    handle: Positive
    entry_id: EntryIdBytes
    entry_class: EntryClass
    commit: bool
    turn: Count | None
    burn_after: Positive | None
    erase_hash: Bytes32 | None
    entry: EntryBytes


class Subscribe(Frame, frozen=True, tag=4):
    """Push entries after a seq, then live ones (HT-R-050)."""

    handle: Positive
    after_seq: Count


class Ack(Frame, frozen=True, tag=5):
    """This reader holds everything up to seq (HT-R-052)."""

    handle: Positive
    reader: ReaderIdBytes
    seq: Count


class Take(Frame, frozen=True, tag=6):
    """Reserve the oldest entry nobody took (HT-R-053)."""

    request: Positive
    handle: Positive
    take_id: Bytes16


class Receipt(Frame, frozen=True, tag=7):
    """Ask for the relay's signature over the control entries up to seq (HT-R-060)."""

    request: Positive
    handle: Positive
    seq: Count


class Erase(Frame, frozen=True, tag=8):
    """Take an entry back (HT-R-054)."""

    request: Positive
    handle: Positive
    seq: Positive
    erase_token: Bytes32


class Close(Frame, frozen=True, tag=9):
    """Give a handle back (HT-R-033)."""

    handle: Positive


class Ping(Frame, frozen=True, tag=10):
    """Answered by PONG with the same number (HT-R-019)."""

    number: Count


class Proof(Frame, frozen=True, tag=11):
    """The answer to CHALLENGE (HT-R-121)."""

    access: Bytes32 | None  # that the client knows the access pass
    nonce: Count | None  # that it worked


# --- relay to client -------------------------------------------------------------------------------------------------


class RelayLimits(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What the relay accepts (HT-R-022). Sizes in bytes; a rate of 0 means no limit. Faster clients are read slower."""

    message_size: Count
    entry_size: Count
    channels: Count  # open at once on one connection
    requests_per_second: Count  # per connection
    bytes_per_second: Count  # per connection
    channel_entries: Count  # held at once in one channel
    channel_bytes: Count  # held at once in one channel


class RetentionDays(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Days an entry may stay (HT-R-070)."""

    message: Count  # classes message and attachment
    control: Count  # classes control and invite
    taken: Count


class Limits(Frame, frozen=True, tag=33):
    """The answer to HELLO (HT-R-022)."""

    version: Count
    limits: RelayLimits
    retention: RetentionDays
    policy: PolicyText
    signing_key: Bytes32


class Opened(Frame, frozen=True, tag=34):
    """The answer to OPEN (HT-R-031)."""

    request: Positive
    handle: Positive
    incarnation: Bytes16
    head: Count
    turn: Count
    refused_takes: Count


class Stored(Frame, frozen=True, tag=35):
    """The entry is durable (HT-R-041)."""

    request: Positive
    seq: Positive
    turn: Count


class PushedEntry(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """One entry of an ENTRIES frame."""

    seq: Positive
    turn: Count
    entry_class: EntryClass
    commit: bool
    entry: EntryBytes


class Entries(Frame, frozen=True, tag=36):
    """Entries of a subscribed channel, oldest first (HT-R-050)."""

    handle: Positive
    entries: Annotated[list[PushedEntry], msgspec.Meta(min_length=1, max_length=MESSAGE_FRAMES)]


class SharedEntries(Frame, frozen=True, tag=36):
    """ENTRIES as the relay writes it: the list was encoded once, every subscriber gets the same bytes."""

    handle: int
    entries: msgspec.Raw


class CaughtUp(Frame, frozen=True, tag=37):
    """Everything up to seq was pushed; live from here (HT-R-051)."""

    handle: Positive
    seq: Count


class Taken(Frame, frozen=True, tag=38):
    """The entry reserved by TAKE, or none (HT-R-053)."""

    request: Positive
    seq: Positive | None
    entry: EntryBytes | None


class ReceiptSigned(Frame, frozen=True, tag=39):
    """The relay's statement (HT-R-060)."""

    request: Positive
    seq: Count
    control_hash: Bytes32
    signature: Bytes64


class Erased(Frame, frozen=True, tag=40):
    """The entry is gone (HT-R-054)."""

    request: Positive


class Pong(Frame, frozen=True, tag=41):
    """The answer to PING (HT-R-019)."""

    number: Count


class Refused(Frame, frozen=True, tag=42):
    """One request was refused, or, without a request, the connection ends (HT-R-017, HT-R-080)."""

    request: Positive | None
    code: CodeText
    turn: Count | None  # with stale-turn: the channel's turn
    detail: DetailText


class Challenge(Frame, frozen=True, tag=43):
    """The answer to HELLO of a relay that wants to see something first (HT-R-120)."""

    challenge: Bytes32
    pass_wanted: bool
    work: WorkBits  # zero bits the hash must begin with; each bit more doubles the work. 0: none
    signing_key: Bytes32


ClientFrame: TypeAlias = Hello | Open | Append | Subscribe | Ack | Take | Receipt | Erase | Close | Ping | Proof
RelayFrame: TypeAlias = (
    Limits | Opened | Stored | Entries | CaughtUp | Taken | ReceiptSigned | Erased | Pong | Refused | Challenge
)

_encoder = msgspec.msgpack.Encoder()
_FRAMES = msgspec.Meta(min_length=1, max_length=MESSAGE_FRAMES)
_client_frames: msgspec.msgpack.Decoder[list[ClientFrame]] = msgspec.msgpack.Decoder(
    Annotated[list[ClientFrame], _FRAMES]
)
_relay_frames: msgspec.msgpack.Decoder[list[RelayFrame]] = msgspec.msgpack.Decoder(Annotated[list[RelayFrame], _FRAMES])


def encode(frames: Sequence[Frame]) -> bytes:
    """One WebSocket message of these frames (HT-R-010). The caller keeps it within `MESSAGE_SIZE`."""
    return _encoder.encode(frames)


def encode_entries(entries: Sequence[PushedEntry]) -> bytes:
    """The list of an ENTRIES frame, encoded once for all its subscribers (`SharedEntries` takes it as a `Raw`)."""
    return _encoder.encode(entries)


def decode_client_frames(message: bytes) -> list[ClientFrame]:
    """What a relay received (HT-R-010, HT-R-012).

    :raises WireError: ``wire.too-large``, ``wire.malformed``
    """
    _check_size(message)
    try:
        return _client_frames.decode(message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # From None: a decoder's message may quote what the peer sent.
        raise WireError(f"wire.{RefusalCode.MALFORMED}", why=type(error).__name__) from None


def decode_relay_frames(message: bytes) -> list[RelayFrame]:
    """What a client received (HT-R-010, HT-R-012).

    :raises WireError: ``wire.too-large``, ``wire.malformed``
    """
    _check_size(message)
    try:
        return _relay_frames.decode(message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"wire.{RefusalCode.MALFORMED}", why=type(error).__name__) from None


def _check_size(message: bytes) -> None:
    if len(message) > MESSAGE_SIZE:
        raise WireError(f"wire.{RefusalCode.TOO_LARGE}", limit=MESSAGE_SIZE, got=len(message))
