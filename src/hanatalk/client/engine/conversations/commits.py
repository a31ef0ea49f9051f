"""Commits: intents, own commits until they come back, others' commits, eras (HT-M-031 … HT-M-035).

An own commit is kept with its digest and merged only when it comes back through the channel. The lowest seq that is
publicly valid wins, for every client alike.
"""

import hashlib
import secrets

import msgspec

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine.conversations import additions, changes, enclosing, holes, judging, unusable
from hanatalk.client.engine.core import DAY, Core, Link, Signed, new_reader
from hanatalk.client.engine.formats import accounts, content, keys, policy
from hanatalk.client.engine.messages import outbox, recovery
from hanatalk.client.engine.messages.sending import era_channel, frame_for, may_send
from hanatalk.errors import ContentError, HanaError, VerificationError
from hanatalk.ids import AccountId, ChannelId, ConversationId, DeviceKey, Incarnation, RelayKey
from hanatalk.localdb.rows import (
    Channel,
    Closed,
    Control,
    Conversation,
    Intent,
    IntentKind,
    Member,
    OutboxKind,
    Purpose,
    Readmission,
)
from hanatalk.wire.channels import receipt_statement
from hanatalk.wire.classes import EntryClass

UPDATE_EVERY = 7 * DAY
UPDATE_JITTER = 12 * 3_600_000
ERA_LENGTH = 7 * DAY
SEQ_LIMIT = 2**53 - 1
STARTS_ERA = (IntentKind.NEW_ERA, IntentKind.READMIT, IntentKind.MOVE, IntentKind.DEVICES)
RECEIPT_WAIT = 30_000  # milliseconds for the relay to sign what it has shown
RETRY = 400  # milliseconds per leaf index: losers of a race try again one after the other
LOOK_AGAIN = 600_000  # milliseconds that a device added by another's commit has, to say something there (HT-M-156)
RETRY_PLACES = 64  # leaf indices told apart
LEFT_MOST = 8  # eras of a conversation that are watched after they are over, at most (HT-M-053)


def want(core: Core, conversation: ConversationId, kind: IntentKind, not_before: int) -> None:
    """Remember that this device wants a commit; wanting it twice is wanting it once."""
    known = core.db.first(Intent, "conversation = ? AND kind = ?", conversation, kind)
    if known is None:
        core.db.insert(Intent(conversation, kind, not_before))


def renew(core: Core, row: Conversation, now: int) -> None:
    """Weekly: an admin starts a new era, everybody else updates the own leaf (HT-M-035)."""
    channel = era_channel(core, row)
    agreed = policy.parse([(policy.EXTENSION, row.policy)])
    if now >= channel.started_at + ERA_LENGTH and agreed.is_admin(core.identity.account):
        want(core, row.conversation, IntentKind.NEW_ERA, now + secrets.randbelow(UPDATE_JITTER))
    elif now >= row.updated_at + UPDATE_EVERY:
        want(core, row.conversation, IntentKind.UPDATE, now + secrets.randbelow(UPDATE_JITTER))


def attempt(core: Core, link: Link, intent: Intent, now: int) -> None:
    """Make the commit an intent asks for, if the conversation stands still: caught up, nothing waiting or pending."""
    row = core.conversation(intent.conversation)
    channel = era_channel(core, row)
    if (
        not may_send(core, row)
        or channel.channel not in link.caught_up
        or core.db.value("SELECT 1 FROM intent WHERE conversation = ? AND digest IS NOT NULL", row.conversation)
        or outbox.holds(core, row.conversation)
        or recovery.under_way(core, channel.channel)
    ):
        return
    shown = link.signed.get(channel.channel)
    if channel.channel in link.unsigned:
        shown = None
    elif channel.cursor and (shown is None or shown.control_hash != channel.control_hash):
        shown = None
        if not _goes_without(core, link, channel, intent, now):
            return
    with core.transaction():
        allowed = _allowed(core, row, intent)
        if allowed is not None:
            _commit(core, row, channel, allowed, shown, now)


