"""From a pushed entry to a stored message: one transaction for ratchet state, plaintext, cursor, dedupe (HT-C-011).

Whatever a relay or a member sends, the outcome is a stored message, an ignored repetition, or something that is said:
damaged, gap, alarm. The cursor moves on in every case, so no entry can stop the conversation.
"""

import contextlib
import hashlib

import msgspec

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine.conversations import (
    commits,
    enclosing,
    faults,
    joining,
    key_packages,
    moving,
    resync,
    starts,
)
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.files import downloads, uploads
from hanatalk.client.engine.formats import accounts, content, policy, sealing
from hanatalk.client.engine.messages import (
    actions,
    bodies,
    echoes,
    expiry,
    gaps,
    going,
    outbox,
    placing,
    receipts,
    recovery,
    sending,
    telling,
    timers,
    whispers,
)
from hanatalk.client.engine.people import devices, groups, introductions, invites, linking
from hanatalk.client.engine.seen import views
from hanatalk.errors import ContentError, VerificationError
from hanatalk.ids import ConversationId, MessageId
from hanatalk.localdb.rows import (
    Channel,
    Closed,
    Conversation,
    ConversationState,
    IntentKind,
    Member,
    Message,
    MessageKind,
    OutboxKind,
    Purpose,
)
from hanatalk.wire.channels import next_control_hash
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.events import EntryReceived


def entry(core: Core, event: EntryReceived, now: int, *, counts: bool = True) -> int | None:
    """Take in one pushed entry; returns the seq to acknowledge once the transaction is committed.

    :param counts: False for a commit behind one that the relay did not show: nobody takes a later candidate (HT-C-060)
    """
    channel = core.channel(event.channel_id)
    if channel is None or channel.closed == Closed.CLOSED or event.seq <= channel.cursor:
        return None  # shown before (T-011)
    turn, control_hash = channel.turn, channel.control_hash
    if event.turn > turn and channel.purpose == Purpose.ERA:
        # a commit went by that we were not shown
        conversation = ConversationId(channel.owner)
        core.notice(events.Alarm(conversation=conversation.hex(), code="relay.hole"), now, conversation)
        resync.doubt(core, conversation, now)
        turn = event.turn
    if event.entry_class is EntryClass.CONTROL:
        control_hash = next_control_hash(control_hash, seq=event.seq, commit=event.commit, entry=event.entry)
        if channel.purpose == Purpose.ERA:
            commits.record_control(core, channel, event.seq, event.commit, event.entry, control_hash)
        turn += event.commit
    core.db.execute(
        "UPDATE channel SET cursor = ?, turn = ?, control_hash = ? WHERE channel = ?",
        event.seq,
        turn,
        control_hash,
        channel.channel,
    )
    if channel.closed:
        _left_behind(core, channel, event, now)
    if channel.closed or not counts:
        return event.seq  # of an era that is over (T-027)
    if channel.purpose == Purpose.ERA or (
        channel.purpose == Purpose.FALLBACK and event.entry_class is EntryClass.CONTROL
    ):
        _era_entry(core, msgspec.structs.replace(channel, turn=turn), event, now)
    elif channel.purpose == Purpose.WELCOME:
        invites.welcome_entry(core, channel, event, now)
    elif channel.purpose == Purpose.ANNEX:
        invites.annex_entry(core, channel, event, now)
    elif channel.purpose == Purpose.RESYNC:
        resync.entry(core, channel, event, now)
    elif channel.purpose == Purpose.START:
        starts.entry(core, channel, event, now)
    elif channel.purpose == Purpose.LINK:
        linking.entry(core, channel, event, now)
    return event.seq


def _left_behind(core: Core, channel: Channel, event: EntryReceived, now: int) -> None:
    """A member still writes where nobody reads any more: it may not know (HT-M-057)."""
    own = outbox.sent_as(core, channel.channel, event.entry)
    if channel.purpose != Purpose.ERA or event.entry_class is not EntryClass.MESSAGE or own:
        return
    with contextlib.suppress(ContentError):
        sealing.unseal(channel.seal_key, channel.channel, entry_class=event.entry_class, entry=event.entry)
        resync.doubt(core, ConversationId(channel.owner), now)


