"""History for a new device: every message that this one has, as rows, in a bundle over the relay (HT-C-172 … HT-C-175).

The new device first takes the history in and is then added to the conversations, so that old messages stand before new
ones. What came in between travels beside each Welcome. Both sides go on after a kill: the one makes the bundle anew,
the other counts the records that it has taken in.
"""

import secrets
from collections.abc import Iterator
from typing import Annotated

import msgspec

from hanatalk.client import events
from hanatalk.client.engine.conversations import siblings
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.files import bundles, downloads
from hanatalk.client.engine.formats import content, policy, records, syncing
from hanatalk.client.engine.messages import actions, bodies
from hanatalk.errors import ContentError, HanaError, StorageError
from hanatalk.ids import AccountId, ConversationId, DeviceKey, MessageId
from hanatalk.localdb.rows import Attachment, Conversation, Message, MessageKind

SHARING = "sharing "  # setting, with the new device's key
ELSEWHERE = "shared-elsewhere "  # setting, likewise: when a sibling said that it gives that device history (HT-M-155)
TAKING = "taking-history"  # setting of the new device
LOOK = 4_096  # rows looked through at once: with hundreds of conversations some of each
STEP = 1_024  # rows taken in at once, in one transaction
TAIL_STEP = 500  # rows looked through at once for what goes beside a Welcome
PATIENCE = 3_600_000  # milliseconds without any progress, after which a new device goes on without history
TAIL_BYTES = 4 << 20  # of messages beside a Welcome
ALL, NONE = 0, -1
MARGIN = 86_400_000  # milliseconds that the clocks of senders may differ

Sixteen = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


class Sharing(msgspec.Struct, array_like=True, frozen=True):
    """What this device gives a new one. `since`: milliseconds since 1970, `ALL` or `NONE`; `upto`: its last row."""

    bundle: Sixteen
    since: int
    upto: int | None = None  # None: it has not begun
    published: bool = False


class Taking(msgspec.Struct, array_like=True, frozen=True):
    """What this device takes in. `rows`: numbers that are looked through; `done`: records, `taken`: rows in them."""

    bundle: Sixteen
    rows: int
    moved_at: int
    shared: bool = False  # it can be fetched; its key stands with the bundle, sealed
    done: int = 0
    seen: int = 0  # bytes, of the bundle
    taken: int = 0


# giving -----------------------------------------------------------------------------------------------------------


def promise(core: Core, device: DeviceKey, since: int) -> None:
    """A device is being approved: what it will be given."""
    _keep(core, device, Sharing(secrets.token_bytes(16), since))


def begin(core: Core, device: DeviceKey, now: int) -> None:
    """The device is there: say what comes, begin to make it."""
    promised = _sharing(core, device) or Sharing(secrets.token_bytes(16), ALL)
    upto = core.db.number("SELECT max(number) FROM message")
    sharing = msgspec.structs.replace(promised, upto=upto, published=promised.since == NONE)
    _keep(core, device, sharing)
    siblings.say(core, syncing.Coming(device, sharing.bundle, 0 if promised.since == NONE else upto), now)


def _keep(core: Core, device: DeviceKey, sharing: Sharing) -> None:
    core.db.put_setting(SHARING + device.hex(), msgspec.msgpack.encode(sharing))


def _sharing(core: Core, device: DeviceKey) -> Sharing | None:
    raw = core.db.setting(SHARING + device.hex())
    return msgspec.msgpack.decode(raw, type=Sharing) if raw is not None else None


def _all_sharing(core: Core) -> list[tuple[DeviceKey, Sharing]]:
    rows = core.db.tuples("SELECT key, value FROM setting WHERE key LIKE ?", f"{SHARING}%")
    return [
        (DeviceKey(bytes.fromhex(str(key).removeprefix(SHARING))), msgspec.msgpack.decode(value, type=Sharing))
        for key, value in rows
        if isinstance(value, bytes)
    ]


