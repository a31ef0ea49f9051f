"""Linking a device: the new one shows a code, both screens the same words, both people say yes (HT-M-123, HT-M-124).

The new device begins as an account of its own that nobody knows; when a sibling's Welcome brings a chain with its key,
it becomes a device of that account. Both sides keep where they are in one setting each, so that either may be killed
at any moment.
"""

import hashlib
import secrets
from typing import Annotated

import msgspec

from hanatalk.client import events
from hanatalk.client.engine.conversations import additions, history, key_packages, siblings
from hanatalk.client.engine.core import Core, Identity
from hanatalk.client.engine.formats import accounts, content, link_codes, policy, sealing
from hanatalk.client.engine.formats.link_codes import LinkCode
from hanatalk.client.engine.messages import sending
from hanatalk.client.engine.people import devices
from hanatalk.errors import ContentError, HanaError, StorageError, UsageError, VerificationError
from hanatalk.ids import DeviceKey
from hanatalk.localdb.rows import Account, Channel, OutboxKind, Outgoing, Purpose
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.events import EntryReceived

LINKING = "linking"  # setting of a device that is to be added
APPROVING = "approving"  # setting of the device that adds it
OWNER = b"linking"  # of the channel
LIFETIME = 3_600_000  # milliseconds that a code can be used
MARGIN = 2 * LIFETIME  # milliseconds: what a code may say at most, clocks differ
WORDS = 3  # of 2,048 each: 33 bits
KEY_PACKAGE_LIFETIME = 30 * 86_400_000
_OFFER = b"hana linking offer/1"
_WORDS = b"hana linking words/1"

Thirty2 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=content.NAME_LIMIT)]


