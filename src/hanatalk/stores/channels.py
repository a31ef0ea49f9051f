"""The channels the SQLite store works with: found by id or number, kept in RAM, saved in one statement per batch."""

import os
from collections.abc import Iterable
from itertools import islice
from typing import Any

from hanatalk.cipherfile import EncryptedConnection
from hanatalk.ids import ChannelId, EntryId, Incarnation, ReaderId
from hanatalk.stores.held import Channel, Fresh
from hanatalk.wire.channels import NO_CONTROL_HASH
from hanatalk.wire.classes import EntryClass

MOST_KEPT = 50_000  # channels in RAM, some 40 MB; those with fresh rows come on top
FAR_DAY = 1 << 40
_COLUMNS = (
    "number, channel_id, incarnation, head, turn, refused_takes, last_day, control_hash, control_base,"
    " entries, bytes, burning"
)
_SELECT = f"SELECT {_COLUMNS} FROM channel WHERE "  # noqa: S608


class Channels:
    """RAM's view of the tables `channel`, `reader`, `landing` and `landing_ack`."""

    def __init__(self, connection: EncryptedConnection) -> None:
        self._connection = connection
        self._by_id: dict[ChannelId, Channel] = {}  # least recently loaded first
        self._by_number: dict[int, Channel] = {}
        self._landing: dict[int, Fresh] = {}  # by row number, in order of arrival
        self._acked: dict[Channel, None] = {}  # channels with rows in `landing_ack`
        self._earliest_day = FAR_DAY
        self._next_landing = 1
        self._first_ack = 1
        self._next_ack = 1
        self.entries = 0  # held in all
        self.bytes = 0

    def reload(self) -> None:
        """Forget everything and read what is landing. Costs some 10 µs per row."""
        self._by_id.clear()
        self._by_number.clear()
        self._landing.clear()
        self._acked.clear()
        self.entries, self.bytes = self._connection.only("SELECT total(entries), total(bytes) FROM channel")
        self.entries, self.bytes = int(self.entries), int(self.bytes)
        rows = self._connection.all(
            "SELECT n, channel, seq, class, day, turn, burn_after, erase_hash, entry_id, length(body) FROM landing"
        )
        for n, number, seq, entry_class, day, turn, burn_after, erase_hash, entry_id, size in rows:
            fresh = Fresh(
                n=n,
                channel=self.by_number(number),
                seq=seq,
                turn=turn,
                entry_class=EntryClass(entry_class),
                day=day,
                size=size or 0,
                burn_after=burn_after,
                erase_hash=erase_hash,
                entry_id=EntryId(entry_id),
                alive=size is not None,
            )
            if fresh.alive:
                fresh.copied = self._connection.one("SELECT 1 FROM entry WHERE n = ?", (fresh.key,)) is not None
            self.land(fresh)
        for number, reader, seq in self._connection.all("SELECT channel, reader, seq FROM landing_ack"):
            if not (number in self._by_number or self._taken(number)):
                continue  # the channel was forgotten since
            channel = self.by_number(number)
            channel.readers[ReaderId(reader)] = max(seq, channel.readers.get(ReaderId(reader), 0))
            self._acked[channel] = None
        (self._next_landing,) = self._connection.only("SELECT coalesce(max(n), 0) + 1 FROM landing")
        self._first_ack, self._next_ack = self._connection.only(
            "SELECT coalesce(min(n), 1), coalesce(max(n), 0) + 1 FROM landing_ack"
        )

    def find(self, channel_id: ChannelId) -> Channel | None:
        channel = self._by_id.get(channel_id)
        if channel is None:
            row = self._connection.one(_SELECT + "channel_id = ?", (channel_id,))
            if row is not None:
                channel = self._load(row)
        return channel

    def by_number(self, number: int) -> Channel:
        """:raises StorageError: ``storage.broken`` a row names a channel that there is not"""
        channel = self._by_number.get(number)
        if channel is None:
            channel = self._load(self._connection.only(_SELECT + "number = ?", (number,)))
        return channel

    def _load(self, row: tuple[Any, ...]) -> Channel:
        channel = Channel(*row)
        if channel.settled_burning:
            rows = self._connection.all("SELECT reader, seq FROM reader WHERE channel = ?", (channel.number,))
            channel.readers = {ReaderId(reader): seq for reader, seq in rows}
            channel.readers_stored = bool(channel.readers)
        self._keep(channel)
        return channel

    def _keep(self, channel: Channel) -> None:
        self._by_id[channel.channel_id] = channel
        self._by_number[channel.number] = channel

    def create(self, channel_id: ChannelId, incarnation: Incarnation) -> Channel:
        """A new row under a random number that is free."""
        while True:
            number = int.from_bytes(os.urandom(4), "big") >> 1
            if number not in self._by_number and not self._taken(number):
                break
        channel = Channel(
            number=number,
            channel_id=channel_id,
            incarnation=incarnation,
            head=0,
            turn=0,
            refused_takes=0,
            last_day=0,
            control_hash=NO_CONTROL_HASH,
            control_base=0,
            settled_entries=0,
            settled_bytes=0,
            settled_burning=0,
            has_answers=False,
        )
        self._connection.execute(
            f"INSERT INTO channel ({_COLUMNS}) VALUES (?, ?, ?, 0, 0, 0, 0, ?, 0, 0, 0, 0)",  # noqa: S608
            (number, channel_id, incarnation, NO_CONTROL_HASH),
        )
        self._keep(channel)
        return channel

    def _taken(self, number: int) -> bool:
        return self._connection.one("SELECT 1 FROM channel WHERE number = ?", (number,)) is not None

    def save(self, channels: Iterable[Channel]) -> None:
        self._connection.executemany(
            "UPDATE channel SET head = ?, turn = ?, refused_takes = ?, last_day = ?, control_hash = ?,"
            " control_base = ?, entries = ?, bytes = ?, burning = ? WHERE number = ?",
            [
                (
                    channel.head,
                    channel.turn,
                    channel.refused_takes,
                    channel.last_day,
                    channel.control_hash,
                    channel.control_base,
                    channel.settled_entries,
                    channel.settled_bytes,
                    channel.settled_burning,
                    channel.number,
                )
                for channel in channels
            ],
        )

    def forget(self, number: int) -> bool:
        """Remove a channel's rows unless something of it is still landing."""
        channel = self._by_number.get(number)
        if channel is not None:
            if channel.entries or channel.fresh:
                return False
            self._acked.pop(channel, None)
            del self._by_number[number], self._by_id[channel.channel_id]
        execute = self._connection.execute
        execute("DELETE FROM answer WHERE channel = ?", (number,))
        execute("DELETE FROM control WHERE n > ? AND n < ?", (number << 32, (number + 1) << 32))
        execute("DELETE FROM reader WHERE channel = ?", (number,))
        execute("DELETE FROM channel WHERE number = ?", (number,))
        return True

    def evict(self) -> None:
        """Let go of the channels loaded longest ago, if there are too many."""
        if len(self._by_id) <= MOST_KEPT + len(self._landing):
            return
        for channel in list(self._by_id.values())[: MOST_KEPT // 8]:
            del self._by_id[channel.channel_id], self._by_number[channel.number]
            if channel.fresh or channel in self._acked:
                self._keep(channel)  # to the end

    # --- what has landed ---

    def next_landing(self) -> int:
        self._next_landing += 1
        return self._next_landing - 1

    def next_ack(self, channel: Channel) -> int:
        self._acked[channel] = None
        self._next_ack += 1
        return self._next_ack - 1

    def land(self, fresh: Fresh) -> None:
        self._earliest_day = min(self._earliest_day, fresh.day) if self._landing else fresh.day
        self._landing[fresh.n] = fresh
        entries, size = fresh.channel.entries, fresh.channel.bytes
        fresh.channel.add(fresh)
        self.entries += fresh.channel.entries - entries
        self.bytes += fresh.channel.bytes - size

    def count(self, channel: Channel, size: int, *, burns: bool) -> None:
        channel.count(size, burns=burns)
        self.entries += 1
        self.bytes += size

    def discount(self, channel: Channel, size: int, *, burns: bool) -> None:
        channel.discount(size, burns=burns)
        self.entries -= 1
        self.bytes -= size

    @property
    def landed(self) -> int:
        return len(self._landing)

    def earliest_landed_day(self) -> int:
        """No fresh row is of an earlier day (a clock may have gone back in between)."""
        return self._earliest_day if self._landing else FAR_DAY

    def landing_before(self, n: int, *, most: int) -> list[Fresh]:
        """Fresh rows with smaller row numbers, oldest first."""
        return [fresh for fresh in islice(self._landing.values(), most) if fresh.n < n]

    def bounds(self) -> tuple[int, int]:
        """The next row numbers of `landing` and `landing_ack`."""
        return self._next_landing, self._next_ack

    @property
    def has_acks(self) -> bool:
        """Whether `landing_ack` has rows."""
        return self._next_ack > self._first_ack

    def acked(self) -> list[Channel]:
        """Channels whose readers are further than the table `reader` says."""
        return list(self._acked)

    def readers_settled(self, channel: Channel) -> None:
        self._acked.pop(channel, None)

    def acks_settled(self, before: int) -> None:
        self._first_ack = before

    def lift(self, fresh: Fresh) -> None:
        """The row is settled and leaves `landing`."""
        del self._landing[fresh.n]
        fresh.channel.drop(fresh)
