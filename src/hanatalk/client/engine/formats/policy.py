"""The conversation's policy: a GroupContext extension that `judging` enforces on every commit (HT-M-032). Pure."""

import enum
from typing import Annotated

import msgspec

from hanatalk.client.engine.formats import content
from hanatalk.errors import ContentError
from hanatalk.ids import AccountId, RelayKey

EXTENSION = 0xF0A0  # GroupContext extension, private use range
WELCOME_EXTENSION = 0xF0A1  # KeyPackage extension

Thirty2 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Kind(enum.IntEnum):
    """A conversation of two people, a group, or what the devices of one account share (HT-M-126)."""

    DIRECT = 1
    GROUP = 2
    ACCOUNT = 3


class Right(enum.IntFlag):
    """What every member of a group may do, not only its admins (HT-M-081)."""

    ADD = 1
    RENAME = 2


ALL_RIGHTS = int(Right.ADD | Right.RENAME)


class Relay(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Where the conversation's channels are; its key goes into every channel's tokens."""

    url: Annotated[str, msgspec.Meta(max_length=512)]
    key: Thirty2

    @property
    def relay_key(self) -> RelayKey:
        return RelayKey(self.key)


class Policy(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Who may do what. `relays` in order of preference."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    kind: Kind
    name: Annotated[str, msgspec.Meta(max_length=content.NAME_LIMIT)] | None
    admins: Annotated[list[Thirty2], msgspec.Meta(min_length=1, max_length=256)]
    relays: Annotated[list[Relay], msgspec.Meta(min_length=1, max_length=8)]
    rights: Annotated[int, msgspec.Meta(ge=0, le=ALL_RIGHTS)] = 0  # of every member: `Right`s
    timer: Annotated[int, msgspec.Meta(ge=0, le=content.TIMER_LIMIT)] = 0  # seconds, of every text (HT-C-120); 0: none
    privacy: bool = False  # every text goes when all have read it (HT-C-120)

    def is_admin(self, account: bytes) -> bool:
        return account in self.admins


class WelcomeAt(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """KeyPackage extension: where its Welcome is left and what it is sealed with (HT-M-012)."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    relay_url: Annotated[str, msgspec.Meta(max_length=512)]
    read_verifier: Thirty2
    write_token: Thirty2
    seal_key: Thirty2

    def __repr__(self) -> str:
        return "WelcomeAt(…)"


def direct(accounts_of: list[AccountId], *relays: Relay) -> Policy:
    """A conversation of two people: both are admins. The relays in order of preference."""
    return Policy(1, Kind.DIRECT, None, sorted(accounts_of), list(relays))


def group(name: str, founder: AccountId, *relays: Relay, rights: int = 0) -> Policy:
    """A group whose founder is its only admin."""
    return Policy(1, Kind.GROUP, name, [founder], list(relays), rights)


def account(own: AccountId, *relays: Relay) -> Policy:
    """What the devices of one account share (HT-M-126)."""
    return Policy(1, Kind.ACCOUNT, None, [own], list(relays))


def encode(value: Policy | WelcomeAt) -> bytes:
    return msgspec.msgpack.encode(value)


def _find(extensions: list[tuple[int, bytes]], number: int) -> bytes | None:
    found = [body for kind, body in extensions if kind == number]
    return found[0] if len(found) == 1 else None


def parse(extensions: list[tuple[int, bytes]]) -> Policy:
    """:raises ContentError: ``policy.malformed``"""
    raw = _find(extensions, EXTENSION)
    try:
        return msgspec.msgpack.decode(raw or b"", type=Policy)
    except content.MALFORMED:
        raise ContentError("policy.malformed") from None


def of(raw: bytes) -> Policy:
    """The policy as a conversation's row holds it. :raises ContentError: ``policy.malformed``"""
    return parse([(EXTENSION, raw)])


def parse_welcome_at(extensions: list[tuple[int, bytes]]) -> WelcomeAt:
    """:raises ContentError: ``key-package.malformed``"""
    raw = _find(extensions, WELCOME_EXTENSION)
    try:
        return msgspec.msgpack.decode(raw or b"", type=WelcomeAt)
    except content.MALFORMED:
        raise ContentError("key-package.malformed", why="extension") from None


def with_keeping(policy: Policy, *, timer: int, privacy: bool) -> Policy:
    """The same policy with another rule for how long texts stay (HT-C-120)."""
    return msgspec.structs.replace(policy, timer=timer, privacy=privacy)


def with_relays(policy: Policy, relays: list[Relay]) -> Policy:
    """The same policy at other relays."""
    return msgspec.structs.replace(policy, relays=relays)
