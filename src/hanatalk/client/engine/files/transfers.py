"""Attachments on their way: what relays answered, what is to be asked of them, what people are told of it."""

from hanatalk.client import calls, events
from hanatalk.client.engine.core import Core, Link
from hanatalk.client.engine.files import downloads, uploads
from hanatalk.client.engine.messages import attached
from hanatalk.errors import StorageError
from hanatalk.ids import MessageId
from hanatalk.localdb.rows import Attachment, Transfer
from hanatalk.wire import events as wire

RETRY = 5_000  # milliseconds after a refusal by limits
OPEN = 8  # attachments fetched at once from one relay
STEPS = 50  # progress is published so many times at most for one attachment
RELAY_KEEPS = 3 * 86_400_000  # milliseconds
_MOVING = (Transfer.UPLOADING, Transfer.ERASING, Transfer.FETCHING)
STATES = {
    Transfer.UPLOADING: "uploading",
    Transfer.PLACED: "here",
    Transfer.ERASING: "gone",
    Transfer.REMOTE: "remote",
    Transfer.FETCHING: "fetching",
    Transfer.MISSING: "missing",
    Transfer.HERE: "here",
    Transfer.REFUSED: "refused",
}

URGENT = ("refused", "missing", "remote", "fetching", "uploading")  # of several, what is said of all
WHOLE = (Transfer.UPLOADING, Transfer.PLACED, Transfer.HERE)  # all of it is on this device


def done(core: Core, row: Attachment) -> int:
    """Bytes that are where they should be: own ones at a relay, another's here."""
    if row.state in (Transfer.PLACED, Transfer.HERE):
        return row.size
    have = core.db.number("SELECT count(*) FROM chunk WHERE attachment = ?", row.number)
    return have * row.size // row.chunks


def take_event(core: Core, link: Link, event: wire.Event, now: int) -> bool:
    """One event of a relay's connection; runs inside a transaction. False: it is not about an attachment's channel."""
    channel = getattr(event, "channel_id", None)
    number = link.bulk.channels.get(channel) if channel is not None else None
    if number is None:
        return False
    row = attached.row(core, number)
    if row is None or row.channel != channel:
        return True  # it was let go, or lies elsewhere now
    match event:
        case wire.EntryStored():
            uploads.stored(link, event.entry_id)
        case wire.EntryReceived():
            downloads.entry(core, link, row, event)
        case wire.ChannelOpened():
            if attached.is_own(row):
                link.bulk.heads[number] = event.head
            else:
                downloads.opened(core, link, row, event)
        case wire.CaughtUp():
            link.bulk.caught_up.add(number)
        case wire.EntryErased():
            link.bulk.erased[number] = link.bulk.erased.get(number, 0) + 1
        case wire.Refused():
            _refused(core, link, number, event, now)
    return True


def _refused(core: Core, link: Link, number: int, event: wire.Refused, now: int) -> None:
    if event.operation == "erase" and event.code in ("unknown-entry", "wrong-token"):
        link.bulk.erased[number] = link.bulk.erased.get(number, 0) + 1  # nothing of ours is there
        return
    if event.entry_id is not None:
        uploads.refused(link, event.entry_id)
    elif event.operation == "open" and event.channel_id is not None:
        link.bulk.let_go(event.channel_id)
    link.retry_at = now + RETRY
    core.emit(events.Alarm(conversation=None, code=f"relay.{event.code}"))


def pump(core: Core, url: str, link: Link, now: int) -> None:
    """Bring the connection in step with the rows. Called after every transaction."""
    bulk = link.bulk
    for entry_id in bulk.stored:
        found = bulk.in_flight.pop(entry_id, None)
        if found is not None:
            bulk.unwritten.setdefault(found[0], []).append(found[1])
    bulk.stored.clear()
    rows = core.db.find(Attachment, "state IN (?, ?, ?) AND relay = ? ORDER BY number", *_MOVING, url)
    moving = {row.channel: row for row in rows}
    for channel, number in list(bulk.channels.items()):
        row = moving.get(channel)
        same = row is not None and row.number == number and bulk.files.get(number, row.file) == row.file
        if not same or number in bulk.over:
            bulk.let_go(channel)
            link.connection.close(channel)
    for row in moving.values():
        if row.state == Transfer.UPLOADING:
            _upload(core, link, row, now)
        elif row.state == Transfer.ERASING:
            if uploads.erase(core, link, row):
                with core.transaction():
                    core.db.execute("DELETE FROM attachment WHERE number = ?", row.number)
        elif row.channel in bulk.channels:
            _download(core, link, row, now)
        elif len(bulk.keys) < OPEN:
            downloads.open_channel(core, link, row)


