"""A real relay whose clock is moved: its disk after the retention and after six weeks (T-005, T-007, T-056).

The clock is moved from outside: the process is started with a `time.time` that adds what stands in a file.
"""

import asyncio
import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Self

import pytest
from tests.e2e.commands import Person, RelayProcess
from tests.stores.carving import everything

from hanatalk.ids import EntryId, ReaderId, ReadToken, WriteToken
from hanatalk.stores.opening import find_key
from hanatalk.transport.link import Link, connect
from hanatalk.wire import channels, events
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection

LOOK = 0.1  # seconds between looks at the day in these tests; 60 in a relay (HT-S-016)
MOVED = f"""
import pathlib, runpy, sys, time
real, moved = time.time, pathlib.Path(sys.argv[sys.argv.index("--data") + 1] + ".clock")
time.time = lambda: real() + float(moved.read_text())
from hanatalk.relay import serve
serve.EXPIRY_SECONDS, serve.TEND_SECONDS = {LOOK}, {LOOK}
runpy.run_module("hanatalk.cli", run_name="__main__")
"""
READ, WRITE, TOKEN = ReadToken(os.urandom(32)), WriteToken(os.urandom(32)), os.urandom(32)
CHANNEL = channels.channel_id(READ, WRITE)
PATIENCE = 20.0  # seconds


