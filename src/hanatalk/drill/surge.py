"""The surge: a compressed day in which one afternoon 40 times as many people sign up, through real relays (T-079).

People of long standing talk in pairs all day, more in the evening than at night. Newcomers sign up all day, few an
hour, and 40 times as many at the wave's height; each leaves an invite, makes a group and then talks like the others.
What they do at the relay has sizes and number of entries of what the real client does (docs/operating-a-relay.md
shows them); nothing is encrypted, so that one machine plays thousands of people.
"""

import asyncio
import contextlib
import math
import random
import resource
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path

import msgspec

from hanatalk.drill.callers import Caller, Ledger, Place
from hanatalk.drill.processes import RelayProcess
from hanatalk.wire.classes import EntryClass

HOURS = 24
# How much is said in each hour, and how many sign up, as parts of a common hour.
ACTIVITY = (
    *(0.5, 0.3, 0.2, 0.1, 0.1, 0.2, 0.5, 0.9, 1.1, 1.1, 1.1, 1.2),
    *(1.4, 1.2, 1.1, 1.1, 1.2, 1.3, 1.5, 1.7, 1.8, 1.7, 1.2, 0.8),
)
WAVE = {13: 20.0, 14: 40.0, 15: 40.0, 16: 20.0}
KILLED_IN, KILLED_AT = 15, 0.25  # the hour, and how far into it
MESSAGE, INVITE, CONTROL = 512, 4_096, 16_384  # bytes
WORK = 8  # bits of work asked for under pressure (HT-R-124), instead of 18
SETTLE_SECONDS = 20.0  # for what is under way when the day is over


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """What is played.

    :param people: of long standing, in pairs.
    :param sign_ups: in an hour without a wave.
    :param messages: of one person, on the whole day.
    :param seconds: that the day lasts.
    :param most: connections that each relay takes; 0: its own limit.
    :param kill: kill the first relay at the wave's height and start it again.
    :param seed: of the dice.
    """

    people: int = 100
    sign_ups: int = 5
    messages: int = 60
    seconds: float = 48.0
    relays: int = 1
    most: int = 0
    kill: bool = False
    seed: int = 0

    def planned(self, hour: int) -> int:
        """How many sign up in this hour."""
        return round(self.sign_ups * WAVE.get(hour, 1.0))

    def spoken(self, hour: int, people: int) -> float:
        """Messages of so many people in this hour."""
        return people * self.messages * ACTIVITY[hour] / sum(ACTIVITY)


class Hour(msgspec.Struct, frozen=True, kw_only=True):
    """What one hour came to. Delays in ms, None if nothing arrived; refusals by code."""

    hour: int
    messages: int
    per_second: float
    sign_ups: int
    delay_p50_ms: float | None
    delay_p99_ms: float | None
    newcomers_p99_ms: float | None
    sign_up_p99_ms: float | None
    refused: dict[str, int]
    connections: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The day. `calm_p99_ms` and `wave_p99_ms` are of people of long standing, out of the wave and in it."""

    people: int
    newcomers: int
    signed_up: int
    acknowledged: int
    delivered: int
    lost: int
    waiting: int
    refused: dict[str, int]
    calm_p99_ms: float | None
    wave_p99_ms: float | None


async def play(day: Day, folder: Path) -> AsyncIterator[Hour | Summary]:
    """Play the day; yields each hour when it is over, then the summary. Relays and their data live in `folder`.

    It takes `day.seconds`, and `SETTLE_SECONDS` more at most.

    :raises NetworkError: ``relay.not-started``
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file, on this side too
    limits = ["--limit", f"work={WORK}"]  # one machine computes for all devices here
    if day.most:
        limits += ["--limit", f"connections={day.most}"]
    relays = [
        RelayProcess(folder / f"relay-{number}", log=folder / f"relay-{number}.log", more=limits)
        for number in range(day.relays)
    ]
    playing = _Playing(day, relays)
    try:
        for relay in relays:
            await relay.start()
        async for found in playing.play():
            yield found
    finally:
        await playing.end()
        for relay in relays:
            await relay.stop()


