"""Moves what has landed to where it stays, in bounded steps off the commit path (HT-S-022).

A round takes the rows that were there at the last round's beginning: first it copies them, sorted by channel, so that
neither keys nor the order of writing say who came first; then it removes them from `landing`. A crash in between
leaves rows in both places, which reading them back notices.
"""

from operator import attrgetter
from typing import TypeVar

from hanatalk.cipherfile import EncryptedConnection
from hanatalk.stores.channels import Channels
from hanatalk.stores.held import Channel, Fresh

COPIED_AT_ONCE = 512
REMOVED_AT_ONCE = 1_024
ENOUGH_FOR_A_ROUND = 16_384

T = TypeVar("T")


class Settling:
    """One round at a time. RAM is changed with the rows; whoever rolls back calls `restart`."""

    def __init__(self, connection: EncryptedConnection, channels: Channels, *, answer_days: int) -> None:
        self._connection = connection
        self._channels = channels
        self._answer_days = answer_days
        self._mark = 0  # batches before it were there when the last round began
        self.restart()

    def restart(self) -> None:
        """Forget the round that was going on."""
        self._to_copy: list[Fresh] = []  # last one first
        self._to_remove: list[Fresh] = []  # last one first
        self._readers: list[Channel] = []
        self._before = 0  # the batches that the round settles end before this one; 0 for none

    @property
    def running(self) -> bool:
        return bool(self._before)

    def include_all(self) -> None:
        """The next round takes everything that is there now."""
        self._mark = self._channels.batch

    def begin(self) -> bool:
        """Begin a round unless one is going on. False if there is nothing to do."""
        if not self.running:
            rows, before = self._channels.landed_before(self._mark, least=ENOUGH_FOR_A_ROUND)
            self._mark = self._channels.batch
            if self._channels.has_batches_before(before):
                self._before = before
                self._to_remove = rows[::-1]
                self._to_copy = sorted(rows, key=attrgetter("key"), reverse=True)
                self._readers = self._channels.all_acked()
        return self.running

    def step(self) -> bool:
        """One step, inside the caller's transaction. False after the last of the round."""
        if self._to_copy:
            self._copy(_last(self._to_copy, COPIED_AT_ONCE))
        elif self._readers:
            for channel in _last(self._readers, COPIED_AT_ONCE):
                self._write_readers(channel)
        elif self._to_remove:
            self._lift(_last(self._to_remove, REMOVED_AT_ONCE))
        if not (self._to_copy or self._readers or self._to_remove) and self._before:
            self._connection.execute("DELETE FROM batch WHERE n < ?", (self._before,))
            self._channels.batches_settled(self._before)
            self._before = 0
        return self.running

    def _copy(self, rows: list[Fresh]) -> None:
        many = self._connection.executemany
        held = [fresh for fresh in rows if fresh.alive and not fresh.copied]
        many(
            "INSERT INTO entry SELECT ?, ?, ?, ?, 0, ?, ?, body FROM landing WHERE n = ?",
            [
                (
                    fresh.key,
                    int(fresh.entry_class),
                    fresh.day,
                    fresh.turn,
                    fresh.burn_after,
                    fresh.erase_hash,
                    fresh.n,
                )
                for fresh in held
            ],
        )
        for fresh in held:
            fresh.copied = True
            fresh.channel.waiting.pop(fresh.seq, None)
            fresh.channel.settle(fresh.size, burns=fresh.burn_after is not None)
        channels = {fresh.channel: fresh.day for fresh in rows}
        for channel, day in channels.items():
            self._channels.clean_ids(channel, day=day, answer_days=self._answer_days)
            channel.has_answers = True
        many(
            "INSERT OR REPLACE INTO answer (channel, entry_id, seq, turn, day) VALUES (?, ?, ?, ?, ?)",
            [(fresh.channel.number, fresh.entry_id, fresh.seq, fresh.turn, fresh.day) for fresh in rows],
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
        copied = [(fresh.n,) for fresh in rows if fresh.copied and fresh.alive]
        self._connection.executemany("DELETE FROM landing WHERE n = ?", copied)
        for fresh in rows:
            self._channels.lift(fresh)


def _last(rows: list[T], count: int) -> list[T]:
    """Take up to `count` from the end, the last one first."""
    taken = rows[-count:][::-1]
    del rows[-count:]
    return taken
