"""Groups as people manage them: made, joined by contacts, roles, names, leaving (HT-M-080 … HT-M-084)."""

import secrets

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine.conversations import beginning, changes, commits, joining, judging, welcoming
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import accounts, content, policy
from hanatalk.client.engine.messages import bodies, keeping, receipts, sending
from hanatalk.client.engine.people import devices
from hanatalk.errors import UsageError
from hanatalk.ids import AccountId, ConversationId
from hanatalk.localdb.rows import (
    Adding,
    Change,
    ChangeKind,
    Closed,
    Conversation,
    ConversationState,
    IntentKind,
    Invite,
    Member,
    Message,
    PendingWelcome,
    Purpose,
)

LEAVE_PAUSE = 400  # milliseconds per admin: one of them carries out a leave, the others find it done


def create(core: Core, name: str, *, large: bool, relays: list[policy.Relay], rights: int, now: int) -> ConversationId:
    """Found a group with this device as its only member. Its first, empty commit is merged at once: nobody else is
    there."""
    conversation = ConversationId(secrets.token_bytes(16))
    agreed = policy.group(name, core.identity.account, *relays, rights=rights)
    signer = mls.signer_new()
    with core.transaction():
        group, created = mls.Group.create(
            signer,
            suite=mls.SUITE_X25519 if large else mls.SUITE_X_WING,
            group_id=conversation,
            credential=accounts.credential(core.identity.chain, core.identity.device, signer.public_key),
            extensions=[(policy.EXTENSION, policy.encode(agreed))],
            ratchet_tree_in_welcome=False,
        )
        made = group.commit(self_update=True)
        core.db.mls_write(conversation, [*created, *made.writes, *group.pending_merge()])
        beginning.begin(core, conversation, group, agreed, now)
        beginning.greet(core, conversation, agreed, now)
        devices.noticed(core, conversation, now)
    return conversation


def _managed(core: Core, row: Conversation) -> policy.Policy:
    """:raises UsageError: ``group.not-a-group``, ``group.not-a-member``"""
    if row.kind != policy.Kind.GROUP:
        raise UsageError("group.not-a-group")
    if row.state in (ConversationState.REMOVED, ConversationState.LEAVING) or changes.is_leaving(
        core, row.conversation
    ):
        raise UsageError("group.not-a-member")
    return policy.of(row.policy)


def _want(core: Core, row: Conversation, now: int) -> None:
    commits.want(core, row.conversation, IntentKind.CHANGE, now)


def add(core: Core, row: Conversation, people: list[AccountId], now: int) -> None:
    """Add contacts, all in one commit.

    :raises UsageError: ``group.not-allowed``, ``group.no-key-package``, ``group.already``, ``group.too-large``
    """
    must_be_adder(core, row)
    members = core.members(row.conversation)
    here = {member.account for member in members}
    suite = core.group(row.conversation).suite
    for account in people:
        if account in here:
            raise UsageError("group.already", name=core.name(account))
        if not changes.contact_row(core, account, suite, now):
            raise UsageError("group.no-key-package", name=core.name(account))
    if len(members) + len(people) > judging.devices_most(suite):
        raise UsageError("group.too-large", limit=judging.devices_most(suite))
    with core.transaction():
        for account in people:
            changes.want(core, row.conversation, ChangeKind.ADD, account)
        _want(core, row, now)


def must_be_adder(core: Core, row: Conversation) -> None:
    """:raises UsageError: ``group.not-a-group``, ``group.not-a-member``, ``group.not-allowed``"""
    agreed = _managed(core, row)
    if not agreed.is_admin(core.identity.account) and not agreed.rights & policy.Right.ADD:
        raise UsageError("group.not-allowed")


def came_by_invite(core: Core, direct: Conversation, account: AccountId, now: int) -> None:
    """Whoever came by an invite into a group said Hello, and left KeyPackages: it is added (HT-M-093)."""
    for invite in core.db.find(Invite, "conversation = ? AND leads_to IS NOT NULL", direct.conversation):
        core.db.execute("UPDATE invite SET leads_to = NULL WHERE invite = ?", invite.invite)
        row = core.db.first(Conversation, "conversation = ?", invite.leads_to)
        if row is not None and row.state == ConversationState.JOINED:
            changes.want(core, row.conversation, ChangeKind.ADD, account)
            _want(core, row, now)


