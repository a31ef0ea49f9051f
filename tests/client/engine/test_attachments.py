"""Attachments between engines and a simulated relay: there and back, interrupted, gone (HT-C-140 … HT-C-159)."""

import os

import msgspec
import pytest
from tests.client.engine.conftest import Pair
from tests.client.people import DAY, Person

from hanatalk.client import calls, events
from hanatalk.client.engine import Staged
from hanatalk.client.engine.files import bundles, uploads
from hanatalk.client.engine.formats.chunking import CAPACITY
from hanatalk.errors import ContentError, UsageError
from hanatalk.ids import ConversationId
from hanatalk.wire import frames
from hanatalk.wire.classes import EntryClass

LARGE = 40 * CAPACITY  # is fetched when somebody asks


def stage(person: Person, content: bytes, *, name: str = "photo.jpg", kind: str = "image/jpeg") -> Staged:
    writer = person.engine.attachments.writer(size=len(content))
    writer.write(content)
    return Staged(sealed=writer.finish(), type=kind, name=name)


def send(person: Person, conversation: str, *staged: Staged, text: str = "", expire: int | None = None) -> str:
    message = person.engine.send(conversation, text, attachments=staged, expire=expire, now=person.now)
    person.events.extend(person.engine.take_events())
    return message.message.hex()


def read(person: Person, message: str) -> list[bytes]:
    return [b"".join(each) for each in person.engine.attachments.readable(message)]


def fetch(pair: Pair, person: Person, message: str) -> None:
    person.engine.attachments.fetch(message, person.now)
    person.tick()
    pair.world.settle()


def state(person: Person, conversation: str, message: str) -> str:
    (only,) = person.message(conversation, message).attachments
    return only.state


def files(person: Person) -> list[str]:
    return person.database.files.names()


def held(pair: Pair) -> int:
    """Attachment entries at the relay."""
    store = pair.world.relay.store
    return sum(
        entry.stored.entry_class is EntryClass.ATTACHMENT
        for channel in store._channels.values()
        for entry in channel.entries.values()
    )


@pytest.mark.parametrize("size", [0, 1, CAPACITY - 1, CAPACITY, CAPACITY + 1, 5 * CAPACITY])
def test_a_small_file_arrives_by_itself(pair: Pair, size: int) -> None:
    """HT-C-145, HT-C-147."""
    content = os.urandom(size)
    message = send(pair.minji, pair.conversation, stage(pair.minji, content), text="사진이야")
    assert state(pair.minji, pair.conversation, message) == "uploading"
    pair.world.settle()
    assert state(pair.minji, pair.conversation, message) == "here"
    (shown,) = pair.jihoon.messages(pair.conversation)
    expected = calls.Attachment(name="photo.jpg", type="image/jpeg", size=size, state="here")
    assert (shown.text, shown.attachments) == ("사진이야", [expected])
    assert read(pair.jihoon, message) == [content] == read(pair.minji, message)
    assert pair.minji.message(pair.conversation, message).state == "delivered"


def test_a_large_one_comes_when_it_is_asked_for(pair: Pair) -> None:
    """HT-C-147; the progress of both ways is told (HT-C-145, HT-C-146)."""
    content = os.urandom(LARGE)
    message = send(pair.minji, pair.conversation, stage(pair.minji, content))
    pair.world.settle()
    assert state(pair.jihoon, pair.conversation, message) == "remote"
    with pytest.raises(ContentError, match=r"attachment\.remote"):
        read(pair.jihoon, message)
    fetch(pair, pair.jihoon, message)
    assert read(pair.jihoon, message) == [content]
    for person, direction, last in ((pair.minji, "up", "here"), (pair.jihoon, "down", "here")):
        told = [event for event in person.events if isinstance(event, events.AttachmentProgress)]
        assert {event.direction for event in told} == {direction}
        done = [event.done for event in told]
        assert done == sorted(done)
        assert (told[-1].done, told[-1].size, told[-1].state) == (LARGE, LARGE, last)