def _goes_without(core: Core, link: Link, channel: Channel, intent: Intent, now: int) -> bool:
    """Ask for the relay's receipt; whether the commit goes without one.

    Never answered, it goes after a while (T-021). Answered by another history than we were shown, only a commit that
    adds again goes: whoever it is for does not follow this group any more (HT-M-059).
    """
    if channel.channel not in link.asked_receipt:
        link.ask_receipt(channel.channel, channel.cursor, now)
        return False
    asked_at = link.asked_at.get(channel.channel)
    if asked_at is None:
        return intent.kind == IntentKind.READMIT
    if now < asked_at + RECEIPT_WAIT:
        return False
    link.asked_at.pop(channel.channel)
    link.unsigned.add(channel.channel)
    core.emit(events.Alarm(conversation=channel.owner.hex(), code="relay.no-receipt"))
    return True


def _allowed(core: Core, row: Conversation, intent: Intent) -> Intent | None:
    """The own commit keeps the rule that others judge it by (HT-M-033).

    Out of path-only commits, an admin starts a new era instead; anybody else waits for one.
    """
    own = next(member for member in core.members_now(row.conversation) if member.leaf == row.own_leaf)
    if intent.kind != IntentKind.UPDATE or own.path_commits < judging.PATH_COMMITS_PER_ERA:
        return intent
    core.db.execute("DELETE FROM intent WHERE conversation = ? AND kind = ?", row.conversation, intent.kind)
    if not policy.parse([(policy.EXTENSION, row.policy)]).is_admin(core.identity.account):
        return None
    renewed = Intent(row.conversation, IntentKind.NEW_ERA, intent.not_before)
    core.db.put(renewed)
    return renewed


def _commit(core: Core, row: Conversation, channel: Channel, intent: Intent, shown: Signed | None, now: int) -> None:
    receipt = shown.seq.to_bytes(8) + shown.control_hash + shown.signature if shown else None
    group = core.group(row.conversation)
    members = core.members(row.conversation)
    again = _to_readmit(core, row, intent)
    folded = None
    devices = additions.NOTHING
    if intent.kind == IntentKind.READMIT and again is None:
        core.db.execute("DELETE FROM intent WHERE conversation = ? AND kind = ?", row.conversation, intent.kind)
        return
    if again is not None:
        leaves = [member.leaf for member in members if member.device == again.device]
        devices = additions.Changes({again.device: again.key_package}, leaves)
    elif intent.kind == IntentKind.DEVICES:
        devices = additions.wanted(core, row, members, now)
        if devices == additions.NOTHING:
            core.db.execute("DELETE FROM intent WHERE conversation = ? AND kind = ?", row.conversation, intent.kind)
            return
    elif intent.kind == IntentKind.CHANGE:
        folded = changes.fold(core, row, group.suite, now)
        if folded is None:
            core.db.execute("DELETE FROM intent WHERE conversation = ? AND kind = ?", row.conversation, intent.kind)
            return
    people = additions.people(core, row, members, devices)
    people |= _person(core, row, again)
    if folded is not None:
        people |= changes.people(core, folded)
    context = content.CommitContext(
        1,
        intent.kind in STARTS_ERA or (folded is not None and folded.membership),
        receipt,
        list(people.values()),
    )
    try:
        made = group.commit(
            adds=[adding.key_package for adding in folded.adds] if folded is not None else list(devices.adds.values()),
            removes=folded.removes if folded is not None else devices.removes,
            self_update=True,
            extensions=folded.extensions if folded is not None else None,
            credential=additions.newer_credential(core, row, members),
            aad=content.encode(context),
        )
    except mls.BadKeyPackage as error:
        unusable.drop(core, row, intent, error, adds=folded or again or devices, now=now)
        return
    if intent.kind == IntentKind.DEVICES:
        additions.committed(core, row, devices, made.welcome)
    if again is not None:
        core.db.put(msgspec.structs.replace(again, welcome=made.welcome))
    if folded is not None:
        changes.pending(core, folded, row.conversation, made.digest, made.welcome)
    core.db.mls_write(row.conversation, made.writes)
    post(core, row, channel, intent, made.digest, enclosing.enclose(core, row, channel, made.commit))


