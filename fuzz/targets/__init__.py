"""All targets, by room."""

from fuzz.target import Target
from fuzz.targets import (
    attachments,
    binding,
    content,
    doorway,
    engine,
    identity,
    linking,
    links,
    listening,
    relay,
    search,
    storage,
    terminal,
    wire,
)

ROOMS = (
    *(wire, relay, listening, links, linking, content, attachments, identity, storage, doorway, terminal, engine),
    *(binding, search),
)
ALL: dict[str, Target] = {target.name: target for room in ROOMS for target in room.TARGETS}