def test_texts_overtake_a_file_that_is_on_its_way(pair: Pair) -> None:
    """HT-C-145: a message is sent when its chunks are stored; what was written meanwhile does not wait."""
    pair.minji.offline()
    message = send(pair.minji, pair.conversation, stage(pair.minji, os.urandom(LARGE)), text="첫째")
    pair.minji.send(pair.conversation, "둘째")
    assert [each.state for each in pair.minji.messages(pair.conversation)] == ["queued", "queued"]
    pair.minji.online()
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["둘째", "첫째"]
    assert pair.minji.message(pair.conversation, message).state == "delivered"


def test_several_in_one_message(pair: Pair) -> None:
    """HT-C-140."""
    contents = [os.urandom(size) for size in (10, LARGE, 100_000)]
    message = send(pair.minji, pair.conversation, *(stage(pair.minji, each) for each in contents))
    pair.world.settle()
    fetch(pair, pair.jihoon, message)
    assert read(pair.jihoon, message) == contents
    with pytest.raises(UsageError, match=r"attachment\.too-many"):
        send(pair.minji, pair.conversation, *(stage(pair.minji, b"x") for _ in range(17)))


def cut_after(person: Person, kind: type[frames.Frame], count: int) -> None:
    """Nothing arrives at the relay any more once so many frames of a kind have gone by."""
    pipe = person.pipe
    assert pipe is not None
    left = count

    def look(message: list[frames.ClientFrame]) -> list[frames.ClientFrame]:
        nonlocal left
        passed = []
        for frame in message:
            left -= isinstance(frame, kind)
            if left < 0:
                break
            passed.append(frame)
        return passed

    pipe.rewrite_up(look)


def cut_below(person: Person, count: int, came: list[bytes]) -> None:
    """After so many chunks nothing of them arrives any more; those that did are added to `came`."""
    pipe = person.pipe
    assert pipe is not None
    left = count

    def look(message: list[frames.RelayFrame]) -> list[frames.RelayFrame]:
        nonlocal left
        passed: list[frames.RelayFrame] = []
        for frame in message:
            if isinstance(frame, frames.Entries) and frame.entries[0].entry_class is EntryClass.ATTACHMENT:
                kept = frame.entries[:left]
                left -= len(kept)
                came.extend(entry.entry for entry in kept)
                if kept:
                    passed.append(frames.Entries(frame.handle, kept))
            elif not isinstance(frame, frames.CaughtUp) or left:
                passed.append(frame)
        return passed

    pipe.rewrite(look)


def appended(pair: Pair) -> list[bytes]:
    """Every chunk that any client ever sends, from now on."""
    seen: list[bytes] = []

    def look(_: object, frame: frames.ClientFrame) -> None:
        if isinstance(frame, frames.Append) and frame.entry_class is EntryClass.ATTACHMENT:
            seen.append(frame.entry)

    pair.world.relay.observers.append(look)
    return seen


def test_an_upload_goes_on_where_it_was(pair: Pair) -> None:
    """HT-C-145: cut in the middle, the process killed; the same bytes, none of what was stored again."""
    seen = appended(pair)
    content = os.urandom(LARGE)
    message = send(pair.minji, pair.conversation, stage(pair.minji, content))
    for _ in range(3):
        cut_after(pair.minji, frames.Append, 20)
        pair.world.run()
        pair.minji.restart(online=False)
        assert pair.jihoon.messages(pair.conversation) == []
        assert state(pair.minji, pair.conversation, message) == "uploading"
        pair.minji.online()
    pair.world.settle()
    fetch(pair, pair.jihoon, message)
    assert read(pair.jihoon, message) == [content]
    assert len(set(seen)) == 64  # 40 chunks of content, padded (HT-C-144)
    assert [seen.count(chunk) for chunk in seen[:20]] == [1] * 20  # what was stored is not sent again


def test_a_download_goes_on_where_it_was(pair: Pair) -> None:
    """HT-C-146: cut in the middle, the process killed; what is here is not fetched again."""
    content = os.urandom(LARGE)
    message = send(pair.minji, pair.conversation, stage(pair.minji, content))
    pair.world.settle()
    pair.jihoon.engine.attachments.fetch(message, pair.jihoon.now)
    came: list[bytes] = []
    for _ in range(3):
        cut_below(pair.jihoon, 20, came)
        pair.jihoon.tick()
        pair.world.run()
        pair.jihoon.restart()
        assert state(pair.jihoon, pair.conversation, message) == "fetching"
    assert len(came) == 60
    cut_below(pair.jihoon, 64, came)
    pair.world.settle()
    assert read(pair.jihoon, message) == [content]
    assert len(came) == len(set(came)) == 64