def _era_entry(core: Core, channel: Channel, event: EntryReceived, now: int) -> None:
    row = core.conversation(ConversationId(channel.owner))
    own = outbox.sent_as(core, channel.channel, event.entry)
    if own is not None and own.kind != OutboxKind.COMMIT:
        sending.stored(core, own, event.seq, now)  # the answer was lost, the entry was not
        echoes.shown(core, channel.channel, event.seq)
        if own.kind != OutboxKind.PIECE:
            return
    if row.state in (ConversationState.BROKEN, ConversationState.REMOVED):
        return
    group = core.group(row.conversation)
    sealed_by_a_member = False
    try:
        kind, body = sealing.unseal(
            channel.seal_key,
            channel.channel,
            entry_class=event.entry_class,
            commit=event.commit,
            entry=event.entry,
        )
        sealed_by_a_member = True
        if kind is sealing.BodyKind.PIECE:
            enclosing.arrived(core, channel, event, body)
            return
        if channel.purpose == Purpose.FALLBACK and not event.commit:
            return  # nothing but a move counts there
        head = body if kind is sealing.BodyKind.PIECES else None
        if head is not None and event.commit and event.entry_class is EntryClass.CONTROL:
            kind, body = sealing.BodyKind.MLS, enclosing.assemble(core, channel, head, event.seq)
        if kind is not sealing.BodyKind.MLS:
            raise ContentError("entry.damaged", why="kind")
        result = group.process(body)
    except mls.WrongEpoch as error:
        if _is_later(error) or channel.purpose == Purpose.FALLBACK:  # a move that outranks what is merged here
            resync.doubt(core, row.conversation, now)
        elif event.entry_class is EntryClass.MESSAGE:  # it came too late: nobody knows its number, so ask (HT-C-013)
            _ask_everybody(core, row, now)
        return
    except mls.Replay:
        if not _decrypted_before(core, row, body):
            _alarm(core, row, "message.reused-key", now)  # two ciphertexts of one generation: an old copy sends
        return  # shown before (T-011)
    except (mls.PathFault, mls.Evicted) as error:  # HT-M-038: no later candidate is taken
        resync.lost(core, row.conversation, error.code, now)
        if isinstance(error, mls.PathFault):
            faults.met(core, row, channel, event.seq, now)
        return
    except ContentError as error:  # every other error of the binding, and of the outer layer
        if channel.purpose == Purpose.FALLBACK:
            return  # nothing but a move counts there
        if own is not None and own.kind == OutboxKind.COMMIT:
            commits.spoilt(core, row, now)
        elif sealed_by_a_member:
            resync.unreadable(core, row.conversation, now)
        _damaged(core, row, event, error, now)
        return
    _result(core, row, channel, event, result, body, now)
    if head is not None:
        enclosing.merged(core, channel.channel, head, event.seq)


def _result(
    core: Core,
    row: Conversation,
    channel: Channel,
    event: EntryReceived,
    result: mls.Application | mls.StagedCommit | mls.OwnMessage,
    body: bytes,
    now: int,
) -> None:
    """What MLS made of an entry's body."""
    group = core.group(row.conversation)
    if isinstance(result, mls.OwnMessage):
        if result.pending and event.commit:
            done = commits.came_back(core, row, channel, body, event.seq, now)
            if done is IntentKind.READMIT:
                resync.readmitted(core, row.conversation, now)
            elif done is IntentKind.DEVICES:
                devices.changed(core, row.conversation, now)
            elif done is IntentKind.MOVE:
                moving.moved(core, row.conversation, own=True, now=now)
            elif done is IntentKind.CHANGE:
                groups.carried_out(core, row.conversation, now)
            groups.changed(core, row.conversation, now)
        placing.came_back(core, event)
    elif isinstance(result, mls.StagedCommit):
        if event.commit and event.entry_class is EntryClass.CONTROL:
            if not commits.arrived(core, row, channel, result, event.seq, now):
                _removed(core, row, result, now)
            elif core.conversation(row.conversation).channel != row.channel and channel.purpose == Purpose.FALLBACK:
                moving.moved(core, row.conversation, own=False, now=now)
            devices.noticed(core, row.conversation, now)
            groups.changed(core, row.conversation, now)
        else:  # a commit counts only where the turn counts it
            core.db.mls_write(row.conversation, [*result.writes, *group.staged_drop()])
    else:
        core.db.mls_write(row.conversation, result.writes)
        core.db.execute(
            "INSERT OR IGNORE INTO ciphertext (conversation, digest) VALUES (?, ?)", row.conversation, _digest(body)
        )
        resync.readable(core, row.conversation)
        if event.entry_class is EntryClass.MESSAGE:
            _application(core, row, result, event, now)


