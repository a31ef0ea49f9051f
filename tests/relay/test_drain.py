"""SIGTERM under load: what was acknowledged is there, what was not is sent again, and it is quick (HT-R-096)."""

import asyncio
import contextlib
import os
import socket
import time
from pathlib import Path

import pytest
from tests.relay.running import RelayProcess, relay_process
from tests.relay.test_metrics import fetch
from tests.relay.test_serve import HANDSHAKE, masked
from tests.transport.test_link import Events

from hanatalk.errors import HanaError, NetworkError
from hanatalk.ids import ChannelId, EntryId, ReadToken, WriteToken
from hanatalk.transport.link import Link, connect
from hanatalk.wire import channels, events, frames
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection
from hanatalk.wire.events import Event

WRITE = WriteToken(b"w" * 32)
READS = [ReadToken(bytes([number]) * 32) for number in range(8)]
CHANNELS = [channels.channel_id(read, WRITE) for read in READS]
CONNECTIONS = 200
NO_LIMITS = {"requests_per_second": 0, "bytes_per_second": 0}


class Sender:
    """Appends to one channel, the next as soon as one is stored."""

    link: Link

    def __init__(self, number: int) -> None:
        self.read, self.channel_id = READS[number % 8], CHANNELS[number % 8]
        self.sent: list[EntryId] = []
        self.stored: dict[EntryId, int] = {}
        self.refused: list[str] = []
        self._connection = ClientConnection()
        self._connection.open(self.channel_id, read=self.read, write=WRITE)

    async def connect(self, url: str) -> "Sender":
        self.link = await connect(url, self._connection, self._on_events)
        return self

    def begin(self) -> None:
        """Four are in flight from now on."""
        for _ in range(4):
            self._append()
        self.link.flush()

    def _append(self) -> None:
        entry_id = EntryId(os.urandom(16))
        self.sent.append(entry_id)
        append(self._connection, self.channel_id, entry_id)

    def _on_events(self, found: list[Event]) -> None:
        for event in found:
            if isinstance(event, events.EntryStored):
                self.stored[event.entry_id] = event.seq
                self._append()
            elif isinstance(event, events.Refused):
                self.refused.append(event.code)


class Counted:
    """Collects events until there are so many of one kind."""

    def __init__(self, kind: type[Event], count: int) -> None:
        self._kind, self._missing = kind, count
        self._all: list[Event] = []
        self._done = asyncio.Event()

    def __call__(self, found: list[Event]) -> None:
        self._all += found
        self._missing -= sum(isinstance(event, self._kind) for event in found)
        if self._missing <= 0:
            self._done.set()

    async def enough(self) -> list[Event]:
        await asyncio.wait_for(self._done.wait(), 30)
        return self._all


def append(connection: ClientConnection, channel_id: ChannelId, entry_id: EntryId) -> None:
    """An entry that names itself."""
    connection.append(channel_id, entry_id=entry_id, entry_class=EntryClass.MESSAGE, entry=entry_id * 128)


def deaf(url: str) -> socket.socket:
    """A subscriber of everything that reads nothing, with more pushed to it than its socket takes."""
    connected = socket.socket()
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connected.connect(("127.0.0.1", int(url.rpartition(":")[2])))
    asked: list[frames.Frame] = [frames.Hello([1])]
    for number, (read, channel_id) in enumerate(zip(READS, CHANNELS, strict=True), 1):
        asked += [frames.Open(number, channel_id, read, True, WRITE, True), frames.Subscribe(number, 0)]
    connected.sendall(HANDSHAKE + masked(2, frames.encode(asked)))
    return connected


async def held_in(url: str) -> dict[ChannelId, dict[int, bytes]]:
    """What a new client reads, by channel and seq."""
    connection, seen = ClientConnection(), Counted(events.CaughtUp, len(CHANNELS))
    for read, channel_id in zip(READS, CHANNELS, strict=True):
        connection.open(channel_id, read=read, write=WRITE)
        connection.subscribe(channel_id, 0)
    link = await connect(url, connection, seen)
    found: dict[ChannelId, dict[int, bytes]] = {channel_id: {} for channel_id in CHANNELS}
    for event in await seen.enough():
        if isinstance(event, events.EntryReceived):
            assert event.seq not in found[event.channel_id]
            found[event.channel_id][event.seq] = event.entry
    link.close()
    await link.gone()
    return found


