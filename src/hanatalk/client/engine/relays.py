"""Keeping the links to relays in step with the database: what to open, send, acknowledge, take; what came back."""

from typing import Literal

from hanatalk.client import events
from hanatalk.client.engine import receiving
from hanatalk.client.engine.conversations import (
    beginning,
    closing,
    commits,
    enclosing,
    faults,
    history,
    holes,
    moving,
    resync,
    starts,
)
from hanatalk.client.engine.core import Core, Link, Signed
from hanatalk.client.engine.files import transfers
from hanatalk.client.engine.formats import links
from hanatalk.client.engine.messages import (
    echoes,
    gaps,
    going,
    outbox,
    placing,
    receipts,
    recovery,
    sending,
    timers,
    undelivered,
)
from hanatalk.client.engine.people import devices, groups, invites, linking, standing_in
from hanatalk.errors import HanaError, StorageError
from hanatalk.ids import ChannelId, ConversationId, EntryId
from hanatalk.localdb.rows import (
    Acceptance,
    Channel,
    Closed,
    Conversation,
    ConversationState,
    Gap,
    Intent,
    IntentKind,
    OutboxKind,
    Outgoing,
    Purpose,
)
from hanatalk.wire import events as wire
from hanatalk.wire.channels import erase_hash
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.refusals import RefusalCode

PIPELINE = 64  # frames on their way to a relay at once
RETRY = 5_000  # milliseconds after a refusal by limits
SOON = 10_000  # milliseconds: whoever syncs waits for what is due within


def take_event(core: Core, url: str, link: Link, event: wire.Event, now: int) -> None:
    """One event of a relay's connection; runs inside a transaction."""
    if transfers.take_event(core, link, event, now):
        return
    if isinstance(event, wire.EntryReceived):
        after_hole = holes.before(core, link, event, now)
        if after_hole is holes.Found.READ_AGAIN:
            return
        counts = after_hole is holes.Found.NOTHING or not event.commit
        if _reads_on(core, event):
            echoes.came(core, link, event, now)
        seq = receiving.entry(core, event, now, counts=counts)
        if not counts:
            holes.pass_over(core, event)
        if seq is not None:
            link.acknowledge[event.channel_id] = seq
        if event.entry_class is EntryClass.CONTROL:
            recovery.answered(link, event.channel_id)
            if event.channel_id in link.caught_up:
                holes.look(core, link, event.channel_id, now)
    elif isinstance(event, wire.EntryStored):
        link.in_flight.discard(event.entry_id)
        if link.restoring.get(event.channel_id) == event.entry_id:
            recovery.answered(link, event.channel_id)
        frame = core.db.first(Outgoing, "entry_id = ?", event.entry_id)
        if frame is not None and frame.kind == OutboxKind.START:
            starts.stored(core, frame, event.seq, now)
        elif frame is not None and frame.stored_seq is None:
            sending.stored(core, frame, event.seq, now)
            echoes.stored(core, link, frame, event.seq, now)
    elif isinstance(event, wire.CaughtUp):
        if event.channel_id in link.opened:
            link.caught_up.add(event.channel_id)
            _not_there(core, event.channel_id, "<=", event.seq)
            echoes.read_to(core, link, event.channel_id, event.seq, now)
            holes.look(core, link, event.channel_id, now)
            _behind(core, link, event.channel_id, now)
            starts.read(core, event.channel_id, now)
    elif isinstance(event, wire.ChannelOpened):
        _opened(core, link, event, now)
    elif isinstance(event, wire.EntryTaken):
        link.taking.discard(event.channel_id)
        invites.taken(core, event, now)
    elif isinstance(event, wire.EntryErased):
        placing.answered(core, link, event.channel_id, done=True)
    elif isinstance(event, wire.ReceiptSigned):
        channel = core.channel(event.channel_id)
        if channel is not None and channel.purpose == Purpose.ERA:
            commits.signed(core, link, channel, Signed(event.seq, event.control_hash, event.signature), now)
    elif isinstance(event, wire.Refused):
        _refused(core, link, event, now)
    elif isinstance(event, wire.HelloAnswered):
        _hello(core, url, link, event, now)


