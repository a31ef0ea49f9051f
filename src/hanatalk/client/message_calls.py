"""About messages: what may be asked of one and what comes of it (`hanatalk.client.calls` has them all)."""

from typing import ClassVar

import msgspec

from hanatalk.client.file_calls import Saved


class Quoted(msgspec.Struct, frozen=True, kw_only=True):
    """The message that is answered, cut short. `gone`: there is no text of it here (any more)."""

    message: str
    from_: str = msgspec.field(name="from")
    from_account: str
    text: str
    gone: bool


class Reactions(msgspec.Struct, frozen=True, kw_only=True):
    """How many people put this emoji to a message, and whether I am one of them."""

    emoji: str
    count: int
    mine: bool


class Mention(msgspec.Struct, frozen=True, kw_only=True):
    """A person named in a text: "@" and the name, `length` characters from `start`."""

    account: str
    name: str
    start: int
    length: int


class Reacted(msgspec.Struct, frozen=True, kw_only=True):
    """The emoji that is mine now, or null."""

    message: str
    emoji: str | None
    state: str  # of what carries it, as in `Sent`


class Reactor(msgspec.Struct, frozen=True, kw_only=True):
    """Who put which emoji."""

    emoji: str
    from_: str = msgspec.field(name="from")
    from_account: str


class ReactorList(msgspec.Struct, frozen=True, kw_only=True):
    """In the order in which they came."""

    message: str
    reactions: list[Reactor]


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One wording of a text."""

    text: str
    sent_at: str


class VersionList(msgspec.Struct, frozen=True, kw_only=True):
    """The first one first; a message that was never edited has one, one that is gone has none."""

    message: str
    versions: list[Version]


class Edited(msgspec.Struct, frozen=True, kw_only=True):
    """`state` of what carries the new wording, as in `Sent`."""

    message: str
    state: str


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """`state`: ``deleted``: gone from this account's files; ``hidden``: it goes from them when the others have it."""

    message: str
    state: str


class Viewed(msgspec.Struct, frozen=True, kw_only=True):
    """What could be seen once. It is gone now."""

    message: str
    text: str
    files: list[Saved] = []


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """How long texts of a conversation stay: `timer` in seconds, null: for good; `privacy`: till everybody read them.

    `state`: ``done``, or ``queued`` while the others have not agreed to a change yet.
    """

    conversation: str
    timer: int | None
    privacy: bool
    state: str


class Introduction(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody whom `by` wants me to know. `state`: ``offered`` (not answered), ``waiting`` (for the other one),
    ``declined``, ``done`` (`conversation` is ours), ``elsewhere`` (answered on another device)."""

    introduction: str
    name: str
    account: str
    by: str
    state: str
    conversation: str | None = None


class IntroductionList(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest first."""

    introductions: list[Introduction]


class IntroductionMade(msgspec.Struct, frozen=True, kw_only=True):
    """Both were told."""

    introduction: str


class Introduce(msgspec.Struct, frozen=True, kw_only=True, tag="introduce", tag_field="call"):
    """Tell two contacts of each other. They meet if both want to. :raises UsageError: ``introduce.same``"""

    Result: ClassVar = IntroductionMade
    one: str
    other: str


class Introductions(msgspec.Struct, frozen=True, kw_only=True, tag="introductions", tag_field="call"):
    Result: ClassVar = IntroductionList


class Meet(msgspec.Struct, frozen=True, kw_only=True, tag="meet", tag_field="call"):
    """Answer an introduction (its id, a unique prefix, or the name in it).

    :raises UsageError: ``introduction.unknown``, ``introduction.answered``
    :raises NetworkError: ``network.never-reached``
    """

    Result: ClassVar = Introduction
    introduction: str
    yes: bool = True


class Keep(msgspec.Struct, frozen=True, kw_only=True, tag="keep", tag_field="call"):
    """How long texts stay that say nothing themselves; None leaves it as it is. For admins; in a conversation of two
    both are. Waits at most `wait` seconds for the change to be agreed.

    :raises UsageError: ``group.not-allowed``, ``group.not-a-member``, ``expire.limit``
    """

    Result: ClassVar = Kept
    conversation: str
    timer: int | None = None  # seconds; 0: they stay for good
    privacy: bool | None = None
    wait: float = 5.0


class React(msgspec.Struct, frozen=True, kw_only=True, tag="react", tag_field="call"):
    """Put one emoji to a message, in the place of the one before; None takes it away.

    :raises UsageError: ``react.not-emoji``, ``message.gone``
    """

    Result: ClassVar = Reacted
    message: str
    emoji: str | None
    wait: float = 5.0


class Reactors(msgspec.Struct, frozen=True, kw_only=True, tag="reactors", tag_field="call"):
    Result: ClassVar = ReactorList
    message: str


class Edit(msgspec.Struct, frozen=True, kw_only=True, tag="edit", tag_field="call"):
    """Other words for an own message; everybody sees that, and what it said before.

    :raises UsageError: ``edit.not-own``, ``edit.once``, ``edit.sticker``, ``edit.limit``, ``message.gone``
    """

    Result: ClassVar = Edited
    message: str
    text: str
    wait: float = 5.0


class Versions(msgspec.Struct, frozen=True, kw_only=True, tag="versions", tag_field="call"):
    Result: ClassVar = VersionList
    message: str


class Delete(msgspec.Struct, frozen=True, kw_only=True, tag="delete", tag_field="call"):
    """Delete a message here; nobody else notices."""

    Result: ClassVar = Deleted
    message: str


class View(msgspec.Struct, frozen=True, kw_only=True, tag="view", tag_field="call"):
    """Waits at most `wait` seconds for the relay: only then it is sure that this is no old copy of the profile.

    :raises UsageError: ``view.own``, ``view.not-once``, ``view.opened``, ``view.not-yet``, ``view.folder``,
        ``message.gone``
    :raises ContentError: ``attachment.remote``
    """

    Result: ClassVar = Viewed
    message: str
    folder: str | None = None  # absolute, where its attachments are written, all of which have been fetched
    wait: float = 5.0
