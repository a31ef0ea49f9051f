"""The devices of the own account: their group, what they say there, who adds and removes whom (HT-M-126 … HT-M-129).

What is to be is computed from the sigchain and the rosters, whenever something changed and at every start: a kill at
any point costs nothing but time.
"""

import secrets

import msgspec

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine.conversations import (
    additions,
    beginning,
    besides,
    commits,
    history,
    key_packages,
    siblings,
)
from hanatalk.client.engine.core import DAY, Core
from hanatalk.client.engine.formats import accounts, policy, syncing
from hanatalk.client.engine.formats.content import Sync
from hanatalk.client.engine.people import standing_in
from hanatalk.errors import UsageError, VerificationError
from hanatalk.ids import AccountId, ConversationId, DeviceKey
from hanatalk.localdb.rows import (
    Account,
    Addition,
    Conversation,
    ConversationState,
    IntentKind,
    Member,
    Receipt,
    Stream,
)

REVOKED = "revoked"  # setting: this device was removed by its siblings
TOLD = "told-where"  # setting: a sibling said in which conversations this device is to be
REMOVING = "removing-device"  # setting: until the account's group ordered the link
KEY_PACKAGE_LIFETIME = 30 * DAY
CONTACTS_BYTES = 32_000  # of sigchains and names in one message
OTHERS_WAIT = 60_000  # milliseconds per leaf that everybody but the remover waits before it removes a device
STRANGERS_WAIT = 3_600_000  # milliseconds that others leave to an account's own devices


# adding ---------------------------------------------------------------------------------------------------------------


def add(core: Core, device: DeviceKey, co_signature: bytes, key_package: bytes, now: int) -> None:
    """Add a device that asked for it: to the chain and to the account's group (HT-M-124).

    With several devices the account's group decides the order of links; until its commit came back the chain is only
    a candidate.

    :raises VerificationError: the co-signature is not for this chain; :raises ContentError: the KeyPackage is no good
    """
    chain = accounts.extend(
        core.identity.chain,
        core.identity.device,
        change=accounts.Change.ADD,
        device=device,
        co_signature=co_signature,
    )
    at = key_packages.check(key_package, chain, core.clock.wall(now))
    if key_packages.device(key_package) != device:
        raise VerificationError("credential.forged")
    row = siblings.group(core)
    if row is None:
        core.remember_account(chain)
        _found(core, key_package, at, now)
        _begin_with(core, [device], now)
        return
    core.db.put_setting(additions.CANDIDATE, msgspec.msgpack.encode(list(chain.links)))
    core.db.put(Addition(row.conversation, device, key_package))
    commits.want(core, row.conversation, IntentKind.DEVICES, now)


def _found(core: Core, key_package: bytes, at: policy.WelcomeAt, now: int) -> None:
    relays = [policy.Relay(url, siblings.relay_key(core, url)) for url in core.own_relays()]
    agreed = policy.account(core.identity.account, *relays)
    conversation = ConversationId(secrets.token_bytes(16))
    made, writes, welcome = key_packages.found(core, conversation, agreed, key_package)
    core.db.mls_write(conversation, writes)
    beginning.begin(core, conversation, made, agreed, now)
    core.db.put_setting(siblings.GROUP, conversation)
    key_packages.leave_welcome(core, conversation, at, welcome)
    tell_contacts(core, None, now)


def changed(core: Core, conversation: ConversationId, now: int) -> None:
    """An own commit that adds or removes devices came back."""
    row = core.conversation(conversation)
    if row.kind == policy.Kind.ACCOUNT:
        core.remember_account(additions.own_chain(core, row))
        core.db.execute("DELETE FROM setting WHERE key = ?", additions.CANDIDATE)
        added = additions.came_back(core, row, now)
        if added:
            tell_contacts(core, None, now)
        _begin_with(core, added, now)
    else:
        additions.came_back(core, row, now)


def welcomed(
    core: Core,
    conversation: ConversationId,
    enclosed: key_packages.Enclosed,
    beside: key_packages.Beside | None,
    now: int,
) -> None:
    """This device joined; a sibling added it to a conversation that was under way (HT-M-122)."""
    if accounts.verify_chain(enclosed.chain).account != core.identity.account:
        noticed(core, conversation, now)  # for the other own devices
        return
    if beside is not None:
        _late(core, conversation, beside, now)
    _joined(core, conversation, now)


