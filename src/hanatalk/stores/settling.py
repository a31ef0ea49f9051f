"""Moves what has landed to where it stays, in bounded steps off the commit path (HT-S-022).

A round takes everything that landed on one side: it is copied, channel by channel, so that neither keys nor the order
of writing say who came first; then, in one durable transaction, the side is marked as settled. Until then a crash
leaves entries in both places, which reading them back notices; from then on what the side holds counts no more.
"""

from operator import attrgetter
from typing import TypeVar

from hanatalk.cipherfile import EncryptedConnection
from hanatalk.ids import EntryId
from hanatalk.stores.answers import Answers
from hanatalk.stores.channels import Channels
from hanatalk.stores.held import Channel, Fresh
from hanatalk.stores.shelves import Shelf, Shelves

COPIED_AT_ONCE = 512
LIFTED_AT_ONCE = 2_048
CHANNELS_AT_ONCE = 512

T = TypeVar("T")


class Settling:
    """One round at a time. RAM is changed with the rows; whoever rolls back calls `restart`."""

    def __init__(
        self,
        connection: EncryptedConnection,
        *,
        channels: Channels,
        shelves: Shelves,
        answers: Answers,
        answer_days: int,
    ) -> None:
        self._connection = connection
        self._channels = channels
        self._shelves = shelves
        self._answers = answers
        self._answer_days = answer_days
        self.restart()

    def restart(self) -> None:
        """Forget the round that was going on."""
        self.running = False
        self._to_copy: list[Channel] = []  # last one first
        self._readers: list[Channel] = []
        self._to_mark: int | None = None  # the last record of the side
        self._to_lift: list[Fresh] = []  # last one first

    def begin(self) -> bool:
        """Begin a round unless one is going on. False if there is nothing to do."""
        if not self.running and self._channels.unsettled:
            self._to_mark, rows, self._readers = self._channels.turn_around()
            self._to_lift = rows[::-1]
            self._to_copy = sorted({fresh.channel for fresh in rows}, key=attrgetter("number"), reverse=True)
            self.running = True
        return self.running

    @property
    def copying(self) -> bool:
        """`copy` has something to do. It need not be durable before `mark` is."""
        return bool(self._to_copy or self._readers)

    @property
    def marking(self) -> bool:
        """`mark` is what is to be done, after all copying."""
        return self._to_mark is not None and not self.copying

    def copy(self) -> None:
        """One step, inside the caller's transaction."""
        if self._to_copy:
            self._copy()
        else:
            for channel in _last(self._readers, CHANNELS_AT_ONCE):
                self._write_readers(channel)

    def mark(self) -> None:
        """The side is settled; inside the caller's transaction, which is durable when it ends."""
        assert self._to_mark is not None
        self._channels.mark_settled(self._to_mark)
        self._to_mark = None

    def lift(self) -> None:
        """One step; changes nothing but RAM. The last one ends the round."""
        self._channels.lift(_last(self._to_lift, LIFTED_AT_ONCE))
        if not self._to_lift:
            self._channels.clear_side()
            self.running = False

    def _copy(self) -> None:
        rows: list[Fresh] = []
        channels: dict[Channel, int] = {}
        side = 1 - self._channels.side
        while self._to_copy and len(rows) < COPIED_AT_ONCE:
            channel = self._to_copy.pop()
            found = [fresh for fresh in channel.fresh.values() if fresh.side == side]
            if found:
                rows += found
                channels[channel] = found[-1].day
        held: dict[Shelf, list[Fresh]] = {}
        for fresh in rows:
            if fresh.alive and not fresh.copied:
                held.setdefault(fresh.shelf, []).append(fresh)
        for shelf, on_it in held.items():
            self._connection.executemany(
                f"INSERT INTO {self._shelves.open(shelf)} VALUES (?, ?, ?, 0, ?, ?, ?)",  # noqa: S608
                [
                    (fresh.key, int(fresh.entry_class), fresh.turn, fresh.burn_after, fresh.erase_hash, fresh.body)
                    for fresh in on_it
                ],
            )
            for fresh in on_it:
                fresh.copied, fresh.body = True, None
                fresh.channel.waiting.pop(fresh.seq, None)
                fresh.channel.settle(fresh.size, burns=fresh.burn_after is not None)
        runs: dict[tuple[Channel, int], list[tuple[EntryId, int, int]]] = {}
        for fresh in rows:
            runs.setdefault((fresh.channel, fresh.day), []).append((fresh.entry_id, fresh.seq, fresh.turn))
        self._answers.add((channel, day, answers) for (channel, day), answers in runs.items())
        for channel, day in channels.items():
            self._answers.clean(channel, until=day - self._answer_days)
        self._channels.save(channels)

    def _write_readers(self, channel: Channel) -> None:
        self._channels.readers_settled(channel)
        if channel.burning:
            self._connection.executemany(
                "INSERT OR REPLACE INTO reader (channel, reader, seq) VALUES (?, ?, ?)",
                [(channel.number, reader, seq) for reader, seq in channel.readers.items()],
            )
            channel.readers_stored = bool(channel.readers)


def _last(rows: list[T], count: int) -> list[T]:
    """Take up to `count` from the end, the last one first."""
    taken = rows[-count:][::-1]
    del rows[-count:]
    return taken
