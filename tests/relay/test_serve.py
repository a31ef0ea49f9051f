"""The relay as a process, over real sockets."""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import struct
import time
from pathlib import Path

import pytest
from tests.relay.running import relay_process, running_relay
from tests.transport.test_link import Events, opened

from hanatalk.errors import StorageError, UsageError
from hanatalk.ids import EntryId, ReadToken, WriteToken
from hanatalk.relay import serve as serving
from hanatalk.relay.options import RelayOptions
from hanatalk.relay.policy import Limits
from hanatalk.transport.link import connect
from hanatalk.transport.tls import client_context
from hanatalk.transport.urls import parse_relay_url
from hanatalk.wire import channels, events, frames
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection

READ, WRITE = ReadToken(b"r" * 32), WriteToken(b"w" * 32)
CHANNEL = channels.channel_id(READ, WRITE)
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def masked(opcode: int, content: bytes, *, final: bool = True, reserved: int = 0) -> bytes:
    """A client's WebSocket frame with a mask of zeros."""
    size = len(content)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([(0x80 if final else 0) | reserved | opcode]) + length + bytes(4) + content


async def raw(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Bytes to a relay, through TLS if its URL says so."""
    at = parse_relay_url(url)
    return await asyncio.open_connection(at.host, at.port, ssl=client_context(at.pin) if at.scheme == "wss" else None)


async def last_words(url: str, sent: bytes) -> list[frames.RelayFrame]:
    """What the relay says to raw bytes after the handshake until it closes."""
    reader, writer = await raw(url)
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    writer.write(sent)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await asyncio.wait({asyncio.create_task(writer.wait_closed())})
    said: list[frames.RelayFrame] = []
    while answer:
        kind, size, start = answer[0], answer[1], 2
        if size == 126:
            size, start = int.from_bytes(answer[2:4], "big"), 4
        if kind == 0x82:
            said += frames.decode_relay_frames(answer[start : start + size])
        answer = answer[start + size :]
    return said


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (masked(2, b"garbage"), "malformed"),
        (masked(2, b""), "malformed"),
        (masked(1, b"text"), "not-binary"),
        (masked(2, b"\x91", final=False), "fragmented"),
        (masked(0, b"\x91"), "fragmented"),
        (masked(2, frames.encode([frames.Ping(1)])), "hello-first"),
        (masked(2, frames.encode([frames.Hello([1])]), reserved=0x40), "fragmented"),
        (masked(2, frames.encode([frames.Hello([9])])), "version"),
    ],
)
async def test_what_is_no_protocol_ends_with_its_code(sent: bytes, code: str) -> None:
    """HT-R-011, HT-R-012, HT-R-017, T-076: over a real socket; and others are served on."""
    async with running_relay() as url:
        _, link, seen = await opened(url)
        await seen.until(events.CaughtUp)
        assert (await last_words(url, sent))[-1] == frames.Refused(None, code, None, "")
        assert not link.closed.done()
        link.close()


async def test_deadlines_hold_against_half_handshakes_and_half_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """T-076, HT-R-092: slow-loris, no HELLO, a frame that never ends."""
    monkeypatch.setattr(serving, "SWEEP_SECONDS", 0.05)
    limits = Limits(hello_deadline=0.2, idle_deadline=0.3)
    async with running_relay(limits=limits) as url:
        hello = masked(2, frames.encode([frames.Hello([1])]))
        silent, half = await asyncio.gather(last_words(url, b""), last_words(url, hello + masked(2, bytes(100))[:50]))
        assert silent == [frames.Refused(None, "slow", None, "")]
        assert half[-1] == frames.Refused(None, "slow", None, "")


async def test_who_answers_pings_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """HT-R-092: silence is fine as long as somebody is there."""
    monkeypatch.setattr(serving, "SWEEP_SECONDS", 0.05)
    async with running_relay(limits=Limits(idle_deadline=0.4)) as url:
        connection, link, seen = await opened(url)
        await asyncio.sleep(1.0)  # the passing of time is what is tested
        connection.ping()
        link.flush()
        await seen.until(events.Pong)
        link.close()


@pytest.mark.parametrize("tls", [None, "self"], ids=["plain", "tls"])
def test_a_stalled_subscriber_costs_bounded_memory_and_resumes(tmp_path: Path, tls: str | None) -> None:
    """T-077, HT-R-055: 64 MiB pending for somebody who does not read; a process of its own, the store on disk."""

    async def fill(url: str, numbers: range) -> None:
        connection, link, seen = await opened(url)
        for number in numbers:
            connection.append(
                CHANNEL,
                entry_id=EntryId(number.to_bytes(16, "big")),
                entry_class=EntryClass.ATTACHMENT,
                entry=number.to_bytes(2, "big") * 32_768,
            )
            if number % 16 == 15:
                link.flush()
                await seen.until(events.EntryStored, 16)
                seen.all.clear()
        link.close()
        await link.gone(10)

    limits = {"requests_per_second": 0, "bytes_per_second": 0}
    with relay_process(store="sqlite", data=str(tmp_path), limits=limits, tls=tls) as relay:
        asyncio.run(fill(relay.url, range(1024)))  # the store's own cache is full after this
        at = parse_relay_url(relay.url)
        stalled = socket.create_connection((at.host, at.port))
        if at.scheme == "wss":
            stalled = client_context(at.pin).wrap_socket(stalled)
        subscribing = [
            frames.Hello([1]),
            frames.Open(1, CHANNEL, READ, True, WRITE, True),
            frames.Subscribe(1, 1024),
        ]
        stalled.sendall(HANDSHAKE + masked(2, frames.encode(subscribing)))
        before = _rss(relay.process.pid)
        asyncio.run(fill(relay.url, range(1024, 2048)))
        grown = _rss(relay.process.pid) - before
        # What has landed stays in RAM until it is settled, up to 32 MiB on a side (docs/adr/0018).
        assert grown < (16 + 32) << 20
        assert _read_entries(stalled, 1024) == [number.to_bytes(2, "big") for number in range(1024, 2048)]


def _rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _read_entries(stalled: socket.socket, count: int) -> list[bytes]:
    """The first two bytes of each pushed entry, in order."""
    stalled.settimeout(20)
    with stalled, stalled.makefile("rb") as stream:
        while stream.readline() != b"\r\n":
            pass
        found: list[bytes] = []
        while len(found) < count:
            first, second = stream.read(2)
            assert first == 0x82
            size = second
            if second == 126:
                size = int.from_bytes(stream.read(2), "big")
            elif second == 127:
                size = int.from_bytes(stream.read(8), "big")
            for frame in frames.decode_relay_frames(stream.read(size)):
                if isinstance(frame, frames.Entries):
                    found += [entry.entry[:2] for entry in frame.entries]
    return found


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "relay.example", ""])
async def test_plain_is_served_on_loopback_only(host: str) -> None:
    """HT-R-093"""
    with pytest.raises(UsageError, match=r"relay\.plain-host"):
        async with running_relay(host=host):
            pass


async def test_a_taken_port_is_said() -> None:
    async with running_relay() as url:
        with pytest.raises(UsageError, match=r"relay\.address-in-use"):
            async with running_relay(port=int(url.rsplit(":", 1)[1])):
                pass


async def test_a_locked_folder_is_said(tmp_path: Path) -> None:
    """HT-R-095"""
    async with running_relay(data=tmp_path):
        with pytest.raises(StorageError, match=r"relay\.locked"):
            async with running_relay(data=tmp_path):
                pass


async def test_the_sqlite_store_needs_a_folder() -> None:
    with pytest.raises(UsageError, match=r"relay\.data-needed"):
        async with running_relay(store="sqlite"):
            pass


async def test_the_identity_outlives_the_store(tmp_path: Path) -> None:
    """HT-R-062, T-024: what a wiped store forgets is not who the relay is."""
    keys = set()
    for _ in range(2):
        async with running_relay(data=tmp_path) as url:
            seen = Events()
            link = await connect(url, ClientConnection(), seen)
            (answered,) = await seen.until(events.HelloAnswered)
            assert isinstance(answered, events.HelloAnswered)
            keys.add(answered.relay_key)
            link.close()
    assert len(keys) == 1


async def test_a_nearly_full_disk_refuses_before_acknowledging(tmp_path: Path) -> None:
    """T-080, HT-R-044"""
    async with running_relay(data=tmp_path, least_free=1 << 62) as url:
        connection, link, seen = await opened(url)
        connection.append(CHANNEL, entry_id=EntryId(bytes(16)), entry_class=EntryClass.MESSAGE, entry=b"entry")
        link.flush()
        (refused,) = await seen.until(events.Refused)
        assert isinstance(refused, events.Refused)
        assert refused.code == "relay-full"
        link.close()


async def test_a_fast_client_is_slowed_not_refused() -> None:
    """HT-R-091"""
    limits = Limits(requests_per_second=200, burst_seconds=1)
    async with running_relay(limits=limits) as url:
        connection, link, seen = await opened(url)
        began = time.monotonic()
        for _ in range(10):
            for _ in range(30):
                connection.ping()
            link.flush()
            await seen.until(events.Pong, 30)
            seen.all.clear()
        assert time.monotonic() - began > 0.3  # 300 requests, 200 of them saved up; the rest takes half a second
        assert not link.closed.done()
        link.close()


def test_sigterm_drains_and_ends_well(tmp_path: Path) -> None:
    """HT-R-096"""

    async def talk(url: str) -> tuple[object, float]:
        _, link, seen = await opened(url)
        await seen.until(events.CaughtUp)
        began = time.monotonic()
        await asyncio.to_thread(lambda: codes.append(relay.terminate()))
        reason = await asyncio.wait_for(link.closed, 6)
        return reason, time.monotonic() - began

    codes: list[int] = []
    with relay_process(store="memory", data=str(tmp_path)) as relay:
        reason, took = asyncio.run(talk(relay.url))
    assert str(reason) == "relay.draining"
    assert codes == [0]
    assert took < 6


def test_sigterm_does_not_wait_for_who_does_not_read(tmp_path: Path) -> None:
    """HT-R-096"""
    with relay_process(store="memory", drain=0.5) as relay:
        host, port = relay.url.removeprefix("ws://").split(":")
        with socket.create_connection((host, int(port))) as deaf:
            deaf.sendall(HANDSHAKE + masked(2, frames.encode([frames.Hello([1])])))
            deaf.recv(1)
            began = time.monotonic()
            assert relay.terminate() == 0
            assert time.monotonic() - began < 5


@pytest.mark.parametrize("tls", [None, "self"], ids=["ws", "wss"])
@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_no_address_token_or_channel_in_any_log_line(tmp_path: Path, debug: bool, tls: str | None) -> None:
    """T-003, HT-R-094, HT-R-072: every way a connection can go wrong, then what stderr holds."""

    async def misbehave(url: str) -> None:
        connection, link, seen = await opened(url)
        connection.append(CHANNEL, entry_id=EntryId(b"E" * 16), entry_class=EntryClass.MESSAGE, entry=b"SECRET" * 9)
        link.flush()
        await seen.until(events.EntryStored)
        for sent in [
            masked(2, b"garbage SECRET"),
            masked(1, b"SECRET"),
            masked(2, b"\x91", final=False),
            masked(8, b"\x03\xe8SECRET"),
            b"\xff" * 40,
            masked(2, frames.encode([frames.Hello([1]), frames.Proof(b"SECRET" + bytes(26), None)])),
        ]:
            await last_words(url, sent + masked(8, b"\x03\xe8"))
        at = parse_relay_url(url)
        for request in [b"POST /SECRET HTTP/1.1\r\n\r\n", b"GET /SECRET HTTP/1.0\r\n\r\n", b"SECRET\r\n\r\n"]:
            reader, writer = await raw(url)
            writer.write(request)
            await reader.read()
            writer.close()
            await asyncio.wait({asyncio.create_task(writer.wait_closed())})
        if tls is not None:
            await asyncio.to_thread(break_handshakes, at.host, at.port)
        ports.append(str(at.port))
        link.close()
        await link.gone(10)

    ports: list[str] = []
    with relay_process(debug=debug, store="sqlite", data=str(tmp_path), tls=tls) as relay:
        asyncio.run(misbehave(relay.url))
        assert relay.terminate() == 0
    if not debug:
        said = [json.loads(line)["event"] for line in relay.log.splitlines()]
        assert [event for event in said if event != "few-files"] == ["listening", "draining", "drained", "stopped"]
    for needle in [
        "SECRET",
        "127.0.0.1",
        ports[0],
        "ws://",
        "wss://",
        str(tmp_path),
        CHANNEL.hex(),
        READ.hex(),
        WRITE.hex(),
    ]:
        assert needle not in relay.log


def careless() -> ssl.SSLContext:
    """Takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def outdated() -> ssl.SSLContext:
    """A client that knows no TLS 1.3."""
    context = careless()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def break_handshakes(host: str, port: int) -> None:
    """What comes to a TLS port and is no TLS, or ends too early."""
    hello = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + b"SECRET" * 10  # a ClientHello, cut
    for sent in [b"", b"GET /SECRET HTTP/1.1\r\n\r\n", b"SECRET" * 100, hello, hello[:5] + b"SECRET" * 100]:
        with socket.create_connection((host, port), timeout=10) as rude, contextlib.suppress(ConnectionError):
            rude.sendall(sent)
            rude.shutdown(socket.SHUT_WR)
            rude.recv(1)
    for suspicious in (ssl.create_default_context(), outdated()):  # hangs up on our certificate; TLS 1.2
        client = socket.create_connection((host, port), timeout=10)
        with client, pytest.raises((ssl.SSLError, ConnectionError)):
            suspicious.wrap_socket(client, server_hostname="SECRET.example")
    with socket.create_connection((host, port), timeout=10) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset in mid-connection
        careless().wrap_socket(client, do_handshake_on_connect=True).close()


def test_the_options_do_not_print_the_pass() -> None:
    assert "sesame" not in repr(RelayOptions(access_pass=b"sesame"))