def _reads_on(core: Core, event: wire.EntryReceived) -> bool:
    """It is read for the first time, or once more because something was missing."""
    channel = core.channel(event.channel_id)
    return channel is not None and channel.closed != Closed.CLOSED and event.seq > channel.cursor


def _hello(core: Core, url: str, link: Link, event: wire.HelloAnswered, now: int) -> None:
    link.ready = True
    known = core.db.value("SELECT key FROM relay WHERE url = ?", url)
    if isinstance(known, bytes) and known != event.relay_key:
        # Channels go on with the key their conversation agreed on; only new invites use the new one.
        core.notice(events.Alarm(conversation=None, code="relay.key-changed"), now)
    core.db.execute("INSERT OR REPLACE INTO relay (url, key) VALUES (?, ?)", url, event.relay_key)
    moving.returned(core, url, now)
    starts.greeted(core, url)


def _opened(core: Core, link: Link, event: wire.ChannelOpened, now: int) -> None:
    channel = core.channel(event.channel_id)
    link.incarnations[event.channel_id] = event.incarnation
    link.turns[event.channel_id] = event.turn
    if channel is None:
        return
    if channel.purpose == Purpose.INVITE:
        invites.refused_takes(core, channel.channel, event.refused_takes, now)
        if event.head == 0:
            recovery.leave_again(core, channel.channel)
        return
    for named in (  # an entry or a refusal may have named a turn that never comes
        "UPDATE channel SET turn = ? WHERE channel = ? AND turn > ?",
        "UPDATE outbox SET refused_turn = ? WHERE +channel = ? AND refused_turn > ?",  # few were
    ):
        core.db.execute(named, event.turn, channel.channel, event.turn)
    _not_there(core, channel.channel, ">", event.head)
    if channel.incarnation == event.incarnation:
        echoes.opened(core, link, channel.channel, event.head, now)
    if channel.closed == Closed.CLOSED:
        return
    cursor = channel.cursor
    if cursor and (channel.incarnation != event.incarnation or event.head < cursor):
        cursor = _forgotten(core, channel, event, now)
    elif channel.incarnation != event.incarnation:
        core.db.execute("UPDATE channel SET incarnation = ? WHERE channel = ?", event.incarnation, channel.channel)
    link.connection.subscribe(channel.channel, cursor)


def _behind(core: Core, link: Link, channel_id: ChannelId, now: int) -> None:
    """Commits that the relay no longer has, or withholds: another device may know better (HT-M-057)."""
    channel = core.channel(channel_id)
    if channel is None or channel.purpose != Purpose.ERA or channel.closed:
        return
    if holes.commits_seen(core, channel_id) < link.turns.get(channel_id, 0):
        resync.doubt(core, ConversationId(channel.owner), now)


def _not_there(core: Core, channel: ChannelId, compared: Literal["<=", ">"], seq: int) -> None:
    """A commit that a relay said it had stored is not in what it shows: it goes out again, byte by byte the same."""
    core.db.execute(
        f"UPDATE outbox SET stored_seq = NULL WHERE channel = ? AND stored_seq {compared} ?",  # noqa: S608
        channel,
        seq,
    )