def _export(core: Core, device: DeviceKey, sharing: Sharing, now: int) -> Iterator[None]:
    """Make the bundle, some rows at each step; then publish it."""
    writer = bundles.writer(core)
    upto = sharing.upto or 0
    writer.write(records.make(records.Head(1, upto)))
    number = 0
    while number < upto:
        last = min(number + LOOK, upto)
        where = "number > ? AND number <= ? AND (sent_at >= ? OR (read = 0 AND kind = 1))"
        for batch in _batches(core, now, where, number, last, sharing.since):
            writer.write(records.make(batch))
        number = last
        yield
    writer.write(records.make(records.End()))
    relay = _relay(core)
    if relay is None:
        writer.drop()
        return
    with core.transaction():
        reference = bundles.publish(core, writer.finish(), bundle=sharing.bundle, relay=relay, readers=1)
        _keep(core, device, msgspec.structs.replace(sharing, published=True))
        siblings.say(core, syncing.Shared(device, sharing.bundle, reference), now)


def _relay(core: Core) -> policy.Relay | None:
    row = siblings.group(core)
    return policy.of(row.policy).relays[0] if row is not None else None


def _batches(core: Core, now: int, where: str, *values: int | bytes) -> list[records.Batch]:
    """Messages of `where`, by conversation, those of each in order."""
    group = siblings.group(core)
    found: dict[ConversationId, list[Message]] = {}
    for message in core.db.find(Message, f"{where} AND counter > 0 ORDER BY number", *values):
        if group is None or message.conversation != group.conversation:
            found.setdefault(message.conversation, []).append(message)
    return [
        _batch(core, conversation, messages[start : start + records.ROWS_LIMIT], now)
        for conversation, messages in found.items()
        for start in range(0, len(messages), records.ROWS_LIMIT)
    ]


def _batch(core: Core, conversation: ConversationId, messages: list[Message], now: int) -> records.Batch:
    senders: dict[tuple[AccountId, DeviceKey], int] = {}
    rows = []
    for message in messages:
        body = bodies.find(core, message)
        if message.kind == MessageKind.OTHER and not core.db.value(
            "SELECT 1 FROM action WHERE number = ?", message.number
        ):
            continue  # said to be somewhere, not something that people wrote
        if message.fate == content.Fate.ONCE or message.leaving:
            body = None  # what is seen once is not copied
        rows.append(
            records.Kept(
                message.message,
                senders.setdefault((message.account, message.device), len(senders)),
                message.counter,
                message.epoch,
                message.kind,
                message.sent_at,
                message.reply_to,
                bool(message.read),
                message.timer,
                max(0, message.expires_at - now) if message.expires_at is not None else None,
                bool(message.recalled),
                content.Fate(message.fate),
                message.thread,
                body,
            )
        )
    return records.Batch(conversation, [records.Sender(*each) for each in senders], rows)


def is_given(core: Core, device: DeviceKey) -> bool:
    """Whether a new device has, or will have, everything here that is not read."""
    sharing = _sharing(core, device)
    return sharing is not None and sharing.since != NONE and sharing.published


def tail(core: Core, conversation: ConversationId, device: DeviceKey, now: int) -> list[records.Batch]:
    """What came since the bundle was begun, the newest that fit beside a Welcome, oldest first (HT-C-175).

    Who takes over from the device that made the bundle knows only when that was, by its clock.
    """
    sharing = _sharing(core, device)
    if sharing is not None and sharing.upto is not None:
        first_number, first_sent = sharing.upto, 0
    elif (raw := core.db.setting(ELSEWHERE + device.hex())) is not None:
        first_number, first_sent = 0, int.from_bytes(raw) - MARGIN
    else:
        return []
    since = "conversation = ? AND number > ? AND sent_at >= ?"
    found: list[records.Batch] = []
    size, last = 0, core.db.number("SELECT max(number) FROM message") + 1
    while size < TAIL_BYTES:
        numbers = core.db.tuples(
            f"SELECT number FROM message WHERE {since} AND number < ? "  # noqa: S608
            "ORDER BY number DESC LIMIT ?",
            conversation,
            first_number,
            first_sent,
            last,
            TAIL_STEP,
        )
        if not numbers:
            break
        first = numbers[-1][0]
        assert isinstance(first, int)
        batches = _batches(
            core,
            now,
            f"{since} AND number >= ? AND number < ?",
            conversation,
            first_number,
            first_sent,
            first,
            last,
        )
        found[:0] = batches
        size += sum(len(records.make(batch)) for batch in batches)
        last = first
    return found


