"""One call on the profile, whichever process owns it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from hanatalk.cli import passphrase
from hanatalk.cli.settings import Settings
from hanatalk.client import Profile, open_profile
from hanatalk.client.calls import Call

T = TypeVar("T")


def with_profile(settings: Settings, work: Callable[[Profile], Awaitable[T]]) -> T:
    """Open the profile (or reach the process that has it open), run `work` on it, close it.

    :raises HanaError: whatever opening or the work raises
    """
    ask_passphrase = passphrase.source(settings)

    async def run() -> T:
        async with open_profile(settings.home, passphrase=ask_passphrase) as profile:
            return await work(profile)

    return asyncio.run(run())


def ask(settings: Settings, call: Call, answer: type[T]) -> T:
    """One call. :param answer: the result type that belongs to it"""
    return with_profile(settings, lambda profile: answered(profile, call, answer))


async def answered(profile: Profile, call: Call, answer: type[T]) -> T:
    """`Profile.call` for a caller who knows which result belongs to the call."""
    result = await profile.call(call)
    assert isinstance(result, answer)
    return result
