"""Every code a relay refuses with: the table of spec/01-relay.md (HT-R-017, HT-R-080)."""

import enum


class RefusalCode(enum.StrEnum):
    """Why. A member is its own wire text, so a store may answer with the plain string."""

    # These end the connection (HT-R-017).
    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    NOT_BINARY = "not-binary"
    FRAGMENTED = "fragmented"
    HELLO_FIRST = "hello-first"
    HELLO_TWICE = "hello-twice"
    REQUEST_ORDER = "request-order"
    UNKNOWN_HANDLE = "unknown-handle"
    VERSION = "version"
    ACCESS_PASS = "access-pass"
    BUSY = "busy"
    SLOW = "slow"
    DRAINING = "draining"
    REOPEN = "reopen"
    UNEXPECTED_ANSWER = "unexpected-answer"

    # These refuse one request (HT-R-080).
    WRONG_CHANNEL_ID = "wrong-channel-id"
    TOO_MANY_CHANNELS = "too-many-channels"
    READ_TOKEN_NEEDED = "read-token-needed"
    WRITE_TOKEN_NEEDED = "write-token-needed"
    ENTRY_SIZE = "entry-size"
    FIELDS = "fields"
    STALE_TURN = "stale-turn"
    NO_SUCH_ENTRY = "no-such-entry"
    ERASE_TOKEN = "erase-token"
    QUOTA = "quota"
    FULL = "full"


ENDS_CONNECTION = frozenset(
    {
        RefusalCode.MALFORMED,
        RefusalCode.TOO_LARGE,
        RefusalCode.NOT_BINARY,
        RefusalCode.FRAGMENTED,
        RefusalCode.HELLO_FIRST,
        RefusalCode.HELLO_TWICE,
        RefusalCode.REQUEST_ORDER,
        RefusalCode.UNKNOWN_HANDLE,
        RefusalCode.VERSION,
        RefusalCode.ACCESS_PASS,
        RefusalCode.BUSY,
        RefusalCode.SLOW,
        RefusalCode.DRAINING,
        RefusalCode.REOPEN,
        RefusalCode.UNEXPECTED_ANSWER,
    }
)
"""A REFUSED frame with one of these has no request, and nothing follows it."""
