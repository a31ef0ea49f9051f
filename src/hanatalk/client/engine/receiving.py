"""From a pushed entry to a stored message: one transaction for ratchet state, plaintext, cursor, dedupe (HT-C-011).

Whatever a relay or a member sends, the outcome is a stored message, an ignored repetition, or something that is said:
damaged, gap, alarm. The cursor moves on in every case, so no entry can stop the conversation.
"""

import msgspec

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine import (
    accounts,
    bodies,
    commits,
    content,
    expiry,
    gaps,
    invites,
    placing,
    receipts,
    recovery,
    sealing,
    sending,
    views,
)
from hanatalk.client.engine.core import Core
from hanatalk.errors import ContentError, VerificationError
from hanatalk.ids import ConversationId, MessageId
from hanatalk.localdb.rows import (
    Channel,
    Closed,
    Conversation,
    ConversationState,
    Member,
    Message,
    MessageKind,
    OutboxKind,
    Outgoing,
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
        turn = event.turn
    if event.entry_class is EntryClass.CONTROL:
        control_hash = next_control_hash(control_hash, seq=event.seq, commit=event.commit, entry=event.entry)
        commits.record_control(core, channel, event.seq, event.commit, event.entry, control_hash)
        turn += event.commit
    core.db.execute(
        "UPDATE channel SET cursor = ?, turn = ?, control_hash = ? WHERE channel = ?",
        event.seq,
        turn,
        control_hash,
        channel.channel,
    )
    if channel.closed or not counts:
        return event.seq  # of an era that is over (T-027)
    if channel.purpose == Purpose.ERA:
        _era_entry(core, msgspec.structs.replace(channel, turn=turn), event, now)
    elif channel.purpose == Purpose.WELCOME:
        invites.welcome_entry(core, channel, event, now)
    return event.seq


def _era_entry(core: Core, channel: Channel, event: EntryReceived, now: int) -> None:
    row = core.conversation(ConversationId(channel.owner))
    own = core.db.first(Outgoing, "channel = ? AND entry = ?", channel.channel, event.entry)
    if own is not None and own.kind != OutboxKind.COMMIT:
        sending.stored(core, own, event.seq, now)  # the answer was lost, the entry was not
        return
    if row.state != ConversationState.JOINED:
        return
    group = core.group(row.conversation)
    try:
        kind, body = sealing.unseal(
            channel.seal_key,
            channel.channel,
            entry_class=event.entry_class,
            commit=event.commit,
            entry=event.entry,
        )
        if kind is not sealing.BodyKind.MLS:
            raise ContentError("entry.damaged", why="kind")
        result = group.process(body)
    except mls.WrongEpoch:
        return  # of an epoch that is over: its number is missing and will be asked for
    except mls.Replay:
        return  # shown before (T-011)
    except (mls.PathFault, mls.Evicted) as error:  # HT-M-038: no later candidate is taken
        core.db.execute(
            "UPDATE conversation SET state = ? WHERE conversation = ?", ConversationState.BROKEN, row.conversation
        )
        core.notice(events.Alarm(conversation=row.conversation.hex(), code=error.code), now, row.conversation)
        return
    except ContentError as error:  # every other error of the binding, and of the outer layer
        _damaged(core, row, event, error, now)
        return
    if isinstance(result, mls.OwnMessage):
        if result.pending and event.commit:
            commits.came_back(core, row, channel, body, event.seq, now)
        placing.came_back(core, event)
    elif isinstance(result, mls.StagedCommit):
        if event.commit and event.entry_class is EntryClass.CONTROL:
            commits.arrived(core, row, channel, result, event.seq, now)
        else:  # a commit counts only where the turn counts it
            core.db.mls_write(row.conversation, [*result.writes, *group.staged_drop()])
    else:
        core.db.mls_write(row.conversation, result.writes)
        if event.entry_class is EntryClass.MESSAGE:
            _application(core, row, result, event, now)


def _damaged(core: Core, row: Conversation, event: EntryReceived, error: ContentError, now: int) -> None:
    """Refused and shown; nobody knows what it was, so everybody is asked for what follows what we have (T-019)."""
    core.notice(
        events.EntryDamaged(conversation=row.conversation.hex(), seq=event.seq, code=error.code), now, row.conversation
    )
    if event.entry_class is EntryClass.MESSAGE:
        for member in core.members(row.conversation):
            if member.leaf != row.own_leaf:
                gaps.open_end(core, row.conversation, member.device)


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
    recovery.no_longer(core, row.conversation)  # a Welcome for this group was heard
    receipts.apply(core, row, members, sender, envelope.receipts)
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
    if envelope.counter:
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
        if (known.conversation, known.device, known.counter) != (row.conversation, sender.device, envelope.counter):
            _alarm(core, row, "message.reused-id", now)  # another's content under this sender's name (T-028)
        else:  # sent again: our confirmation was not heard
            receipts.tell_again(core, row.conversation)
            receipts.due(core, row, now, len(members))
        return
    if core.db.value(
        "SELECT 1 FROM message WHERE conversation = ? AND device = ? AND counter = ?",
        row.conversation,
        sender.device,
        envelope.counter,
    ):
        _alarm(core, row, "message.reused-counter", now)
        return
    if envelope.counter > receipts.stream(core, row.conversation, sender.device).highest + gaps.COUNTER_JUMP:
        _alarm(core, row, "message.counter-jump", now)
        return
    if isinstance(body, content.Hello) and not _hello(core, row, sender, body, now):
        return
    if isinstance(body, content.Recall) and not expiry.asked(core, row, sender, MessageId(body.message), now):
        _alarm(core, row, "message.foreign-recall", now)
    text = body if isinstance(body, content.Text) else None
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
        read=0 if text else 1,
        timer=text.timer * 1000 if text and text.timer else None,
        recalled=int(recalled),
    )
    message = bodies.insert(core, message, None if recalled else bytes(envelope.body))
    gaps.counted(core, row, sender, envelope.counter, now)
    receipts.due(core, core.conversation(row.conversation), now, len(members))
    if text and not recalled:
        core.received += 1
        core.emit(events.MessageReceived(message=views.shown(core, row, message, receipts.Counts(core, row, members))))


def _hello(core: Core, row: Conversation, sender: Member, hello: content.Hello, now: int) -> bool:
    """Name and chain of a member; the chain must be the sender's own."""
    try:
        chain = accounts.verify_chain(hello.chain, account=sender.account)
        core.remember_account(chain, hello.name)
    except VerificationError as error:
        _alarm(core, row, error.code, now)
        return False
    invites.remember_key_packages(core, chain, hello.key_packages)
    core.emit(events.MemberJoined(conversation=row.conversation.hex(), account=sender.account.hex(), name=hello.name))
    return True


def _alarm(core: Core, row: Conversation, code: str, now: int) -> None:
    core.notice(events.Alarm(conversation=row.conversation.hex(), code=code), now, row.conversation)
