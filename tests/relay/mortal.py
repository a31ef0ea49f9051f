"""One point of the relay's crash grid: a relay that dies, or whose disk fails, at a chosen step (T-080 … T-083).

The **relay** is a forked process: the real `RelayCore` on the real store, on a disk that does what the point says. Its
sockets are one socketpair, in lock-step, so that step n is the same step each time. The **referee** speaks to it with
real client connections, keeps a book of what it was answered, and when the relay is dead (or has finished) opens what
it has left and holds it to that book.
"""

import os
import shutil
import socket
import traceback
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.children import ended_by, fork
from tests.faults.points import NOTHING, Point, Steps
from tests.faults.talk import Talk
from tests.simulated_relay import SimulatedRelay

from hanatalk.errors import StorageError
from hanatalk.ids import ChannelId, EntryId, ReaderId, ReadToken, TakeId, WriteToken
from hanatalk.relay.core import RelayCore, Terms
from hanatalk.relay.signing import SigningKey, ephemeral_key
from hanatalk.stores.sqlite import SqliteStore
from hanatalk.wire import channels, events
from hanatalk.wire.channels import NO_CONTROL_HASH, erase_hash, next_control_hash
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection

KEY = bytes(range(32))
DAY = 20_000
WRITE = WriteToken(b"w" * 32)
READS = {name: ReadToken(name.encode() * 32) for name in "ABCD"}
IDS = {name: channels.channel_id(read, WRITE) for name, read in READS.items()}
ERASE = b"e" * 32
FIRST_TAKER = TakeId(b"1" * 16)


class Died(Exception):
    """The relay's process is gone."""


# --- the relay's process ---


class _Relay:
    def __init__(self, talk: Talk, path: Path, key: SigningKey, point: Point) -> None:
        self._talk = talk
        self._path = path
        self._key = key
        self.steps = Steps(point, path.parent)
        self._peers: dict[int, Any] = {}
        self._open()

    def _open(self) -> None:
        while True:
            try:
                self._store = SqliteStore(self._path, key=KEY)
            except StorageError:
                self.steps.full = False  # the operator made room
                continue
            self.core = RelayCore(self._store, key=self._key, terms=Terms(), random=os.urandom)
            return

    def serve(self) -> None:
        while (asked := self._talk.receive()) is not None:
            what, *values = asked
            answer: Any = None
            try:
                answer = getattr(self, "_" + what)(*values)
            except StorageError as error:
                answer = error.code
            self._put_out()
            self._talk.send(["did", answer])

    def _put_out(self) -> None:
        numbers = {peer: number for number, peer in self._peers.items()}
        for peer, messages in list(self.core.output()):
            if peer.ended:  # after its last words the socket is closed
                self.core.disconnect(peer)
                self._peers.pop(numbers.get(peer, -1), None)
            if peer in numbers:
                for message in messages:
                    self.steps.frame(
                        lambda cut, message=message, peer=peer: self._talk.send(  # type: ignore[misc]
                            ["out", numbers[peer], message], cut=cut
                        )
                    )

    def _connect(self, number: int) -> None:
        if number in self._peers:
            self.core.disconnect(self._peers[number])
        self._peers[number] = self.core.connect(address=None, now=0.0)

    def _message(self, number: int, message: bytes) -> None:
        self.core.receive(self._peers[number], message, now=0.0)

    def _commit(self, day: int) -> str | None:
        failure = self.core.commit(day=day).failure
        while self.core.hungry:
            self.core.feed()
        return failure

    def _tend(self) -> bool:
        return self.core.tend()

    def _expire(self, day: int) -> bool:
        return bool(self.core.expire(day=day))

    def _restart(self) -> None:
        """SIGTERM: commit what waits, tell everybody, close; then the next start."""
        self.core.drain()
        self._put_out()
        self._peers.clear()
        try:
            self._store.close()
        finally:
            self._open()

    def _heal(self) -> None:
        self.steps.full = False


def _serve(talk: Talk, path: Path, key: SigningKey, point: Point) -> None:
    try:
        relay = _Relay(talk, path, key, point)
        relay.serve()
        talk.send(["done", relay.steps.counts])
    except Exception:  # noqa: BLE001 (told to the referee)
        talk.send(["raised", traceback.format_exc()])


# --- the referee's process ---


@dataclass(frozen=True)
class Entry:
    channel: ChannelId
    entry_id: EntryId
    entry_class: EntryClass
    body: bytes
    commit: bool = False
    turn: int | None = None
    burn_after: int | None = None
    erasable: bool = False