def _forgotten(core: Core, channel: Channel, event: wire.ChannelOpened, now: int) -> int:
    """The relay forgot this channel or went back: say so, read it from its start, bring back what it lost.

    Entries seen before are repetitions to MLS and to the dedupe, so nothing is shown twice.
    """
    core.db.execute(
        "UPDATE channel SET incarnation = ?, cursor = 0, turn = 0, control_hash = ? WHERE channel = ?",
        event.incarnation,
        bytes(32),
        channel.channel,
    )
    if channel.incarnation != event.incarnation:
        core.db.execute("DELETE FROM placed WHERE channel = ?", channel.channel)
    if channel.purpose == Purpose.RESYNC:
        resync.forgotten(core, channel)
    elif channel.purpose == Purpose.START:
        starts.forgotten(core, core.channel(channel.channel) or channel)
    if channel.purpose == Purpose.ERA:
        recovery.begin(core, channel)
        if channel.closed:
            return 0
        core.db.execute("UPDATE outbox SET stored_seq = NULL WHERE channel = ? AND is_commit = 1", channel.channel)
        conversation = ConversationId(channel.owner)
        recovery.leave_again(core, conversation)
        resync.doubt(core, conversation, now)
        core.notice(events.Alarm(conversation=conversation.hex(), code="relay.forgot"), now, conversation)
        sending.publish_unconfirmed(core, conversation, now)
    return 0


def _refused(core: Core, link: Link, event: wire.Refused, now: int) -> None:
    if event.operation == "erase" and event.channel_id is not None:
        done = event.code in (RefusalCode.UNKNOWN_ENTRY, RefusalCode.WRONG_TOKEN)  # nothing of ours is there
        placing.answered(core, link, event.channel_id, done=done)
        link.retry_at = link.retry_at if done else now + RETRY
        return
    if event.operation == "connection":
        link.over = True
    if event.entry_id is None:
        if event.channel_id is not None and event.code != RefusalCode.STALE_TURN:
            if event.operation == "open":
                link.opened.discard(event.channel_id)
                link.rescan = True
            link.taking.discard(event.channel_id)
            if event.operation == "receipt":
                link.asked_at.pop(event.channel_id, None)
                link.unsigned.add(event.channel_id)
                if event.code == RefusalCode.FORGOTTEN:
                    return  # what was shown has expired: nothing that a person could do
            link.retry_at = now + RETRY
            core.emit(events.Alarm(conversation=None, code=f"relay.{event.code}"))
        return
    link.in_flight.discard(event.entry_id)
    if event.channel_id is not None and link.restoring.get(event.channel_id) == event.entry_id:
        if event.code == RefusalCode.STALE_TURN:
            return  # somebody was faster: wait for what it appended
        recovery.answered(link, event.channel_id)
    if event.code == RefusalCode.STALE_TURN and event.turn is not None:
        frame = core.db.first(Outgoing, "entry_id = ?", event.entry_id)
        if frame is not None and frame.kind == OutboxKind.START:
            starts.refused(core, frame, event.turn, now)
            return
        core.db.execute(
            "UPDATE outbox SET refused_turn = ?, refusals = refusals + 1 WHERE entry_id = ? AND turn IS NOT NULL",
            event.turn,
            event.entry_id,
        )
        if not core.db.value("SELECT 1 FROM outbox WHERE entry_id = ? AND turn IS NULL", event.entry_id):
            return  # without a turn it is a lie (HT-R-045), and the frame goes out again as it is
    link.retry_at = now + RETRY
    core.emit(events.Alarm(conversation=None, code=f"relay.{event.code}"))


def settle(core: Core, now: int) -> None:
    """Go on with what a stale turn held up."""
    for (owner,) in core.db.tuples("SELECT DISTINCT owner FROM outbox WHERE refused_turn IS NOT NULL"):
        if isinstance(owner, bytes):
            sending.settle(core, ConversationId(owner), now)


def pump(core: Core, url: str, link: Link, now: int) -> None:
    """Bring the connection in step with the database. Called after every transaction; sends nothing twice."""
    if not link.ready or link.over:
        return
    if link.rescan and now >= link.retry_at:
        starts.listen(core, url, now)
        _open_channels(core, url, link)
        link.rescan = False  # only now: if the disk says no, the channels are looked for again
    for channel, seq in link.acknowledge.items():
        row = core.channel(channel)
        if row is not None:
            link.connection.acknowledge(channel, reader=row.reader, seq=seq)
            if row.closed == Closed.CLOSED and channel in link.opened:
                link.opened.discard(channel)
                link.caught_up.discard(channel)
                link.connection.close(channel)
    link.acknowledge.clear()
    if now >= link.retry_at:
        for (restoring,) in core.db.tuples("SELECT DISTINCT channel FROM restoring"):
            if isinstance(restoring, bytes) and (row := core.channel(ChannelId(restoring))) and row.relay == url:
                recovery.pump(core, link, row)
        _append(core, url, link)
        placing.erase(core, url, link)
        _take(core, url, link)
        transfers.pump(core, url, link, now)


