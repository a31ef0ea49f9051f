"""Whole processes on real sockets, killed or refused by their disks at a step (T-080, T-081, T-083).

What the grids do in lock-step, once more with the real relay and the real owner of a profile around it.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import picows
import pytest
from tests.faults.children import fast_folder, fork
from tests.faults.points import Point, Steps
from tests.transport.test_link import Events

from hanatalk.client import Profile, calls, create_profile, open_profile
from hanatalk.errors import HanaError
from hanatalk.ids import EntryId, ReadToken, WriteToken
from hanatalk.relay.options import RelayOptions
from hanatalk.relay.serve import run
from hanatalk.transport.accepting import Accepted
from hanatalk.transport.link import Link, connect
from hanatalk.wire import channels, events
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection

NOTHING = Point()
READ, WRITE = ReadToken(b"r" * 32), WriteToken(b"w" * 32)
CHANNEL = channels.channel_id(READ, WRITE)
PATIENCE = 20.0  # seconds


@pytest.fixture
def folder() -> Iterator[Path]:
    with fast_folder() as found:
        yield found


class Process:
    """Something forked that says one line when it is ready."""

    def __init__(self, live: Callable[[Callable[[bytes], object]], None]) -> None:
        reading, writing = os.pipe()
        self.pid = fork(lambda: live(lambda line: os.write(writing, line + b"\n")))
        os.close(writing)
        self.said = os.fdopen(reading, "rb")
        self.ended: int | None = None  # the signal, 0 for none

    def line(self) -> str:
        return self.said.readline().decode().strip()

    def wait(self) -> int:
        if self.ended is None:
            _, status = os.waitpid(self.pid, 0)
            self.ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        return self.ended

    def end(self, number: int = signal.SIGKILL) -> int:
        """Send a signal unless it has ended; returns what ended it."""
        if self.ended is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
        ended = self.wait()
        self.said.close()
        return ended


@contextmanager
def relay(folder: Path, point: Point = NOTHING, *, port: int = 0) -> Iterator[tuple[Process, str]]:
    """A relay in its own process; SIGUSR1 fills its disk, SIGUSR2 makes room."""

    def live(say: Callable[[bytes], object]) -> None:
        steps = Steps(point, folder)
        signal.signal(signal.SIGUSR1, lambda *_: setattr(steps, "full", True))
        signal.signal(signal.SIGUSR2, lambda *_: setattr(steps, "full", False))
        write = Accepted.write

        def counted(self: Accepted, messages: list[bytes], *, rooms: object, last: bool) -> None:
            for message in messages:

                def send(cut: bool, message: bytes = message) -> None:
                    if not cut:
                        write(self, [message], rooms=rooms, last=False)  # type: ignore[arg-type]

                steps.frame(send)
            if last:
                write(self, [], rooms=rooms, last=True)  # type: ignore[arg-type]

        Accepted.write = counted  # type: ignore[method-assign]
        options = RelayOptions(data=folder, port=port)
        run(options, lambda listening: say(listening.url.encode()))

    process = Process(live)
    try:
        yield process, process.line()
    finally:
        process.end()


# --- the relay ---


class Appender:
    """Appends entries until each is answered, on as many connections as it takes; remembers every answer."""

    def __init__(self) -> None:
        self.stored: dict[EntryId, int] = {}
        self.refused: list[str] = []
        self.entries = [EntryId(bytes([number]) * 16) for number in range(1, 13)]

    async def try_once(self, url: str) -> None:
        """Everything that has no answer, one after the other; ends when the connection does."""
        connection, seen = ClientConnection(), Events()
        connection.open(CHANNEL, read=READ, write=WRITE)
        link = await connect(url, connection, seen)
        for entry_id in self.entries:
            if entry_id not in self.stored:
                await self._append(link, connection, seen, entry_id)
        link.close()

    async def _append(self, link: Link, connection: ClientConnection, seen: Events, entry_id: EntryId) -> None:
        connection.append(CHANNEL, entry_id=entry_id, entry_class=EntryClass.CONTROL, entry=entry_id * 40)
        link.flush()
        while not link.closed.done():
            for event in seen.all:
                if isinstance(event, events.EntryStored) and event.entry_id == entry_id:
                    self.stored[entry_id] = event.seq
                    return
                if isinstance(event, events.Refused):
                    seen.all.remove(event)
                    self.refused.append(event.code)
                    return
            seen._more.clear()
            waiting = asyncio.ensure_future(seen._more.wait())
            await asyncio.wait({waiting, link.closed}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()

    async def read(self, url: str) -> dict[int, bytes]:
        connection, seen = ClientConnection(), Events()
        connection.open(CHANNEL, read=READ, write=WRITE)
        connection.subscribe(CHANNEL, 0)
        link = await connect(url, connection, seen)
        await seen.until(events.CaughtUp)
        link.close()
        return {event.seq: event.entry for event in seen.all if isinstance(event, events.EntryReceived)}


def within_patience(work: object) -> object:
    async def go() -> object:
        return await asyncio.wait_for(work, PATIENCE)  # type: ignore[arg-type]

    return asyncio.run(go())


@pytest.mark.parametrize(
    "point",
    [
        Point("statement", 45, "kill"),
        Point("change", 75, "kill"),
        Point("frame", 5, "kill"),
        Point("frame", 7, "after"),
    ],
    ids=lambda point: f"{point.kind}-{point.number}-{point.fault}",
)
def test_t081_a_relay_process_that_dies_keeps_what_it_answered(folder: Path, point: Point) -> None:
    """HT-S-017, HT-R-041: at an SQL statement, a call of the disk, a message into a socket."""
    data = folder / "relay"
    data.mkdir()
    appender = Appender()
    with relay(data, point) as (process, url):
        with suppress(HanaError):
            within_patience(appender.try_once(url))
        assert process.wait() == signal.SIGKILL
    before = dict(appender.stored)
    assert len(before) < len(appender.entries)
    with relay(data) as (_, url):
        held = within_patience(appender.read(url))
        assert isinstance(held, dict)
        assert all(held[seq] == entry_id * 40 for entry_id, seq in before.items())
        within_patience(appender.try_once(url))
        held = within_patience(appender.read(url))
    assert held == {seq: entry_id * 40 for entry_id, seq in appender.stored.items()}
    assert sorted(appender.stored.values()) == list(range(1, len(appender.entries) + 1))


def test_t080_a_full_disk_refuses_before_it_acknowledges_and_takes_it_later(folder: Path) -> None:
    """ENOSPC end to end: the appends are refused, the connection goes on, room is made, everything is stored once."""
    data = folder / "relay"
    data.mkdir()
    appender = Appender()
    entries = appender.entries
    with relay(data) as (process, url):
        appender.entries = entries[:4]
        within_patience(appender.try_once(url))
        os.kill(process.pid, signal.SIGUSR1)
        appender.entries = entries
        within_patience(appender.try_once(url))
        assert set(appender.refused) == {"storage"}
        assert len(appender.stored) == 4
        held = within_patience(appender.read(url))
        assert held == {seq: entry_id * 40 for entry_id, seq in appender.stored.items()}
        os.kill(process.pid, signal.SIGUSR2)
        within_patience(appender.try_once(url))
        assert len(appender.stored) == len(appender.entries)
        assert process.end(signal.SIGTERM) == 0
    with relay(data) as (_, url):
        assert within_patience(appender.read(url)) == {seq: entry_id * 40 for entry_id, seq in appender.stored.items()}


# --- a person ---


def person(home: Path, conversation: str, point: Point) -> Process:
    """A process that owns the profile, sends three messages and says so after each."""

    async def talk(say: Callable[[bytes], object]) -> None:
        async with open_profile(home, passphrase=None) as profile:
            for number in range(3):
                try:
                    await profile.call(calls.Send(conversation=conversation, text=f"text {number}", wait=5.0))
                except HanaError as error:
                    say(f"refused {error.code}".encode())
                    return
                say(f"sent {number}".encode())

    def live(say: Callable[[bytes], object]) -> None:
        steps = Steps(point, home)

        def flush(self: Link) -> None:
            transport = self._transport
            if transport is not None and not self.closed.done():
                for message in self._connection.messages_to_send():

                    def send(cut: bool, message: bytes = message) -> None:
                        if not cut:
                            transport.send(picows.WSMsgType.BINARY, message)

                    steps.frame(send)

        Link.flush = flush  # type: ignore[method-assign]
        asyncio.run(talk(say))

    return Process(live)


async def _call(home: Path, call: calls.Call) -> calls.Result:
    async with open_profile(home, passphrase=None) as profile:
        return await profile.call(call)


async def _befriend(one: Path, other: Path) -> str:
    async with open_profile(one, passphrase=None) as inviter, open_profile(other, passphrase=None) as invited:
        made = await inviter.call(calls.Invite())
        assert isinstance(made, calls.InviteMade)
        accepted = await invited.call(calls.Accept(link=made.invite))
        assert isinstance(accepted, calls.Accepted)
        await _synced(inviter, invited)
        return accepted.conversation


async def _synced(*profiles: Profile) -> None:
    for _ in range(3):
        for profile in profiles:
            await profile.call(calls.Sync(wait=10.0))


async def _texts(home: Path, conversation: str) -> list[str]:
    found = await _call(home, calls.Messages(conversation=conversation))
    assert isinstance(found, calls.MessageList)
    return [message.text for message in found.messages]


@pytest.mark.parametrize(
    "point",
    [
        Point("statement", 70, "kill"),
        Point("frame", 4, "after"),
        Point("write", 35, "full"),
        pytest.param(Point("change", 30, "kill"), marks=pytest.mark.soak),
        pytest.param(Point("frame", 3, "kill"), marks=pytest.mark.soak),
        pytest.param(Point("statement", 90, "io"), marks=pytest.mark.soak),
    ],
    ids=lambda point: f"{point.kind}-{point.number}-{point.fault}",
)
def test_t081_a_persons_process_that_dies_has_sent_what_it_said(folder: Path, point: Point) -> None:
    """HT-C-010, HT-S-081: `hana send` killed or refused by the disk; what it said was sent arrives, once."""
    homes = [folder / "minji", folder / "jihoon"]
    data = folder / "relay"
    data.mkdir()
    with relay(data) as (_, url):
        for home in homes:
            create_profile(home, name=home.name, relay=url, passphrase=None)
        conversation = within_patience(_befriend(*homes))
        assert isinstance(conversation, str)
        process = person(homes[0], conversation, point)
        said = process.said.read().decode().split("\n")[:-1]
        assert process.wait() == (signal.SIGKILL if point.kills else 0)
        process.end()
        sent = [f"text {line.split()[1]}" for line in said if line.startswith("sent")]
        refused = [line.split()[1] for line in said if line.startswith("refused")]
        assert set(refused) <= {"storage.full", "storage.io"}
        for home in (*homes, *homes):
            within_patience(_call(home, calls.Sync(wait=10.0)))
        shown = within_patience(_texts(homes[1], conversation))
        assert isinstance(shown, list)
        assert shown == within_patience(_texts(homes[0], conversation))
        assert shown[: len(sent)] == sent
        assert len(shown) <= len(sent) + (0 if refused else 1)
        assert shown == [f"text {number}" for number in range(len(shown))]
