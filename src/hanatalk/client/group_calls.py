"""Calls about groups and their people, and their results (see `calls`, which has them all)."""

from typing import ClassVar

import msgspec


class GroupDone(msgspec.Struct, frozen=True, kw_only=True):
    """`state`: ``done`` once every member that reads its channel will see it, ``queued`` until then."""

    conversation: str
    name: str
    state: str


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """`state`: ``read``, ``unread``, or ``silent``: that person does not tell what they have read."""

    account: str
    name: str
    state: str


class ReaderList(msgspec.Struct, frozen=True, kw_only=True):
    readers: list[Reader]


class MemberShown(msgspec.Struct, frozen=True, kw_only=True):
    """A person in a group. `same_name`: another member goes by a name that looks the same."""

    account: str
    name: str
    admin: bool
    devices: int
    me: bool
    verified: bool
    same_name: bool
    telling: bool = True  # what they have read


class MemberList(msgspec.Struct, frozen=True, kw_only=True):
    """`large`: a group on the suite for large groups, without protection against quantum computers."""

    members: list[MemberShown]
    large: bool


class GroupCreate(msgspec.Struct, frozen=True, kw_only=True, tag="group-create", tag_field="call"):
    """Found a group with oneself as its only member. `large`: for more than 256 devices; cannot be changed later."""

    Result: ClassVar = GroupDone
    name: str
    large: bool = False
    members_add: bool = False  # every member may add people, not only admins
    members_rename: bool = False


class GroupAdd(msgspec.Struct, frozen=True, kw_only=True, tag="group-add", tag_field="call"):
    """Add contacts, all at once. :raises UsageError: ``group.not-allowed``, ``group.no-key-package``,
    ``group.already``"""

    Result: ClassVar = GroupDone
    conversation: str
    people: list[str]
    wait: float = 10.0  # seconds for the commit to come back


class GroupRemove(msgspec.Struct, frozen=True, kw_only=True, tag="group-remove", tag_field="call"):
    """:raises UsageError: ``group.not-allowed``, ``group.yourself``"""

    Result: ClassVar = GroupDone
    conversation: str
    people: list[str]
    wait: float = 10.0


class GroupRole(msgspec.Struct, frozen=True, kw_only=True, tag="group-role", tag_field="call"):
    """Make people admins, or no longer. :raises UsageError: ``group.not-allowed``, ``group.last-admin``"""

    Result: ClassVar = GroupDone
    conversation: str
    people: list[str]
    admin: bool
    wait: float = 10.0


class GroupRename(msgspec.Struct, frozen=True, kw_only=True, tag="group-rename", tag_field="call"):
    """:raises UsageError: ``group.not-allowed``, ``name.invalid``"""

    Result: ClassVar = GroupDone
    conversation: str
    name: str
    wait: float = 10.0


class GroupRights(msgspec.Struct, frozen=True, kw_only=True, tag="group-rights", tag_field="call"):
    """What every member may do; None: as it is. :raises UsageError: ``group.not-allowed``"""

    Result: ClassVar = GroupDone
    conversation: str
    members_add: bool | None = None
    members_rename: bool | None = None
    wait: float = 10.0


class GroupLeave(msgspec.Struct, frozen=True, kw_only=True, tag="group-leave", tag_field="call"):
    """:raises UsageError: ``group.last-admin``"""

    Result: ClassVar = GroupDone
    conversation: str
    wait: float = 10.0


class GroupMembers(msgspec.Struct, frozen=True, kw_only=True, tag="group-members", tag_field="call"):
    Result: ClassVar = MemberList
    conversation: str


class Readers(msgspec.Struct, frozen=True, kw_only=True, tag="readers", tag_field="call"):
    """Who has read an own message. :raises UsageError: ``readers.not-own``, ``message.unknown``"""

    Result: ClassVar = ReaderList
    message: str


GroupCall = GroupCreate | GroupAdd | GroupRemove | GroupRole | GroupRename | GroupRights | GroupLeave
