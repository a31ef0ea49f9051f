"""Every code a relay refuses with: the table of spec/01-relay.md (HT-R-017, HT-R-080)."""

import enum


class RefusalCode(enum.StrEnum):
    """Why. A member is its own wire text, so a store may answer with the plain string."""

    # These end the connection (HT-R-017); with `storage` and `read-token-needed` it depends on the frame.
    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    NOT_BINARY = "not-binary"
    FRAGMENTED = "fragmented"
    HELLO_FIRST = "hello-first"
    HELLO_TWICE = "hello-twice"
    REQUEST_ORDER = "request-order"
    UNKNOWN_HANDLE = "unknown-handle"
    VERSION = "version"
    ACCESS_PASS = "access-pass"  # noqa: S105
    WORK = "work"
    BUSY = "busy"
    SLOW = "slow"
    DRAINING = "draining"
    REOPEN = "reopen"
    STORAGE = "storage"
    UNEXPECTED_ANSWER = "unexpected-answer"
    ACCESS_PASS_NEEDED = "access-pass-needed"  # noqa: S105 (never sent: what a client without the pass says to itself)

    # These refuse one request (HT-R-080).
    WRONG_CHANNEL_ID = "wrong-channel-id"
    TOO_MANY_CHANNELS = "too-many-channels"
    READ_TOKEN_NEEDED = "read-token-needed"  # noqa: S105
    WRITE_TOKEN_NEEDED = "write-token-needed"  # noqa: S105
    ENTRY_SIZE = "entry-size"
    FIELDS = "fields"
    STALE_TURN = "stale-turn"
    CHANNEL_FULL = "channel-full"
    RELAY_FULL = "relay-full"
    UNKNOWN_ENTRY = "unknown-entry"
    FORGOTTEN = "forgotten"
    WRONG_TOKEN = "wrong-token"  # noqa: S105
    TOO_MANY_READERS = "too-many-readers"  # never sent: ACK has no answer