def given_elsewhere(core: Core, said: syncing.Coming, sent_at: int) -> None:
    """A sibling gives a new device history, or none: known to whoever may have to take over (HT-M-155)."""
    if said.rows:
        core.db.put_setting(ELSEWHERE + said.device.hex(), sent_at.to_bytes(8))


# taking -----------------------------------------------------------------------------------------------------------


def taking(core: Core) -> Taking | None:
    """What this device waits for before it goes into conversations."""
    raw = core.db.setting(TAKING)
    return msgspec.msgpack.decode(raw, type=Taking) if raw is not None else None


def _remember(core: Core, state: Taking) -> None:
    core.db.put_setting(TAKING, msgspec.msgpack.encode(state))


def coming(core: Core, said: syncing.Coming, now: int) -> None:
    """History is being made for this device, or none."""
    if said.rows:
        _remember(core, Taking(said.bundle, said.rows, now))


def shared(core: Core, said: syncing.Shared, now: int) -> None:
    """It is on its way: fetch it."""
    state, relay = taking(core), _relay(core)
    if state is None or state.bundle != said.bundle or state.shared or relay is None:
        return
    bundles.fetch(core, said.reference, bundle=said.bundle, relay=relay)
    _remember(core, msgspec.structs.replace(state, shared=True, moved_at=now))


def taken(core: Core, bundle: bytes) -> None:
    """The other side has it, or does without."""
    for device, sharing in _all_sharing(core):
        if sharing.bundle == bundle and sharing.published:
            bundles.forget(core, bundle)
            core.exports.pop(device, None)


def take_rows(core: Core, batch: records.Batch, now: int) -> None:
    """Messages that a sibling has: those that are not here (HT-C-174)."""
    for kept in batch.rows:
        sender = batch.senders[kept.sender]
        account, device = AccountId(sender.account), DeviceKey(sender.device)
        if core.db.value("SELECT 1 FROM message WHERE message = ?", kept.message) or core.db.value(
            "SELECT 1 FROM message WHERE conversation = ? AND device = ? AND counter = ?",
            batch.conversation,
            device,
            kept.counter,
        ):
            continue
        gone = kept.body is None and kept.kind == MessageKind.PERSON and not kept.recalled
        message = Message(
            None,
            MessageId(kept.message),
            ConversationId(batch.conversation),
            account,
            device,
            kept.counter,
            kept.epoch,
            MessageKind.EXPIRED if gone else kept.kind,
            kept.sent_at,
            MessageId(kept.reply_to) if kept.reply_to is not None else None,
            read=int(kept.read),
            stored_at=now if account == core.identity.account else None,
            timer=kept.timer,
            expires_at=now + kept.left if kept.left is not None else None,
            recalled=int(kept.recalled),
            fate=kept.fate,
            thread=ConversationId(kept.thread) if kept.thread is not None else None,
        )
        message = bodies.insert(core, message, kept.body)
        body = _known(kept.body)
        if isinstance(body, content.Action):
            actions.remember(core, message, body)


def _known(raw: bytes | None) -> content.Body | content.Unknown | None:
    try:
        return content.parse_body(raw) if raw is not None else None
    except ContentError:
        return None