def remove(core: Core, row: Conversation, people: list[AccountId], now: int) -> None:
    """:raises UsageError: ``group.not-allowed``, ``group.no-member``, ``group.yourself``"""
    agreed = _managed(core, row)
    if not agreed.is_admin(core.identity.account):
        raise UsageError("group.not-allowed")
    if core.identity.account in people:
        raise UsageError("group.yourself")
    _present(core, row, people)
    with core.transaction():
        for account in people:
            changes.want(core, row.conversation, ChangeKind.REMOVE, account)
        _want(core, row, now)


def _present(core: Core, row: Conversation, people: list[AccountId]) -> None:
    here = {member.account for member in core.members(row.conversation)}
    for account in people:
        if account not in here:
            raise UsageError("group.no-member", name=core.name(account))


def set_role(core: Core, row: Conversation, people: list[AccountId], *, admin: bool, now: int) -> None:
    """:raises UsageError: ``group.not-allowed``, ``group.no-member``, ``group.last-admin``"""
    agreed = _managed(core, row)
    if not agreed.is_admin(core.identity.account):
        raise UsageError("group.not-allowed")
    _present(core, row, people)
    if not admin and not set(agreed.admins) - set(people):
        raise UsageError("group.last-admin")
    with core.transaction():
        for account in people:
            changes.want(core, row.conversation, ChangeKind.PROMOTE if admin else ChangeKind.DEMOTE, account)
        _want(core, row, now)


def rename(core: Core, row: Conversation, name: str, now: int) -> None:
    """:raises UsageError: ``group.not-allowed``"""
    agreed = _managed(core, row)
    if not agreed.is_admin(core.identity.account) and not agreed.rights & policy.Right.RENAME:
        raise UsageError("group.not-allowed")
    with core.transaction():
        core.db.execute(
            "DELETE FROM change WHERE conversation = ? AND kind = ? AND digest IS NULL",
            row.conversation,
            ChangeKind.RENAME,
        )
        changes.want(core, row.conversation, ChangeKind.RENAME, None, name.encode())
        _want(core, row, now)


def set_rights(core: Core, row: Conversation, rights: int, now: int) -> None:
    """What every member may do: `policy.Right`s. :raises UsageError: ``group.not-allowed``"""
    if not _managed(core, row).is_admin(core.identity.account):
        raise UsageError("group.not-allowed")
    with core.transaction():
        core.db.execute(
            "DELETE FROM change WHERE conversation = ? AND kind = ? AND digest IS NULL",
            row.conversation,
            ChangeKind.RIGHTS,
        )
        changes.want(core, row.conversation, ChangeKind.RIGHTS, None, bytes([rights]))
        _want(core, row, now)


