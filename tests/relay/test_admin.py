"""The admin port: what it answers, what it refuses, and that nobody can hold it up (HT-R-130 …)."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from hanatalk.relay import admin
from hanatalk.relay.admin import HEAD_SIZE, MOST_CONNECTIONS, AdminPort

HOST = b"Host: 127.0.0.1:9090\r\n"
Ask = Callable[[bytes], Awaitable[bytes]]


class Relay:
    """What the port asks."""

    why_not: str | None = None


@pytest.fixture
async def relay() -> Relay:
    return Relay()


@pytest.fixture
async def port(relay: Relay) -> AsyncIterator[tuple[AdminPort, int]]:
    opened = AdminPort(ready=lambda: relay.why_not, metrics=lambda: "a_metric 1\n")
    number = await opened.listen(0)
    yield opened, number
    opened.close()


@pytest.fixture
def ask(port: tuple[AdminPort, int]) -> Ask:
    """Send bytes, return everything until the connection closes."""

    async def asked(sent: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port[1])
        writer.write(sent)
        try:
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()

    return asked


async def last_words(reading: Awaitable[bytes]) -> bytes:
    """What came before the connection was closed or dropped."""
    try:
        return await asyncio.wait_for(reading, 10)
    except ConnectionError:
        return b""


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop turn until the port has noticed."""
    while not holds():  # noqa: ASYNC110 (the port publishes no event)
        await asyncio.sleep(0)


def status(answer: bytes) -> int:
    line, _, _ = answer.partition(b"\r\n")
    version, code, _ = line.split(b" ", 2)
    assert version == b"HTTP/1.1"
    return int(code)


def content(answer: bytes) -> bytes:
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(rest)}".encode() in head
    return rest


async def test_health_ready_and_metrics(ask: Ask, relay: Relay) -> None:
    """HT-R-130, HT-R-132"""
    assert content(await ask(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")) == b"ok\n"
    assert content(await ask(b"GET /ready HTTP/1.1\r\n" + HOST + b"\r\n")) == b"ready\n"
    metrics = await ask(b"GET /metrics HTTP/1.1\r\n" + HOST + b"Accept: */*\r\n\r\n")
    assert content(metrics) == b"a_metric 1\n"
    assert b"\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n" in metrics
    for why_not in ("draining", "disk-full"):
        relay.why_not = why_not
        refused = await ask(b"GET /ready HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (status(refused), content(refused)) == (503, f"{why_not}\n".encode())
        assert status(await ask(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")) == 200


async def test_head_gets_the_head(ask: Ask) -> None:
    answer = await ask(b"HEAD /metrics HTTP/1.1\r\n" + HOST + b"\r\n")
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert status(answer) == 200
    assert b"Content-Length: 11" in head
    assert rest == b""


@pytest.mark.parametrize("host", [b"127.0.0.1", b"localhost:9090", b"LocalHost", b"[::1]:1"])
async def test_this_machine_by_any_of_its_names(ask: Ask, host: bytes) -> None:
    assert status(await ask(b"GET /health HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")) == 200


@pytest.mark.parametrize(
    "host",
    [
        b"relay.example",
        b"127.0.0.1.evil.example",
        b"evil.example:9090",
        b"localhost.evil.example",
        b"127.0.0.1@evil.example",
        b"127.0.0.2",
        b"192.0.2.1",
        b"",
        b"127.0.0.1:x",
    ],
)
async def test_a_name_made_to_point_here_is_refused(ask: Ask, host: bytes) -> None:
    """HT-R-133: DNS rebinding."""
    answer = await ask(b"GET /metrics HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert status(answer) == 421
    assert b"a_metric" not in answer


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"GET /health HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /health HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
        (b"GET /health HTTP/1.0\r\n" + HOST + b"\r\n", 505),
        (b"GET /health HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"GET  /health HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /health HTTP/1.1 \r\n" + HOST + b"\r\n", 400),
        (b"get /health HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET http://127.0.0.1/health HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /health HTTP/1.1\r\n folded: line\r\n" + HOST + b"\r\n", 400),
        (b"GET /health HTTP/1.1\r\nno colon\r\n" + HOST + b"\r\n", 400),
        (b"GET /health HTTP/1.1\r\nName : value\r\n" + HOST + b"\r\n", 400),
        (b"GET /health HTTP/1.1\r\nName: \x00\r\n" + HOST + b"\r\n", 400),
        (b"GET /h\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /health HTTP/1.1\nHost: 127.0.0.1\n\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # TLS
        (b"POST /health HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc", 400),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /health HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n", 405),
        (b"DELETE /metrics HTTP/1.1\r\n" + HOST + b"\r\n", 405),
        (b"GET / HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (b"GET /metrics?channel=x HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (b"GET /../metrics HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (b"GET /" + b"a" * HEAD_SIZE + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"X: y\r\n" * HEAD_SIZE, 431),
    ],
)
async def test_what_is_not_exactly_a_question_is_refused(ask: Ask, sent: bytes, expected: int) -> None:
    """HT-R-133"""
    assert status(await ask(sent)) == expected


async def test_one_question_each(ask: Ask) -> None:
    """HT-R-133: what follows the first is not heard."""
    answer = await ask(2 * (b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"))
    assert answer.count(b"HTTP/1.1") == 1
    assert b"Connection: close" in answer


async def test_a_question_may_come_in_pieces(port: tuple[AdminPort, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port[1])
    for byte in b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n":
        writer.write(bytes([byte]))
        await writer.drain()
    assert status(await reader.read()) == 200
    writer.close()


async def test_who_says_nothing_or_dribbles_is_dropped(
    port: tuple[AdminPort, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """HT-R-133, T-076"""
    monkeypatch.setattr(admin, "SECONDS", 0.2)
    silent = await asyncio.open_connection("127.0.0.1", port[1])
    dribbling = await asyncio.open_connection("127.0.0.1", port[1])
    dribbling[1].write(b"GET /health HTTP/1.1\r\nHost: 127")
    for reader, writer in (silent, dribbling):
        assert await last_words(reader.read()) == b""
        writer.close()
    assert not port[0].connections


async def test_only_so_many_at_once(port: tuple[AdminPort, int], ask: Ask) -> None:
    """HT-R-133, T-076: the next is dropped; once one leaves, there is room again."""
    waiting = [await asyncio.open_connection("127.0.0.1", port[1]) for _ in range(MOST_CONNECTIONS)]
    await until(lambda: len(port[0].connections) == MOST_CONNECTIONS)
    assert await last_words(ask(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")) == b""
    assert len(port[0].connections) == MOST_CONNECTIONS
    for _, writer in waiting:
        writer.close()
    await until(lambda: not port[0].connections)
    assert status(await ask(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")) == 200


async def test_only_this_machine_can_reach_it(port: tuple[AdminPort, int]) -> None:
    """HT-R-130: it listens on the loopback address and no other."""
    assert port[0]._server is not None
    assert [bound.getsockname()[0] for bound in port[0]._server.sockets] == ["127.0.0.1"]
    with socket.socket() as other, pytest.raises(OSError):
        other.settimeout(2)
        other.connect(("127.0.0.2", port[1]))


async def test_closing_drops_who_is_connected(port: tuple[AdminPort, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port[1])
    await until(lambda: bool(port[0].connections))
    port[0].close()
    assert await last_words(reader.read()) == b""
    writer.close()