async def send_again(url: str, senders: list[Sender]) -> None:
    """As their outboxes would: everything, the answered ones too."""
    connection = ClientConnection()
    seen = Counted(events.EntryStored, sum(len(sender.sent) for sender in senders))
    for read, channel_id in zip(READS, CHANNELS, strict=True):
        connection.open(channel_id, read=read, write=WRITE)
    for sender in senders:
        for entry_id in sender.sent:
            append(connection, sender.channel_id, entry_id)
    link = await connect(url, connection, seen)
    seqs = {event.entry_id: event.seq for event in await seen.enough() if isinstance(event, events.EntryStored)}
    for sender in senders:
        assert {entry_id: seqs[entry_id] for entry_id in sender.stored} == sender.stored
    link.close()
    await link.gone()


async def stop_under_load(relay: RelayProcess) -> tuple[list[Sender], float]:
    """200 connections append; SIGTERM, and again SIGTERM while a deaf one keeps the relay waiting."""
    senders = [await Sender(number).connect(relay.url) for number in range(CONNECTIONS)]
    with contextlib.closing(deaf(relay.url)):
        for sender in senders:
            sender.begin()
        async with asyncio.timeout(30):
            while min(len(sender.stored) for sender in senders) < 20:  # noqa: ASYNC110 (they publish no event)
                await asyncio.sleep(0.01)
        assert await fetch(relay.admin, "/ready") == "ready\n"
        began = time.monotonic()
        relay.process.terminate()
        reasons = await asyncio.wait_for(asyncio.gather(*(sender.link.closed for sender in senders)), 10)
        # The deaf one still holds the relay up.
        assert relay.process.poll() is None
        assert await fetch(relay.admin, "/ready") == "draining\n"
        assert await fetch(relay.admin, "/health") == "ok\n"
        with pytest.raises(NetworkError, match=r"network\.unreachable"):
            await connect(relay.url, ClientConnection(), Events())
        relay.process.terminate()
        assert await asyncio.to_thread(relay.process.wait, 10) == 0
        took = time.monotonic() - began
    assert {str(reason) for reason in reasons} == {"relay.draining"}
    assert {tuple(sender.refused) for sender in senders} == {("draining",)}
    for sender in senders:
        await sender.link.gone()
    return senders, took


def test_nothing_acknowledged_is_lost_by_sigterm_under_load(tmp_path: Path) -> None:
    """HT-R-096, HT-R-041, T-077: 200 connections, two SIGTERMs, a subscriber that hangs; then everything sent again."""
    with relay_process(store="sqlite", data=str(tmp_path), limits=NO_LIMITS, admin_port=0, drain=1.5) as relay:
        senders, took = asyncio.run(stop_under_load(relay))
        assert took < 5
        relay.log = relay._finish()
        assert '"cut_off": 1' in relay.log
        relay.restart()
        held = asyncio.run(held_in(relay.url))
        for sender in senders:
            for entry_id, seq in sender.stored.items():
                assert held[sender.channel_id][seq] == entry_id * 128
        asyncio.run(send_again(relay.url, senders))
        held = asyncio.run(held_in(relay.url))
        everything = sorted(entry for entries in held.values() for entry in entries.values())
        assert everything == sorted(entry_id * 128 for sender in senders for entry_id in sender.sent)
    stored = sum(len(sender.stored) for sender in senders)
    print(f"{stored} acknowledged, {len(everything) - stored} in flight; stopped after {took:.2f} s")


def test_sigterm_as_soon_as_it_listens(tmp_path: Path) -> None:
    """HT-R-096"""
    for _ in range(3):
        with relay_process(store="sqlite", data=str(tmp_path)) as relay:
            assert relay.terminate() == 0


def test_a_storm_of_signals_at_the_end_changes_nothing(tmp_path: Path) -> None:
    """HT-R-096: SIGTERM and SIGINT again and again until it is gone; it ends well."""
    with relay_process(store="sqlite", data=str(tmp_path)) as relay:
        relay.process.terminate()
        while relay.process.poll() is None:
            for number in (15, 2):
                with contextlib.suppress(ProcessLookupError, HanaError):
                    relay.process.send_signal(number)
            time.sleep(0.001)
        relay.log = relay._finish()
        assert relay.process.returncode == 0
        assert relay.log.splitlines()[-1] == '{"event": "stopped", "level": "info"}'
