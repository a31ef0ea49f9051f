"""Where a channel's id comes from: two secrets and two hashes (HT-R-001, HT-R-002)."""

import hashlib

from hanatalk.ids import ChannelId, Incarnation, ReadToken, WriteToken, exact

TOKEN_LENGTH = 32
ERASE_TOKEN_LENGTH = 32
NO_CONTROL_HASH = bytes(32)  # h_0, HT-R-061


def read_verifier(token: ReadToken) -> bytes:
    """R, 32 bytes: proves nothing to whoever finds it, checks the token (HT-R-002).

    :raises ContentError: ``id.length``
    """
    return hashlib.sha256(b"hana/read/1" + exact(token, TOKEN_LENGTH, "read token")).digest()


def write_verifier(token: WriteToken) -> bytes:
    """W, 32 bytes (HT-R-002).

    :raises ContentError: ``id.length``
    """
    return hashlib.sha256(b"hana/write/1" + exact(token, TOKEN_LENGTH, "write token")).digest()


def channel_id_of(read: bytes, write: bytes) -> ChannelId:
    """The channel with verifiers R = `read` and W = `write`, 32 bytes each (HT-R-001).

    :raises ContentError: ``id.length``
    """
    both = exact(read, TOKEN_LENGTH, "read verifier") + exact(write, TOKEN_LENGTH, "write verifier")
    return ChannelId(hashlib.sha256(b"hana/channel/1" + both).digest())


def channel_id(read_token: ReadToken, write_token: WriteToken) -> ChannelId:
    """The channel of two tokens, 32 bytes each (HT-R-001).

    :raises ContentError: ``id.length``
    """
    return channel_id_of(read_verifier(read_token), write_verifier(write_token))


def erase_hash(erase_token: bytes) -> bytes:
    """What an APPEND carries so that its sender can take the entry back later (HT-R-054).

    :raises ContentError: ``id.length``
    """
    return hashlib.sha256(b"hana/erase/1" + exact(erase_token, ERASE_TOKEN_LENGTH, "erase token")).digest()


def next_control_hash(previous: bytes, *, seq: int, commit: bool, entry: bytes) -> bytes:
    """h_n from h_{n-1}: the running hash over a channel's control entries, 32 bytes (HT-R-061)."""
    fields = previous + seq.to_bytes(8, "big") + bytes([commit]) + hashlib.sha256(entry).digest()
    return hashlib.sha256(b"hana/control/1" + fields).digest()


def receipt_statement(channel_id: ChannelId, incarnation: Incarnation, *, seq: int, control_hash: bytes) -> bytes:
    """The bytes that the relay's key signs for a RECEIPT (HT-R-060)."""
    return b"hana/receipt/1" + channel_id + incarnation + seq.to_bytes(8, "big") + control_hash
