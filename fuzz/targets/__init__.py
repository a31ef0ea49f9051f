"""All targets, by room."""

from fuzz.target import Target
from fuzz.targets import (
    binding,
    content,
    doorway,
    engine,
    identity,
    links,
    listening,
    relay,
    search,
    storage,
    terminal,
    wire,
)

ALL: dict[str, Target] = {
    target.name: target
    for room in (wire, relay, listening, links, content, identity, storage, doorway, terminal, engine, binding, search)
    for target in room.TARGETS
}