def test_the_relay_forgets_what_everybody_has(pair: Pair) -> None:
    """HT-C-148: `burn_after` counts the other devices."""
    message = send(pair.minji, pair.conversation, stage(pair.minji, os.urandom(LARGE)))
    pair.world.settle()
    assert held(pair) == 64
    fetch(pair, pair.jihoon, message)
    assert held(pair) == 0


def test_recalled_and_expired_ones_leave_relay_and_disks(pair: Pair) -> None:
    """HT-C-148, HT-C-157."""
    recalled = send(pair.minji, pair.conversation, stage(pair.minji, os.urandom(LARGE)))
    expiring = send(pair.minji, pair.conversation, stage(pair.minji, os.urandom(LARGE)), expire=3_600)
    small = send(pair.minji, pair.conversation, stage(pair.minji, os.urandom(1_000)))
    pair.world.settle()
    pair.jihoon.read(pair.conversation)
    assert held(pair) == 128
    assert (len(files(pair.minji)), len(files(pair.jihoon))) == (3, 1)
    pair.minji.recall(recalled)
    pair.minji.recall(small)
    pair.world.settle(10)
    assert held(pair) == 64
    assert (len(files(pair.minji)), len(files(pair.jihoon))) == (1, 0)
    pair.world.settle(4_000)
    assert held(pair) == 0
    assert (files(pair.minji), files(pair.jihoon)) == ([], [])
    for message in (recalled, expiring):
        with pytest.raises(UsageError, match=r"attachment\.none"):
            pair.jihoon.engine.attachments.fetch(message, pair.jihoon.now)
    assert pair.minji.engine.pending(pair.minji.now) == 0


def test_an_upload_that_is_taken_back_leaves_nothing(pair: Pair) -> None:
    """HT-C-148: cancelled in the middle."""
    message = send(pair.minji, pair.conversation, stage(pair.minji, os.urandom(LARGE)), text="아니야")
    cut_after(pair.minji, frames.Append, 10)
    pair.world.run()
    assert held(pair) == 10
    pair.minji.offline()
    pair.minji.recall(message)
    pair.minji.online()
    pair.world.settle()
    assert held(pair) == 0
    assert files(pair.minji) == []
    assert "아니야" not in pair.jihoon.texts(pair.conversation)
    assert pair.minji.engine.pending(pair.minji.now) == 0


def test_a_download_that_is_cancelled_leaves_nothing(pair: Pair) -> None:
    content = os.urandom(LARGE)
    message = send(pair.minji, pair.conversation, stage(pair.minji, content))
    pair.world.settle()
    pair.jihoon.engine.attachments.fetch(message, pair.jihoon.now)
    cut_below(pair.jihoon, 10, [])
    pair.jihoon.tick()
    pair.world.run()
    assert len(files(pair.jihoon)) == 1
    pair.jihoon.engine.attachments.cancel(message)
    assert pair.jihoon.pipe is not None
    pair.jihoon.pipe.behave()
    pair.jihoon.tick()
    pair.world.settle()
    assert files(pair.jihoon) == []
    assert state(pair.jihoon, pair.conversation, message) == "remote"
    with pytest.raises(UsageError, match=r"attachment\.own"):
        pair.minji.engine.attachments.cancel(message)
    fetch(pair, pair.jihoon, message)  # what had been acknowledged is gone at the relay: the sender leaves it again
    pair.world.settle(120)
    assert read(pair.jihoon, message) == [content]


def test_files_that_nobody_knows_go_at_the_next_start(pair: Pair) -> None:
    """HT-C-157: killed between sealing and sending, or between committing and removing."""
    message = send(pair.minji, pair.conversation, stage(pair.minji, b"kept"))
    stage(pair.minji, os.urandom(LARGE))
    pair.world.settle()
    assert len(files(pair.minji)) == 2
    pair.minji.restart()
    pair.minji.tick()
    assert len(files(pair.minji)) == 1
    assert read(pair.minji, message) == [b"kept"]