class MovedRelay(RelayProcess):
    """A relay with a clock of its own."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self.run = ("-c", MOVED)
        self._clock = data.with_name(data.name + ".clock")
        self.ahead(days=0)

    def ahead(self, *, days: int) -> None:
        """Set its clock: so many days ahead of ours."""
        new = self._clock.with_suffix(".new")
        new.write_text(str(days * 86_400))
        new.replace(self._clock)

    def carve(self) -> bytes:
        """Every page, frame and block of the store, for somebody who has the key."""
        return everything(self.data / "store.db", find_key(self.data, "beside"))

    def left(self, entries: list[bytes]) -> int:
        """Of how many entries a piece of 32 bytes is left somewhere, looked for at four places of each."""
        content = self.carve()
        size = 32
        return sum(
            any(entry[at : at + size] in content for at in (0, len(entry) // 3, len(entry) // 2, len(entry) - size))
            for entry in entries
        )

    async def until_gone(self, entries: list[bytes]) -> float:
        """Wait until nothing is left of these; returns how many seconds it took."""
        started = time.monotonic()
        while self.left(entries):
            assert time.monotonic() - started < PATIENCE, f"{self.left(entries)} of {len(entries)} are left"
            await asyncio.sleep(LOOK)
        return time.monotonic() - started


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[MovedRelay]:
    found = MovedRelay(tmp_path / "relay")
    found.start()
    yield found
    found.kill()


class Client:
    """A connection with one channel open."""

    def __init__(self) -> None:
        self.connection = ClientConnection()
        self.seen: list[events.Event] = []
        self.link: Link | None = None

    async def __aenter__(self) -> Self:
        self.connection.open(CHANNEL, read=READ, write=WRITE)
        return self

    async def begin(self, url: str) -> "Client":
        self.link = await connect(url, self.connection, self.seen.extend)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.link is not None:
            self.link.close()
            await self.link.gone()

    async def append(self, entries: list[bytes], entry_class: EntryClass = EntryClass.MESSAGE) -> list[int]:
        """Store entries of one class; returns their seqs."""
        ids = [EntryId(os.urandom(16)) for _ in entries]
        for entry_id, entry in zip(ids, entries, strict=True):
            message = entry_class is EntryClass.MESSAGE
            self.connection.append(
                CHANNEL,
                entry_id=entry_id,
                entry_class=entry_class,
                entry=entry,
                burn_after=1 if message else None,
                erase_hash=channels.erase_hash(TOKEN) if message else None,
            )
        stored = await self.until(events.EntryStored, "entry_id", set(ids))
        return [event.seq for event in stored]  # type: ignore[attr-defined]

    async def until(self, kind: type[events.Event], name: str, values: Collection[object]) -> list[events.Event]:
        """Wait until events of a kind have told of all these values."""
        assert self.link is not None
        self.link.flush()
        async with asyncio.timeout(PATIENCE):
            while True:
                found = [e for e in self.seen if isinstance(e, kind) and getattr(e, name) in values]
                if len(found) >= len(values):
                    return found
                await asyncio.sleep(0.005)


def random_entries(count: int, size: int = 512) -> list[bytes]:
    return [os.urandom(size) for _ in range(count)]


async def test_t005_burned_erased_and_expired_entries_are_carved_for_in_vain(relay: MovedRelay) -> None:
    """HT-S-013, HT-S-015, HT-S-016, through the running relay, with its key; the lag of each is printed."""
    burned, erased, expired = random_entries(40), random_entries(40, 1024), random_entries(40, 4096)
    control = random_entries(10)
    lags = {}
    async with Client() as client:
        await client.begin(relay.url)
        seqs = await client.append(burned)
        assert relay.left(burned) == len(burned)  # the control, while it runs
        client.connection.acknowledge(CHANNEL, reader=ReaderId(os.urandom(16)), seq=max(seqs))
        assert client.link is not None
        client.link.flush()
        lags["burned"] = await relay.until_gone(burned)
        seqs = await client.append(erased)
        await client.append(expired)
        await client.append(control, EntryClass.CONTROL)
        for seq in seqs:
            client.connection.erase(CHANNEL, seq=seq, erase_token=TOKEN)
        await client.until(events.EntryErased, "seq", set(seqs))
        lags["erased"] = await relay.until_gone(erased)
        assert relay.left(expired) == len(expired)
        relay.ahead(days=2)
        await asyncio.sleep(3 * LOOK)
        assert relay.left(expired) == len(expired)  # not a day too early
        relay.ahead(days=3)
        lags["expired"] = await relay.until_gone(expired)
        assert relay.left(control) == len(control)
        relay.ahead(days=30)
        lags["control"] = await relay.until_gone(control)
    print("seconds until nothing was left:", {what: round(lag, 2) for what, lag in lags.items()})
    relay.stop()
    assert relay.left(burned + erased + expired + control) == 0


async def test_t007_all_messages_of_six_weeks_asked_for_at_the_end(relay: MovedRelay) -> None:
    """May 1 to June 10, asked on June 11: three days of messages, thirty of control entries, opaque, and no others."""
    planted: dict[tuple[EntryClass, int], list[bytes]] = {}
    async with Client() as client:
        await client.begin(relay.url)
        for day in range(42):
            relay.ahead(days=day)
            for entry_class, count in ((EntryClass.MESSAGE, 3), (EntryClass.CONTROL, 1)):
                planted[entry_class, day] = random_entries(count)
                await client.append(planted[entry_class, day], entry_class)
    last = 41

    def kept(entry_class: EntryClass, day: int) -> bool:
        return day > last - (3 if entry_class is EntryClass.MESSAGE else 30)

    gone = [entry for where, entries in planted.items() if not kept(*where) for entry in entries]
    here = [entry for where, entries in planted.items() if kept(*where) for entry in entries]
    await relay.until_gone(gone)
    assert relay.left(here) == len(here) == 3 * 3 + 30  # the control
    found = Person(relay.data.parent / "operator").do_here("relay", "warrant", "--data", str(relay.data)).object
    newest = max(held["day"] for held in found["entries"])
    counted = {(held["class"], held["day"] - newest): (held["count"], held["size"]) for held in found["entries"]}
    assert counted == {("message", -age): (3, 512) for age in range(3)} | {
        ("control", -age): (1, 512) for age in range(30)
    }


async def test_t056_a_relays_clock_that_jumps_keeps_the_relay_working(relay: MovedRelay) -> None:
    """HT-S-010: forward, all that is due by that clock goes; back again, channels serve as before."""
    before, meanwhile, after = random_entries(3), random_entries(3), random_entries(3)
    async with Client() as client:
        await client.begin(relay.url)
        await client.append(before)
        relay.ahead(days=400)
        await relay.until_gone(before)
    async with Client() as client:  # the channel was forgotten with everything in it; it begins anew
        await client.begin(relay.url)
        await client.append(meanwhile)
        relay.ahead(days=-400)
        await asyncio.sleep(3 * LOOK)
        assert relay.left(meanwhile) == len(meanwhile)
        relay.ahead(days=0)
        await client.append(after)
    for _ in range(2):
        async with Client() as client:
            await client.begin(relay.url)
            client.connection.subscribe(CHANNEL, 0)
            await client.until(events.EntryReceived, "entry", {*meanwhile, *after})
        relay.stop()
        relay.start()
