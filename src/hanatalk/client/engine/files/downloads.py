"""Others' attachments: from the relay into a file here, each chunk verified before it is kept (HT-C-146 … HT-C-151)."""

import msgspec

from hanatalk.client.engine.core import Core, Link, new_reader
from hanatalk.client.engine.formats import chunking, content, policy
from hanatalk.client.engine.formats.references import Place, Reference, channel, read_token
from hanatalk.client.engine.messages import attached, bodies, sending
from hanatalk.errors import ContentError, StorageError, UsageError
from hanatalk.ids import MessageId
from hanatalk.localdb.rows import Attachment, Chunk, Conversation, Member, Message, Transfer
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.events import ChannelOpened, EntryReceived

AT_ONCE = 1 << 20  # bytes up to which an attachment is fetched without being asked for (HT-C-147)
AT_ONCE_TOTAL = 1 << 30  # bytes of others' attachments on this device beyond which nothing is fetched unasked
SETTING = "fetch-at-once"
ASK_AGAIN = (60_000, 600_000, 3_600_000, 6 * 3_600_000, 24 * 3_600_000)  # milliseconds; the last one again and again
TOGETHER = 16  # chunks (1 MiB) that are put down together
BAD_LIMIT = 64  # entries that are no chunk of an attachment, above as many as it has chunks: then enough is enough
BAD_TRIES = 3  # times that an attachment is fetched after something in it was wrong


def at_once(core: Core) -> int:
    """Bytes up to which attachments are fetched unasked; the person's setting."""
    found = core.db.setting(SETTING)
    return AT_ONCE if found is None else int.from_bytes(found)


def bundle_owner(bundle: bytes) -> bytes:
    """Under which a bundle's reference stands in the sealed rows."""
    return b"bundle" + bundle


def reference(core: Core, row: Attachment) -> Reference | None:
    """What its message says of it; None: that is forgotten."""
    if row.bundle:
        for _, value in core.db.mls_rows(bundle_owner(row.message)):
            return msgspec.msgpack.decode(value, type=Reference)
        return None
    message = core.db.first(Message, "message = ?", row.message)
    body = bodies.find(core, message) if message is not None else None
    found = content.known_body(body) if body is not None else None
    if isinstance(found, content.Text) and row.position < len(found.attachments):
        return found.attachments[row.position]
    return None


def _relay(row: Conversation, place: Place) -> policy.Relay | None:
    """Only relays that the members agreed on are ever contacted (HT-C-152, T-071)."""
    agreed = policy.parse([(policy.EXTENSION, row.policy)])
    return next((relay for relay in agreed.relays if relay.key == place.relay_key), None)


def arrived(core: Core, row: Conversation, message: Message, text: content.Text) -> None:
    """A message came with attachments: small ones are fetched at once, the others when somebody asks (HT-C-147)."""
    for position, found in enumerate(text.attachments):
        relay = _relay(row, found.place)
        at = channel(found.secret, found.place)
        repeated = core.db.value("SELECT 1 FROM attachment WHERE channel = ?", at) is not None
        kept = insert(core, message.message, position, found, relay.url if relay is not None else "")
        if relay is None or repeated:  # two in one channel could not be told apart
            core.db.execute(
                "UPDATE attachment SET state = ?, failure = ? WHERE number = ?",
                Transfer.REFUSED,
                "attachment.relay" if relay is None else "attachment.damaged",
                kept.number,
            )
        elif found.size <= at_once(core) and _total(core) + found.size <= AT_ONCE_TOTAL:
            try:
                fetch(core, kept)
            except StorageError:
                continue  # a full disk: it stays where it is until somebody asks


def kept(core: Core, row: Conversation, message: Message, text: content.Text) -> None:
    """A message of long ago, that a sibling has: its files can be asked for (HT-C-174)."""
    for position, found in enumerate(text.attachments):
        relay = _relay(row, found.place)
        at = channel(found.secret, found.place)
        if relay is not None and core.db.value("SELECT 1 FROM attachment WHERE channel = ?", at) is None:
            insert(core, message.message, position, found, relay.url)


def insert(
    core: Core, message: MessageId, position: int, found: Reference, relay: str, *, bundle: bool = False
) -> Attachment:
    row = Attachment(
        None,
        message,
        position,
        int(bundle),
        Transfer.REMOTE,
        relay,
        channel(found.secret, found.place),
        read_token(found.secret, found.place),
        found.place.write_verifier,
        chunking.chunks_of(found.size),
        found.size,
        reader=new_reader(),
    )
    return msgspec.structs.replace(row, number=core.db.insert(row))


def _total(core: Core) -> int:
    return core.db.number(
        "SELECT sum(size) FROM attachment WHERE erase_token IS NULL AND file IS NOT NULL AND bundle = 0"
    )


