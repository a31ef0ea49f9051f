"""From a body to the outbox: one transaction holds ratchet state, message row and the frame (HT-C-010)."""

import secrets

import msgspec

from hanatalk.client import events
from hanatalk.client.engine.core import DAY, Core, new_entry_id
from hanatalk.client.engine.formats import content, policy, sealing
from hanatalk.client.engine.messages import bodies, placing, receipts, recovery, timers
from hanatalk.errors import LocalError, UsageError
from hanatalk.ids import ConversationId, MessageId
from hanatalk.localdb.rows import (
    Channel,
    Conversation,
    ConversationState,
    Member,
    Message,
    MessageKind,
    OutboxKind,
    Outgoing,
    Transfer,
)
from hanatalk.wire.channels import ERASE_TOKEN_LENGTH
from hanatalk.wire.classes import EntryClass

BURN_LIMIT = 8  # other devices up to which a relay erases an entry when all have it (docs/adr/0007)
REFUSALS_BEFORE_NO_TURN = 3  # HT-M-031
GIVE_UP = 30 * DAY  # milliseconds: after this an unconfirmed message is not published again
RELAY_KEEPS = 3 * DAY  # milliseconds an entry lies at a relay
SEND_AGAIN_PAUSE = 5_000  # milliseconds in which the same message is not sent again
LEAVE = content.encode(content.Leave())  # says nothing that a newcomer must not read, and has to reach new admins


Numbered = (
    content.Text
    | content.Hello
    | content.Recall
    | content.KeyPackages
    | content.Leave
    | content.Telling
    | content.Action
    | content.Meeting
    | content.Sync
)


def send_text(core: Core, conversation: ConversationId, text: content.Text, *, now: int) -> Message:
    """Make a person's message durable in the outbox.

    With attachments it is not numbered before they are at a relay (HT-C-145).

    :raises ContentError: ``text.too-long``; :raises LocalError: ``text.empty``
    """
    if not text.text and not text.sticker and not text.attachments:
        raise LocalError("text.empty")
    return send_numbered(core, conversation, text, now=now)


def send_hello(core: Core, conversation: ConversationId, key_packages: list[bytes], *, now: int) -> None:
    """This device's first message: name, chain, KeyPackages for later."""
    hello = content.Hello(core.identity.name, list(core.identity.chain.links), key_packages)
    send_numbered(core, conversation, hello, now=now)


def send_sync(core: Core, conversation: ConversationId, body: content.Sync, *, now: int) -> None:
    """Something for the other own devices (HT-C-170)."""
    send_numbered(core, conversation, body, now=now)


def send_recall(core: Core, conversation: ConversationId, message: MessageId, *, now: int) -> None:
    """Ask everybody to forget an own message (HT-C-045). :raises LocalError: ``conversation.broken``"""
    send_numbered(core, conversation, content.Recall(message), now=now)


def send_key_packages(core: Core, conversation: ConversationId, key_packages: list[bytes], *, now: int) -> None:
    """Fresh KeyPackages for a contact (HT-C-080)."""
    send_numbered(core, conversation, content.KeyPackages(key_packages), now=now)


def send_leave(core: Core, conversation: ConversationId, *, now: int) -> None:
    """Ask the group's admins to remove this account (HT-M-084)."""
    send_numbered(core, conversation, content.Leave(), now=now)


def send_telling(core: Core, conversation: ConversationId, telling: bool, *, now: int) -> None:
    """Announce whether this person tells what it has read (HT-C-085)."""
    send_numbered(core, conversation, content.Telling(telling), now=now)


def send_begins(core: Core, row: Conversation, asker: Member, first: int, now: int) -> None:
    """Tell a device where, for it, this device's messages begin (HT-C-082)."""
    members = core.members(row.conversation)
    _post_unnumbered(core, row, members, OutboxKind.REQUEST, content.Begins(asker.leaf, first), [], now)


