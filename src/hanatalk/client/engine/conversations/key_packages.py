"""KeyPackages: own ones and where their Welcomes are left, others' checked and kept (HT-M-010 … HT-M-013)."""

import secrets
from typing import Annotated

import msgspec

from hanatalk import mls
from hanatalk.client.engine.core import DAY, Core, new_entry_id, new_reader
from hanatalk.client.engine.formats import accounts, content, keys, pasted, policy, records, sealing
from hanatalk.errors import ContentError, HanaError
from hanatalk.ids import ChannelId, ConversationId, DeviceKey, WriteToken
from hanatalk.localdb.rows import Channel, ContactKeyPackage, KeyPackage, OutboxKind, Outgoing, Purpose
from hanatalk.wire.channels import read_verifier
from hanatalk.wire.classes import EntryClass

NOT_BEFORE_MARGIN = 3_600  # seconds: clocks differ
CONTACT_KEY_PACKAGES = 8  # kept of each device
SPARE = {mls.SUITE_X_WING: 3, mls.SUITE_X25519: 1}  # left with every contact
SPARE_LIFETIME = 30 * DAY
SPARE_RENEWED = 7 * DAY  # before they expire
MEMBERS_LIMIT = 8192  # devices that one conversation may have here
RECEIPTS_LIMIT = 4096

Thirty2 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class From(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Where a late joiner begins to count a device's messages, and up to where its own person had read them."""

    device: Thirty2
    highest: content.Counter
    read: content.Counter
    since: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]  # epoch in which it came


