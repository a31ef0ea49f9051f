"""The engine decides: no network, no clock (time is an argument), no threads."""

from hanatalk.client.engine.content import Fate
from hanatalk.client.engine.core import Identity, Patience
from hanatalk.client.engine.engine import PATIENCE, Engine, check_name, create, identity
from hanatalk.client.engine.links import parse as parse_link

__all__ = ["PATIENCE", "Engine", "Fate", "Identity", "Patience", "check_name", "create", "identity", "parse_link"]