def _removed(core: Core, row: Conversation, staged: mls.StagedCommit, now: int) -> None:
    """A valid commit takes this leaf: its own chain did that (HT-M-128), an admin, or the device is put in anew."""
    own = core.identity.device.key
    for person in content.parse_commit_context(staged.aad).people:
        chain = accounts.verify_chain(person.chain)
        if chain.account == core.identity.account and own not in chain.devices:
            devices.revoked(core, now)
            return
    again = any(accounts.read_credential(added.credential).device == own for added in staged.adds)
    if row.kind == policy.Kind.GROUP and not again:
        groups.removed(core, row.conversation, now)
    else:
        resync.lost(core, row.conversation, "conversation.replaced", now)


def _is_later(error: mls.WrongEpoch) -> bool:
    message, group = error.detail.get("message"), error.detail.get("group")
    return isinstance(message, int) and isinstance(group, int) and message > group


def _digest(message: bytes) -> bytes:
    return hashlib.sha256(message).digest()[:16]


def _decrypted_before(core: Core, row: Conversation, message: bytes) -> bool:
    return bool(
        core.db.value(
            "SELECT 1 FROM ciphertext WHERE conversation = ? AND digest = ?", row.conversation, _digest(message)
        )
    )


def _damaged(core: Core, row: Conversation, event: EntryReceived, error: ContentError, now: int) -> None:
    """Refused and shown; nobody knows what it was, so everybody is asked for what follows what we have (T-019)."""
    core.notice(
        events.EntryDamaged(conversation=row.conversation.hex(), seq=event.seq, code=error.code), now, row.conversation
    )
    if event.entry_class is EntryClass.MESSAGE:
        _ask_everybody(core, row, now)


def _ask_everybody(core: Core, row: Conversation, now: int) -> None:
    for member in core.members(row.conversation):
        if member.leaf != row.own_leaf:
            gaps.open_end(core, row.conversation, member.device, now)


def _application(core: Core, row: Conversation, received: mls.Application, event: EntryReceived, now: int) -> None:
    members = core.members(row.conversation)
    by_leaf = {member.leaf: member for member in members}
    sender = by_leaf.get(received.sender)
    if sender is None or sender.leaf == row.own_leaf:
        return
    try:
        envelope, body = content.parse(received.plaintext)
    except ContentError as error:
        _damaged(core, row, event, error, now)
        return
    commits.heard(core, row, received.sender, received.epoch)
    if row.kind == policy.Kind.GROUP:
        joining.heard(core, row.conversation)
        last = max(envelope.counter - 1, 0)  # without a line of its own, what comes first is the first
        for line in envelope.receipts:
            if line.leaf == sender.leaf:
                last = min(line.read, envelope.counter - 1 if envelope.counter else line.decrypted)
        gaps.begin(core, row, by_leaf[row.own_leaf], sender, last)
    recovery.no_longer(core, row.conversation)  # a Welcome for this group was heard
    receipts.apply(core, row, members, sender, envelope.receipts)
    if sender.account == core.identity.account:  # first: what is read now is not to begin what lets it go once more
        timers.read_elsewhere(core, row.conversation, members, envelope.receipts, now)
    if envelope.receipts:
        going.look(core, row, members, now)
    for line in envelope.receipts:
        if line.leaf == sender.leaf and not envelope.counter:
            gaps.announced(core, row, sender, line.decrypted, now)
    if isinstance(body, content.Receipt):
        return
    if isinstance(body, content.SendAgain):
        sending.send_again(core, row, by_leaf[row.own_leaf], sender, body.ranges, now)
        receipts.tell_again(core, row.conversation)  # what was lost there may have been a receipt
        receipts.due(core, row, now, len(members))
        return
    if isinstance(body, content.Begins):
        if body.leaf == row.own_leaf:
            gaps.begins(core, row, sender, body.first)
    elif isinstance(body, content.LeaveAgain):
        uploads.asked_again(core, row, by_leaf[row.own_leaf], sender, body, now)
    elif isinstance(body, content.LeftAgain):
        downloads.left_again(core, row, sender, body)
    elif envelope.counter:
        _numbered(core, row, members, sender, envelope, body, now)


