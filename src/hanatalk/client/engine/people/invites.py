"""Invites: offering, accepting while the other is offline, joining by the Welcome (HT-M-010 … HT-M-016, HT-M-030)."""

import hashlib
import secrets
from typing import Annotated

import msgspec

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine.conversations import (
    annexes,
    beginning,
    besides,
    commits,
    joining,
    key_packages,
    resync,
    siblings,
)
from hanatalk.client.engine.core import DAY, Core
from hanatalk.client.engine.formats import accounts, content, keys, links, policy, sealing
from hanatalk.client.engine.messages import sending
from hanatalk.client.engine.people import devices, linking
from hanatalk.errors import ContentError, HanaError, StorageError, UsageError, VerificationError
from hanatalk.ids import AccountId, ChannelId, ConversationId, TakeId, WriteToken
from hanatalk.localdb.rows import (
    Acceptance,
    Channel,
    Conversation,
    IntentKind,
    IntroductionState,
    Invite,
    KeyPackage,
    OutboxKind,
    Purpose,
)
from hanatalk.wire.channels import channel_id, write_verifier
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.events import EntryReceived, EntryTaken

OWN_RELAYS = 4  # of one person: the own one and its fallbacks
EXPIRES_LEAST, EXPIRES_MOST = 60, 30 * 86_400  # seconds
UPDATE_AFTER_JOIN = 1_000  # milliseconds
VERIFICATION_CODES = frozenset(
    {
        "invite.swapped",
        "chain.broken",
        "chain.other-account",
        "chain.fork",
        "credential.malformed",
        "credential.forged",
        "credential.not-in-chain",
    }
)


