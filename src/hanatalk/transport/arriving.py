"""Connections whose WebSocket handshake is not over: how many there may be, in all and from one address (HT-R-135)."""

import ipaddress
from typing import Any

import picows
from picows.picows import WSProtocol  # type: ignore[attr-defined] # picows has no public hook before the handshake


class Door:
    """Counts who is arriving. Who comes while there are too many is dropped without a word.

    :param most: connections in their handshake at once.
    :param most_of_one: of these from one address; loopback (onion services, proxies) is nobody's.
    """

    def __init__(self, *, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._addresses: dict[str, int] = {}  # RAM only, forgotten with the last handshake from there
        self.arriving = 0
        self.turned_away = 0  # since the relay started

    def enter(self, address: str) -> bool:
        """False: drop it."""
        known = self._addresses.get(address, 0)
        if self.arriving >= self._most or (known >= self._most_of_one and not _is_loopback(address)):
            self.turned_away += 1
            return False
        self.arriving += 1
        self._addresses[address] = known + 1
        return True

    def leave(self, address: str) -> None:
        """Its handshake is over, well or not."""
        self.arriving -= 1
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]


class Visit:
    """One connection, from its first byte until its handshake is over."""

    __slots__ = ("_address", "_door")

    def __init__(self, door: Door) -> None:
        self._door = door
        self._address: str | None = None

    def begin(self, address: str) -> bool:
        """False: drop it."""
        if not self._door.enter(address):
            return False
        self._address = address
        return True

    def over(self) -> None:
        """May be said twice."""
        if self._address is not None:
            self._door.leave(self._address)
            self._address = None


class Arriving(WSProtocol):  # type: ignore[misc] # see the import
    """picows's protocol, which goes through a door first. Under TLS that is after the TLS handshake."""

    __slots__ = ("_visit",)

    def __init__(self, visit: Visit, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._visit = visit

    def connection_made(self, transport: Any) -> None:
        peername = transport.get_extra_info("peername")
        welcome = self._visit.begin(peername[0] if isinstance(peername, tuple) else "")
        super().connection_made(transport)
        if not welcome:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._visit.over()
        super().connection_lost(exc)


def arriving(visit: Visit, answer: Any, *, logger: Any, seconds: float, frame_size: int, buffer_size: int) -> Arriving:
    """What `picows.ws_create_server` makes for each connection, with a visit.

    :param seconds: for the handshake; :param frame_size, buffer_size: bytes
    """
    return Arriving(
        visit,
        None,  # host and port
        None,  # path
        False,  # a relay's side
        answer,
        logger,
        True,  # disconnect if a callback raises
        seconds,
        False,  # no pings of picows's own
        0.0,
        0.0,
        picows.WSAutoPingStrategy.PING_WHEN_IDLE,
        True,  # answer pings
        frame_size,
        None,  # no headers more
        buffer_size,
    )


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
