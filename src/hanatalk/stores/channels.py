"""The channels the SQLite store works with: found by id or number, kept in RAM, saved in one statement per batch."""

import os
from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

from hanatalk.cipherfile import EncryptedConnection
from hanatalk.errors import StorageError
from hanatalk.ids import ChannelId, EntryId, Incarnation, ReaderId
from hanatalk.stores.held import SEQ_BITS, Channel, Fresh
from hanatalk.wire.channels import NO_CONTROL_HASH
from hanatalk.wire.classes import EntryClass

MOST_KEPT = 50_000  # channels in RAM, some 40 MB; those with fresh rows come on top
FAR_DAY = 1 << 40
_COLUMNS = (
    "number, channel_id, incarnation, head, turn, refused_takes, last_day, control_hash, control_base,"
    " entries, bytes, burning"
)
_SELECT = f"SELECT {_COLUMNS} FROM channel WHERE "  # noqa: S608

LandedRow: TypeAlias = tuple[int, int, int, int, int, int, int | None, bytes | None, EntryId, int]
AckRow: TypeAlias = tuple[int, ReaderId, int]


class News(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A row of `batch`; schema/0001.sql says what the fields are."""

    landed: list[LandedRow]
    acks: list[AckRow]


def decode_news(news: bytes) -> News:
    """:raises StorageError: ``storage.broken``"""
    try:
        return msgspec.msgpack.decode(news, type=News)
    except msgspec.DecodeError as error:
        raise StorageError("storage.broken") from error


def read_landing(connection: EncryptedConnection) -> list[LandedRow]:
    """What lies in `landing` alone, from the rows; works in a process that only reads."""
    bodies = {n for (n,) in connection.all("SELECT n FROM landing")}
    found: list[LandedRow] = []
    for (news,) in connection.all("SELECT news FROM batch ORDER BY n"):
        for row in decode_news(news).landed:
            copied = connection.one("SELECT 1 FROM entry WHERE n = ?", (row[1] << SEQ_BITS | row[2],))
            if row[0] in bodies and copied is None:
                found.append(row)
    return found


class Channels:
    """RAM's view of the tables `channel`, `reader`, `landing` and `batch`."""

    def __init__(self, connection: EncryptedConnection) -> None:
        self._connection = connection
        self._by_id: dict[ChannelId, Channel] = {}  # least recently loaded first
        self._by_number: dict[int, Channel] = {}
        self._landing: dict[int, Fresh] = {}  # by row number, in order of arrival
        self._acked: dict[Channel, None] = {}  # channels whose readers are further than the table `reader` says
        self._earliest_day = FAR_DAY
        self._next_landing = 1
        self._first_batch = 1
        self._next_batch = 1
        self.entries = 0  # held in all
        self.bytes = 0

    def reload(self) -> None:
        """Forget everything and read what is landing. Costs some 10 µs per row."""
        for channel in self._by_id.values():
            channel.clear()
        self._by_id.clear()
        self._by_number.clear()
        self._landing.clear()
        self._acked.clear()
        self.entries, self.bytes = map(int, self._connection.only("SELECT total(entries), total(bytes) FROM channel"))
        bodies = {n for (n,) in self._connection.all("SELECT n FROM landing")}
        batches = self._connection.all("SELECT n, news FROM batch ORDER BY n")
        for batch, news in batches:
            decoded = decode_news(news)
            for row in decoded.landed:
                self._reload_fresh(batch, row, has_body=row[0] in bodies)
            for number, reader, seq in decoded.acks:
                if number in self._by_number or self._taken(number):  # else it was forgotten since
                    channel = self.by_number(number)
                    channel.readers[reader] = max(seq, channel.readers.get(reader, 0))
                    self._acked[channel] = None
        self._next_landing = max(self._landing, default=0) + 1
        self._first_batch = batches[0][0] if batches else 1
        self._next_batch = batches[-1][0] + 1 if batches else 1

    def _reload_fresh(self, batch: int, row: LandedRow, *, has_body: bool) -> None:
        n, number, seq, entry_class, day, turn, burn_after, erase_hash, entry_id, size = row
        channel = self.by_number(number)
        copied = self._connection.one("SELECT 1 FROM entry WHERE n = ?", (channel.first_key | seq,)) is not None
        self.land(
            Fresh(
                n=n,
                batch=batch,
                channel=channel,
                seq=seq,
                turn=turn,
                entry_class=EntryClass(entry_class),
                day=day,
                size=size,
                burn_after=burn_after,
                erase_hash=erase_hash,
                entry_id=entry_id,
                alive=has_body or copied,
                copied=copied,
            )
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

    def clean_ids(self, channel: Channel, *, day: int, answer_days: int) -> None:
        """Remove the channel's entry_ids that are remembered no longer; once a day is enough (HT-S-012)."""
        if channel.ids_cleaned < day:
            channel.ids_cleaned = day
            if channel.has_answers:
                self._connection.execute(
                    "DELETE FROM answer WHERE channel = ? AND day <= ?", (channel.number, day - answer_days)
                )

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

    @property
    def batch(self) -> int:
        """The row of `batch` that the next commit writes, if it writes one."""
        return self._next_batch

    def batch_written(self) -> None:
        self._next_batch += 1

    def acked(self, channel: Channel) -> None:
        """A reader of it is further."""
        self._acked[channel] = None

    def land(self, fresh: Fresh) -> None:
        if not self._landing or fresh.day < self._earliest_day:
            self._earliest_day = fresh.day
        self._landing[fresh.n] = fresh
        fresh.channel.add(fresh)
        if fresh.alive and not fresh.copied:
            self.entries += 1
            self.bytes += fresh.size

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

    def landed_before(self, batch: int, *, least: int) -> tuple[list[Fresh], int]:
        """Fresh rows of whole batches below this one, oldest first, no batch more once there are `least`.

        The number is the batch that the rows end before.
        """
        found: list[Fresh] = []
        for fresh in self._landing.values():
            if fresh.batch >= batch or (len(found) >= least and fresh.batch != found[-1].batch):
                return found, min(batch, fresh.batch)
            found.append(fresh)
        return found, batch

    def has_batches_before(self, batch: int) -> bool:
        return min(batch, self._next_batch) > self._first_batch

    def all_acked(self) -> list[Channel]:
        """Channels whose readers are further than the table `reader` says."""
        return list(self._acked)

    def readers_settled(self, channel: Channel) -> None:
        self._acked.pop(channel, None)

    def batches_settled(self, before: int) -> None:
        self._first_batch = before

    def lift(self, fresh: Fresh) -> None:
        """The row is settled and leaves `landing`."""
        del self._landing[fresh.n]
        fresh.channel.drop(fresh)
