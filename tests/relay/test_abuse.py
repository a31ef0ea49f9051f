"""Slow, silent, half and stalled connections: caps and deadlines hold, and everybody else is served (T-076, T-077)."""

import asyncio
import contextlib
import os
import random
import select
import socket
import ssl
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.relay.running import RelayProcess, relay_process, running_relay
from tests.relay.test_metrics import fetch, parsed
from tests.relay.test_serve import HANDSHAKE, masked
from tests.transport.test_link import Events, opened

from hanatalk.ids import EntryId, ReadToken, WriteToken
from hanatalk.relay import serve as serving
from hanatalk.relay.options import Listening
from hanatalk.relay.policy import OWN_FILES, Limits
from hanatalk.transport import accepting, arriving
from hanatalk.transport.link import Link, connect
from hanatalk.transport.tls import client_context
from hanatalk.transport.urls import parse_relay_url
from hanatalk.wire import channels, events, frames
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection

READ, WRITE = ReadToken(b"r" * 32), WriteToken(b"w" * 32)
CHANNEL = channels.channel_id(READ, WRITE)
HELLO = masked(2, frames.encode([frames.Hello([1])]))
SLOW = frames.encode([frames.Refused(None, "slow", None, "")])


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


class Customer:
    """Somebody who behaves well, and notes how long each append takes."""

    def __init__(self, connection: ClientConnection, link: Link, seen: Events) -> None:
        self._connection, self._link, self._seen = connection, link, seen
        self.took: list[float] = []

    async def append(self) -> None:
        began = time.perf_counter()
        entry_id = EntryId(random.randbytes(16))
        self._connection.append(CHANNEL, entry_id=entry_id, entry_class=EntryClass.MESSAGE, entry=bytes(512))
        self._link.flush()
        await self._seen.until(events.EntryStored)
        self._seen.all.clear()
        self.took.append(time.perf_counter() - began)

    async def keep_appending(self) -> None:
        while True:
            await self.append()
            await asyncio.sleep(0.005)

    @property
    def worst(self) -> float:
        return max(self.took)


@contextlib.asynccontextmanager
async def customer(url: str) -> AsyncIterator[Customer]:
    connection, link, seen = await opened(url)
    await seen.until(events.CaughtUp)
    try:
        yield Customer(connection, link, seen)
        assert not link.closed.done()
    finally:
        link.close()
        await link.gone(10)


async def until_dropped(url: str, sent: list[bytes], *, pause: float = 0.0) -> bytes:
    """Send piece by piece, as long as the relay takes them; return all that came until it closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))

    async def send() -> None:
        with contextlib.suppress(ConnectionError):
            for piece in sent:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)

    sending = asyncio.create_task(send())
    came = b""
    with contextlib.suppress(ConnectionError):
        came = await asyncio.wait_for(reader.read(), 20)
    sending.cancel()
    writer.close()
    return came


async def test_who_dribbles_is_dropped_and_others_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """T-076, HT-R-092, HT-R-135: each way of taking a connection and giving nothing, many of each at once."""
    monkeypatch.setattr(serving, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(accepting, "HANDSHAKE_SECONDS", 0.5)
    limits = Limits(hello_deadline=0.5, idle_deadline=1.0)
    endless = [HANDSHAKE[:-2], *[b"X-More: and more\r\n"] * 5_000]
    half_frame = HELLO + masked(2, frames.encode([frames.Ping(1)]))[:-1]
    long_frame = HELLO + b"\x82\xff" + (1 << 20).to_bytes(8, "big") + bytes(4)
    ways = {
        "nothing at all": ([b""], 0.0),
        "a handshake byte by byte": ([bytes([byte]) for byte in HANDSHAKE[:-1]], 0.02),
        "half a handshake": ([HANDSHAKE[:40]], 0.0),
        "headers without end": (endless, 0.0),
        "no HELLO": ([HANDSHAKE], 0.0),
        "HELLO byte by byte": ([HANDSHAKE, *(bytes([byte]) for byte in masked(2, bytes(100)))], 0.02),
        "half a frame": ([HANDSHAKE, half_frame], 0.0),
        "a long frame byte by byte": ([HANDSHAKE, long_frame, *[b"\x00"] * 1_000], 0.01),
        "silence": ([HANDSHAKE, HELLO], 0.0),
    }
    refused = {"no HELLO", "half a frame", "silence"}  # whoever still sends may lose the last words to a reset
    async with running_relay(limits=limits) as url, customer(url) as well_behaved:
        appending = asyncio.create_task(well_behaved.keep_appending())
        began = time.perf_counter()
        names = [name for name in ways for _ in range(20)]
        came = await asyncio.gather(*(until_dropped(url, ways[name][0], pause=ways[name][1]) for name in names))
        took = time.perf_counter() - began
        appending.cancel()
        for name, answer in zip(names, came, strict=True):
            if name in refused:
                assert SLOW in answer, name
            elif not name.endswith("byte by byte"):
                assert not answer.startswith(b"HTTP/1.1 101"), name
        assert took < 8  # 1 s of deadlines, and a slow machine
        assert len(well_behaved.took) > 20
        assert well_behaved.worst < 1.5
    print(f"worst of {len(well_behaved.took)} appends meanwhile: {1000 * well_behaved.worst:.1f} ms")


def client_hello() -> bytes:
    """What a TLS client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client_context(bytes(32)).wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("tls", [None, "self"], ids=["plain", "tls"])
