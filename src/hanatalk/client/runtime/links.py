"""One relay: connect, stay connected, come back after a pause that doubles."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine

from hanatalk.errors import HanaError, NetworkError, WireError
from hanatalk.transport.link import Link, connect
from hanatalk.wire import events as wire
from hanatalk.wire.client import ClientConnection

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0  # seconds
HELLO_WAIT = 10.0  # seconds for the relay to answer HELLO
GONE_WAIT = 1.0  # seconds that a connection which is called off may take to come about
WORK_WAIT = 20.0  # seconds more if it wants work first (HT-R-124)


class RelayLink:
    """Keeps one connection to `url` and tells its owner what happens to it."""

    def __init__(
        self,
        url: str,
        on_connected: Callable[["RelayLink"], None],
        on_events: Callable[["RelayLink", list[wire.Event]], None],
        on_disconnected: Callable[["RelayLink"], None],
        *,
        access_pass: Callable[[str], bytes | None],
    ) -> None:
        self.url = url
        self.connection = ClientConnection()
        self.error: HanaError | None = None  # why it is not connected
        self.failures = 0  # in a row
        self._on_connected = on_connected
        self._on_events = on_events
        self._on_disconnected = on_disconnected
        self._access_pass = access_pass  # the pass kept for a URL, asked for at every try
        self._again = asyncio.Event()
        self._link: Link | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Close for good."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def try_again(self) -> None:
        """Something changed: if it is not connected, connect now."""
        self.error, self.failures = None, 0
        self._again.set()

    def flush(self) -> None:
        """Write out what the connection has queued."""
        if self._link is not None:
            self._link.flush()

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            self._again.clear()
            try:
                await self._once()
                pause = FIRST_PAUSE
            except WireError as error:
                self._failed(NetworkError("network.broken", why=error.code))
            except HanaError as error:
                # not reached, refused (RefusedError), or not who it should be (VerificationError)
                self._failed(error)
            self._on_disconnected(self)
            with contextlib.suppress(TimeoutError):
                spread = pause * random.uniform(0.75, 1.25)  # noqa: S311 (spreads reconnects, keeps no secret)
                async with asyncio.timeout(spread):  # not `wait_for`: before Python 3.12 it can swallow our own end
                    await self._again.wait()
                pause = FIRST_PAUSE / 2
            pause = min(2 * pause, LONGEST_PAUSE)

    def _failed(self, error: HanaError) -> None:
        if not self._again.is_set():  # else that try was begun before what changed
            self.error = error
            self.failures += 1

    async def _once(self) -> None:
        self.connection = ClientConnection(access_pass=self._access_pass(self.url))
        answered = asyncio.Event()
        early: list[wire.Event] = []  # the relay may answer before `connect` has returned
        begun = False

        def arrived(found: list[wire.Event]) -> None:
            if any(isinstance(event, wire.HelloAnswered) for event in found):
                self.error, self.failures = None, 0
                answered.set()
            if begun:
                self._on_events(self, found)
            else:
                early.extend(found)

        link = await _connected(connect(self.url, self.connection, arrived))
        try:
            self._link = link
            self._on_connected(self)
            begun = True
            if early:
                self._on_events(self, early)
            link.flush()
            await self._hello_answered(answered, link)
            reason = await asyncio.shield(link.closed)  # our own end must not look like its end
            if reason is not None:
                raise reason
        finally:
            self._link = None
            link.close()
            await link.gone()

    async def _hello_answered(self, answered: asyncio.Event, link: Link) -> None:
        for wait in (HELLO_WAIT, WORK_WAIT):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await _first(answered, link)
                    return
            if not self.connection.working:
                break
        raise NetworkError("network.timeout", relay=self.url)


async def _connected(connecting: Coroutine[None, None, Link]) -> Link:
    """Called off in the middle, the socket would stay open: let it open, then close it."""
    task = asyncio.create_task(connecting)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=GONE_WAIT)
        if task.done() and not task.cancelled() and task.exception() is None:
            task.result().close()
            await task.result().gone()
        task.cancel()
        raise


async def _first(answered: asyncio.Event, link: Link) -> None:
    """Until HELLO is answered. :raises HanaError: the connection went first"""
    link.closed.add_done_callback(lambda _: answered.set())
    await answered.wait()
    if link.closed.done():
        raise link.closed.result() or NetworkError("network.closed")