def send_numbered(
    core: Core,
    conversation: ConversationId,
    body: Numbered,
    *,
    now: int,
) -> Message:
    """Make any numbered message durable in the outbox, or let it wait there until it may be numbered (HT-M-061).

    :raises ContentError: ``text.too-long``
    """
    content.check_length(body)
    with core.transaction():
        row = core.conversation(conversation)
        if row.state in (ConversationState.REMOVED, ConversationState.LEAVING):
            raise UsageError("group.not-a-member")
        members = core.members(conversation)
        text = body if isinstance(body, content.Text) else None
        free = may_send(core, row) and not (text and text.attachments)
        message = Message(
            None,
            MessageId(secrets.token_bytes(16)),
            conversation,
            core.identity.account,
            core.identity.device.key,
            row.counter + 1 if free else _next_held(core, conversation),
            row.epoch,
            MessageKind.PERSON if text else MessageKind.OTHER,
            core.clock.wall(now),
            MessageId(text.reply_to) if text and text.reply_to else None,
            read=1,
            timer=timers.of(text) if text else None,
            fate=text.fate if text else content.Fate.STAYS,
            thread=ConversationId(text.thread) if text and text.thread else None,
            leaving=int(isinstance(body, content.UsedUp) or (text is not None and text.fate is content.Fate.ONCE)),
        )
        message = bodies.insert(core, message, content.encode(body))
        if free:
            core.db.execute("UPDATE conversation SET counter = ? WHERE conversation = ?", message.counter, conversation)
            _post_message(core, row, members, message, now)
        return message


def may_send(core: Core, row: Conversation) -> bool:
    """Whether something may be numbered and encrypted in this conversation now (HT-M-056, HT-M-071)."""
    standing = row.state in (ConversationState.JOINED, ConversationState.LEAVING)
    return not core.elsewhere and standing and _counted(core, row)


def _counted(core: Core, row: Conversation) -> bool:
    channel = core.channel(row.channel)
    return channel is not None and channel.relay in core.counted


def _next_held(core: Core, conversation: ConversationId) -> int:
    """What waits has numbers below zero, so that it keeps its order and no number is used twice (HT-M-061)."""
    lowest = core.db.number(
        "SELECT min(counter) FROM message WHERE conversation = ? AND device = ? AND counter < 0",
        conversation,
        core.identity.device.key,
    )
    return lowest - 1


def release(core: Core, conversation: ConversationId, now: int) -> None:
    """Number, encrypt and send what waited (HT-M-061)."""
    waited = core.db.find(
        Message,
        "conversation = ? AND counter < 0 AND message NOT IN "
        "(SELECT message FROM attachment WHERE erase_token IS NOT NULL AND state IN (?, ?)) ORDER BY number",
        conversation,
        Transfer.UPLOADING,
        Transfer.REFUSED,
    )
    if not waited or not may_send(core, core.conversation(conversation)):
        return
    members = core.members(conversation)
    for waiting in waited:
        row = core.conversation(conversation)
        message = msgspec.structs.replace(waiting, counter=row.counter + 1, epoch=row.epoch)
        core.db.execute(
            "UPDATE message SET counter = ?, epoch = ? WHERE message = ?",
            message.counter,
            message.epoch,
            message.message,
        )
        core.db.execute("UPDATE conversation SET counter = ? WHERE conversation = ?", message.counter, conversation)
        _post_message(core, row, members, message, now)


def held(core: Core) -> int:
    """Messages that wait for a conversation to go on."""
    return core.db.number("SELECT count(*) FROM message WHERE counter < 0")


def _envelope(
    core: Core, row: Conversation, members: list[Member], message: Message, now: int, *, gone: bool = False
) -> bytes:
    lines = receipts.lines(core, row.conversation, members)
    if lines or row.receipt_due is not None:
        receipts.told(core, row.conversation, members, lines, now)
    body = bodies.find(core, message)
    if gone and body != LEAVE:
        body = None
    return content.make(
        content.known_body(body) if body is not None else content.Tombstone(),  # HT-C-047
        message=message.message,
        counter=message.counter,
        sent_at=message.sent_at,
        receipts=[*lines, _own_line(row, message.counter)] if row.kind == policy.Kind.GROUP else lines,
    )


def _own_line(row: Conversation, counter: int) -> content.ReceiptLine:
    """This device's last number, and the one when the era began (HT-C-025, HT-C-081)."""
    return content.ReceiptLine(row.own_leaf, counter, row.base if row.kind == policy.Kind.GROUP else counter)


def _post_message(core: Core, row: Conversation, members: list[Member], message: Message, now: int) -> None:
    _post(
        core,
        row,
        members,
        kind=OutboxKind.MESSAGE,
        plaintext=_envelope(core, row, members, message, now),
        message=message.message,
    )


