"""Moves what has landed to where it stays, in bounded steps off the commit path (HT-S-022).

A round takes everything that arrived before it began: first it copies, channel by channel, so that neither keys nor
the order of writing say who came first; then it removes. A crash in between leaves rows in both places, which reading
them back notices.
"""

from operator import attrgetter
from typing import TypeVar

from hanatalk.cipherfile import EncryptedConnection
from hanatalk.stores.channels import Channels
from hanatalk.stores.held import Channel, Fresh
from hanatalk.stores.shelves import Shelf, Shelves

COPIED_AT_ONCE = 512
REMOVED_AT_ONCE = 1_024
CHANNELS_AT_ONCE = 512

T = TypeVar("T")


class Settling:
    """One round at a time. RAM is changed with the rows; whoever rolls back calls `restart`."""

    def __init__(
        self, connection: EncryptedConnection, channels: Channels, shelves: Shelves, *, answer_days: int
    ) -> None:
        self._connection = connection
        self._channels = channels
        self._shelves = shelves
        self._answer_days = answer_days
        self.restart()

    def restart(self) -> None:
        """Forget the round that was going on."""
        self.running = False
        self._to_copy: list[Channel] = []  # last one first
        self._to_remove: list[Fresh] = []  # last one first
        self._readers: list[Channel] = []

    def begin(self) -> bool:
        """Begin a round unless one is going on. False if there is nothing to do."""
        if not self.running and self._channels.unsettled:
            rows, self._readers = self._channels.turn_around()
            self._to_remove = rows[::-1]
            self._to_copy = sorted({fresh.channel for fresh in rows}, key=attrgetter("number"), reverse=True)
            self.running = True
        return self.running

    def step(self) -> bool:
        """One step, inside the caller's transaction. False after the last of the round."""
        if self._to_copy:
            self._copy()
        elif self._readers:
            for channel in _last(self._readers, CHANNELS_AT_ONCE):
                self._write_readers(channel)
        elif self._to_remove:
            self._lift(_last(self._to_remove, REMOVED_AT_ONCE))
        if not (self._to_copy or self._readers or self._to_remove):
            self._channels.clear_side()
            self.running = False
        return self.running

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
                f"INSERT INTO {self._shelves.open(shelf)}"  # noqa: S608
                f" SELECT ?, ?, ?, 0, ?, ?, body FROM landing_{side} WHERE n = ?",
                [
                    (fresh.key, int(fresh.entry_class), fresh.turn, fresh.burn_after, fresh.erase_hash, fresh.n)
                    for fresh in on_it
                ],
            )
            for fresh in on_it:
                fresh.copied = True
                fresh.channel.waiting.pop(fresh.seq, None)
                fresh.channel.settle(fresh.size, burns=fresh.burn_after is not None)
        for channel, day in channels.items():
            self._channels.clean_ids(channel, day=day, answer_days=self._answer_days)
            channel.has_answers = True
        answers = [(fresh.channel.number, fresh.entry_id, fresh.seq, fresh.turn, fresh.day) for fresh in rows]
        answers.sort()  # in the order of the table: each of its pages is looked for once
        self._connection.executemany(
            "INSERT OR REPLACE INTO answer (channel, entry_id, seq, turn, day) VALUES (?, ?, ?, ?, ?)", answers
        )
        self._channels.save(channels)

    def _write_readers(self, channel: Channel) -> None:
        self._channels.readers_settled(channel)
        if channel.burning:
            self._connection.executemany(
                "INSERT OR REPLACE INTO reader (channel, reader, seq) VALUES (?, ?, ?)",
                [(channel.number, reader, seq) for reader, seq in channel.readers.items()],
            )
            channel.readers_stored = bool(channel.readers)

    def _lift(self, rows: list[Fresh]) -> None:
        self._connection.executemany(
            f"DELETE FROM landing_{1 - self._channels.side} WHERE n = ?",  # noqa: S608
            [(fresh.n,) for fresh in rows if fresh.copied and fresh.alive],
        )
        self._channels.lift(rows)


def _last(rows: list[T], count: int) -> list[T]:
    """Take up to `count` from the end, the last one first."""
    taken = rows[-count:][::-1]
    del rows[-count:]
    return taken
