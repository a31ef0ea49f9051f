"""What this device wants changed in a group, folded into one commit, and what a commit changed (HT-M-081, HT-M-084).

Each change is carried out exactly once or said to be void: what is left of them is looked at anew, against the
roster of the moment, whenever a commit is made.
"""

import msgspec

from hanatalk.client import events
from hanatalk.client.engine.conversations import judging, key_packages
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import content, policy
from hanatalk.client.engine.messages import keeping
from hanatalk.ids import AccountId, ConversationId
from hanatalk.localdb.rows import (
    Adding,
    Change,
    ChangeKind,
    ContactKeyPackage,
    Conversation,
    ConversationState,
    Member,
    PendingWelcome,
)

SAID_HERE = b"here"  # value of a LEFT change: this device said Leave for its own account, and it still stands
MEMBERSHIP = (ChangeKind.ADD, ChangeKind.REMOVE, ChangeKind.LEFT)
NAMES = {
    ChangeKind.ADD: "add",
    ChangeKind.REMOVE: "remove",
    ChangeKind.LEFT: "leave",
    ChangeKind.PROMOTE: "promote",
    ChangeKind.DEMOTE: "demote",
    ChangeKind.RENAME: "rename",
    ChangeKind.RIGHTS: "rights",
    ChangeKind.KEEPING: "timer",
}


class Folded(msgspec.Struct):
    """Changes put together for one commit."""

    agreed: policy.Policy  # as it will be
    before: policy.Policy
    adds: list[Adding]
    removes: list[int]  # leaves
    numbers: list[int]  # of the `change` rows

    @property
    def membership(self) -> bool:
        """Whether the commit changes who is a member, and so starts an era."""
        return bool(self.adds or self.removes)

    @property
    def extensions(self) -> list[tuple[int, bytes]] | None:
        """For the commit."""
        return [(policy.EXTENSION, policy.encode(self.agreed))] if self.agreed != self.before else None


def want(
    core: Core,
    conversation: ConversationId,
    kind: ChangeKind,
    account: AccountId | None = None,
    value: bytes | None = None,
) -> None:
    """Remember that this device wants a change; wanting the same twice is wanting it once."""
    known = "conversation = ? AND kind = ? AND account IS ? AND value IS ? AND digest IS NULL"
    if core.db.first(Change, known, conversation, kind, account, value) is None:
        core.db.insert(Change(None, conversation, kind, account, value))


def fold(core: Core, row: Conversation, suite: int, now: int) -> Folded | None:
    """What is still to be done, allowed and possible, as one commit. The rest is void and said so; None: nothing is
    left."""
    agreed = policy.of(row.policy)
    folded = Folded(agreed, agreed, [], [], [])
    for change in core.db.find(Change, "conversation = ? AND digest IS NULL ORDER BY number", row.conversation):
        why = _take_in(core, row, folded, change, suite, now)
        if why == "later":
            continue
        if why is None:
            folded.numbers.append(change.number or 0)
        else:
            _void(core, change, why, now)
    if folded.membership or folded.extensions is not None:
        return folded
    for number in folded.numbers:  # one undoes the other: done
        core.db.execute("DELETE FROM change WHERE number = ?", number)
    return None


def _take_in(core: Core, row: Conversation, folded: Folded, change: Change, suite: int, now: int) -> str | None:
    """Put one change into the commit. Returns why it is void, or ``later``."""
    members = core.members(row.conversation)
    admin = folded.before.is_admin(core.identity.account)
    rights = folded.before.rights
    leaves = [member.leaf for member in members if member.account == change.account]
    kind, account = ChangeKind(change.kind), change.account
    if row.state == ConversationState.LEAVING and kind is not ChangeKind.LEFT:
        return "leaving"
    if kind in MEMBERSHIP and account is not None:
        if kind is ChangeKind.ADD:
            if not (admin or rights & policy.Right.ADD):
                return "not-allowed"
            if set(leaves) & set(folded.removes):
                return "later"
            return _add(core, members, folded, account, suite, now)
        if kind is ChangeKind.LEFT and leaves and (account == core.identity.account or not admin):
            return "later"  # for whoever is an admin then
        if account == core.identity.account or not admin:
            return "not-allowed"
        if any(adding.account == account for adding in folded.adds):
            return "later"
        return _remove(folded, account, leaves)
    if kind is ChangeKind.RENAME and not (admin or rights & policy.Right.RENAME):
        return "not-allowed"
    if kind is not ChangeKind.RENAME and not admin:
        return "not-allowed"
    return _policy(folded, change, present=bool(leaves) and not set(leaves) & set(folded.removes))


