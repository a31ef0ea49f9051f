"""What a running relay says of itself: the page of metrics, and lines in the log that sum up (HT-R-131, HT-R-134)."""

import os
import resource
import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from hanatalk.relay.core import RelayCore
from hanatalk.relay.folder import DataFolder
from hanatalk.relay.logs import RelayLog
from hanatalk.relay.metrics import Readings, page
from hanatalk.transport.accepting import Accepted
from hanatalk.transport.arriving import Door
from hanatalk.transport.unfinished import Unfinished
from hanatalk.wire.classes import EntryClass

PROBE_SECONDS = 1.0  # between two looks at how late the event loop is
MOST_COUNTED = 20_000  # entries that are counted by class, if the store does not do it: some 40 ms a minute
FEWEST = 10  # refused connections of one code that are worth a line: fewer could be one person's


class Reporting:
    """:param every: seconds for which the page of metrics stays as it is, however often it is fetched.
    :param door: where connections come in. :param unfinished: what they hold of messages that are not whole.
    :param sockets: who is connected.
    """

    def __init__(
        self,
        core: RelayCore,
        *,
        folder: DataFolder | None,
        log: RelayLog,
        now: Callable[[], float],
        every: float,
        door: Door,
        unfinished: Unfinished,
        sockets: Callable[[], Collection[Accepted]],
    ) -> None:
        self._core = core
        self._folder = folder
        self._log = log
        self._now = now
        self._every = every
        self._door = door
        self._unfinished = unfinished
        self._sockets = sockets
        self._page = ""
        self._page_at = -every
        self._probed = now()
        self._told: dict[str, int] = {}
        self._errors: dict[tuple[str, str], int] = {}  # since the last line that sums up

    def metrics(self) -> str:
        """The page, made anew now and then only: who keeps what was fetched shall not know the second (HT-R-131)."""
        now = self._now()
        if not self._page or now - self._page_at >= self._every:
            self._core.counters.turned_away = self._door.turned_away
            self._core.counters.unfinished = self._unfinished.dropped
            self._page, self._page_at = page(self._core.counters, self._readings()), now
        return self._page

    def probe(self) -> None:
        """Called every `PROBE_SECONDS`: how late is it?"""
        now = self._now()
        self._core.counters.lag_seconds.observe(max(0.0, now - self._probed - PROBE_SECONDS))
        self._probed = now

    def error(self, event: str, error: BaseException | None) -> None:
        """Something escaped that should not exist. The first is said at once, more of its kind are summed up."""
        kind = (event, type(error).__name__ if error is not None else "unknown")
        self._errors[kind] = self._errors.get(kind, -1) + 1
        if not self._errors[kind]:
            self._log.error(event, error=kind[1])

    def sum_up(self) -> None:
        """Say how many connections were refused, by code; a few are kept until they are more. And repeated errors."""
        for (event, name), more in self._errors.items():
            if more:
                self._log.error(event, error=name, times=more)
        self._errors.clear()
        for code, count in self._core.counters.ended.items():
            more = count - self._told.get(code, 0)
            if more >= FEWEST:
                self._told[code] = count
                self._log.info("refused", code=code, connections=more)

    def _counted(self, entries: int) -> Mapping[EntryClass, int] | None:
        if entries > MOST_COUNTED:
            return None
        counts: Counter[EntryClass] = Counter()
        for holding in self._core.holdings():
            counts[holding.entry_class] += holding.count
        return counts

    def _readings(self) -> Readings:
        core, folder = self._core, self._folder
        held = core.held()
        return Readings(
            connections=len(core.peers),
            arriving=self._door.arriving,
            open_channels=core.open_channels,
            subscriptions=core.subscriptions,
            paused=sum(peer.paused for peer in core.peers),
            unfinished=self._unfinished.bytes,
            overdrawn=sum(socket.overdrawn for socket in self._sockets()),
            entries=held.entries,
            entry_bytes=held.bytes,
            by_class=held.by_class if held.by_class is not None else self._counted(held.entries),
            store_bytes=folder.size() if folder is not None else None,
            disk_free=folder.free_bytes() if folder is not None else None,
            resident=resident(),
        )


def resident() -> int:
    """Bytes of memory that this process uses now; where the system does not tell, the most it ever used."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
