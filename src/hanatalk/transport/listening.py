"""Accepts connections one by one, so that it can be decided before TLS begins whether there is room (HT-R-135)."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any

from hanatalk.transport.arriving import Arriving, Door, Visit, place_of

BACKLOG = 1024
AT_ONCE = 16  # connections accepted in one turn of the loop; others are served in between
OUT_OF_FILES_SECONDS = 1.0  # after the system had no file for a connection
SHUTDOWN_SECONDS = 5.0  # for the other side to take the last words and close TLS


class Listener:
    """Made by `bound`. `arriving` makes the protocol of a connection that was let in."""

    def __init__(
        self,
        sockets: list[socket.socket],
        arriving: Callable[[Visit], Arriving],
        *,
        door: Door,
        tls: ssl.SSLContext | None,
        seconds: float,
    ) -> None:
        self._sockets = sockets
        self._arriving = arriving
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._tls: dict[str, Any] = {}
        if tls is not None:
            self._tls = {"ssl": tls, "ssl_handshake_timeout": seconds, "ssl_shutdown_timeout": SHUTDOWN_SECONDS}
        self._beginning: set[asyncio.Task[None]] = set()
        self._again: asyncio.TimerHandle | None = None
        self._accepting = False
        self.port: int = sockets[0].getsockname()[1]
        door.on_room = self._go_on
        self._go_on()

    def close(self) -> None:
        """Accept nobody any more; who is not open yet is dropped."""
        self._wait(0.0)
        for listening in self._sockets:
            listening.close()
        self._sockets = []
        self._door.clear()

    def _go_on(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if not self._accepting:
            self._accepting = True
            for listening in self._sockets:
                self._loop.add_reader(listening, self._accept, listening)

    def _wait(self, seconds: float) -> None:
        """Let them queue; 0: for good."""
        if self._accepting:
            self._accepting = False
            for listening in self._sockets:
                self._loop.remove_reader(listening)
        if self._again is not None:
            self._again.cancel()
        self._again = self._loop.call_later(seconds, self._go_on) if seconds else None

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            now = self._loop.time()
            seconds = self._door.wait(now=now)
            if seconds:
                self._wait(seconds)
                return
            try:
                connection, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._wait(OUT_OF_FILES_SECONDS)
                return
            visit = self._door.enter(place_of(address[0]), _shutting(connection), now=now)
            if visit is None:
                connection.close()
                continue
            task = self._loop.create_task(self._begin(connection, visit))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: socket.socket, visit: Visit) -> None:
        connection.setblocking(False)
        try:
            _, protocol = await self._loop.connect_accepted_socket(
                lambda: self._arriving(visit), connection, **self._tls
            )
            if self._tls and connection.fileno() >= 0:  # not gone already
                visit.tls = protocol
        except OSError:  # no TLS, or too slow, or gone; nobody is told (HT-R-102)
            visit.over()
        except BaseException:
            visit.over()
            raise


def bound(host: str, port: int) -> list[socket.socket]:
    """A listening socket for each address of `host`, all on one port (0 picks one). :raises OSError: taken, not ours"""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            chosen = sockets[0].getsockname()[1] if sockets else port
            listening = socket.socket(family, kind, protocol)
            sockets.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.setblocking(False)
            listening.bind((address[0], chosen, *address[2:]))
            listening.listen(BACKLOG)
    except OSError:
        for listening in sockets:
            listening.close()
        raise
    return sockets


def _shutting(connection: socket.socket) -> Callable[[], None]:
    def shut() -> None:
        with contextlib.suppress(OSError):  # closed already
            connection.shutdown(socket.SHUT_RDWR)

    return shut
