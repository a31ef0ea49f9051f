"""Attachments under attack: relay, sender, members, examiner, disk (T-040, T-050, T-070, T-071, T-083)."""

import errno
import os
from collections.abc import Callable

import msgspec
import pytest
from tests.client.engine.conftest import Pair
from tests.client.engine.test_attachments import LARGE, fetch, files, held, read, send, stage, state
from tests.client.engine.test_expiry import pass_seconds
from tests.client.people import Person
from tests.stores.carving import decrypted, decrypted_wal

from hanatalk.client.engine import Staged
from hanatalk.client.engine.files import downloads, uploads
from hanatalk.client.engine.formats import content, references
from hanatalk.client.engine.formats.chunking import CAPACITY, ChunkKey, chunks_of
from hanatalk.errors import ContentError
from hanatalk.ids import ConversationId
from hanatalk.localdb.chunks import CHUNK, ChunkFiles
from hanatalk.localdb.rows import Attachment
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.frames import PushedEntry

# chunks --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "chunks"),
    [
        *((0, 1), (1, 1), (CAPACITY, 1), (CAPACITY + 1, 2), (2 * CAPACITY + 1, 4), (100 * CAPACITY, 128)),
        *((256 * CAPACITY, 256), (257 * CAPACITY, 272), (300 * CAPACITY, 304), (513 * CAPACITY, 544)),
        *((4_000 * CAPACITY, 4_096), (256 << 20, 4_352)),
    ],
)
def test_how_many_chunks_there_are_says_little(size: int, chunks: int) -> None:
    """HT-C-144: powers of two below 16 MiB, sixteenths above; never more than a sixteenth of padding there."""
    assert chunks_of(size) == chunks
    if size > 256 * CAPACITY:
        assert chunks * CAPACITY <= size * 1.07 + CAPACITY


