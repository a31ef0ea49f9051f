"""Accounts: the sigchain and the credentials that devices derive from it (HT-M-001 … HT-M-007). Pure.

Verification raises, it never returns False. No account key exists; every link is signed by a device that is current at
that point, an added device co-signs its own addition.
"""

import enum
import hashlib
import secrets
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hanatalk.client.engine.formats.content import MALFORMED
from hanatalk.errors import VerificationError
from hanatalk.ids import AccountId, DeviceKey

CHAIN_LIMIT = 1024  # links
_LINK = b"hana link/1"
_CO_LINK = b"hana link co-signature/1"
_CREDENTIAL = b"hana credential/1"

Thirty2 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
Height = Annotated[int, msgspec.Meta(ge=0, lt=CHAIN_LIMIT)]


class Change(enum.IntEnum):
    """What a link does."""

    CREATE = 1
    ADD = 2
    REMOVE = 3
    PAPER = 4


class Link(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The signed part of a link. `previous` is the hash of the link before, empty at height 0."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    height: Height
    previous: Annotated[bytes, msgspec.Meta(max_length=32)]
    change: Change
    device: Thirty2


class SignedLink(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A link with the signature of a current device and, when a device is added, that device's own."""

    link: bytes
    signer: Thirty2
    signature: Signature
    co_signature: Signature | None = None


class Credential(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Identity of the BasicCredential of a leaf. The device signs it together with the leaf's signature key."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    account: Thirty2
    device: Thirty2
    head: Thirty2
    height: Height
    signature: Signature


class Chain(msgspec.Struct, frozen=True):
    """A verified sigchain. `devices` are the current ones."""

    account: AccountId
    links: tuple[bytes, ...]  # serialised SignedLinks
    hashes: tuple[bytes, ...]
    devices: frozenset[DeviceKey]
    paper: DeviceKey | None = None  # signs links, is in no conversation, outranks all (HT-M-131)

    @property
    def height(self) -> int:
        return len(self.links) - 1

    @property
    def head(self) -> bytes:
        return self.hashes[-1]


class Device(msgspec.Struct, frozen=True):
    """This device's Ed25519 key. Secret."""

    seed: bytes

    def __repr__(self) -> str:
        return f"Device({self.key.hex()[:8]}…)"

    @property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @property
    def key(self) -> DeviceKey:
        return DeviceKey(self._private.public_key().public_bytes_raw())

    def sign(self, context: bytes, message: bytes) -> bytes:
        return self._private.sign(context + message)


def verify_signature(key: bytes, signature: bytes, message: bytes, code: str) -> None:
    """:raises VerificationError: `code`"""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise VerificationError(code) from None


def _hash(link: bytes) -> bytes:
    return hashlib.sha256(_LINK + link).digest()


def new_seed() -> bytes:
    """A fresh device key's seed, 32 bytes."""
    return secrets.token_bytes(32)


def create(device: Device, paper: Device | None = None) -> Chain:
    """A new account whose first link is this device's; the second, if there is one, is the paper device's."""
    link = msgspec.msgpack.encode(Link(1, 0, b"", Change.CREATE, device.key))
    signed = msgspec.msgpack.encode(SignedLink(link, device.key, device.sign(_LINK, link)))
    chain = verify_chain([signed])
    if paper is None:
        return chain
    link = _next(chain, Change.PAPER, paper.key)
    return extend(chain, device, change=Change.PAPER, device=paper.key, co_signature=paper.sign(_CO_LINK, link))


def _next(chain: Chain, change: Change, device: DeviceKey) -> bytes:
    return msgspec.msgpack.encode(Link(1, chain.height + 1, chain.head, change, device))


def co_sign(chain: Chain, device: Device) -> bytes:
    """What a device signs that is to be added next (HT-M-003)."""
    return device.sign(_CO_LINK, _next(chain, Change.ADD, device.key))


def head_with(chain: Chain, device: DeviceKey) -> bytes:
    """The chain's head once this device is added next."""
    return _hash(_next(chain, Change.ADD, device))


def extend(chain: Chain, by: Device, *, change: Change, device: DeviceKey, co_signature: bytes | None = None) -> Chain:
    """The chain with one more link, signed by a current device; an added device co-signs (`co_sign`).

    :raises VerificationError: ``chain.broken``
    """
    link = _next(chain, change, device)
    signed = msgspec.msgpack.encode(SignedLink(link, by.key, by.sign(_LINK, link), co_signature))
    return verify_chain([*chain.links, signed])


def verify_chain(links: list[bytes], *, account: AccountId | None = None) -> Chain:
    """Verify every link from the first.

    :param account: the id that the chain must have
    :raises VerificationError: ``chain.broken`` or ``chain.other-account``
    """
    if not 0 < len(links) <= CHAIN_LIMIT:
        raise VerificationError("chain.broken", why="length")
    hashes: list[bytes] = []
    devices: set[DeviceKey] = set()
    paper: DeviceKey | None = None
    for height, raw in enumerate(links):
        try:
            signed = msgspec.msgpack.decode(raw, type=SignedLink)
            link = msgspec.msgpack.decode(signed.link, type=Link)
        except MALFORMED:
            raise VerificationError("chain.broken", why="malformed", height=height) from None
        signer, device = DeviceKey(signed.signer), DeviceKey(link.device)
        if link.height != height or link.previous != (hashes[-1] if hashes else b""):
            raise VerificationError("chain.broken", why="order", height=height)
        if (link.change is Change.CREATE) != (height == 0):
            raise VerificationError("chain.broken", why="change", height=height)
        if height == 0:
            devices.add(device)
        if signer not in devices and signer != paper:
            raise VerificationError("chain.broken", why="signer", height=height)
        verify_signature(signer, signed.signature, _LINK + signed.link, "chain.broken")
        if link.change in (Change.ADD, Change.PAPER):
            if signed.co_signature is None or device in devices or device == paper:
                raise VerificationError("chain.broken", why="add", height=height)
            verify_signature(device, signed.co_signature, _CO_LINK + signed.link, "chain.broken")
            if link.change is Change.ADD:
                devices.add(device)
            elif height != 1:
                raise VerificationError("chain.broken", why="paper", height=height)
            else:
                paper = device
        elif link.change is Change.REMOVE:
            if device not in devices:
                raise VerificationError("chain.broken", why="remove", height=height)
            devices.discard(device)
        hashes.append(_hash(signed.link))
    if account is not None and hashes[0] != account:
        raise VerificationError("chain.other-account")
    return Chain(AccountId(hashes[0]), tuple(links), tuple(hashes), frozenset(devices), paper)


def prefix(chain: Chain, height: int) -> Chain:
    """A verified chain as it was at a height (0: its first link); a height beyond its end is its end."""
    if height >= chain.height:
        return chain
    devices: set[DeviceKey] = set()
    paper = None
    for raw in chain.links[: height + 1]:
        _, link = _opened(raw)
        if link.change is Change.PAPER:
            paper = DeviceKey(link.device)
        else:
            (devices.discard if link.change is Change.REMOVE else devices.add)(DeviceKey(link.device))
    return Chain(chain.account, chain.links[: height + 1], chain.hashes[: height + 1], frozenset(devices), paper)


def _opened(raw: bytes) -> tuple[SignedLink, Link]:
    """A link that was verified."""
    signed = msgspec.msgpack.decode(raw, type=SignedLink)
    return signed, msgspec.msgpack.decode(signed.link, type=Link)


def signer_of(chain: Chain, change: Change, device: bytes) -> DeviceKey | None:
    """Who signed the last link of a verified chain that did this to the device."""
    found = None
    for raw in chain.links:
        signed, link = _opened(raw)
        if link.change is change and link.device == device:
            found = DeviceKey(signed.signer)
    return found


def extends(chain: Chain, known: Chain) -> bool:
    """Whether `known` is where `chain` began (or all of it)."""
    return chain.hashes[: len(known.hashes)] == known.hashes


def longer(known: Chain, other: Chain) -> Chain:
    """Which of two chains of one account counts (HT-M-004, HT-M-130).

    The longer, if the other is where it began. Of a fork: the branch whose first link the paper device signed; else the
    one that removes who signed the other's first link, if the other does not do the same.

    :raises VerificationError: ``chain.fork``: neither; ``chain.frozen``: each removes the other's signer;
        ``chain.other-account``
    """
    if known.account != other.account:
        raise VerificationError("chain.other-account")
    shared = min(len(known.hashes), len(other.hashes))
    if known.hashes[:shared] == other.hashes[:shared]:
        return known if known.height >= other.height else other
    at = next(place for place in range(shared) if known.hashes[place] != other.hashes[place])
    signers = [DeviceKey(_opened(chain.links[at])[0].signer) for chain in (known, other)]
    by_paper = [at > 1 and signer == known.paper for signer in signers]
    if by_paper[0] is not by_paper[1]:
        return known if by_paper[0] else other
    voids = [signers[1] in _removed(known, at), signers[0] in _removed(other, at)]
    if voids[0] is voids[1]:
        raise VerificationError("chain.frozen" if voids[0] else "chain.fork")
    return known if voids[0] else other


def _removed(chain: Chain, first: int) -> set[bytes]:
    """Devices that links from this height on remove."""
    links = (_opened(raw)[1] for raw in chain.links[first:])
    return {link.device for link in links if link.change is Change.REMOVE}


def _credential_text(account: bytes, device: bytes, head: bytes, height: int, leaf_key: bytes) -> bytes:
    return account + device + head + height.to_bytes(8) + leaf_key


def credential(chain: Chain, device: Device, leaf_key: bytes) -> bytes:
    """The credential of a leaf of this device; `leaf_key` is the leaf's signature key (32 bytes)."""
    return _credential(chain, chain.head, chain.height, device, leaf_key)


def credential_when_added(chain: Chain, device: Device, leaf_key: bytes) -> bytes:
    """Likewise, of a device that the chain's next link is to add."""
    return _credential(chain, head_with(chain, device.key), chain.height + 1, device, leaf_key)


def _credential(chain: Chain, head: bytes, height: int, device: Device, leaf_key: bytes) -> bytes:
    text = _credential_text(chain.account, device.key, head, height, leaf_key)
    return msgspec.msgpack.encode(
        Credential(1, chain.account, device.key, head, height, device.sign(_CREDENTIAL, text))
    )


def read_credential(raw: bytes) -> Credential:
    """Parse only. :raises VerificationError: ``credential.malformed``"""
    try:
        return msgspec.msgpack.decode(raw, type=Credential)
    except MALFORMED:
        raise VerificationError("credential.malformed") from None


def verify_credential(raw: bytes, leaf_key: bytes, chain: Chain) -> Credential:
    """Check a leaf's credential against its account's chain (HT-M-006).

    :raises VerificationError: ``credential.malformed``, ``credential.forged``, ``credential.not-in-chain`` (the chain
        is shorter than the credential says, of another account, or its device is not current)
    """
    found = read_credential(raw)
    if found.account != chain.account or found.height > chain.height or chain.hashes[found.height] != found.head:
        raise VerificationError("credential.not-in-chain")
    if found.device not in chain.devices:
        raise VerificationError("credential.not-in-chain", why="device")
    text = _credential_text(found.account, found.device, found.head, found.height, leaf_key)
    verify_signature(found.device, found.signature, _CREDENTIAL + text, "credential.forged")
    return found
