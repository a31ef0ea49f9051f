"""Where every example with groups begins: people who all know each other, some with two devices, and one group."""

import functools
from pathlib import Path

from tests.client import gatherings
from tests.client.machine.ground import OTHER_URL, Ground, new_folder
from tests.client.people import START, World
from tests.simulated_relay import SimulatedRelay

SHAPES = ((2, 0), (3, 0), (3, 1), (4, 2), (5, 3))  # people, how many of them have a second device
_kept = []  # folders, for as long as the process lives


@functools.cache
def ground(shape: int) -> Ground:
    """Prepare one, once in a process. The first person founded the group; the second is an admin too."""
    count, doubled = SHAPES[shape]
    kept = new_folder()
    _kept.append(kept)
    world = World(Path(kept.name))
    world.relays[OTHER_URL] = SimulatedRelay(day=START // 86_400_000)
    people = [world.person(gatherings.NAMES[number], fallbacks=(OTHER_URL,)) for number in range(count)]
    world.settle(5)
    for one in range(count):
        for other in range(one):
            world.befriend(people[one], people[other])
    group = gatherings.founded(world, people)
    if count > 2:
        gatherings.promote(people[0], group, people[1])
    world.settle(60)
    devices = [person.new_device() for person in people[:doubled]]
    world.settle(600)
    assert gatherings.together([*people, *devices], group)
    for person in world.people:
        person.offline()
        person.database.close()
    return Ground(
        Path(kept.name),
        [(person.name, person.path, person.key) for person in world.people],
        {url: (relay.key, relay.store) for url, relay in world.relays.items()},
        world.now,
        world.relay.day,
    )
