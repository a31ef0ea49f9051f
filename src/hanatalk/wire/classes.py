"""The four classes of an entry (spec/01-relay.md)."""

import enum


class EntryClass(enum.IntEnum):
    """What an entry is for; decides retention and which fields an APPEND may carry."""

    MESSAGE = 1
    ATTACHMENT = 2
    CONTROL = 3
    INVITE = 4