def _late(core: Core, conversation: ConversationId, beside: key_packages.Beside, now: int) -> None:
    members = {member.device: member for member in core.members(conversation)}
    for begin in beside.streams:
        member = members.get(DeviceKey(begin.device))
        if member is None:
            continue
        core.db.execute(
            "UPDATE member SET since_epoch = ? WHERE conversation = ? AND device = ?",
            min(begin.since, member.since_epoch),
            conversation,
            begin.device,
        )
        if member.device != core.identity.device.key:
            read = min(begin.read, begin.highest)
            base, base_read = (0, 0) if beside.complete else (begin.highest, read)
            core.db.put(
                Stream(conversation, member.device, begin.highest, begin.highest, begin.highest, read, base, base_read)
            )
    for told in beside.receipts:
        core.db.put(Receipt(conversation, DeviceKey(told.about), DeviceKey(told.device), told.decrypted, told.read))
    for account in beside.silent:
        core.db.execute("INSERT OR IGNORE INTO silent (conversation, account) VALUES (?, ?)", conversation, account)
    core.db.execute("UPDATE conversation SET silent = ? WHERE conversation = ?", int(beside.is_silent), conversation)
    for batch in beside.tail:
        if batch.conversation == conversation:
            history.take_rows(core, batch, now)
    history.attachments(core, core.conversation(conversation))


def _joined(core: Core, conversation: ConversationId, now: int) -> None:
    row = core.conversation(conversation)
    besides.joined(core, conversation)
    if row.kind == policy.Kind.ACCOUNT:
        core.db.put_setting(siblings.GROUP, conversation)
    core.emit(events.ConversationChanged(conversation=conversation.hex(), state="joined"))
    noticed(core, conversation, now)


# what is to be --------------------------------------------------------------------------------------------------------


def _begin_with(core: Core, added: list[DeviceKey], now: int) -> None:
    """Ask new devices for what they need to be everywhere; if that is nothing, say so: they wait for it."""
    for device in added:
        history.begin(core, device, now)
    asked = reconcile(core, now)
    for device in added:
        if device not in asked:
            siblings.say(core, syncing.Wanted(device, []), now)


def reconcile(core: Core, now: int) -> set[DeviceKey]:
    """Want whatever devices and conversations lack of each other (HT-M-125, HT-M-127). Returns whom it asked."""
    asked: dict[DeviceKey, list[ConversationId]] = {}
    for row in core.db.find(Conversation, "state = ?", ConversationState.JOINED):
        for device in look(core, row, now):
            asked.setdefault(device, []).append(row.conversation)
    for device, conversations in asked.items():
        _ask(core, device, conversations, now)
    return set(asked)


def noticed(core: Core, conversation: ConversationId, now: int) -> None:
    """Something changed in this conversation's roster or chains."""
    row = core.conversation(conversation)
    if row.kind == policy.Kind.ACCOUNT:
        reconcile(core, now)
        return
    for device in look(core, row, now):
        _ask(core, device, [conversation], now)


def look(core: Core, row: Conversation, now: int) -> list[DeviceKey]:
    """Want a commit if one is to be made here; returns devices that are to be asked for a KeyPackage first."""
    members = core.members(row.conversation)
    removing = additions.gone(core, row, members)
    if removing:
        commits.want(core, row.conversation, IntentKind.DEVICES, now + _patience(core, row, members, removing))
    if row.kind == policy.Kind.ACCOUNT:
        return []
    missing = siblings.keys(core) - {member.device for member in members}
    ask = []
    for device in sorted(missing):
        if not standing_in.turn(core, row, members, device, now):
            continue
        known = core.db.first(Addition, "conversation = ? AND device = ?", row.conversation, device)
        if known is None:
            ask.append(device)
        elif known.key_package:
            commits.want(core, row.conversation, IntentKind.DEVICES, now)
    return ask


def _patience(core: Core, row: Conversation, members: list[Member], removing: list[int]) -> int:
    gone = [member for member in members if member.leaf in removing]
    if any(member.account != core.identity.account for member in gone):
        return STRANGERS_WAIT + OTHERS_WAIT * row.own_leaf
    removers = {accounts.signer_of(core.identity.chain, accounts.Change.REMOVE, member.device) for member in gone}
    return 0 if core.identity.device.key in removers else OTHERS_WAIT * (1 + row.own_leaf)


