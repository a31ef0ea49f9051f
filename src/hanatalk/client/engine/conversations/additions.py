"""Devices that come and go in a conversation: what a commit adds and removes, and what the added are told.

A device that links leaves a KeyPackage for each conversation with its siblings (`Addition`); a commit adds what is
left, and removes the leaves of devices that their chain removed (HT-M-121, HT-M-123).
"""

import msgspec

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine.conversations import annexes, besides, history, key_packages
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import accounts, content, policy
from hanatalk.client.engine.messages import receipts
from hanatalk.errors import HanaError
from hanatalk.ids import AccountId, DeviceKey
from hanatalk.localdb.rows import Addition, Conversation, Member, OutboxKind, Receipt, Resync

CANDIDATE = "candidate-chain"  # setting: the own chain with a link that the account's group has not ordered yet


class Changes(msgspec.Struct, frozen=True):
    """What one commit adds (KeyPackages by device) and removes (leaf indices)."""

    adds: dict[DeviceKey, bytes]
    removes: list[int]


NOTHING = Changes({}, [])


def own_chain(core: Core, row: Conversation) -> accounts.Chain:
    """The own chain as a commit in this conversation says it: in the account's group with what it is to order."""
    known = core.identity.chain
    if row.kind == policy.Kind.ACCOUNT and (raw := core.db.setting(CANDIDATE)) is not None:
        candidate = accounts.verify_chain(msgspec.msgpack.decode(raw, type=list[bytes]))
        if accounts.extends(candidate, known):
            return candidate
    return known


def _chain(core: Core, row: Conversation, account: AccountId) -> accounts.Chain | None:
    return own_chain(core, row) if account == core.identity.account else core.chain(account)


def wanted(core: Core, row: Conversation, members: list[Member], now: int) -> Changes:
    """Own devices that are to be in the conversation, and leaves of devices that are no longer their account's."""
    chain = own_chain(core, row)
    inside = {member.device: member for member in members}
    adds, removes = {}, gone(core, row, members)
    for each in core.db.find(Addition, "conversation = ?", row.conversation):
        if each.device not in chain.devices:
            continue
        there = inside.get(each.device)
        if there is not None and not _came_in_vain(row, there, each):
            _forget(core, each)
            continue
        try:
            key_packages.check(each.key_package, chain, core.clock.wall(now))
        except HanaError:
            _forget(core, each)
            continue
        adds[each.device] = each.key_package
        if there is not None:
            removes.append(there.leaf)
    return Changes(adds, removes)


def _came_in_vain(row: Conversation, there: Member, each: Addition) -> bool:
    """Whether a sibling that stands in the tree was never heard there, and gave another KeyPackage since (HT-M-156)."""
    if row.kind == policy.Kind.ACCOUNT or there.heard_epoch or not each.key_package:
        return False
    return mls.key_package_inspect(each.key_package).signature_key != there.signature_key


def gone(core: Core, row: Conversation, members: list[Member]) -> list[int]:
    """Leaves whose device its account's chain has removed; never the own one."""
    found = []
    for member in members:
        if row.kind == policy.Kind.GROUP and member.account != core.identity.account:
            continue  # its siblings and the admins see to it (HT-M-082)
        chain = _chain(core, row, member.account)
        if chain is not None and member.device not in chain.devices and member.leaf != row.own_leaf:
            found.append(member.leaf)
    return found


def people(core: Core, row: Conversation, members: list[Member], changes: Changes) -> dict[AccountId, content.Person]:
    """Sigchains that a commit carries because the members do not know them as far as it needs (HT-M-120)."""
    told: dict[AccountId, int] = {}
    for member in members:
        told[member.account] = max(member.height, told.get(member.account, 0))
    wanted = set()
    if changes.adds or newer_credential(core, row, members) is not None:
        wanted.add(core.identity.account)
    if row.kind != policy.Kind.GROUP:
        wanted |= {member.account for member in members if member.leaf in changes.removes}
    found = {}
    for account in sorted(wanted):
        chain = _chain(core, row, account)
        if chain is not None and (account == core.identity.account or chain.height > told.get(account, 0)):
            found[account] = content.Person(list(chain.links), core.name(account))
    return found


def newer_credential(core: Core, row: Conversation, members: list[Member]) -> bytes | None:
    """The own leaf's credential, if the chain is longer now than it says."""
    own, chain = next(member for member in members if member.leaf == row.own_leaf), own_chain(core, row)
    if chain.height <= own.height or core.identity.device.key not in chain.devices:
        return None
    return accounts.credential(chain, core.identity.device, own.signature_key)


def committed(core: Core, row: Conversation, changes: Changes, welcome: bytes | None) -> None:
    """The commit is pending: its Welcome goes out when it comes back."""
    for device in changes.adds:
        core.db.execute(
            "UPDATE addition SET welcome = ? WHERE conversation = ? AND device = ?", welcome, row.conversation, device
        )


