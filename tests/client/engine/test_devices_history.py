"""History for a new device that is long, was cut off, or has lost something (HT-C-172 … HT-C-175)."""

import pytest
from tests.client.engine.conftest import Pair
from tests.client.people import Person, World

from hanatalk.client import events
from hanatalk.client.engine.conversations import history

MANY = 12  # conversations


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A history of hundreds of messages takes as many steps as one of hundreds of thousands."""
    monkeypatch.setattr(history, "LOOK", 24)
    monkeypatch.setattr(history, "STEP", 16)


def _talkative(world: World, *, messages: int) -> tuple[Person, list[str]]:
    minji, friend = world.person("민지"), world.person("Jihoon")
    world.run()
    found = [world.befriend(minji, friend) for _ in range(MANY)]
    for number in range(messages):
        (minji, friend)[number % 2].send(found[number % MANY], f"{number}")
        if number % 20 == 0:
            world.settle(2)
    world.settle()
    return minji, found


def test_what_was_deleted_here_does_not_cost_the_history(pair: Pair) -> None:
    """HT-C-172, HT-C-110: a message that was deleted stands in the history as one that is gone, and the rest comes."""
    gone = pair.jihoon.send(pair.conversation, "지울 것")
    pair.jihoon.send(pair.conversation, "stays")
    pair.world.settle()
    pair.minji.engine.delete(gone, pair.minji.now)
    laptop = pair.minji.new_device()
    assert laptop.alarms() == []
    assert laptop.texts(pair.conversation) == ["stays"]
    pair.jihoon.engine.react(gone, "👍", pair.jihoon.now)
    pair.world.settle()
    assert laptop.texts(pair.conversation) == ["stays"]


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("dies", ["old", "new", "both"])
def test_a_long_history_goes_on_where_it_was_killed(world: World, dies: str) -> None:
    """HT-C-173: killed in the middle of giving and of taking, either or both, it goes on; every message is there once,
    in order, and is counted no second time."""
    minji, found = _talkative(world, messages=300)
    new = minji.new_device(settle=False)
    kills = lived = 0
    for _ in range(3_000):
        world.settle(0.001)
        if new.engine.devices.linking().state == "linked" and not new.engine.devices.linking().awaited:
            break
        old_works = dies != "new" and history.is_busy(minji.engine._core)
        new_works = dies != "old" and history.taking(new.engine._core) is not None
        lived += old_works or new_works
        if lived > kills % 20 and (old_works or new_works):  # every time a little later
            kills, lived = kills + 1, 0
            for person in (minji,) * old_works + (new,) * new_works:
                person.restart(online=False)
                person.tick()  # as a process that starts does before it connects
                person.online()
    world.settle(300)
    assert kills >= 5
    assert [device.state for device in minji.engine.devices.listed().devices] == ["current"] * 2
    for conversation in found:
        assert new.texts(conversation) == minji.texts(conversation)
    assert sum(len(new.texts(conversation)) for conversation in found) == 300
    assert new.alarms() == minji.alarms() == []


@pytest.mark.usefixtures("small_steps")
def test_how_far_it_is_can_be_seen(world: World) -> None:
    """HT-C-173: percent that only grow, the same in events."""
    minji, _ = _talkative(world, messages=200)
    new = minji.new_device(settle=False)
    percents = []
    for _ in range(500):
        world.settle(0.001)
        state = new.engine.devices.linking()
        if state.history is not None:
            percents.append(state.history)
    world.settle()
    assert percents == sorted(percents)
    assert len(set(percents)) > 5
    assert {each for each in percents if each >= 50}
    assert (new.engine.devices.linking().history, new.engine.devices.linking().awaited) == (None, 0)
    moved = [event for event in new.events if isinstance(event, events.HistoryMoved)]
    assert {event.stage for event in moved} == {"taking"} | {event.stage for event in moved}
    assert all(0 <= event.done <= event.size for event in moved)