def _open_channels(core: Core, url: str, link: Link) -> None:
    for channel in core.db.find(Channel, "relay = ? AND closed != ?", url, Closed.CLOSED):
        if channel.channel not in link.opened:
            link.opened.add(channel.channel)
            link.connection.open(channel.channel, read=channel.read_token, write=channel.write_token)


def _append(core: Core, url: str, link: Link) -> None:
    if len(link.in_flight) >= PIPELINE:
        return
    waiting: set[ChannelId] = set()
    for frame in outbox.next_frames(core, url, PIPELINE + len(link.in_flight)):
        if frame.entry_id in link.in_flight:
            continue
        if frame.refused_turn is not None:
            waiting.add(frame.channel)  # what follows it in this channel keeps its place
        if recovery.under_way(core, frame.channel):
            waiting.add(frame.channel)
        if frame.kind == OutboxKind.COMMIT and enclosing.waits(core, frame.owner):
            waiting.add(frame.channel)
        if frame.channel in waiting or len(link.in_flight) >= PIPELINE:
            continue
        channel = core.channel(frame.channel)
        if channel is not None and channel.purpose == Purpose.ERA and frame.channel not in link.caught_up:
            if not channel.closed:
                waiting.add(frame.channel)
                continue
            if frame.channel not in link.opened:  # an era that is over: let the relay say that the turn is stale
                link.opened.add(frame.channel)
                link.connection.open(frame.channel, read=frame.read_half, write=frame.write_token)
        elif frame.channel not in link.opened:
            link.opened.add(frame.channel)
            link.connection.open(
                frame.channel,
                read=frame.read_half,
                write=frame.write_token,
                read_is_token=bool(frame.read_is_token),
            )
        link.in_flight.add(EntryId(frame.entry_id))
        link.connection.append(
            frame.channel,
            entry_id=frame.entry_id,
            entry_class=EntryClass(frame.entry_class),
            entry=frame.entry,
            commit=bool(frame.is_commit),
            turn=frame.turn,
            burn_after=frame.burn_after,
            erase_hash=erase_hash(frame.erase_token) if frame.erase_token is not None else None,
        )


def _take(core: Core, url: str, link: Link) -> None:
    for row in core.db.find(Acceptance, "conversation IS NULL AND failure IS NULL"):
        if row.channel in link.taking:
            continue
        invite = links.parse(row.link)
        if invite.relay_url != url:
            continue
        link.taking.add(row.channel)
        at = invite.capability
        if row.channel not in link.opened:
            link.opened.add(row.channel)
            link.connection.open(row.channel, read=at.read_token, write=at.write_verifier, write_is_token=False)
        link.connection.take(row.channel, row.take_id)


