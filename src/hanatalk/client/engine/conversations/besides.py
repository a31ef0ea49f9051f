"""What a sibling tells a device that it adds (HT-M-122), sealed so that only the account's devices can make or read it
(HT-M-150).

Every member of a conversation sees the KeyPackage in the commit that adds the device, and in it where and under which
key the Welcome lies. So that key is not enough for what only siblings may say: names who wrote what, and the texts.
"""

import secrets

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hanatalk import mls
from hanatalk.client.engine.conversations import key_packages
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import content, policy
from hanatalk.errors import ContentError
from hanatalk.ids import ConversationId, DeviceKey
from hanatalk.localdb.rows import Addition

LABEL = "hana beside"
KEY = 32  # bytes
NONCE = 12


def give(core: Core, conversation: ConversationId) -> bytes:
    """This device's key for what it is told when it is added there; goes to its siblings with its KeyPackage."""
    own = core.identity.device.key
    known = _key(core, conversation, own)
    if known is None:
        keep(core, conversation, own, known := secrets.token_bytes(KEY))
    return known


def keep(core: Core, conversation: ConversationId, device: DeviceKey, key: bytes) -> None:
    """A sibling's key, or the own one; sealed as in HT-S-062, so that it can be forgotten."""
    core.db.mls_write(_owner(conversation, device), [(b"key", key)])


def forget(core: Core, conversation: ConversationId, device: DeviceKey) -> None:
    """The device was added, or will not be."""
    core.db.mls_delete(_owner(conversation, device))


def _owner(conversation: ConversationId, device: DeviceKey) -> bytes:
    return b"beside" + conversation + device


def _key(core: Core, conversation: ConversationId, device: DeviceKey) -> bytes | None:
    return next((value for _, value in core.db.mls_rows(_owner(conversation, device))), None)


def seal(core: Core, conversation: ConversationId, device: DeviceKey, beside: key_packages.Beside) -> bytes | None:
    """For `device`, which was just added. None: it gave no key, so it is told nothing."""
    if core.conversation(conversation).kind == policy.Kind.ACCOUNT:
        key: bytes | None = _exported(core.group(conversation))  # its members are the account's devices
    else:
        key = _key(core, conversation, device)
    if key is None:
        return None
    nonce = secrets.token_bytes(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, msgspec.msgpack.encode(beside), conversation + device)


def _exported(group: mls.Group) -> bytes:
    return group.export_secret(LABEL, b"", KEY)


def of_welcome(
    core: Core, conversation: ConversationId, key_package: bytes, enclosed: key_packages.Enclosed
) -> key_packages.Beside | None:
    """What a Welcome brings from a sibling. None: it is not for a KeyPackage that siblings were given.

    :raises ContentError: ``welcome.refused``: it is for such a KeyPackage, and no sibling made it for this conversation
    """
    own = core.identity.device.key
    asked = core.db.first(Addition, "device = ? AND key_package = ?", own, key_package)
    if asked is None:
        return None
    key = _key(core, conversation, own)
    if key is None or asked.conversation != conversation or enclosed.beside is None:
        raise ContentError("welcome.refused", why="beside")
    return unseal(key, conversation, own, enclosed.beside)


def of_account(core: Core, group: mls.Group, enclosed: key_packages.Enclosed) -> key_packages.Beside | None:
    """The same in the account's group, which every member may speak for. :raises ContentError: ``welcome.refused``"""
    if enclosed.beside is None:
        return None
    return unseal(_exported(group), ConversationId(group.group_id), core.identity.device.key, enclosed.beside)


def unseal(key: bytes, conversation: ConversationId, device: DeviceKey, sealed: bytes) -> key_packages.Beside:
    """:raises ContentError: ``welcome.refused``"""
    try:
        opened = AESGCM(key).decrypt(sealed[:NONCE], sealed[NONCE:], conversation + device)
        return msgspec.msgpack.decode(opened, type=key_packages.Beside)
    except (InvalidTag, ValueError, *content.MALFORMED):
        raise ContentError("welcome.refused", why="beside") from None
