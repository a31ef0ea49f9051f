"""Two people who know each other."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.client.people import Person, World


@dataclass
class Pair:
    """민지 invited Jihoon; `conversation` is theirs."""

    world: World
    minji: Person
    jihoon: Person
    conversation: str


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def pair(world: World) -> Pair:
    minji, jihoon = world.person("민지"), world.person("Jihoon")
    world.run()
    conversation = world.befriend(minji, jihoon)
    for person in (minji, jihoon):
        person.events.clear()
    return Pair(world, minji, jihoon, conversation)
