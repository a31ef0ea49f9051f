"""People with one or two devices, in groups and in twos: what they do. The rest is `stage`'s.

with Town(shape=3, seed=0) as town:
    stage = town.stage
    town.remove(who=0, whom=2)
    stage.offline(who=1)
    town.quiet()
"""

import functools
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Concatenate, ParamSpec, Self

from tests.client import gatherings
from tests.client.machine import town_ground
from tests.client.machine.stage import Killed, Mortal, Stage
from tests.client.machine.town_oracle import TownOracle, Wrote, account, conversations

from hanatalk.client import calls
from hanatalk.client.engine.conversations import commits
from hanatalk.client.engine.formats import policy
from hanatalk.errors import HanaError, StorageError
from hanatalk.localdb.rows import ConversationState, IntentKind

P = ParamSpec("P")
EMOJI = (None, "👍", "❤️", "😂")
MOST_GROUPS = 3  # of one example
HEALING = (600, 3_600, 3 * 3_600)  # seconds, then days
MOST_DAYS = 9  # a request that nobody could answer is repeated after 7 (HT-M-056)


def act(method: Callable[Concatenate["Town", P], None]) -> Callable[Concatenate["Town", P], None]:
    """As `stage.act`."""

    @wraps(method)
    def acted(self: "Town", /, *args: P.args, **kwargs: P.kwargs) -> None:
        shown = [repr(each) for each in args] + [f"{key}={value!r}" for key, value in kwargs.items()]
        with self.stage.acting(method.__name__, f"town.{method.__name__}({', '.join(shown)})"):
            method(self, *args, **kwargs)

    return acted