def send_receipt(core: Core, conversation: ConversationId, now: int) -> None:
    """Confirm by itself what no message of ours has confirmed (HT-C-022); the caller made sure that it may be sent."""
    row = core.conversation(conversation)
    members = core.members(conversation)
    lines = receipts.lines(core, conversation, members)
    receipts.told(core, conversation, members, lines, now)
    if may_send(core, row):
        _post_unnumbered(core, row, members, OutboxKind.RECEIPT, content.Receipt(), lines, now)


def send_again_request(core: Core, conversation: ConversationId, ranges: list[content.Range], now: int) -> None:
    """Ask devices for what is missing (HT-C-031)."""
    row = core.conversation(conversation)
    if may_send(core, row):
        members = core.members(conversation)
        _post_unnumbered(core, row, members, OutboxKind.REQUEST, content.SendAgain(ranges), [], now)


def send_unnumbered(core: Core, conversation: ConversationId, body: content.Unnumbered, now: int) -> bool:
    """Say something that is not numbered, with what is to be confirmed. False: nothing can be said there now."""
    row = core.conversation(conversation)
    if may_send(core, row):
        _post_unnumbered(core, row, core.members(conversation), OutboxKind.REQUEST, body, [], now)
        return True
    return False


def _post_unnumbered(
    core: Core,
    row: Conversation,
    members: list[Member],
    kind: OutboxKind,
    body: content.Unnumbered,
    lines: list[content.ReceiptLine],
    now: int,
) -> None:
    message = MessageId(secrets.token_bytes(16))
    last = _own_line(row, row.counter)  # so that a lost tail is noticed (HT-C-025)
    plaintext = content.make(body, message=message, counter=0, sent_at=core.clock.wall(now), receipts=[*lines, last])
    _post(core, row, members, kind=kind, plaintext=plaintext, message=None)


def _post(
    core: Core,
    row: Conversation,
    members: list[Member],
    *,
    kind: OutboxKind,
    plaintext: bytes,
    message: MessageId | None,
) -> None:
    """Encrypt in the current epoch and put the frame into the outbox, at the end."""
    core.db.insert(_frame(core, row, members, kind=kind, plaintext=plaintext, message=message))


def _frame(
    core: Core,
    row: Conversation,
    members: list[Member],
    *,
    kind: OutboxKind,
    plaintext: bytes,
    message: MessageId | None,
) -> Outgoing:
    channel = era_channel(core, row)
    ciphertext, writes = core.group(row.conversation).encrypt(plaintext)
    core.db.mls_write(row.conversation, writes)
    entry = sealing.seal(
        channel.seal_key,
        channel.channel,
        entry_class=EntryClass.MESSAGE,
        kind=sealing.BodyKind.MLS,
        body=ciphertext,
    )
    return msgspec.structs.replace(
        frame_for(channel, kind=kind, owner=row.conversation, entry=entry, entry_class=EntryClass.MESSAGE),
        turn=channel.turn,
        burn_after=len(members) if len(members) - 1 <= BURN_LIMIT else None,
        message=message,
        epoch=row.epoch,
        erase_token=secrets.token_bytes(ERASE_TOKEN_LENGTH),  # of every entry, so that all look the same
    )


def era_channel(core: Core, row: Conversation) -> Channel:
    channel = core.channel(row.channel)
    if channel is None:
        raise LocalError("conversation.broken")
    return channel


def frame_for(channel: Channel, *, kind: OutboxKind, owner: bytes, entry: bytes, entry_class: EntryClass) -> Outgoing:
    """A frame for a channel that this device reads itself."""
    return Outgoing(
        None,
        new_entry_id(),
        channel.relay,
        channel.channel,
        channel.read_token,
        1,
        channel.write_token,
        entry_class,
        0,
        None,
        None,
        entry,
        kind,
        owner,
    )


def stored(core: Core, frame: Outgoing, seq: int, now: int) -> None:
    """A relay holds this frame durably (STORED, or the entry itself came back)."""
    core.sent += frame.kind not in (OutboxKind.STATEMENT, OutboxKind.START)
    if frame.kind == OutboxKind.COMMIT:
        core.db.execute("UPDATE outbox SET stored_seq = ? WHERE number = ?", seq, frame.number)
        return
    core.db.execute("DELETE FROM outbox WHERE number = ?", frame.number)
    if frame.kind in (OutboxKind.WELCOME, OutboxKind.INVITE):
        recovery.keep(core, frame)
    if frame.message is None:
        return
    placing.remember(core, frame, seq, now)
    timers.stored(core, frame.message, now)
    news = core.db.value("SELECT stored_at IS NULL OR failed FROM message WHERE message = ?", frame.message)
    core.db.execute("UPDATE message SET stored_at = ?, failed = 0 WHERE message = ?", now, frame.message)
    if news:
        core.emit(events.StateChanged(conversation=frame.owner.hex(), message=frame.message.hex(), state="stored"))