def _add(core: Core, members: list[Member], folded: Folded, account: AccountId, suite: int, now: int) -> str | None:
    here = {member.device for member in members}
    chain = core.chain(account)
    if chain is None:
        return "no-key-package"
    found = [row for row in key_packages.of_contact(core, chain, suite, now) if row.device not in here]
    if not found:
        return "already" if any(member.account == account for member in members) else "no-key-package"
    if len(members) - len(folded.removes) + len(folded.adds) + len(found) > judging.devices_most(suite):
        return "too-large"
    for row in found:
        folded.adds.append(Adding(members[0].conversation, row.ref, account, row.key_package))
    return None


def _remove(folded: Folded, account: AccountId, leaves: list[int]) -> str | None:
    if not leaves:
        return "already"
    if set(leaves) <= set(folded.removes):
        return None
    admins = [admin for admin in folded.agreed.admins if admin != account]
    if not admins:
        return "last-admin"
    folded.removes += leaves
    folded.agreed = msgspec.structs.replace(folded.agreed, admins=admins)
    return None


def _policy(folded: Folded, change: Change, *, present: bool) -> str | None:
    agreed = folded.agreed
    if change.kind == ChangeKind.RENAME:
        new = msgspec.structs.replace(agreed, name=(change.value or b"").decode())
    elif change.kind == ChangeKind.RIGHTS:
        new = msgspec.structs.replace(agreed, rights=int.from_bytes(change.value or b""))
    elif change.kind == ChangeKind.KEEPING:
        timer, privacy = keeping.read(change.value or b"")
        new = policy.with_keeping(agreed, timer=timer, privacy=privacy)
    elif not present or change.account is None:
        return "no-member"
    elif change.kind == ChangeKind.PROMOTE:
        new = msgspec.structs.replace(agreed, admins=sorted({*agreed.admins, change.account}))
    else:
        new = msgspec.structs.replace(agreed, admins=[admin for admin in agreed.admins if admin != change.account])
        if not new.admins:
            return "last-admin"
    if new == agreed or (change.kind == ChangeKind.PROMOTE and agreed.is_admin(change.account or b"")):
        return "already"
    folded.agreed = new
    return None


def _void(core: Core, change: Change, why: str, now: int) -> None:
    """Nothing will come of this change: said, unless somebody else saw to it."""
    core.db.execute("DELETE FROM change WHERE number = ?", change.number)
    if why == "already":
        return
    if change.kind == ChangeKind.KEEPING:
        name = f"{keeping.read(change.value or b'')[0]}s"
    elif change.account is not None:
        name = core.name(change.account)
    else:
        name = (change.value or b"").decode(errors="replace")
    core.notice(
        events.ChangeVoid(
            conversation=change.conversation.hex(),
            change=NAMES[ChangeKind(change.kind)],
            name=name,
            why=why,
        ),
        now,
        change.conversation,
    )


def people(core: Core, folded: Folded) -> dict[AccountId, content.Person]:
    """The chains of those added, for everybody who judges the commit (HT-M-083)."""
    found = {}
    for adding in folded.adds:
        chain = core.chain(adding.account)
        if chain is not None:
            found[adding.account] = content.Person(list(chain.links), core.name(adding.account))
    return found


def pending(core: Core, folded: Folded, conversation: ConversationId, digest: bytes, welcome: bytes | None) -> None:
    """The commit was made: what it carries is kept until it comes back or loses."""
    for number in folded.numbers:
        core.db.execute("UPDATE change SET digest = ? WHERE number = ?", digest, number)
    for adding in folded.adds:
        core.db.put(adding)
    if welcome is not None:
        core.db.put(PendingWelcome(conversation, welcome))


def starts_era(core: Core, conversation: ConversationId, digest: bytes) -> bool:
    """Whether the pending commit with this digest changes who is a member."""
    return bool(
        core.db.value(
            "SELECT 1 FROM change WHERE conversation = ? AND digest = ? AND kind IN (?, ?, ?)",
            conversation,
            digest,
            *MEMBERSHIP,
        )
    )


