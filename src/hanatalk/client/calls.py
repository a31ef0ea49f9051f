"""Calls of the client's public API: what a command, a window or a bot may ask of an open profile.

Each call is a frozen value, each has one result type. The same values travel over the profile's unix socket (and later
over the web app's WebSocket) as JSON, so it makes no difference which process owns the profile.

CONVERSATION arguments are an id, a unique id prefix or a unique name (:raises UsageError: ``name.unknown``,
``name.ambiguous``). Identifiers are lower-case hexadecimal; times are RFC 3339 in UTC.
"""

from typing import ClassVar

import msgspec

from hanatalk.client.file_calls import (
    Attach as Attach,
)
from hanatalk.client.file_calls import (
    Attached as Attached,
)
from hanatalk.client.file_calls import (
    Attachment as Attachment,
)
from hanatalk.client.file_calls import (
    Fetch as Fetch,
)
from hanatalk.client.file_calls import (
    Save as Save,
)
from hanatalk.client.file_calls import (
    Saved as Saved,
)
from hanatalk.client.file_calls import (
    SavedList as SavedList,
)
from hanatalk.client.file_calls import (
    Thumbnail as Thumbnail,
)
from hanatalk.client.file_calls import (
    ThumbnailMade as ThumbnailMade,
)
from hanatalk.client.file_calls import (
    Transfer as Transfer,
)
from hanatalk.client.group_calls import (
    GroupAdd as GroupAdd,
)
from hanatalk.client.group_calls import (
    GroupCall as GroupCall,
)
from hanatalk.client.group_calls import (
    GroupCreate as GroupCreate,
)
from hanatalk.client.group_calls import (
    GroupDone as GroupDone,
)
from hanatalk.client.group_calls import (
    GroupLeave as GroupLeave,
)
from hanatalk.client.group_calls import (
    GroupMembers as GroupMembers,
)
from hanatalk.client.group_calls import (
    GroupRemove as GroupRemove,
)
from hanatalk.client.group_calls import (
    GroupRename as GroupRename,
)
from hanatalk.client.group_calls import (
    GroupRights as GroupRights,
)
from hanatalk.client.group_calls import (
    GroupRole as GroupRole,
)
from hanatalk.client.group_calls import (
    MemberList as MemberList,
)
from hanatalk.client.group_calls import (
    MemberShown as MemberShown,
)
from hanatalk.client.group_calls import (
    Reader as Reader,
)
from hanatalk.client.group_calls import (
    ReaderList as ReaderList,
)
from hanatalk.client.group_calls import (
    Readers as Readers,
)
from hanatalk.client.message_calls import (
    Delete as Delete,
)
from hanatalk.client.message_calls import (
    Deleted as Deleted,
)
from hanatalk.client.message_calls import (
    Edit as Edit,
)
from hanatalk.client.message_calls import (
    Edited as Edited,
)
from hanatalk.client.message_calls import (
    Introduce as Introduce,
)
from hanatalk.client.message_calls import (
    Introduction as Introduction,
)
from hanatalk.client.message_calls import (
    IntroductionList as IntroductionList,
)
from hanatalk.client.message_calls import (
    IntroductionMade as IntroductionMade,
)
from hanatalk.client.message_calls import (
    Introductions as Introductions,
)
from hanatalk.client.message_calls import (
    Keep as Keep,
)
from hanatalk.client.message_calls import (
    Kept as Kept,
)
from hanatalk.client.message_calls import (
    Meet as Meet,
)
from hanatalk.client.message_calls import (
    Mention as Mention,
)
from hanatalk.client.message_calls import (
    Quoted as Quoted,
)
from hanatalk.client.message_calls import (
    React as React,
)
from hanatalk.client.message_calls import (
    Reacted as Reacted,
)
from hanatalk.client.message_calls import (
    Reactions as Reactions,
)
from hanatalk.client.message_calls import (
    Reactor as Reactor,
)
from hanatalk.client.message_calls import (
    ReactorList as ReactorList,
)
from hanatalk.client.message_calls import (
    Reactors as Reactors,
)
from hanatalk.client.message_calls import (
    Version as Version,
)
from hanatalk.client.message_calls import (
    VersionList as VersionList,
)
from hanatalk.client.message_calls import (
    Versions as Versions,
)
from hanatalk.client.message_calls import (
    View as View,
)
from hanatalk.client.message_calls import (
    Viewed as Viewed,
)
from hanatalk.client.relay_calls import (
    Invitation as Invitation,
)
from hanatalk.client.relay_calls import (
    Move as Move,
)
from hanatalk.client.relay_calls import (
    Moved as Moved,
)
from hanatalk.client.relay_calls import (
    PassKept as PassKept,
)
from hanatalk.client.relay_calls import (
    Rejoining as Rejoining,
)
from hanatalk.client.relay_calls import (
    RelayPass as RelayPass,
)


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The profile's own account."""

    account: str
    device: str
    name: str
    relay: str
    connected: bool
    queued: int  # frames in the outbox that no relay has stored yet


