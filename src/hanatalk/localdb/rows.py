"""Rows of the local database: one frozen value per table, fields in column order.

The files in schema/ say what each column means.
"""

import enum
from typing import ClassVar

import msgspec

from hanatalk.ids import (
    AccountId,
    ChannelId,
    ConversationId,
    DeviceKey,
    EntryId,
    Incarnation,
    MessageId,
    ReaderId,
    ReadToken,
    TakeId,
    WriteToken,
)


class ConversationState(enum.IntEnum):
    """`BROKEN`: this device can no longer follow and must be added again. `ARRIVING`: it is a member again, but numbers
    nothing before another member told it its own last number (HT-M-061)."""

    JOINED = 1
    BROKEN = 2
    ARRIVING = 3
    LEAVING = 4  # this account asked to be removed; nothing is sent any more
    REMOVED = 5  # no member any more: what is here stays readable


class Purpose(enum.IntEnum):
    """What a channel is read for."""

    ERA = 1
    WELCOME = 2
    INVITE = 3
    RESYNC = 4
    START = 5
    FALLBACK = 6
    ANNEX = 7  # the body of a Welcome
    LINK = 20


class Closed(enum.IntEnum):
    """Whether a channel is still read. `LEFT`: its era is over, but somebody may not have followed yet."""

    OPEN = 0
    CLOSED = 1
    LEFT = 2


class MessageKind(enum.IntEnum):
    """`OTHER`: numbered, but nothing a person wrote."""

    PERSON = 1
    OTHER = 2
    UNKNOWN = 3  # of a kind this version does not know
    EXPIRED = 4  # a person's whose time is over: its row stays so that it is not shown again
    DELETED = 5  # a person's that was deleted here, and only here


class ActionKind(enum.IntEnum):
    """What a numbered message does about another one."""

    EDIT = 1
    REACTION = 2
    OPENED = 3


class OutboxKind(enum.IntEnum):
    """What an outbox row carries; decides what happens when the relay says that its turn is stale.

    Up to `COMMIT`: what continues a conversation.
    """

    MESSAGE = 1
    RECEIPT = 2
    REQUEST = 3
    COMMIT = 4
    WELCOME = 5
    INVITE = 6
    STATEMENT = 7
    START = 8
    PIECE = 0  # of a commit that is larger than one entry; goes before it
    ANNEX = 9  # a piece of a Welcome's body
    LINK = 20


class ChangeKind(enum.IntEnum):
    """What somebody wants changed in a group."""

    ADD = 1
    REMOVE = 2
    LEFT = 3  # the account asked for its removal
    PROMOTE = 4
    DEMOTE = 5
    RENAME = 6
    RIGHTS = 7
    KEEPING = 8  # how long texts stay


class IntroductionState(enum.IntEnum):
    """`GIVEN`: the other one's KeyPackage was handed on; `ELSEWHERE`: answered on another device of this account."""

    OFFERED = 1
    CONSENTED = 2
    DECLINED = 3
    GIVEN = 4
    DONE = 5
    ELSEWHERE = 6


class IntentKind(enum.IntEnum):
    """What this device wants to commit."""

    UPDATE = 1
    NEW_ERA = 2
    READMIT = 3
    MOVE = 4
    CHANGE = 5  # of a group: the `change` rows
    DEVICES = 10


class Transfer(enum.IntEnum):
    """Where an attachment stands. Own ones: `UPLOADING`, `PLACED` (the relay has all of it), `ERASING` (its message is
    gone, the relay is asked to forget it). Another's: `REMOTE` (nobody asked for it yet), `FETCHING`, `MISSING` (the
    relay has it no more, its sender is asked), `HERE`, `REFUSED` (`failure` says why)."""

    UPLOADING = 1
    PLACED = 2
    ERASING = 3
    REMOTE = 4
    FETCHING = 5
    MISSING = 6
    HERE = 7
    REFUSED = 8


class Row(msgspec.Struct, frozen=True):
    """Marks a value that stands for a table row."""

    table: ClassVar[str]


class Account(Row, frozen=True):
    table: ClassVar = "account"
    account: AccountId
    name: str
    chain: bytes
    verified: int = 0


class Conversation(Row, frozen=True):
    table: ClassVar = "conversation"
    conversation: ConversationId
    kind: int
    state: int
    policy: bytes
    epoch: int
    own_leaf: int
    counter: int
    channel: ChannelId
    created_at: int
    updated_at: int
    receipt_due: int | None = None
    receipt_sent: int = 0
    base: int = 0
    silent: int = 0


class Member(Row, frozen=True):
    table: ClassVar = "member"
    conversation: ConversationId
    leaf: int
    account: AccountId
    device: DeviceKey
    height: int
    signature_key: bytes
    since_epoch: int
    path_commits: int = 0
    heard_epoch: int = 0