def _ask(core: Core, device: DeviceKey, conversations: list[ConversationId], now: int) -> None:
    row = siblings.group(core)
    if row is None or device not in {member.device for member in core.members(row.conversation)}:
        return  # not there yet to be asked
    people: set[AccountId] = set()
    places = []
    for conversation in conversations:
        core.db.put(Addition(conversation, device, b""))
        people |= {member.account for member in core.members(conversation)}
        places.append(syncing.Place(conversation, core.group(conversation).suite))
    tell_contacts(core, people, now)
    for start in range(0, len(places), syncing.PLACES_LIMIT):
        siblings.say(core, syncing.Wanted(device, places[start : start + syncing.PLACES_LIMIT]), now)


def tell_contacts(core: Core, people: set[AccountId] | None, now: int) -> None:
    """Names, chains and what was verified, of these accounts (None: of all) for the other own devices."""
    batch: list[syncing.Contact] = []
    size = 0
    for row in core.db.find(Account, "name != '' ORDER BY account"):
        if people is not None and row.account not in people:
            continue
        links = msgspec.msgpack.decode(row.chain, type=list[bytes])
        contact = syncing.Contact(row.name, bool(row.verified), links)
        length = len(row.chain) + len(row.name.encode())
        if batch and (size + length > CONTACTS_BYTES or len(batch) == syncing.CONTACTS_LIMIT):
            siblings.say(core, syncing.Contacts(batch), now)
            batch, size = [], 0
        batch.append(contact)
        size += length
    if batch:
        siblings.say(core, syncing.Contacts(batch), now)


# what siblings say ------------------------------------------------------------------------------------------------


def heard(core: Core, row: Conversation, sender: Member, body: Sync, *, sent_at: int, now: int) -> None:
    """A sibling said something in the account's group; elsewhere it means nothing. :raises ContentError:

    :param sent_at: by its clock, milliseconds since 1970
    """
    if row.kind != policy.Kind.ACCOUNT or sender.account != core.identity.account:
        return
    said = syncing.parse(body)
    if isinstance(said, syncing.Wanted):
        if said.device == core.identity.device.key:
            core.db.put_setting(TOLD, b"1")
            _give(core, said.places, now)
    elif isinstance(said, syncing.Packages):
        _given(core, sender, said, now)
    elif isinstance(said, syncing.Coming):
        if said.device == core.identity.device.key:
            history.coming(core, said, now)
        else:
            history.given_elsewhere(core, said, sent_at)
    elif isinstance(said, syncing.Shared):
        if said.device == core.identity.device.key:
            history.shared(core, said, now)
    elif isinstance(said, syncing.Taken):
        history.taken(core, said.bundle)
    elif isinstance(said, syncing.Contacts):
        for contact in said.contacts:
            _contact(core, contact, now)
    elif isinstance(said, syncing.Lacking):
        standing_in.heard_lacking(core, sender, said, now)


def _give(core: Core, places: list[syncing.Place], now: int) -> None:
    """A KeyPackage for each of these conversations; the same one again if it was asked for before."""
    relay, own = siblings.own_relay(core), core.identity.device.key
    found: list[syncing.Package] = []
    for place in places:
        conversation = ConversationId(place.conversation)
        if place.suite not in (mls.SUITE_X_WING, mls.SUITE_X25519):
            continue  # of a later version
        if core.db.value("SELECT 1 FROM conversation WHERE conversation = ?", conversation):
            continue
        known = core.db.first(Addition, "conversation = ? AND device = ?", conversation, own)
        if known is None:
            made = key_packages.make(
                core, relay, expires_at=core.clock.wall(now) + KEY_PACKAGE_LIFETIME, now=now, suite=place.suite
            )
            known = Addition(conversation, own, made.key_package)
            core.db.put(known)
        found.append(_package(core, known))
    if history.taking(core) is None:  # else they go out when it is here (HT-C-173)
        _hand_over(core, found, now)


def _package(core: Core, given: Addition) -> syncing.Package:
    return syncing.Package(given.conversation, given.key_package, besides.give(core, given.conversation))


