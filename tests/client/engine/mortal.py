"""One point of the crash grid: a person's process that dies, or whose disk fails, at a chosen step (T-081 … T-083).

Three processes. The test has made two people who know each other and put their files aside. The **referee** is forked
from it: relay and the other person live in its memory. The **victim** is forked from the referee: a process with a
real engine on a real encrypted database, on a disk that does what the point says; its WebSocket is a socketpair, in
lock-step, so that step n is the same step each time. When the victim is dead (or has finished), the referee opens the
files it has left, lets the conversation go on to its end and judges it.
"""

import gc
import hashlib
import shutil
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec
from tests.client.people import Person, World
from tests.faults.children import ended_by, fork
from tests.faults.points import Place, Point, Steps
from tests.faults.talk import Talk
from tests.simulated_relay import Pipe

from hanatalk import cipherfile, mls
from hanatalk.client import events
from hanatalk.client.engine import Engine
from hanatalk.client.engine.formats import sealing
from hanatalk.errors import ContentError, StorageError
from hanatalk.ids import ChannelId, ConversationId
from hanatalk.localdb.database import Database
from hanatalk.localdb.rows import Channel, Notice
from hanatalk.wire import frames
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection

REST = 3_700  # seconds in which everything that is due has been done; also what is done hourly


class Scenario(Protocol):
    """What is tried. All of it must be the same each time, but for random bytes."""

    name: str
    expected: frozenset[str]  # codes of alarms and names of other notices that belong to it

    def prepare(self, world: World) -> tuple[Person, Person, dict[str, str]]:
        """Victim, peer, and what else the others need; everybody is closed afterwards."""
        ...

    def live(self, victim: "Victim", given: dict[str, str]) -> None:
        """In the victim's process."""
        ...

    def peer_does(self, what: str, world: World, peer: Person, given: dict[str, str]) -> None:
        """Something that the victim asked the peer to do."""
        ...

    def after(self, world: World, victim: Person, peer: Person, given: dict[str, str]) -> str:
        """What the person does again after a crash; returns the conversation."""
        ...

    def judge(self, victim: Person, peer: Person, given: dict[str, str], said: list[str]) -> None:
        """What holds in the end besides case 81's oracle. :param said: what the victim had seen done"""
        ...


# --- the victim's process ---


