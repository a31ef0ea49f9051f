"""What the relay counts of itself: totals since it started, of everybody together (HT-R-131). No clock."""

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """How often a value was at most so large; in the shape that Prometheus wants."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)  # ascending, each inclusive
        self.counts = [0] * (len(bounds) + 1)  # of values above the bound before; the last: above all
        self.total: float = 0  # of all values

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Counters:
    """Only ever grow. Whoever does the thing adds to them: an addition per message or batch, nothing per frame."""

    __slots__ = (
        "appended",
        "batch_seconds",
        "batch_sizes",
        "burned",
        "bytes_in",
        "bytes_out",
        "connections",
        "ended",
        "erased",
        "expired",
        "frames_in",
        "frames_out",
        "lag_seconds",
        "overdrawn",
        "refused",
        "repeated",
        "slowed",
        "taken",
        "turned_away",
        "unfinished",
    )

    def __init__(self) -> None:
        self.connections = 0  # WebSockets that were opened
        self.turned_away = 0  # connections dropped before their handshake (HT-R-135)
        self.unfinished = 0  # connections dropped for the sake of others' messages (HT-R-137)
        self.frames_in = 0
        self.frames_out = 0
        self.bytes_in = 0  # of messages, without WebSocket and TLS
        self.bytes_out = 0
        self.appended = [0, 0, 0, 0, 0]  # entries by class (`EntryClass`, from 1)
        self.repeated = 0  # appends answered with the first answer (HT-R-041)
        self.burned = 0
        self.erased = 0
        self.taken = 0
        self.expired = 0
        self.slowed = 0  # times that a subscriber was paused (HT-R-055)
        self.overdrawn = 0  # times that a connection was read slower (HT-R-091)
        self.refused: dict[str, int] = {}  # requests, by code (HT-R-080)
        self.ended: dict[str, int] = {}  # connections, by code (HT-R-017)
        self.batch_sizes = Histogram((1, 4, 16, 64, 256, 1024, 4096))  # operations
        self.batch_seconds = Histogram((0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0))
        self.lag_seconds = Histogram((0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0))

    def refuse(self, code: str) -> None:
        self.refused[code] = self.refused.get(code, 0) + 1

    def end(self, code: str) -> None:
        self.ended[code] = self.ended.get(code, 0) + 1
