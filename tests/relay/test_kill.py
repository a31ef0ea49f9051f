"""kill -9 under load: what was answered STORED is there afterwards, once (T-081, T-024 in part)."""

import asyncio
import os
import random
from pathlib import Path

import pytest
from tests.relay.running import RelayProcess, relay_process
from tests.transport.test_link import Events

from hanatalk.ids import ChannelId, EntryId, ReadToken, WriteToken
from hanatalk.transport.link import Link, connect
from hanatalk.wire import channels, events
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection
from hanatalk.wire.events import Event

WRITE = WriteToken(b"w" * 32)
READS = [ReadToken(bytes([number]) * 32) for number in range(4)]
CHANNELS = [channels.channel_id(read, WRITE) for read in READS]
NO_LIMITS = {"requests_per_second": 0, "bytes_per_second": 0}


class Appender:
    """One connection that appends to four channels and keeps what it was told."""

    def __init__(self) -> None:
        self.connection = ClientConnection()
        for read, channel_id in zip(READS, CHANNELS, strict=True):
            self.connection.open(channel_id, read=read, write=WRITE)
        self.sent: dict[EntryId, tuple[ChannelId, bytes, bool]] = {}
        self.stored: dict[EntryId, tuple[int, int]] = {}
        self.enough = asyncio.Event()
        self.all_stored = asyncio.Event()
        self.link: Link | None = None

    async def connect(self, url: str) -> None:
        self.link = await connect(url, self.connection, self.on_events)

    def append(self, count: int) -> None:
        for _ in range(count):
            entry_id = EntryId(os.urandom(16))
            control = len(self.sent) % 7 == 0
            entry = entry_id * random.randint(1, 100)
            self.sent[entry_id] = (CHANNELS[len(self.sent) % 4], entry, control)
            self._send(entry_id)

    def append_again(self) -> None:
        for entry_id in self.sent:
            self._send(entry_id)

    def _send(self, entry_id: EntryId) -> None:
        channel_id, entry, control = self.sent[entry_id]
        self.connection.append(
            channel_id,
            entry_id=entry_id,
            entry=entry,
            entry_class=EntryClass.CONTROL if control else EntryClass.MESSAGE,
            commit=control,
        )

    def on_events(self, reported: list[Event]) -> None:
        stored = [event for event in reported if isinstance(event, events.EntryStored)]
        for event in stored:
            self.stored[event.entry_id] = (event.seq, event.turn)
        if stored and not self.enough.is_set():
            self.append(len(stored))  # as many again: the relay is never without work
        if len(self.stored) >= 400:
            self.enough.set()
        if len(self.stored) == len(self.sent):
            self.all_stored.set()


async def _load_until_killed(relay: RelayProcess) -> Appender:
    appender = Appender()
    await appender.connect(relay.url)
    appender.append(50)
    assert appender.link is not None
    appender.link.flush()
    await asyncio.wait_for(appender.enough.wait(), 30)
    appender.append(1000)
    appender.link.flush()
    await asyncio.to_thread(relay.kill)
    await asyncio.wait_for(appender.link.closed, 10)
    return appender


async def _everything(url: str) -> dict[ChannelId, dict[int, events.EntryReceived]]:
    """What a new client reads from the beginning of each channel."""
    connection, seen = ClientConnection(), Events()
    for read, channel_id in zip(READS, CHANNELS, strict=True):
        connection.open(channel_id, read=read, write=WRITE)
        connection.subscribe(channel_id, 0)
    link = await connect(url, connection, seen)
    await seen.until(events.CaughtUp, len(CHANNELS))
    link.close()
    found: dict[ChannelId, dict[int, events.EntryReceived]] = {channel_id: {} for channel_id in CHANNELS}
    for event in seen.all:
        if isinstance(event, events.EntryReceived):
            assert event.seq not in found[event.channel_id]
            found[event.channel_id][event.seq] = event
    return found


async def _check(relay: RelayProcess, before: Appender) -> None:
    held = await _everything(relay.url)
    for entry_id, (seq, turn) in before.stored.items():
        channel_id, entry, control = before.sent[entry_id]
        event = held[channel_id][seq]
        assert event.entry == entry
        assert (event.commit, event.turn) == (control, turn - control)
    for channel_id in CHANNELS:
        assert sorted(held[channel_id]) == list(range(1, len(held[channel_id]) + 1))
    # The outbox sends everything again: what was answered gets the same answer, the rest is stored now, all once.
    again = Appender()
    again.sent = dict(before.sent)
    again.enough.set()
    again.append_again()
    await again.connect(relay.url)
    assert again.link is not None
    await asyncio.wait_for(again.all_stored.wait(), 30)
    again.link.close()
    assert {entry_id: again.stored[entry_id] for entry_id in before.stored} == before.stored
    held = await _everything(relay.url)
    texts = [event.entry for entries in held.values() for event in entries.values()]
    assert sorted(texts) == sorted(entry for _, entry, _ in before.sent.values())


@pytest.mark.parametrize("times", [2])
def test_what_was_stored_survives_kill_9(tmp_path: Path, times: int) -> None:
    """HT-R-041, T-081: every STORED entry is there at its seq; an entry_id repeated gets its first answer."""
    with relay_process(store="sqlite", data=str(tmp_path), limits=NO_LIMITS) as relay:
        for _ in range(times):
            appender = asyncio.run(_load_until_killed(relay))
            relay.restart()
            asyncio.run(_check(relay, appender))
            relay.terminate()
            for path in tmp_path.glob("store*"):
                path.unlink()
            relay.restart()


def test_the_relay_is_the_same_one_after_kill_9(tmp_path: Path) -> None:
    """HT-R-005, HT-R-062: same key, same incarnations."""

    async def state(url: str) -> tuple[bytes, bytes, int]:
        connection, seen = ClientConnection(), Events()
        connection.open(CHANNELS[0], read=READS[0], write=WRITE)
        connection.append(
            CHANNELS[0], entry_id=EntryId(b"e" * 16), entry_class=EntryClass.CONTROL, entry=b"commit", commit=True
        )
        link = await connect(url, connection, seen)
        (answered,), (opened,) = await seen.until(events.HelloAnswered), await seen.until(events.ChannelOpened)
        (stored,) = await seen.until(events.EntryStored)
        link.close()
        assert isinstance(answered, events.HelloAnswered)
        assert isinstance(opened, events.ChannelOpened)
        assert isinstance(stored, events.EntryStored)
        return answered.relay_key, opened.incarnation, stored.seq

    with relay_process(store="sqlite", data=str(tmp_path)) as relay:
        before = asyncio.run(state(relay.url))
        relay.kill()
        relay.restart()
        assert asyncio.run(state(relay.url)) == before
