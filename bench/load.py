"""The load: pairs of connections, closed loops for throughput, open loops for latency.

Every protocol is driven alike: raw bytes, prebuilt where they can be, one write per connection for everything that is
due, delivered messages counted at the receiving connection. The driver is this process, alone on its core.
"""

import asyncio
import gc
import time
from array import array
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import uvloop

from bench.machine import NotMeasured, cpu_seconds, own_cpu_seconds, percentile

T = TypeVar("T")
TICK = 0.001  # seconds between two looks of an open loop


class Pair:
    """One sending and one receiving connection. Messages arrive in the order in which they were sent."""

    def __init__(self) -> None:
        self.due: deque[float] = deque()  # when each message under way was, or should have been, sent
        self.on_arrived: Callable[[Pair, int], None] = lambda _pair, _count: None

    def send(self, count: int) -> None:
        """Write `count` messages in one go."""
        raise NotImplementedError

    def close(self) -> None:
        """Drop both connections."""
        raise NotImplementedError


@dataclass
class Measured:
    """One run. Latencies in milliseconds, CPU in seconds."""

    rate: float
    p50: float
    p99: float
    server_per_10k: float
    server_share: float  # of one core
    driver_share: float
    lost: int = 0


class _Meter:
    """Counts what arrives, and how long it took."""

    def __init__(self, pids: Sequence[int]) -> None:
        self.pids = pids
        self.count = 0
        self.times = array("d")

    def start(self) -> None:
        self.count = 0
        self.times = array("d")
        self._began = time.perf_counter()
        self._cpu = cpu_seconds(self.pids), own_cpu_seconds()

    def stop(self) -> Measured:
        seconds = time.perf_counter() - self._began
        server = cpu_seconds(self.pids) - self._cpu[0]
        driver = own_cpu_seconds() - self._cpu[1]
        if not self.count:
            raise NotMeasured("nothing arrived")
        return Measured(
            rate=self.count / seconds,
            p50=percentile(self.times, 0.5) * 1e3,
            p99=percentile(self.times, 0.99) * 1e3,
            server_per_10k=server / self.count * 1e4,
            server_share=server / seconds,
            driver_share=driver / seconds,
        )


async def _drain(pairs: Sequence[Pair], *, seconds: float = 10.0) -> int:
    """Wait for what is under way; returns how many messages never came."""
    until = time.perf_counter() + seconds
    while any(pair.due for pair in pairs) and time.perf_counter() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    return sum(len(pair.due) for pair in pairs)


async def closed_loop(
    pairs: Sequence[Pair], pids: Sequence[int], *, window: int, seconds: float, warm_up: float = 1.0
) -> Measured:
    """Each pair keeps `window` messages under way: a new one goes out when one was delivered."""
    meter = _Meter(pids)
    going = True

    def arrived(pair: Pair, count: int) -> None:
        now = time.perf_counter()
        meter.count += count
        due, times = pair.due, meter.times
        for _ in range(count):
            times.append(now - due.popleft())
        if going:
            due.extend([now] * count)
            pair.send(count)

    now = time.perf_counter()
    for pair in pairs:
        pair.on_arrived = arrived
        pair.due.extend([now] * window)
        pair.send(window)
    await asyncio.sleep(warm_up)
    meter.start()
    await asyncio.sleep(seconds)
    measured = meter.stop()
    going = False
    measured.lost = await _drain(pairs)
    return measured


async def open_loop(
    pairs: Sequence[Pair], pids: Sequence[int], *, rate: float, seconds: float, warm_up: float = 1.0
) -> Measured:
    """`rate` messages a second, whatever comes back. Latency counts from when a message was due to be sent."""
    meter = _Meter(pids)

    def arrived(pair: Pair, count: int) -> None:
        now = time.perf_counter()
        meter.count += count
        due, times = pair.due, meter.times
        for _ in range(count):
            times.append(now - due.popleft())

    for pair in pairs:
        pair.on_arrived = arrived
    began = time.perf_counter()
    sent = 0
    started = False
    while (passed := time.perf_counter() - began) < seconds + warm_up:
        if not started and passed >= warm_up:
            started = True
            meter.start()
        for number in range(sent, int(passed * rate)):
            pair = pairs[number % len(pairs)]
            pair.due.append(began + number / rate)
            pair.send(1)
        sent = max(sent, int(passed * rate))
        await asyncio.sleep(TICK)
    measured = meter.stop()
    measured.lost = await _drain(pairs)
    return measured


def run(work: Coroutine[Any, Any, T]) -> T:
    """On a loop of its own, without collections of garbage in between."""
    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    finally:
        gc.enable()
