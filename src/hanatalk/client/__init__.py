"""The client: everything that commands, windows and bots use. Nothing below this room is for them."""

from hanatalk.client import calls, events
from hanatalk.client.runtime.profiles import (
    Profile,
    ProfileMade,
    create_profile,
    needs_passphrase,
    open_profile,
    wipe_profile,
)

__all__ = [
    "Profile",
    "ProfileMade",
    "calls",
    "create_profile",
    "events",
    "needs_passphrase",
    "open_profile",
    "wipe_profile",
]
