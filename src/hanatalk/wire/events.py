"""What a client's connection reports, named by what happened. All frozen; bytes stay out of their repr."""

from typing import TypeAlias

import msgspec

from hanatalk.ids import ChannelId, EntryId, Incarnation, RelayKey, TakeId
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.frames import RelayLimits, RetentionDays


class HelloAnswered(msgspec.Struct, frozen=True):
    """The relay took the connection and said its terms (HT-R-022)."""

    limits: RelayLimits
    retention: RetentionDays
    policy: str
    relay_key: RelayKey


class ChannelOpened(msgspec.Struct, frozen=True):
    """OPEN was answered (HT-R-031). `head` is 0 and `incarnation` not yet kept if nobody ever appended."""

    channel_id: ChannelId
    incarnation: Incarnation
    head: int
    turn: int
    refused_takes: int


class EntryStored(msgspec.Struct, frozen=True):
    """An APPEND is durable (HT-R-041); `turn` is the channel's turn after it."""

    channel_id: ChannelId
    entry_id: EntryId
    seq: int
    turn: int


class EntryReceived(msgspec.Struct, frozen=True):
    """One pushed entry (HT-R-050); `turn` is the channel's turn when it was appended. The relay may lie."""

    channel_id: ChannelId
    seq: int
    turn: int
    entry_class: EntryClass
    commit: bool
    entry: bytes

    def __repr__(self) -> str:
        return f"EntryReceived(seq={self.seq}, {self.entry_class.name}, <{len(self.entry)} bytes>)"


class CaughtUp(msgspec.Struct, frozen=True):
    """The relay says that everything up to `seq` was pushed (HT-R-051)."""

    channel_id: ChannelId
    seq: int


class EntryTaken(msgspec.Struct, frozen=True):
    """TAKE was answered (HT-R-053); `seq` and `entry` are None if nothing was left."""

    channel_id: ChannelId
    take_id: TakeId
    seq: int | None
    entry: bytes | None

    def __repr__(self) -> str:
        return f"EntryTaken(seq={self.seq})"


class ReceiptSigned(msgspec.Struct, frozen=True):
    """The relay's signature over its control entries up to `seq` (HT-R-060). Not verified here."""

    channel_id: ChannelId
    seq: int
    control_hash: bytes
    signature: bytes


class EntryErased(msgspec.Struct, frozen=True):
    """ERASE was answered (HT-R-054)."""

    channel_id: ChannelId
    seq: int


class Refused(msgspec.Struct, frozen=True):
    """The relay refused (HT-R-080). Without a channel the whole connection ends (HT-R-017).

    `operation` says what: "open", "append", "take", "receipt", "erase" or "connection". An append that waited for an
    OPEN which was refused is reported with the same code.
    """

    channel_id: ChannelId | None
    entry_id: EntryId | None
    code: str
    turn: int | None
    detail: str
    operation: str = ""


class Pong(msgspec.Struct, frozen=True):
    """PING was answered (HT-R-019)."""

    n: int


Event: TypeAlias = (
    HelloAnswered
    | ChannelOpened
    | EntryStored
    | EntryReceived
    | CaughtUp
    | EntryTaken
    | ReceiptSigned
    | EntryErased
    | Refused
    | Pong
)