def test_t070_a_chunk_opens_in_its_place_only() -> None:
    """T-070, HT-C-142: not elsewhere, not as the last one, not under another key, not with a bit changed, not cut."""
    key = ChunkKey(b"s" * 32)
    chunk = key.seal(1, b"content", last=False)
    assert key.open(chunk, chunks=4) == (1, b"content".ljust(CAPACITY, b"\0"))
    moved = (2).to_bytes(4) + chunk[4:]
    last = key.seal(3, b"content", last=True)
    for changed, chunks in ((moved, 4), (chunk, 2), (last, 5), (chunk[:-1], 4), (chunk + b"\0", 4), (b"", 4)):
        with pytest.raises(ContentError, match=r"attachment\.damaged"):
            key.open(changed, chunks=chunks)
    with pytest.raises(ContentError, match=r"attachment\.damaged"):
        ChunkKey(b"t" * 32).open(chunk, chunks=4)
    for bit in (0, 31, 32, 40_000, 8 * CHUNK - 1):
        flipped = bytearray(chunk)
        flipped[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(ContentError, match=r"attachment\.damaged"):
            key.open(bytes(flipped), chunks=4)


# the relay -----------------------------------------------------------------------------------------------------------


Change = Callable[[PushedEntry], PushedEntry]


def flipped(entry: PushedEntry) -> PushedEntry:
    return msgspec.structs.replace(entry, entry=entry.entry[:-1] + bytes([entry.entry[-1] ^ 1]))


def cut(entry: PushedEntry) -> PushedEntry:
    return msgspec.structs.replace(entry, entry=entry.entry[:-1])


def moved(entry: PushedEntry) -> PushedEntry:
    place = int.from_bytes(entry.entry[:4])
    return msgspec.structs.replace(entry, entry=(place ^ 1).to_bytes(4) + entry.entry[4:])


def of_another_class(entry: PushedEntry) -> PushedEntry:
    return msgspec.structs.replace(entry, entry_class=EntryClass.MESSAGE)


@pytest.mark.parametrize("change", [flipped, cut, moved, of_another_class])
def test_t070_what_a_relay_changes_is_refused_and_nothing_of_it_shown(pair: Pair, change: Change) -> None:
    """T-070, HT-C-146: refused while it goes on; complete and right as soon as the relay behaves."""
    content_ = os.urandom(LARGE)
    message = send(pair.minji, pair.conversation, stage(pair.minji, content_))
    pair.world.settle()
    assert pair.jihoon.pipe is not None
    pair.jihoon.pipe.alter(lambda entry: change(entry) if entry.entry_class is EntryClass.ATTACHMENT else entry)
    fetch(pair, pair.jihoon, message)
    assert state(pair.jihoon, pair.conversation, message) in ("missing", "refused")
    with pytest.raises(ContentError, match=r"attachment\.damaged"):
        read(pair.jihoon, message)
    pair.jihoon.pipe.behave()
    fetch(pair, pair.jihoon, message)
    assert read(pair.jihoon, message) == [content_]


def test_t070_order_and_repetition_change_nothing(pair: Pair) -> None:
    """T-070: chunks name their places; in any order, twice, the file is the same."""
    content_ = os.urandom(LARGE)
    message = send(pair.minji, pair.conversation, stage(pair.minji, content_))
    pair.world.settle()
    pipe = pair.jihoon.pipe
    assert pipe is not None
    pipe.hold()
    pair.jihoon.engine.attachments.fetch(message, pair.jihoon.now)
    pair.jihoon.tick()
    pair.world.run()
    # seqs are the relay's to give: it shows the entries backwards, each with the seq that makes it look in order
    pipe.release(
        lambda pushed: [
            (handle, msgspec.structs.replace(entry, entry=other.entry))
            for (handle, entry), (_, other) in zip(pushed, reversed(pushed), strict=True)
        ]
    )
    pair.world.settle(120)
    pair.world.settle(700)
    assert read(pair.jihoon, message) == [content_]


def test_t070_chunks_of_another_attachment_do_not_open(pair: Pair) -> None:
    """T-070: the relay swaps two attachments' chunks: neither is shown until its sender left it again."""
    contents = [os.urandom(LARGE) for _ in range(2)]
    one, other = (send(pair.minji, pair.conversation, stage(pair.minji, each)) for each in contents)
    pair.world.settle()
    store = pair.world.relay.store
    first, second = (
        channel
        for channel in store._channels.values()
        if any(entry.stored.entry_class is EntryClass.ATTACHMENT for entry in channel.entries.values())
    )
    first.entries, second.entries = second.entries, first.entries
    pair.minji.offline()
    for message in (one, other):
        fetch(pair, pair.jihoon, message)
        with pytest.raises(ContentError, match=r"attachment\.damaged"):
            read(pair.jihoon, message)
    pair.minji.online()
    pair.world.settle(120)
    assert [read(pair.jihoon, message) for message in (one, other)] == [[content_] for content_ in contents]


def test_endless_garbage_ends(pair: Pair) -> None:
    """HT-C-146: a relay that pushes on and on is not listened to for ever."""
    message = send(pair.minji, pair.conversation, stage(pair.minji, os.urandom(100)))
    pair.jihoon.offline()
    pair.world.settle()
    core = pair.minji.engine._core
    (row,) = core.db.find(Attachment, "1")
    for _ in range(200):
        pair.world.relay.plant(row.channel, os.urandom(CHUNK), entry_class=EntryClass.ATTACHMENT)
    pair.jihoon.online()
    pair.world.settle()
    assert read(pair.jihoon, message) is not None


# its sender, other members -------------------------------------------------------------------------------------------


def forged(pair: Pair, change: Callable[[references.Reference], references.Reference]) -> str:
    """A message of 민지's whose reference she has changed."""
    honest = uploads.refer
    try:
        uploads.refer = lambda staged, place: change(honest(staged, place))  # type: ignore[assignment]
        return send(pair.minji, pair.conversation, stage(pair.minji, os.urandom(1_000)))
    finally:
        uploads.refer = honest  # type: ignore[assignment]


def test_t071_nobody_but_the_conversations_relays_is_contacted(pair: Pair) -> None:
    """T-071, HT-C-152: a reference names a relay by its key only; one that nobody agreed on is refused."""
    elsewhere = references.Place(b"k" * 32, b"w" * 32)
    before = pair.jihoon.engine.wanted_relays()
    message = forged(pair, lambda said: msgspec.structs.replace(said, place=elsewhere))
    pair.world.settle()
    (shown,) = pair.jihoon.message(pair.conversation, message).attachments
    assert (shown.state, shown.failure) == ("refused", "attachment.relay")
    assert pair.jihoon.engine.wanted_relays() == before
    with pytest.raises(ContentError, match=r"attachment\.relay"):
        pair.jihoon.engine.attachments.fetch(message, pair.jihoon.now)


def test_a_sender_cannot_show_two_files_under_one_reference(pair: Pair) -> None:
    """HT-C-143: every chunk opens, and yet it is not what the message says."""
    message = forged(pair, lambda said: msgspec.structs.replace(said, digest=b"d" * 32))
    pair.world.settle()
    (shown,) = pair.jihoon.message(pair.conversation, message).attachments
    assert (shown.state, shown.failure) == ("refused", "attachment.damaged")
    assert files(pair.jihoon) == []


def test_a_size_that_is_not_true_is_refused(pair: Pair) -> None:
    """HT-C-142: a shorter or longer one has another last chunk."""
    for size in (CAPACITY + 1, 40 * CAPACITY):
        message = forged(pair, lambda said, size=size: msgspec.structs.replace(said, size=size))  # type: ignore[misc]
        pair.world.settle()
        if size > 1 << 20:
            fetch(pair, pair.jihoon, message)
        with pytest.raises(ContentError):
            read(pair.jihoon, message)


def test_one_channel_holds_one_attachment(pair: Pair) -> None:
    """HT-C-141: the same reference twice would never come to an end."""
    staged = stage(pair.minji, os.urandom(1_000))
    first = send(pair.minji, pair.conversation, staged)
    pair.world.settle()
    said = downloads.reference(pair.minji.engine._core, pair.minji.engine._core.db.find(Attachment, "1")[0])
    assert said is not None
    again = forged(pair, lambda _: said)
    pair.world.settle()
    assert state(pair.jihoon, pair.conversation, first) == "here"
    assert state(pair.jihoon, pair.conversation, again) == "refused"
    assert pair.jihoon.engine.pending(pair.jihoon.now) == 0


def test_t040_only_its_sender_says_where_it_lies_and_only_members_of_then_may_ask(pair: Pair) -> None:
    """HT-C-150, HT-C-151: answers to nobody, and of nobody, else."""
    message = send(pair.minji, pair.conversation, stage(pair.minji, os.urandom(1_000)))
    pair.world.settle()
    minji, jihoon = pair.minji.engine._core, pair.jihoon.engine._core
    conversation = ConversationId(bytes.fromhex(pair.conversation))
    row, members = jihoon.conversation(conversation), jihoon.members(conversation)
    own = next(member for member in members if member.device == jihoon.identity.device.key)
    (before,) = jihoon.db.find(Attachment, "1")
    jihoon.db.execute("UPDATE attachment SET state = 6")  # missing
    said = content.LeftAgain(bytes.fromhex(message), 0, references.Place(before.read_token, b"w" * 32))
    with jihoon.transaction():
        downloads.left_again(jihoon, row, own, said)  # not of who sent it
        sender = next(member for member in members if member is not own)
        downloads.left_again(jihoon, row, sender, said)  # of who sent it, but at a relay that nobody agreed on
    assert jihoon.db.find(Attachment, "1")[0].channel == before.channel
    asking = content.LeaveAgain(bytes.fromhex(message), 0)
    row, members = minji.conversation(conversation), minji.members(conversation)
    sender = next(member for member in members if member.device == minji.identity.device.key)
    asker = next(member for member in members if member is not sender)
    later = msgspec.structs.replace(asker, since_epoch=row.epoch + 1)
    with minji.transaction():
        uploads.asked_again(minji, row, sender, later, asking, pair.minji.now)
        uploads.asked_again(minji, row, sender, asker, content.LeaveAgain(b"x" * 16, 0), pair.minji.now)
        uploads.asked_again(minji, row, sender, asker, content.LeaveAgain(bytes.fromhex(message), 9), pair.minji.now)
    assert [found.asked for found in minji.db.find(Attachment, "1")] == [0]
    with minji.transaction():
        uploads.asked_again(minji, row, sender, asker, asking, pair.minji.now)  # the control
    assert [found.asked for found in minji.db.find(Attachment, "1")] == [1]


# a searched house ----------------------------------------------------------------------------------------------------


def on_disk(person: Person) -> bytes:
    """Everything that somebody with the key finds in the database's files and the folder of chunks."""
    key, path = person.key, person.path
    wal = path.with_name(path.name + "-wal")
    found = decrypted(path.read_bytes(), key)
    if wal.exists():
        found += decrypted_wal(wal.read_bytes(), key)
    folder = path.with_suffix(".files")
    return found + b"".join(file.read_bytes() for file in sorted(folder.glob("*")))


@pytest.mark.parametrize("way", ["expired", "recalled", "deleted"])
def test_t050_nothing_of_an_attachment_is_left(pair: Pair, way: str) -> None:
    """T-050: HT-C-156, HT-C-157: with the passphrase: no name, key, preview or chunk; before, all of it."""
    writer = pair.minji.engine.attachments.writer()
    writer.write(os.urandom(200_000))
    sealed = writer.finish()
    preview = b"\6\6" + os.urandom(72)
    staged = Staged(sealed=sealed, type="image/jpeg", name="카나리아 canary.jpg", preview=preview)
    message = send(pair.minji, pair.conversation, staged, expire=60 if way == "expired" else None)
    pair.world.settle(5)
    pair.jihoon.read(pair.conversation)
    pair.world.settle(5)
    marks = ("카나리아 canary".encode(), sealed.secret, preview)
    for person in (pair.minji, pair.jihoon):
        before = on_disk(person)
        assert all(mark in before for mark in marks)
        assert len(files(person)) == 1
    if way == "recalled":
        pair.minji.recall(message)
    elif way == "deleted":  # here; its sender keeps it as long as others may need it
        pair.jihoon.engine.delete(message, pair.jihoon.now)
    pass_seconds(pair.world, 70)
    for person in (pair.minji, pair.jihoon)[way == "deleted" :]:
        after = on_disk(person)
        assert [mark for mark in marks if mark in after] == []
        assert files(person) == []
    assert held(pair) == 0


# the disk ------------------------------------------------------------------------------------------------------------


def full(*_: object, **__: object) -> int:
    raise OSError(errno.ENOSPC, "full")


def test_a_disk_that_fills_up_ends_the_transfer_and_nothing_else(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """HT-C-158, T-083: what can be had again is given up; conversations go on; there is room again: so does it."""
    content_ = os.urandom(LARGE)
    message = send(pair.minji, pair.conversation, stage(pair.minji, content_))
    pair.world.settle()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        fetch(pair, pair.jihoon, message)
        (shown,) = pair.jihoon.message(pair.conversation, message).attachments
        assert (shown.state, shown.failure) == ("refused", "storage.full")
        assert files(pair.jihoon) == []
        pair.minji.send(pair.conversation, "그래도")
        pair.world.settle()
        assert "그래도" in pair.jihoon.texts(pair.conversation)
    fetch(pair, pair.jihoon, message)
    pair.world.settle(700)
    assert read(pair.jihoon, message) == [content_]


def test_what_has_no_room_is_not_begun(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """HT-C-158: small ones wait until somebody asks, and say why they do not come."""
    message = send(pair.minji, pair.conversation, stage(pair.minji, b"small"))
    monkeypatch.setattr(ChunkFiles, "check_room", lambda *_: full())
    pair.world.settle()
    assert state(pair.jihoon, pair.conversation, message) == "remote"
    assert pair.jihoon.engine.pending(pair.jihoon.now) == 0


def test_a_file_that_is_gone_keeps_its_message_back(pair: Pair) -> None:
    """Somebody removed it by hand: nothing goes out that could not be fetched."""
    pair.minji.offline()
    message = send(pair.minji, pair.conversation, stage(pair.minji, os.urandom(LARGE)), text="사진")
    pair.minji.database.files.remove(files(pair.minji)[0])
    pair.minji.online()
    pair.minji.send(pair.conversation, "다음")
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["다음"]
    assert state(pair.minji, pair.conversation, message) == "refused"
    pair.minji.recall(message)
    pair.world.settle()
    assert pair.minji.engine.pending(pair.minji.now) == 0
