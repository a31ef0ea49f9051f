"""One person of a rehearsal: a profile driven through the client's public API, and what happened to it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from hanatalk.client import Profile, ProfileMade, calls, create_profile, events, open_profile

T = TypeVar("T")
PATIENCE = 15.0  # seconds that `until` waits


class Person:
    """A profile without a passphrase in `home`. Away until `arrive`, and again after `leave`."""

    def __init__(self, home: Path, *, name: str) -> None:
        self.home = home
        self.name = name
        self.happened: list[events.Event] = []
        self._profile: Profile | None = None
        self._stack = contextlib.AsyncExitStack()
        self._watching: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    def sign_up(self, relay: str) -> ProfileMade:
        """Everything that signing up takes: a name and a relay. No network."""
        return create_profile(self.home, name=self.name, relay=relay, passphrase=None)

    async def arrive(self) -> None:
        """Open the profile; it connects by itself and notes every event."""
        self._profile = await self._stack.enter_async_context(open_profile(self.home, passphrase=None))
        self._watching = asyncio.create_task(self._watch(self._profile))

    async def leave(self) -> None:
        """Close the profile: the device is off."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None
        self._profile = None
        await self._stack.aclose()

    async def ask(self, call: calls.Call, answer: type[T]) -> T:
        """One call. :raises HanaError: as the call says"""
        assert self._profile is not None, f"{self.name} is away"
        result = await self._profile.call(call)
        assert isinstance(result, answer)
        return result

    async def send(self, conversation: str, text: str, *, wait: float = 5.0) -> calls.Sent:
        return await self.ask(calls.Send(conversation=conversation, text=text, wait=wait), calls.Sent)

    async def messages(self, conversation: str) -> list[calls.Message]:
        return (await self.ask(calls.Messages(conversation=conversation, limit=1_000), calls.MessageList)).messages

    async def texts(self, conversation: str) -> list[str]:
        return [message.text for message in await self.messages(conversation)]

    async def message(self, conversation: str, message: str) -> calls.Message | None:
        """One message by its id."""
        return next((one for one in await self.messages(conversation) if one.message == message), None)

    async def sync(self, *, wait: float = 15.0) -> calls.Synced:
        return await self.ask(calls.Sync(wait=wait), calls.Synced)

    async def until(self, holds: Callable[[], Awaitable[bool]], *, patience: float | None = None) -> bool:
        """Look again after every event until `holds`; False if it does not in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE if patience is None else patience):
                while not await holds():
                    self._news.clear()
                    with contextlib.suppress(TimeoutError):  # not everything that changes is an event
                        await asyncio.wait_for(self._news.wait(), 0.25)
                return True
        return await holds()

    def saw(self, kind: type[events.Event]) -> int:
        """How many events of a kind happened so far."""
        return sum(isinstance(event, kind) for event in self.happened)

    async def _watch(self, profile: Profile) -> None:
        async for event in profile.events():
            self.happened.append(event)
            self._news.set()