class Town:
    """See the module."""

    def __init__(self, shape: int = 1, seed: int = 0) -> None:
        shape %= len(town_ground.SHAPES)
        self.oracle = TownOracle()
        count = sum(town_ground.SHAPES[shape])
        made = functools.partial(town_ground.ground, shape)
        self.stage = Stage(people=count, seed=seed, made=made, judge=self.oracle)
        self.stage.script = [f"with Town(shape={shape}, seed={seed}) as town:", "stage = town.stage"]
        self.devices = self.stage.people
        self.people = self.devices[: town_ground.SHAPES[shape][0]]
        self.slow = 0  # quiet points that took days
        self._texts = 0
        self._groups = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stage.close()

    def figures(self) -> dict[str, int]:
        return self.stage.figures() | {
            "messages": len(self.oracle.wrote),
            "texts excused: written before somebody joined": self.oracle.excused,
            "quiet points that took days": self.slow,
        }

    def _who(self, who: int) -> Mortal:
        return self.devices[who % len(self.devices)]

    def _at(self, person: Mortal, talk: int, kind: policy.Kind | None = None) -> str | None:
        """A conversation that goes on for this device: groups first, then twos."""
        with self.oracle.aside():
            rows = [
                row
                for row in conversations(person)
                if row.state == ConversationState.JOINED and kind in (None, row.kind)
            ]
        rows.sort(key=lambda row: (-row.kind, row.created_at, row.conversation))
        return rows[talk % len(rows)].conversation.hex() if rows else None

    # messages -----------------------------------------------------------------------------------------------------

    @act
    def send(self, who: int, talk: int = 0, count: int = 1, expire: int | None = None) -> None:
        person = self._who(who)
        where = self._at(person, talk)
        for _ in range(count if where is not None else 0):
            self._texts += 1
            text, sent = f"{who % len(self.devices)}:{self._texts}", False
            with person.mortal():
                person.send(where, text, expire=expire)
                sent = True
            with self.oracle.aside():
                found = [each.message for each in person.messages(where) if each.text == text]
            assert found or not sent, "acknowledged and not durable"
            if found:
                self.oracle.wrote[found[0]] = Wrote(person, where, found[0], expire, {text})

    def _message(self, person: Mortal, talk: int, which: int, *, own: bool) -> str | None:
        where = self._at(person, talk)
        with self.oracle.aside():
            found = [
                each.message
                for each in (person.messages(where) if where is not None else [])
                if not each.recalled and (not own or self.oracle.wrote[each.message].who is person)
            ]
        return found[-1 - which % len(found)] if found else None

    @act
    def edit(self, who: int, talk: int = 0, which: int = 0) -> None:
        person = self._who(who)
        message = self._message(person, talk, which, own=True)
        if message is not None:
            self._texts += 1
            text = f"edited {self._texts}"
            self.oracle.wrote[message].wordings.add(text)
            with person.mortal(), suppress(HanaError):
                person.engine.edit(message, text, person.now)

    @act
    def recall(self, who: int, talk: int = 0, which: int = 0) -> None:
        person = self._who(who)
        message = self._message(person, talk, which, own=True)
        if message is not None:
            self.oracle.wrote[message].recalled = True
            with person.mortal():
                person.engine.recall(message, person.now)

    @act
    def react(self, who: int, talk: int = 0, which: int = 0, emoji: int = 1) -> None:
        person = self._who(who)
        message = self._message(person, talk, which, own=False)
        if message is not None:
            with person.mortal(), suppress(HanaError):
                person.engine.react(message, EMOJI[emoji % len(EMOJI)], person.now)

    @act
    def read(self, who: int, talk: int = 0) -> None:
        person = self._who(who)
        where = self._at(person, talk)
        if where is not None:
            with person.mortal():
                person.read(where)

    # groups -------------------------------------------------------------------------------------------------------

    def _change(self, who: int, talk: int, make: Callable[[str], calls.GroupCall]) -> None:
        """As far as it is allowed."""
        person = self._who(who)
        where = self._at(person, talk, policy.Kind.GROUP)
        if where is not None:
            with person.mortal(), suppress(HanaError):
                try:
                    person.engine.group(make(where), person.now)
                except StorageError:
                    raise
                except HanaError:
                    pass

    def _name(self, whom: int) -> str:
        return account(self.people[whom % len(self.people)]).hex()

    @act
    def create(self, who: int) -> None:
        if self._groups < MOST_GROUPS:
            self._groups += 1
            person = self._who(who)
            with person.mortal(), suppress(HanaError):
                gatherings.create(person, f"모임 {self._groups}", members_add=self._groups % 2 == 0)

    @act
    def add(self, who: int, whom: int, talk: int = 0) -> None:
        self._change(who, talk, lambda at: calls.GroupAdd(conversation=at, people=[self._name(whom)]))

    @act
    def remove(self, who: int, whom: int, talk: int = 0) -> None:
        self._change(who, talk, lambda at: calls.GroupRemove(conversation=at, people=[self._name(whom)]))

    @act
    def role(self, who: int, whom: int, admin: bool = True, talk: int = 0) -> None:
        self._change(who, talk, lambda at: calls.GroupRole(conversation=at, people=[self._name(whom)], admin=admin))

    @act
    def rename(self, who: int, number: int = 0, talk: int = 0) -> None:
        self._change(who, talk, lambda at: calls.GroupRename(conversation=at, name=f"이름 {number}"))

    @act
    def leave(self, who: int, talk: int = 0) -> None:
        self._change(who, talk, lambda at: calls.GroupLeave(conversation=at))

    @act
    def commit(self, who: int, talk: int = 0) -> None:
        person = self._who(who)
        where = self._at(person, talk)
        if where is not None:
            core = person.engine._core
            with person.mortal(), core.transaction():
                commits.want(core, bytes.fromhex(where), IntentKind.UPDATE, person.now)

    @act
    def move(self, who: int, talk: int = 0) -> None:
        person = self._who(who)
        where = self._at(person, talk)
        if where is not None:
            with person.mortal(), suppress(HanaError):
                person.engine.move(where, person.now)

    # deaths -------------------------------------------------------------------------------------------------------

    @act
    def die(self, who: int, statement: int, doing: int = 0, whom: int = 0) -> None:
        """At any SQL statement of whatever is done."""
        self._fused(who, statement, doing, whom, Killed)

    @act
    def fill_disk(self, who: int, statement: int, doing: int = 0, whom: int = 0) -> None:
        """The disk says no once at any statement (T-083)."""
        self._fused(who, statement, doing, whom, lambda: StorageError("storage.full"))

    def _fused(self, who: int, statement: int, doing: int, whom: int, make: Callable[[], BaseException]) -> None:
        person = self._who(who)
        person.fuse(1 + statement, make)
        (
            lambda: self.stage.work(20),
            lambda: self.stage.wait(60),
            lambda: self.send(who),
            lambda: self.add(who, whom),
            lambda: self.remove(who, whom),
            lambda: self.read(who),
            lambda: self.edit(who),
            lambda: self.leave(who),
        )[doing % 8]()
        person.safe()

    # the quiet point ----------------------------------------------------------------------------------------------

    def _heal(self) -> None:
        world, days = self.stage.world, 0
        for seconds in HEALING:
            world.settle(seconds)
            if self.oracle.restless() is None:
                return
        while (left := self.oracle.restless()) is not None:
            assert days < MOST_DAYS, left
            days += 1
            world.pass_days(1)
            self.stage._back()
            world.settle(3 * 3_600)
        self.slow += 1

    @act
    def quiet(self) -> None:
        """Faults end, clocks are right, everybody is there: one history, everything everywhere, every 1 goes out."""
        self.stage.calm()
        self._heal()
        self.oracle.at_rest()
        for number, person in enumerate(self.devices):
            if self._at(person, 0, policy.Kind.GROUP) is not None:
                self.send(number)
        self._heal()
        for person in self.devices:
            for row in conversations(person):
                person.read(row.conversation.hex())
        self.stage.world.settle(60)
        self._heal()
        self.oracle.at_rest()
        self.oracle.all_read()