def _numbered(
    core: Core,
    row: Conversation,
    members: list[Member],
    sender: Member,
    envelope: content.Envelope,
    body: content.Body | content.Unknown,
    now: int,
) -> None:
    message_id = MessageId(envelope.message)
    known = core.db.first(Message, "message = ?", message_id)
    if known is not None:
        if _sent_again(core, row, sender, known, envelope, now):  # our confirmation was not heard
            receipts.tell_again(core, row.conversation)
            receipts.due(core, core.conversation(row.conversation), now, len(members))
            if isinstance(body, content.Leave) and row.kind == policy.Kind.GROUP:
                groups.asked_to_leave(core, row, sender, now)  # it may have been forgotten here (HT-M-140)
        else:
            _alarm(core, row, "message.reused-id", now)  # another's content under this sender's name (T-028)
        return
    if _is_taken(core, row, sender, envelope.counter):
        _alarm(core, row, "message.reused-counter", now)
        return
    if _jumps(core, row, sender, envelope.counter):
        _alarm(core, row, "message.counter-jump", now)
        return
    if isinstance(body, content.Hello) and not _hello(core, row, sender, body, now):
        return
    if isinstance(body, content.Sync):
        devices.heard(core, row, sender, body, sent_at=envelope.sent_at, now=now)
    if isinstance(body, content.Recall) and not expiry.asked(core, row, sender, MessageId(body.message), now):
        _alarm(core, row, "message.foreign-recall", now)
    verdict = actions.judge(core, row, sender, body) if isinstance(body, content.Action) else None
    if verdict is actions.Verdict.FOREIGN:
        _alarm(core, row, "message.foreign-edit", now)
    if isinstance(body, content.Tombstone) and row.kind == policy.Kind.GROUP:
        gaps.stays(core, row, sender, envelope.counter, now)
    if isinstance(body, content.KeyPackages):
        _key_packages(core, row, sender, body)
    if isinstance(body, content.Telling):
        telling.announced(core, row, sender.account, body.telling)
    if isinstance(body, content.Leave) and row.kind == policy.Kind.GROUP:
        groups.asked_to_leave(core, row, sender, now)
    if isinstance(body, content.Introduction | content.Consent):
        introductions.arrived(core, row, sender, body, now)
    text = body if isinstance(body, content.Text) else None
    own = sender.account == core.identity.account
    recalled = expiry.asked_before(core, row.conversation, sender.account, message_id)
    if isinstance(body, content.Unknown):
        kind = MessageKind.UNKNOWN
    else:
        kind = MessageKind.PERSON if text else MessageKind.OTHER
    message = Message(
        None,
        message_id,
        row.conversation,
        sender.account,
        sender.device,
        envelope.counter,
        row.epoch,
        kind,
        envelope.sent_at,
        MessageId(text.reply_to) if text and text.reply_to else None,
        read=0 if text and not own else 1,
        stored_at=now if own else None,  # a sibling's: it came by a relay
        timer=timers.of(text) if text else None,
        recalled=int(recalled),
        fate=text.fate if text else content.Fate.STAYS,
        thread=whispers.thread(core, row, sender, text) if text else None,
    )
    unseen = own and text is not None and text.fate is content.Fate.ONCE  # of a sibling: nobody is shown it here
    void = recalled or unseen or verdict in (actions.Verdict.FOREIGN, actions.Verdict.VOID)
    void = void or isinstance(body, content.UsedUp)  # what counts of it stands elsewhere
    message = bodies.insert(core, message, None if void else bytes(envelope.body))
    if own:
        timers.stored(core, message_id, now)
    gaps.counted(core, row, sender, envelope.counter, now)
    receipts.due(core, core.conversation(row.conversation), now, len(members))
    if isinstance(body, content.Action) and not void:
        actions.take_in(core, row, members, message, body, now)
    named = isinstance(body, content.Text | content.Tombstone)  # something may have been said about it
    if named and not actions.meet(core, row, members, message, now):
        _alarm(core, row, "message.foreign-edit", now)
    if text and not recalled:
        if not void:
            downloads.arrived(core, row, message, text)
        core.received += not own
        core.emit(events.MessageReceived(message=views.shown(core, row, receipts.Counts(core, row, members), message)))


