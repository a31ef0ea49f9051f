"""The page of metrics against what a relay was made to do, and against what it must not tell (HT-R-131)."""

import asyncio
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.relay.running import running_relay
from tests.simulated_relay import SimulatedRelay
from tests.transport.test_link import opened

from hanatalk.ids import EntryId, ReaderId, ReadToken, TakeId, WriteToken
from hanatalk.relay.core import Terms
from hanatalk.relay.counters import Counters, Histogram
from hanatalk.relay.logs import relay_log
from hanatalk.relay.metrics import Readings, page
from hanatalk.relay.policy import Limits
from hanatalk.relay.reporting import FEWEST, MOST_COUNTED, Reporting
from hanatalk.stores.interface import Held
from hanatalk.transport.arriving import Door
from hanatalk.transport.unfinished import Unfinished
from hanatalk.wire import channels, events, frames
from hanatalk.wire.channels import erase_hash
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection
from hanatalk.wire.refusals import RefusalCode

READ, WRITE = ReadToken(b"r" * 32), WriteToken(b"w" * 32)
CHANNEL = channels.channel_id(READ, WRITE)
CLASSES = [kind.name.lower() for kind in EntryClass]
READINGS = Readings(
    connections=1,
    arriving=1,
    open_channels=2,
    subscriptions=3,
    paused=4,
    overdrawn=5,
    unfinished=10,
    entries=6,
    entry_bytes=7,
    by_class={EntryClass.MESSAGE: 5, EntryClass.INVITE: 1},
    store_bytes=None,
    disk_free=8,
    resident=9,
)