def due(core: Core, now: int) -> None:
    """What time asks for: statements, receipts, requests, commits. Only where the channels are caught up."""
    starts.due(core, now)
    resync.due(core, now)
    faults.due(core, now)
    echoes.due(core, now)
    linking.due(core, now)
    devices.due(core, now)
    receipts.publish_due(core, now)
    transfers.due(core, now)
    for row in core.db.find(
        Conversation, "state = ? AND receipt_due IS NOT NULL AND receipt_due <= ?", ConversationState.JOINED, now
    ):
        if _stands(core, row):
            with core.transaction():
                sending.send_receipt(core, row.conversation, now)
    for (owner,) in core.db.tuples("SELECT DISTINCT conversation FROM gap"):
        if not isinstance(owner, bytes):
            continue
        row = core.conversation(ConversationId(owner))
        if row.state == ConversationState.JOINED and _stands(core, row):
            with core.transaction():
                gaps.ask(core, row.conversation, now)
    for intent in core.db.find(Intent, "digest IS NULL AND not_before <= ?", now):
        row = core.conversation(intent.conversation)
        link = _link_of(core, row)
        if link is not None or intent.kind == IntentKind.MOVE:
            try:
                if intent.kind == IntentKind.MOVE:
                    moving.attempt(core, intent)
                elif link is not None:
                    commits.attempt(core, link, intent, now)
            except StorageError:
                raise
            except HanaError as error:
                core.emit(events.Alarm(conversation=row.conversation.hex(), code=error.code))
                if intent.kind == IntentKind.READMIT:  # trying the same again would not help; it will ask again
                    with core.transaction():
                        core.db.execute("DELETE FROM readmission WHERE conversation = ?", row.conversation)
                        core.db.execute(
                            "DELETE FROM intent WHERE conversation = ? AND kind = ?", row.conversation, intent.kind
                        )


def _link_of(core: Core, row: Conversation) -> Link | None:
    channel = core.channel(row.channel)
    link = core.links.get(channel.relay) if channel is not None else None
    return None if link is None or link.over else link


def _stands(core: Core, row: Conversation) -> bool:
    link = _link_of(core, row)
    return link is not None and row.channel in link.caught_up and sending.may_send(core, row)


def next_due(core: Core, now: int) -> int | None:
    """When `due` has something to do again; None: not before something arrives. Milliseconds.

    What was due at `now`, the time of the last call, was tried then: if it could not be done, something has to arrive
    first, and no timer brings it.
    """
    found = [
        core.db.value(
            "SELECT min(receipt_due) FROM conversation WHERE state = ? AND receipt_due > ?",
            ConversationState.JOINED,
            now,
        ),
        core.db.value("SELECT min(not_before) FROM intent WHERE digest IS NULL AND not_before > ?", now),
        *(gaps.next_ask(gap) for gap in core.db.find(Gap, "1")),
        *(link.retry_at for link in core.links.values()),
        *(at + commits.RECEIPT_WAIT for link in core.links.values() for at in link.asked_at.values()),
        *resync.next_due(core),
        *faults.next_due(core),
        *echoes.next_due(core),
        receipts.next_publish(core),
        *transfers.next_due(core),
        starts.next_due(core),
    ]
    waiting = [at for at in found if isinstance(at, int) and at > now]
    if history.is_busy(core):
        return now + 1
    timer = timers.next_due(core)
    return min(waiting if timer is None else [*waiting, timer], default=None)