def _sent_again(
    core: Core, row: Conversation, sender: Member, known: Message, envelope: content.Envelope, now: int
) -> bool:
    """Whether this is the message that is known, of the device that sent it (HT-C-003).

    A copy of a profile that was put back numbers once more what it held unnumbered: that number is
    counted too, by a row that nobody is shown.
    """
    if (known.conversation, known.device) != (row.conversation, sender.device):
        return False
    if known.counter == envelope.counter:
        return True
    held = bodies.find(core, known)
    if held is not None and held != bytes(envelope.body):
        return False
    again = _again(known.message, envelope.counter)
    if core.db.value("SELECT 1 FROM message WHERE message = ?", again):
        return True
    if _is_taken(core, row, sender, envelope.counter) or _jumps(core, row, sender, envelope.counter):
        return False
    counted = msgspec.structs.replace(
        known,
        number=None,
        message=again,
        counter=envelope.counter,
        epoch=row.epoch,
        kind=MessageKind.OTHER,
        reply_to=None,
        read=1,
        timer=None,
        expires_at=None,
        recalled=0,
        fate=content.Fate.STAYS,
        thread=None,
    )
    bodies.insert(core, counted, None)
    gaps.counted(core, row, sender, envelope.counter, now)
    return True


def _is_taken(core: Core, row: Conversation, sender: Member, counter: int) -> bool:
    """Whether a message of this device has this number already."""
    found = "SELECT 1 FROM message WHERE conversation = ? AND device = ? AND counter = ?"
    return bool(core.db.value(found, row.conversation, sender.device, counter))


def _jumps(core: Core, row: Conversation, sender: Member, counter: int) -> bool:
    """Whether this number is too far ahead to be one of this device's (HT-C-007)."""
    return counter > receipts.stream(core, row.conversation, sender.device).highest + gaps.COUNTER_JUMP


def _again(message: MessageId, counter: int) -> MessageId:
    return MessageId(hashlib.sha256(b"hana again/1" + message + counter.to_bytes(8)).digest()[:16])


def _hello(core: Core, row: Conversation, sender: Member, hello: content.Hello, now: int) -> bool:
    """Name and chain of a member; the chain must be the sender's own."""
    try:
        chain = accounts.verify_chain(hello.chain, account=sender.account)
        core.remember_account(chain, hello.name)
    except VerificationError as error:
        _alarm(core, row, error.code, now)
        return False
    if row.kind == policy.Kind.DIRECT:
        key_packages.remember(core, chain, hello.key_packages)
        groups.came_by_invite(core, row, sender.account, now)
        core.emit(
            events.MemberJoined(conversation=row.conversation.hex(), account=sender.account.hex(), name=hello.name)
        )
    return True


def _key_packages(core: Core, row: Conversation, sender: Member, body: content.KeyPackages) -> None:
    """A contact's fresh KeyPackages; only in a direct conversation, where they go to one person (HT-C-080)."""
    chain = core.chain(sender.account)
    if row.kind == policy.Kind.DIRECT and chain is not None:
        key_packages.remember(core, chain, body.key_packages)


def _alarm(core: Core, row: Conversation, code: str, now: int) -> None:
    core.notice(events.Alarm(conversation=row.conversation.hex(), code=code), now, row.conversation)
