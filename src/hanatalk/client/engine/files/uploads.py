"""Own attachments: to the relay, there again when somebody missed them, and away from there (HT-C-145 … HT-C-151)."""

import hashlib
import secrets
from collections import deque
from collections.abc import Sequence

import msgspec

from hanatalk.client.engine.core import Core, Link
from hanatalk.client.engine.formats import chunking, content, policy
from hanatalk.client.engine.formats.references import PER_MESSAGE, Place, Reference, channel, read_token
from hanatalk.client.engine.messages import attached, bodies, sending
from hanatalk.errors import LocalError, StorageError, UsageError
from hanatalk.ids import ConversationId, EntryId, MessageId, WriteToken
from hanatalk.localdb.rows import Attachment, Chunk, Conversation, Member, Message, MessageKind, Transfer
from hanatalk.wire.channels import ERASE_TOKEN_LENGTH, TOKEN_LENGTH, erase_hash, write_verifier
from hanatalk.wire.classes import EntryClass

WINDOW = 32  # chunks (2 MiB) on their way to a relay at once
AGAIN_PAUSE = 600_000  # milliseconds in which the same attachment is not left again
TOGETHER = 16  # chunks (1 MiB) whose storing is put down together
ANNOUNCE_PAUSE = 60_000  # milliseconds in which the same place is not said again
AGAIN_LIMIT = 8  # times that one is left again (HT-C-150)


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed file that waits for its message, and what people see of it."""

    sealed: chunking.Sealed
    type: str
    name: str
    width: int = 0
    height: int = 0
    preview: bytes = b""

    def __repr__(self) -> str:
        return f"Staged({self.sealed!r})"


class Location(msgspec.Struct, frozen=True):
    """A channel that this device made up for one attachment."""

    relay: str
    place: Place
    write_token: bytes

    def __repr__(self) -> str:
        return "Location(…)"


def at(relay: policy.Relay) -> Location:
    """A fresh one (HT-C-141)."""
    write_token = WriteToken(secrets.token_bytes(TOKEN_LENGTH))
    return Location(relay.url, Place(relay.key, write_verifier(write_token)), write_token)


def relay_of(core: Core, row: Conversation) -> policy.Relay:
    """Where attachments of this conversation go. :raises LocalError: ``conversation.broken``"""
    url = sending.era_channel(core, row).relay
    for relay in policy.parse([(policy.EXTENSION, row.policy)]).relays:
        if relay.url == url:
            return relay
    raise LocalError("conversation.broken")


def refer(staged: Staged, place: Place) -> Reference:
    return Reference(
        secret=staged.sealed.secret,
        place=place,
        digest=staged.sealed.digest,
        size=staged.sealed.size,
        type=staged.type,
        name=staged.name,
        width=staged.width,
        height=staged.height,
        preview=staged.preview,
    )


def send(
    core: Core, conversation: ConversationId, text: content.Text, staged: Sequence[Staged] = (), *, now: int
) -> Message:
    """A person's message: durable at once; with attachments, numbered and sent when a relay has all of them (HT-C-145).

    :raises ContentError: ``text.too-long``; :raises UsageError: ``attachment.too-many``
    :raises LocalError: ``conversation.broken``
    """
    if len(staged) > PER_MESSAGE:
        raise UsageError("attachment.too-many", limit=PER_MESSAGE)
    if not staged:
        return sending.send_text(core, conversation, text, now=now)
    with core.transaction():
        relay = relay_of(core, core.conversation(conversation))
        places = [at(relay) for _ in staged]
        shown = [refer(each, place.place) for each, place in zip(staged, places, strict=True)]
        text = msgspec.structs.replace(text, attachments=shown)
        message = sending.send_text(core, conversation, text, now=now)
        others = len(core.members(conversation)) - 1
        for position, (each, place) in enumerate(zip(staged, places, strict=True)):
            begin(core, message.message, position, each.sealed, place, readers=others)
    return message


def begin(
    core: Core,
    message: MessageId,
    position: int,
    sealed: chunking.Sealed,
    location: Location,
    *,
    readers: int,
    bundle: bool = False,
) -> None:
    """Bring a sealed file to a relay. `readers`: other devices, after which the relay erases it, if they are few."""
    core.db.insert(
        Attachment(
            None,
            message,
            position,
            int(bundle),
            Transfer.UPLOADING,
            location.relay,
            channel(sealed.secret, location.place),
            read_token(sealed.secret, location.place),
            location.write_token,
            chunking.chunks_of(sealed.size),
            sealed.size,
            file=sealed.name,
            erase_token=secrets.token_bytes(ERASE_TOKEN_LENGTH),
            burn_after=readers if 1 <= readers <= sending.BURN_LIMIT else None,
        )
    )


def move_on(core: Core, now: int) -> None:
    """What was to go to a relay that its conversation has left goes to the next one (HT-C-149)."""
    for number, owner in core.db.tuples(
        "SELECT attachment.number, conversation FROM attachment JOIN message USING (message) "
        "JOIN conversation USING (conversation) JOIN channel ON channel.channel = conversation.channel "
        "WHERE attachment.state = ? AND channel.relay != attachment.relay",
        Transfer.UPLOADING,
    ):
        row = attached.row(core, number) if isinstance(number, int) else None
        message = core.db.first(Message, "message = ?", row.message) if row is not None else None
        if row is None or message is None or not isinstance(owner, bytes):
            continue
        with core.transaction():
            _leave_at(core, row, message, at(relay_of(core, core.conversation(ConversationId(owner)))))


def _leave_at(core: Core, row: Attachment, message: Message, location: Location) -> None:
    """From its first chunk on in another channel. A message that was not sent yet says so itself."""
    body = bodies.find(core, message)
    text = content.known_body(body) if body is not None else None
    if not isinstance(text, content.Text) or row.position >= len(text.attachments):
        return
    reference = msgspec.structs.replace(text.attachments[row.position], place=location.place)
    core.db.execute("DELETE FROM chunk WHERE attachment = ?", row.number)
    core.db.execute(
        "UPDATE attachment SET state = ?, relay = ?, channel = ?, read_token = ?, write_half = ?, erase_token = ? "
        "WHERE number = ?",
        Transfer.UPLOADING,
        location.relay,
        channel(reference.secret, location.place),
        read_token(reference.secret, location.place),
        location.write_token,
        secrets.token_bytes(ERASE_TOKEN_LENGTH),
        row.number,
    )
    attachments = list(text.attachments)
    attachments[row.position] = reference
    bodies.replace(core, message, content.encode(msgspec.structs.replace(text, attachments=attachments)))


# on a connection ------------------------------------------------------------------------------------------------------


def _entry_id(row: Attachment, position: int) -> EntryId:
    """The same at every try: what arrived unheard is not stored twice (HT-R-041)."""
    assert row.erase_token is not None
    return EntryId(
        hashlib.sha256(b"hana chunk entry/1" + row.erase_token + row.channel + position.to_bytes(4)).digest()[:16]
    )


def open_channel(link: Link, row: Attachment) -> None:
    assert row.number is not None
    link.bulk.channels[row.channel] = row.number
    link.connection.open(row.channel, read=row.read_token, write=row.write_half)


def append(core: Core, link: Link, row: Attachment) -> None:
    """Send what the window takes. :raises StorageError: the file is gone, or the disk said no"""
    bulk, number = link.bulk, row.number
    assert number is not None
    assert row.file is not None
    assert row.erase_token is not None
    if row.channel not in bulk.channels:
        open_channel(link, row)
    if number not in bulk.queues:
        there = {place for (place,) in core.db.tuples("SELECT position FROM chunk WHERE attachment = ?", number)}
        bulk.queues[number] = deque(place for place in range(row.chunks) if place not in there)
    queue = bulk.queues[number]
    bulk.appended.add(number)
    while queue and len(bulk.in_flight) < WINDOW:
        position = queue[0]
        chunk = core.db.files.read(row.file, position)
        queue.popleft()
        entry_id = _entry_id(row, position)
        bulk.in_flight[entry_id] = (number, position)
        link.connection.append(
            row.channel,
            entry_id=entry_id,
            entry_class=EntryClass.ATTACHMENT,
            entry=chunk,
            burn_after=row.burn_after,
            erase_hash=erase_hash(row.erase_token),
        )


def stored(link: Link, entry_id: EntryId) -> None:
    """The relay has one chunk."""
    if entry_id in link.bulk.in_flight:
        link.bulk.stored.add(entry_id)


def note(core: Core, row: Attachment, positions: list[int]) -> None:
    """Some chunks are at the relay; put down together, what is lost with a process is sent again (HT-R-041)."""
    assert row.number is not None
    for position in positions:
        core.db.put(Chunk(row.number, position))


def refused(link: Link, entry_id: EntryId) -> None:
    """The relay did not take one: again later."""
    found = link.bulk.in_flight.pop(entry_id, None)
    if found is not None:
        link.bulk.queues.setdefault(found[0], deque()).appendleft(found[1])


def is_placed(link: Link, row: Attachment) -> bool:
    """Nothing of it waits, nothing is on its way."""
    bulk, number = link.bulk, row.number
    assert number is not None
    return number in bulk.queues and not bulk.queues[number] and not bulk.under_way(number)


def placed(core: Core, row: Attachment, now: int) -> None:
    """The relay has all of it; the message goes if it waited for the last one."""
    core.db.execute("UPDATE attachment SET state = ?, placed_at = ? WHERE number = ?", Transfer.PLACED, now, row.number)
    core.db.execute("DELETE FROM chunk WHERE attachment = ?", row.number)
    message = core.db.first(Message, "message = ?", row.message) if not row.bundle else None
    if message is None:
        return
    if message.counter < 0:
        sending.release(core, message.conversation, now)
    else:
        _announce(core, row, message, now)


def erase(core: Core, link: Link, row: Attachment) -> bool:
    """Ask the relay to forget every entry of the channel, some at a time; True once it has answered all (HT-C-148)."""
    bulk, number = link.bulk, row.number
    assert number is not None
    assert row.erase_token is not None
    bulk.queues.pop(number, None)
    if row.channel not in bulk.channels:
        open_channel(link, row)
        return False
    if number not in bulk.heads:
        return False
    upto = max(bulk.heads[number], row.chunks if number in bulk.appended else 0)
    asked, answered = bulk.erases.get(number, 0), bulk.erased.get(number, 0)
    while asked < upto and asked - answered < WINDOW:
        asked += 1
        link.connection.erase(row.channel, seq=asked, erase_token=row.erase_token)
    bulk.erases[number] = asked
    return answered >= upto


# asked again ----------------------------------------------------------------------------------------------------------


def asked_again(
    core: Core, row: Conversation, own: Member, asker: Member, wanted: content.LeaveAgain, now: int
) -> None:
    """Somebody missed an own attachment: leave it again in a fresh channel, or say where it lies (HT-C-150)."""
    message = core.db.first(Message, "message = ?", wanted.message)
    if message is None or (message.conversation, message.device) != (row.conversation, own.device):
        return
    found = core.db.first(Attachment, "message = ? AND position = ?", message.message, wanted.position)
    wall = core.clock.wall(now)
    if (
        found is None
        or found.state != Transfer.PLACED
        or found.file is None
        or message.kind != MessageKind.PERSON
        or message.recalled
        or message.epoch < asker.since_epoch
        or message.sent_at < wall - sending.GIVE_UP
    ):
        return
    if found.asked >= AGAIN_LIMIT or (found.asked_at is not None and now < found.asked_at + AGAIN_PAUSE):
        if now >= found.cursor + ANNOUNCE_PAUSE:
            _announce(core, found, message, now)
        return
    core.db.execute("UPDATE attachment SET asked = asked + 1, asked_at = ? WHERE number = ?", now, found.number)
    _leave_at(core, found, message, at(relay_of(core, row)))


def _announce(core: Core, row: Attachment, message: Message, now: int) -> None:
    body = bodies.find(core, message)
    text = content.known_body(body) if body is not None else None
    if isinstance(text, content.Text) and row.position < len(text.attachments):
        place = text.attachments[row.position].place
        core.db.execute("UPDATE attachment SET cursor = ? WHERE number = ?", now, row.number)
        sending.send_unnumbered(core, message.conversation, content.LeftAgain(row.message, row.position, place), now)


def lost(core: Core, row: Attachment, error: StorageError) -> None:
    """Its file cannot be read: its message does not go, and says so."""
    core.db.execute(
        "UPDATE attachment SET state = ?, failure = ? WHERE number = ?", Transfer.REFUSED, error.code, row.number
    )