def attachments(core: Core, row: Conversation) -> None:
    """Files of old messages: they can be fetched while somebody still holds them (HT-C-174)."""
    for message in core.db.find(
        Message, "conversation = ? AND kind = ? ORDER BY number", row.conversation, MessageKind.PERSON
    ):
        body = _known(bodies.find(core, message))
        if not isinstance(body, content.Text) or not body.attachments:
            continue
        if core.db.first(Attachment, "message = ?", message.message) is None:
            downloads.kept(core, row, message, body)


def _import(core: Core, state: Taking, now: int) -> Iterator[None]:
    batches: list[records.Batch] = []
    size = 0
    for count, record in enumerate(records.read(bundles.read(core, state.bundle))):
        if count < state.done:
            continue
        if isinstance(record, records.Batch):
            batches.append(record)
            size += len(record.rows)
        if size < STEP and not isinstance(record, records.End):
            continue
        with core.transaction():  # a commit for each of thousands of small batches would be what it takes
            for batch in batches:
                take_rows(core, batch, now)
            state = msgspec.structs.replace(state, done=count + 1, moved_at=now, taken=state.taken + size)
            _remember(core, state)
            core.emit(events.HistoryMoved(stage="taking", done=min(state.taken, state.rows), size=state.rows))
        batches, size = [], 0
        yield


def due(core: Core, now: int) -> bool:
    """One step of what there is to do; True once this device waits for no history any more."""
    for device, sharing in _all_sharing(core):
        if sharing.upto is not None and not sharing.published and device in core.identity.chain.devices:
            step = core.exports.get(device)
            if step is None:
                step = core.exports[device] = _export(core, device, sharing, now)
            if next(step, core) is core:
                del core.exports[device]
    state = taking(core)
    if state is None:
        return False
    progress = bundles.progress(core, state.bundle) if state.shared else None
    if progress is not None and progress.done != state.seen:
        state = msgspec.structs.replace(state, seen=progress.done, moved_at=now)
        with core.transaction():
            _remember(core, state)
            core.emit(events.HistoryMoved(stage="fetching", done=progress.done, size=progress.size))
    if progress is not None and progress.state == "here":
        return _take_step(core, state, now)
    if (progress is not None and progress.failure) or now > state.moved_at + PATIENCE:
        return _end(core, state, (progress.failure if progress is not None else None) or "history.missing", now)
    return False


def _take_step(core: Core, state: Taking, now: int) -> bool:
    step = core.exports.get(state.bundle)
    if step is None:
        step = core.exports[state.bundle] = _import(core, state, now)
    try:
        if next(step, core) is not core:
            return False
    except StorageError:
        core.exports.pop(state.bundle, None)
        raise
    except HanaError as error:
        return _end(core, state, error.code, now)
    return _end(core, state, None, now)


def _end(core: Core, state: Taking, failure: str | None, now: int) -> bool:
    core.exports.pop(state.bundle, None)
    with core.transaction():
        core.db.execute("DELETE FROM setting WHERE key = ?", TAKING)
        bundles.forget(core, state.bundle)
        siblings.say(core, syncing.Taken(state.bundle), now)
        if failure is not None:
            core.notice(events.Alarm(conversation=None, code=failure), now)
    return True


def percent(core: Core) -> int | None:
    """How far this device's own history is, half of it fetching, half taking in; None: it waits for none."""
    state = taking(core)
    if state is None:
        return None
    if state.taken:
        return 50 + min(49, 50 * state.taken // state.rows)
    found = bundles.progress(core, state.bundle) if state.shared else None
    return 50 * found.done // max(1, found.size) if found is not None else 0


def is_busy(core: Core) -> bool:
    """Whether a next step can be done at once."""
    if any(sharing.upto is not None and not sharing.published for _, sharing in _all_sharing(core)):
        return True
    state = taking(core)
    if state is None or not state.shared:
        return False
    found = bundles.progress(core, state.bundle)  # it came with what was taken in last: nothing else says so
    return found is not None and found.state == "here"


def is_waiting(core: Core) -> bool:
    """Whether this device gives or takes history."""
    return taking(core) is not None or is_busy(core)
