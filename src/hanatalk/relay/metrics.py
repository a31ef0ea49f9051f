"""The page of metrics (HT-R-131), in Prometheus's text format. Pure: figures in, text out.

Only sums over everybody: no label names a connection, a channel, an address or a reader, and no figure says when
anything was.
"""

from collections.abc import Iterable, Mapping

import msgspec

from hanatalk.relay.counters import Counters, Histogram
from hanatalk.wire.classes import EntryClass

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Readings(msgspec.Struct, frozen=True, kw_only=True):
    """What is so now. Sizes in bytes; None where there is no such thing (a relay without a folder has no disk).

    `by_class` counts entries; None: too many for a store that does not count them.
    """

    connections: int
    arriving: int
    open_channels: int
    subscriptions: int
    paused: int
    overdrawn: int
    unfinished: int
    entries: int
    entry_bytes: int
    by_class: Mapping[EntryClass, int] | None
    store_bytes: int | None
    disk_free: int | None
    resident: int


class _Page:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def _head(self, name: str, kind: str, says: str) -> str:
        full = f"hana_relay_{name}"
        self.lines += [f"# HELP {full} {says}", f"# TYPE {full} {kind}"]
        return full

    def gauge(self, name: str, says: str, value: int | None) -> None:
        if value is not None:
            self.lines.append(f"{self._head(name, 'gauge', says)} {value}")

    def gauges(self, name: str, says: str, label: str, values: Mapping[str, int]) -> None:
        full = self._head(name, "gauge", says)
        self.lines += [f'{full}{{{label}="{key}"}} {value}' for key, value in values.items()]

    def counter(self, name: str, says: str, value: int) -> None:
        full = self._head(f"{name}_total", "counter", says)
        self.lines.append(f"{full} {value}")

    def counters(self, name: str, says: str, label: str, values: Mapping[str, int]) -> None:
        full = self._head(f"{name}_total", "counter", says)
        self.lines += [f'{full}{{{label}="{key}"}} {value}' for key, value in values.items()]

    def histogram(self, name: str, says: str, histogram: Histogram) -> None:
        full = self._head(name, "histogram", says)
        for bound, count in _cumulative(histogram):
            self.lines.append(f'{full}_bucket{{le="{bound}"}} {count}')
        self.lines += [f"{full}_sum {histogram.total}", f"{full}_count {sum(histogram.counts)}"]


def _cumulative(histogram: Histogram) -> Iterable[tuple[str, int]]:
    so_far = 0
    for bound, count in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True):
        so_far += count
        yield bound, so_far


def page(counters: Counters, now: Readings) -> str:
    """The whole page."""
    made = _Page()
    made.gauge("connections", "Connections that are open.", now.connections)
    made.gauge("handshakes", "Connections that are not open yet.", now.arriving)
    made.gauge("open_channels", "Channels that are open, counted on each connection.", now.open_channels)
    made.gauge("subscriptions", "Channels that are subscribed to, counted on each connection.", now.subscriptions)
    made.gauge("paused_connections", "Connections that take nothing more at the moment.", now.paused)
    made.gauge("overdrawn_connections", "Connections above their rate, read slower at the moment.", now.overdrawn)
    made.gauge("unfinished_bytes", "Bytes of messages that are not whole yet, large ones only.", now.unfinished)
    made.gauge("entries", "Entries that are held.", now.entries)
    if now.by_class is not None:
        by_class = {kind.name.lower(): now.by_class.get(kind, 0) for kind in EntryClass}
        made.gauges("entries_by_class", "Entries that are held, if they can be counted.", "class", by_class)
    made.gauge("entry_bytes", "Bytes of entries that are held.", now.entry_bytes)
    made.gauge("store_bytes", "Bytes of the files in the data folder.", now.store_bytes)
    made.gauge("disk_free_bytes", "Bytes that the disk of the data folder has left.", now.disk_free)
    made.gauge("resident_bytes", "Bytes of memory in use by the process.", now.resident)
    made.counter("connections_opened", "Connections that were opened.", counters.connections)
    made.counter("handshakes_refused", "Connections that were dropped because too many came.", counters.turned_away)
    made.counter(
        "unfinished_dropped", "Connections that were dropped amid a message, for want of memory.", counters.unfinished
    )
    made.counter("frames_received", "Frames that were carried out or refused.", counters.frames_in)
    made.counter("frames_sent", "Frames that were written.", counters.frames_out)
    made.counter("received_bytes", "Bytes of messages that came in.", counters.bytes_in)
    made.counter("sent_bytes", "Bytes of messages that went out.", counters.bytes_out)
    appended = {kind.name.lower(): counters.appended[kind] for kind in EntryClass}
    made.counters("entries_appended", "Entries that were stored.", "class", appended)
    made.counter("entries_repeated", "Appends that were there already.", counters.repeated)
    made.counter("entries_burned", "Entries that went because everybody has them.", counters.burned)
    made.counter("entries_erased", "Requests to erase an entry that were granted.", counters.erased)
    made.counter("entries_taken", "Requests to take an entry that got one.", counters.taken)
    made.counter("entries_expired", "Entries that went because their days were over.", counters.expired)
    made.counters("requests_refused", "Requests that were refused.", "code", dict(sorted(counters.refused.items())))
    made.counters("connections_refused", "Connections that were ended.", "code", dict(sorted(counters.ended.items())))
    made.counter("subscribers_paused", "Times that a connection took nothing more.", counters.slowed)
    made.counter("connections_overdrawn", "Times that a connection went above its rate.", counters.overdrawn)
    made.histogram("batch_operations", "Operations that were made durable together.", counters.batch_sizes)
    made.histogram("batch_seconds", "Seconds until a batch was durable.", counters.batch_seconds)
    made.histogram("loop_lag_seconds", "Seconds that a timer came late.", counters.lag_seconds)
    return "\n".join(made.lines) + "\n"
