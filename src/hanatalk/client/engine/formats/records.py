"""History as bytes: what one device gives another of messages it has decrypted (HT-C-172, HT-C-173). Pure.

A bundle is a sequence of records, each `length(4) ‖ MessagePack`: a Head, Batches, an End. Strict, and bounded in every
length; never ratchet state, only messages as rows.
"""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from hanatalk.client.engine.formats import content
from hanatalk.errors import ContentError

RECORD_LIMIT = 1 << 21  # bytes of one record
ROWS_LIMIT = 512  # in one batch
SENDERS_LIMIT = 512  # devices in one batch: one for each row at most
BODY_LIMIT = 65_536  # bytes of one message
ROWS_MOST = 1 << 32  # in a bundle

Sixteen = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Thirty2 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Number = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]


class Sender(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Whose message it is."""

    account: Thirty2
    device: Thirty2


class Kept(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One message. `sender` counts in the batch's senders; `timer` and `left` (until it goes, if that runs) in
    milliseconds; `body` None: it is gone."""

    message: Sixteen
    sender: Annotated[int, msgspec.Meta(ge=0, lt=SENDERS_LIMIT)]
    counter: Annotated[int, msgspec.Meta(ge=1, lt=2**48)]
    epoch: Number
    kind: Annotated[int, msgspec.Meta(ge=1, le=5)]  # `MessageKind`
    sent_at: Annotated[int, msgspec.Meta(ge=0, lt=content.SENT_LIMIT)]
    reply_to: Sixteen | None
    read: bool
    timer: Number | None
    left: Number | None
    recalled: bool
    fate: content.Fate
    thread: Sixteen | None
    body: Annotated[bytes, msgspec.Meta(max_length=BODY_LIMIT)] | None

    def __repr__(self) -> str:
        return f"Kept(counter={self.counter}, …)"


class Head(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=1):
    """First record. `rows`: how many are looked through, for progress."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    rows: Annotated[int, msgspec.Meta(ge=0, lt=ROWS_MOST)]


class Batch(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=2):
    """Messages of one conversation, in the order in which they came."""

    conversation: Sixteen
    senders: Annotated[list[Sender], msgspec.Meta(max_length=SENDERS_LIMIT)]
    rows: Annotated[list[Kept], msgspec.Meta(max_length=ROWS_LIMIT)]

    def __post_init__(self) -> None:
        if any(row.sender >= len(self.senders) for row in self.rows):
            raise ValueError("a message of nobody")


class End(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=3):
    """Last record."""


Record = Head | Batch | End
_record = msgspec.msgpack.Decoder(Record)


def make(record: Record) -> bytes:
    """One record with its length. :raises ContentError: ``history.damaged``: it is too long"""
    raw = msgspec.msgpack.encode(record)
    if len(raw) > RECORD_LIMIT:
        raise ContentError("history.damaged", why="length")
    return len(raw).to_bytes(4) + raw


def parse(raw: bytes) -> Record:
    """One record without its length. :raises ContentError: ``history.damaged``"""
    try:
        found: Record = _record.decode(raw)
    except content.MALFORMED:
        raise ContentError("history.damaged", why="record") from None
    return found


def read(pieces: Iterator[bytes]) -> Iterator[Record]:
    """All records of a bundle, as its pieces come: a Head, Batches, an End and nothing after it.

    :raises ContentError: ``history.damaged``
    """
    waiting = bytearray()
    begun = ended = False
    for piece in pieces:
        waiting += piece
        while len(waiting) >= 4:
            length = int.from_bytes(waiting[:4])
            if length > RECORD_LIMIT:
                raise ContentError("history.damaged", why="length")
            if len(waiting) < 4 + length:
                break
            record = parse(bytes(waiting[4 : 4 + length]))
            del waiting[: 4 + length]
            if ended or isinstance(record, Head) is begun:
                raise ContentError("history.damaged", why="order")
            begun, ended = True, isinstance(record, End)
            yield record
    if waiting or not ended:
        raise ContentError("history.damaged", why="end")