def settle(core: Core, conversation: ConversationId, now: int) -> None:
    """Frames refused for a stale turn, once everything up to the relay's turn is read (HT-C-012).

    In the same epoch the same ciphertext is wrapped anew, else the same message is encrypted anew.
    """
    refused = core.db.find(Outgoing, "owner = ? AND refused_turn IS NOT NULL ORDER BY number", conversation)
    if not refused:
        return
    row = core.conversation(conversation)
    channel = era_channel(core, row)
    members = core.members(conversation)
    if not may_send(core, row):
        return
    for frame in refused:
        if frame.kind == OutboxKind.COMMIT and frame.channel != channel.channel:
            at = core.channel(frame.channel)
            if at is not None and not at.closed and frame.refused_turn is not None and at.turn >= frame.refused_turn:
                _wrap_anew(core, at, frame)  # a move (HT-M-067)
            continue
        if frame.channel == channel.channel:
            if frame.refused_turn is not None and channel.turn < frame.refused_turn:
                continue  # not read up to there yet
            if frame.epoch == row.epoch and not (frame.message and bodies.is_gone(core, frame.message)):
                _wrap_anew(core, channel, frame)
                continue
        if frame.kind == OutboxKind.COMMIT:
            continue  # `commits` drops it when another one wins
        if frame.kind == OutboxKind.MESSAGE and frame.message is not None:
            encrypt_anew(core, row, members, frame, now)
            continue
        core.db.execute("DELETE FROM outbox WHERE number = ?", frame.number)
        if frame.kind == OutboxKind.RECEIPT:
            receipts.tell_again(core, conversation)
            receipts.due(core, row, now, len(members))
        else:
            core.db.execute("UPDATE gap SET asked_at = NULL WHERE conversation = ?", conversation)


def _wrap_anew(core: Core, channel: Channel, frame: Outgoing) -> None:
    entry_class, commit = EntryClass(frame.entry_class), bool(frame.is_commit)
    kind, body = sealing.unseal(
        channel.seal_key, channel.channel, entry_class=entry_class, commit=commit, entry=frame.entry
    )
    entry = sealing.seal(
        channel.seal_key, channel.channel, entry_class=entry_class, commit=commit, kind=kind, body=body
    )
    turn = channel.turn if frame.refusals < REFUSALS_BEFORE_NO_TURN else None
    core.db.execute(
        "UPDATE outbox SET entry_id = ?, entry = ?, turn = ?, refused_turn = NULL WHERE number = ?",
        new_entry_id(),
        entry,
        turn,
        frame.number,
    )


def newest_person(members: list[Member]) -> int:
    """The epoch in which the last of the conversation's people joined; further devices of a person are no newcomers."""
    since: dict[bytes, int] = {}
    for member in members:
        since[member.account] = min(member.since_epoch, since.get(member.account, member.since_epoch))
    return max(since.values(), default=0)


def encrypt_anew(core: Core, row: Conversation, members: list[Member], frame: Outgoing, now: int) -> None:
    """The same message (id, counter) in the current epoch, at the frame's place in the queue."""
    receipts.tell_again(core, row.conversation)  # what the refused bytes confirmed never got out
    message = core.db.first(Message, "message = ?", frame.message)
    if message is None:
        core.db.execute("DELETE FROM outbox WHERE number = ?", frame.number)
        return
    gone = False
    if message.stored_at is None:  # it never reached the roster that it was written for
        core.db.execute("UPDATE message SET epoch = ? WHERE number = ?", row.epoch, message.number)
    else:  # it is published again, and somebody joined meanwhile (HT-C-083)
        gone = message.epoch < newest_person(members)
    fresh = _frame(
        core,
        row,
        members,
        kind=OutboxKind.MESSAGE,
        plaintext=_envelope(core, row, members, message, now, gone=gone),
        message=message.message,
    )
    core.db.execute("DELETE FROM outbox WHERE number = ?", frame.number)
    # A commit that counts has refused it: no garbage (HT-C-201). Without a turn it would land in an era that is over.
    refusals = frame.refusals if (frame.channel, frame.epoch) == (row.channel, row.epoch) else 0
    turn = fresh.turn if refusals < REFUSALS_BEFORE_NO_TURN else None
    fresh = msgspec.structs.replace(fresh, number=frame.number, refusals=refusals, turn=turn)
    core.db.insert(fresh)  # it keeps its place in the queue