class InviteMade(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is ``stored`` once the relay holds the KeyPackage, ``queued`` while the link cannot be used yet."""

    invite: str
    expires_at: str
    state: str


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The conversation that accepting made (or had made already: accepting again is idempotent)."""

    conversation: str
    name: str


class Chat(msgspec.Struct, frozen=True, kw_only=True):
    """`unread` counts messages I have not read; `last` is the last message's text.

    `state`: ``joined``; ``joining`` (a group of which nobody was heard yet), ``leaving``, ``removed`` (no member any
    more); ``rejoining``: nothing is sent until this device was added again; ``lost``: a new invite is
    needed; ``blocked``: the same profile is open elsewhere. `same_name`: another conversation goes by a name that looks
    the same: somebody else, or a person who lost every device and has a new account and another safety number (T-034).
    """

    conversation: str
    name: str
    kind: str  # "direct" or "group"
    members: int  # people, myself included
    unread: int
    last: str | None
    verified: bool
    state: str = "joined"
    same_name: bool = False


class ChatList(msgspec.Struct, frozen=True, kw_only=True):
    chats: list[Chat]


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """`state`: ``queued``, ``stored``, ``delivered`` (decrypted by all), ``read``, or ``failed`` (HT-C-070)."""

    message: str
    state: str


class Synced(msgspec.Struct, frozen=True, kw_only=True):
    """Messages received, outbox frames stored, frames still waiting; conversations in which nothing can be sent yet."""

    received: int
    sent: int
    pending: int
    rejoining: list[Rejoining] = []
    invitations: list[Invitation] = []


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message. `unread` = people other than the sender, myself included, who have not read it.

    `state` of an own message as in `Sent`; of another's: ``received`` or ``read``. `timer`: seconds it stays once it
    was read (another's) or stored (own); `expires_at` says until when, once the timer runs. `recalled`: its sender took
    it back, there is no text any more. `edited_at`: when the wording that is shown was sent, null for the first one
    (`Versions` has them all). `mentioned`: I am named. `view_once`: `View` shows the text, once, `opened` says that it
    did (of an own one: that everybody in `opened_by` has seen it). `privacy`: it goes when everybody read it.
    `thread`: of a whisper, the group in whose thread it is shown too. `sticker`: shown in the text's place.
    """

    message: str
    conversation: str
    from_: str = msgspec.field(name="from")
    from_account: str
    text: str
    sent_at: str
    state: str
    unread: int
    attachments: list[Attachment] = []
    expires_at: str | None = None
    reply_to: str | None = None
    timer: int | None = None
    approximate: bool = False  # `unread` lags: a large group
    recalled: bool = False
    edited_at: str | None = None
    reply: Quoted | None = None
    reactions: list[Reactions] = []
    mentions: list[Mention] = []
    mentioned: bool = False
    view_once: bool = False
    opened: bool = False
    opened_by: list[str] = []
    privacy: bool = False
    thread: str | None = None
    sticker: str | None = None


class MessageList(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest first."""

    messages: list[Message]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a search found. `name`: its conversation's. `matches`: where the words stand in `text`, first
    character and the one after the last, counted in code points."""

    message: str
    conversation: str
    name: str
    from_: str = msgspec.field(name="from")
    from_account: str
    text: str
    sent_at: str
    matches: list[tuple[int, int]]
    files: list[str] = []  # names of its attachments, which are searched too


class FoundList(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first. `more`: there may be older ones, ask again with `before`."""

    found: list[Found]
    more: bool


class ReadDone(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages became read by this call."""

    read: int


class Recalled(msgspec.Struct, frozen=True, kw_only=True):
    """`state`: ``recalled`` once no relay holds it any more and the others are asked, ``queued`` until then."""

    message: str
    state: str


class Safety(msgspec.Struct, frozen=True, kw_only=True):
    """`safety_number`: 60 digits in groups of five."""

    safety_number: str
    verified: bool


class Linking(msgspec.Struct, frozen=True, kw_only=True):
    """A new device on its way into an account.

    `state`: ``none``; ``shown``: the code `link` waits to be typed in; ``offered``: compare the words and confirm;
    ``consented``: it waits for the other side; ``linked``; ``failed``, `failure` says why (an error code).
    `words`: their numbers in the list of `language`, ``ko`` or ``en``. `awaited`: conversations that a linked device
    waits to be added to. `history`: percent of what it was given that is here; None: it waits for none.
    """

    state: str
    link: str | None = None
    language: str = "en"
    awaited: int = 0
    history: int | None = None
    account: str | None = None
    name: str | None = None
    words: list[int] = []
    failure: str | None = None


class Approving(msgspec.Struct, frozen=True, kw_only=True):
    """A device that is to be added. `state`: ``none``, ``offered``, ``revealed`` (compare the words and confirm),
    ``confirmed``, ``adding`` (both said yes), ``failed``. `words` as in `Linking`."""

    state: str
    device: str | None = None
    language: str = "en"
    words: list[int] = []
    failure: str | None = None


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device of the own account. `conversations` of `of` have it as a member; `state`: ``current``, ``joining`` (not
    yet in all of them), ``leaving`` (removed, not yet in all of them)."""

    device: str
    this: bool
    state: str
    conversations: int
    of: int


class DeviceRemoved(msgspec.Struct, frozen=True, kw_only=True):
    """The whole id of the device that is being removed."""

    device: str


class DeviceList(msgspec.Struct, frozen=True, kw_only=True):
    devices: list[Device]


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing to tell."""


class Status(msgspec.Struct, frozen=True, kw_only=True, tag="status", tag_field="call"):
    Result: ClassVar = Account


class Invite(msgspec.Struct, frozen=True, kw_only=True, tag="invite", tag_field="call"):
    """`group`: whoever comes by the link is added to it too. :raises UsageError: ``group.not-allowed``"""

    Result: ClassVar = InviteMade
    expires: int = 3 * 86400  # seconds
    group: str | None = None


class Accept(msgspec.Struct, frozen=True, kw_only=True, tag="accept", tag_field="call"):
    Result: ClassVar = Accepted
    link: str
    wait: float = 10.0  # seconds for the relay to answer


class Chats(msgspec.Struct, frozen=True, kw_only=True, tag="chats", tag_field="call"):
    Result: ClassVar = ChatList


class Send(msgspec.Struct, frozen=True, kw_only=True, tag="send", tag_field="call"):
    """Durable in the outbox when it returns; waits at most `wait` seconds for the relay to store it."""

    Result: ClassVar = Sent
    conversation: str
    text: str
    reply_to: str | None = None
    expire: int | None = None  # seconds that it stays once it was read
    view_once: bool = False
    privacy: bool = False  # it goes when everybody read it, at the latest after 3 days
    whisper: str | None = None  # a member of the group `conversation` (id, unique prefix or name): nobody else gets it
    sticker: str | None = None
    attachments: list[str] = []  # of `Attached`; then the text may be empty
    wait: float = 5.0


class Sync(msgspec.Struct, frozen=True, kw_only=True, tag="sync", tag_field="call"):
    """Until every channel is caught up, the outbox empty and no receipt waiting; at the latest after `wait` seconds.

    :raises NetworkError: ``network.unreachable``
    """

    Result: ClassVar = Synced
    wait: float = 10.0


class Messages(msgspec.Struct, frozen=True, kw_only=True, tag="messages", tag_field="call"):
    """People's messages only; never marks read."""

    Result: ClassVar = MessageList
    conversation: str
    limit: int = 50


class Search(msgspec.Struct, frozen=True, kw_only=True, tag="search", tag_field="call"):
    """Messages of all conversations, or of one, that have every word of `text` (HT-C-185).

    :raises UsageError: ``search.empty``, ``search.too-long``, ``message.unknown``
    """

    Result: ClassVar = FoundList
    text: str
    conversation: str | None = None
    before: str | None = None  # only older ones than this message
    limit: int = 50


class Read(msgspec.Struct, frozen=True, kw_only=True, tag="read", tag_field="call"):
    """Waits at most `wait` seconds for the receipt to be stored."""

    Result: ClassVar = ReadDone
    conversation: str
    wait: float = 3.0


class Resend(msgspec.Struct, frozen=True, kw_only=True, tag="resend", tag_field="call"):
    """Send an own message that was not delivered (state ``failed``) once more; waits as `Send`.

    :raises UsageError: ``resend.not-own``, ``resend.not-failed``, ``resend.newcomers``
    """

    Result: ClassVar = Sent
    message: str
    wait: float = 5.0


class Recall(msgspec.Struct, frozen=True, kw_only=True, tag="recall", tag_field="call"):
    """Take an own message back; waits at most `wait` seconds for the relay. :raises UsageError: ``recall.not-own``"""

    Result: ClassVar = Recalled
    message: str
    wait: float = 5.0


class Verify(msgspec.Struct, frozen=True, kw_only=True, tag="verify", tag_field="call"):
    Result: ClassVar = Safety
    conversation: str
    confirm: bool = False


class Devices(msgspec.Struct, frozen=True, kw_only=True, tag="devices", tag_field="call"):
    Result: ClassVar = DeviceList


class Link(msgspec.Struct, frozen=True, kw_only=True, tag="link", tag_field="call"):
    """Make this new profile a device of somebody's account: show a code. Waits at most `wait` seconds for the relay.

    :raises UsageError: ``link.not-new``
    """

    Result: ClassVar = Linking
    language: str  # of the words: ko or en
    wait: float = 10.0


class LinkState(msgspec.Struct, frozen=True, kw_only=True, tag="link-state", tag_field="call"):
    """Waits at most `wait` seconds until the state is another one than `seen`."""

    Result: ClassVar = Linking
    seen: str | None = None
    wait: float = 0.0


class LinkConfirm(msgspec.Struct, frozen=True, kw_only=True, tag="link-confirm", tag_field="call"):
    """The person compared the words. :raises UsageError: ``link.none``"""

    Result: ClassVar = Linking
    yes: bool


class Approve(msgspec.Struct, frozen=True, kw_only=True, tag="approve", tag_field="call"):
    """Begin to add the device that shows `link`.

    :raises ContentError: ``link.malformed``, ``link.is-invite``, ``link.expired``
    :raises UsageError: ``link.own``, ``link.under-way``
    """

    Result: ClassVar = Approving
    link: str
    history: int | None = None  # seconds of history that the device is given; None: all


class ApproveState(msgspec.Struct, frozen=True, kw_only=True, tag="approve-state", tag_field="call"):
    """As `LinkState`, at the other device."""

    Result: ClassVar = Approving
    seen: str | None = None
    wait: float = 0.0


class ApproveConfirm(msgspec.Struct, frozen=True, kw_only=True, tag="approve-confirm", tag_field="call"):
    """As `LinkConfirm`, at the other device."""

    Result: ClassVar = Approving
    yes: bool


class RemoveDevice(msgspec.Struct, frozen=True, kw_only=True, tag="remove-device", tag_field="call"):
    """Remove an own device, by its id or a unique prefix; `Devices` shows how far it is.

    :raises UsageError: ``device.unknown``, ``name.ambiguous``, ``device.own``
    """

    Result: ClassVar = DeviceRemoved
    device: str
    paper: bytes | None = None  # the paper device's seed: it signs the removal

    def __repr__(self) -> str:
        return f"RemoveDevice(device={self.device!r})"


class Lock(msgspec.Struct, frozen=True, kw_only=True, tag="lock", tag_field="call"):
    """The owner closes the profile and ends: its keys are gone with the process."""

    Result: ClassVar = Done


class Listen(msgspec.Struct, frozen=True, kw_only=True, tag="listen", tag_field="call"):
    """From now on this caller gets events (`hanatalk.client.events`)."""

    Result: ClassVar = Done


class Telling(msgspec.Struct, frozen=True, kw_only=True, tag="telling", tag_field="call"):
    """Stop telling the others of a conversation what is read here, or tell it again."""

    Result: ClassVar = Done
    conversation: str
    telling: bool


DeviceCall = Devices | Link | LinkState | LinkConfirm | Approve | ApproveState | ApproveConfirm | RemoveDevice

Call = (
    Status
    | Invite
    | Accept
    | Chats
    | Attach
    | Send
    | Sync
    | Messages
    | Search
    | Read
    | Recall
    | Resend
    | Move
    | Keep
    | Introduce
    | Introductions
    | Meet
    | React
    | Reactors
    | Edit
    | Versions
    | Delete
    | View
    | Fetch
    | Save
    | Thumbnail
    | Verify
    | RelayPass
    | Lock
    | Listen
    | GroupCall
    | GroupMembers
    | DeviceCall
    | Readers
    | Telling
)
Result = (
    Account
    | InviteMade
    | Accepted
    | ChatList
    | Sent
    | Synced
    | MessageList
    | FoundList
    | ReadDone
    | Recalled
    | Moved
    | Kept
    | Introduction
    | IntroductionList
    | IntroductionMade
    | Reacted
    | ReactorList
    | VersionList
    | Edited
    | Deleted
    | Viewed
    | Attached
    | Transfer
    | SavedList
    | ThumbnailMade
    | Safety
    | PassKept
    | Done
    | GroupDone
    | MemberList
    | Linking
    | Approving
    | DeviceList
    | DeviceRemoved
    | ReaderList
)