class Offered(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Who would add the new device, and to which account. Signed by `device`, which is current in `chain`."""

    code: Thirty2  # digest of the code
    device: Thirty2
    nonce: Thirty2
    name: Name
    chain: list[bytes]


class Offer(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=1):
    """From the approving device."""

    offered: bytes
    signature: accounts.Signature


class Reveal(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=2):
    """From the new device: what it had committed itself to."""

    nonce: Thirty2


class Consent(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=3):
    """From the new device, once its person said yes: what the approving one needs to add it after `head`."""

    head: Thirty2
    co_signature: accounts.Signature
    key_package: bytes


class Refusal(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=4):
    """From either: its person said no, or something does not fit."""


Said = Offer | Reveal | Consent | Refusal
_said = msgspec.msgpack.Decoder(Said)


class Linking(msgspec.Struct, array_like=True, frozen=True):
    """Where a new device stands."""

    code: str
    nonce: bytes
    offer: bytes | None = None  # `Offered`, verified
    consented: bool = False
    failure: str | None = None

    def __repr__(self) -> str:
        return "Linking(…)"


class Approving(msgspec.Struct, array_like=True, frozen=True):
    """Where the approving device stands."""

    code: str
    nonce: bytes
    head: bytes  # of the chain that was offered last
    revealed: bytes | None = None
    confirmed: bool = False
    consent: Consent | None = None
    adding: bool = False
    failure: str | None = None

    def __repr__(self) -> str:
        return "Approving(…)"


def parse(raw: bytes) -> Said:
    """What lies in a linking channel. :raises ContentError: ``entry.damaged``"""
    try:
        said: Said = _said.decode(raw)
    except content.MALFORMED:
        raise ContentError("entry.damaged") from None
    return said


def verify_offer(said: Offer, code: LinkCode) -> tuple[Offered, accounts.Chain]:
    """:raises ContentError: ``entry.damaged``; :raises VerificationError: ``link.forged``, ``chain.broken``"""
    try:
        offered = msgspec.msgpack.decode(said.offered, type=Offered)
    except content.MALFORMED:
        raise ContentError("entry.damaged") from None
    chain = accounts.verify_chain(offered.chain)
    if offered.code != code.digest or offered.device not in chain.devices or not offered.name.strip():
        raise VerificationError("link.forged")
    accounts.verify_signature(offered.device, said.signature, _OFFER + said.offered, "link.forged")
    return offered, chain


def words(code: LinkCode, *, account: bytes, device: bytes, nonce: bytes, revealed: bytes) -> list[int]:
    """The same on both screens, unless somebody stands in between: numbers of words in a list of 2,048 (HT-M-123).

    :param device: the approving one, as `nonce`; `revealed`: the new device's nonce
    """
    text = code.digest + account + device + nonce + revealed
    bits = int.from_bytes(hashlib.sha256(_WORDS + text).digest())
    return [bits >> (256 - 11 * (place + 1)) & 2047 for place in range(WORDS)]


def linking(core: Core) -> Linking | None:
    raw = core.db.setting(LINKING)
    return msgspec.msgpack.decode(raw, type=Linking) if raw is not None else None


def approving(core: Core) -> Approving | None:
    raw = core.db.setting(APPROVING)
    return msgspec.msgpack.decode(raw, type=Approving) if raw is not None else None


def must_be_somebody(core: Core) -> None:
    """:raises UsageError: ``link.first``: this device waits to become one of an account"""
    if core.db.setting(LINKING) is not None:
        raise UsageError("link.first")


def _keep(core: Core, state: Linking | Approving) -> None:
    core.db.put_setting(LINKING if isinstance(state, Linking) else APPROVING, msgspec.msgpack.encode(state))


def _tell(core: Core, state: str) -> None:
    core.emit(events.LinkMoved(state=state))


# the new device ---------------------------------------------------------------------------------------------------


def begin(core: Core, *, language: str, now: int) -> Linking:
    """Show a code; the same one again while it can be used.

    :param language: of the words, ``ko`` or ``en``
    :raises UsageError: ``link.not-new``: this profile is somebody already
    :raises NetworkError: ``network.never-reached``
    """
    known = linking(core)
    at = core.clock.wall(now)
    if known is not None and (known.consented or _code(known).expires_at * 1000 > at) and known.failure is None:
        return known
    used = (
        "SELECT (SELECT count(*) FROM conversation) + (SELECT count(*) FROM invite) + (SELECT count(*) FROM acceptance)"
    )
    if core.db.number(used) or siblings.group(core) is not None:
        raise UsageError("link.not-new")
    url = core.own_relays()[0]
    with core.transaction():
        nonce = secrets.token_bytes(32)
        code = LinkCode(
            1,
            url,
            siblings.relay_key(core, url),
            secrets.token_bytes(32),
            core.identity.device.key,
            link_codes.commitment(nonce),
            (at + LIFETIME) // 1000,
            "ko" if language == "ko" else "en",
        )
        _close(core)
        _listen(core, code, now)
        state = Linking(link_codes.compose(code), nonce)
        _keep(core, state)
    return state


def consent(core: Core, *, yes: bool, now: int) -> None:
    """The person at the new device compared the words. :raises UsageError: ``link.none``"""
    state = linking(core)
    if state is None or state.offer is None:
        raise UsageError("link.none")
    if state.failure is not None:
        return  # the other side said no meanwhile: the state says so
    with core.transaction():
        if yes:
            _keep(core, msgspec.structs.replace(state, consented=True))
            _consent(core, state, now)
            _tell(core, "consented")
        else:
            _say(core, _code(state), Refusal())
            _fail(core, state, "link.refused")


def _consent(core: Core, state: Linking, now: int) -> None:
    code = _code(state)
    chain = accounts.verify_chain(offer_of(state).chain)
    relay = policy.Relay(code.relay_url, code.relay_key)
    package = key_packages.make(
        core, relay, expires_at=core.clock.wall(now) + KEY_PACKAGE_LIFETIME, now=now, joining=chain
    )
    _say(core, code, Consent(chain.head, accounts.co_sign(chain, core.identity.device), package.key_package))


def welcomed(core: Core, chain: accounts.Chain) -> None:
    """A Welcome came: if its sender's chain has this device and is the one that was agreed on, that is who we are."""
    state = linking(core)
    if state is None or not state.consented or chain.account == core.identity.account:
        return
    offered = offer_of(state)
    if core.identity.device.key not in chain.devices or not accounts.extends(
        chain, accounts.verify_chain(offered.chain)
    ):
        raise VerificationError("link.forged")
    core.db.execute("DELETE FROM account WHERE account = ?", core.identity.account)
    core.db.put_setting("account", chain.account)
    core.db.put(Account(chain.account, offered.name, msgspec.msgpack.encode(list(chain.links)), 1))
    core.identity = Identity(core.identity.device, chain, offered.name)
    core.db.execute("DELETE FROM setting WHERE key = ?", LINKING)
    _close(core)
    _tell(core, "linked")


def _hear_as_new(core: Core, state: Linking, said: Said, now: int) -> None:
    code = _code(state)
    if isinstance(said, Refusal):
        _fail(core, state, "link.refused")
    elif isinstance(said, Offer):
        offered, chain = verify_offer(said, code)
        if state.offer is None:
            _keep(core, msgspec.structs.replace(state, offer=said.offered))
            _say(core, code, Reveal(state.nonce))
            _tell(core, "offered")
            return
        before = offer_of(state)
        same = (offered.device, offered.nonce, offered.name) == (before.device, before.nonce, before.name)
        if not same or not accounts.extends(chain, accounts.verify_chain(before.chain)):
            _say(core, code, Refusal())
            _fail(core, state, "link.contested")  # somebody else has seen the code
        elif offered != before:
            state = msgspec.structs.replace(state, offer=said.offered)
            _keep(core, state)
            if state.consented:
                _consent(core, state, now)


# the approving device ---------------------------------------------------------------------------------------------


def approve(core: Core, text: str, *, since: int, now: int) -> Approving:
    """Begin (or go on) approving a code.

    :param since: what history the device is given: milliseconds since 1970, `history.ALL` or `history.NONE`
    :raises ContentError: ``link.malformed``, ``link.is-invite``, ``link.expired``
    :raises UsageError: ``link.own``, ``link.under-way``
    """
    code = link_codes.parse(text)
    text = link_codes.compose(code)
    known = approving(core)
    if known is not None and known.code == text and known.failure is None:
        return known
    at = core.clock.wall(now)
    if not at < code.expires_at * 1000 <= at + MARGIN:
        raise ContentError("link.expired")
    if code.device in core.identity.chain.devices:
        raise UsageError("link.own")
    if linking(core) is not None or (known is not None and known.adding and known.failure is None):
        raise UsageError("link.under-way")
    with core.transaction():
        _close(core)
        _listen(core, code, now)
        core.db.execute("INSERT OR IGNORE INTO relay (url, key) VALUES (?, NULL)", code.relay_url)
        state = Approving(text, secrets.token_bytes(32), core.identity.chain.head)
        _keep(core, state)
        _offer(core, state)
        history.promise(core, code.device_key, since)
    return state


def _offer(core: Core, state: Approving) -> None:
    who, code = core.identity, _code(state)
    offered = msgspec.msgpack.encode(Offered(code.digest, who.device.key, state.nonce, who.name, list(who.chain.links)))
    _say(core, code, Offer(offered, who.device.sign(_OFFER, offered)))


def confirm(core: Core, *, yes: bool, now: int) -> None:
    """The person at the approving device compared the words. :raises UsageError: ``link.none``"""
    state = approving(core)
    if state is None or state.revealed is None:
        raise UsageError("link.none")
    if state.failure is not None:
        return  # the other side said no meanwhile: the state says so
    with core.transaction():
        if yes:
            _keep(core, msgspec.structs.replace(state, confirmed=True))
            due(core, now)
        else:
            _say(core, _code(state), Refusal())
            _fail(core, state, "link.refused")


def _hear_as_approver(core: Core, state: Approving, said: Said, now: int) -> None:
    if isinstance(said, Refusal):
        if not state.adding:
            _fail(core, state, "link.refused")
    elif isinstance(said, Reveal) and state.revealed is None:
        if link_codes.commitment(said.nonce) != _code(state).commitment:
            raise VerificationError("link.forged")
        _keep(core, msgspec.structs.replace(state, revealed=said.nonce))
        _tell(core, "revealed")
    elif isinstance(said, Consent) and state.revealed is not None and not state.adding:
        _keep(core, msgspec.structs.replace(state, consent=said))
        due(core, now)


def due(core: Core, now: int) -> None:
    """Both said yes: add the device; offer again if the account's chain grew meanwhile."""
    state = approving(core)
    if state is None or not state.confirmed or state.failure is not None:
        return
    device = _code(state).device_key
    if device in core.identity.chain.devices:
        with core.transaction():
            core.db.execute("DELETE FROM setting WHERE key = ?", APPROVING)
            _close(core)
            _tell(core, "adding")
    elif state.adding and not _is_candidate(core, device):
        with core.transaction():
            core.db.execute("DELETE FROM setting WHERE key = ?", additions.CANDIDATE)
            state = msgspec.structs.replace(state, adding=False, consent=None, head=core.identity.chain.head)
            _keep(core, state)
            _offer(core, state)
    elif not state.adding and state.consent is not None:
        with core.transaction():
            _add(core, state, state.consent, device, now)


def _is_candidate(core: Core, device: DeviceKey) -> bool:
    row = siblings.group(core)
    return row is not None and device in additions.own_chain(core, row).devices


def _add(core: Core, state: Approving, said: Consent, device: DeviceKey, now: int) -> None:
    if said.head != core.identity.chain.head:  # the chain grew: ask for consent to what it is now
        if state.head != core.identity.chain.head:
            state = msgspec.structs.replace(state, consent=None, head=core.identity.chain.head)
            _keep(core, state)
            _offer(core, state)
        return
    try:
        devices.add(core, device, said.co_signature, said.key_package, now)
    except StorageError:
        raise
    except HanaError as error:
        _fail(core, state, error.code)
        return
    _keep(core, msgspec.structs.replace(state, adding=True))
    due(core, now)


# both ---------------------------------------------------------------------------------------------------------------


def entry(core: Core, channel: Channel, event: EntryReceived, now: int) -> None:
    """Something was said in the linking channel."""
    own = core.db.first(Outgoing, "channel = ? AND entry = ?", channel.channel, event.entry)
    if own is not None:
        sending.stored(core, own, event.seq, now)
        return
    try:
        kind, body = sealing.unseal(
            channel.seal_key,
            channel.channel,
            entry_class=event.entry_class,
            commit=event.commit,
            entry=event.entry,
        )
        if kind is not sealing.BodyKind.LINK:
            return
        said = parse(body)
        new, approver = linking(core), approving(core)
        if new is not None and new.failure is None and _code(new).capability.channel == channel.channel:
            _hear_as_new(core, new, said, now)
        elif (
            approver is not None and approver.failure is None and _code(approver).capability.channel == channel.channel
        ):
            _hear_as_approver(core, approver, said, now)
    except (ContentError, VerificationError) as error:
        core.notice(events.Alarm(conversation=None, code=error.code), now)


def _is_of(state: Linking | Approving, channel: Channel) -> bool:
    return state.failure is None and _code(state).capability.channel == channel.channel


def _code(state: Linking | Approving) -> LinkCode:
    return link_codes.parse(state.code)


def offer_of(state: Linking) -> Offered:
    """What the new device was offered; it was verified before it was kept."""
    return msgspec.msgpack.decode(state.offer or b"", type=Offered)


def shown_words(core: Core) -> list[int]:
    """What this screen shows; empty while there is nothing to compare."""
    state, approver = linking(core), approving(core)
    if state is not None and state.offer is not None:
        offered = offer_of(state)
        account = accounts.verify_chain(offered.chain).account
        return words(_code(state), account=account, device=offered.device, nonce=offered.nonce, revealed=state.nonce)
    if approver is not None and approver.revealed is not None:
        who = core.identity
        return words(
            _code(approver),
            account=who.account,
            device=who.device.key,
            nonce=approver.nonce,
            revealed=approver.revealed,
        )
    return []


def _listen(core: Core, code: LinkCode, now: int) -> None:
    at = code.capability
    key_packages.listen(core, at.channel, Purpose.LINK, OWNER, code.relay_url, at, now)


def _close(core: Core) -> None:
    core.db.execute("UPDATE channel SET closed = 1 WHERE purpose = ?", Purpose.LINK)


def _fail(core: Core, state: Linking | Approving, code: str) -> None:
    _keep(core, msgspec.structs.replace(state, failure=code))
    _tell(core, "failed")


def _say(core: Core, code: LinkCode, said: Said) -> None:
    at = code.capability
    channel = core.channel(at.channel)
    if channel is None:
        return
    sealed = sealing.seal(
        at.seal_key,
        at.channel,
        entry_class=EntryClass.MESSAGE,
        kind=sealing.BodyKind.LINK,
        body=msgspec.msgpack.encode(said),
    )
    frame = sending.frame_for(channel, kind=OutboxKind.LINK, owner=OWNER, entry=sealed, entry_class=EntryClass.MESSAGE)
    core.db.insert(msgspec.structs.replace(frame, burn_after=2, erase_token=secrets.token_bytes(32)))


def give_up(core: Core, now: int) -> None:
    """Codes that nobody used in time are forgotten; those to which this side said yes as late as the KeyPackage."""
    at = core.clock.wall(now)
    for setting, state in ((LINKING, linking(core)), (APPROVING, approving(core))):
        if state is None or (isinstance(state, Approving) and state.adding):
            continue
        agreed = state.consented if isinstance(state, Linking) else state.confirmed
        if _code(state).expires_at * 1000 + (KEY_PACKAGE_LIFETIME if agreed else LIFETIME) < at:
            core.db.execute("DELETE FROM setting WHERE key = ?", setting)
            _close(core)