def lost_race(core: Core, conversation: ConversationId) -> None:
    """The pending commit is dropped: its changes are wanted as before."""
    core.db.execute("UPDATE change SET digest = NULL WHERE conversation = ?", conversation)
    core.db.execute("DELETE FROM adding WHERE conversation = ?", conversation)
    core.db.execute("DELETE FROM pending_welcome WHERE conversation = ?", conversation)


def give_up(core: Core, conversation: ConversationId, why: str, now: int) -> None:
    """What this person wanted and no commit under way carries is void. What others asked for (HT-M-084) stays."""
    for change in core.db.find(
        Change, "conversation = ? AND digest IS NULL AND kind != ? ORDER BY number", conversation, ChangeKind.LEFT
    ):
        _void(core, change, why, now)


def is_leaving(core: Core, conversation: ConversationId) -> bool:
    """Whether this device said Leave, or will when it is back, and that still stands (HT-M-084)."""
    found = "SELECT 1 FROM change WHERE conversation = ? AND kind = ? AND value = ?"
    return bool(core.db.value(found, conversation, ChangeKind.LEFT, SAID_HERE))


def forget(core: Core, conversation: ConversationId) -> None:
    """Nothing is wanted here any more."""
    lost_race(core, conversation)
    core.db.execute("DELETE FROM change WHERE conversation = ?", conversation)


def used(core: Core, adding: Adding) -> None:
    """A contact's KeyPackage went into a commit that counts: it serves no other (HT-M-011)."""
    core.db.execute("DELETE FROM contact_key_package WHERE account = ? AND ref = ?", adding.account, adding.ref)


def tell(
    core: Core,
    row: Conversation,
    *,
    before: tuple[policy.Policy, set[AccountId]],
    after: tuple[policy.Policy, set[AccountId]],
    by: AccountId,
    now: int,
) -> None:
    """Say what a commit changed in a group: people, roles, name."""
    conversation = row.conversation.hex()
    (old, were), (new, are) = before, after
    for account in sorted(are - were):
        core.notice(
            events.MemberJoined(conversation=conversation, account=account.hex(), name=core.name(account)),
            now,
            row.conversation,
        )
    for account in sorted(were - are):
        core.db.execute(
            "DELETE FROM change WHERE conversation = ? AND kind = ? AND account = ?",
            row.conversation,
            ChangeKind.LEFT,
            account,
        )
        left = events.MemberLeft(
            conversation=conversation, account=account.hex(), name=core.name(account), by=core.name(by)
        )
        core.notice(left, now, row.conversation)
    for account in sorted(AccountId(each) for each in set(new.admins) ^ set(old.admins)):
        if account in are:
            role = events.RoleChanged(
                conversation=conversation,
                account=account.hex(),
                name=core.name(account),
                admin=account in new.admins,
            )
            core.notice(role, now, row.conversation)
    if len(new.admins) == 1:  # it does not leave, and knows that by the same commit (HT-M-140)
        core.db.execute(
            "DELETE FROM change WHERE conversation = ? AND kind = ? AND account = ? AND value IS NULL",
            row.conversation,
            ChangeKind.LEFT,
            new.admins[0],
        )
    if new.name != old.name or new.rights != old.rights:
        changed = events.GroupChanged(conversation=conversation, name=new.name or "", by=core.name(by))
        core.notice(changed, now, row.conversation)


def tell_keeping(
    core: Core, row: Conversation, *, before: policy.Policy, after: policy.Policy, by: AccountId, now: int
) -> None:
    """Say that texts stay for another time from now on (HT-C-120)."""
    if (before.timer, before.privacy) != (after.timer, after.privacy):
        changed = events.KeepingChanged(
            conversation=row.conversation.hex(), timer=after.timer or None, privacy=after.privacy, by=core.name(by)
        )
        core.notice(changed, now, row.conversation)


def contact_row(core: Core, account: AccountId, suite: int, now: int) -> list[ContactKeyPackage]:
    """Usable KeyPackages of a contact. Empty: it cannot be added now."""
    chain = core.chain(account)
    return key_packages.of_contact(core, chain, suite, now) if chain is not None else []