def post(core: Core, row: Conversation, channel: Channel, intent: Intent, digest: bytes, entry: bytes) -> None:
    """An own commit goes into the outbox with its digest, before it is sent (HT-M-031)."""
    frame = frame_for(
        channel, kind=OutboxKind.COMMIT, owner=row.conversation, entry=entry, entry_class=EntryClass.CONTROL
    )
    core.db.insert(msgspec.structs.replace(frame, is_commit=1, turn=channel.turn, epoch=row.epoch))
    core.db.execute(
        "UPDATE intent SET digest = ? WHERE conversation = ? AND kind = ?", digest, row.conversation, intent.kind
    )


def give_up_pending(core: Core, row: Conversation) -> None:
    """An own commit that waits for a relay that is gone: the intents are tried again later."""
    group = core.group(row.conversation)
    if group.has_pending_commit:
        core.db.mls_write(row.conversation, group.pending_discard())
    enclosing.give_up(core, row.conversation)
    core.db.execute("UPDATE intent SET digest = NULL WHERE conversation = ?", row.conversation)
    changes.lost_race(core, row.conversation)


def spoilt(core: Core, row: Conversation, now: int) -> None:
    """The own commit came back and counts for nobody, a piece of it is missing: it is made anew (HT-M-088)."""
    give_up_pending(core, row)
    core.db.execute(
        "UPDATE intent SET not_before = max(not_before, ?) WHERE conversation = ?", now + RETRY, row.conversation
    )


def _person(core: Core, row: Conversation, again: Readmission | None) -> dict[AccountId, content.Person]:
    """Whose leaf is replaced: in a group the commit brings its chain (HT-M-083)."""
    if again is None or row.kind != policy.Kind.GROUP:
        return {}
    account = next(member.account for member in core.members(row.conversation) if member.device == again.device)
    chain = core.chain(account)
    return {account: content.Person(list(chain.links), core.name(account))} if chain is not None else {}


def _to_readmit(core: Core, row: Conversation, intent: Intent) -> Readmission | None:
    """Whom this commit adds again (HT-M-059)."""
    if intent.kind != IntentKind.READMIT:
        return None
    core.db.execute(  # removed meanwhile: whoever did that did not want it back
        "DELETE FROM readmission WHERE conversation = ? AND device NOT IN "
        "(SELECT device FROM member WHERE conversation = ?)",
        row.conversation,
        row.conversation,
    )
    return core.db.first(Readmission, "conversation = ?", row.conversation)


def came_back(core: Core, row: Conversation, channel: Channel, message: bytes, seq: int, now: int) -> IntentKind | None:
    """The pending commit came back as the first valid candidate: merge it. Returns what it was wanted for."""
    digest = hashlib.sha256(message).digest()
    intent = core.db.first(Intent, "conversation = ? AND digest = ?", row.conversation, digest)
    group = core.group(row.conversation)
    new_era = intent is not None and (intent.kind in STARTS_ERA or changes.starts_era(core, row.conversation, digest))
    secret = group.pending_export(keys.ERA_LABEL, b"", 32) if new_era else None
    core.db.mls_write(row.conversation, group.pending_merge())
    enclosing.give_up(core, row.conversation)
    core.db.execute("DELETE FROM intent WHERE conversation = ? AND digest = ?", row.conversation, digest)
    if new_era:
        core.db.execute("DELETE FROM intent WHERE conversation = ? AND kind = ?", row.conversation, IntentKind.UPDATE)
    core.db.execute("UPDATE conversation SET updated_at = ? WHERE conversation = ?", now, row.conversation)
    own = core.identity.account
    _merged(core, row, group, committer=row.own_leaf, by=own, secret=secret, channel=channel, seq=seq, now=now)
    return IntentKind(intent.kind) if intent is not None else None


