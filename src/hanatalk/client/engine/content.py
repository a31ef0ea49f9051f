"""What stands inside an MLS application message (spec/03-messages.md). Strict MessagePack arrays. Pure."""

from typing import Annotated

import msgspec

from hanatalk.errors import ContentError
from hanatalk.ids import MessageId

TEXT_LIMIT = 16_000  # bytes of UTF-8 in one text message (HT-C-004)
NAME_LIMIT = 64  # characters of a display name (HT-C-005)
TIMER_LIMIT = 366 * 86_400  # seconds (HT-C-040)
SENT_LIMIT = 253_370_764_800_000  # milliseconds since 1970, the year 9999: later times have no date (HT-C-001)
RANGES_LIMIT = 64  # ranges in one request to send again
OPEN_END = 0  # `last` of a range that has no end: everything after `first`

# Every way in which msgspec refuses bytes. Texts are decoded as they are met: bad UTF-8 in one is no `DecodeError`.
MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Counter = Annotated[int, msgspec.Meta(ge=0, lt=2**48)]
Leaf = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
Identifier = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


class ReceiptLine(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """About one leaf: decrypted and read everything up to these counters (HT-C-020)."""

    leaf: Leaf
    decrypted: Counter
    read: Counter


class Text(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=1):
    """A person's message, Unicode as typed. `timer`: seconds it stays once it was read (HT-C-040)."""

    text: str
    reply_to: Identifier | None = None
    timer: Annotated[int, msgspec.Meta(ge=1, le=TIMER_LIMIT)] | None = None


class Hello(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=2):
    """First message of a device in a conversation: its person's name, its account's sigchain, KeyPackages."""

    name: str
    chain: list[bytes]
    key_packages: list[bytes] = []


class Receipt(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=3):
    """Nothing but the receipt lines of the envelope. Not numbered."""


class Range(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Counters `first` to `last` of one leaf's messages; `last` 0 means "and everything after"."""

    leaf: Leaf
    first: Counter
    last: Counter


class SendAgain(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=4):
    """Asks the devices named to send these messages again. Not numbered."""

    ranges: Annotated[list[Range], msgspec.Meta(max_length=RANGES_LIMIT)]


class Tombstone(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=5):
    """Stands at a counter whose message no longer exists."""


class Recall(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=6):
    """The sender takes back one of its own messages (HT-C-045)."""

    message: Identifier


Body = Text | Hello | Receipt | SendAgain | Tombstone | Recall


class Envelope(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Around every body. `counter` numbers a device's messages in this conversation from 1; 0: not numbered."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    message: Identifier
    counter: Counter
    sent_at: Annotated[int, msgspec.Meta(ge=0, lt=SENT_LIMIT)]  # milliseconds since 1970, the sender's clock
    receipts: Annotated[list[ReceiptLine], msgspec.Meta(max_length=8192)]
    body: msgspec.Raw


class CommitContext(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The AAD of a commit (HT-M-034)."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    new_era: bool
    receipt: bytes | None = None  # the relay's last signed receipt, spec/01-relay.md


class Unknown(msgspec.Struct, frozen=True):
    """A body of a kind this version does not know: kept and shown as such, never dropped."""

    body: bytes


_envelope = msgspec.msgpack.Decoder(Envelope)
_body = msgspec.msgpack.Decoder(Body)
_commit_context = msgspec.msgpack.Decoder(CommitContext)
_kind = msgspec.msgpack.Decoder(list[msgspec.Raw])
_KNOWN = {1, 2, 3, 4, 5, 6}
encode = msgspec.msgpack.Encoder().encode


def make(
    body: Body, *, message: MessageId, counter: int, sent_at: int, receipts: list[ReceiptLine] | None = None
) -> bytes:
    """Serialise an envelope. :raises ContentError: ``text.too-long``"""
    if isinstance(body, Text) and len(body.text.encode()) > TEXT_LIMIT:
        raise ContentError("text.too-long", limit=TEXT_LIMIT)
    return encode(
        Envelope(
            version=1,
            message=message,
            counter=counter,
            sent_at=sent_at,
            receipts=receipts or [],
            body=msgspec.Raw(encode(body)),
        )
    )


def parse(plaintext: bytes) -> tuple[Envelope, Body | Unknown]:
    """Parse an application message.

    :raises ContentError: ``content.malformed``
    """
    try:
        envelope = _envelope.decode(plaintext)
    except MALFORMED as error:
        raise ContentError("content.malformed") from error
    return envelope, parse_body(bytes(envelope.body))


def parse_body(raw: bytes) -> Body | Unknown:
    """:raises ContentError: ``content.malformed``"""
    try:
        parts = _kind.decode(raw)
        kind = msgspec.msgpack.decode(parts[0], type=int) if parts else 0
        if kind not in _KNOWN:
            return Unknown(raw)
        body: Body = _body.decode(raw)
    except MALFORMED as error:
        raise ContentError("content.malformed") from error
    if isinstance(body, Text) and len(body.text.encode("utf-8", "surrogatepass")) > TEXT_LIMIT:
        raise ContentError("content.malformed", why="length")
    if isinstance(body, Hello) and not 0 < len(body.name) <= NAME_LIMIT:
        raise ContentError("content.malformed", why="name")
    return body


def known_body(raw: bytes) -> Body:
    """A body this version made itself. :raises ContentError: ``content.malformed``"""
    body = parse_body(raw)
    if isinstance(body, Unknown):
        raise ContentError("content.malformed")
    return body


def parse_commit_context(aad: bytes) -> CommitContext:
    """:raises ContentError: ``content.malformed``"""
    try:
        return _commit_context.decode(aad)
    except MALFORMED as error:
        raise ContentError("content.malformed") from error
