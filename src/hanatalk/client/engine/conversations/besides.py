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
from hanatalk.localdb.rows import Addition, KeyPackage

LABEL = "hana beside"
_KEY, _FOR, _FORMER = b"key", b"conversation", b"former "  # names of rows
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
    core.db.mls_write(_owner(conversation, device), [(_KEY, key)])


def replaced(core: Core, conversation: ConversationId, ref: bytes) -> None:
    """This device gives siblings another KeyPackage for the conversation; a Welcome for the one before, `ref`, may
    still come, and has to keep HT-M-150 (HT-M-156)."""
    core.db.mls_write(_former(ref), [(_FOR, conversation)])
    core.db.mls_write(_owner(conversation, core.identity.device.key), [(_FORMER + ref, b"\1")])


def count_replaced(core: Core, conversation: ConversationId) -> int:
    """How many KeyPackages this device gave for the conversation before the one that counts now."""
    return len(_former_ones(core, conversation, core.identity.device.key))


def forget(core: Core, conversation: ConversationId, device: DeviceKey) -> None:
    """The device was added, or will not be."""
    for ref in _former_ones(core, conversation, device):
        core.db.mls_delete(_former(ref))
    core.db.mls_delete(_owner(conversation, device))


def joined(core: Core, conversation: ConversationId) -> None:
    """This device is in: no other KeyPackage that it gave for the conversation is good for anything."""
    own = core.identity.device.key
    refs = _former_ones(core, conversation, own)
    waited = core.db.first(Addition, "conversation = ? AND device = ?", conversation, own)
    if waited is not None:
        refs.append(mls.key_package_inspect(waited.key_package).ref)
    for ref in refs:
        if not core.db.value("SELECT 1 FROM joining WHERE ref = ?", ref):  # that one goes later (HT-M-087)
            core.db.execute("UPDATE key_package SET used = 1 WHERE ref = ?", ref)
            core.db.mls_delete(ref)
            core.db.execute("UPDATE channel SET closed = 1 WHERE owner = ?", ref)
    core.db.execute("DELETE FROM addition WHERE conversation = ? AND device = ?", conversation, own)
    forget(core, conversation, own)


def _owner(conversation: ConversationId, device: DeviceKey) -> bytes:
    return b"beside" + conversation + device


def _former(ref: bytes) -> bytes:
    return b"beside former" + ref


def _former_ones(core: Core, conversation: ConversationId, device: DeviceKey) -> list[bytes]:
    rows = core.db.mls_rows(_owner(conversation, device))
    return [name.removeprefix(_FORMER) for name, _ in rows if name.startswith(_FORMER)]


def _key(core: Core, conversation: ConversationId, device: DeviceKey) -> bytes | None:
    return dict(core.db.mls_rows(_owner(conversation, device))).get(_KEY)


def _asked_for(core: Core, package: KeyPackage) -> ConversationId | None:
    """For which conversation this device gave siblings this KeyPackage; None: for none."""
    asked = core.db.first(Addition, "device = ? AND key_package = ?", core.identity.device.key, package.key_package)
    if asked is not None:
        return asked.conversation
    former = dict(core.db.mls_rows(_former(package.ref)))
    return ConversationId(former[_FOR]) if _FOR in former else None


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
    core: Core, conversation: ConversationId, package: KeyPackage, enclosed: key_packages.Enclosed
) -> key_packages.Beside | None:
    """What a Welcome brings from a sibling. None: it is not for a KeyPackage that siblings were given.

    :raises ContentError: ``welcome.refused``: it is for such a KeyPackage, and no sibling made it for this conversation
    """
    own = core.identity.device.key
    asked = _asked_for(core, package)
    if asked is None:
        return None
    key = _key(core, conversation, own)
    if key is None or asked != conversation or enclosed.beside is None:
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