class Channel(Row, frozen=True):
    table: ClassVar = "channel"
    channel: ChannelId
    purpose: int
    owner: bytes
    relay: str
    read_token: ReadToken
    write_token: WriteToken
    seal_key: bytes
    reader: ReaderId
    incarnation: Incarnation | None
    cursor: int
    turn: int
    control_hash: bytes
    since_epoch: int
    started_at: int
    closed: int = 0

    def __repr__(self) -> str:
        return f"Channel(purpose={self.purpose}, cursor={self.cursor}, turn={self.turn}, …)"


class Control(Row, frozen=True):
    table: ClassVar = "control"
    channel: ChannelId
    seq: int
    is_commit: int
    control_hash: bytes
    entry: bytes
    merged: int = 0


class Restoring(Row, frozen=True):
    table: ClassVar = "restoring"
    channel: ChannelId
    position: int
    is_commit: int
    entry: bytes


class Kept(Row, frozen=True):
    table: ClassVar = "kept"
    channel: ChannelId
    owner: bytes
    frame: bytes


class Message(Row, frozen=True):
    table: ClassVar = "message"
    number: int | None
    message: MessageId
    conversation: ConversationId
    account: AccountId
    device: DeviceKey
    counter: int
    epoch: int
    kind: int
    sent_at: int
    reply_to: MessageId | None
    read: int = 0
    stored_at: int | None = None
    timer: int | None = None
    expires_at: int | None = None
    recalled: int = 0
    fate: int = 0
    thread: ConversationId | None = None
    leaving: int = 0
    failed: int = 0
    resent_at: int | None = None

    def numbered(self, number: int) -> "Message":
        """The row as it was inserted."""
        return msgspec.structs.replace(self, number=number)

    def __repr__(self) -> str:
        return f"Message(number={self.number}, counter={self.counter}, …)"


class Content(Row, frozen=True):
    table: ClassVar = "content"
    number: int
    body: bytes | None

    def __repr__(self) -> str:
        return f"Content(number={self.number}, …)"


class Action(Row, frozen=True):
    table: ClassVar = "action"
    number: int
    target: MessageId
    conversation: ConversationId
    account: AccountId
    device: DeviceKey
    kind: int
    step: int
    waits: int = 0


class Introduction(Row, frozen=True):
    table: ClassVar = "introduction"
    number: int | None
    introduction: bytes
    conversation: ConversationId
    account: AccountId
    made: int
    state: int
    name: str
    chain: bytes
    ref: bytes | None = None
    key_package: bytes | None = None

    def __repr__(self) -> str:
        return f"Introduction(number={self.number}, state={self.state}, …)"


class Recall(Row, frozen=True):
    table: ClassVar = "recall"
    number: int | None
    message: MessageId
    conversation: ConversationId
    account: AccountId


class Placed(Row, frozen=True):
    table: ClassVar = "placed"
    number: int | None
    message: MessageId
    relay: str
    channel: ChannelId
    seq: int | None
    digest: bytes
    erase_token: bytes
    at: int
    wanted: int = 0
    shown: int = 0

    def __repr__(self) -> str:
        return f"Placed(number={self.number}, seq={self.seq}, …)"


class Stream(Row, frozen=True):
    table: ClassVar = "stream"
    conversation: ConversationId
    device: DeviceKey
    decrypted: int = 0
    highest: int = 0
    told_decrypted: int = 0
    told_read: int = 0
    base: int = 0
    base_read: int = 0


class Gap(Row, frozen=True):
    table: ClassVar = "gap"
    conversation: ConversationId
    device: DeviceKey
    first: int
    last: int
    asked_at: int | None = None
    asked: int = 0


class Receipt(Row, frozen=True):
    table: ClassVar = "receipt"
    conversation: ConversationId
    about: DeviceKey
    device: DeviceKey
    decrypted: int
    read: int


class Outgoing(Row, frozen=True):
    table: ClassVar = "outbox"
    number: int | None
    entry_id: EntryId
    relay: str
    channel: ChannelId
    read_half: bytes
    read_is_token: int
    write_token: WriteToken
    entry_class: int
    is_commit: int
    turn: int | None
    burn_after: int | None
    entry: bytes
    kind: int
    owner: bytes
    message: MessageId | None = None
    epoch: int = 0
    refused_turn: int | None = None
    refusals: int = 0
    stored_seq: int | None = None
    erase_token: bytes | None = None

    def __repr__(self) -> str:
        return f"Outgoing(number={self.number}, kind={self.kind}, turn={self.turn}, …)"


