"""Calls about relays, and what they and `calls.Synced` answer. Part of `hanatalk.client.calls`."""

from typing import ClassVar

import msgspec


class Rejoining(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation that this device can no longer follow, until another member adds it again."""

    conversation: str
    name: str


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """Who was to be added to a conversation named a relay (a URL) for it that cannot be reached."""

    conversation: str
    name: str
    relay: str


class PassKept(msgspec.Struct, frozen=True, kw_only=True):
    """`connected`: the relay took it already; False if it could not be reached now, or nothing is wanted there."""

    relay: str
    connected: bool


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """`relay`: where the conversation is now. `state`: ``moved``, or ``queued`` until the new relay is reached."""

    conversation: str
    relay: str
    state: str


class RelayPass(msgspec.Struct, frozen=True, kw_only=True, tag="relay-pass", tag_field="call"):
    """Keep a relay's access pass (HT-R-125), or forget it, and connect with it.

    :raises UsageError: ``relay.url``, ``relay.plain-host``, ``relay.pin``
    :raises RefusedError: ``relay.access-pass``: kept, but the relay wants another one
    """

    Result: ClassVar = PassKept
    relay: str | None = None  # a URL; None: the profile's own relay
    access_pass: bytes | None  # None: forget it
    wait: float = 10.0  # seconds for the relay to answer

    def __repr__(self) -> str:
        return f"RelayPass(relay={self.relay!r})"


class Move(msgspec.Struct, frozen=True, kw_only=True, tag="move", tag_field="call"):
    """Move a conversation to another of its relays; waits at most `wait` seconds for it.

    :raises UsageError: ``move.not-admin``, ``move.here``, ``move.unknown``
    """

    Result: ClassVar = Moved
    conversation: str
    relay: str | None = None  # a URL, with or without its pin; None: the next one that can be reached
    wait: float = 10.0
