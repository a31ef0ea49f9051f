"""What a message can do, when a person has several devices (HT-C-105, HT-C-107, HT-C-113)."""

import pytest
from tests.client.engine.conftest import Pair
from tests.client.engine.test_actions import _raw, bodies_of, reactions

from hanatalk.client.engine import Fate
from hanatalk.errors import UsageError
from hanatalk.localdb.rows import Message


def test_an_account_has_one_reaction_and_edits_from_any_of_its_devices(pair: Pair) -> None:
    """HT-C-105, HT-C-107: changed at once on both devices, everybody ends up with the same."""
    laptop = pair.minji.new_device()
    message = pair.minji.send(pair.conversation, "phone")
    pair.world.settle()
    laptop.engine.edit(message, "laptop", laptop.now)
    pair.world.settle()
    pair.minji.engine.react(message, "👍", pair.minji.now)
    laptop.engine.react(message, "❤️", laptop.now)
    pair.minji.engine.edit(message, "phone again", pair.minji.now)
    laptop.engine.edit(message, "laptop again", laptop.now)
    pair.world.settle(60)
    people = (pair.minji, laptop, pair.jihoon)
    assert len({person.message(pair.conversation, message).text for person in people}) == 1
    assert len({tuple(str(v.text) for v in person.engine.versions(message).versions) for person in people}) == 1
    assert len({tuple(each[:2] for each in reactions(person, pair.conversation, message)) for person in people}) == 1
    assert len(reactions(pair.jihoon, pair.conversation, message)) == 1


def test_what_one_device_has_shown_its_siblings_forget(pair: Pair) -> None:
    """HT-C-113: once per person, as soon as the other device hears of it."""
    laptop = pair.minji.new_device()
    message = pair.jihoon.engine.send(pair.conversation, "한 번", fate=Fate.ONCE, now=pair.jihoon.now).message.hex()
    pair.world.settle()
    row = laptop.database.first(Message, "message = ?", _raw(message))
    assert row is not None
    assert bodies_of(laptop, row) is not None  # the control
    assert pair.minji.engine.view(message, pair.minji.now).text == "한 번"
    pair.world.settle(30)
    assert bodies_of(laptop, row) is None
    with pytest.raises(UsageError, match=r"view\.opened"):
        laptop.engine.view(message, laptop.now)
    assert pair.jihoon.message(pair.conversation, message).opened_by == ["민지"]


def test_what_a_sibling_sent_to_be_seen_once_is_kept_by_no_other_own_device(pair: Pair) -> None:
    """HT-C-112."""
    laptop = pair.minji.new_device()
    message = pair.minji.engine.send(pair.conversation, "한 번", fate=Fate.ONCE, now=pair.minji.now).message.hex()
    pair.world.settle(30)
    row = laptop.database.first(Message, "message = ?", _raw(message))
    assert row is not None
    assert bodies_of(laptop, row) is None
    with pytest.raises(UsageError, match=r"view\.own"):
        laptop.engine.view(message, laptop.now)
    assert pair.jihoon.engine.view(message, pair.jihoon.now).text == "한 번"
    pair.world.settle(30)
    assert laptop.message(pair.conversation, message).opened_by == ["Jihoon"]
