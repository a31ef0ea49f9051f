"""What is attached to a message that can be seen once, or that its sender deleted early (HT-C-111, HT-C-119)."""

import os

import pytest
from tests.client.engine.conftest import Pair
from tests.client.engine.test_attachments import LARGE, fetch, files, held, read, stage
from tests.client.people import DAY

from hanatalk.client.engine import Fate
from hanatalk.errors import UsageError


def send_once(pair: Pair, content: bytes) -> str:
    message = pair.minji.engine.send(
        pair.conversation, "봐", fate=Fate.ONCE, attachments=[stage(pair.minji, content)], now=pair.minji.now
    )
    pair.world.settle()
    return message.message.hex()


def test_a_photo_that_can_be_seen_once_is_read_by_opening_alone(pair: Pair) -> None:
    """HT-C-119: a large one is still there to be fetched after its message was decrypted; then it is gone."""
    content = os.urandom(LARGE)
    message = send_once(pair, content)
    assert held(pair) > 0  # the control: its sender has not had it erased
    fetch(pair, pair.jihoon, message)
    for person in (pair.minji, pair.jihoon):
        (shown,) = person.message(pair.conversation, message).attachments
        assert shown.preview is None
        with pytest.raises(UsageError, match=r"view\.hidden"):
            read(person, message)
    readable = pair.jihoon.engine.attachments.readable(message, once=True)
    assert b"".join(readable[0]) == content
    assert pair.jihoon.engine.view(message, pair.jihoon.now).text == "봐"
    pair.world.settle(60)
    assert files(pair.jihoon) == files(pair.minji) == []
    assert held(pair) == 0
    assert pair.minji.message(pair.conversation, message).opened


def test_what_its_sender_deletes_here_can_still_be_fetched_there(pair: Pair) -> None:
    """HT-C-111, HT-C-119: 3 days, as long as the relay keeps it."""
    content = os.urandom(LARGE)
    message = pair.minji.engine.send(
        pair.conversation, "봐", attachments=[stage(pair.minji, content)], now=pair.minji.now
    ).message.hex()
    pair.world.settle()
    assert pair.minji.engine.delete(message, pair.minji.now).state == "hidden"
    with pytest.raises(UsageError, match=r"message\.gone"):
        read(pair.minji, message)
    pair.world.settle()
    fetch(pair, pair.jihoon, message)
    assert read(pair.jihoon, message) == [content]
    assert len(files(pair.minji)) == 1
    pair.world.now += 3 * DAY
    pair.minji.tick()
    assert files(pair.minji) == []