class Told(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What a device confirmed of another's messages."""

    about: Thirty2
    device: Thirty2
    decrypted: content.Counter
    read: content.Counter


class Beside(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What a sibling tells a device that joins late (HT-M-122). Secret."""

    resync: Thirty2 | None
    streams: Annotated[list[From], msgspec.Meta(max_length=MEMBERS_LIMIT)]
    receipts: Annotated[list[Told], msgspec.Meta(max_length=RECEIPTS_LIMIT)]
    silent: Annotated[list[Thirty2], msgspec.Meta(max_length=MEMBERS_LIMIT)]  # accounts that confirm no reading
    is_silent: bool  # the own account among them
    complete: bool  # the joiner was given everything that is not read
    tail: Annotated[list[records.Batch], msgspec.Meta(max_length=MEMBERS_LIMIT)]  # messages since its history was made

    def __repr__(self) -> str:
        return "Beside(…)"


class Enclosed(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What lies in a Welcome channel: the Welcome and the chain of who made it; into a group also the ratchet tree
    and all its people (HT-M-086); for a sibling also what it needs of what went before, sealed (see `besides`)."""

    version: int
    welcome: bytes
    chain: list[bytes]
    tree: bytes | None = None
    people: Annotated[list[content.Person], msgspec.Meta(max_length=content.PEOPLE_LIMIT)] = []
    beside: bytes | None = None


def make(
    core: Core,
    relay: policy.Relay,
    *,
    expires_at: int,
    now: int,
    suite: int = mls.SUITE_X_WING,
    given: ConversationId | None = None,
    joining: accounts.Chain | None = None,
) -> KeyPackage:
    """Make and keep an own KeyPackage and listen where its Welcome will be left. `expires_at`, `now`: milliseconds.

    :param given: the conversation in which it will be given away
    :param joining: the chain of an account that is to add this device next (HT-M-124)
    """
    signer = mls.signer_new()
    at = keys.welcome(secrets.token_bytes(32), relay.relay_key)
    extension = policy.WelcomeAt(1, relay.url, read_verifier(at.read_token), at.write_token, at.seal_key)
    made = mls.key_package_new(
        signer,
        suite=suite,
        credential=(
            accounts.credential(core.identity.chain, core.identity.device, signer.public_key)
            if joining is None
            else accounts.credential_when_added(joining, core.identity.device, signer.public_key)
        ),
        extensions=[(policy.WELCOME_EXTENSION, policy.encode(extension))],
        not_before=core.clock.wall(now) // 1000 - NOT_BEFORE_MARGIN,
        not_after=expires_at // 1000,
    )
    row = KeyPackage(made.ref, made.key_package, expires_at, given=given, suite=suite)
    core.db.insert(row)
    core.db.mls_write(made.ref, made.writes)
    listen(core, at.channel, Purpose.WELCOME, made.ref, relay.url, at, now)
    return row


def listen(
    core: Core, channel: ChannelId, purpose: Purpose, owner: bytes, relay: str, at: keys.Capability, now: int
) -> None:
    core.db.insert(
        Channel(
            channel,
            purpose,
            owner,
            relay,
            at.read_token,
            at.write_token,
            at.seal_key,
            new_reader(),
            None,
            0,
            0,
            bytes(32),
            0,
            now,
        )
    )
    core.rescan()


def check(key_package: bytes, chain: accounts.Chain, now: int) -> policy.WelcomeAt:
    """:raises ContentError: ``key-package.malformed``, ``key-package.expired`` (T-018); :raises VerificationError:"""
    info, at = inspected(key_package, chain)
    if not info.not_before <= now // 1000 + NOT_BEFORE_MARGIN or now // 1000 > info.not_after:
        raise ContentError("key-package.expired")
    return at


def inspected(key_package: bytes, chain: accounts.Chain) -> tuple[mls.KeyPackageInfo, policy.WelcomeAt]:
    """Everything about somebody's KeyPackage that needs no clock.

    :raises ContentError, VerificationError:
    """
    info = mls.key_package_inspect(key_package)
    if info.suite not in (mls.SUITE_X_WING, mls.SUITE_X25519):  # HT-M-008
        raise ContentError("key-package.malformed", why="suite")
    if info.not_after >= pasted.EXPIRES_LIMIT:  # HT-M-010
        raise ContentError("key-package.malformed", why="lifetime")
    accounts.verify_credential(info.credential, info.signature_key, chain)
    return info, policy.parse_welcome_at(info.extensions)


def extensions(key_package: bytes) -> mls.Extensions:
    """KeyPackage extensions; `check` verified it."""
    return mls.key_package_inspect(key_package).extensions


def device(key_package: bytes) -> DeviceKey:
    """Whose KeyPackage it says it is; `check` verified it. :raises VerificationError: ``credential.malformed``"""
    return DeviceKey(accounts.read_credential(mls.key_package_inspect(key_package).credential).device)


def found(
    core: Core, conversation: ConversationId, agreed: policy.Policy, key_package: bytes
) -> tuple[mls.Group, mls.Writes, bytes]:
    """A group of this device and the KeyPackage's: the group, its rows, the Welcome.

    Its founder is alone in epoch 0, so the first commit is merged at once (HT-M-016).
    """
    signer = mls.signer_new()
    group, created = mls.Group.create(
        signer,
        suite=mls.SUITE_X_WING,
        group_id=conversation,
        credential=accounts.credential(core.identity.chain, core.identity.device, signer.public_key),
        extensions=[(policy.EXTENSION, policy.encode(agreed))],
    )
    made = group.commit(adds=[key_package])
    merged = group.pending_merge()
    if made.welcome is None:
        raise ContentError("mls.no-welcome")
    return group, [*created, *made.writes, *merged], made.welcome


def leave_welcome(core: Core, conversation: ConversationId, at: policy.WelcomeAt, welcome: bytes) -> None:
    """Put a Welcome into the outbox, for the channel that its KeyPackage names (HT-M-013)."""
    leave(core, conversation, at, msgspec.msgpack.encode(Enclosed(1, welcome, list(core.identity.chain.links))))


def leave(
    core: Core,
    conversation: ConversationId,
    at: policy.WelcomeAt,
    enclosed: bytes,
    kind: sealing.BodyKind = sealing.BodyKind.WELCOME,
) -> None:
    """As `leave_welcome`; `enclosed`: the body of the entry."""
    core.db.execute("INSERT OR IGNORE INTO relay (url, key) VALUES (?, NULL)", at.relay_url)
    where = keys.WriteCapability(at.read_verifier, WriteToken(at.write_token), at.seal_key)
    entry = sealing.seal(
        where.seal_key,
        where.channel,
        entry_class=EntryClass.CONTROL,
        kind=kind,
        body=enclosed,
    )
    core.db.insert(
        Outgoing(
            None,
            new_entry_id(),
            at.relay_url,
            where.channel,
            where.read_verifier,
            0,
            where.write_token,
            EntryClass.CONTROL,
            0,
            None,
            None,
            entry,
            OutboxKind.WELCOME,
            conversation,
        )
    )


def remember(core: Core, chain: accounts.Chain, found: list[bytes]) -> None:
    """Keep a contact's KeyPackages that are sound; the rest is ignored."""
    for key_package in found[:CONTACT_KEY_PACKAGES]:
        try:
            info, _ = inspected(key_package, chain)
        except HanaError:
            continue
        found_device = DeviceKey(accounts.read_credential(info.credential).device)
        core.db.put(
            ContactKeyPackage(chain.account, info.ref, key_package, info.not_after * 1000, found_device, info.suite)
        )
        core.db.execute(
            "DELETE FROM contact_key_package WHERE account = ? AND device = ? AND ref NOT IN "
            "(SELECT ref FROM contact_key_package WHERE account = ? AND device = ? ORDER BY expires_at DESC LIMIT ?)",
            chain.account,
            found_device,
            chain.account,
            found_device,
            CONTACT_KEY_PACKAGES,
        )


def spares(core: Core, conversation: ConversationId, relay: policy.Relay, now: int) -> list[bytes]:
    """Fresh KeyPackages for a contact in place of used ones and those about to expire (HT-C-080). Makes what is
    missing."""
    made = []
    for suite, wanted in SPARE.items():
        left = core.db.number(
            "SELECT count(*) FROM key_package WHERE given = ? AND suite = ? AND used = 0 AND expires_at > ?",
            conversation,
            suite,
            core.clock.wall(now) + SPARE_RENEWED,
        )
        for _ in range(wanted - left):
            expires_at = core.clock.wall(now) + SPARE_LIFETIME
            row = make(core, relay, expires_at=expires_at, now=now, suite=suite, given=conversation)
            made.append(row.key_package)
    return made


def of_contact(core: Core, chain: accounts.Chain, suite: int, now: int) -> list[ContactKeyPackage]:
    """One usable KeyPackage for each device of an account, as far as there are some."""
    found: dict[DeviceKey, ContactKeyPackage] = {}
    for row in core.db.find(
        ContactKeyPackage, "account = ? AND suite = ? ORDER BY expires_at DESC", chain.account, suite
    ):
        if row.device not in found:
            try:
                check(row.key_package, chain, core.clock.wall(now))
            except HanaError:
                continue
            found[row.device] = row
    return list(found.values())