def fetch(core: Core, row: Attachment) -> None:
    """Begin, or go on; inside a transaction. What is here, or on its way, stays as it is.

    :raises ContentError: ``attachment.relay``
    :raises StorageError: ``storage.full``: there is no room for it
    """
    if attached.is_own(row) or row.state in (Transfer.HERE, Transfer.FETCHING):
        return
    if row.failure == "attachment.relay":
        raise ContentError("attachment.relay")
    if core.db.value("SELECT 1 FROM attachment WHERE channel = ? AND number < ?", row.channel, row.number):
        raise ContentError("attachment.damaged")
    file = row.file or core.db.files.create(row.chunks)
    _go_on(core, row)
    core.db.execute("UPDATE attachment SET file = ?, failure = NULL, asked = 0 WHERE number = ?", file, row.number)


def _go_on(core: Core, row: Attachment) -> None:
    """From where this device has it; if something was wrong there, once more from the channel's beginning."""
    cursor = 0 if row.failure == "attachment.damaged" else row.cursor
    core.db.execute(
        "UPDATE attachment SET state = ?, cursor = ? WHERE number = ?", Transfer.FETCHING, cursor, row.number
    )


def cancel(core: Core, row: Attachment) -> None:
    """Nobody wants it any more: what of it is here goes; inside a transaction.

    :raises UsageError: ``attachment.own``
    """
    if attached.is_own(row):
        raise UsageError("attachment.own")
    _away(core, row, Transfer.REMOTE, None)


def _away(core: Core, row: Attachment, state: Transfer, failure: str | None) -> None:
    """Nothing of it is kept. Fetched once more, it is read from the channel's beginning."""
    if row.file is not None:
        core.doomed.append(row.file)
    core.db.execute("DELETE FROM chunk WHERE attachment = ?", row.number)
    core.db.execute(
        "UPDATE attachment SET state = ?, file = NULL, cursor = 0, failure = ? WHERE number = ?",
        state,
        failure,
        row.number,
    )


# on a connection ------------------------------------------------------------------------------------------------------


def open_channel(core: Core, link: Link, row: Attachment) -> None:
    """Ask for a channel with nothing but the right to read it."""
    found = reference(core, row)
    if found is None or row.number is None:
        return
    link.bulk.channels[row.channel] = row.number
    link.bulk.files[row.number] = row.file
    link.bulk.keys[row.number] = chunking.ChunkKey(found.secret)
    link.connection.open(row.channel, read=row.read_token, write=row.write_half, write_is_token=False)


def opened(core: Core, link: Link, row: Attachment, event: ChannelOpened) -> None:
    """From where this device has it; a relay that forgot is read from its start."""
    cursor = row.cursor
    if cursor and (row.incarnation != event.incarnation or event.head < cursor):
        cursor = 0
    core.db.execute(
        "UPDATE attachment SET incarnation = ?, cursor = ? WHERE number = ?", event.incarnation, cursor, row.number
    )
    link.connection.subscribe(row.channel, cursor)


def entry(core: Core, link: Link, row: Attachment, event: EntryReceived) -> None:
    """One chunk, or what is none: that is passed over, and what is missing in the end is asked for (T-070)."""
    bulk, number = link.bulk, row.number
    if row.state != Transfer.FETCHING or number is None or row.file is None or bulk.files.get(number) != row.file:
        return
    if event.seq <= max(row.cursor, bulk.seen.get(number, 0)):
        return
    bulk.seen[number] = event.seq
    bulk.arrived.add(number)
    try:
        if event.entry_class is not EntryClass.ATTACHMENT:
            raise ContentError("attachment.damaged", why="class")
        position, _ = bulk.keys[number].open(event.entry, chunks=row.chunks)
    except ContentError:
        bulk.bad[number] = bulk.bad.get(number, 0) + 1
        return
    kept = bulk.kept.setdefault(number, {})
    if position in kept or core.db.value("SELECT 1 FROM chunk WHERE attachment = ? AND position = ?", number, position):
        return
    try:
        core.db.files.write(row.file, position, event.entry)
    except StorageError as error:
        _away(core, row, Transfer.REFUSED, error.code)
        return
    kept[position] = chunking.chunk_digest(event.entry)


def _flush(core: Core, link: Link, row: Attachment) -> bool:
    """Make durable what came, then say so in one step (HT-C-146). False: the disk said no, and nothing is kept."""
    bulk, number = link.bulk, row.number
    assert number is not None
    assert row.file is not None
    kept = bulk.kept.pop(number, {})
    if kept:
        try:
            core.db.files.sync(row.file)
        except StorageError as error:
            _away(core, row, Transfer.REFUSED, error.code)
            return False
        for position, digest in kept.items():
            core.db.put(Chunk(number, position, digest))
    core.db.execute("UPDATE attachment SET cursor = max(cursor, ?) WHERE number = ?", bulk.seen.get(number, 0), number)
    return True