class Intent(Row, frozen=True):
    table: ClassVar = "intent"
    conversation: ConversationId
    kind: int
    not_before: int
    digest: bytes | None = None


class Change(Row, frozen=True):
    table: ClassVar = "change"
    number: int | None
    conversation: ConversationId
    kind: int
    account: AccountId | None
    value: bytes | None = None
    digest: bytes | None = None


class Adding(Row, frozen=True):
    table: ClassVar = "adding"
    conversation: ConversationId
    ref: bytes
    account: AccountId
    key_package: bytes


class PendingWelcome(Row, frozen=True):
    table: ClassVar = "pending_welcome"
    conversation: ConversationId
    welcome: bytes

    def __repr__(self) -> str:
        return "PendingWelcome(…)"


class Piece(Row, frozen=True):
    table: ClassVar = "piece"
    channel: ChannelId
    digest: bytes
    seq: int


class Annex(Row, frozen=True):
    table: ClassVar = "annex"
    channel: ChannelId
    ref: bytes
    whole: bytes


class Annexed(Row, frozen=True):
    table: ClassVar = "annexed"
    channel: ChannelId
    digest: bytes
    piece: bytes

    def __repr__(self) -> str:
        return "Annexed(…)"


class Joining(Row, frozen=True):
    table: ClassVar = "joining"
    conversation: ConversationId
    ref: bytes


class KeyPackage(Row, frozen=True):
    table: ClassVar = "key_package"
    ref: bytes
    key_package: bytes
    expires_at: int
    used: int = 0
    stale: int = 0
    given: ConversationId | None = None
    suite: int = 0x004E


class Invite(Row, frozen=True):
    table: ClassVar = "invite"
    invite: ChannelId
    link: str
    key_package: bytes
    expires_at: int
    conversation: ConversationId | None = None
    refused: int = 0
    leads_to: ConversationId | None = None

    def __repr__(self) -> str:
        return f"Invite(expires_at={self.expires_at}, refused={self.refused}, …)"


class Acceptance(Row, frozen=True):
    table: ClassVar = "acceptance"
    channel: ChannelId
    link: str
    take_id: TakeId
    conversation: ConversationId | None = None
    failure: str | None = None

    def __repr__(self) -> str:
        return f"Acceptance(failure={self.failure}, …)"


class ContactKeyPackage(Row, frozen=True):
    table: ClassVar = "contact_key_package"
    account: AccountId
    ref: bytes
    key_package: bytes
    expires_at: int
    device: DeviceKey
    suite: int


class Resync(Row, frozen=True):
    table: ClassVar = "resync"
    conversation: ConversationId
    exported: bytes
    number: int = 0
    last: bytes | None = None
    stated: int = 0
    stated_at: int = 0
    doubted_at: int | None = None
    unreadable: int = 0
    key_package: bytes | None = None
    request: int = 0
    asked: int = 0
    asked_at: int = 0
    ask_at: int | None = None
    back: bytes | None = None

    def __repr__(self) -> str:
        return f"Resync(number={self.number}, request={self.request}, …)"


class Statement(Row, frozen=True):
    table: ClassVar = "statement"
    conversation: ConversationId
    device: DeviceKey
    number: int
    body: bytes
    came_at: int
    due_at: int | None = None
    answered: int = 0
    answered_at: int = 0


class Readmission(Row, frozen=True):
    table: ClassVar = "readmission"
    conversation: ConversationId
    device: DeviceKey
    key_package: bytes
    welcome: bytes | None = None

    def __repr__(self) -> str:
        return "Readmission(…)"


class Addition(Row, frozen=True):
    table: ClassVar = "addition"
    conversation: ConversationId
    device: DeviceKey
    key_package: bytes
    welcome: bytes | None = None

    def __repr__(self) -> str:
        return "Addition(…)"


class Notice(Row, frozen=True):
    table: ClassVar = "notice"
    number: int | None
    conversation: ConversationId | None
    at: int
    event: bytes


class Attachment(Row, frozen=True):
    table: ClassVar = "attachment"
    number: int | None
    message: MessageId
    position: int
    bundle: int
    state: int
    relay: str
    channel: ChannelId
    read_token: ReadToken
    write_half: bytes
    chunks: int
    size: int
    file: str | None = None
    erase_token: bytes | None = None
    burn_after: int | None = None
    reader: ReaderId | None = None
    incarnation: Incarnation | None = None
    cursor: int = 0
    asked: int = 0
    asked_at: int | None = None
    placed_at: int | None = None
    failure: str | None = None

    def __repr__(self) -> str:
        return f"Attachment(number={self.number}, state={self.state}, size={self.size}, …)"


class Chunk(Row, frozen=True):
    table: ClassVar = "chunk"
    attachment: int
    position: int
    digest: bytes | None = None
