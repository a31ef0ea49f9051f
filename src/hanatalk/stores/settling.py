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

COPIED_AT_ONCE = 256
REMOVED_AT_ONCE = 1_024
MOST_IN_A_ROUND = 16_384

T = TypeVar("T")


class Settling:
    """One round at a time. RAM is changed with the rows; whoever rolls back calls `restart`."""

    def __init__(self, connection: EncryptedConnection, channels: Channels) -> None:
        self._connection = connection
        self._channels = channels
        self._mark = 0  # rows before it were there when the last round began
        self.restart()

    def restart(self) -> None:
        """Forget the round that was going on."""
        self._to_copy: list[Fresh] = []  # last one first
        self._to_remove: list[Fresh] = []  # last one first
        self._readers: list[Channel] = []
        self._acks_before = 0

    @property
    def running(self) -> bool:
        return bool(self._to_remove or self._readers or self._acks_before)

    def include_all(self) -> None:
        """The next round takes everything that is there now."""
        self._mark, _ = self._channels.bounds()

    def begin(self) -> bool:
        """Begin a round unless one is going on. False if there is nothing to do."""
        if not self.running:
            rows = self._channels.landing_before(self._mark, most=MOST_IN_A_ROUND)
            self._to_remove = rows[::-1]
            self._to_copy = sorted(rows, key=attrgetter("key"), reverse=True)
            self._readers = self._channels.acked()
            self._mark, acks = self._channels.bounds()
            self._acks_before = acks if self._channels.has_acks else 0
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
        if not (self._to_copy or self._readers or self._to_remove) and self._acks_before:
            self._connection.execute("DELETE FROM landing_ack WHERE n < ?", (self._acks_before,))
            self._channels.acks_settled(self._acks_before)
            self._acks_before = 0
        return self.running

    def _copy(self, rows: list[Fresh]) -> None:
        many = self._connection.executemany
        held = [fresh for fresh in rows if fresh.alive and not fresh.copied]
        many(
            "INSERT INTO entry SELECT channel << 32 | seq, class, day, turn, 0, burn_after, erase_hash, body"
            " FROM landing WHERE n = ?",
            [(fresh.n,) for fresh in held],
        )
        many(
            "INSERT OR IGNORE INTO answer SELECT channel, entry_id, seq, turn, day FROM landing WHERE n = ?",
            [(fresh.n,) for fresh in rows],
        )
        for fresh in held:
            fresh.copied = True
            fresh.channel.settle(fresh.size, burns=fresh.burn_after is not None)
        for fresh in rows:
            fresh.channel.has_answers = True
        self._channels.save({fresh.channel: None for fresh in rows})

    def _write_readers(self, channel: Channel) -> None:
        self._channels.readers_settled(channel)
        if channel.burning:
            self._connection.executemany(
                "INSERT OR REPLACE INTO reader (channel, reader, seq) VALUES (?, ?, ?)",
                [(channel.number, reader, seq) for reader, seq in channel.readers.items()],
            )
            channel.readers_stored = bool(channel.readers)

    def _lift(self, rows: list[Fresh]) -> None:
        self._connection.executemany("DELETE FROM landing WHERE n = ?", [(fresh.n,) for fresh in rows])
        for fresh in rows:
            self._channels.lift(fresh)


def _last(rows: list[T], count: int) -> list[T]:
    """Take up to `count` from the end, the last one first."""
    taken = rows[-count:][::-1]
    del rows[-count:]
    return taken
