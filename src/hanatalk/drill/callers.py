"""Devices of a rehearsal that speak to a relay and encrypt nothing: a relay's work without that of MLS."""

import asyncio
import os
from collections import Counter
from collections.abc import Iterable

from hanatalk.errors import HanaError
from hanatalk.ids import EntryId, ReadToken, WriteToken
from hanatalk.transport.link import Link, connect
from hanatalk.wire import events
from hanatalk.wire.channels import channel_id
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection

FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0  # seconds before connecting again, doubled each time
CONNECT_SECONDS = 15.0


class Ledger:
    """What was appended, acknowledged and delivered, by entry; and what happened since the last `turn_page`."""

    def __init__(self) -> None:
        self._appended: dict[EntryId, tuple[float, bool]] = {}  # when, and by whom: one of long standing?
        self.acknowledged: set[EntryId] = set()
        self.delivered: set[EntryId] = set()
        self.connected = 0
        self.delays: list[float] = []  # seconds from appending to delivery, to people of long standing
        self.newcomers_delays: list[float] = []
        self.sign_ups: list[float] = []  # seconds that each took
        self.refusals: Counter[str] = Counter()

    def append(self, entry_id: EntryId, *, veteran: bool) -> None:
        self._appended[entry_id] = (asyncio.get_running_loop().time(), veteran)

    def deliver(self, entry_id: EntryId) -> None:
        """Counts the first time only: who was cut off gets some again."""
        if entry_id in self._appended and entry_id not in self.delivered:
            self.delivered.add(entry_id)
            when, veteran = self._appended[entry_id]
            delays = self.delays if veteran else self.newcomers_delays
            delays.append(asyncio.get_running_loop().time() - when)

    def turn_page(self) -> None:
        """Forget what happened, not what was appended."""
        self.delays, self.newcomers_delays, self.sign_ups = [], [], []
        self.refusals = Counter()

    @property
    def lost(self) -> int:
        """Entries that a relay acknowledged and nobody got."""
        return len(self.acknowledged - self.delivered)

    @property
    def waiting(self) -> int:
        """Entries that no relay has acknowledged; their senders have them still."""
        return len(self._appended) - len(self.acknowledged)


class Place:
    """A channel at a relay, known to who was told its tokens."""

    __slots__ = ("channel", "read", "url", "write")

    def __init__(self, url: str) -> None:
        self.url = url
        self.read = ReadToken(os.urandom(32))
        self.write = WriteToken(os.urandom(32))
        self.channel = channel_id(self.read, self.write)


class Caller:
    """One device in one channel. Cut off or refused, it comes back and sends again what was not acknowledged."""

    def __init__(self, place: Place, ledger: Ledger, *, veteran: bool) -> None:
        self.place = place
        self._ledger = ledger
        self._veteran = veteran
        self._unstored: dict[EntryId, tuple[EntryClass, bytes]] = {}
        self._cursor = 0
        self._connection = ClientConnection()
        self._link: Link | None = None
        self._last: Link | None = None  # open or not
        self._stored = asyncio.Event()  # set whenever nothing waits to be stored
        self._running: asyncio.Task[None] | None = None

    def call(self) -> None:
        """Connect, and stay until `hang_up`."""
        self._running = asyncio.create_task(self._stay())

    async def hang_up(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        if self._last is not None:
            await self._last.gone()

    @property
    def is_settled(self) -> bool:
        """Nothing waits to be acknowledged."""
        return not self._unstored

    async def settled(self) -> None:
        """Everything that was appended is acknowledged."""
        while self._unstored:
            self._stored.clear()
            await self._stored.wait()

    def append(self, entry_class: EntryClass, size: int) -> None:
        """An entry of so many bytes, which begins with its own id."""
        entry_id = EntryId(os.urandom(16))
        entry = entry_id + bytes(size - len(entry_id))
        self._unstored[entry_id] = (entry_class, entry)
        self._ledger.append(entry_id, veteran=self._veteran)
        if self._link is not None:
            self._send([entry_id])
            self._link.flush()

    def _send(self, entries: Iterable[EntryId]) -> None:
        for entry_id in entries:
            entry_class, entry = self._unstored[entry_id]
            self._connection.append(self.place.channel, entry_id=entry_id, entry_class=entry_class, entry=entry)

    async def _stay(self) -> None:
        wait = FIRST_WAIT
        while True:
            self._connection = ClientConnection()
            self._connection.open(self.place.channel, read=self.place.read, write=self.place.write)
            self._connection.subscribe(self.place.channel, self._cursor)
            queued = set(self._unstored)
            self._send(queued)
            reason: HanaError | None
            link: Link | None = None
            try:
                self._last = link = await connect(
                    self.place.url, self._connection, self._happened, seconds=CONNECT_SECONDS
                )
                self._send(self._unstored.keys() - queued)  # appended meanwhile
                link.flush()
                self._link = link
                self._ledger.connected += 1
                try:
                    reason = await asyncio.shield(link.closed)
                finally:
                    self._ledger.connected -= 1
            except HanaError as error:
                reason = error
            finally:
                self._link = None
                if link is not None:
                    link.close()
            self._ledger.refusals[reason.code if reason is not None else "network.closed"] += 1
            await asyncio.sleep(wait)
            wait = min(LONGEST_WAIT, 2 * wait)

    def _happened(self, reported: list[events.Event]) -> None:
        for event in reported:
            match event:
                case events.EntryStored():
                    self._ledger.acknowledged.add(event.entry_id)
                    self._unstored.pop(event.entry_id, None)
                    if not self._unstored:
                        self._stored.set()
                case events.EntryReceived():
                    self._cursor = max(self._cursor, event.seq)
                    self._ledger.deliver(EntryId(event.entry[:16]))
                case events.Refused() if event.channel_id is not None:
                    self._ledger.refusals[f"relay.{event.code}"] += 1  # sent again after the next cut only
