"""Typed identifiers. Byte strings of a fixed length each; `NewType` keeps one from being passed as another."""

from typing import NewType

from hanatalk.errors import ContentError

ChannelId = NewType("ChannelId", bytes)  # 32 bytes, spec/01-relay.md HT-R-001
ReadToken = NewType("ReadToken", bytes)  # 32 bytes, secret
WriteToken = NewType("WriteToken", bytes)  # 32 bytes, secret
EntryId = NewType("EntryId", bytes)  # 16 bytes, random, idempotency key of one APPEND
ReaderId = NewType("ReaderId", bytes)  # 16 bytes, random, the client's own per channel
TakeId = NewType("TakeId", bytes)  # 16 bytes, random
Incarnation = NewType("Incarnation", bytes)  # 16 bytes, random, the relay's per channel
RelayKey = NewType("RelayKey", bytes)  # 32 bytes, the relay's Ed25519 public key

AccountId = NewType("AccountId", bytes)  # 32 bytes, SHA-256 of the first link of the sigchain
DeviceKey = NewType("DeviceKey", bytes)  # 32 bytes, Ed25519 public key of a device
ConversationId = NewType("ConversationId", bytes)  # 16 bytes, the MLS group id
MessageId = NewType("MessageId", bytes)  # 16 bytes, random, inside the ciphertext

LENGTHS = {
    "channel": 32,
    "entry": 16,
    "reader": 16,
    "take": 16,
    "incarnation": 16,
    "account": 32,
    "device": 32,
    "conversation": 16,
    "message": 16,
}


def exact(value: bytes, length: int, what: str) -> bytes:
    """Return `value` if it is `length` bytes long.

    :raises ContentError: ``id.length``
    """
    if len(value) != length:
        raise ContentError("id.length", what=what, expected=length, got=len(value))
    return value