def look(core: Core, link: Link, row: Attachment, now: int) -> int:
    """What came of it? Runs in a transaction of its own. Returns how many chunks are here.

    Some are put down together: each time costs two waits for the disk, and what is lost with a process is fetched
    again. A bundle may be fetched while it is still on its way up: at the channel's head more of it is waited for.
    """
    bulk, number = link.bulk, row.number
    assert number is not None
    kept = len(bulk.kept.get(number, ()))
    have = core.db.number("SELECT count(*) FROM chunk WHERE attachment = ?", number) + kept
    over = number in bulk.caught_up or bulk.bad.get(number, 0) > row.chunks + BAD_LIMIT
    if (kept >= TOGETHER or have == row.chunks or over) and not _flush(core, link, row):
        return 0
    if have == row.chunks:
        _complete(core, row)
    elif (number in bulk.caught_up and not row.bundle) or bulk.bad.get(number, 0) > row.chunks + BAD_LIMIT:
        _missing(core, row, now, damaged=bool(bulk.bad.get(number)))
    return have


def _complete(core: Core, row: Attachment) -> None:
    found = reference(core, row)
    digests = core.db.tuples("SELECT digest FROM chunk WHERE attachment = ? ORDER BY position", row.number)
    if found is None or chunking.root(d for (d,) in digests if isinstance(d, bytes)) != found.digest:
        _away(core, row, Transfer.REFUSED, "attachment.damaged")  # its sender sent something else (HT-C-143)
        return
    core.db.execute("DELETE FROM chunk WHERE attachment = ?", row.number)
    core.db.execute("UPDATE attachment SET state = ?, failure = NULL WHERE number = ?", Transfer.HERE, row.number)


def _missing(core: Core, row: Attachment, now: int, *, damaged: bool) -> None:
    """The relay has no more of it: its sender is asked, for 30 days (HT-C-150)."""
    message = core.db.first(Message, "message = ?", row.message) if not row.bundle else None
    over = message is None or message.sent_at < core.clock.wall(now) - sending.GIVE_UP
    damaged = damaged or row.failure == "attachment.damaged"  # until it is whole
    failure = "attachment.damaged" if damaged else "attachment.missing"
    if over or (damaged and row.asked >= BAD_TRIES):
        _away(core, row, Transfer.REFUSED, failure)
        return
    core.db.execute(
        "UPDATE attachment SET state = ?, failure = ?, asked = asked + 1, asked_at = ? WHERE number = ?",
        Transfer.MISSING,
        failure,
        now,
        row.number,
    )
    if message is not None:
        sending.send_unnumbered(core, message.conversation, content.LeaveAgain(row.message, row.position), now)


def gone_with(core: Core, url: str, now: int) -> None:
    """A relay cannot be reached that the conversation has left: what lies there is asked for again (HT-C-149)."""
    for row in core.db.find(Attachment, "state = ? AND relay = ? AND bundle = 0", Transfer.FETCHING, url):
        message = core.db.first(Message, "message = ?", row.message)
        at = core.conversation(message.conversation) if message is not None else None
        if at is not None and sending.era_channel(core, at).relay != url:
            with core.transaction():
                _missing(core, row, now, damaged=False)


def next_ask(row: Attachment) -> int:
    """When one that is missing is looked for again."""
    return (row.asked_at or 0) + ASK_AGAIN[min(row.asked, len(ASK_AGAIN)) - 1]


def ask_again(core: Core, now: int) -> None:
    """Look once more for what was missing; runs in a transaction of its own."""
    for row in core.db.find(Attachment, "state = ?", Transfer.MISSING):
        if next_ask(row) <= now:
            with core.transaction():
                _go_on(core, row)


def left_again(core: Core, row: Conversation, sender: Member, left: content.LeftAgain) -> None:
    """The sender of a message says where an attachment lies now (HT-C-151). Anybody else is not heard."""
    message = core.db.first(Message, "message = ?", left.message)
    if message is None or (message.conversation, message.device) != (row.conversation, sender.device):
        return
    found = core.db.first(Attachment, "message = ? AND position = ?", left.message, left.position)
    said = reference(core, found) if found is not None else None
    relay = _relay(row, left.place)
    waits = (Transfer.REMOTE, Transfer.FETCHING, Transfer.MISSING)
    if found is None or said is None or relay is None or found.state not in waits or attached.is_own(found):
        return
    at = channel(said.secret, left.place)
    if at == found.channel:
        return  # read to its head already; when to look again, this device's own clock says
    core.db.execute(
        "UPDATE attachment SET state = ?, relay = ?, channel = ?, read_token = ?, write_half = ?, cursor = 0 "
        "WHERE number = ?",
        Transfer.FETCHING if found.state == Transfer.MISSING else found.state,
        relay.url,
        at,
        read_token(said.secret, left.place),
        left.place.write_verifier,
        found.number,
    )