async def test_only_so_many_may_arrive_at_once(monkeypatch: pytest.MonkeyPatch, tls: Literal["self"] | None) -> None:
    """T-076, HT-R-135: half handshakes of TLS count like those of the WebSocket; whoever does finish gets in
    between them, though every one of them stays as long as it may, and who is in notices nothing."""
    monkeypatch.setattr(accepting, "HANDSHAKE_SECONDS", 60.0)
    monkeypatch.setattr(arriving, "PATIENCE", 0.3)
    begun: list[Listening] = []
    half = [b"", HANDSHAKE[:40]] if tls is None else [b"", b"\x16\x03\x01", client_hello()]
    options = {"limits": Limits(handshakes=10), "tls": tls, "admin_port": 0, "metrics_every": 0.0}
    async with running_relay(began=begun.append, **options) as url, customer(url) as inside:
        with contextlib.ExitStack() as sockets:
            for number in range(40):
                one = sockets.enter_context(socket.create_connection(("127.0.0.1", parse_relay_url(url).port)))
                one.sendall(half[number % len(half)])
            await inside.append()
            assert begun[0].admin is not None
            assert parsed(await fetch(begun[0].admin))["handshakes"] == 10
            async with customer(url) as late:
                await late.append()
            await inside.append()
            found = parsed(await fetch(begun[0].admin))
            assert found["handshakes"] <= 10
            assert found["handshakes_refused_total"] >= 21  # each made room for another, the last for `late`


def test_limits_fit_the_files_that_a_process_may_open() -> None:
    """HT-R-090: better `busy` than out of files."""
    assert Limits().within(1 << 20) == Limits()
    few = Limits().within(1_024)
    assert few.connections + few.handshakes + OWN_FILES <= 1_024
    assert few.connections > 700
    assert Limits().within(16).connections == 1
    assert few.work_from < few.connections  # pressure comes before the end (HT-R-124)
    assert Limits(connections=100).within(1 << 20).work_from == 75
    assert Limits(connections=100, work_from=10).within(1 << 20).work_from == 10


def rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def idle_sockets(relay: RelayProcess, count: int) -> Iterator[socket.socket]:
    """WebSockets that said HELLO and nothing more, from addresses all over 127.0.0.0/8."""
    for number in range(count):
        source = f"127.{1 + number % 200}.{number // 200 % 200}.7"
        one = socket.create_connection(("127.0.0.1", port_of(relay.url)), source_address=(source, 0), timeout=20)
        one.sendall(HANDSHAKE + HELLO)
        yield one