class Victim:
    """A process with an engine, as the runtime drives it."""

    def __init__(self, wire: Talk, path: Path, key: bytes, *, now: int, point: Point) -> None:
        self.wire = wire
        self.path = path
        self.key = key
        self.now = now
        self.point = point
        self.steps = Steps(point, path.parent, locked=self._lock, said=lambda: wire.count)
        self.locked = False
        self.said: dict[str, str] = {}  # texts by their messages' ids
        self.opened: Database | None = None
        self.engine: Engine
        self.connections: dict[str, ClientConnection] = {}

    def _lock(self) -> None:
        self._ask("lock")
        self.locked = True

    def heal(self) -> None:
        """The person made room, the other process has let go."""
        self.steps.full = False
        if self.locked:
            self.locked = False
            self._ask("unlock")

    # living

    def open(self) -> None:
        """Open the profile and connect; the disk may say no, then once more."""
        while True:
            try:
                self.connections.clear()
                self.opened = Database(self.path, self.key)
                self.engine = Engine(self.opened)
                self.connect()
            except StorageError as error:
                self._failed(error)
                self._close()
                continue
            return

    def connect(self) -> None:
        """With every relay that the engine wants and that is there."""
        reachable = self._ask("reachable")
        for url in sorted(self.engine.wanted_relays() - self.connections.keys()):
            if url in reachable:
                self._ask("connect", url)
                self.connections[url] = ClientConnection()
                self.engine.connected(url, self.connections[url], self.now)

    def _close(self) -> None:
        if self.opened is not None:
            self.opened.close()
            self.opened = None

    def _failed(self, error: StorageError) -> None:
        assert error.code in ("storage.full", "storage.io", "storage.busy"), error
        assert self.point.number, error
        assert not self.point.kills, error
        self.wire.send(["failed", error.code])
        self.heal()

    def step(self, work: Callable[[], None]) -> bool:
        """What the runtime does around every step: if the disk says no, the profile is closed (and opened again)."""
        try:
            work()
        except StorageError as error:
            self._failed(error)
            self._close()
            self.open()
            return False
        return True

    def exchange(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """Bytes to the relay and back until nothing moves, or `until` holds."""
        while not until():
            moved = False
            if self.engine._left_off:  # the runtime's timer comes at once
                self.step(lambda: self.engine.tick(self.now))
            for url, connection in self.connections.items():
                for message in connection.messages_to_send():
                    moved = True
                    self.steps.frame(
                        lambda cut, url=url, message=message: self.wire.send(["write", url, message], cut=cut)  # type: ignore[misc]
                    )
            replies = self._ask("pump", self.now)
            moved = moved or any(reply["messages"] for reply in replies.values())
            if not all(self._take(url, reply) for url, reply in replies.items()) or not moved:
                if not moved:
                    return
                continue
            if self.does(self.engine.wanted_relays) - self.connections.keys():
                self.step(self.connect)

    def _take(self, url: str, reply: dict[str, Any]) -> bool:
        """What a relay wrote. False: the profile had to be opened again."""
        if reply["dropped"]:
            self.connections.pop(url, None)
            self.engine.disconnected(url)
            return self.step(self.connect)
        return all(
            self.step(lambda message=message: self._receive(url, message))  # type: ignore[misc]
            for message in reply["messages"]
        )

    def _receive(self, url: str, message: bytes) -> None:
        arrived = self.connections[url].receive(message)
        if arrived:
            self.engine.received(url, arrived, self.now)
        self.engine.take_events()

    def _ask(self, what: str, *values: Any) -> Any:
        self.wire.send([what, *values])
        return self.wire.receive()

    def peer(self, what: str) -> None:
        self._ask("peer", what)

    def wait(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.now + int(seconds * 1000)
        self.exchange()
        while self.now < end:
            due = min(self._ask("next"), self.does(self.engine.next_tick))
            self.now = min(max(self.now + 1, due), end)
            self.step(lambda: self.engine.tick(self.now))
            self.exchange()

    def say(self, conversation: str, text: str, *, expire: int | None = None) -> str:
        """What a person does: try, and try again when told that it did not work. Returns the message's id."""
        for attempt in range(5):
            wording = f"{text} {attempt}" if attempt else text
            self.wire.send(["tried", wording])
            try:
                message = self.engine.send(conversation, wording, expire=expire, now=self.now)
            except StorageError as error:
                self.wire.send(["refused", wording])
                self._failed(error)
                continue
            self.wire.send(["acknowledged", wording])
            self.said[message.message.hex()] = wording
            if expire is not None:
                self.wire.send(["gone", wording])
            return message.message.hex()
        raise AssertionError("the disk works, sending does not")

    def take_back(self, message: str) -> None:
        """A person recalls a message, until told that it worked."""
        self.wire.send(["going", self.said[message]])
        self.does(lambda: self.engine.recall(message, self.now))
        self.wire.send(["gone", self.said[message]])

    def reword(self, message: str, text: str, *, before: str) -> None:
        """A person edits a message, until told that it worked. `before`: what it may say no longer then."""
        self.wire.send(["tried", text])
        self.wire.send(["going", before])
        self.does(lambda: self.engine.edit(message, text, self.now))
        self.wire.send(["acknowledged", text])

    def did(self, what: str, work: Callable[[], Any]) -> Any:
        """A call of a person that may be repeated, and that the scenario judges by its name."""
        found = self.does(work)
        self.wire.send(["done_so_far", what])
        return found

    def does(self, work: Callable[[], Any]) -> Any:
        """A call of a person that may be repeated; its result."""
        while True:
            try:
                return work()
            except StorageError as error:
                self._failed(error)

    def close(self) -> None:
        self._close()


def _live(scenario: Scenario, victim: Victim, given: dict[str, str]) -> None:
    try:
        victim.open()
        scenario.live(victim, given)
        victim.close()
    except Exception:  # noqa: BLE001 (told to the referee)
        victim.wire.send(["raised", traceback.format_exc()])
    victim.wire.send(["done", victim.steps.counts, victim.now, victim.steps.places])


# --- the referee's process ---


@dataclass
class Record:
    """What the victim said before it died."""

    tried: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    going: list[str] = field(default_factory=list)  # asked for
    gone: list[str] = field(default_factory=list)  # promised: in the end, at both sides
    done_so_far: list[str] = field(default_factory=list)  # calls that returned, for the scenario's own judgement
    done: dict[str, int] | None = None
    places: dict[str, list[Place]] = field(default_factory=dict)


class Observer:
    """Knows every distinct entry that the victim ever wrote, and whether a key was used for two of them.

    The peer's rows are kept as they were at the beginning of each epoch. A handle loaded from them refuses a second
    ciphertext of a generation (`mls.Replay`), whether the relay kept the first or not.
    """

    def __init__(self, peer: Person) -> None:
        self._peer = peer
        self._entries: dict[bytes, frames.Append] = {}
        self._rows: dict[bytes, dict[bytes, bytes]] = {}
        self._epochs: dict[tuple[bytes, int], dict[bytes, bytes]] = {}
        self._merged = False
        for (owner,) in peer.database.tuples("SELECT conversation FROM conversation"):
            assert isinstance(owner, bytes)
            self._rows[owner] = dict(peer.database.mls_rows(owner))
            self._begin(owner)
        self._watch()

    def _begin(self, owner: bytes) -> None:
        epoch = mls.Group.load(owner, list(self._rows[owner].items())).epoch
        self._epochs.setdefault((owner, epoch), dict(self._rows[owner]))

    def _watch(self) -> None:
        write, merging = self._peer.database.mls_write, ("staged_merge", "pending_merge")

        def mls_write(owner: bytes, writes: mls.Writes) -> None:
            write(owner, writes)
            known = owner in self._rows
            rows = self._rows.setdefault(owner, {})
            for key, value in writes:
                if value is None:
                    rows.pop(key, None)
                else:
                    rows[key] = value
            if len(owner) == 16 and (self._merged or not known):
                self._merged = False
                self._begin(owner)

        self._peer.database.mls_write = mls_write  # type: ignore[method-assign]
        for name in merging:
            merge = getattr(mls.Group, name)

            def watched(group: mls.Group, merge: Callable[[mls.Group], mls.Writes] = merge) -> mls.Writes:
                self._merged = True
                return merge(group)

            setattr(mls.Group, name, watched)

    def saw(self, message: bytes) -> None:
        for frame in frames.decode_client_frames(message):
            if isinstance(frame, frames.Append):
                self._entries[hashlib.sha256(frame.entry).digest()] = frame

    def judge(self) -> int:
        """How many ciphertexts were examined. :raises AssertionError: a key was used twice"""
        eras = self._peer.database.find(Channel, "purpose = 1")
        bodies: dict[bytes, tuple[bytes, int]] = {}
        for frame in self._entries.values():
            for era in eras:
                with suppress(ContentError):
                    kind, body = sealing.unseal(
                        era.seal_key,
                        ChannelId(era.channel),
                        entry_class=EntryClass(frame.entry_class),
                        commit=frame.commit,
                        entry=frame.entry,
                    )
                    if kind is sealing.BodyKind.MLS:
                        bodies[body] = era.owner, _epoch(body)
        examined = 0
        by_epoch: dict[tuple[bytes, int], list[bytes]] = {}
        for body, place in bodies.items():
            by_epoch.setdefault(place, []).append(body)
        for place, of_epoch in by_epoch.items():
            rows = self._epochs.get(place)
            if rows is None:
                continue  # the peer never was in that epoch, and nobody else can read it
            group = mls.Group.load(place[0], list(rows.items()))
            for body in of_epoch:
                try:
                    result = group.process(body)
                except mls.Replay:
                    raise AssertionError("(key, nonce) used for two ciphertexts") from None
                except mls.MlsError:
                    continue
                examined += 1
                if isinstance(result, mls.StagedCommit):
                    group.staged_drop()
        return examined


def _epoch(body: bytes) -> int:
    """Of an MLSMessage with a group id of 16 bytes: version, wire format, group id, epoch."""
    assert body[4] == 16
    return int.from_bytes(body[21:29])


@contextmanager
def _somebody_locks(path: Path, key: bytes) -> Iterator[None]:
    other = cipherfile.open_cipherfile(path, key=key, application=0x48414E31)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


Broken = Callable[[Victim], None]  # done to the victim's process before it begins


class Referee:
    """See the module."""

    def __init__(self, stage: "Stage", folder: Path, point: Point, broken: Broken) -> None:
        self.scenario = stage.scenario
        self._broken = broken
        self.point = point
        self.given = stage.given
        self.world = stage.world
        self.world.folder = folder
        self.record = Record()
        (folder / "victim").mkdir(parents=True)
        self.left = (folder / "victim" / "profile.sqlite3", stage.victim_key)
        shutil.copyfile(stage.victim_file, self.left[0])
        shutil.copyfile(stage.peer_file, folder / "peer.sqlite3")
        self.peer = Person(self.world, stage.peer_name, folder / "peer.sqlite3", stage.peer_key)
        self.observer = Observer(self.peer)
        self.world.join(self.peer)
        self._pipes: dict[str, Pipe] = {}
        self._lock: Any = None

    def run(self) -> Record:
        """Let the victim live, as long as it does; then the rest."""
        ours, its = socket.socketpair()

        def live() -> None:
            ours.close()
            victim = Victim(Talk(its), *self.left, now=self.world.now, point=self.point)
            self._broken(victim)
            _live(self.scenario, victim, self.given)

        child = fork(live)
        its.close()
        wire = Talk(ours)
        while (said := wire.receive()) is not None:
            self._hear(wire, *said)
        ours.close()
        killed = ended_by(child)
        assert bool(killed) is (self.record.done is None)
        for pipe in self._pipes.values():
            pipe.drop()
        self.finish()
        return self.record

    def _hear(self, wire: Talk, what: str, *values: Any) -> None:
        record = self.record
        match what:
            case "tried" | "acknowledged" | "refused" | "failed" | "going" | "gone" | "done_so_far":
                getattr(record, what).append(values[0])
            case "raised":
                raise AssertionError(values[0])
            case "given":
                self.given[values[0]] = values[1]
            case "done":
                record.done, self.world.now = values[0], max(self.world.now, values[1])
                record.places = {kind: [Place(*place) for place in places] for kind, places in values[2].items()}
            case "write":
                self.observer.saw(values[1])
                if not self._pipes[values[0]].dropped:
                    self._pipes[values[0]]._to_relay(values[1])
            case "reachable":
                wire.send(list(self.world.relays))
            case "connect":
                if values[0] in self._pipes:
                    self._pipes[values[0]].drop()
                self._pipes[values[0]] = self.world.relays[values[0]].connect(ClientConnection())
                wire.send(None)
            case "pump":
                wire.send(self._pump(values[0]))
            case "next":
                wire.send(min(self.peer.engine.next_tick(), self.world.now + 3_600_000))
            case "peer":
                self.scenario.peer_does(values[0], self.world, self.peer, self.given)
                self.world.run()
                wire.send(None)
            case "lock":
                self._lock = _somebody_locks(*self.left)
                self._lock.__enter__()
                wire.send(None)
            case "unlock":
                self._lock.__exit__(None, None, None)
                wire.send(None)
            case _:
                raise AssertionError(what)

    def _pump(self, now: int) -> dict[str, dict[str, Any]]:
        if now > self.world.now:
            for relay in self.world.relays.values():
                relay.pass_days(now // 86_400_000 - relay.day)
            self.world.now = now
            self.peer.engine.tick(now)
        for relay in self.world.relays.values():
            relay.settle()
        self.world.run()
        replies = {}
        for url, pipe in list(self._pipes.items()):
            messages, pipe._inbox = pipe._inbox, []
            dropped = pipe.dropped or (pipe._peer.ended and not messages)
            replies[url] = {"messages": messages, "dropped": dropped}
            if dropped:
                del self._pipes[url]
        return replies

    def finish(self) -> None:
        """Open what is left, let the conversation go on, judge."""
        world, peer = self.world, self.peer
        if self.point.fault.startswith("power") and self.record.done is None:
            self.left = (self.left[0].parent.with_name("after") / self.left[0].name, self.left[1])
        victim = world.join(Person(world, "victim", *self.left))
        conversation = self.scenario.after(world, victim, peer, self.given)
        self._rest(victim, conversation, 65)
        for person in (victim, peer):
            self.record.tried.append(f"after, from {person.name}")
            self.record.acknowledged.append(f"after, from {person.name}")
            person.send(conversation, f"after, from {person.name}")
            world.settle(60)
            person.read(conversation)
        self._rest(victim, conversation, REST)
        for message in [message for pipe in victim.pipes.values() for message in pipe.sent]:
            self.observer.saw(message)
        self._judge(victim, conversation)
        for person in (victim, peer):
            person.offline()
            person.database.close()

    def _rest(self, victim: Person, conversation: str, seconds: float) -> None:
        """Until nobody has anything left to do; a renewal may fall due just now."""
        for _ in range(10):
            self.world.settle(seconds)
            people = (victim, self.peer)
            joined = all(chat.state == "joined" for person in people for chat in person.engine.chats().chats)
            if joined and not any(person.engine.pending(self.world.now) for person in people):
                return
            seconds = REST

    def _judge(self, victim: Person, conversation: str) -> None:
        """The oracle of case 81."""
        assert self.observer.judge() >= 1
        record, peer = self.record, self.peer
        gone = {*record.gone, *self.given.get("going", "").split("\n")}
        shown = {person.name: [text for text in person.texts(conversation) if text] for person in (victim, peer)}
        for texts in shown.values():
            assert len(texts) == len(set(texts)), ("shown twice", texts)
            assert set(record.acknowledged) - gone - set(record.going) <= set(texts), (
                "acknowledged, not shown",
                record,
                texts,
            )
            assert not gone & set(texts), ("to be gone, and shown", record, texts)
            assert not set(record.refused) & set(texts), ("refused, and shown", record, texts)
            assert [text for text in texts if text in record.tried] == [
                text for text in record.tried if text in texts
            ], ("out of order", record.tried, texts)
        assert sorted(shown["victim"]) == sorted(shown[peer.name])
        assert set(shown["victim"]) <= {*record.tried, *self.given.get("texts", "").split("\n")}
        group = ConversationId(bytes.fromhex(conversation))
        assert (
            victim.engine._core.group(group).epoch_authenticator == peer.engine._core.group(group).epoch_authenticator
        ), "forked"
        for person in (victim, peer):
            assert person.engine.pending(self.world.now) == 0
            assert {message.state for message in person.messages(conversation)} <= {"delivered", "received", "read"}
            said = [msgspec.json.decode(row.event, type=events.Event) for row in person.database.find(Notice, "1")]
            unexpected = [event for event in said if _called(event) not in self.scenario.expected]
            assert not unexpected, said
            assert not person.database.number("SELECT count(*) FROM gap")
            assert not set(person.alarms()) - self.scenario.expected
            for (body,) in person.database.tuples("SELECT body FROM content WHERE body IS NOT NULL"):
                assert not [text for text in gone if text and text.encode() in bytes(body)]  # type: ignore[arg-type]
            assert person.database._connection.pragma("integrity_check") == "ok"
            mls.Group.load(group, person.database.mls_rows(group))
        self.scenario.judge(victim, peer, self.given, record.done_so_far)


def _called(event: events.Event) -> str:
    return event.code if isinstance(event, events.Alarm) else type(event).__name__


# --- the test's process ---


class Stage:
    """A prepared scenario: two closed profiles and a relay in memory, from which every point starts."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self.folder = folder
        self.world = World(folder)
        victim, peer, self.given = scenario.prepare(self.world)
        for person in self.world.people:
            person.offline()
            person.database.close()
        self.victim_file, self.victim_key = victim.path, victim.key
        self.peer_file, self.peer_key, self.peer_name = peer.path, peer.key, peer.name
        self.world.people = []
        gc.collect()
        gc.freeze()  # what a child collects, it copies

    def play(self, point: Point, broken: Broken = lambda _: None) -> Record:
        """In this process; see `tests.faults.children.in_a_child`. :raises AssertionError: the oracle's"""
        folder = self.folder / f"{point.kind}-{point.number}-{point.fault}"
        try:
            return Referee(self, folder, point, broken).run()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