def chores(core: Core, now: int) -> None:
    """Now and then (hourly): publish again what expired unconfirmed, renew keys, forget what is over."""
    with core.transaction():
        sure = core.clock.cautious(now)  # before what cannot be had again is destroyed
        invites.give_up(core, sure)
        for row in core.db.find(Conversation, "1"):
            undelivered.look(core, row, now)
        linking.give_up(core, now)
        devices.reconcile(core, now)
        standing_in.say_lacking(core, now)
        for row in core.db.find(Conversation, "state = ?", ConversationState.JOINED):
            sending.publish_unconfirmed(core, row.conversation, now, stored_before=now - sending.RELAY_KEEPS)
            going.give_up(core, row.conversation, core.clock.wall(now) - sending.GIVE_UP, now)
            receipts.repeat(core, row, now, after=sending.RELAY_KEEPS, within=sending.GIVE_UP)
            commits.renew(core, row, now)
            beginning.replenish(core, row.conversation, now)
        core.db.execute(
            "UPDATE channel SET closed = 1 WHERE purpose = ? "
            "AND owner IN (SELECT invite FROM invite WHERE expires_at < ?)",
            Purpose.INVITE,
            sure - sending.GIVE_UP,
        )
        for row in core.db.find(Conversation, "state = ?", ConversationState.LEAVING):
            groups.leave_again(core, row, now)
        core.db.execute("DELETE FROM kept WHERE owner IN (SELECT invite FROM invite WHERE expires_at < ?)", sure)
        for (ref,) in core.db.tuples(
            "SELECT ref FROM key_package WHERE used = 0 AND expires_at < ?", sure - sending.GIVE_UP
        ):
            if isinstance(ref, bytes):
                core.db.mls_delete(ref)
                core.db.execute("UPDATE channel SET closed = 1 WHERE owner = ?", ref)
                core.db.execute("DELETE FROM key_package WHERE ref = ?", ref)
        core.db.execute("DELETE FROM contact_key_package WHERE expires_at < ?", sure)
        core.db.execute(
            "UPDATE channel SET closed = ? WHERE purpose = ? AND closed = ? AND started_at < ?",
            Closed.CLOSED,
            Purpose.ERA,
            Closed.LEFT,
            sure - 2 * sending.GIVE_UP,
        )
        core.db.execute("DELETE FROM placed WHERE at < ?", now - sending.RELAY_KEEPS)  # it is there no longer
        transfers.chores(core, now)
        closing.forget(core)
        _give_up_welcomes(core, now)
        core.clock.keep()
        for table in ("control", "piece"):
            core.db.execute(f"DELETE FROM {table} WHERE channel NOT IN (SELECT channel FROM channel)")  # noqa: S608


def _give_up_welcomes(core: Core, now: int) -> None:
    """Whoever is invited named a relay for it that is gone for as long as a KeyPackage lasts (HT-C-076)."""
    for conversation, url in outbox.welcomes(core):
        since = core.db.value("SELECT failing_since FROM relay WHERE url = ?", url)
        if isinstance(since, int) and since <= now - sending.GIVE_UP:
            core.db.execute(
                "DELETE FROM outbox WHERE relay = ? AND owner = ? AND kind = ?", url, conversation, OutboxKind.WELCOME
            )
            core.db.execute("DELETE FROM outbox WHERE relay = ? AND kind = ?", url, OutboxKind.ANNEX)
            core.notice(events.Alarm(conversation=conversation.hex(), code="welcome.undelivered"), now, conversation)


def _can_wait(core: Core, kind: OutboxKind, url: str) -> bool:
    """Nothing waits for it at a relay that is gone."""
    link = core.links.get(url)
    return kind in outbox.CAN_WAIT and (link is None or not link.ready)


def pending(core: Core, now: int) -> int:
    """Frames that no relay has stored, what is missing, and receipts and commits that are due soon."""
    soon = now + SOON
    return (
        sum(count for url, kind, count in outbox.counts(core) if not _can_wait(core, kind, url))
        + sending.held(core)
        + int(history.is_waiting(core))
        + transfers.pending(core)
        + core.db.number("SELECT count(*) FROM restoring")
        + core.db.number("SELECT count(*) FROM placed WHERE wanted = 1 AND seq IS NOT NULL")
        + core.db.number("SELECT count(*) FROM conversation WHERE receipt_due IS NOT NULL AND receipt_due <= ?", soon)
        + core.db.number("SELECT count(*) FROM intent WHERE digest IS NULL AND not_before <= ?", soon)
        + core.db.number("SELECT count(*) FROM gap")
    )


def caught_up(core: Core, url: str) -> bool:
    """Every channel that is read at this relay is read to its head, and nothing is known to be missing (HT-C-062)."""
    link = core.links.get(url)
    if link is None or not link.ready or link.rescan:
        return False
    wanted = core.db.find(Channel, "relay = ? AND closed = 0 AND purpose != ?", url, Purpose.INVITE)
    missing = {owner for (owner,) in core.db.tuples("SELECT DISTINCT conversation FROM gap")}
    return all(channel.channel in link.caught_up and channel.owner not in missing for channel in wanted)
