"""What stands inside an MLS application message (spec/03-messages.md). Strict MessagePack arrays. Pure."""

import enum
from typing import Annotated

import msgspec

from hanatalk.client.engine.formats import references
from hanatalk.errors import ContentError
from hanatalk.ids import MessageId

TEXT_LIMIT = 16_000  # bytes of UTF-8 in one text message (HT-C-004)
NAME_LIMIT = 64  # characters of a display name (HT-C-005)
TIMER_LIMIT = 366 * 86_400  # seconds (HT-C-040)
SENT_LIMIT = 253_370_764_800_000  # milliseconds since 1970, the year 9999: later times have no date (HT-C-001)
RANGES_LIMIT = 64  # ranges in one request to send again
MENTIONS_LIMIT = 64  # people named in one text (HT-C-100)
EMOJI_LIMIT = 64  # bytes of UTF-8 in one reaction (HT-C-105)
EDITS_LIMIT = 100  # steps of one message's edits (HT-C-107)
STICKER = r"^[A-Za-z0-9._:-]{1,64}\Z"  # an id, no text (HT-C-101)
KEY_PACKAGES_LIMIT = 16  # in one message (HT-C-080)
PEOPLE_LIMIT = 5_000  # that one commit may add
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


class Fate(enum.IntEnum):
    """What becomes of a text (HT-C-103): `ONCE`: it is seen once; `CONFIRMED`: it goes when all have read it."""

    STAYS = 0
    ONCE = 1
    CONFIRMED = 2


class Mention(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A person named in a text, in the characters (code points) `start` to `start + length` (HT-C-100)."""

    account: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    start: Annotated[int, msgspec.Meta(ge=0, lt=TEXT_LIMIT)]
    length: Annotated[int, msgspec.Meta(ge=1, le=NAME_LIMIT + 1)]


Mentions = Annotated[list[Mention], msgspec.Meta(max_length=MENTIONS_LIMIT)]


class Text(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=1):
    """A person's message, Unicode as typed. `timer`: seconds it stays once it was read (HT-C-040).

    `thread`: the group in whose thread this whisper is shown (HT-C-117); `sticker`: shown in the text's place.
    """

    text: str
    reply_to: Identifier | None = None
    timer: Annotated[int, msgspec.Meta(ge=1, le=TIMER_LIMIT)] | None = None
    mentions: Mentions = []
    fate: Fate = Fate.STAYS
    thread: Identifier | None = None
    sticker: Annotated[str, msgspec.Meta(pattern=STICKER)] | None = None
    attachments: Annotated[list[references.Reference], msgspec.Meta(max_length=references.PER_MESSAGE)] = []


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


class Reaction(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=16):
    """What the sender's person thinks of a message; None: nothing any more. The highest `step` counts (HT-C-105)."""

    message: Identifier
    emoji: Annotated[str, msgspec.Meta(min_length=1, max_length=EMOJI_LIMIT)] | None
    step: Annotated[int, msgspec.Meta(ge=1, lt=2**32)]


class Edit(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=17):
    """Another wording of one of the sender's own texts. The highest `step` counts (HT-C-107)."""

    message: Identifier
    text: Annotated[str, msgspec.Meta(min_length=1)]
    mentions: Mentions
    step: Annotated[int, msgspec.Meta(ge=1, le=EDITS_LIMIT)]


class Opened(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=18):
    """The sender's person has seen a message that can be seen once (HT-C-113)."""

    message: Identifier


Action = Reaction | Edit | Opened  # about another message


class Introduction(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=19):
    """Two contacts of the sender may come to know each other: this is the other one (HT-C-125). With a KeyPackage: the
    other one wants to."""

    introduction: Identifier
    account: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_LIMIT)]
    chain: Annotated[list[bytes], msgspec.Meta(min_length=1, max_length=256)]
    key_package: Annotated[bytes, msgspec.Meta(max_length=16_384)] | None


class Consent(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=20):
    """The answer to an introduction: a KeyPackage for the other one, or None: no (HT-C-126)."""

    introduction: Identifier
    key_package: Annotated[bytes, msgspec.Meta(max_length=16_384)] | None


class Sync(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=32):
    """What the devices of one account tell each other; only in the account's group (HT-C-170)."""

    said: bytes  # `syncing.Said`


