"""The engine's clock: the device's clock, except that it never goes back (HT-C-042 … HT-C-044).

Everything that lasts (timers, pauses, eras, the relay's retention) is counted by it, so that a clock that was wrong for
a while neither extends a timer nor holds up what is due. What stands in links and KeyPackages, and what people read, is
the time by the device's clock: `wall`.
"""

import msgspec

from hanatalk.localdb.database import Database

SETTING = "clock"
HOUR = 3_600_000  # milliseconds
STRIDE = 7 * 24 * HOUR  # what housekeeping may believe of a jump at one look (HT-C-044)


class _Kept(msgspec.Struct, array_like=True, frozen=True):
    ahead: int  # milliseconds by which this clock is ahead of the device's
    latest: int  # latest time seen on the device's clock since it last went back
    cautious: int  # see `Clock.cautious`
    cautious_at: int  # when that was last moved on


class Clock:
    """Milliseconds since 1970. Kept in the local database, so that it goes on where it was."""

    def __init__(self, database: Database) -> None:
        self._database = database
        kept = database.setting(SETTING)
        known = msgspec.msgpack.decode(kept, type=_Kept) if kept is not None else _Kept(0, 0, 0, 0)
        self._ahead = known.ahead
        self._latest = known.latest
        self._cautious = known.cautious
        self._cautious_at = known.cautious_at
        self._saved = known

    def at(self, device: int) -> int:
        """The time, when the device's clock shows `device`. Going back there, it stands still here."""
        self._ahead += max(0, self._latest - device)
        self._latest = device
        now = device + self._ahead
        if not self._cautious:
            self._cautious, self._cautious_at = device, now
        return now

    @property
    def moved(self) -> int:
        """Milliseconds that went by since it was written down."""
        return self._ahead + self._latest - self._saved.ahead - self._saved.latest

    def wall(self, now: int) -> int:
        """What the device's clock shows at `now`."""
        return now - self._ahead

    def cautious(self, now: int) -> int:
        """The device's clock as far as it may be believed before something is destroyed that cannot be had again.

        It follows the clock by at most `STRIDE` at a look, and looks once an hour: a clock that was ahead for a minute
        has destroyed nothing.
        """
        wall = self.wall(now)
        if now >= self._cautious_at + HOUR:
            self._cautious, self._cautious_at = min(wall, self._cautious + STRIDE), now
        return min(self._cautious, wall)

    def keep(self, *, at_least: int = 0) -> None:
        """Write it down, unless less than `at_least` milliseconds went by since; inside a transaction."""
        now = _Kept(self._ahead, self._latest, self._cautious, self._cautious_at)
        same = (now.ahead, now.cautious) == (self._saved.ahead, self._saved.cautious)
        if same and now.latest - self._saved.latest < at_least:
            return
        self._database.put_setting(SETTING, msgspec.msgpack.encode(now))
        self._saved = now
