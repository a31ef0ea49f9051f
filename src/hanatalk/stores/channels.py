"""The channels the SQLite store works with: found by id or number, kept in RAM, saved in one statement per batch."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from hanatalk.cipherfile import EncryptedConnection
from hanatalk.errors import StorageError
from hanatalk.ids import ChannelId, EntryId, Incarnation, ReaderId
from hanatalk.stores.held import SEQ_BITS, Channel, Fresh
from hanatalk.stores.shelves import Shelf, list_shelves, shelf_of
from hanatalk.wire.channels import NO_CONTROL_HASH
from hanatalk.wire.classes import EntryClass

MOST_KEPT = 50_000  # channels in RAM, some 40 MB; those with fresh rows come on top
FAR_DAY = 1 << 40
NO_READER = ReaderId(b"")  # in a row of acknowledgements: the channel's readers so far are forgotten
_COLUMNS = (
    "number, channel_id, incarnation, head, turn, refused_takes, last_day, control_hash, control_base,"
    " entries, bytes, burning"
)
_SELECT = f"SELECT {_COLUMNS} FROM channel WHERE "  # noqa: S608

LandedRow: TypeAlias = tuple[int, int, int, int, int, int, int | None, bytes | None, EntryId, int]
AckRow: TypeAlias = tuple[int, ReaderId, int]


class News(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A record of what one commit landed (HT-S-026). `NO_READER` may stand for a reader.

    `landed`: number of the landing, channel's number, seq, class, day, turn, burn_after, erase_hash, entry_id, size.
    `bodies` beside it: None for what was burned in the commit that it came in. `gone`: first and last of runs of
    landings whose bodies are held no more.
    """

    landed: list[LandedRow]
    bodies: list[bytes | None]
    acks: list[AckRow]
    gone: list[tuple[int, int]]


class Record(NamedTuple):
    """Number of the commit, which side it landed on, and what."""

    n: int
    side: int
    news: News


def decode_news(news: bytes) -> News:
    """:raises StorageError: ``storage.broken``"""
    try:
        found = msgspec.msgpack.decode(news, type=News)
    except msgspec.DecodeError as error:
        raise StorageError("storage.broken") from error
    if len(found.landed) != len(found.bodies):
        raise StorageError("storage.broken")
    return found


def unsettled_records(connection: EncryptedConnection, files: Sequence[Iterable[tuple[int, bytes]]]) -> list[Record]:
    """What file and table of either side hold beyond what is settled, in order of the commits."""
    (settled,) = connection.only("SELECT settled FROM progress")
    found = []
    for side, file in enumerate(files):
        rows = connection.all(f"SELECT n, news FROM landed_{side}")  # noqa: S608
        found += [Record(n, side, decode_news(news)) for n, news in (*file, *rows) if n > settled]
    return sorted(found)


def read_landing(
    connection: EncryptedConnection, files: Sequence[Iterable[tuple[int, bytes]]]
) -> list[tuple[LandedRow, bytes]]:
    """What is held and not settled, with its body, from files and rows; works in a process that only reads."""
    shelves = frozenset(list_shelves(connection))
    found: dict[int, tuple[LandedRow, bytes]] = {}
    for record in unsettled_records(connection, files):
        for row, body in zip(record.news.landed, record.news.bodies, strict=True):
            shelf = shelf_of(EntryClass(row[3]), row[4])
            copied = shelf in shelves and is_settled(connection, shelf, row[1] << SEQ_BITS | row[2])
            if body is not None and not copied:
                found[row[0]] = row, body
        for first, last in record.news.gone:
            for n in range(first, last + 1):
                found.pop(n, None)
    return list(found.values())


def is_settled(connection: EncryptedConnection, shelf: Shelf, key: int) -> bool:
    """Whether the entry lies on the shelf."""
    return connection.one(f"SELECT 1 FROM {shelf.table} WHERE n = ?", (key,)) is not None  # noqa: S608