def hold(count: int) -> None:
    """Idle sockets by the thousand cost a bounded, small sum, and an append takes as long as before."""
    limits = {"requests_per_second": 0, "bytes_per_second": 0}
    with relay_process(store="memory", limits=limits) as relay, contextlib.ExitStack() as sockets:

        async def appends() -> Customer:
            async with customer(relay.url) as somebody:
                for _ in range(300):
                    await somebody.append()
            return somebody

        before = asyncio.run(appends())
        at_first = rss(relay.process.pid)
        for one in idle_sockets(relay, count):
            sockets.enter_context(one)
        meanwhile = asyncio.run(appends())
        each = (rss(relay.process.pid) - at_first) / count
        assert relay.process.poll() is None
        quick, slow = (statistics.median(who.took) for who in (before, meanwhile))
        print(
            f"{count} idle: {each / 1024:.1f} KiB each; append {1000 * quick:.2f} ms, with them {1000 * slow:.2f} ms,"
            f" worst {1000 * meanwhile.worst:.1f} ms"
        )
        assert each < 64 << 10
        assert slow < 10 * quick + 0.02
        assert meanwhile.worst < 3


def test_idle_sockets_cost_little() -> None:
    """T-076: a thousand here; ten thousand in `make soak`."""
    hold(1_000)


@pytest.mark.soak
def test_ten_thousand_idle_sockets() -> None:
    """T-076"""
    hold(10_000)


def stall(pending: int, data: Path) -> None:
    """One subscriber does not read while `pending` entries come; another reads all. Then the first reads on."""

    async def fill(url: str) -> None:
        read = 0
        done = asyncio.Event()
        sender = ClientConnection()
        seen = Events()

        def arrived(found: list[events.Event]) -> None:
            nonlocal read
            read += sum(isinstance(event, events.EntryReceived) for event in found)
            if read == pending:
                done.set()

        reader = ClientConnection()
        reading = await connect(url, reader, arrived)
        reader.open(CHANNEL, read=READ, write=WRITE)
        reader.subscribe(CHANNEL, 0)
        reading.flush()
        sending = await connect(url, sender, seen)
        sender.open(CHANNEL, read=READ, write=WRITE)
        for first in range(0, pending, 500):
            for number in range(first, min(first + 500, pending)):
                sender.append(
                    CHANNEL,
                    entry_id=EntryId(number.to_bytes(16, "big")),
                    entry_class=EntryClass.MESSAGE,
                    entry=number.to_bytes(4, "big") + bytes(508),
                )
            sending.flush()
            await seen.until(events.EntryStored, min(500, pending - first))
            seen.all.clear()
        await asyncio.wait_for(done.wait(), 60)
        for link in (sending, reading):
            link.close()
            await link.gone(10)

    limits = {"requests_per_second": 0, "bytes_per_second": 0, "idle_deadline": 3_600}  # a million take minutes
    grown: list[int] = []
    for is_stalled in (False, True):
        with (
            relay_process(store="sqlite", data=str(data / str(is_stalled)), limits=limits) as relay,
            socket.create_connection(("127.0.0.1", port_of(relay.url)), timeout=60) as stalled,
        ):
            asked = [frames.Open(1, CHANNEL, READ, True, WRITE, True), frames.Subscribe(1, 0)]
            stalled.sendall(HANDSHAKE + HELLO + (masked(2, frames.encode(asked)) if is_stalled else b""))
            before = rss(relay.process.pid)
            began = time.perf_counter()
            asyncio.run(fill(relay.url))
            took = time.perf_counter() - began
            grown.append(rss(relay.process.pid) - before)
            if is_stalled:
                assert entries_of(stalled, pending) == list(range(pending))
    without, with_stalled = (size / (1 << 20) for size in grown)
    print(f"{pending} stored ({pending / took:.0f}/s): {without:.1f} MiB more without, {with_stalled:.1f} with it")
    # What the store caches of what it holds is the same; a copy of what is pending would be half a KiB each.
    assert with_stalled < without + 12 + pending / 50_000


