"""Connections whose WebSocket is not open yet: how many there may be, from where, and what they ask for (HT-R-135)."""

import asyncio
import ipaddress
import sys
from collections.abc import Callable
from typing import Any, cast

from hanatalk.errors import WireError
from hanatalk.transport.asking import HEAD_SIZE, asked_key, refusal

PATIENCE = 2.0  # seconds that everybody has, however many come
_FIRST_SIZE = 1 << 10  # bytes; most requests are shorter


def place_of(address: str) -> bytes | None:
    """Where somebody comes from, as far as it counts (HT-R-136): an IPv4 address, half an IPv6 address.

    None for loopback: behind an onion service or a proxy everybody is there, it names nobody.
    """
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is not None:
        known = known.ipv4_mapped
    if known.is_loopback:
        return None
    return known.packed if known.version == 4 else known.packed[:8]


class Visit:
    """One connection, from when it was accepted until its WebSocket is open."""

    __slots__ = ("_door", "drop", "place", "since", "tls")

    def __init__(self, door: "Door", place: bytes | None, drop: Callable[[], None], *, since: float) -> None:
        self._door: Door | None = door
        self.place = place
        self.drop = drop
        self.since = since
        self.tls: Any = None  # the loop's TLS protocol, once its handshake is over

    def over(self) -> None:
        """The WebSocket is open, or the connection gone. May be said twice."""
        if self._door is not None:
            self._door.left(self)
            self._door = None


class Door:
    """Counts who is arriving, TLS included.

    Who comes while there are too many waits outside (the system's queue) until there is room. Who has stood in the door
    for longer than `PATIENCE` makes room. So whoever is quick gets in, and a flood of half handshakes
    costs no more than a fixed number of them.

    :param most: connections at once.
    :param most_of_one: of these from one place.
    """

    def __init__(self, *, most: int = sys.maxsize, most_of_one: int = sys.maxsize) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._visits: dict[Visit, None] = {}  # first who came first
        self._places: dict[bytes, dict[Visit, None]] = {}  # RAM only, forgotten with the last handshake from there
        self.turned_away = 0  # since the relay started
        self.on_room: Callable[[], None] = lambda: None  # called when somebody has left a full house

    @property
    def arriving(self) -> int:
        return len(self._visits)

    def wait(self, *, now: float) -> float:
        """Seconds until somebody may come in, 0 for at once; if nobody leaves before."""
        if len(self._visits) < self._most:
            return 0.0
        return max(0.0, next(iter(self._visits)).since + PATIENCE - now)

    def enter(self, place: bytes | None, drop: Callable[[], None], *, now: float) -> Visit | None:
        """Call it when `wait` says 0. None: too many are here from there, drop it. `drop` closes the connection."""
        if len(self._visits) >= self._most:
            self._turn_away(next(iter(self._visits)))
        visit = Visit(self, place, drop, since=now)
        if place is not None:
            others = self._places.setdefault(place, {})
            if len(others) >= self._most_of_one:
                eldest = next(iter(others))
                if eldest.since + PATIENCE > now:
                    self.turned_away += 1
                    return None
                self._turn_away(eldest)
            self._places.setdefault(place, others)[visit] = None
        self._visits[visit] = None
        return visit

    def left(self, visit: Visit) -> None:
        """Called by the visit."""
        full = len(self._visits) >= self._most
        del self._visits[visit]
        if visit.place is not None:
            others = self._places[visit.place]
            del others[visit]
            if not others:
                del self._places[visit.place]
        if full:
            self.on_room()

    def clear(self) -> None:
        """Drop everybody."""
        for visit in list(self._visits):
            visit.over()
            visit.drop()

    def _turn_away(self, visit: Visit) -> None:
        self.turned_away += 1
        visit.over()
        visit.drop()


class Arriving(asyncio.BufferedProtocol):
    """Reads the request of one connection, then lets `seat` take over. Under TLS it begins after the TLS handshake.

    :param seconds: for all of it.
    :param seat: gets the visit, the transport, the request's key, and what came after the request.
    """

    def __init__(
        self, visit: Visit, seat: Callable[[Visit, asyncio.Transport, bytes, bytes], None], *, seconds: float
    ) -> None:
        self._visit = visit
        self._seat = seat
        self._seconds = seconds
        self._head = bytearray(_FIRST_SIZE)
        self._size = 0
        self._answered = False
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not by isinstance: uvloop's transports are no subclasses.
        self._transport = cast(asyncio.Transport, transport)
        self._deadline = asyncio.get_running_loop().call_later(self._seconds, self._transport.abort)

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._size == len(self._head):
            self._head = self._head + bytes(self._size)  # a new one: who reads may still look at the old one
        return memoryview(self._head)[self._size :]

    def buffer_updated(self, nbytes: int) -> None:
        assert self._transport is not None
        if self._answered:
            return
        searched = max(0, self._size - 3)
        self._size += nbytes
        end = self._head.find(b"\r\n\r\n", searched, self._size)
        if end < 0 and self._size < HEAD_SIZE:
            return
        self._answered = True
        try:
            key = asked_key(bytes(self._head[:end]) if end >= 0 else b"")
        except WireError as error:
            self._transport.write(refusal(error))
            self._transport.close()
            return
        rest = bytes(self._head[end + 4 : self._size])
        self._over()
        self._seat(self._visit, self._transport, key, rest)
        self._transport = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._over()
        self._visit.tls = None  # else they would hold one another

    def _over(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._visit.over()