def parsed(text: str) -> dict[str, float]:
    """``name{label="value"}`` and its value, by a parser of our own that knows just this much."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert name not in found
            found[name.removeprefix("hana_relay_")] = float(value)
    return found


async def fetch(admin: str, path: str = "/metrics") -> str:
    host, port = admin.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n\r\n")[2].decode()


def figures(relay: SimulatedRelay) -> dict[str, float]:
    return parsed(page(relay.core.counters, READINGS))


def test_every_thing_done_is_counted_once() -> None:
    """HT-R-131: appended, repeated, burned, erased, taken, refused; frames and bytes as they were on the wire."""
    relay = SimulatedRelay()
    connection = ClientConnection()
    pipe = relay.connect(connection)
    connection.open(CHANNEL, read=READ, write=WRITE)
    pipe.pump()

    def append(number: int, **fields: Any) -> None:
        fields.setdefault("entry_class", EntryClass.MESSAGE)
        connection.append(CHANNEL, entry_id=EntryId(number.to_bytes(16, "big")), entry=b"entry", **fields)

    append(1, burn_after=1)
    append(1, burn_after=1)  # again
    append(2, entry_class=EntryClass.CONTROL, commit=True)
    append(3, entry_class=EntryClass.INVITE)
    append(4, erase_hash=erase_hash(b"t" * 32))
    append(5, turn=0)  # stale
    pipe.pump()
    connection.acknowledge(CHANNEL, reader=ReaderId(bytes(16)), seq=1)
    connection.take(CHANNEL, TakeId(b"a" * 16))
    connection.take(CHANNEL, TakeId(b"b" * 16))  # nothing left
    connection.erase(CHANNEL, seq=4, erase_token=b"x" * 32)  # wrong
    connection.erase(CHANNEL, seq=4, erase_token=b"t" * 32)
    pipe.pump()
    found = figures(relay)
    expected = {
        'entries_appended_total{class="message"}': 2,
        'entries_appended_total{class="attachment"}': 0,
        'entries_appended_total{class="control"}': 1,
        'entries_appended_total{class="invite"}': 1,
        "entries_repeated_total": 1,
        "entries_burned_total": 1,
        "entries_taken_total": 1,
        "entries_erased_total": 1,
        'requests_refused_total{code="stale-turn"}': 1,
        'requests_refused_total{code="wrong-token"}': 1,
        "connections_opened_total": 1,
        "received_bytes_total": sum(map(len, pipe.sent)),
        "frames_received_total": sum(len(frames.decode_client_frames(message)) for message in pipe.sent),
        "frames_sent_total": 1 + 1 + 6 + 4,  # LIMITS, OPENED and an answer to each request
    }
    assert {name: found[name] for name in expected} == expected
    assert found["sent_bytes_total"] > 100
    held = relay.core.held()
    assert (held.entries, held.bytes) == (2, 10)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"garbage", "malformed"),
        (frames.encode([frames.Ping(1)]), "hello-first"),
        (frames.encode([frames.Hello([9])]), "version"),
    ],
)
def test_a_connection_that_is_ended_is_counted_by_its_code(sent: bytes, code: str) -> None:
    """HT-R-131"""
    relay = SimulatedRelay()
    peer = relay.core.connect(address=None, now=0.0)
    relay.core.receive(peer, sent, now=0.0)
    assert figures(relay)[f'connections_refused_total{{code="{code}"}}'] == 1


def test_subscriptions_and_open_channels_go_up_and_down() -> None:
    relay = SimulatedRelay()
    connection = ClientConnection()
    pipe = relay.connect(connection)
    connection.open(CHANNEL, read=READ, write=WRITE)
    connection.subscribe(CHANNEL, 0)
    connection.subscribe(CHANNEL, 0)  # replaces the first
    pipe.pump()
    assert (relay.core.open_channels, relay.core.subscriptions) == (1, 1)
    connection.close(CHANNEL)
    pipe.pump()
    assert (relay.core.open_channels, relay.core.subscriptions) == (0, 0)
    connection.open(CHANNEL, read=READ, write=WRITE)
    connection.subscribe(CHANNEL, 0)
    pipe.pump()
    relay.core.disconnect(next(iter(relay.core.peers)))
    assert (relay.core.open_channels, relay.core.subscriptions) == (0, 0)


def test_a_histogram_counts_up_to_and_with_its_bounds() -> None:
    histogram = Histogram((1, 10))
    for value in (0, 1, 1.5, 10, 11, 1000):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 2]
    assert histogram.total == 1023.5


def filled() -> Counters:
    """Everything that a page can hold."""
    counters = Counters()
    for code in RefusalCode:
        counters.refuse(code)
        counters.end(code)
    for histogram in (counters.batch_sizes, counters.batch_seconds, counters.lag_seconds):
        for value in (0, 0.002, 3, 10_000):
            histogram.observe(value)
    return counters


def test_prometheus_reads_the_page() -> None:
    """HT-R-131: by the parser of Prometheus's own client, which checks names, types, escapes and histograms."""
    parser = pytest.importorskip("prometheus_client.parser", reason="make setup installs it")
    text = page(filled(), READINGS)
    families = {family.name: family for family in parser.text_string_to_metric_families(text)}
    assert all(
        family.documentation and family.type in ("gauge", "counter", "histogram") for family in families.values()
    )
    assert len(families) == text.count("# TYPE")
    samples = [sample for family in families.values() for sample in family.samples]
    assert len(samples) == len(parsed(text))
    assert len({(sample.name, tuple(sample.labels.items())) for sample in samples}) == len(samples)
    for family in families.values():
        if family.type == "histogram":
            buckets = [sample.value for sample in family.samples if sample.name.endswith("_bucket")]
            assert buckets == sorted(buckets)
            assert family.samples[len(buckets) - 1].labels["le"] == "+Inf"
            (count,) = [sample.value for sample in family.samples if sample.name.endswith("_count")]
            assert count == buckets[-1] == 4
    assert families["hana_relay_connections_refused"].type == "counter"


def test_no_label_names_anybody() -> None:
    """HT-R-131, T-003: labels are classes, codes and bounds from lists of our own, whatever was sent."""
    relay = SimulatedRelay(terms=Terms(limits=Limits(connections_per_address=1)))
    for _ in range(3):
        relay.core.connect(address=b"ADDRESS", now=0.0)
    connection = ClientConnection()
    pipe = relay.connect(connection)
    connection.open(CHANNEL, read=READ, write=WRITE)
    connection.append(CHANNEL, entry_id=EntryId(b"E" * 16), entry_class=EntryClass.MESSAGE, entry=b"SECRET")
    pipe.pump()
    text = page(relay.core.counters, READINGS)
    labels = set(re.findall(r'(\w+)="([^"]*)"', text))
    assert {name for name, _ in labels} == {"class", "code", "le"}
    assert {value for name, value in labels if name == "code"} <= set(RefusalCode)
    assert {value for name, value in labels if name == "class"} == {kind.name.lower() for kind in EntryClass}
    assert not re.search(r"time|created|start|version", " ".join(parsed(text)))