class _Playing:
    def __init__(self, day: Day, relays: Sequence[RelayProcess]) -> None:
        self._day = day
        self._relays = relays
        self._dice = random.Random(day.seed)  # noqa: S311 (to be repeated, not to be secret)
        self._ledger = Ledger()
        self._people: list[Caller] = []
        self._newcomers: list[Caller] = []
        self._talking: list[Caller] = []  # newcomers who have signed up
        self._tasks: set[asyncio.Task[None]] = set()
        self._delays: dict[bool, list[float]] = {False: [], True: []}  # in the wave?
        self._refused: dict[str, int] = {}

    async def play(self) -> AsyncIterator[Hour | Summary]:
        self._meet()
        await asyncio.sleep(min(1.0, self._day.seconds / HOURS))
        self._ledger.turn_page()
        length = self._day.seconds / HOURS
        begins = asyncio.get_running_loop().time()
        for hour in range(HOURS):
            said = await self._hour(hour, begins + hour * length, length)
            yield self._told(hour, said, length)
            self._ledger.turn_page()
        await self._settle()
        yield self._summary()

    async def end(self) -> None:
        """Everybody goes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(caller.hang_up() for caller in (*self._people, *self._newcomers)))

    def _meet(self) -> None:
        for number in range(max(1, self._day.people // 2)):
            place = Place(self._relays[number % len(self._relays)].url)
            for _ in range(2):
                caller = Caller(place, self._ledger, veteran=True)
                self._people.append(caller)
                caller.call()

    async def _hour(self, hour: int, begins: float, length: float) -> int:
        """Carry out what falls into this hour at its moment; returns how many messages were sent."""
        said = round(self._day.spoken(hour, len(self._people) + len(self._talking)))
        moments = [(self._dice.random(), self._say) for _ in range(said)]
        moments += [(self._dice.random(), self._sign_up) for _ in range(self._day.planned(hour))]
        if self._day.kill and hour == KILLED_IN:
            moments.append((KILLED_AT, self._kill))
        loop = asyncio.get_running_loop()
        for part, act in sorted(moments, key=lambda moment: moment[0]):
            late = begins + part * length - loop.time()
            # Who is late does not wait, but lets the others have their turn.
            await asyncio.sleep(max(0.0, late))
            act()
        await asyncio.sleep(max(0.0, begins + length - loop.time()))
        return said

    def _say(self) -> None:
        self._dice.choice([*self._people, *self._talking]).append(EntryClass.MESSAGE, MESSAGE)

    def _sign_up(self) -> None:
        relay = self._relays[len(self._newcomers) % len(self._relays)]
        caller = Caller(Place(relay.url), self._ledger, veteran=False)
        self._newcomers.append(caller)
        self._begin(self._arrive(caller))

    def _kill(self) -> None:
        self._begin(self._killed(self._relays[0]))

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _arrive(self, caller: Caller) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        caller.append(EntryClass.INVITE, INVITE)
        for _ in range(2):
            caller.append(EntryClass.CONTROL, CONTROL)
        caller.call()
        await caller.settled()
        self._ledger.sign_ups.append(loop.time() - began)
        self._talking.append(caller)

    async def _killed(self, relay: RelayProcess) -> None:
        await relay.kill()
        await relay.start()

    async def _settle(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + SETTLE_SECONDS
        # Whoever cannot sign up by then does not count: what nobody acknowledged nobody lost.
        for callers, seconds in ((self._people, SETTLE_SECONDS), (self._newcomers, SETTLE_SECONDS / 4)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(seconds, max(0.0, until - loop.time()))):
                    await asyncio.gather(*(caller.settled() for caller in callers))
        while loop.time() < until and self._ledger.lost:  # noqa: ASYNC110 (there is no one event to wait for)
            await asyncio.sleep(0.05)
        self._keep_page(in_wave=False)

    def _told(self, hour: int, said: int, length: float) -> Hour:
        ledger = self._ledger
        self._keep_page(in_wave=hour in WAVE)
        return Hour(
            hour=hour,
            messages=said,
            per_second=round(said / length, 1),
            sign_ups=self._day.planned(hour),
            delay_p50_ms=_part(ledger.delays, 0.5),
            delay_p99_ms=_part(ledger.delays, 0.99),
            newcomers_p99_ms=_part(ledger.newcomers_delays, 0.99),
            sign_up_p99_ms=_part(ledger.sign_ups, 0.99),
            refused=dict(sorted(ledger.refusals.items())),
            connections=ledger.connected,
        )

    def _keep_page(self, *, in_wave: bool) -> None:
        self._delays[in_wave] += self._ledger.delays
        for code, count in self._ledger.refusals.items():
            self._refused[code] = self._refused.get(code, 0) + count

    def _summary(self) -> Summary:
        ledger = self._ledger
        return Summary(
            people=len(self._people),
            newcomers=len(self._newcomers),
            signed_up=len(self._talking),
            acknowledged=len(ledger.acknowledged),
            delivered=len(ledger.delivered),
            lost=ledger.lost,
            waiting=ledger.waiting,
            refused=dict(sorted(self._refused.items())),
            calm_p99_ms=_part(self._delays[False], 0.99),
            wave_p99_ms=_part(self._delays[True], 0.99),
        )


def _part(seconds: Sequence[float], part: float) -> float | None:
    """In ms, the delay that this part of them does not exceed."""
    if not seconds:
        return None
    return round(1000 * sorted(seconds)[max(0, math.ceil(part * len(seconds)) - 1)], 1)
