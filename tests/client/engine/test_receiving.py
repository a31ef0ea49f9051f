"""One transaction receives (HT-C-011): what it did is durable; what it did not do is as if it had not been tried."""

import pytest
from tests.client.engine.conftest import Pair
from tests.client.engine.test_failing_disk import disk_says_no
from tests.simulated_relay import Pipe

from hanatalk import mls
from hanatalk.client.engine.formats import sealing
from hanatalk.errors import StorageError
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import Channel
from hanatalk.wire import frames
from hanatalk.wire.classes import EntryClass


def _refused_by_the_disk(pair: Pair) -> None:
    """The disk says no when Jihoon's engine commits what it received."""
    pair.jihoon.offline()
    pair.minji.send(pair.conversation, "안녕")
    pair.world.run()
    pair.jihoon.online()
    with (
        disk_says_no(pair.jihoon.database, after="INSERT INTO message", only="COMMIT"),
        pytest.raises(StorageError, match=r"storage\.full"),
    ):
        for _ in range(50):
            pair.jihoon.step()


def test_what_the_disk_refused_is_not_acknowledged(pair: Pair) -> None:
    """T-083, HT-C-011: also by an engine whose caller goes on; the relay would burn it."""
    acknowledged: list[tuple[bytes, int]] = []

    def observe(pipe: Pipe, frame: frames.ClientFrame) -> None:
        if pipe is pair.jihoon.pipe and isinstance(frame, frames.Ack):
            opened = pipe.relay.core._at(pipe._peer, frame.handle)
            assert opened is not None
            acknowledged.append((opened.channel.channel_id, frame.seq))

    _refused_by_the_disk(pair)
    pair.world.relay.observers.append(observe)
    pair.jihoon.engine.tick(pair.jihoon.now)
    pair.jihoon.step()
    pair.world.relay.observers.clear()
    cursors = {row.channel: row.cursor for row in pair.jihoon.database.find(Channel, "1")}
    assert all(seq <= cursors[channel] for channel, seq in acknowledged)  # type: ignore[index]
    pair.jihoon.offline()
    pair.jihoon.online()
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["안녕"]


def test_a_handle_that_was_ahead_of_the_disk_is_thrown_away(pair: Pair) -> None:
    """T-083: the ratchet in memory had moved; the same engine decrypts the same entry when it comes again."""
    _refused_by_the_disk(pair)
    pair.jihoon.offline()
    pair.jihoon.online()
    pair.world.run()
    assert pair.jihoon.texts(pair.conversation) == ["안녕"]
    assert pair.jihoon.alarms() == []


def test_t037_what_was_decrypted_cannot_be_decrypted_again_from_the_disk(pair: Pair) -> None:
    """T-037: the key is used up in the transaction that stores the message."""
    bodies: list[bytes] = []
    conversation = ConversationId(bytes.fromhex(pair.conversation))
    era = pair.jihoon.engine._core.channel(pair.jihoon.engine._core.conversation(conversation).channel)
    assert era is not None

    def observe(_: object, frame: frames.ClientFrame) -> None:
        if isinstance(frame, frames.Append) and frame.entry_class is EntryClass.MESSAGE:
            entry = sealing.unseal(
                era.seal_key, era.channel, entry_class=EntryClass.MESSAGE, commit=frame.commit, entry=frame.entry
            )
            bodies.append(entry[1])

    pair.world.relay.observers.append(observe)
    before = pair.jihoon.database.mls_rows(conversation)
    pair.minji.send(pair.conversation, "안녕")
    pair.minji.step()
    pair.jihoon.step()
    assert pair.jihoon.texts(pair.conversation) == ["안녕"]
    assert isinstance(mls.Group.load(conversation, before).process(bodies[0]), mls.Application), "the control"
    with pytest.raises(mls.Replay):
        mls.Group.load(conversation, pair.jihoon.database.mls_rows(conversation)).process(bodies[0])
