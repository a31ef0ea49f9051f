"""The engine decides: no network, no clock (time is an argument), no threads."""

from hanatalk.client.engine.core import Identity, Patience
from hanatalk.client.engine.engine import PATIENCE, Engine, check_name, create, identity
from hanatalk.client.engine.files.uploads import Staged
from hanatalk.client.engine.formats.chunking import Writer
from hanatalk.client.engine.formats.content import Fate
from hanatalk.client.engine.formats.links import parse as parse_link
from hanatalk.client.engine.seen.attachments import Readable

__all__ = [
    "PATIENCE",
    "Engine",
    "Fate",
    "Identity",
    "Patience",
    "Readable",
    "Staged",
    "Writer",
    "check_name",
    "create",
    "identity",
    "parse_link",
]