def made_elsewhere(core: Core, row: Conversation, device: DeviceKey, signature_key: bytes) -> bool:
    """Another's commit added a sibling: a Welcome made here is of a commit that lost. If it used an older KeyPackage
    than the one that is known here, the Welcome may have been lost (HT-M-156): True, to look again later."""
    known = core.db.first(Addition, "conversation = ? AND device = ?", row.conversation, device)
    if known is None or device == core.identity.device.key:
        return False
    if known.key_package and mls.key_package_inspect(known.key_package).signature_key != signature_key:
        core.db.put(msgspec.structs.replace(known, welcome=None))
        return True
    _forget(core, known)
    return False


def came_back(core: Core, row: Conversation, now: int) -> list[DeviceKey]:
    """The commit was the first valid one: whoever it added gets the Welcome and what belongs to it (HT-M-122)."""
    members = core.members(row.conversation)
    inside = {member.device for member in members}
    added = []
    for each in core.db.find(Addition, "conversation = ? AND welcome IS NOT NULL", row.conversation):
        if each.device in inside and each.welcome is not None:
            leave(core, row, each, each.welcome, now)
            added.append(each.device)
        _forget(core, each)
    return added


def _forget(core: Core, addition: Addition) -> None:
    """A sibling is in, or its KeyPackage is no good: what it gave for the conversation goes."""
    core.db.execute(
        "DELETE FROM addition WHERE conversation = ? AND device = ?", addition.conversation, addition.device
    )
    besides.forget(core, addition.conversation, addition.device)


def leave(core: Core, row: Conversation, added: Addition, welcome: bytes, now: int) -> None:
    """Leave a sibling the Welcome of the commit that added it, with what it needs of what went before (HT-M-122)."""
    members = core.members(row.conversation)
    enclosed = key_packages.Enclosed(
        1,
        welcome,
        list(core.identity.chain.links),
        core.group(row.conversation).ratchet_tree() if row.kind == policy.Kind.GROUP else None,
        all_people(core, members),
        besides.seal(core, row.conversation, added.device, _beside(core, row, members, to=added.device, now=now)),
    )
    kind, body = annexes.body_of(core, row.conversation, policy.of(row.policy).relays[0], enclosed)
    at = policy.parse_welcome_at(key_packages.extensions(added.key_package))
    key_packages.leave(core, row.conversation, at, body, kind)


def all_people(core: Core, members: list[Member]) -> list[content.Person]:
    """Chain and name of every account in the conversation, for those who join it."""
    found = {}
    for member in members:
        if member.account not in found and (chain := core.chain(member.account)) is not None:
            found[member.account] = content.Person(list(chain.links), core.name(member.account))
    return list(found.values())


def _beside(core: Core, row: Conversation, members: list[Member], *, to: DeviceKey, now: int) -> key_packages.Beside:
    mine = core.db.first(Resync, "conversation = ?", row.conversation)
    streams = []
    for member in members:
        known = receipts.stream(core, row.conversation, member.device)
        highest, read = known.highest, receipts.read_up_to(core, known)
        if member.leaf == row.own_leaf:
            waiting = core.db.value(
                "SELECT min(counter) FROM message JOIN outbox USING (message) "
                "WHERE conversation = ? AND outbox.kind = ?",
                row.conversation,
                OutboxKind.MESSAGE,
            )
            highest = read = waiting - 1 if isinstance(waiting, int) else row.counter
        streams.append(key_packages.From(member.device, highest, read, member.since_epoch))
    told = [
        key_packages.Told(each.about, each.device, each.decrypted, each.read)
        for each in core.db.find(Receipt, "conversation = ? LIMIT ?", row.conversation, key_packages.RECEIPTS_LIMIT)
    ]
    told += _own_receipts(core, row, streams)
    silent = [
        account
        for (account,) in core.db.tuples("SELECT account FROM silent WHERE conversation = ?", row.conversation)
        if isinstance(account, bytes)
    ]
    return key_packages.Beside(
        mine.exported if mine is not None and mine.exported else None,  # a group has none of its own
        streams,
        told[: key_packages.RECEIPTS_LIMIT],
        silent,
        bool(row.silent),
        history.is_given(core, to),
        history.tail(core, row.conversation, to, now),
    )


def _own_receipts(core: Core, row: Conversation, streams: list[key_packages.From]) -> list[key_packages.Told]:
    """What this device confirmed: nobody tells it so, the joiner has to know."""
    own = core.identity.device.key
    return [
        key_packages.Told(each.device, own, each.highest, min(each.read, each.highest))
        for each in streams
        if each.device != own and each.highest
    ]


def tell_changes(core: Core, row: Conversation, before: list[Member], after: list[Member], now: int) -> None:
    """People see when a device of somebody they know comes or goes."""
    had = {(member.account, member.device) for member in before}
    has = {(member.account, member.device) for member in after}
    known = {account for account, _ in had} & {account for account, _ in has}
    for account, device in sorted(had ^ has):
        if account not in known or (account == core.identity.account and row.kind != policy.Kind.ACCOUNT):
            continue
        told = events.DeviceChanged(
            conversation=row.conversation.hex(),
            account=account.hex(),
            name=core.name(account),
            device=device.hex(),
            change="added" if (account, device) in has else "removed",
        )
        core.notice(told, now, row.conversation)