@dataclass
class Book:
    """What the relay has answered, and what it was asked."""

    wanted: dict[EntryId, Entry] = field(default_factory=dict)
    days: dict[EntryId, set[int]] = field(default_factory=dict)  # on which it was sent
    stored: dict[EntryId, tuple[int, int]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    shown: dict[tuple[ChannelId, int], bytes] = field(default_factory=dict)
    acks: dict[tuple[ChannelId, ReaderId], int] = field(default_factory=dict)  # asked for
    acked: dict[tuple[ChannelId, ReaderId], int] = field(default_factory=dict)  # committed
    erasing: set[tuple[ChannelId, int]] = field(default_factory=set)
    erased: set[tuple[ChannelId, int]] = field(default_factory=set)
    taking: dict[TakeId, ChannelId] = field(default_factory=dict)
    taken: dict[TakeId, tuple[int | None, bytes | None]] = field(default_factory=dict)
    signed: dict[tuple[ChannelId, int], bytes] = field(default_factory=dict)
    incarnations: dict[ChannelId, bytes] = field(default_factory=dict)
    expiring: int = DAY  # the day that a sweep was begun for
    expired: int = DAY  # and ended
    failures: int = 0

    def note(self, event: events.Event) -> None:
        match event:
            case events.EntryStored(entry_id=entry_id, seq=seq, turn=turn):
                assert self.stored.setdefault(entry_id, (seq, turn)) == (seq, turn), "another answer to one entry_id"
            case events.EntryReceived(channel_id=channel, seq=seq, entry=entry):
                assert self.shown.setdefault((channel, seq), entry) == entry, "one seq, two contents"
            case events.EntryErased(channel_id=channel, seq=seq):
                self.erased.add((channel, seq))
            case events.EntryTaken(take_id=take_id, seq=seq, entry=entry):
                assert self.taken.setdefault(take_id, (seq, entry)) == (seq, entry), "another answer to one take_id"
            case events.ReceiptSigned(channel_id=channel, seq=seq, control_hash=control_hash):
                assert self.signed.setdefault((channel, seq), control_hash) == control_hash, "two histories"
            case events.Refused(code=code, entry_id=entry_id):
                self.refused.add(code)
                if code == "stale-turn" and entry_id is not None:
                    del self.wanted[entry_id]

    def gone(self, channel: ChannelId, seq: int, entry: Entry) -> bool | None:
        """Whether it must be gone (True), must be there (False), or either (None: nobody was told)."""
        days = self.days[entry.entry_id]
        verdicts = [
            self._all_acked(self.acked, channel, seq, entry),
            (channel, seq) in self.erased,
            self._is_due(entry, max(days), self.expired, self.taken),
        ]
        if any(verdicts):
            return True
        maybe = [
            self._all_acked(self.acks, channel, seq, entry),
            (channel, seq) in self.erasing,
            self._is_due(entry, min(days), self.expiring, self.taking),
        ]
        return None if any(maybe) else False

    def _is_due(self, entry: Entry, appended: int, day: int, taken: Container[TakeId]) -> bool:
        """By a sweep of that day: messages after three days, an invite the day after it was taken."""
        if entry.entry_class in (EntryClass.MESSAGE, EntryClass.ATTACHMENT):
            return appended + 3 <= day
        return entry.entry_class is EntryClass.INVITE and FIRST_TAKER in taken and day > DAY

    def _all_acked(
        self, acks: dict[tuple[ChannelId, ReaderId], int], channel: ChannelId, seq: int, entry: Entry
    ) -> bool:
        readers = sum(at == channel and up_to >= seq for (at, _), up_to in acks.items())
        return entry.burn_after is not None and readers >= entry.burn_after


class Referee:
    """Plays the script below."""

    def __init__(self, folder: Path, point: Point, *, key: SigningKey, broken: Callable[[], None]) -> None:
        self.point = point
        self._broken = broken  # done to the relay's process before it begins
        self.book = Book()
        self.steps: dict[str, int] | None = None
        self._key = key
        self._folder = folder / "relay"
        self._folder.mkdir()
        self._path = self._folder / "store.db"
        self._day = DAY
        self._connections: dict[int, ClientConnection] = {}

    def run(self) -> dict[str, int] | None:
        """How many steps of each kind there were, None if the relay died. :raises AssertionError: the oracle's"""
        ours, its = socket.socketpair()

        def live() -> None:
            ours.close()
            self._broken()
            _serve(Talk(its), self._path, self._key, self.point)

        child = fork(live)
        its.close()
        self._talk = Talk(ours)
        try:
            script(self)
            self._heal()
            self._until_stored()
            ours.shutdown(socket.SHUT_WR)
            while (said := self._talk.receive()) is not None:
                self._hear(said)
        except Died:
            pass
        ours.close()
        killed = ended_by(child)
        assert bool(killed) is (self.steps is None)
        if killed:
            assert self.point.kills
        if self.point != NOTHING and not self.point.kills:
            assert self.steps is not None
        self._judge()
        return self.steps

    # speaking with it

    def _hear(self, said: list[Any] | None) -> None:
        match said:
            case None:
                raise Died
            case ["out", number, message]:
                for event in self._connections[number].receive(message):
                    self._happened(number, event)
            case ["raised", what]:
                raise AssertionError(what)
            case ["done", steps]:
                self.steps = steps

    def _happened(self, number: int, event: events.Event) -> None:
        self.book.note(event)
        if isinstance(event, events.ChannelOpened):
            assert self.book.incarnations.setdefault(event.channel_id, event.incarnation) == event.incarnation
        if isinstance(event, events.Refused) and event.channel_id is None:
            self._connections.pop(number)  # it ended the connection

    def _ask(self, what: str, *values: Any) -> Any:
        try:
            self._talk.send([what, *values])
        except BrokenPipeError:
            raise Died from None
        while True:
            said = self._talk.receive()
            if said is not None and said[0] == "did":
                return said[1]
            self._hear(said)

    def _heal(self) -> None:
        self._ask("heal")

    def connection(self, number: int) -> ClientConnection:
        """Of writer (0) or a reader; connected anew if the last one was ended."""
        if number not in self._connections:
            connection = self._connections[number] = ClientConnection()
            for name, channel in IDS.items():
                connection.open(channel, read=READS[name], write=WRITE)
                if number:
                    connection.subscribe(channel, 0)
            self._ask("connect", number)
        return self._connections[number]

    def pump(self) -> None:
        """Messages there, a commit, answers back, until nothing moves."""
        moved = True
        while moved:
            moved = False
            for number in list(self._connections):
                connection = self._connections.get(number)
                for message in connection.messages_to_send() if connection is not None else ():
                    moved = True
                    self._ask("message", number, message)
            acks = dict(self.book.acks)
            if self._ask("commit", self._day) is None:
                self.book.acked.update(acks)
            else:
                self.book.failures += 1

    def _until_stored(self) -> None:
        """Everything that was not answered, once more: the same bytes under the same entry_id."""
        for _ in range(6):
            left = [entry for entry_id, entry in self.book.wanted.items() if entry_id not in self.book.stored]
            acks = [key for key, seq in self.book.acks.items() if self.book.acked.get(key, 0) < seq]
            erasing = self.book.erasing - self.book.erased
            taking = [take_id for take_id in self.book.taking if take_id not in self.book.taken]
            if not (left or acks or erasing or taking):
                return
            for entry in left:
                self.send(entry)
            for channel, reader in acks:
                self.connection(0).acknowledge(channel, reader=reader, seq=self.book.acks[channel, reader])
            for channel, seq in erasing:
                self.connection(0).erase(channel, seq=seq, erase_token=ERASE)
            for take_id in taking:
                self.connection(0).take(self.book.taking[take_id], take_id)
            self.pump()
            self._heal()
        raise AssertionError(("never accepted", self.book.refused))

    # what the script says

    def send(self, entry: Entry) -> None:
        self.book.days.setdefault(entry.entry_id, set()).add(self._day)
        self.connection(0).append(
            entry.channel,
            entry_id=entry.entry_id,
            entry_class=entry.entry_class,
            entry=entry.body,
            commit=entry.commit,
            turn=entry.turn,
            burn_after=entry.burn_after,
            erase_hash=erase_hash(ERASE) if entry.erasable else None,
        )

    def append(self, name: str, entry_class: EntryClass = EntryClass.MESSAGE, **how: Any) -> None:
        entry = Entry(IDS[name], EntryId(os.urandom(16)), entry_class, os.urandom(600), **how)
        self.book.wanted[entry.entry_id] = entry
        self.send(entry)

    def store(self) -> None:
        """Pump until everything is answered."""
        self.pump()
        self._until_stored()

    def acknowledge(self, name: str, reader: bytes, seq: int) -> None:
        key = IDS[name], ReaderId(reader * 16)
        self.book.acks[key] = max(seq, self.book.acks.get(key, 0))
        self.connection(0).acknowledge(key[0], reader=key[1], seq=seq)

    def erase(self, name: str, seq: int) -> None:
        self.book.erasing.add((IDS[name], seq))
        self.connection(0).erase(IDS[name], seq=seq, erase_token=ERASE)

    def take(self, name: str, take_id: bytes) -> None:
        self.book.taking[TakeId(take_id * 16)] = IDS[name]
        self.connection(0).take(IDS[name], TakeId(take_id * 16))

    def receipt(self, name: str, seq: int) -> None:
        self.connection(0).receipt(IDS[name], seq)

    def tend(self, *, all_of_it: bool = False) -> None:
        self._repeat("tend", all_of_it=all_of_it)

    def _repeat(self, what: str, *values: Any, all_of_it: bool = True) -> None:
        for _ in range(50):
            done = self._ask(what, *values)
            if isinstance(done, str):  # the code of a failing disk: logged, and tried again later
                self.book.failures += 1
                self._heal()
            elif not (done and all_of_it):
                return
        raise AssertionError(f"no end of {what}")

    def restart(self) -> None:
        self._ask("restart")
        self._connections.clear()

    def expire(self, days: int) -> None:
        self._day += days
        self.book.expiring = self._day
        self._repeat("expire", self._day)
        self.book.expired = self._day

    # the oracle

    def _judge(self) -> None:
        """What is left, held to the book."""
        if self.steps is None and self.point.fault.startswith("power"):
            self._path = self._folder.with_name("after") / "store.db"
        known = {self.book.wanted[each].channel for each in self.book.stored}
        self.book.incarnations = {at: known_as for at, known_as in self.book.incarnations.items() if at in known}
        store = SqliteStore(self._path, key=KEY)
        relay = SimulatedRelay(day=self._day, key=self._key)
        relay.store = store  # type: ignore[assignment]
        relay.restart()
        self._check(relay)
        while store.tend():
            pass
        while relay.core.expire(day=self._day):
            pass
        self.book.expired = self.book.expiring
        self.book.acked.update(self.book.acks)
        self.book.erased.update(self.book.erasing)
        self._check(relay, again=True)
        before = self._read(relay)
        store.close()
        relay.store = store = SqliteStore(self._path, key=KEY)  # type: ignore[assignment]
        relay.restart()
        assert self._read(relay) == before
        assert store._connection.pragma("integrity_check") == "ok"
        store.close()

    def _read(self, relay: SimulatedRelay) -> dict[ChannelId, list[events.EntryReceived]]:
        connection = ClientConnection()
        pipe = relay.connect(connection)
        for name, channel in IDS.items():
            connection.open(channel, read=READS[name], write=WRITE)
            connection.subscribe(channel, 0)
        found: dict[ChannelId, list[events.EntryReceived]] = {channel: [] for channel in IDS.values()}
        for event in pipe.pump():
            if isinstance(event, events.EntryReceived):
                found[event.channel_id].append(event)
        pipe.drop()
        return found

    def _check(self, relay: SimulatedRelay, *, again: bool = False) -> None:
        book = self.book
        held = {(channel, each.seq): each for channel, entries in self._read(relay).items() for each in entries}
        for entry_id, (seq, turn) in book.stored.items():
            entry = book.wanted[entry_id]
            there = held.get((entry.channel, seq))
            gone = book.gone(entry.channel, seq, entry)
            if gone is not None:
                assert (there is None) is gone, ("back" if gone else "lost", entry.entry_class, seq)
            if there is not None:
                assert (there.entry, there.commit, there.entry_class) == (entry.body, entry.commit, entry.entry_class)
                assert there.turn == turn - entry.commit
        for (channel, seq), body in book.shown.items():
            if (channel, seq) in held:
                assert held[channel, seq].entry == body
        self._answers_again(relay)
        if again:
            asked = [(entry.channel, entry.body) for entry in book.wanted.values()]
            held = {(channel, each.seq): each for channel, entries in self._read(relay).items() for each in entries}
            for (channel, _), each in held.items():
                assert asked.count((channel, each.entry)) == 1
            assert len({(channel, each.entry) for (channel, _), each in held.items()}) == len(held), "stored twice"

    def _answers_again(self, relay: SimulatedRelay) -> None:
        """Everything is asked once more: what was answered gets the same answer (`Book.note` compares)."""
        book, connection = self.book, ClientConnection()
        pipe = relay.connect(connection)
        for name, channel in IDS.items():
            connection.open(channel, read=READS[name], write=WRITE)
        self._connections = {0: connection}
        if book.expiring == DAY:  # what was taken goes on the next day
            for take_id, channel in book.taking.items():
                connection.take(channel, take_id)
        for channel, seq in book.signed:
            connection.receipt(channel, seq)
        for (channel, reader), seq in book.acks.items():
            connection.acknowledge(channel, reader=reader, seq=seq)
        for channel, seq in book.erasing:
            connection.erase(channel, seq=seq, erase_token=ERASE)
        for entry in list(book.wanted.values()):
            self.send(entry)
        for event in pipe.pump():
            if isinstance(event, events.ChannelOpened):
                known = book.incarnations.setdefault(event.channel_id, event.incarnation)
                assert known == event.incarnation, "another incarnation"
            book.note(event)
        assert set(book.wanted) <= set(book.stored), book.refused
        pipe.drop()
        for channel in IDS.values():
            seqs = sorted(seq for each, (seq, _) in book.stored.items() if book.wanted[each].channel == channel)
            assert seqs == list(range(1, len(seqs) + 1)), "a seq twice, or left out"
            commits = sum(book.wanted[each].commit for each in book.stored if book.wanted[each].channel == channel)
            state = relay.store.channel(channel)
            if not seqs:
                assert state is None
                continue
            assert state is not None
            assert (state.head, state.turn) == (len(seqs), commits)
        self._hash_goes_on(relay)

    def _hash_goes_on(self, relay: SimulatedRelay) -> None:
        control_hash = NO_CONTROL_HASH
        head = relay.store.channel(IDS["A"])
        if head is None:
            return
        by_seq = {
            seq: self.book.wanted[each]
            for each, (seq, _) in self.book.stored.items()
            if self.book.wanted[each].channel == IDS["A"]
        }
        for seq in range(1, head.head + 1):
            entry = by_seq[seq]
            if entry.entry_class is EntryClass.CONTROL:
                control_hash = next_control_hash(control_hash, seq=seq, commit=entry.commit, entry=entry.body)
            assert relay.store.control_hash(IDS["A"], seq) == control_hash


def script(relay: Referee) -> None:
    """Appends of every class, commits with turns, readers, burns, takes, erasures, settling, a restart, a sweep."""
    relay.connection(0)
    relay.connection(1)
    relay.append("A", EntryClass.CONTROL, commit=True, turn=0)
    relay.append("A", turn=1)
    for readers in (1, 2, 2, None):
        relay.append("B", burn_after=readers)
    relay.append("C", EntryClass.INVITE)
    relay.append("D", erasable=True)
    relay.append("D", EntryClass.ATTACHMENT, erasable=True)
    relay.store()
    relay.acknowledge("B", b"r", 2)
    relay.store()
    relay.tend()  # begins to settle: what has landed is copied
    relay.append("B", burn_after=2)
    relay.erase("D", 1)
    relay.store()
    relay.tend(all_of_it=True)
    relay.append("A", EntryClass.CONTROL, commit=True, turn=0)  # somebody was faster
    relay.append("A", EntryClass.CONTROL, commit=True, turn=1)
    relay.take("C", b"1")
    relay.store()
    relay.take("C", b"2")
    relay.receipt("A", 1)
    relay.append("D", erasable=True)
    relay.acknowledge("B", b"s", 5)
    relay.erase("D", 2)
    relay.store()
    relay.restart()
    relay.connection(2)  # reads everything from the store
    relay.append("A", EntryClass.CONTROL)
    relay.append("B", burn_after=1)
    relay.erase("D", 3)
    relay.store()
    relay.receipt("A", 3)
    relay.pump()
    relay.tend(all_of_it=True)
    relay.expire(3)
    relay.append("A", turn=2)
    relay.append("D")
    relay.store()


class Stage:
    """Where every point starts: an empty folder, a relay's key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ephemeral_key()

    def play(self, point: Point, broken: Callable[[], None] = lambda: None) -> dict[str, int] | None:
        """In this process; see `tests.faults.children.in_a_child`. :raises AssertionError: the oracle's"""
        folder = self.folder / f"{point.kind}-{point.number}-{point.fault}"
        folder.mkdir()
        try:
            return Referee(folder, point, key=self.key, broken=broken).run()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
