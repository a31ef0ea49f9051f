"""Where every example begins: four people, two relays, two conversations, made once and copied as files.

민지 and Jihoon have a conversation at the first relay; 소연 invited Jihoon at the second: Jihoon has channels at both.
"""

import functools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.client.people import START, URL, Person, World
from tests.simulated_relay import SimulatedRelay

from hanatalk.relay.signing import SigningKey
from hanatalk.stores.memory import MemoryStore

OTHER_URL = "ws://127.0.0.1:7711"
URLS = (URL, OTHER_URL)
NAMES = ("민지", "Jihoon", "소연", "Daniel")
HOMES = (URL, URL, OTHER_URL, OTHER_URL)
MEMORY = Path("/dev/shm")  # examples are thrown away: no disk has to turn for them


@dataclass(frozen=True)
class Ground:
    """What was made once. Nothing of it changes."""

    folder: Path
    profiles: list[tuple[str, Path, bytes]]  # name, file, key
    relays: dict[str, tuple[SigningKey, MemoryStore]]
    now: int
    day: int


def new_folder() -> tempfile.TemporaryDirectory[str]:
    """Where profiles may lie for a moment."""
    return tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)


@functools.cache
def _kept() -> tempfile.TemporaryDirectory[str]:
    return new_folder()


@functools.cache
def ground() -> Ground:
    """Prepare it, once in a process."""
    folder = Path(_kept().name)
    world = World(folder)
    world.relays[OTHER_URL] = SimulatedRelay(day=START // 86_400_000)
    people = [world.person(name, relay=home) for name, home in zip(NAMES, HOMES, strict=True)]
    world.run()
    for inviter, invitee in ((0, 1), (2, 1)):
        link = people[inviter].engine.invite(expires=86_400, now=world.now).link
        world.run()
        people[invitee].accept(link)
        world.settle()
    world.settle(600)
    for person in people:
        person.offline()
        person.database.close()
    return Ground(
        folder,
        [(person.name, person.path, person.key) for person in people],
        {url: (relay.key, relay.store) for url, relay in world.relays.items()},
        world.now,
        world.relay.day,
    )


def copied(folder: Path, count: int, make: Callable[[World, str, Path, bytes], Person], made: Ground) -> World:
    """A world of the first `count` people in `folder`, everybody online."""
    world = World(folder)
    world.now = made.now
    world.relays = {}
    for url, (key, store) in made.relays.items():
        world.relays[url] = relay = SimulatedRelay(day=made.day, key=key)
        relay.go_back(store)
    for name, path, key in made.profiles[:count]:
        here = folder / path.name
        shutil.copyfile(path, here)
        world.join(make(world, name, here, key))
    return world