def arrived(core: Core, row: Conversation, channel: Channel, staged: mls.StagedCommit, seq: int, now: int) -> bool:
    """Another's commit was staged: judge it; merge it, or skip it as everybody does.

    False if it is valid and replaces this device's own leaf: then there is nothing left to merge it into.
    """
    group = core.group(row.conversation)
    members = {
        member.leaf: judging.Leaf(
            member.leaf, member.account, member.device, member.height, member.signature_key, member.path_commits
        )
        for member in core.members_now(row.conversation)
    }
    chains = {leaf.account: chain for leaf in members.values() if (chain := core.chain(leaf.account))}
    agreed = policy.parse([(policy.EXTENSION, row.policy)])
    core.db.mls_write(row.conversation, staged.writes)
    try:
        context = judging.check_commit(
            staged,
            agreed=agreed,
            members=members,
            chains=chains,
            suite=group.suite,
            at=_fallback_key(agreed, channel),
        )
    except (VerificationError, ContentError) as error:
        core.db.mls_write(row.conversation, group.staged_drop())
        skipped(core, row, seq, error, now)
        return True
    if staged.self_removed:
        core.db.mls_write(row.conversation, group.staged_drop())
        return False
    heard(core, row, staged.sender, staged.epoch)
    _compare_histories(core, channel, context.receipt, agreed.relays[0].relay_key, row, now)
    if group.has_pending_commit:
        core.db.mls_write(row.conversation, group.pending_discard())
        enclosing.give_up(core, row.conversation)
        core.db.execute(
            "UPDATE intent SET digest = NULL, not_before = ? WHERE conversation = ? AND digest IS NOT NULL",
            now + RETRY * (1 + row.own_leaf % RETRY_PLACES),
            row.conversation,
        )
        changes.lost_race(core, row.conversation)
    for added in staged.adds:  # somebody else was faster
        device = DeviceKey(accounts.read_credential(added.credential).device)
        _no_more_needed(core, row, device)
        if additions.made_elsewhere(core, row, device, added.signature_key):
            core.db.put(Intent(row.conversation, IntentKind.DEVICES, now + LOOK_AGAIN))
    for person in context.people:
        hear_of(core, accounts.verify_chain(person.chain), person.name)
    if context.new_era:
        core.db.execute("DELETE FROM intent WHERE conversation = ? AND kind = ?", row.conversation, IntentKind.NEW_ERA)
    secret = group.staged_export(keys.ERA_LABEL, b"", 32) if context.new_era else None
    core.db.mls_write(row.conversation, group.staged_merge())
    by = members[staged.sender].account
    _merged(core, row, group, committer=staged.sender, by=by, secret=secret, channel=channel, seq=seq, now=now)
    return True


def _no_more_needed(core: Core, row: Conversation, device: DeviceKey) -> None:
    """A device is a member again by another's commit: its request is answered (HT-M-059)."""
    if core.db.execute("DELETE FROM readmission WHERE conversation = ? AND device = ?", row.conversation, device):
        core.db.execute("DELETE FROM intent WHERE conversation = ? AND kind = ?", row.conversation, IntentKind.READMIT)


def hear_of(core: Core, chain: accounts.Chain, name: str) -> None:
    """Another member says who an account is. Its name is hearsay until it says it itself; a chain that forks from the
    known one is an alarm, and not taken (HT-M-004, HT-M-130)."""
    try:
        core.remember_account(chain, core.name(chain.account) or name)
    except VerificationError as error:
        if error.code == "chain.frozen":
            core.freeze(chain.account)
        core.emit(events.Alarm(conversation=None, code=error.code))


def _fallback_key(agreed: policy.Policy, channel: Channel) -> bytes | None:
    """The key of the relay that a commit came from, if it is not the conversation's first (HT-M-065)."""
    if channel.purpose != Purpose.FALLBACK:
        return None
    return next((relay.key for relay in agreed.relays if relay.url == channel.relay), bytes(32))


def skipped(core: Core, row: Conversation, seq: int, error: HanaError, now: int) -> None:
    """A candidate that is invalid for everyone is skipped, and said."""
    core.notice(
        events.EntryDamaged(conversation=row.conversation.hex(), seq=seq, code=error.code), now, row.conversation
    )