def entries_of(stalled: socket.socket, count: int) -> list[int]:
    """The number in each pushed entry, in order."""
    found: list[int] = []
    with stalled.makefile("rb") as stream:
        while stream.readline() != b"\r\n":
            pass
        while len(found) < count:
            first, size = stream.read(2)
            assert first == 0x82
            if size == 126:
                size = int.from_bytes(stream.read(2), "big")
            elif size == 127:
                size = int.from_bytes(stream.read(8), "big")
            for frame in frames.decode_relay_frames(stream.read(size)):
                if isinstance(frame, frames.Entries):
                    found += [int.from_bytes(entry.entry[:4], "big") for entry in frame.entries]
    return found


def test_fifty_thousand_pending_for_a_stalled_subscriber(tmp_path: Path) -> None:
    """T-077, HT-R-055: memory is bounded, others get everything at once, the stalled one gets all of it later."""
    stall(50_000, tmp_path)


@pytest.mark.soak
def test_a_million_pending_for_a_stalled_subscriber(tmp_path: Path) -> None:
    """T-077"""
    stall(1_000_000, tmp_path)


def port_and_tls(url: str) -> tuple[int, ssl.SSLContext | None]:
    at = parse_relay_url(url)
    return at.port, client_context(at.pin) if at.scheme == "wss" else None


def connected(url: str) -> socket.socket:
    """A socket to a relay, through TLS if its URL says so."""
    port, tls = port_and_tls(url)
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    return plain if tls is None else tls.wrap_socket(plain)


def large_message() -> bytes:
    """Nearly 1 MiB that the relay reads and then refuses to store: all of it for a turn that is not the channel's."""
    asked: list[Any] = [frames.Hello([1]), frames.Open(1, CHANNEL, READ, True, WRITE, True)]
    for request in range(2, 17):
        one = (request, 1, bytes(16), EntryClass.MESSAGE, False, 99, None, None, bytes(65_000))
        asked.append(frames.Append(*one))
    content = frames.encode(asked)
    return b"\x82\xff" + len(content).to_bytes(8, "big") + bytes(4) + content


def crowd(relay: RelayProcess, sent: bytes, count: int) -> tuple[float, float]:
    """So many send the same; then MiB of memory that the relay has taken for it, and a customer's slowest append."""
    before = rss(relay.process.pid)

    async def appends(url: str) -> float:
        async with customer(url) as somebody:
            for _ in range(50):
                await somebody.append()
            return somebody.worst

    with contextlib.ExitStack() as sockets:
        for _ in range(count):
            one = sockets.enter_context(connected(relay.url))
            with contextlib.suppress(OSError):  # whoever is dropped in the midst of it
                one.sendall(sent)
        worst = asyncio.run(appends(relay.url))
        large = asyncio.run(answers_to(relay.url, large_message()))
        assert large.count(b"stale-turn") == 15, "a large message of somebody who finishes it"
        return (rss(relay.process.pid) - before) / (1 << 20), worst


async def answers_to(url: str, sent: bytes) -> bytes:
    """What comes within the time that 15 refusals need."""
    port, tls = port_and_tls(url)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    writer.write(HANDSHAKE + sent)
    came = b""
    while came.count(b"stale-turn") < 15:
        came += await asyncio.wait_for(reader.read(1 << 16), 10)
    writer.close()
    await asyncio.wait({asyncio.create_task(writer.wait_closed())})
    return came


