"""People for the engine's tests: real engines on real encrypted databases, a simulated relay, a clock moved by hand."""

import os
from pathlib import Path

from tests.simulated_relay import Pipe, SimulatedRelay

from hanatalk.client import calls, events
from hanatalk.client.engine import Engine, create
from hanatalk.localdb.database import Database
from hanatalk.wire.client import ClientConnection

URL = "ws://127.0.0.1:7710"
START = 1_800_000_000_000  # milliseconds since 1970


class World:
    """One relay, one clock, some people."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = START
        self.relay = SimulatedRelay(day=START // 86_400_000)
        self.people: list[Person] = []

    def person(self, name: str) -> "Person":
        person = Person(self, name)
        self.people.append(person)
        return person

    def run(self) -> None:
        """Move bytes until nothing moves; the clock stands still."""
        moved = True
        while moved:
            moved = False
            for person in self.people:
                moved = person.step() or moved

    def settle(self, seconds: float = 30.0) -> None:
        """Let time pass, timer by timer, until nobody has anything due or waiting."""
        end = self.now + int(seconds * 1000)
        self.run()
        while self.now < end:
            due = [person.engine.next_tick() for person in self.people if person.pipe is not None]
            following = max(self.now + 1, min(due, default=end))
            if following > end:
                break
            self.now = following
            for person in self.people:
                person.engine.tick(self.now)
            self.run()

    def pass_days(self, days: int) -> None:
        for _ in range(days):
            self.now += 86_400_000
            self.relay.pass_days(1)
            for person in self.people:
                person.engine.tick(self.now)
            self.run()

    def befriend(self, one: "Person", other: "Person") -> str:
        """`other` accepts an invite of `one`; both end up in one conversation. Returns its id."""
        link = one.invite()
        accepted = other.accept(link)
        self.settle()
        return accepted.conversation


class Person:
    """One profile with one device."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.path = world.folder / f"{name}-{len(world.people)}.sqlite3"
        self.key = os.urandom(32)
        self.database = Database(self.path, self.key)
        create(self.database, name=name, relay=URL)
        self.engine = Engine(self.database)
        self.pipe: Pipe | None = None
        self.events: list[events.Event] = []
        self.online()

    def online(self) -> "Pipe":
        """Connect (again)."""
        connection = ClientConnection()
        self.pipe = self.world.relay.connect(connection)
        self.engine.connected(URL, connection, self.world.now)
        return self.pipe

    def offline(self) -> None:
        if self.pipe is not None:
            self.pipe.drop()
            self.pipe = None
            self.engine.disconnected(URL)

    def restart(self, *, online: bool = True) -> None:
        """The process dies and starts again; nothing but the database survives."""
        self.offline()
        self.database.close()
        self.database = Database(self.path, self.key)
        self.engine = Engine(self.database)
        if online:
            self.online()

    def step(self) -> bool:
        if self.pipe is None:
            return False
        if self.pipe.dropped:
            self.pipe = None
            self.engine.disconnected(URL)
            return False
        moved = self.pipe.step()
        arrived, self.pipe.events = self.pipe.events, []
        if arrived:
            self.engine.received(URL, arrived, self.world.now)
        self.events.extend(self.engine.take_events())
        return moved or bool(arrived)

    # what people do

    def invite(self) -> str:
        row = self.engine.invite(expires=86_400, now=self.world.now)
        self.world.run()
        assert self.engine.invite_made(row).state == "stored"
        return row.link

    def accept(self, link: str) -> calls.Accepted:
        channel = self.engine.accept(link, self.world.now)
        self.world.run()
        accepted = self.engine.accepted(channel)
        assert accepted is not None
        return accepted

    def send(self, conversation: str, text: str) -> str:
        message = self.engine.send(conversation, text, reply_to=None, now=self.world.now)
        self.events.extend(self.engine.take_events())
        return message.message.hex()

    def read(self, conversation: str) -> None:
        self.engine.read(conversation, self.world.now)

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
