"""Joining a group by a Welcome, and what happens until another member was heard (HT-M-086, HT-M-087)."""

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine.conversations import beginning, changes, commits, key_packages, resync
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import accounts, policy
from hanatalk.client.engine.messages import sending
from hanatalk.errors import ContentError, VerificationError
from hanatalk.ids import AccountId, ConversationId
from hanatalk.localdb.rows import (
    Channel,
    Closed,
    Conversation,
    ConversationState,
    IntentKind,
    Joining,
    KeyPackage,
    OutboxKind,
    Purpose,
)

UPDATE_AFTER_JOIN = 1_000  # milliseconds, and as much again for each leaf, so that joiners do not all commit at once
UPDATE_LEAVES = 600
HELLO_MOST = 32  # devices up to which a joiner says Hello at once; in larger groups names travel beside the Welcome


def join(
    core: Core,
    package: KeyPackage,
    enclosed: key_packages.Enclosed,
    staged: mls.StagedWelcome,
    agreed: policy.Policy,
    now: int,
) -> None:
    """Join the group of a Welcome. One for a group that is known counts only while this device is no member, or nothing
    of another member has decrypted yet.

    :raises ContentError, VerificationError: nothing was written
    """
    conversation = ConversationId(staged.group_id)
    if len(conversation) != 16:
        raise ContentError("welcome.refused", why="group")
    chains = _chains(enclosed)
    people = set()
    for member in staged.members:
        account = AccountId(accounts.read_credential(member.credential).account)
        if account not in chains:
            raise VerificationError("credential.not-in-chain")
        found = accounts.verify_credential(member.credential, member.signature_key, chains[account])
        if (member.leaf == staged.own_leaf) != (found.device == core.identity.device.key):
            raise VerificationError("welcome.refused", why="leaf")
        people.add(account)
    if not set(agreed.admins) <= people or len(staged.members) < 2 or not agreed.name:
        raise ContentError("welcome.refused", why="members")
    known = core.db.first(Conversation, "conversation = ?", conversation)
    if known is not None and known.state in (ConversationState.BROKEN, ConversationState.ARRIVING):
        resync.check_welcome(core, known, package.ref, agreed, people)
        _remember(core, enclosed, people)
        resync.back(core, known, *staged.join(), agreed, now)
        core.db.execute("UPDATE key_package SET used = 1 WHERE ref = ?", package.ref)
        core.db.mls_delete(package.ref)
        core.db.execute("UPDATE channel SET closed = 1 WHERE owner = ?", package.ref)
        return
    if known is not None and not _welcome_again(core, known, staged.epoch):
        return
    group, writes = staged.join()
    _remember(core, enclosed, people)
    if known is not None:
        _replaced(core, conversation)
    core.db.mls_write(conversation, writes)
    beginning.begin(core, conversation, group, agreed, now)
    core.db.put(Joining(conversation, package.ref))
    if package.stale:
        resync.lost(core, conversation, "conversation.old-copy", now)  # as in HT-M-072
        return
    if known is not None:
        sending.publish_unconfirmed(core, conversation, now)
    if len(staged.members) <= HELLO_MOST:
        beginning.greet(core, conversation, agreed, now)
    later = UPDATE_AFTER_JOIN * (1 + staged.own_leaf % UPDATE_LEAVES)
    commits.want(core, conversation, IntentKind.UPDATE, now + later)
    core.notice(
        events.MemberJoined(conversation=conversation.hex(), account=core.identity.account.hex(), name=agreed.name),
        now,
        conversation,
    )
    if package.given is not None:
        core.db.execute("UPDATE key_package SET used = 1 WHERE ref = ?", package.ref)  # for the count of spare ones
        beginning.replenish(core, package.given, now)
        core.db.execute("UPDATE key_package SET used = 0 WHERE ref = ?", package.ref)


def _chains(enclosed: key_packages.Enclosed) -> dict[AccountId, accounts.Chain]:
    """:raises VerificationError: ``chain.broken``"""
    found = {}
    for person in enclosed.people:
        chain = accounts.verify_chain(person.chain)
        found[chain.account] = chain
    sender = accounts.verify_chain(enclosed.chain)
    found.setdefault(sender.account, sender)
    return found


def _remember(core: Core, enclosed: key_packages.Enclosed, people: set[AccountId]) -> None:
    """Keep chains and names of the members. What somebody said of itself before is not replaced by hearsay."""
    for person in enclosed.people:
        chain = accounts.verify_chain(person.chain)
        if chain.account in people:
            commits.hear_of(core, chain, person.name)


def _welcome_again(core: Core, known: Conversation, epoch: int) -> bool:
    """Whether another Welcome for a known group counts (HT-M-087), one into this epoch."""
    if known.kind != policy.Kind.GROUP:
        raise ContentError("welcome.refused", why="group")
    if known.state == ConversationState.REMOVED:
        return epoch > known.epoch  # else it is of the membership that is over
    return known.state == ConversationState.JOINED and _is_joining(core, known.conversation)


def look_again(core: Core) -> None:
    """This device was removed from a group. A Welcome that adds it again may have been read before that, when it did
    not count yet: what lies in the Welcome channels is read once more (HT-M-141)."""
    came = "purpose = ? AND closed = ? AND cursor > 0 AND owner IN (SELECT ref FROM key_package WHERE used = 0)"
    for channel in core.db.find(Channel, came, Purpose.WELCOME, Closed.OPEN):
        core.db.execute(
            "UPDATE channel SET cursor = 0, turn = 0, control_hash = ? WHERE channel = ?", bytes(32), channel.channel
        )
        link = core.links.get(channel.relay)
        if link is not None:
            link.reopen(channel.channel)


def _replaced(core: Core, conversation: ConversationId) -> None:
    """What belonged to the former membership goes; messages, numbers and receipts stay."""
    core.db.mls_delete(conversation)
    core.db.execute("DELETE FROM outbox WHERE owner = ? AND kind != ?", conversation, OutboxKind.WELCOME)
    core.db.execute("DELETE FROM intent WHERE conversation = ?", conversation)
    changes.forget(core, conversation)
    core.db.execute("DELETE FROM ciphertext WHERE conversation = ?", conversation)
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


def _is_joining(core: Core, conversation: ConversationId) -> bool:
    """Whether nothing of another member has decrypted yet."""
    return bool(core.db.value("SELECT 1 FROM joining WHERE conversation = ?", conversation))


def heard(core: Core, conversation: ConversationId) -> None:
    """Something of another member decrypted: this is the group that goes on, the KeyPackages' secrets may go."""
    rows = core.db.find(Joining, "conversation = ?", conversation)
    for row in rows:
        core.db.execute("UPDATE key_package SET used = 1 WHERE ref = ?", row.ref)
        core.db.mls_delete(row.ref)
        core.db.execute("UPDATE channel SET closed = 1 WHERE owner = ?", row.ref)
    if rows:
        core.db.execute("DELETE FROM joining WHERE conversation = ?", conversation)
        core.emit(events.ConversationChanged(conversation=conversation.hex(), state="joined"))
