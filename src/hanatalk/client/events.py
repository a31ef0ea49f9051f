"""Events of an open profile, named by what happened (the change feed as others see it)."""

import msgspec

from hanatalk.client.calls import Message


class MessageReceived(msgspec.Struct, frozen=True, kw_only=True, tag="message", tag_field="event"):
    """Somebody's message was decrypted and stored (or an own one was written here)."""

    message: Message


class StateChanged(msgspec.Struct, frozen=True, kw_only=True, tag="state", tag_field="event"):
    """An own message moved on: ``stored``, ``delivered``, ``read``, ``failed``."""

    conversation: str
    message: str
    state: str


class ReceiptReceived(msgspec.Struct, frozen=True, kw_only=True, tag="receipt", tag_field="event"):
    """The unread count of a message changed; 0 means that the 1 goes out."""

    conversation: str
    message: str
    unread: int


class MessageGone(msgspec.Struct, frozen=True, kw_only=True, tag="gone", tag_field="event"):
    """A message's text is gone: ``expired`` (its timer), ``recalled`` (its sender took it back), ``deleted`` (here and
    only here) or ``opened`` (it could be seen once)."""

    conversation: str
    message: str
    reason: str


class Reacted(msgspec.Struct, frozen=True, kw_only=True, tag="reaction", tag_field="event"):
    """Somebody put an emoji to a message, in the place of their one before, or (null) took it away."""

    conversation: str
    message: str
    from_: str = msgspec.field(name="from")
    from_account: str
    emoji: str | None


class Edited(msgspec.Struct, frozen=True, kw_only=True, tag="edited", tag_field="event"):
    """A message reads differently now."""

    conversation: str
    message: str
    from_: str = msgspec.field(name="from")
    from_account: str
    text: str


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag="opened", tag_field="event"):
    """Somebody has seen what could be seen once."""

    conversation: str
    message: str
    from_: str = msgspec.field(name="from")
    from_account: str


class AttachmentProgress(msgspec.Struct, frozen=True, kw_only=True, tag="attachment", tag_field="event"):
    """An attachment (`position` in its message) moves: `direction` ``up`` or ``down``, `done` of `size` bytes; `state`
    as in `calls.Attachment`. `conversation` None: a bundle, `message` is its id."""

    conversation: str | None
    message: str
    position: int
    direction: str
    done: int
    size: int
    state: str


class Introduced(msgspec.Struct, frozen=True, kw_only=True, tag="introduction", tag_field="event"):
    """Somebody (`by`) wants me to know `name`; `calls.Meet` answers."""

    conversation: str
    introduction: str
    name: str
    account: str
    by: str


class IntroductionAnswered(msgspec.Struct, frozen=True, kw_only=True, tag="introduction-answered", tag_field="event"):
    """Whether `by` wants to know `name`, to whom I introduced them."""

    conversation: str
    introduction: str
    by: str
    name: str
    yes: bool


class KeepingChanged(msgspec.Struct, frozen=True, kw_only=True, tag="timer", tag_field="event"):
    """From now on texts of a conversation stay for `timer` seconds (null: for good); `privacy`: till all read them."""

    conversation: str
    timer: int | None
    privacy: bool
    by: str


class GapFound(msgspec.Struct, frozen=True, kw_only=True, tag="gap", tag_field="event"):
    """Messages of one sender are missing (`first` to `last` of their counters); they were asked for again."""

    conversation: str
    from_: str = msgspec.field(name="from")
    first: int
    last: int


class GapClosed(msgspec.Struct, frozen=True, kw_only=True, tag="gap-closed", tag_field="event"):
    """What was missing has arrived."""

    conversation: str
    from_: str = msgspec.field(name="from")
    first: int
    last: int


class EntryDamaged(msgspec.Struct, frozen=True, kw_only=True, tag="damaged", tag_field="event"):
    """The relay delivered an entry that does not decrypt: refused. `why`: ``last-admin``, ``no-key-package``,
    ``no-member``, ``not-allowed``, ``too-large``."""

    conversation: str
    seq: int
    code: str


class Alarm(msgspec.Struct, frozen=True, kw_only=True, tag="alarm", tag_field="event"):
    """Something that must not happen happened; `code` is a key of the catalogues."""

    conversation: str | None
    code: str


class MemberJoined(msgspec.Struct, frozen=True, kw_only=True, tag="member", tag_field="event"):
    """A person (account) is now part of a conversation, or an invite was accepted."""

    conversation: str
    account: str
    name: str


class MemberLeft(msgspec.Struct, frozen=True, kw_only=True, tag="member-left", tag_field="event"):
    """A person is no longer part of a group: an admin (`by`) removed them, or carried out their leaving."""

    conversation: str
    account: str
    name: str
    by: str