def _compare_histories(
    core: Core, channel: Channel, receipt: bytes | None, relay_key: RelayKey, row: Conversation, now: int
) -> None:
    """The relay signed to the committer what it had shown: the same as to us? (HT-M-034)"""
    if receipt is None or channel.incarnation is None:
        return
    seq, control_hash, signature = int.from_bytes(receipt[:8]), receipt[8:40], receipt[40:]
    if seq > SEQ_LIMIT:
        return  # no relay counts that far (HT-R-018), and no database
    try:
        _verify_receipt(relay_key, channel.channel, channel.incarnation, Signed(seq, control_hash, signature))
    except VerificationError:
        return  # of another incarnation, or made up by the committer: says nothing about the relay
    if own_hash(core, channel.channel, seq) != control_hash:
        core.notice(
            events.Alarm(conversation=row.conversation.hex(), code="relay.two-histories"), now, row.conversation
        )


def own_hash(core: Core, channel: ChannelId, seq: int) -> bytes:
    """Running hash over the control entries this device was shown, up to `seq`."""
    found = core.db.value(
        "SELECT control_hash FROM control WHERE channel = ? AND seq <= ? ORDER BY seq DESC LIMIT 1", channel, seq
    )
    return found if isinstance(found, bytes) else bytes(32)


def _verify_receipt(relay_key: RelayKey, channel: ChannelId, incarnation: Incarnation, receipt: Signed) -> None:
    statement = receipt_statement(channel, incarnation, seq=receipt.seq, control_hash=receipt.control_hash)
    accounts.verify_signature(relay_key, receipt.signature, statement, "relay.bad-receipt")


def signed(core: Core, link: Link, channel: Channel, receipt: Signed, now: int) -> None:
    """The relay answered RECEIPT: keep it for the next commit if it signs what it has shown us."""
    link.asked_at.pop(channel.channel, None)
    conversation = ConversationId(channel.owner)
    row = core.conversation(conversation)
    agreed = policy.parse([(policy.EXTENSION, row.policy)])
    incarnation = link.incarnations.get(channel.channel)
    try:
        if incarnation is None or link.asked_receipt.get(channel.channel) != receipt.seq:
            raise VerificationError("relay.bad-receipt")
        _verify_receipt(agreed.relays[0].relay_key, channel.channel, incarnation, receipt)
    except VerificationError as error:  # asked no more on this connection
        core.notice(events.Alarm(conversation=conversation.hex(), code=error.code), now, conversation)
        return
    if own_hash(core, channel.channel, receipt.seq) != receipt.control_hash:
        holes.found(core, link, channel, "relay.two-histories", now)
        return
    link.asked_receipt.pop(channel.channel, None)
    link.signed[channel.channel] = receipt


def _merged(
    core: Core,
    row: Conversation,
    group: mls.Group,
    *,
    committer: int,
    by: AccountId,
    secret: bytes | None,
    channel: Channel,
    seq: int,
    now: int,
) -> None:
    """The group is in its next epoch: roster, policy and, with a new era, the channel follow."""
    conversation = row.conversation
    core.db.execute("UPDATE control SET merged = 1 WHERE channel = ? AND seq = ?", channel.channel, seq)
    agreed = policy.parse(group.extensions())
    people = {member.account for member in core.members(conversation)}
    core.db.execute(
        "UPDATE conversation SET epoch = ?, policy = ? WHERE conversation = ?",
        group.epoch,
        policy.encode(agreed),
        conversation,
    )
    old = policy.of(row.policy)
    if secret is not None:
        core.db.execute("UPDATE member SET path_commits = 0 WHERE conversation = ?", conversation)
    elif agreed == old:
        core.db.execute(
            "UPDATE member SET path_commits = path_commits + 1 WHERE conversation = ? AND leaf = ?",
            conversation,
            committer,
        )
    before = core.members(conversation)
    refresh_roster(core, conversation, group)
    additions.tell_changes(core, row, before, core.members(conversation), now)
    core.db.execute("DELETE FROM ciphertext WHERE conversation = ?", conversation)
    if secret is not None:
        core.db.execute("UPDATE channel SET closed = ? WHERE channel = ?", Closed.LEFT, row.channel)
        core.db.execute(
            "UPDATE channel SET closed = ? WHERE owner = ? AND purpose = ?",
            Closed.CLOSED,
            conversation,
            Purpose.FALLBACK,
        )
        start_era(core, conversation, secret, agreed.relays, epoch=group.epoch, now=now)
        core.db.execute(
            "UPDATE channel SET closed = ? WHERE owner = ? AND closed = ? AND channel NOT IN (SELECT channel FROM "
            "channel "
            "WHERE owner = ? AND closed = ? ORDER BY since_epoch DESC LIMIT ?)",
            Closed.CLOSED,
            conversation,
            Closed.LEFT,
            conversation,
            Closed.LEFT,
            LEFT_MOST,
        )
    changes.tell_keeping(core, row, before=old, after=agreed, by=by, now=now)
    if agreed.kind is policy.Kind.GROUP:
        now_in = {member.account for member in core.members(conversation)}
        changes.tell(core, row, before=(old, people), after=(agreed, now_in), by=by, now=now)
        if agreed.is_admin(core.identity.account) and not old.is_admin(core.identity.account):
            want(core, conversation, IntentKind.CHANGE, now + RETRY)  # others may have asked to leave before