def _upload(core: Core, link: Link, row: Attachment, now: int) -> None:
    assert row.number is not None
    try:
        uploads.append(core, link, row)
    except StorageError as error:
        with core.transaction():
            uploads.lost(core, row, error)
            _tell(core, link, row, 0)
        return
    if uploads.is_placed(link, row):
        with core.transaction():
            uploads.placed(core, row, now)
            _tell(core, link, row, row.chunks)
        return
    if len(link.bulk.unwritten.get(row.number, ())) >= uploads.TOGETHER:
        with core.transaction():
            uploads.note(core, row, link.bulk.unwritten.pop(row.number))
    done = row.chunks - len(link.bulk.queues[row.number]) - link.bulk.under_way(row.number)
    _progress(core, link, row, done)


def _download(core: Core, link: Link, row: Attachment, now: int) -> None:
    bulk, number = link.bulk, row.number
    assert number is not None
    if number not in bulk.arrived and number not in bulk.caught_up:
        return
    with core.transaction():
        have = downloads.look(core, link, row, now)
        after = attached.row(core, number)
        if after is None or after.state != row.state:
            bulk.over.add(number)
            _tell(core, link, after or row, have)
    bulk.arrived.discard(number)
    # behind an entry that was no chunk nothing is acknowledged: what the relay has may be good the next time
    good = after is not None and after.channel == row.channel and number not in bulk.bad
    if good and after is not None and after.reader and after.cursor > bulk.acknowledged.get(number, 0):
        bulk.acknowledged[number] = after.cursor
        link.connection.acknowledge(row.channel, reader=after.reader, seq=after.cursor)
    _progress(core, link, row, have)


def _progress(core: Core, link: Link, row: Attachment, done: int) -> None:
    """A part came through: told now and then."""
    assert row.number is not None
    told = link.bulk.told.get(row.number, 0)
    if done >= told + max(1, row.chunks // STEPS) and done < row.chunks:
        with core.transaction():
            _tell(core, link, row, done)


def _tell(core: Core, link: Link, row: Attachment, done: int) -> None:
    assert row.number is not None
    link.bulk.told[row.number] = done
    fresh = attached.row(core, row.number) or row
    conversation = core.db.value("SELECT conversation FROM message WHERE message = ?", row.message)
    core.emit(
        events.AttachmentProgress(
            conversation=conversation.hex() if isinstance(conversation, bytes) else None,
            message=row.message.hex(),
            position=row.position,
            direction="up" if attached.is_own(row) else "down",
            done=min(row.size, done * row.size // row.chunks),
            size=row.size,
            state=STATES[Transfer(fresh.state)],
        )
    )


def failed(core: Core, url: str, now: int) -> None:
    """A relay was tried in vain."""
    downloads.gone_with(core, url, now)


def due(core: Core, now: int) -> None:
    """What time asks for."""
    if core.db.value("SELECT 1 FROM attachment WHERE state IN (?, ?)", Transfer.MISSING, Transfer.UPLOADING):
        downloads.ask_again(core, now)
        uploads.move_on(core, now)


def next_due(core: Core) -> list[int]:
    return [downloads.next_ask(row) for row in core.db.find(Attachment, "state = ?", Transfer.MISSING)]


def chores(core: Core, now: int) -> None:
    """What a relay has forgotten by itself need not be erased there any more; runs inside a transaction."""
    core.db.execute("DELETE FROM attachment WHERE state = ? AND placed_at < ?", Transfer.ERASING, now - RELAY_KEEPS)


def pending(core: Core) -> int:
    """Attachments that whoever syncs waits for."""
    waiting = core.db.number(
        "SELECT count(*) FROM attachment WHERE state IN (?, ?)", Transfer.UPLOADING, Transfer.ERASING
    )
    reached = {url for url, link in core.links.items() if link.ready}
    fetching = core.db.tuples("SELECT relay FROM attachment WHERE state = ?", Transfer.FETCHING)
    return waiting + sum(url in reached for (url,) in fetching)


def wanted_relays(core: Core) -> set[str]:
    """Where something is to be brought, fetched or erased."""
    return {
        str(url)
        for (url,) in core.db.tuples("SELECT DISTINCT relay FROM attachment WHERE state IN (?, ?, ?)", *_MOVING)
    }


def shown(core: Core, message: MessageId) -> list[calls.Attachment]:
    """A message's attachments as people see them."""
    found = []
    for row in attached.rows(core, message):
        said = downloads.reference(core, row)
        if said is None:
            continue
        found.append(
            calls.Attachment(
                name=said.name,
                type=said.type,
                size=said.size,
                width=said.width or None,
                height=said.height or None,
                preview=said.preview.hex() if said.preview else None,
                state=STATES[Transfer(row.state)],
                failure=row.failure,
            )
        )
    return found