class Channels:
    """RAM's view of the tables `channel` and `reader` and of what has landed."""

    def __init__(self, connection: EncryptedConnection) -> None:
        self._connection = connection
        self._by_id: dict[ChannelId, Channel] = {}  # least recently loaded first
        self._by_number: dict[int, Channel] = {}
        self._landing: tuple[dict[int, Fresh], dict[int, Fresh]] = ({}, {})  # by row number, in order of arrival
        self._acked: dict[Channel, None] = {}  # channels whose readers are further than the table `reader` says
        self._earliest_day = FAR_DAY
        self._next_landing = 1
        self._next_record = 1
        self._records = [0, 0]  # on either side: how many,
        self._last_record = [0, 0]  # and the number of the last one
        self.side = 0  # the one that takes what arrives
        self.entries = 0  # held in all
        self.bytes = 0

    def reload(self, files: Sequence[Iterable[tuple[int, bytes]]]) -> None:
        """Forget everything and read what is landing. Costs some 10 µs per entry."""
        for channel in self._by_id.values():
            channel.clear()
        self._by_id.clear()
        self._by_number.clear()
        self._acked.clear()
        self._earliest_day = FAR_DAY
        self.entries, self.bytes = map(int, self._connection.only("SELECT total(entries), total(bytes) FROM channel"))
        shelves = frozenset(list_shelves(self._connection))
        self._records, self._last_record = [0, 0], [0, 0]
        for landing in self._landing:
            landing.clear()
        records = unsettled_records(self._connection, files)
        for record in records:
            self._records[record.side] += 1
            self._last_record[record.side] = record.n
            self._reload_record(record, shelves=shelves)
        self.side = records[-1].side if records else 0
        (settled,) = self._connection.only("SELECT settled FROM progress")
        last = max(settled, records[-1].n if records else 0)
        # A number that was used in an attempt that failed is not used again: a key stands on it (HT-S-027).
        self._next_record = max(self._next_record, last + 1)
        landings = [n for landing in self._landing for n in landing]
        self._next_landing = max([self._next_landing, *(n + 1 for n in landings)])

    def _reload_record(self, record: Record, *, shelves: frozenset[Shelf]) -> None:
        news = record.news
        for row, body in zip(news.landed, news.bodies, strict=True):
            n, number, seq, entry_class, day, turn, burn_after, erase_hash, entry_id, size = row
            fresh = Fresh(
                n=n,
                side=record.side,
                channel=self.by_number(number),
                seq=seq,
                turn=turn,
                entry_class=EntryClass(entry_class),
                day=day,
                size=size,
                burn_after=burn_after,
                erase_hash=erase_hash,
                entry_id=entry_id,
                body=body,
            )
            fresh.copied = fresh.shelf in shelves and is_settled(self._connection, fresh.shelf, fresh.key)
            fresh.alive = fresh.copied or body is not None
            self.land(fresh)
        for first, last in news.gone:
            for n in range(first, last + 1):
                gone = self._landing[0].get(n) or self._landing[1].get(n)
                if gone is not None and gone.alive and not gone.copied:
                    gone.alive, gone.body = False, None
                    gone.channel.waiting.pop(gone.seq, None)
                    self.discount(gone.channel, gone.size, count=1, burning=int(gone.burn_after is not None))
        for number, reader, seq in news.acks:
            if number in self._by_number or self._taken(number):  # else it was forgotten since
                channel = self.by_number(number)
                if reader == NO_READER:
                    channel.readers.clear()
                else:
                    channel.readers[reader] = max(seq, channel.readers.get(reader, 0))
                self._acked[channel] = None

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
        # Also if nothing that has settled waits for readers: what still lands may.
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
        for table in ("answers", "control"):
            execute(f"DELETE FROM {table} WHERE n > ? AND n < ?", (number << 32, (number + 1) << 32))  # noqa: S608
        execute("DELETE FROM reader WHERE channel = ?", (number,))
        execute("DELETE FROM channel WHERE number = ?", (number,))
        return True

    def evict(self) -> None:
        """Let go of the channels loaded longest ago, if there are too many."""
        if len(self._by_id) <= MOST_KEPT + self.landed:
            return
        for channel in list(self._by_id.values())[: MOST_KEPT // 8]:
            del self._by_id[channel.channel_id], self._by_number[channel.number]
            if channel.fresh or channel in self._acked:
                self._keep(channel)  # to the end

    # --- what has landed ---

    def next_landing(self) -> int:
        self._next_landing += 1
        return self._next_landing - 1

    def next_record(self) -> int:
        """The number of a commit that lands something, on `side`."""
        number = self._last_record[self.side] = self._next_record
        self._records[self.side] += 1
        self._next_record += 1
        return number

    def acked(self, channel: Channel) -> None:
        """A reader of it is further."""
        self._acked[channel] = None

    def readers_landed(self, channel: Channel) -> bool:
        """Whether records name readers of it."""
        return channel in self._acked

    def land(self, fresh: Fresh) -> None:
        if fresh.day < self._earliest_day:
            self._earliest_day = fresh.day
        self._landing[fresh.side][fresh.n] = fresh
        fresh.channel.add(fresh)
        if fresh.alive and not fresh.copied:
            self.entries += 1
            self.bytes += fresh.size

    def count(self, channel: Channel, size: int, *, burns: bool) -> None:
        channel.count(size, burns=burns)
        self.entries += 1
        self.bytes += size

    def discount(self, channel: Channel, size: int, *, count: int, burning: int) -> None:
        channel.discount(size, count=count, burning=burning)
        self.entries -= count
        self.bytes -= size

    @property
    def landed(self) -> int:
        return len(self._landing[0]) + len(self._landing[1])

    def earliest_landed_day(self) -> int:
        """No fresh row is of an earlier day (a clock may have gone back in between)."""
        return self._earliest_day

    @property
    def unsettled(self) -> bool:
        """Whether either side holds records."""
        return any(self._records)

    def unsettled_entries(self) -> Iterator[tuple[int, EntryClass, int, int]]:
        """Channel's number, class, day and size of each entry that is held and on no shelf."""
        for landing in self._landing:
            for fresh in landing.values():
                if fresh.alive and not fresh.copied:
                    yield fresh.channel.number, fresh.entry_class, fresh.day, fresh.size

    def turn_around(self) -> tuple[int, list[Fresh], list[Channel]]:
        """Let the other side take what arrives from now on, if it is empty and this one is not.

        :returns: the number of that side's last record; what the side holds that is to be settled now, in order of
            arrival; and the channels whose readers are further than the table `reader` says.
        """
        if not self._records[1 - self.side]:
            self.side = 1 - self.side
        other = 1 - self.side
        return self._last_record[other], list(self._landing[other].values()), list(self._acked)

    def readers_settled(self, channel: Channel) -> None:
        self._acked.pop(channel, None)

    def mark_settled(self, n: int) -> None:
        """Records up to this one, all of the side that is being settled, count no more: other tables say the same."""
        self._connection.execute(f"DELETE FROM landed_{1 - self.side}")  # noqa: S608
        self._connection.execute("UPDATE progress SET settled = ?", (n,))

    def lift(self, rows: Iterable[Fresh]) -> None:
        """They are settled."""
        landing = self._landing
        changed: dict[Channel, None] = {}
        for fresh in rows:
            channel = fresh.channel
            changed[channel] = None
            del landing[fresh.side][fresh.n], channel.fresh[fresh.seq]
            if channel.fresh_ids.get(fresh.entry_id) is fresh:
                del channel.fresh_ids[fresh.entry_id]
        for channel in changed:
            channel.tidy()

    def clear_side(self) -> None:
        """All of the side that was being settled is lifted."""
        self._records[1 - self.side] = 0
        if not self.landed:
            self._earliest_day = FAR_DAY
