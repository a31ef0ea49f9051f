"""What the crash grid found, each by its name (T-083; HT-S-080, HT-S-081)."""

from collections.abc import Iterator
from contextlib import contextmanager

import apsw
import pytest
from tests.client.engine.conftest import Pair

from hanatalk.client import events
from hanatalk.client.engine.conversations import commits, holes
from hanatalk.client.engine.core import Link
from hanatalk.errors import StorageError
from hanatalk.ids import ConversationId
from hanatalk.localdb.database import Database
from hanatalk.localdb.rows import Channel, Closed, IntentKind, Purpose


@contextmanager
def disk_says_no(database: Database, *, after: str = "", only: str = "") -> Iterator[None]:
    """Every statement (that begins with `only`) fails, or every one that follows the first that begins with `after`."""
    failing = not after

    def trace(_cursor: object, text: str, _values: object) -> bool:
        nonlocal failing
        if failing and text != "ROLLBACK" and text.startswith(only):
            raise apsw.FullError("so it shall be")
        failing = failing or text.startswith(after)
        return True

    database._connection.exec_trace = trace
    try:
        yield
    finally:
        database._connection.exec_trace = None


def test_a_message_that_is_durable_is_not_denied(pair: Pair) -> None:
    """HT-S-081: the disk fails right after the commit; the person is told "sent", once, and it goes out later."""
    with disk_says_no(pair.minji.database, after="COMMIT"):
        pair.minji.send(pair.conversation, "안녕")
    assert pair.minji.engine.next_tick() <= pair.world.now, "what was left off is done at once"
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["안녕"]


def test_a_message_that_is_not_durable_was_never_sent(pair: Pair) -> None:
    """T-080 for a person: refused, and nothing of it is there; the next one goes, with the same ratchet."""
    with disk_says_no(pair.minji.database), pytest.raises(StorageError, match=r"storage\.full"):
        pair.minji.send(pair.conversation, "lost")
    assert pair.minji.texts(pair.conversation) == []
    pair.minji.send(pair.conversation, "sent")
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["sent"]
    assert pair.jihoon.alarms() == []


def test_channels_that_could_not_be_looked_up_are_looked_up_again(pair: Pair) -> None:
    """The disk fails where the channel table is read after a reconnect: the conversation must not stay deaf."""
    pair.jihoon.offline()
    pair.minji.send(pair.conversation, "안녕")
    pair.world.run()
    pair.jihoon.online()
    link: Link = pair.jihoon.engine._core.links["ws://127.0.0.1:7710"]
    link.ready = True
    with disk_says_no(pair.jihoon.database, only="SELECT channel, purpose"), pytest.raises(StorageError):
        pair.jihoon.engine.tick(pair.world.now)
    link.ready = False  # as it was before HELLO is answered
    assert link.rescan
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["안녕"]


def test_a_commit_that_the_disk_refuses_is_an_error_and_no_alarm(pair: Pair) -> None:
    """The profile closes with the disk's error. It used to be said as an alarm, two hundred times a second."""
    core = pair.minji.engine._core
    with core.transaction():
        commits.want(core, ConversationId(bytes.fromhex(pair.conversation)), IntentKind.UPDATE, pair.world.now)
    pair.minji.engine.tick(pair.world.now)  # asks for the relay's receipt first
    with (
        disk_says_no(pair.minji.database, after="COMMIT", only="BEGIN"),
        pytest.raises(StorageError, match=r"storage\.full"),
    ):
        pair.minji.step()
    assert not [event for event in pair.minji.engine.take_events() if isinstance(event, events.Alarm)]
    pair.minji.restart()
    pair.world.settle()
    assert pair.minji.alarms() == []
    assert not pair.minji.database.number("SELECT count(*) FROM intent")


def test_what_is_due_while_offline_does_not_spin(pair: Pair) -> None:
    """A receipt is due and the relay is not there: look again in a second, not two hundred times in it."""
    pair.minji.send(pair.conversation, "안녕")
    pair.world.run()
    pair.jihoon.offline()
    pair.world.now += 60_000
    pair.jihoon.engine.tick(pair.world.now)
    assert pair.jihoon.engine.next_tick() >= pair.world.now + 1_000
    pair.jihoon.online()
    pair.world.settle()
    assert pair.minji.messages(pair.conversation)[0].state == "delivered"


def test_an_era_that_is_over_is_no_hole(pair: Pair) -> None:
    """A device that was added again while the old era's last commit still lay unread: no false alarm (HT-C-060)."""
    core = pair.jihoon.engine._core
    (era,) = core.db.find(Channel, "purpose = ?", Purpose.ERA)
    link = core.links["ws://127.0.0.1:7710"]
    link.turns[era.channel] = era.turn + 1  # what OPENED says of it
    with core.transaction():
        core.db.execute("UPDATE channel SET closed = ? WHERE channel = ?", Closed.CLOSED, era.channel)
        holes.look(core, link, era.channel, pair.world.now)
    assert not [event for event in pair.jihoon.engine.take_events() if isinstance(event, events.Alarm)]