class Offer(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What lies in an invite's channel."""

    version: int
    key_package: bytes
    name: str
    chain: list[bytes]
    relays: Annotated[list[policy.Relay], msgspec.Meta(max_length=OWN_RELAYS - 1)] = []  # in version 2: at least one


def _packed(offer: Offer) -> bytes:
    """Version 1 has no list of relays; whoever reads no other can still read the offers of most people."""
    return msgspec.msgpack.encode(msgspec.structs.astuple(offer)[: None if offer.relays else -1])


def offer(core: Core, url: str, *, expires: int, now: int, leads_to: ConversationId | None = None) -> Invite:
    """Make an invite; usable once its offer is stored.

    :param expires: seconds
    :param leads_to: a group to which whoever comes is added
    :raises UsageError: ``invite.expiry``; :raises NetworkError: ``network.never-reached``
    """
    linking.must_be_somebody(core)
    if not EXPIRES_LEAST <= expires <= EXPIRES_MOST:
        raise UsageError("invite.expiry", least=EXPIRES_LEAST, most=EXPIRES_MOST)
    with core.transaction():
        relay = policy.Relay(url, siblings.relay_key(core, url))
        expires_at = core.clock.wall(now) + expires * 1000
        package = key_packages.make(core, relay, expires_at=expires_at, now=now)
        secret, write_token = secrets.token_bytes(32), WriteToken(secrets.token_bytes(32))
        read_token, seal_key = keys.invite(secret, relay.relay_key)
        channel = channel_id(read_token, write_token)
        at = keys.Capability(read_token, write_token, seal_key)
        key_packages.listen(core, channel, Purpose.INVITE, channel, url, at, now)
        link = links.InviteLink(
            1,
            url,
            relay.key,
            secret,
            write_verifier(write_token),
            core.identity.account,
            hashlib.sha256(package.key_package).digest(),
            expires_at // 1000,
        )
        fallbacks = _fallbacks(core, relay)
        body = Offer(
            2 if fallbacks else 1, package.key_package, core.identity.name, list(core.identity.chain.links), fallbacks
        )
        entry = sealing.seal(
            seal_key,
            channel,
            entry_class=EntryClass.INVITE,
            kind=sealing.BodyKind.OFFER,
            body=_packed(body),
        )
        row = Invite(channel, links.compose(link), package.ref, expires_at, leads_to=leads_to)
        core.db.insert(row)
        own = core.channel(channel)
        if own is None:
            raise AssertionError("the channel was just inserted")
        core.db.insert(
            sending.frame_for(own, kind=OutboxKind.INVITE, owner=channel, entry=entry, entry_class=EntryClass.INVITE)
        )
        return row


def begin(core: Core, text: str, *, now: int) -> Acceptance:
    """Begin (or go on) accepting a link: the take_id is durable before the relay is asked.

    :raises ContentError: ``invite.malformed``, ``invite.expired``, ``invite.too-far``
    :raises UsageError: ``invite.own``
    """
    linking.must_be_somebody(core)
    link = links.parse(text)
    channel = link.capability.channel
    known = core.db.first(Acceptance, "channel = ?", channel)
    if known is not None and known.conversation is not None:
        return known
    if link.account == core.identity.account:
        raise UsageError("invite.own")
    if link.expires_at * 1000 <= core.clock.wall(now):
        raise ContentError("invite.expired")
    if link.expires_at > core.clock.wall(now) // 1000 + EXPIRES_MOST + DAY // 1000:
        raise ContentError("invite.too-far")  # made to have its relay asked for years, or this device's clock is behind
    with core.transaction():
        row = Acceptance(channel, links.compose(link), known.take_id if known else TakeId(secrets.token_bytes(16)))
        core.db.put(row)
        core.db.execute("INSERT OR IGNORE INTO relay (url, key) VALUES (?, NULL)", link.relay_url)
    return row


def taken(core: Core, event: EntryTaken, now: int) -> None:
    """The relay answered the take: make the conversation, or remember why not."""
    row = core.db.first(Acceptance, "channel = ? AND conversation IS NULL", event.channel_id)
    if row is None:
        return
    try:
        if event.entry is None:
            raise ContentError("invite.used")
        conversation = _accept(core, links.parse(row.link), event.entry, now)
    except StorageError:
        raise  # the disk, not the link: it is taken again (T-083)
    except HanaError as error:
        core.db.execute("UPDATE acceptance SET failure = ? WHERE channel = ?", error.code, row.channel)
        return
    core.db.execute(
        "UPDATE acceptance SET conversation = ?, failure = NULL WHERE channel = ?", conversation, row.channel
    )


def give_up(core: Core, now: int) -> None:
    """Links that could not be taken by their expiry: their relay is no longer asked, nor waited for (HT-M-036)."""
    for row in core.db.find(Acceptance, "conversation IS NULL AND failure IS NULL"):
        if links.parse(row.link).expires_at * 1000 <= now:
            core.db.execute("UPDATE acceptance SET failure = 'invite.expired' WHERE channel = ?", row.channel)


def failed(code: str) -> HanaError:
    """The error of a failed acceptance, as it was raised."""
    kind = VerificationError if code in VERIFICATION_CODES else ContentError
    return kind(code)


def _accept(core: Core, link: links.InviteLink, entry: bytes, now: int) -> ConversationId:
    capability = link.capability
    kind, raw = sealing.unseal(capability.seal_key, capability.channel, entry_class=EntryClass.INVITE, entry=entry)
    try:
        found = msgspec.msgpack.decode(raw, type=Offer)
    except content.MALFORMED:
        raise ContentError("entry.damaged") from None
    if kind is not sealing.BodyKind.OFFER or found.version != (2 if found.relays else 1):
        raise ContentError("entry.damaged")
    if hashlib.sha256(found.key_package).digest() != link.key_package_hash:
        raise VerificationError("invite.swapped")  # T-017
    chain = accounts.verify_chain(found.chain, account=AccountId(link.account))
    at = key_packages.check(found.key_package, chain, core.clock.wall(now))
    relay = policy.Relay(link.relay_url, link.relay_key)
    core.remember_account(chain, found.name)
    agreed = policy.direct([core.identity.account, chain.account], relay, *_fallbacks(core, relay, found.relays))
    conversation = _found(core, agreed, found.key_package, at, now)
    core.emit(events.MemberJoined(conversation=conversation.hex(), account=chain.account.hex(), name=found.name))
    return conversation


def _fallbacks(core: Core, first: policy.Relay, others: list[policy.Relay] | None = None) -> list[policy.Relay]:
    """Where the conversation goes if the first relay is gone: the inviter's `others`, then the own ones (HT-M-064)."""
    own = [policy.Relay(url, key) for url in core.own_relays() if (key := core.relay_key(url)) is not None]
    found = [first]
    for relay in [*(others or []), *own]:
        if all(relay.url != known.url and relay.key != known.key for known in found):
            found.append(relay)
    return found[1:]


def found(core: Core, chain: accounts.Chain, key_package: bytes, now: int) -> ConversationId:
    """Begin a conversation of two by a KeyPackage, at the own relay.

    :raises ContentError, VerificationError: see `key_packages.check`; :raises NetworkError: ``network.never-reached``
    """
    at = key_packages.check(key_package, chain, core.clock.wall(now))
    url = core.own_relays()[0]
    relay = policy.Relay(url, siblings.relay_key(core, url))
    agreed = policy.direct([core.identity.account, chain.account], relay, *_fallbacks(core, relay))
    return _found(core, agreed, key_package, at, now)


def _found(core: Core, agreed: policy.Policy, key_package: bytes, at: policy.WelcomeAt, now: int) -> ConversationId:
    """Make the group (HT-M-031)."""
    conversation = ConversationId(secrets.token_bytes(16))
    group, writes, welcome = key_packages.found(core, conversation, agreed, key_package)
    core.db.mls_write(conversation, writes)
    beginning.begin(core, conversation, group, agreed, now)
    key_packages.leave_welcome(core, conversation, at, welcome)
    beginning.greet(core, conversation, agreed, now)
    devices.noticed(core, conversation, now)
    return conversation


def welcome_entry(core: Core, channel: Channel, event: EntryReceived, now: int) -> None:
    """Somebody left a Welcome for one of our KeyPackages (HT-M-013): join, once (T-033)."""
    package = core.db.first(KeyPackage, "ref = ?", channel.owner)
    if package is None or package.used:
        return
    try:
        kind, body = sealing.unseal(
            channel.seal_key,
            channel.channel,
            entry_class=event.entry_class,
            commit=event.commit,
            entry=event.entry,
        )
        if kind is sealing.BodyKind.ANNEX:
            annexes.begin(core, package.ref, body, now)
            return
        if kind is not sealing.BodyKind.WELCOME:
            raise ContentError("entry.damaged")
    except HanaError as error:
        core.notice(events.Alarm(conversation=None, code=error.code), now)
        return
    _welcomed(core, package, channel, body, now)


def annex_entry(core: Core, channel: Channel, event: EntryReceived, now: int) -> None:
    """A piece of a large Welcome's body came: with the last one, join (HT-M-089)."""
    found = annexes.entry(core, channel, event)
    package = core.db.first(KeyPackage, "ref = ? AND used = 0", found[0]) if found is not None else None
    if found is None or package is None:
        return
    at = core.db.first(Channel, "owner = ? AND purpose = ?", package.ref, Purpose.WELCOME)
    if at is not None:
        _welcomed(core, package, at, found[1], now)


def _welcomed(core: Core, package: KeyPackage, channel: Channel, body: bytes, now: int) -> None:
    """Join by the body of a Welcome's entry."""
    try:
        enclosed = _enclosed(body)
        linking.welcomed(core, accounts.verify_chain(enclosed.chain))
        staged = mls.welcome_stage(enclosed.welcome, core.db.mls_rows(package.ref), ratchet_tree=enclosed.tree)
        agreed = policy.parse(staged.extensions)
        _check_introduced(core, package, chain=accounts.verify_chain(enclosed.chain), agreed=agreed)
        beside = besides.of_welcome(core, ConversationId(staged.group_id), package, enclosed)
        if agreed.kind is policy.Kind.GROUP:
            joining.join(core, package, enclosed, staged, agreed, now)
            devices.welcomed(core, ConversationId(staged.group_id), enclosed, beside, now)
            return
        joined = _join(core, package, enclosed, staged, agreed, beside, now)
        conversation, chain, again = joined.conversation, joined.chain, joined.again
    except StorageError:
        raise  # the disk, not the Welcome: it comes again (T-083)
    except HanaError as error:
        core.notice(events.Alarm(conversation=None, code=error.code), now)
        return
    core.db.execute("UPDATE key_package SET used = 1 WHERE ref = ?", package.ref)
    core.db.mls_delete(package.ref)
    core.db.execute("UPDATE channel SET closed = 1 WHERE channel = ?", channel.channel)
    if package.stale:
        resync.lost(
            core, conversation, "conversation.old-copy", now
        )  # somebody may have joined by it already (HT-M-072)
    if again:
        return
    core.db.execute("UPDATE invite SET conversation = ? WHERE key_package = ?", conversation, package.ref)
    core.db.execute("UPDATE introduction SET state = ? WHERE ref = ?", IntroductionState.DONE, package.ref)
    core.db.execute("DELETE FROM kept WHERE owner IN (SELECT invite FROM invite WHERE key_package = ?)", package.ref)
    agreed = policy.parse([(policy.EXTENSION, core.conversation(conversation).policy)])
    beginning.greet(core, conversation, agreed, now)
    commits.want(core, conversation, IntentKind.UPDATE, now + UPDATE_AFTER_JOIN)
    devices.welcomed(core, conversation, enclosed, joined.beside, now)
    if chain.account == core.identity.account:
        return
    core.emit(
        events.MemberJoined(conversation=conversation.hex(), account=chain.account.hex(), name=core.name(chain.account))
    )


def _check_introduced(core: Core, package: KeyPackage, *, chain: accounts.Chain, agreed: policy.Policy) -> None:
    """A KeyPackage that was given for an introduction is for that account alone (HT-C-127).

    :raises ContentError: ``welcome.refused``
    """
    expected = core.db.value("SELECT account FROM introduction WHERE ref = ?", package.ref)
    if expected is not None and (expected != chain.account or agreed.kind is not policy.Kind.DIRECT):
        raise ContentError("welcome.refused", why="introduction")


def _enclosed(raw: bytes) -> key_packages.Enclosed:
    """:raises ContentError: ``entry.damaged``"""
    try:
        enclosed = msgspec.msgpack.decode(raw, type=key_packages.Enclosed)
    except content.MALFORMED:
        raise ContentError("entry.damaged") from None
    if enclosed.version != 1:
        raise ContentError("entry.damaged")
    return enclosed


class _Joined(msgspec.Struct, frozen=True):
    """`chain`: of who left the Welcome; `again`: the conversation was known before (HT-M-060)."""

    conversation: ConversationId
    chain: accounts.Chain
    again: bool
    beside: key_packages.Beside | None


def _join(
    core: Core,
    package: KeyPackage,
    enclosed: key_packages.Enclosed,
    staged: mls.StagedWelcome,
    agreed: policy.Policy,
    beside: key_packages.Beside | None,
    now: int,
) -> _Joined:
    chain = accounts.verify_chain(enclosed.chain)
    conversation = ConversationId(staged.group_id)
    if len(conversation) != 16:
        raise ContentError("welcome.refused", why="group")
    known = core.db.first(Conversation, "conversation = ?", conversation)
    chains = {core.identity.account: core.identity.chain}
    for brought in (chain, *(accounts.verify_chain(person.chain) for person in enclosed.people)):
        before = chains.get(brought.account) or core.chain(brought.account)
        chains[brought.account] = brought if before is None else accounts.longer(before, brought)
    people = set()
    for member in staged.members:
        account = AccountId(accounts.read_credential(member.credential).account)
        if account not in chains and (before := core.chain(account)) is not None:
            chains[account] = before
        if account not in chains:
            raise VerificationError("credential.not-in-chain")
        found = accounts.verify_credential(member.credential, member.signature_key, chains[account])
        if (member.leaf == staged.own_leaf) != (found.device == core.identity.device.key):
            raise VerificationError("welcome.refused", why="leaf")
        people.add(account)
    expected = {AccountId(admin) for admin in agreed.admins}
    if agreed.kind is policy.Kind.ACCOUNT:
        expected = {core.identity.account}
    if people != expected or len(people) > 2:
        raise ContentError("welcome.refused", why="members")
    if known is not None:
        resync.check_welcome(core, known, package.ref, agreed, people)
    group, writes = staged.join()
    if agreed.kind is policy.Kind.ACCOUNT:
        beside = besides.of_account(core, group, enclosed)
    names = {accounts.verify_chain(person.chain).account: person.name for person in enclosed.people}
    for account in people:
        core.remember_account(chains[account], core.name(account) or names.get(account))
    if known is not None:
        resync.back(core, known, group, writes, agreed, now)
    else:
        core.db.mls_write(conversation, writes)
        secret = beside.resync if beside is not None else None
        beginning.begin(core, conversation, group, agreed, now, resync_secret=secret)
    return _Joined(conversation, chain, known is not None, beside)


def refused_takes(core: Core, channel: ChannelId, count: int, now: int) -> None:
    """Somebody came too late with an own link: the inviter sees it (T-075)."""
    row = core.db.first(Invite, "invite = ?", channel)
    if row is not None and count > row.refused:
        core.db.execute("UPDATE invite SET refused = ? WHERE invite = ?", count, channel)
        core.notice(events.InviteRefused(invite=channel.hex(), refused=count), now, row.conversation)