def _hand_over(core: Core, packages: list[syncing.Package], now: int) -> None:
    if packages:
        standing_in.given(core, now)
    for start in range(0, len(packages), syncing.PACKAGES_LIMIT):
        siblings.say(core, syncing.Packages(packages[start : start + syncing.PACKAGES_LIMIT]), now)


def _given(core: Core, sender: Member, said: syncing.Packages, now: int) -> None:
    for package in said.packages:
        conversation = ConversationId(package.conversation)
        asked = core.db.first(Addition, "conversation = ? AND device = ?", conversation, sender.device)
        if asked is None:
            continue  # another sibling asked, or it is in
        if not standing_in.is_sound(core, package.key_package, sender, conversation, now):
            continue
        core.db.put(Addition(conversation, sender.device, package.key_package))
        besides.keep(core, conversation, sender.device, package.key)
        wait = standing_in.patience(core, core.members(conversation), sender.device)
        commits.want(core, conversation, IntentKind.DEVICES, now + wait)


def _contact(core: Core, contact: syncing.Contact, now: int) -> None:
    try:
        chain = accounts.verify_chain(contact.chain)
        core.remember_account(chain, contact.name)
    except VerificationError as error:
        core.notice(events.Alarm(conversation=None, code=error.code), now)
        return
    if contact.verified:
        core.db.execute("UPDATE account SET verified = 1 WHERE account = ?", chain.account)


# removing ---------------------------------------------------------------------------------------------------------


def remove(core: Core, device: DeviceKey, now: int, *, by: accounts.Device | None = None) -> None:
    """Remove a sibling: the account's group orders the link, then every conversation commits (HT-M-127).

    :param by: the paper device; None: this one
    :raises UsageError: ``device.unknown``, ``device.own``, ``paper.other``
    """
    if by is not None and by.key != core.identity.chain.paper:
        raise UsageError("paper.other")
    if device == core.identity.device.key:
        raise UsageError("device.own")
    row = siblings.group(core)
    if device not in core.identity.chain.devices or row is None:
        raise UsageError("device.unknown", device=device.hex()[:8])
    with core.transaction():
        signer = by or core.identity.device
        chain = accounts.extend(core.identity.chain, signer, change=accounts.Change.REMOVE, device=device)
        core.db.put_setting(additions.CANDIDATE, msgspec.msgpack.encode(list(chain.links)))
        core.db.put_setting(REMOVING, device)
        commits.want(core, row.conversation, IntentKind.DEVICES, now)


def resolve(core: Core, wanted: str) -> DeviceKey:
    """A device by its id or a unique prefix of it. :raises UsageError: ``device.unknown``, ``name.ambiguous``"""
    found = [each for each in core.identity.chain.devices if wanted and each.hex().startswith(wanted.lower())]
    if not found:
        raise UsageError("device.unknown", device=wanted)
    if len(found) > 1:
        raise UsageError("name.ambiguous", name=wanted)
    return found[0]


def due(core: Core, now: int) -> None:
    """History, step by step; a removal, if another commit came first in the account's group."""
    if history.due(core, now):
        own = core.identity.device.key
        with core.transaction():
            waiting = core.db.find(Addition, "device = ?", own)
            _hand_over(core, [_package(core, each) for each in waiting], now)
    removing = core.db.setting(REMOVING)
    row = siblings.group(core)
    if removing is None or row is None:
        return
    device = DeviceKey(removing)
    if device not in core.identity.chain.devices:
        with core.transaction():
            core.db.execute("DELETE FROM setting WHERE key = ?", REMOVING)
    elif additions.own_chain(core, row) == core.identity.chain and row.state == ConversationState.JOINED:
        remove(core, device, now)


def revoked(core: Core, now: int) -> None:
    """The own chain removed this device: it goes no further, and its profile is to be wiped (HT-M-128)."""
    if core.db.setting(REVOKED) is None:
        core.db.put_setting(REVOKED, b"1")
        core.elsewhere = True
        core.emit(events.DeviceRevoked())


def awaited(core: Core) -> int:
    """How many conversations this device waits to be added to; 1 while nobody told it."""
    if siblings.group(core) is None or core.db.setting(TOLD) is None:
        return 1
    return core.db.number("SELECT count(*) FROM addition WHERE device = ?", core.identity.device.key)


def is_revoked(core: Core) -> bool:
    return core.db.setting(REVOKED) is not None
