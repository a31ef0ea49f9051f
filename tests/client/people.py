"""People for the engine's tests: real engines on real encrypted databases, simulated relays, clocks moved by hand."""

import os
import shutil
from pathlib import Path

from tests.simulated_relay import Pipe, SimulatedRelay

from hanatalk.client import calls, events
from hanatalk.client.engine import Engine, create
from hanatalk.errors import WireError
from hanatalk.localdb.database import Database
from hanatalk.wire.client import ClientConnection

URL = "ws://127.0.0.1:7710"
START = 1_800_000_000_000  # milliseconds since 1970
DAY = 86_400_000  # milliseconds


class World:
    """Some relays, the true time, some people."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = START
        self.relays = {URL: SimulatedRelay(day=START // DAY)}
        self.people: list[Person] = []
        self.patience = 100_000  # exchanges without time passing after which it is a livelock

    @property
    def relay(self) -> SimulatedRelay:
        """The one relay that most tests have."""
        return self.relays[URL]

    def person(self, name: str, *, relay: str = URL, fallbacks: tuple[str, ...] = ()) -> "Person":
        """Somebody new, whose own relay is at `relay`; new conversations may also go to the `fallbacks`."""
        path, key = self.folder / f"{name}-{len(self.people)}.sqlite3", os.urandom(32)
        database = Database(path, key)
        create(database, name=name, relay=relay, fallbacks=fallbacks)
        database.close()
        return self.join(Person(self, name, path, key))

    def join(self, person: "Person") -> "Person":
        """Somebody whose profile exists comes online."""
        self.people.append(person)
        person.online()
        return person

    def run(self) -> None:
        """Move bytes until nothing moves; the clocks stand still."""
        for _ in range(self.patience):
            moved = [person.step() for person in self.people]
            if not any(moved):
                return
        raise AssertionError("livelock: bytes move without end")

    def settle(self, seconds: float = 30.0) -> None:
        """Let time pass, timer by timer, until nobody has anything due or waiting."""
        end = self.now + int(seconds * 1000)
        spins = 0
        self.run()
        while self.now < end:
            due = [person.next_tick() for person in self.people if person.pipes]
            following = max(self.now + 1, min(due, default=end))
            if following > end:
                break
            spins = spins + 1 if following == self.now + 1 else 0
            assert spins < self.patience, "a timer is due again and again, and nothing comes of it"
            self.now = following
            for person in self.people:
                person.tick()
            self.run()

    def pass_days(self, days: int) -> None:
        for _ in range(days):
            self.now += DAY
            for relay in self.relays.values():
                relay.pass_days(1)
            for person in self.people:
                person.tick()
            self.run()

    def befriend(self, one: "Person", other: "Person") -> str:
        """`other` accepts an invite of `one`; both end up in one conversation. Returns its id."""
        link = one.invite()
        accepted = other.accept(link)
        self.settle()
        return accepted.conversation


class Person:
    """One profile with one device. `skew`: how far its clock is ahead of the true time, in milliseconds."""

    def __init__(self, world: World, name: str, path: Path, key: bytes) -> None:
        self.world = world
        self.name = name
        self.path = path
        self.key = key
        self.skew = 0
        self.database = Database(self.path, self.key)
        self.engine = Engine(self.database)
        self.pipes: dict[str, Pipe] = {}
        self.events: list[events.Event] = []

    @property
    def now(self) -> int:
        """What this person's clock shows."""
        return self.world.now + self.skew

    @property
    def pipe(self) -> Pipe | None:
        """The way to the relay that most tests have."""
        return self.pipes.get(URL)

    def tick(self) -> None:
        self.engine.tick(self.now)

    def next_tick(self) -> int:
        """When the engine wants to be called, in true time."""
        return self.engine.next_tick() - self.skew

    def online(self) -> None:
        """Connect (again) with every relay the engine wants and the world has."""
        for url, pipe in list(self.pipes.items()):
            if pipe.dropped:
                self._lost(url)
        for url in self.wanted_here():
            if url not in self.pipes:
                connection = ClientConnection()
                self.pipes[url] = self.world.relays[url].connect(connection)
                self.engine.connected(url, connection, self.now)

    def wanted_here(self) -> list[str]:
        """Relays that the engine wants and that can be reached."""
        return sorted(self.engine.wanted_relays() & self.world.relays.keys())

    def offline(self) -> None:
        for url, pipe in list(self.pipes.items()):
            pipe.drop()
            self._lost(url)

    def _lost(self, url: str) -> None:
        del self.pipes[url]
        self.engine.disconnected(url)

    def restart(self, *, online: bool = True) -> None:
        """The process dies and starts again; nothing but the database survives."""
        self.offline()
        self.database.close()
        self.database = Database(self.path, self.key)
        self.engine = Engine(self.database)
        if online:
            self.online()

    def copy_to(self, path: Path) -> None:
        """The profile's file is copied while nobody has it open."""
        self.offline()
        self.database.close()
        shutil.copy(self.path, path)
        self.restart()

    def put_back(self, path: Path, *, online: bool = True) -> None:
        """A copy takes the place of the profile's file."""
        self.offline()
        self.database.close()
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        shutil.copy(path, self.path)
        self.events.clear()
        self.restart(online=online)

    def step(self) -> bool:
        """Exchange what is ready with every relay; True if anything moved."""
        moved = False
        for url, pipe in list(self.pipes.items()):
            moved = self._step(url, pipe) or moved
        if moved and self.pipes and not any(pipe.dropped for pipe in self.pipes.values()):
            self.online()  # what arrived may have named another relay
        return moved

    def _step(self, url: str, pipe: Pipe) -> bool:
        if pipe.dropped:
            self._lost(url)
            return False
        try:
            moved = pipe.step()
        except WireError:  # the relay broke the protocol: the connection is gone
            self._lost(url)
            return False
        arrived, pipe.events = pipe.events, []
        if arrived:
            self.engine.received(url, arrived, self.now)
        self.events.extend(self.engine.take_events())
        return moved or bool(arrived)

    # what people do

    def new_device(self, *, history: int | None = None, settle: bool = True) -> "Person":
        """Another device for this person, linked to the account; who else is online sees it come."""
        new = self.world.person(self.name)
        self.world.run()
        new.engine.devices.link(language="ko", now=new.now)
        code = new.engine.devices.linking().link
        assert code is not None
        self.engine.devices.approve(code, self.now, history=history)
        self.world.settle(5)
        assert new.engine.devices.linking().words == self.engine.devices.approving().words != []
        new.engine.devices.consent(yes=True, now=new.now)
        self.engine.devices.confirm(yes=True, now=self.now)
        if not settle:
            return new
        self.world.settle()
        assert new.engine.devices.linking().state == "linked"
        return new

    def invite(self) -> str:
        row = self.engine.invite(expires=86_400, now=self.now)
        self.world.run()
        assert self.engine.invite_made(row).state == "stored"
        return row.link

    def accept(self, link: str) -> calls.Accepted:
        channel = self.engine.accept(link, self.now)
        if self.pipes:
            self.online()  # the link may name another relay
        self.world.run()
        accepted = self.engine.accepted(channel)
        assert accepted is not None
        return accepted

    def send(self, conversation: str, text: str, *, expire: int | None = None) -> str:
        message = self.engine.send(conversation, text, expire=expire, now=self.now)
        self.events.extend(self.engine.take_events())
        return message.message.hex()

    def recall(self, message: str) -> None:
        self.engine.recall(message, self.now)
        self.events.extend(self.engine.take_events())

    def read(self, conversation: str) -> None:
        self.engine.read(conversation, self.now)

    def messages(self, conversation: str) -> list[calls.Message]:
        return self.engine.messages(conversation, 10_000).messages

    def texts(self, conversation: str) -> list[str]:
        return [message.text for message in self.messages(conversation)]

    def message(self, conversation: str, message: str) -> calls.Message:
        (found,) = [each for each in self.messages(conversation) if each.message == message]
        return found

    def alarms(self) -> list[str]:
        return [event.code for event in self.events if isinstance(event, events.Alarm)]

    def of(self, kind: type) -> list[events.Event]:
        return [event for event in self.events if isinstance(event, kind)]