class RoleChanged(msgspec.Struct, frozen=True, kw_only=True, tag="role", tag_field="event"):
    """A person became an admin of a group, or is none any more."""

    conversation: str
    account: str
    name: str
    admin: bool


class GroupChanged(msgspec.Struct, frozen=True, kw_only=True, tag="group", tag_field="event"):
    """A group's name, or what its members may do, was changed by `by`."""

    conversation: str
    name: str
    by: str


class TellingChanged(msgspec.Struct, frozen=True, kw_only=True, tag="telling", tag_field="event"):
    """A person stopped telling in a conversation what they have read, or tells it again."""

    conversation: str
    account: str
    name: str
    telling: bool


class ChangeVoid(msgspec.Struct, frozen=True, kw_only=True, tag="change-void", tag_field="event"):
    """Something this device wanted in a group cannot be done any more: `change` is ``add``, ``remove``, ``promote``,
    ``demote``, ``rename`` or ``rights``; `name` whom or what it was about; `why`: ``last-admin``, ``leaving``,
    ``no-key-package``, ``no-member``, ``not-a-member``, ``not-allowed``, ``too-large``."""

    conversation: str
    change: str
    name: str
    why: str


class MemberRejoined(msgspec.Struct, frozen=True, kw_only=True, tag="rejoined", tag_field="event"):
    """A device of this person could no longer follow and was added again; the safety number is the same."""

    conversation: str
    account: str
    name: str


class DeviceChanged(msgspec.Struct, frozen=True, kw_only=True, tag="device", tag_field="event"):
    """A device of somebody known came or went: `change` is ``added`` or ``removed``. The safety number stays."""

    conversation: str
    account: str
    name: str
    device: str
    change: str


class DeviceRevoked(msgspec.Struct, frozen=True, kw_only=True, tag="revoked", tag_field="event"):
    """Another own device removed this one: it reads nothing more, its profile is wiped."""


class HistoryMoved(msgspec.Struct, frozen=True, kw_only=True, tag="history", tag_field="event"):
    """A new device comes by its history. `stage`: ``fetching``, `done` of `size` bytes; then ``taking``, messages
    (`size` is an estimate)."""

    stage: str
    done: int
    size: int


class LinkMoved(msgspec.Struct, frozen=True, kw_only=True, tag="link", tag_field="event"):
    """Linking goes on: `state` as in `calls.Linking` or `calls.Approving`."""

    state: str


class ConversationChanged(msgspec.Struct, frozen=True, kw_only=True, tag="conversation", tag_field="event"):
    """What this device can do in a conversation: `state` as in `calls.Chat`."""

    conversation: str
    state: str


class ConversationMoved(msgspec.Struct, frozen=True, kw_only=True, tag="moved", tag_field="event"):
    """A conversation goes on at another of its relays (URLs): its first was gone, or somebody wanted it so."""

    conversation: str
    relay: str
    left: str


class RelayReturned(msgspec.Struct, frozen=True, kw_only=True, tag="relay-returned", tag_field="event"):
    """A relay that a conversation left because it was gone answers again. The conversation stays where it is."""

    conversation: str
    relay: str


class OwnMissing(msgspec.Struct, frozen=True, kw_only=True, tag="own-missing", tag_field="event"):
    """Own messages (`first` to `last`) that the others have and this copy of the profile has not."""

    conversation: str
    first: int
    last: int


class InviteRefused(msgspec.Struct, frozen=True, kw_only=True, tag="invite", tag_field="event"):
    """Somebody tried to use an own invite that was used already; `refused` counts them."""

    invite: str
    refused: int


class ConnectionChanged(msgspec.Struct, frozen=True, kw_only=True, tag="connection", tag_field="event"):
    """The relay was reached or went away."""

    relay: str
    connected: bool
    queued: int


Event = (
    MessageReceived
    | StateChanged
    | ReceiptReceived
    | MessageGone
    | Reacted
    | Edited
    | Opened
    | AttachmentProgress
    | KeepingChanged
    | Introduced
    | IntroductionAnswered
    | GapFound
    | GapClosed
    | EntryDamaged
    | Alarm
    | MemberJoined
    | MemberLeft
    | RoleChanged
    | GroupChanged
    | ChangeVoid
    | TellingChanged
    | MemberRejoined
    | DeviceChanged
    | DeviceRevoked
    | HistoryMoved
    | LinkMoved
    | ConversationChanged
    | ConversationMoved
    | RelayReturned
    | OwnMissing
    | InviteRefused
    | ConnectionChanged
)
