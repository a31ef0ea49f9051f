"""Statements of the resync channel: where a device stands, or that it asks to be added again (HT-M-055). Pure."""

import hashlib
from typing import Annotated

import msgspec

from hanatalk.client.engine.formats import accounts, content
from hanatalk.errors import ContentError, VerificationError
from hanatalk.ids import AccountId, DeviceKey

KNOWN_LIMIT = 256  # other devices
_STATEMENT = b"hana statement/1"

Sixteen = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Thirty2 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Number = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]


class Known(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What is known of another device: its highest message number, the number of its last statement."""

    device: Thirty2
    highest: Annotated[int, msgspec.Meta(ge=0, lt=2**48)]
    number: Number


class Statement(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What a device says of itself. With a KeyPackage it is a request."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    conversation: Sixteen
    device: Thirty2
    number: Annotated[int, msgspec.Meta(ge=1, lt=2**53)]
    epoch: Number
    authenticator: Thirty2
    relay_key: Thirty2
    known: Annotated[list[Known], msgspec.Meta(max_length=KNOWN_LIMIT)]
    key_package: bytes | None
    chain: list[bytes]

    def of(self, device: bytes) -> Known | None:
        """What it knows of this device."""
        return next((known for known in self.known if known.device == device), None)


class Signed(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A statement with the signature of its device."""

    statement: bytes
    signature: accounts.Signature


def authenticator(epoch_authenticator: bytes) -> bytes:
    """What stands in a statement for an epoch's authenticator, 32 bytes."""
    return hashlib.sha256(epoch_authenticator).digest()


def sign(statement: Statement, device: accounts.Device) -> bytes:
    """The body of its entry."""
    raw = msgspec.msgpack.encode(statement)
    return msgspec.msgpack.encode(Signed(raw, device.sign(_STATEMENT, raw)))


def decode(raw: bytes) -> Statement:
    """A statement that was verified before it was stored. :raises ContentError: ``entry.damaged``"""
    try:
        return msgspec.msgpack.decode(raw, type=Statement)
    except content.MALFORMED:
        raise ContentError("entry.damaged") from None


def parse(body: bytes) -> tuple[Statement, Signed]:
    """Parse only. :raises ContentError: ``entry.damaged``"""
    try:
        signed = msgspec.msgpack.decode(body, type=Signed)
    except content.MALFORMED:
        raise ContentError("entry.damaged") from None
    statement = decode(signed.statement)
    return statement, signed


def verify(statement: Statement, signed: Signed, account: AccountId) -> accounts.Chain:
    """The device is current in the account's chain and signed; returns the chain that it brought.

    :raises VerificationError: ``chain.broken``, ``chain.other-account``, ``statement.refused``, ``statement.forged``
    """
    chain = accounts.verify_chain(statement.chain, account=account)
    if DeviceKey(statement.device) not in chain.devices:
        raise VerificationError("statement.refused", why="device")
    accounts.verify_signature(statement.device, signed.signature, _STATEMENT + signed.statement, "statement.forged")
    return chain