def publish_again(
    core: Core, conversation: ConversationId, messages: list[Message], now: int, *, as_of: int = 0
) -> int:
    """Put messages into the outbox once more: same message id, same counter, encrypted anew (HT-C-032).

    :param as_of: epoch in which the newest member joined; of what was written before, only a Tombstone goes (HT-C-083)
    """
    row = core.conversation(conversation)
    if not may_send(core, row):
        return 0
    members = core.members(conversation)
    count = 0
    for message in messages:
        if core.db.value("SELECT 1 FROM outbox WHERE message = ?", message.message):
            continue
        plaintext = _envelope(core, row, members, message, now, gone=message.epoch < as_of)
        _post(core, row, members, kind=OutboxKind.MESSAGE, plaintext=plaintext, message=message.message)
        count += 1
    return count


def publish_unconfirmed(core: Core, conversation: ConversationId, now: int, *, stored_before: int | None = None) -> int:
    """Publish again own messages that some device has not confirmed (HT-C-032).

    :param stored_before: only those that a relay stored before this time (its copy has expired)
    """
    own, row = core.identity.device.key, core.conversation(conversation)
    others = [member for member in core.members(conversation) if member.device != own]
    if not others or len(others) > BURN_LIMIT:
        return 0
    newest = newest_person(core.members(conversation))  # what is older was not written for all of them (HT-C-083)
    before_newest = core.db.number(
        "SELECT max(counter) FROM message WHERE conversation = ? AND device = ? AND epoch < ?",
        conversation,
        own,
        newest,
    )
    confirmed = max(
        before_newest,
        min(
            core.db.number(
                "SELECT decrypted FROM receipt WHERE conversation = ? AND about = ? AND device = ?",
                conversation,
                own,
                member.device,
            )
            for member in others
        ),
    )
    before = now if stored_before is None else stored_before
    since = core.clock.wall(now) - GIVE_UP
    messages = core.db.find(
        Message,
        "conversation = ? AND device = ? AND counter > ? AND (stored_at IS NULL OR stored_at <= ?) "
        "AND coalesce(resent_at, sent_at) > ? ORDER BY counter LIMIT 1000",
        conversation,
        own,
        confirmed,
        before,
        since,
    )
    if not _counted(core, row):  # once the start is counted; known even if this process ends before (HT-M-071)
        core.db.execute(
            "UPDATE message SET stored_at = NULL WHERE conversation = ? AND device = ? AND counter > ? "
            "AND stored_at <= ? AND coalesce(resent_at, sent_at) > ?",
            conversation,
            own,
            confirmed,
            before,
            since,
        )
    return publish_again(core, conversation, messages, now)


def send_again(
    core: Core, row: Conversation, own: Member, asker: Member, ranges: list[content.Range], now: int
) -> None:
    """Answer a request for own messages, at most once in a while for each (HT-C-031, T-040)."""
    asked = [wanted for wanted in ranges if wanted.leaf == own.leaf]
    before = core.db.number(
        "SELECT max(counter) FROM message WHERE conversation = ? AND device = ? AND epoch < ?",
        row.conversation,
        own.device,
        asker.since_epoch,
    )
    if any(wanted.first <= before for wanted in asked) and may_send(core, row):
        send_begins(core, row, asker, before + 1, now)
    newest = newest_person(core.members(row.conversation))
    for wanted in asked:
        last = wanted.last if wanted.last != content.OPEN_END else row.counter
        messages = core.db.find(
            Message,
            "conversation = ? AND device = ? AND counter BETWEEN ? AND ? AND epoch >= ? "
            "AND (stored_at IS NULL OR stored_at <= ?) ORDER BY counter LIMIT 64",
            row.conversation,
            own.device,
            wanted.first,
            last,
            asker.since_epoch,
            now - SEND_AGAIN_PAUSE,
        )
        publish_again(core, row.conversation, messages, now, as_of=newest)