def refresh_roster(core: Core, conversation: ConversationId, group: mls.Group) -> None:
    """Bring the member table in line with the tree. Credentials were verified before the commit was merged."""
    known = {member.leaf: member for member in core.members_now(conversation)}
    devices = {member.device: member for member in known.values()}
    present = set()
    for leaf in group.roster():
        present.add(leaf.leaf)
        found = accounts.read_credential(leaf.credential)
        before = devices.get(DeviceKey(found.device))
        member = Member(
            conversation,
            leaf.leaf,
            AccountId(found.account),
            DeviceKey(found.device),
            found.height,
            leaf.signature_key,
            before.since_epoch if before is not None else group.epoch,
            before.path_commits if before is not None else 0,
            before.heard_epoch if before is not None else 0,
        )
        if member != known.get(leaf.leaf):
            core.db.put(member)
    for leaf_index in known.keys() - present:
        core.db.execute("DELETE FROM member WHERE conversation = ? AND leaf = ?", conversation, leaf_index)
    core.roster_changed(conversation)


def start_era(
    core: Core, conversation: ConversationId, secret: bytes, relays: list[policy.Relay], *, epoch: int, now: int
) -> ChannelId:
    """The era's channel, computed by every member alike (HT-M-020); joiners never learn the one before."""
    for place, relay in enumerate(relays):
        era = keys.era(secret, relay.relay_key)
        core.db.insert(
            Channel(
                era.channel,
                Purpose.FALLBACK if place else Purpose.ERA,
                conversation,
                relay.url,
                era.read_token,
                era.write_token,
                era.seal_key,
                new_reader(),
                None,
                0,
                0,
                bytes(32),
                epoch,
                now,
            )
        )
    first = keys.era(secret, relays[0].relay_key).channel
    core.db.execute("UPDATE conversation SET channel = ?, base = counter WHERE conversation = ?", first, conversation)
    core.rescan()
    return first


def record_control(core: Core, channel: Channel, seq: int, commit: bool, entry: bytes, control_hash: bytes) -> None:
    """Keep a control entry and the running hash up to it."""
    again = recovery.seen(core, channel.channel, entry)
    core.db.put(Control(channel.channel, seq, int(commit), control_hash, entry, int(again)))


def heard(core: Core, row: Conversation, leaf: int, epoch: int) -> None:
    """Something of this member decrypted in this epoch; eras that everybody has left need no watching (HT-M-053)."""
    changed = core.db.execute(
        "UPDATE member SET heard_epoch = ? WHERE conversation = ? AND leaf = ? AND heard_epoch < ?",
        epoch,
        row.conversation,
        leaf,
        epoch,
    )
    if changed:
        slowest = core.db.number(
            "SELECT min(heard_epoch) FROM member WHERE conversation = ? AND leaf != ?", row.conversation, row.own_leaf
        )
        core.db.execute(
            "UPDATE channel SET closed = ? WHERE owner = ? AND closed = ? AND since_epoch < "
            "(SELECT max(since_epoch) FROM channel WHERE owner = ? AND since_epoch <= ?)",
            Closed.CLOSED,
            row.conversation,
            Closed.LEFT,
            row.conversation,
            slowest,
        )
        core.db.execute(
            "DELETE FROM restoring WHERE channel IN (SELECT channel FROM channel WHERE closed = ?)", Closed.CLOSED
        )