def set_keeping(core: Core, row: Conversation, *, timer: int | None, privacy: bool | None, now: int) -> None:
    """How long texts stay (HT-C-120), in groups and in conversations of two. None: as it is. `timer`: seconds, 0: none.

    :raises UsageError: ``group.not-allowed``, ``group.not-a-member``, ``expire.limit``
    """
    if timer is not None and not 0 <= timer <= content.TIMER_LIMIT:
        raise UsageError("expire.limit", days=content.TIMER_LIMIT // 86_400)
    if row.state in (ConversationState.REMOVED, ConversationState.LEAVING):
        raise UsageError("group.not-a-member")
    agreed = policy.of(row.policy)
    if not agreed.is_admin(core.identity.account):
        raise UsageError("group.not-allowed")
    value = keeping.written(
        timer=agreed.timer if timer is None else timer, privacy=agreed.privacy if privacy is None else privacy
    )
    with core.transaction():
        core.db.execute(
            "DELETE FROM change WHERE conversation = ? AND kind = ? AND digest IS NULL",
            row.conversation,
            ChangeKind.KEEPING,
        )
        changes.want(core, row.conversation, ChangeKind.KEEPING, None, value)
        _want(core, row, now)


def leave(core: Core, row: Conversation, now: int) -> None:
    """Ask to be removed; the next admin online commits it (HT-M-084). Alone, one just goes.

    :raises UsageError: ``group.last-admin``
    """
    agreed = _managed(core, row)
    others = {member.account for member in core.members(row.conversation)} - {core.identity.account}
    if not others:
        with core.transaction():
            removed(core, row.conversation, now)
        return
    if agreed.admins == [core.identity.account]:
        raise UsageError("group.last-admin")
    with core.transaction():
        # A commit that is under way stays: the relay may have it already, and once dropped it cannot be followed.
        core.db.execute("DELETE FROM intent WHERE conversation = ? AND digest IS NULL", row.conversation)
        changes.give_up(core, row.conversation, "leaving", now)
        changes.want(core, row.conversation, ChangeKind.LEFT, core.identity.account, changes.SAID_HERE)
        sending.send_leave(core, row.conversation, now=now)
        if row.state == ConversationState.JOINED:  # else it is said when this device is back (HT-M-061)
            core.db.execute(
                "UPDATE conversation SET state = ?, receipt_due = NULL WHERE conversation = ?",
                ConversationState.LEAVING,
                row.conversation,
            )
    core.events.append(events.ConversationChanged(conversation=row.conversation.hex(), state="leaving"))


def asked_to_leave(core: Core, row: Conversation, sender: Member, now: int) -> None:
    """A member asked to be removed: if this is an admin's device, it sees to it, each a little later than the one
    before."""
    agreed, own = policy.of(row.policy), core.identity.account
    if agreed.admins == [sender.account]:
        return  # the only admin does not leave
    changes.want(core, row.conversation, ChangeKind.LEFT, sender.account)
    if not agreed.is_admin(own) or sender.account == own:
        return  # whoever becomes an admin sees to it
    if row.state == ConversationState.LEAVING:
        if _somebody_stays(core, row, agreed):
            return
        _stay(core, row, now)
    see_to_leaving(core, row.conversation, agreed, now)


def _somebody_stays(core: Core, row: Conversation, agreed: policy.Policy) -> bool:
    """Whether an admin is left who does not want to leave. If every admin wants to, one of them cannot."""
    rows = core.db.find(Change, "conversation = ? AND kind = ?", row.conversation, ChangeKind.LEFT)
    return bool(set(agreed.admins) - {change.account for change in rows} - {core.identity.account})


def changed(core: Core, conversation: ConversationId, now: int) -> None:
    """A commit changed the group while this device waits to be removed: who sees to it now? (HT-M-140)"""
    row = core.conversation(conversation)
    if row.kind != policy.Kind.GROUP or row.state != ConversationState.LEAVING:
        return
    agreed, own = policy.of(row.policy), core.identity.account
    members = core.members(conversation)
    if {member.account for member in members} == {own}:
        removed(core, conversation, now)
    elif agreed.is_admin(own) and not _somebody_stays(core, row, agreed):
        _stay(core, row, now)
        see_to_leaving(core, conversation, agreed, now)
    elif (leave := _own_leave(core, row)) is not None and any(
        member.since_epoch > leave.epoch for member in members if agreed.is_admin(member.account)
    ):  # an admin who was not there when it was said
        core.db.execute("UPDATE message SET epoch = ? WHERE number = ?", row.epoch, leave.number)
        sending.publish_again(core, conversation, [leave], now)


def _own_leave(core: Core, row: Conversation) -> Message | None:
    """What this device said last, if it was Leave."""
    found = core.db.first(
        Message,
        "conversation = ? AND device = ? AND counter = ?",
        row.conversation,
        core.identity.device.key,
        row.counter,
    )
    return found if found is not None and bodies.find(core, found) == sending.LEAVE else None


def see_to_leaving(core: Core, conversation: ConversationId, agreed: policy.Policy, now: int) -> None:
    """An admin's device carries out what others asked for, each admin a little later than the one before."""
    if core.db.value("SELECT 1 FROM change WHERE conversation = ? AND kind = ?", conversation, ChangeKind.LEFT):
        place = agreed.admins.index(core.identity.account)
        commits.want(core, conversation, IntentKind.CHANGE, now + LEAVE_PAUSE * (1 + place))


def _stay(core: Core, row: Conversation, now: int) -> None:
    """Leaving came to nothing: there would be no admin."""
    core.db.execute(
        "UPDATE conversation SET state = ? WHERE conversation = ?", ConversationState.JOINED, row.conversation
    )
    core.db.execute(
        "DELETE FROM change WHERE conversation = ? AND kind = ? AND account = ?",
        row.conversation,
        ChangeKind.LEFT,
        core.identity.account,
    )
    leave = _own_leave(core, row)
    if leave is not None:
        bodies.forget(core, leave)  # it is not said again (HT-C-047)
    name = core.name(core.identity.account)
    void = events.ChangeVoid(conversation=row.conversation.hex(), change="leave", name=name, why="last-admin")
    core.notice(void, now, row.conversation)


def leave_again(core: Core, row: Conversation, now: int) -> None:
    """No admin has seen to it while a relay kept the request: ask again."""
    leave = _own_leave(core, row)
    if leave is not None and leave.stored_at is not None and leave.stored_at <= now - sending.RELAY_KEEPS:
        sending.publish_again(core, row.conversation, [leave], now)


def removed(core: Core, conversation: ConversationId, now: int) -> None:
    """This account is no member any more: nothing is read or written there, what is here stays."""
    core.db.execute(
        "UPDATE conversation SET state = ?, receipt_due = NULL WHERE conversation = ?",
        ConversationState.REMOVED,
        conversation,
    )
    core.db.execute("DELETE FROM outbox WHERE owner = ?", conversation)
    core.db.execute("DELETE FROM intent WHERE conversation = ?", conversation)
    core.db.execute("DELETE FROM gap WHERE conversation = ?", conversation)
    core.db.execute("DELETE FROM kept WHERE owner = ?", conversation)
    leave = _own_leave(core, core.conversation(conversation))
    if leave is not None:
        bodies.forget(core, leave)  # whoever is added again later does not say it again
    changes.lost_race(core, conversation)
    changes.give_up(core, conversation, "not-a-member", now)
    changes.forget(core, conversation)
    core.db.execute(
        "DELETE FROM restoring WHERE channel IN (SELECT channel FROM channel WHERE owner = ?)", conversation
    )
    core.db.execute(
        "UPDATE channel SET closed = ? WHERE owner = ? AND purpose IN (?, ?)",
        Closed.CLOSED,
        conversation,
        Purpose.ERA,
        Purpose.FALLBACK,
    )
    core.notice(events.ConversationChanged(conversation=conversation.hex(), state="removed"), now, conversation)
    joining.look_again(core)


def carried_out(core: Core, conversation: ConversationId, now: int) -> None:
    """The commit with changes of ours came back: the Welcomes go out, each to the channel its KeyPackage names."""
    core.db.execute("DELETE FROM change WHERE conversation = ? AND digest IS NOT NULL", conversation)
    adding = core.db.find(Adding, "conversation = ?", conversation)
    pending = core.db.first(PendingWelcome, "conversation = ?", conversation)
    core.db.execute("DELETE FROM adding WHERE conversation = ?", conversation)
    core.db.execute("DELETE FROM pending_welcome WHERE conversation = ?", conversation)
    if core.db.value(
        "SELECT 1 FROM change WHERE conversation = ? AND kind != ?", conversation, ChangeKind.LEFT
    ) or policy.of(core.conversation(conversation).policy).is_admin(core.identity.account):
        commits.want(core, conversation, IntentKind.CHANGE, now)  # what had to wait for this commit
    if pending is None or not adding:
        return
    members = core.members(conversation)
    row = core.conversation(conversation)
    for each in adding:
        changes.used(core, each)
    welcoming.leave(core, row, [each.key_package for each in adding], pending.welcome)
    receipts.due(core, row, now, len(members))  # so that the joiners soon hear somebody (HT-M-087)