@pytest.mark.parametrize("tls", [None, "self"], ids=["plain", "tls"])
def test_half_messages_cost_a_bounded_sum(tls: str | None) -> None:
    """T-076, HT-R-137: 100 MiB of messages without their last byte; then of whole ones, whose buffers stay."""
    limits = {"unfinished_size": 8 << 20, "requests_per_second": 0, "bytes_per_second": 0}
    with relay_process(store="memory", limits=limits, tls=tls, admin_port=0, metrics_every=0.0) as relay:
        crowd(relay, HANDSHAKE + HELLO, 1)  # what the first of all costs
        half, worst_of_half = crowd(relay, HANDSHAKE + large_message()[:-1], 100)
        figures = parsed(asyncio.run(fetch(relay.admin)))
        whole, worst_of_whole = crowd(relay, HANDSHAKE + large_message(), 100)
        assert relay.process.poll() is None
    print(f"100 half messages of 1 MiB: {half:.1f} MiB, slowest append {1000 * worst_of_half:.0f} ms")
    print(f"100 whole messages of 1 MiB: {whole:.1f} MiB, slowest append {1000 * worst_of_whole:.0f} ms")
    assert figures["unfinished_dropped_total"] >= 90
    assert figures["unfinished_bytes"] <= 8 << 20
    assert max(half, whole) < 8 + 40  # what the allocator keeps on top does not grow with their number
    assert max(worst_of_half, worst_of_whole) < 1.5


async def test_a_message_that_has_begun_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """T-076, HT-R-138: sooner than the 120 seconds of silence; what was slow but came is answered."""
    monkeypatch.setattr(serving, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(accepting, "MESSAGE_SECONDS", 0.4)
    whole = masked(2, frames.encode([frames.Ping(7)]))
    slowly = [HANDSHAKE, HELLO, *(bytes([byte]) for byte in whole), masked(8, b"\x03\xe8")]
    async with running_relay() as url:
        began = time.perf_counter()
        half, slow = await asyncio.gather(
            until_dropped(url, [HANDSHAKE, HELLO + whole[:-1]]),
            until_dropped(url, slowly, pause=0.02),
        )
        assert time.perf_counter() - began < 10
    assert SLOW in half
    assert frames.encode([frames.Pong(7)]) in slow


def flood(relay: RelayProcess, count: int) -> tuple[int, float, dict[str, float]]:
    """So many TLS handshakes that stop after the first message, while a customer appends.

    Returns how many bytes of memory the relay takes for them, the customer's slowest append, the relay's own figures.
    """
    hello, port = client_hello(), parse_relay_url(relay.url).port

    def knock(sockets: contextlib.ExitStack) -> None:
        for _ in range(count):
            one = sockets.enter_context(socket.socket())
            one.setblocking(False)  # who waits outside is not waited for
            with contextlib.suppress(BlockingIOError):
                one.connect(("127.0.0.1", port))
            writable = select.poll()  # `select` knows 1,024 files
            writable.register(one, select.POLLOUT)
            writable.poll(20)  # ms: the queue may be full
            with contextlib.suppress(OSError):
                one.send(hello)

    async def meanwhile() -> tuple[int, float, dict[str, float]]:
        async with customer(relay.url) as inside:
            await inside.append()
            before = rss(relay.process.pid)
            with contextlib.ExitStack() as sockets:
                knocking = asyncio.create_task(asyncio.to_thread(knock, sockets))
                while not knocking.done():
                    await inside.append()
                await knocking
                figures = parsed(await fetch(relay.admin))
                grown = rss(relay.process.pid) - before
                for _ in range(30):  # the handshakes are still there, and those who wait for their turn
                    await inside.append()
                return grown, inside.worst, figures

    return asyncio.run(meanwhile())


def hold_the_door(count: int, handshakes: int) -> None:
    limits = {"handshakes": handshakes}
    with relay_process(store="memory", tls="self", limits=limits, admin_port=0, metrics_every=0.0) as relay:
        grown, worst, figures = flood(relay, count)
        assert relay.process.poll() is None
    print(f"{count} half TLS handshakes: {grown / (1 << 20):.1f} MiB, slowest append {1000 * worst:.0f} ms")
    assert figures["handshakes"] == handshakes
    assert grown < handshakes * (96 << 10) + (8 << 20)
    assert worst < 1.5


def test_a_flood_of_half_tls_handshakes_touches_nobody() -> None:
    """T-076, HT-R-135: a process of its own; memory is that of the handshakes that are let in."""
    hold_the_door(300, 64)


@pytest.mark.soak
def test_a_large_flood_of_half_tls_handshakes() -> None:
    """T-076"""
    hold_the_door(3_000, 1_024)