class KeyPackages(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=40):
    """Fresh KeyPackages of the sender's device, in place of used ones (HT-C-080)."""

    key_packages: Annotated[list[bytes], msgspec.Meta(max_length=KEY_PACKAGES_LIMIT)]


class Leave(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=41):
    """The sender's account wants to be removed from this group (HT-M-084)."""


class Telling(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=43):
    """Whether the sender's person tells in this conversation what it has read (HT-C-085)."""

    telling: bool


class Begins(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=42):
    """For the device at `leaf` the sender's messages begin at number `first`: those before were sent to a roster
    without it (HT-C-082). Not numbered."""

    leaf: Leaf
    first: Counter


class LeaveAgain(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=48):
    """Asks the sender of a message to bring one of its attachments to a relay again (HT-C-150). Not numbered."""

    message: Identifier
    position: Annotated[int, msgspec.Meta(ge=0, lt=references.PER_MESSAGE)]


class LeftAgain(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=49):
    """Where an attachment of an own message lies from now on (HT-C-151). Not numbered."""

    message: Identifier
    position: Annotated[int, msgspec.Meta(ge=0, lt=references.PER_MESSAGE)]
    place: references.Place


Unnumbered = Receipt | SendAgain | Begins | LeaveAgain | LeftAgain
Meeting = Introduction | Consent
UsedUp = (
    Hello | KeyPackages | Meeting | Sync
)  # acted upon once, never read again; names and keys stand in it (HT-C-210)
Body = Text | Hello | Tombstone | Recall | KeyPackages | Leave | Telling | Action | Meeting | Sync | Unnumbered


class Envelope(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Around every body. `counter` numbers a device's messages in this conversation from 1; 0: not numbered."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    message: Identifier
    counter: Counter
    sent_at: Annotated[int, msgspec.Meta(ge=0, lt=SENT_LIMIT)]  # milliseconds since 1970, the sender's clock
    receipts: Annotated[list[ReceiptLine], msgspec.Meta(max_length=8192)]
    body: msgspec.Raw


class Person(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """An account as one member tells others of it: its chain, and the name it goes by."""

    chain: list[bytes]
    name: Annotated[str, msgspec.Meta(max_length=NAME_LIMIT)]


class CommitContext(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The AAD of a commit (HT-M-034)."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    new_era: bool
    receipt: bytes | None = None  # the relay's last signed receipt, spec/01-relay.md
    people: Annotated[list[Person], msgspec.Meta(max_length=PEOPLE_LIMIT)] = []  # chains of those added (HT-M-083)


class Unknown(msgspec.Struct, frozen=True):
    """A body of a kind this version does not know: kept and shown as such, never dropped."""

    body: bytes


_envelope = msgspec.msgpack.Decoder(Envelope)
_body = msgspec.msgpack.Decoder(Body)
_commit_context = msgspec.msgpack.Decoder(CommitContext)
_kind = msgspec.msgpack.Decoder(list[msgspec.Raw])
_KNOWN = {1, 2, 3, 4, 5, 6, 16, 17, 18, 19, 20, 32, 40, 41, 42, 43, 48, 49}
encode = msgspec.msgpack.Encoder().encode


def make(
    body: Body, *, message: MessageId, counter: int, sent_at: int, receipts: list[ReceiptLine] | None = None
) -> bytes:
    """Serialise an envelope. :raises ContentError: ``text.too-long``"""
    check_length(body)
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


def check_length(body: Body) -> None:
    """What a person typed. :raises ContentError: ``text.too-long``"""
    if isinstance(body, Text | Edit) and len(body.text.encode()) > TEXT_LIMIT:
        raise ContentError("text.too-long", limit=TEXT_LIMIT)


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
    if isinstance(body, Text | Edit):
        if len(body.text.encode("utf-8", "surrogatepass")) > TEXT_LIMIT:
            raise ContentError("content.malformed", why="length")
        _check_mentions(body)
    if isinstance(body, Hello) and not 0 < len(body.name) <= NAME_LIMIT:
        raise ContentError("content.malformed", why="name")
    return body


def _check_mentions(body: Text | Edit) -> None:
    """In order, apart from each other, inside of the text (HT-C-100). :raises ContentError: ``content.malformed``"""
    end = 0
    for mention in body.mentions:
        if mention.start < end or mention.start + mention.length > len(body.text):
            raise ContentError("content.malformed", why="mention")
        end = mention.start + mention.length


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