def test_who_was_away_gets_it_again(pair: Pair) -> None:
    """HT-C-150, HT-C-151: after the relay's three days the sender leaves it again, once somebody asks (T-086)."""
    contents = [os.urandom(100_000), os.urandom(LARGE)]
    pair.jihoon.offline()
    messages = [send(pair.minji, pair.conversation, stage(pair.minji, each)) for each in contents]
    pair.world.settle()
    pair.world.pass_days(10)
    assert held(pair) == 0
    pair.minji.online()
    pair.jihoon.online()
    pair.world.settle(120)
    fetch(pair, pair.jihoon, messages[1])
    pair.world.settle(120)
    assert [read(pair.jihoon, message) for message in messages] == [[content] for content in contents]
    assert held(pair) == 0


def test_after_thirty_days_it_is_said_to_be_missing(pair: Pair) -> None:
    """HT-C-150."""
    message = send(pair.minji, pair.conversation, stage(pair.minji, os.urandom(LARGE)))
    pair.world.settle()
    pair.world.now += 31 * DAY
    pair.world.relay.pass_days(31)
    seen = appended(pair)
    for person in (pair.minji, pair.jihoon):
        person.restart()
    pair.world.settle()
    fetch(pair, pair.jihoon, message)
    pair.world.settle(120)
    (only,) = pair.jihoon.message(pair.conversation, message).attachments
    assert (only.state, only.failure) == ("refused", "attachment.missing")
    assert seen == []


def test_how_often_it_is_left_again_is_bounded(pair: Pair) -> None:
    """HT-C-150: whoever asks on and on makes the sender work 8 times in all, once in ten minutes."""
    message = send(pair.minji, pair.conversation, stage(pair.minji, os.urandom(10)))
    pair.world.settle()
    seen = appended(pair)
    for _ in range(11):
        pair.jihoon.engine.attachments.cancel(message)
        pair.jihoon.engine.attachments.fetch(message, pair.jihoon.now)
        pair.jihoon.tick()
        pair.world.settle(10)
        pair.jihoon.engine.attachments.cancel(message)
        fetch(pair, pair.jihoon, message)
        pair.world.now += 600_000
    assert 1 <= len(seen) <= 8


def test_a_bundle_goes_from_device_to_device(pair: Pair) -> None:
    """HT-C-159: outside of any message, over restarts, and gone when it is used."""
    minji, jihoon = pair.minji.engine._core, pair.jihoon.engine._core
    relay = uploads.relay_of(minji, minji.conversation(ConversationId(bytes.fromhex(pair.conversation))))
    content = os.urandom(LARGE)
    writer = bundles.writer(minji)
    for start in range(0, LARGE, 100_000):
        writer.write(content[start : start + 100_000])
    with minji.transaction():
        reference = bundles.publish(minji, writer.finish(), bundle=b"b" * 16, relay=relay, readers=1)
    elsewhere = msgspec.structs.replace(relay, key=b"k" * 32)
    with jihoon.transaction(), pytest.raises(ContentError, match=r"attachment\.relay"):
        bundles.fetch(jihoon, reference, bundle=b"b" * 16, relay=elsewhere)
    with jihoon.transaction():
        bundles.fetch(jihoon, reference, bundle=b"b" * 16, relay=relay)
    pair.minji.restart()
    pair.jihoon.restart()
    pair.minji.tick()
    pair.jihoon.tick()
    pair.world.settle()
    minji, jihoon = pair.minji.engine._core, pair.jihoon.engine._core
    assert bundles.progress(minji, b"b" * 16) == bundles.Progress("here", LARGE, LARGE)
    assert bundles.progress(jihoon, b"b" * 16) == bundles.Progress("here", LARGE, LARGE)
    assert b"".join(bundles.read(jihoon, b"b" * 16)) == content
    for core in (minji, jihoon):
        with core.transaction():
            bundles.forget(core, b"b" * 16)
        assert bundles.progress(core, b"b" * 16) is None
    assert (files(pair.minji), files(pair.jihoon), held(pair)) == ([], [], 0)
