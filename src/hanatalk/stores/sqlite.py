"""The relay's embedded store: one encrypted SQLite file (spec/04-storage.md HT-S-010 …).

A commit is one write and one sync, whatever the number of channels: messages and attachments land in a file that is
appended to (`hanatalk.stores.landing`), in the order of arrival. `tend` has them settled into tables ordered by random
channel numbers, a part after each later batch, or by itself when no batch comes; most are burned before that. Control
and invite entries, which are few and stay long, are settled at once, and what lands in the same batch stands in a row
of the same transaction instead.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from hanatalk.cipherfile import EncryptedConnection, mapped_errors, open_cipherfile
from hanatalk.errors import StorageError
from hanatalk.ids import ChannelId
from hanatalk.stores import rules
from hanatalk.stores.answers import Answers
from hanatalk.stores.channels import NO_READER, AckRow, Channels, LandedRow
from hanatalk.stores.checkpoints import Checkpointer, WriteAheadLog
from hanatalk.stores.held import SEQ_BITS, Channel, Fresh, runs
from hanatalk.stores.holdings import count_holdings
from hanatalk.stores.interface import (
    Acknowledge,
    Acknowledged,
    Append,
    ChannelState,
    Erase,
    Erased,
    Expired,
    Held,
    Holding,
    Operation,
    Quota,
    Refusal,
    Result,
    Retention,
    Stored,
    StoredEntry,
    Take,
    Taken,
)
from hanatalk.stores.landing import LandingFile, landing_paths
from hanatalk.stores.settling import COPIED_AT_ONCE, Settling
from hanatalk.stores.shelves import Shelf, Shelves, shelf_of
from hanatalk.stores.sweeping import Sweep
from hanatalk.stores.upgrading import MOVES
from hanatalk.wire.channels import NO_CONTROL_HASH, next_control_hash
from hanatalk.wire.classes import EntryClass

APPLICATION = 0x48414E52  # "HANR", the file's application_id
SCHEMA = 3
MOST_LANDED = 65_536  # entries landed above which `apply` itself settles some,
MOST_FILLED = 32 << 20  # and bytes in the file that takes them: bounds RAM and what is read back at a start
PAGE_SIZE = 8_192  # bytes: a page of 4,096 would hold three entries of 1 KiB, this one seven, for one header and nonce
CACHE_KIB = 64 << 10
RENEWED_WHEN_IDLE = 8 << 20  # bytes held up to which worn shelves are written anew as soon as nothing else is to do
RENEWED_ON_SWEEP = 256 << 20  # and once a day


class SqliteStore:
    """A `Store` (see `hanatalk.stores.interface`) in the file `path`."""

    def __init__(
        self, path: Path, *, key: bytes, retention: Retention | None = None, quota: Quota | None = None
    ) -> None:
        """Open or create the file. What was landing when the last process ended is settled.

        :param key: 32 bytes; see `hanatalk.stores.opening` for where it comes from.
        :raises StorageError: ``storage.newer`` a later version wrote it; and those of `open_cipherfile`.
        """
        self._quota = quota if quota is not None else Quota()
        self._retention = retention if retention is not None else Retention()
        self._roomy_entries = self._quota.channel_entries * 7 // 8  # up to here every class has room (HT-S-018)
        self._roomy_bytes = self._quota.channel_bytes * 7 // 8
        self._connection = _connect(path, key)
        try:
            with mapped_errors():
                _migrate(self._connection)
                self._busy = False  # something was applied since the last round of tending
                self._applied = False  # and since the last look
                self._tending = False  # a round of settling was begun by `tend`
                self._synced = True
                self._shelves = Shelves(self._connection)
                self._channels = Channels(self._connection)
                self._files = [LandingFile(file, key=key) for file in landing_paths(path)]
                self._log = WriteAheadLog(self._connection, Checkpointer(path, lambda: _connect(path, key)))
                self._answers = Answers(self._connection)
                self._settling = Settling(
                    self._connection,
                    channels=self._channels,
                    shelves=self._shelves,
                    answers=self._answers,
                    answer_days=self._retention.answer_days,
                )
                self._sweep = Sweep(self._connection, self._shelves, self._retention)
            self._stale = True
            self._swept = False
            self._closed = False
            # What one batch wants written, gathered so that it is written once.
            self._landed: list[Fresh] = []
            self._gone: list[int] = []  # landings
            self._acks: list[AckRow] = []
            self._dirty: dict[Channel, None] = {}
            # Each takes exactly the operation it stands beside.
            self._handlers: dict[type[Operation], Callable[[Any, int], Result]] = {
                Append: self._append,
                Acknowledge: self._acknowledge,
                Take: self._take,
                Erase: self._erase,
            }
            self._ready()
            self.settle()
            for file in self._files:
                file.reset()  # its numbers begin anew
        except BaseException:
            self._let_go()
            raise

    # --- writing ---

    def apply(self, operations: Sequence[Operation], *, day: int) -> list[Result]:
        handlers = self._handlers
        with self._landing():
            results = [handlers[type(operation)](operation, day) for operation in operations]
            landed = len(self._landed)
        self._busy = self._applied = True
        # The batch is stored: from here on nothing may say otherwise. What fails now, `tend` says later.
        with suppress(StorageError):
            if self._channels.landed > MOST_LANDED or self._files[self._channels.side].filled > MOST_FILLED:
                self._settling.begin()
            # A round that is going on is carried on here, faster than entries land.
            for _ in range(1 + 2 * landed // COPIED_AT_ONCE):
                if not (self._settling.running and self._settle_step()):
                    break
            self._channels.evict()
            self._log.look()
        return results

    @contextmanager
    def _writing(self, *, synced: bool = True) -> Iterator[None]:
        """One transaction. After any error nothing of it is stored, and RAM, which says more, is read again (HT-S-017).

        :param synced: it is durable when it ends; else with a later one that is
        :raises StorageError: the disk
        """
        self._ready()
        with mapped_errors():
            if synced is not self._synced:
                self._connection.pragma("synchronous", "FULL" if synced else "NORMAL")
                self._synced = synced
            with self._or_stale(), self._connection.changing():
                yield

    @contextmanager
    def _or_stale(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._stale = True
            raise

    @contextmanager
    def _landing(self) -> Iterator[None]:
        """`_writing`; what lands goes into a row of that transaction, or if nothing else does, into the file.

        :raises StorageError: the disk
        """
        with self._writing():
            changes = self._connection.total_changes()
            yield
            if self._dirty:
                self._channels.save(self._dirty)
            news = self._gathered()
            if news is not None:
                side, n = self._channels.side, self._channels.next_record()
                if self._connection.total_changes() != changes:
                    self._connection.execute(f"INSERT INTO landed_{side} VALUES (?, ?)", (n, news))  # noqa: S608
                    news = None
            self._forget_gathered()
        if news is not None:
            with self._or_stale():
                self._files[side].append(n, news)

    def _ready(self) -> None:
        if self._closed:
            raise StorageError("storage.closed")
        if self._stale:
            self._forget_gathered()
            self._settling.restart()
            with mapped_errors():
                self._shelves.reload()
                self._channels.reload([file.records() for file in self._files])
            self._stale = False

    def _append(self, append: Append, day: int) -> Stored | Refusal:
        channels = self._channels
        channel = channels.find(append.channel_id)
        size = len(append.entry)
        if channel is None:
            code = self._refusal(append, turn=0, entries=0, size=0)
            if code is not None:
                return code
            channel = channels.create(append.channel_id, append.incarnation)
        else:
            fresh = channel.fresh_ids.get(append.entry_id)
            if fresh is not None and fresh.day > day - self._retention.answer_days:
                return Stored(fresh.seq, fresh.turn, True)
            if channel.has_answers:
                answer = self._answers.find(channel, append.entry_id)
                if answer is not None and answer[2] > day - self._retention.answer_days:
                    return Stored(answer[0], answer[1], True)
            # What surely has room is not asked about: `_refusal` knows exactly.
            if (
                channel.entries >= self._roomy_entries
                or channel.bytes + size > self._roomy_bytes
                or channels.entries >= self._quota.total_entries
                or channels.bytes + size > self._quota.total_bytes
                or (append.turn is not None and append.turn != channel.turn)
            ):
                code = self._refusal(append, turn=channel.turn, entries=channel.entries, size=channel.bytes)
                if code is not None:
                    return code
        if append.entry_class not in rules.BURNS:
            self._settle_at_once(channel, append, day)
            return Stored(channel.head, channel.turn)
        fresh = Fresh(
            channels.next_landing(),
            channels.side,
            channel,
            channel.head + 1,
            channel.turn,
            append.entry_class,
            day,
            size,
            append.burn_after,
            append.erase_hash,
            append.entry_id,
            append.entry,
        )
        channels.land(fresh)
        self._landed.append(fresh)
        return Stored(fresh.seq, fresh.turn)

    def _refusal(self, append: Append, *, turn: int, entries: int, size: int) -> Refusal | None:
        if append.turn is not None and append.turn != turn:
            return Refusal("stale-turn", turn)
        code = rules.over_quota(
            self._quota,
            append,
            channel=(entries, size),
            total=(self._channels.entries, self._channels.bytes),
        )
        return Refusal(code) if code is not None else None

    def _settle_at_once(self, channel: Channel, append: Append, day: int) -> None:
        execute = self._connection.execute
        channel.head += 1
        channel.last_day = max(channel.last_day, day)
        key = channel.first_key | channel.head
        execute(
            f"INSERT INTO {self._shelves.open(shelf_of(append.entry_class, day))}"  # noqa: S608
            " VALUES (?, ?, ?, ?, NULL, ?, ?)",
            (
                key,
                int(append.entry_class),
                channel.turn,
                append.commit,
                rules.erasable_by(append),
                append.entry,
            ),
        )
        if append.commit:
            channel.turn += 1
        if append.entry_class is EntryClass.CONTROL:
            channel.control_hash = next_control_hash(
                channel.control_hash, seq=channel.head, commit=append.commit, entry=append.entry
            )
            execute("INSERT INTO control (n, hash) VALUES (?, ?)", (key, channel.control_hash))
        else:
            execute("INSERT INTO invite (n, day) VALUES (?, ?)", (key, day))
        self._answers.add([(channel, day, [(append.entry_id, channel.head, channel.turn)])])
        self._answers.clean(channel, until=day - self._retention.answer_days)
        self._channels.count(channel, len(append.entry), burns=False)
        channel.settle(len(append.entry), burns=False)
        self._dirty[channel] = None

    def _acknowledge(self, acknowledge: Acknowledge, day: int) -> Acknowledged | Refusal:
        channel = self._channels.find(acknowledge.channel_id)
        if channel is None or not channel.burning:
            return Acknowledged()  # nothing waits for this reader: who it is need not be remembered
        before = channel.readers.get(acknowledge.reader, 0)
        seq = min(acknowledge.seq, channel.head)
        if seq <= before:
            return Acknowledged()
        settled = self._settled_waiting(channel, after=before, until=seq) if channel.settled_burning else []
        landed = []
        for fresh in channel.waiting.values():
            if fresh.seq > seq:
                break
            if fresh.seq > before:
                landed.append(fresh)
        if not (settled or landed):
            return Acknowledged()
        if acknowledge.reader not in channel.readers and len(channel.readers) >= self._quota.channel_readers:
            return Refusal("too-many-readers")
        channel.readers[acknowledge.reader] = seq
        ranked = sorted(channel.readers.values(), reverse=True)
        held = channel.entries
        for waiting_seq, readers, size, shelf in settled:
            if len(ranked) >= readers and ranked[readers - 1] >= waiting_seq:
                self._remove(channel, waiting_seq, size, shelf=shelf, burns=True, day=day)
        self._burn(
            channel,
            [f for f in landed if f.burn_after and len(ranked) >= f.burn_after and ranked[f.burn_after - 1] >= f.seq],
            day=day,
        )
        if channel.burning:
            self._channels.acked(channel)
            self._acks.append((channel.number, acknowledge.reader, seq))
        return Acknowledged(held - channel.entries)

    def _settled_waiting(self, channel: Channel, *, after: int, until: int) -> list[tuple[int, int, int, Shelf]]:
        """Seq, burn_after, size and shelf of the settled entries that wait for readers, after < seq <= until."""
        first = channel.first_key
        return [
            (n - first, burn_after, size, Shelf(True, day))
            for n, burn_after, size, day in self._connection.all(self._shelves.waiting, (first | after, first | until))
        ]

    def _burn(self, channel: Channel, burned: list[Fresh], *, day: int) -> None:
        """`_remove` for many entries at once that wait for readers and lie on no shelf."""
        if not burned:
            return
        waiting, gone, size = channel.waiting, self._gone, 0
        for fresh in burned:
            fresh.alive, fresh.body = False, None
            del waiting[fresh.seq]
            gone.append(fresh.n)
            size += fresh.size
        channel.last_day = max(channel.last_day, day)
        self._channels.discount(channel, size, count=len(burned), burning=len(burned))
        self._forget_readers(channel)

    def _forget_readers(self, channel: Channel) -> None:
        """Nobody is waited for: nobody is remembered (HT-S-024)."""
        if channel.burning:
            return
        channel.readers.clear()
        if self._channels.readers_landed(channel) or channel.readers_stored:
            self._acks.append((channel.number, NO_READER, 0))  # else reading back would bring them to life again
        if channel.readers_stored:
            self._connection.execute("DELETE FROM reader WHERE channel = ?", (channel.number,))
            channel.readers_stored = False

    def _take(self, take: Take, day: int) -> Taken:
        channel = self._channels.find(take.channel_id)
        if channel is None:
            return Taken(None, None)
        bounds = (channel.first_key, channel.end_key)
        found = self._connection.one(
            "SELECT n, day FROM invite WHERE n > ? AND n < ? AND take_id = ? ORDER BY n LIMIT 1",
            (*bounds, take.take_id),
        )
        if found is None:
            found = self._connection.one(
                "SELECT n, day FROM invite WHERE n > ? AND n < ? AND take_id IS NULL ORDER BY n LIMIT 1", bounds
            )
            if found is None:
                channel.refused_takes += 1
                self._dirty[channel] = None
                return Taken(None, None)
            self._connection.execute(
                "UPDATE invite SET take_id = ?, taken_day = ? WHERE n = ?", (take.take_id, day, found[0])
            )
        key, appended = found
        table = shelf_of(EntryClass.INVITE, appended).table
        (body,) = self._connection.only(f"SELECT body FROM {table} WHERE n = ?", (key,))  # noqa: S608
        return Taken(key - channel.first_key, body)

    def _erase(self, erase: Erase, day: int) -> Erased | Refusal:
        channel = self._channels.find(erase.channel_id)
        if channel is None:
            return Erased()
        if not 1 <= erase.seq <= channel.head:
            return Refusal("unknown-entry")
        fresh = channel.fresh.get(erase.seq)
        shelf: Shelf | None = None
        if fresh is not None:
            if not fresh.alive:
                return Erased()
            wanted, size, burns = fresh.erase_hash, fresh.size, fresh.burn_after is not None
        else:
            if not channel.settled_entries:
                return Erased()
            found = self._connection.one(self._shelves.finding, (channel.first_key | erase.seq,))
            if found is None:
                return Erased()
            short, appended, wanted, size, burns = found
            shelf = Shelf(bool(short), appended)
        if not rules.may_erase(wanted, erase.erase_token):
            return Refusal("wrong-token")
        self._remove(channel, erase.seq, size, shelf=shelf, burns=bool(burns), day=day)
        return Erased()

    def _remove(self, channel: Channel, seq: int, size: int, *, shelf: Shelf | None, burns: bool, day: int) -> None:
        """Take an entry out of every table that holds its bytes. It is fresh, or on a shelf, or both."""
        fresh = channel.fresh.get(seq)
        if fresh is not None:
            fresh.alive, fresh.body = False, None
            channel.waiting.pop(seq, None)
            self._gone.append(fresh.n)
            shelf = fresh.shelf if fresh.copied else None
        if shelf is not None:
            key = channel.first_key | seq
            self._shelves.remove(shelf, key)
            if not shelf.short:
                self._connection.execute("DELETE FROM invite WHERE n = ?", (key,))
            channel.unsettle(size, burns=burns)
            self._dirty[channel] = None
        channel.last_day = max(channel.last_day, day)
        self._channels.discount(channel, size, count=1, burning=int(burns))
        if burns:
            self._forget_readers(channel)

    def _gathered(self) -> bytes | None:
        """The record of what the batch landed; None if nothing. What was burned in it stands there without a body."""
        if not (self._landed or self._acks or self._gone):
            return None
        landed: list[LandedRow] = [
            (
                f.n,
                f.channel.number,
                f.seq,
                f.entry_class,
                f.day,
                f.turn,
                f.burn_after,
                f.erase_hash,
                f.entry_id,
                f.size,
            )
            for f in self._landed
        ]
        gone = runs(self._gone) if self._gone else []
        return msgspec.msgpack.encode((landed, [f.body for f in self._landed], self._acks, gone))

    def _forget_gathered(self) -> None:
        self._landed.clear()
        self._gone.clear()
        self._acks.clear()
        self._dirty.clear()

    # --- reading ---

    def channel(self, channel_id: ChannelId) -> ChannelState | None:
        channel = self._find(channel_id)
        if channel is None:
            return None
        return ChannelState(
            incarnation=channel.incarnation,
            head=channel.head,
            turn=channel.turn,
            refused_takes=channel.refused_takes,
        )

    def _find(self, channel_id: ChannelId) -> Channel | None:
        self._ready()
        with mapped_errors():
            return self._channels.find(channel_id)

    def read(self, channel_id: ChannelId, *, after: int, entries: int, size: int) -> list[StoredEntry]:
        channel = self._find(channel_id)
        found: list[StoredEntry] = []
        if channel is None or after >= channel.head:
            return found
        after = max(after, 0)
        with mapped_errors():
            cursor = self._connection.execute(
                self._shelves.reading if channel.settled_entries else "SELECT 0 WHERE 0",
                (channel.first_key | after, channel.end_key, max(entries, 0)) if channel.settled_entries else (),
            )
            rows: Iterator[tuple[Any, ...]] = iter(cursor)
            settled = next(rows, None)
            landing = channel.unsettled(after=after)
            fresh = next(landing, None)
            while (settled is not None or fresh is not None) and len(found) < entries:
                if fresh is None or (settled is not None and settled[0] < fresh.key):
                    assert settled is not None
                    n, turn, entry_class, commit, body = settled
                    entry = StoredEntry(
                        seq=n - channel.first_key,
                        turn=turn,
                        entry_class=EntryClass(entry_class),
                        commit=bool(commit),
                        entry=body,
                    )
                    settled = next(rows, None)
                else:
                    assert fresh.body is not None
                    entry = StoredEntry(
                        seq=fresh.seq, turn=fresh.turn, entry_class=fresh.entry_class, commit=False, entry=fresh.body
                    )
                    fresh = next(landing, None)
                size -= len(entry.entry)
                if found and size < 0:
                    break
                found.append(entry)
            cursor.close()  # an unfinished reading statement would hold up checkpoints
        return found

    def control_hash(self, channel_id: ChannelId, seq: int) -> bytes:
        channel = self._find(channel_id)
        if channel is None:
            raise StorageError("storage.forgotten")
        seq = min(max(seq, 0), channel.head)
        with mapped_errors():
            found = self._connection.one(
                "SELECT hash FROM control WHERE n > ? AND n <= ? ORDER BY n DESC LIMIT 1",
                (channel.first_key, channel.first_key | seq),
            )
        if found is not None:
            return bytes(found[0])
        if channel.control_base:
            raise StorageError("storage.forgotten")
        return NO_CONTROL_HASH

    def held(self) -> Held:
        return Held(self._channels.entries, self._channels.bytes)

    def holdings(self) -> list[Holding]:
        self._ready()
        with mapped_errors():
            return count_holdings(self._connection, self._channels.unsettled_entries())

    # --- time passing ---

    def expire(self, *, day: int) -> Expired:
        self._ready()
        if self._channels.earliest_landed_day() + self._retention.message_days <= day:
            self.settle()
        with self._landing():
            expired = self._sweep.step(day, remove=self._expire_entry, forget=self._channels.forget)
        if expired:
            self._swept = True
            self._channels.evict()
        else:
            while self._renew_worn(most=RENEWED_ON_SWEEP):
                self._swept = True
            if self._swept:
                self._swept = not self._log.empty()
                self._shorten()
        return expired

    def _expire_entry(
        self, shelf: Shelf, key: int, size: int, *, entry_class: EntryClass, burns: bool, due: int
    ) -> None:
        channel = self._channels.by_number(key >> SEQ_BITS)
        seq = key - channel.first_key
        self._remove(channel, seq, size, shelf=shelf, burns=burns, day=due)
        if entry_class is EntryClass.CONTROL:
            self._connection.execute("DELETE FROM control WHERE n > ? AND n < ?", (channel.first_key, key))
            channel.control_base = max(channel.control_base, seq)
            self._dirty[channel] = None

    def _renew_worn(self, *, most: int) -> bool:
        """Write one shelf anew that entries have left, if the store holds at most so many bytes (HT-S-013)."""
        if not self._shelves.worn or self._channels.bytes > most:
            return False
        with self._writing():
            self._shelves.renew()
        return True

    def tend(self) -> bool:
        self._ready()
        applied, self._applied = self._applied, False
        if not self._tending:
            self._tending = self._settling.begin()
        if self._tending:
            # While batches come, they carry the round on.
            self._tending = self._settling.running and (applied or self._settle_step())
            if self._tending:
                return True
        idle, self._busy = not self._busy, False
        if idle:
            self._shorten()
        if idle and self._renew_worn(most=RENEWED_WHEN_IDLE):
            return True
        if self._log.tend(idle=idle):
            self._swept = False
        return False

    def settle(self) -> None:
        """Settle everything that has landed. :raises StorageError: the disk"""
        self._ready()
        while self._channels.unsettled:
            self._settle_step(now=True)

    def _settle_step(self, *, now: bool = False) -> bool:
        """One step of a round, begun if none is going on. False after the last.

        :param now: wait for the disk rather than come back later
        :raises StorageError: the disk
        """
        self._ready()
        settling = self._settling
        if not settling.begin():
            return False
        if settling.copying:
            with self._writing(synced=False):
                settling.copy()
        elif settling.marking:
            if not (now or self._log.nearly_synced()):
                return True
            with self._writing():
                settling.mark()
            with self._or_stale():
                self._files[1 - self._channels.side].reset()
        else:
            settling.lift()
        return settling.running

    def _shorten(self) -> None:
        for file in self._files:
            file.shorten()

    def close(self) -> None:
        """Settle, empty the write-ahead log, close. Nothing is lost if any of it fails."""
        if self._closed:
            return
        try:
            self.settle()
            while self._renew_worn(most=RENEWED_WHEN_IDLE):
                pass
            self._log.empty()
            self._shorten()
        finally:
            self._closed = True
            self._log.close()
            with mapped_errors():
                self._let_go()

    def _let_go(self) -> None:
        for file in getattr(self, "_files", []):
            file.close()
        self._connection.close()


def _connect(path: Path, key: bytes) -> EncryptedConnection:
    connection = open_cipherfile(path, key=key, application=APPLICATION, page_size=PAGE_SIZE)
    with mapped_errors():
        connection.pragma("cache_size", -CACHE_KIB)
        connection.pragma("wal_autocheckpoint", 0)
    return connection


def _migrate(connection: EncryptedConnection) -> None:
    """Bring the schema up to date. :raises StorageError: ``storage.newer``"""
    with connection.changing():
        version = connection.pragma("user_version")
        if version > SCHEMA:
            raise StorageError("storage.newer", version=version)
        for step in range(version + 1, SCHEMA + 1):
            connection.execute(resources.files("hanatalk.stores").joinpath(f"schema/{step:04}.sql").read_text())
            if step in MOVES:
                MOVES[step](connection)
        connection.pragma("user_version", SCHEMA)
