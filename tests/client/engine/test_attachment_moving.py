"""Attachments of a conversation whose first relay is gone (HT-C-149)."""

import os

from tests.client.engine.test_attachments import LARGE, read, send, stage, state
from tests.client.engine.test_moving import OTHER, Two, two

from hanatalk.localdb.rows import Attachment

__all__ = ["two"]


def test_what_was_on_its_way_goes_to_the_next_relay(two: Two) -> None:
    """HT-C-149: begun at the relay that dies, or not begun at all."""
    begun, later = os.urandom(LARGE), os.urandom(1_000)
    first = send(two.minji, two.conversation, stage(two.minji, begun), text="처음")
    two.minji.step()
    two.lose_first()
    second = send(two.minji, two.conversation, stage(two.minji, later), text="다음")
    two.world.settle()
    assert two.jihoon.messages(two.conversation) == []
    two.try_in_vain(two.minji)
    two.world.settle(60)
    assert two.relay_of(two.minji) == OTHER
    two.jihoon.engine.attachments.fetch(first, two.jihoon.now)
    two.jihoon.tick()
    two.world.settle(60)
    assert {message.text for message in two.jihoon.messages(two.conversation)} == {"처음", "다음"}
    assert (read(two.jihoon, first), read(two.jihoon, second)) == ([begun], [later])


def test_what_lies_at_a_dead_relay_is_left_again(two: Two) -> None:
    """HT-C-149, HT-C-150: its sender is asked as soon as the conversation goes on elsewhere."""
    content = os.urandom(LARGE)
    message = send(two.minji, two.conversation, stage(two.minji, content))
    two.world.settle()
    assert state(two.jihoon, two.conversation, message) == "remote"
    two.lose_first()
    two.minji.send(two.conversation, "still there?")
    two.try_in_vain(two.minji)
    two.world.settle(60)
    two.jihoon.engine.attachments.fetch(message, two.jihoon.now)
    two.jihoon.tick()
    two.try_in_vain(two.jihoon, hours=0.1)
    two.world.settle(60)
    assert read(two.jihoon, message) == [content]
    assert [row.relay for row in two.jihoon.engine._core.db.find(Attachment, "1")] == [OTHER]