def reporting_of(relay: SimulatedRelay, stream: io.StringIO, *, now: Callable[[], float]) -> Reporting:
    door = Door(most=1, most_of_one=1)
    return Reporting(
        relay.core,
        folder=None,
        log=relay_log(stream),
        now=now,
        every=60.0,
        door=door,
        unfinished=Unfinished(0),
        sockets=list,
    )


async def test_the_page_stays_as_it_is_for_a_while() -> None:
    """HT-R-131: who keeps every page cannot tell from two of them in which second something was."""
    clock = [100.0]
    relay = SimulatedRelay()
    reporting = Reporting(
        relay.core,
        folder=None,
        log=relay_log(io.StringIO()),
        now=lambda: clock[0],
        every=60.0,
        door=Door(most=1, most_of_one=1),
        unfinished=Unfinished(0),
        sockets=list,
    )
    before = reporting.metrics()
    relay.connect(ClientConnection())
    clock[0] += 59.9
    assert reporting.metrics() == before
    clock[0] += 0.2
    assert parsed(reporting.metrics())["connections_opened_total"] == 1


def test_entries_by_class_are_never_worth_a_long_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """HT-R-131: a store that does not count classes is asked for all it holds only while that is little."""
    relay = SimulatedRelay()
    held = relay.core.held()
    assert held.by_class is not None
    for entries, shown in ((MOST_COUNTED, True), (MOST_COUNTED + 1, False)):
        told = Held(entries, 0)
        monkeypatch.setattr(relay.core, "held", lambda told=told: told)
        found = parsed(reporting_of(relay, io.StringIO(), now=lambda: 0.0).metrics())
        assert ('entries_by_class{class="message"}' in found) is shown


def test_refused_connections_are_summed_up_and_few_are_kept_back() -> None:
    """HT-R-134, T-003: a line about fewer than ten could be about one person."""
    stream = io.StringIO()
    relay = SimulatedRelay()
    reporting = Reporting(
        relay.core,
        folder=None,
        log=relay_log(stream),
        now=lambda: 0.0,
        every=60.0,
        door=Door(most=1, most_of_one=1),
        unfinished=Unfinished(0),
        sockets=list,
    )
    for number in range(FEWEST):
        assert stream.getvalue() == ""
        relay.core.counters.end("busy")
        if number < FEWEST - 1:
            relay.core.counters.end("access-pass")
        reporting.sum_up()
    line = '{"code": "busy", "connections": 10, "event": "refused", "level": "info"}\n'
    assert stream.getvalue() == line
    reporting.sum_up()
    assert stream.getvalue() == line


async def test_a_running_relay_serves_its_page(tmp_path: Any) -> None:
    """HT-R-130, HT-R-131: gauges are of now; and a relay without `admin_port` has no such port."""
    begun: list[Any] = []
    options = {"store": "sqlite", "data": tmp_path, "admin_port": 0, "metrics_every": 0.0}
    async with running_relay(began=begun.append, **options) as url:
        connection, link, seen = await opened(url)
        connection.append(CHANNEL, entry_id=EntryId(bytes(16)), entry_class=EntryClass.MESSAGE, entry=b"entry")
        link.flush()
        await seen.until(events.EntryStored)
        assert await fetch(begun[0].admin, "/ready") == "ready\n"
        found = parsed(await fetch(begun[0].admin))
        assert (found["connections"], found["entries"], found["entry_bytes"]) == (1, 1, 5)
        by_class = {kind: found[f'entries_by_class{{class="{kind}"}}'] for kind in CLASSES}
        assert by_class == {"message": 1, "attachment": 0, "control": 0, "invite": 0}
        assert found["store_bytes"] > 4096
        assert found["disk_free_bytes"] > 0
        assert found["resident_bytes"] > 1 << 20
        assert found["batch_operations_count"] == found["batch_seconds_count"] == 1
        link.close()
    async with running_relay(began=begun.append) as _:
        assert begun[1].admin is None
