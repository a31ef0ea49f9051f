"""The admin port: `/health`, `/ready`, `/metrics` for this machine only (HT-R-130 …, docs/adr/0009).

A handful of bytes in, one answer out, then the connection closes. Whatever is not exactly such a question is refused,
and nothing about it is logged.
"""

import asyncio
import re
from collections.abc import Callable
from typing import cast

from hanatalk.relay.metrics import CONTENT_TYPE

HEAD_SIZE = 4_096  # bytes of a request
MOST_CONNECTIONS = 16
SECONDS = 5.0  # for one request and its answer
_TEXT = "text/plain; charset=utf-8"
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
_REQUEST = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/([0-9])\.([0-9])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([ \t!-~]*?)[ \t]*")
_HOST = re.compile(rb"(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE)


class Answer:
    """What goes back."""

    __slots__ = ("content", "kind", "status")

    def __init__(self, status: int, content: str, *, kind: str = _TEXT) -> None:
        self.status = status
        self.content = content.encode()
        self.kind = kind

    def encoded(self, *, head_only: bool) -> bytes:
        head = (
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}\r\n"
            f"Content-Type: {self.kind}\r\n"
            f"Content-Length: {len(self.content)}\r\n"
            + ("Allow: GET, HEAD\r\n" if self.status == 405 else "")
            + "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (b"" if head_only else self.content)


class AdminPort:
    """Listens on 127.0.0.1.

    :param ready: None if the relay takes appends, else why not, as a short code.
    :param metrics: the page.
    """

    def __init__(self, *, ready: Callable[[], str | None], metrics: Callable[[], str]) -> None:
        self._ready = ready
        self._metrics = metrics
        self._server: asyncio.Server | None = None
        self.connections: set[_Asking] = set()

    async def listen(self, port: int) -> int:
        """Returns the port, chosen by the system if it is 0. :raises OSError: it is taken"""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Asking(self), "127.0.0.1", port, backlog=MOST_CONNECTIONS)
        chosen: int = self._server.sockets[0].getsockname()[1]
        return chosen

    def close(self) -> None:
        """Stop listening and drop who is connected."""
        if self._server is not None:
            self._server.close()
        for asking in list(self.connections):
            asking.drop()

    def answer(self, head: bytes) -> tuple[Answer, bool]:
        """The answer to a request's head (without its empty line), and whether only the answer's head is wanted."""
        lines = head.split(b"\r\n")
        request = _REQUEST.fullmatch(lines[0])
        headers = [_HEADER.fullmatch(line) for line in lines[1:]]
        if request is None or None in headers:
            return Answer(400, "bad-request\n"), False
        found = [(match[1].lower(), match[2]) for match in headers if match is not None]
        if (request[3], request[4]) != (b"1", b"1"):
            return Answer(505, "http-version\n"), False
        hosts = [value for name, value in found if name == b"host"]
        if len(hosts) != 1:
            return Answer(400, "bad-request\n"), False
        if _HOST.fullmatch(hosts[0]) is None:
            # A page in the operator's browser whose name was made to point here comes with that name (DNS rebinding).
            return Answer(421, "foreign-host\n"), False
        if any(name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in found):
            return Answer(400, "no-body\n"), False
        if request[1] not in (b"GET", b"HEAD"):
            return Answer(405, "method\n"), False
        return self._page(request[2]), request[1] == b"HEAD"

    def _page(self, path: bytes) -> Answer:
        if path == b"/health":
            return Answer(200, "ok\n")
        if path == b"/ready":
            why_not = self._ready()
            return Answer(200, "ready\n") if why_not is None else Answer(503, f"{why_not}\n")
        if path == b"/metrics":
            return Answer(200, self._metrics(), kind=CONTENT_TYPE)
        return Answer(404, "not-found\n")


class _Asking(asyncio.Protocol):
    """One connection, one question."""

    def __init__(self, port: AdminPort) -> None:
        self._port = port
        self._transport: asyncio.WriteTransport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._received = bytearray()
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not by isinstance: uvloop's transports are no subclasses.
        self._transport = writing = cast(asyncio.WriteTransport, transport)
        if len(self._port.connections) >= MOST_CONNECTIONS:
            writing.abort()
            return
        self._port.connections.add(self)
        self._deadline = asyncio.get_running_loop().call_later(SECONDS, self.drop)

    def data_received(self, data: bytes) -> None:
        if self._answered:
            return
        self._received += data
        head, ended, _ = self._received.partition(b"\r\n\r\n")
        if len(head) > HEAD_SIZE:
            self._answer(Answer(431, "too-large\n"))
        elif ended:
            answer, head_only = self._port.answer(bytes(head))
            self._answer(answer, head_only=head_only)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._port.connections.discard(self)

    def drop(self) -> None:
        """The time is over, or the relay's is."""
        if self._transport is not None:
            self._transport.abort()

    def _answer(self, answer: Answer, *, head_only: bool = False) -> None:
        self._answered = True
        assert self._transport is not None
        self._transport.write(answer.encoded(head_only=head_only))
        self._transport.close()
