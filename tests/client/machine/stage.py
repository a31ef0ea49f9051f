"""The stage: people, relays, faults, deaths, clocks, and the oracle of case 81. Every act takes whole numbers.

A number that fits nobody is taken modulo what there is, so an act is never out of place and a script of acts can be cut
anywhere (that is how failures are made small):

    with Stage(people=2) as stage:
        stage.send(who=0)
        stage.withhold(who=1, what=0)
        stage.quiet()
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, Self

import pytest
from tests.client.machine import insiders
from tests.client.machine.ground import URLS, Ground, copied, ground, new_folder
from tests.client.machine.oracle import Oracle, Talk
from tests.client.machine.saboteur import DOWN, UP, Fault, Saboteur, flipped, withholding
from tests.client.machine.witness import Witness, watching
from tests.client.people import Person, World
from tests.simulated_relay import Pipe

from hanatalk.client.engine.conversations import commits
from hanatalk.errors import HanaError, StorageError
from hanatalk.localdb.rows import Conversation, ConversationState, IntentKind
from hanatalk.stores.memory import MemoryStore
from hanatalk.wire import frames
from hanatalk.wire.classes import EntryClass

P = ParamSpec("P")

MOST_DAYS = 45  # in one example: longer than control entries are kept, and than messages are published again
STEPS_AT_ONCE = 300  # exchanges, or ticks, without time passing: more is a livelock
REFUSALS = (
    (frames.Append, "stale-turn"),
    (frames.Append, "channel-full"),
    (frames.Append, "relay-full"),
    (frames.Append, "storage"),
    (frames.Append, "entry-size"),
    (frames.Open, "too-many-channels"),
    (frames.Open, "wrong-channel-id"),
    (frames.Receipt, "forgotten"),
    (frames.Receipt, "unknown-entry"),
    (None, "draining"),
    (None, "reopen"),
    (None, "slow"),
)
CLOCK_STEPS = (5, 120, 3_600, 86_400, 10 * 86_400, 400 * 86_400)  # seconds


class Judge(Protocol):
    """What is asked after every act."""

    looking: bool

    def begin(self, world: World, witness: Witness) -> None: ...
    def aside(self) -> AbstractContextManager[None]: ...
    def look(self) -> None: ...
    def clock_was(self, person: Person) -> None: ...
    def may_forget(self) -> bool: ...


class Killed(BaseException):
    """The process dies here."""


class Mortal(Person):
    """A person whose process may die, or whose disk may be full, at any SQL statement."""

    judge: Judge
    stage: "Stage"
    deaths = 0
    away = False  # offline because the person wants it; else a lost connection is made anew

    def fuse(self, statements: int, make: Callable[[], BaseException] = Killed) -> None:
        """At that statement from now on."""
        left = [statements]

        def trace(*_: object) -> bool:
            if self.judge.looking:
                return True
            left[0] -= 1
            if left[0] == 0:
                self.database._connection.exec_trace = None
                raise make()
            return True

        self.database._connection.exec_trace = trace

    def safe(self) -> None:
        """No statement is dangerous any more."""
        self.database._connection.exec_trace = None

    @contextmanager
    def mortal(self, *, calling: bool = True) -> Iterator[None]:
        """What may die in here starts again. When the disk says no, a call fails and the process goes on; in a step of
        its own (not `calling`) the runtime ends it."""
        try:
            yield
        except StorageError:
            self.deaths += 1
            self.safe()
            if not calling:
                self.reborn()
        except Killed:
            self.deaths += 1
            self.reborn()

    def reborn(self) -> None:
        self.safe()
        for saboteur in self.stage.saboteurs[self.stage.people.index(self)].values():
            saboteur.delayed.clear()
        self.restart(online=not self.away)

    def step(self) -> bool:
        with self.mortal(calling=False):
            return super().step()
        return True

    def tick(self) -> None:
        with self.mortal(calling=False):
            super().tick()

    def next_tick(self) -> int:
        with self.mortal(calling=False):
            return super().next_tick()
        return self.world.now

    def online(self) -> None:
        before = dict(self.pipes)
        super().online()
        for url, pipe in self.pipes.items():
            if before.get(url) is not pipe:
                self.stage.saboteurs[self.stage.world.people.index(self)][url].attach(pipe)

    def wanted_here(self) -> list[str]:
        return [url for url in super().wanted_here() if url not in self.stage.down]


def act(method: Callable[Concatenate["Stage", P], None]) -> Callable[Concatenate["Stage", P], None]:
    """Written into the script, counted, and judged afterwards."""

    @wraps(method)
    def acted(self: "Stage", /, *args: P.args, **kwargs: P.kwargs) -> None:
        shown = [repr(each) for each in args] + [f"{key}={value!r}" for key, value in kwargs.items()]
        with self.acting(method.__name__, f"stage.{method.__name__}({', '.join(shown)})"):
            method(self, *args, **kwargs)

    return acted


class Stage:
    """See the module."""

    def __init__(
        self, people: int = 2, seed: int = 0, *, made: Callable[[], Ground] = ground, judge: Judge | None = None
    ) -> None:
        """:param made: where it begins; :param judge: of another play than conversations of two"""
        self.script = [f"with Stage(people={people}, seed={seed}) as stage:"]
        self.counted: Counter[str] = Counter()
        self._acting = False
        self._days = 0
        self._backups: dict[str, MemoryStore] = {}
        self._copies: dict[int, bytes] = {}
        self._links: list[tuple[int, str]] = []
        self._texts = 0
        self._open = ExitStack()
        folder = Path(self._open.enter_context(new_folder()))
        begins = made()  # made with chances of its own: a stage's would come twice
        chance = random.Random(seed)
        patch = self._open.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("secrets.token_bytes", lambda count=32: chance.randbytes(count))
        patch.setattr("secrets.randbelow", chance.randrange)
        self.saboteurs: list[dict[str, Saboteur]] = [{url: Saboteur() for url in URLS} for _ in range(people)]
        self.down: set[str] = set()
        self.oracle = Oracle()
        self.judge: Judge = judge if judge is not None else self.oracle

        def make(world: Any, name: str, path: Path, key: bytes) -> Mortal:
            person = Mortal(world, name, path, key)
            person.judge, person.stage = self.judge, self
            self.world = world
            return person

        self.world = copied(folder, people, make, begins)
        self.world.patience = STEPS_AT_ONCE
        self.people: list[Mortal] = [person for person in self.world.people if isinstance(person, Mortal)]
        self.witness = Witness(self.world.people)
        self._open.enter_context(watching()).append(self.witness)
        self.witness.begin()
        for relay in self.world.relays.values():
            relay.observers.append(self._observe)
        self.judge.begin(self.world, self.witness)
        self.world.run()

    def _observe(self, pipe: Pipe, frame: frames.ClientFrame) -> None:
        with self.judge.aside():
            self.witness.saw(pipe, frame)

    @contextmanager
    def acting(self, name: str, written: str) -> Iterator[None]:
        """An act: written into the script and counted, unless another one does it; and judged afterwards."""
        outer, self._acting = self._acting, True
        if not outer:
            self.script.append(written)
            self.counted[name] += 1
        try:
            yield
        finally:
            self._acting = outer
        if not outer:
            self.judge.look()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def figures(self) -> dict[str, int]:
        """How often what was done, for statistics."""
        saboteurs = [saboteur for each in self.saboteurs for saboteur in each.values()]
        return {f"acts: {name}": count for name, count in self.counted.items()} | {
            "examples": 1,
            "steps": self.counted.total(),
            "frames damaged, dropped, doubled, delayed, refused": sum(saboteur.hits for saboteur in saboteurs),
            "processes that died or met a full disk": sum(person.deaths for person in self.people),
            "frames seen by relays": self.witness.frames,
            "ciphertexts checked for their key": self.witness.decrypted,
            "messages": len(self.oracle.sent),
        }

    def close(self) -> None:
        """Everything is thrown away."""
        for person in self.people:
            with suppress(Exception):
                person.safe()
                person.database.close()
        self._open.close()

    def replayable(self) -> str:
        """What happened, as a script."""
        return "\n    ".join(self.script)

    # who and where ------------------------------------------------------------------------------------------------

    def _who(self, who: int) -> Mortal:
        return self.people[who % len(self.people)]

    def _sabotage(self, who: int, relay: int) -> Saboteur:
        return self.saboteurs[who % len(self.people)][URLS[relay % len(URLS)]]

    def _talk(self, who: int, talk: int) -> Talk | None:
        open_to = self.oracle.talks_of(who % len(self.people))
        return open_to[talk % len(open_to)] if open_to else None

    # what people do -----------------------------------------------------------------------------------------------

    @act
    def send(self, who: int, talk: int = 0, count: int = 1, expire: int | None = None) -> None:
        """Whatever happens inside, afterwards it is either durable or never was. `expire`: seconds."""
        person, at = self._who(who), self._talk(who, talk)
        if at is None:
            return
        for _ in range(count):
            text = f"{who % len(self.people)}:{self._texts}"
            self._texts += 1
            self.oracle.may_send(person, at, text, expire=expire)
            with person.mortal():
                person.send(at.conversation, text, expire=expire)
                self.oracle.has_sent(person, text)
            self.oracle.settled(person, text)

    @act
    def recall(self, who: int, which: int = 0, talk: int = 0) -> None:
        """An own message is taken back."""
        person, at = self._who(who), self._talk(who, talk)
        own = self.oracle.own(person, at) if at is not None else []
        if own:
            message, text = own[which % len(own)]
            with person.mortal():
                person.engine.recall(message, person.now)
            self.oracle.has_recalled(person, message, text)

    @act
    def read(self, who: int, talk: int = 0) -> None:
        person, at = self._who(who), self._talk(who, talk)
        if at is not None:
            with person.mortal():
                person.read(at.conversation)

    @act
    def invite(self, who: int) -> None:
        person = self._who(who)
        with person.mortal(), suppress(HanaError):
            link = person.engine.invite(expires=3 * 86_400, now=person.now).link
            self._links.append((who % len(self.people), link))

    @act
    def accept(self, who: int, link: int = -1) -> None:
        """Also somebody else's who came too late, and the same one twice."""
        if not self._links:
            return
        inviter, text = self._links[link % len(self._links)]
        person = self._who(who)
        if person is self.people[inviter]:
            return
        with person.mortal(), suppress(HanaError):
            person.engine.accept(text, person.now)
            if person.pipes:
                person.online()

    @act
    def restart(self, who: int) -> None:
        """Dies between two calls: what the engine wanted to write to relays is lost."""
        self._who(who).reborn()

    @act
    def offline(self, who: int) -> None:
        person = self._who(who)
        person.away = True
        person.offline()

    @act
    def online(self) -> None:
        self._all_online()

    def _all_online(self) -> None:
        for person in self.people:
            person.away = False
        self._back()

    @act
    def commit(self, who: int, talk: int = 0, era: bool = False) -> None:
        person, at = self._who(who), self._talk(who, talk)
        if at is None:
            return
        core = person.engine._core
        with person.mortal(), core.transaction():
            commits.want(core, at.id, IntentKind.NEW_ERA if era else IntentKind.UPDATE, person.now)

    @act
    def move(self, who: int, talk: int = 0) -> None:
        """To the next relay of its policy, if it has one; while the first is there, or gone (`relay_away`)."""
        person, at = self._who(who), self._talk(who, talk)
        if at is not None:
            with person.mortal():
                person.engine.move(at.conversation, person.now)

    # deaths and disks ---------------------------------------------------------------------------------------------

    @act
    def die(self, who: int, statement: int, doing: int = 0, talk: int = 0) -> None:
        """At any SQL statement of sending, of whatever is going on, of reading, inviting, accepting."""
        self._fused(who, statement, doing, talk, Killed)

    @act
    def fill_disk(self, who: int, statement: int, doing: int = 0, talk: int = 0) -> None:
        """The disk says no once at any statement (T-083)."""
        self._fused(who, statement, doing, talk, lambda: StorageError("storage.full"))

    def _fused(self, who: int, statement: int, doing: int, talk: int, make: Callable[[], BaseException]) -> None:
        person = self._who(who)
        person.fuse(1 + statement, make)
        doings: list[Callable[[], None]] = [
            lambda: self.send(who, talk),
            lambda: self.work(20),
            lambda: self.wait(60),
            lambda: self.read(who, talk),
            lambda: self.invite(who),
            lambda: self.accept(who, talk),
            lambda: self.recall(who, statement, talk),
        ]
        doings[doing % len(doings)]()
        person.safe()

    # time ---------------------------------------------------------------------------------------------------------

    @act
    def work(self, steps: int = 1) -> None:
        for _ in range(steps):
            moved = [person.step() for person in self.people]
            if not any(moved):
                break

    @act
    def wait(self, seconds: int) -> None:
        self._back()
        self.world.settle(seconds)

    def _back(self) -> None:
        """Whoever lost a connection connects again; who is offline on purpose stays so."""
        for person in self.people:
            if not person.away:
                with person.mortal():
                    person.online()
                    for url in sorted(person.engine.wanted_relays() & self.down):
                        person.engine.unreachable(url, person.now)

    @act
    def hours(self, count: int) -> None:
        """Long enough for a relay that is gone to be left (HT-M-066)."""
        for _ in range(count):
            self._back()
            self.world.settle(3600)

    @act
    def days(self, count: int) -> None:
        for _ in range(count):
            if self._days < MOST_DAYS:
                self._days += 1
                self._back()
                self.world.pass_days(1)

    @act
    def step_clock(self, who: int, step: int, back: bool = False) -> None:
        """A clock goes wrong, from seconds to more than a year."""
        seconds = CLOCK_STEPS[step % len(CLOCK_STEPS)]
        person = self._who(who)
        person.skew += -1000 * seconds if back else 1000 * seconds
        self.judge.clock_was(person)

    @act
    def right_clock(self, who: int) -> None:
        self._who(who).skew = 0

    # copies of profiles -------------------------------------------------------------------------------------------

    @act
    def copy_profile(self, who: int) -> None:
        """A backup program copies the profile while it is closed."""
        person = self._who(who)
        person.safe()
        person.offline()
        person.database.close()
        self._copies[who % len(self.people)] = person.path.read_bytes()
        person.restart(online=not person.away)

    @act
    def restore_profile(self, who: int) -> None:
        """The copy takes the profile's place: what happened since is not known to it (T-058)."""
        person, copy = self._who(who), self._copies.get(who % len(self.people))
        if copy is None:
            return
        self.down.clear()
        for saboteur in self.saboteurs[who % len(self.people)].values():
            saboteur.behave()
        person.safe()
        person.offline()
        person.database.close()
        for left in person.path.parent.glob(person.path.name + "-*"):
            left.unlink()
        person.path.write_bytes(copy)
        person.restart()
        self.oracle.has_restored(person)
        self.world.settle(30)  # the copy asks its relay which start this is before it does anything else

    # relays -------------------------------------------------------------------------------------------------------

    @act
    def restart_relay(self, relay: int = 0) -> None:
        self.world.relays[URLS[relay % len(URLS)]].restart()

    @act
    def relay_away(self, relay: int = 0) -> None:
        """Unreachable until `relay_back`."""
        self.down.add(URLS[relay % len(URLS)])
        self.restart_relay(relay)

    @act
    def relay_back(self) -> None:
        self.down.clear()
        self._back()

    @act
    def forget(self, relay: int = 0) -> None:
        """The relay's disk is gone."""
        if self.judge.may_forget():
            self._copies.clear()  # with the copy and the counter at the relay both gone, nothing tells
            self.world.relays[URLS[relay % len(URLS)]].forget()
            self._all_online()

    @act
    def remember(self, relay: int = 0) -> None:
        url = URLS[relay % len(URLS)]
        self._backups[url] = self.world.relays[url].snapshot()

    @act
    def go_back(self, relay: int = 0) -> None:
        """The relay is restored from the backup that `remember` made."""
        url = URLS[relay % len(URLS)]
        if url in self._backups and self.judge.may_forget():
            self._copies.clear()
            self.world.relays[url].go_back(self._backups[url])
            self._all_online()

    # faults -------------------------------------------------------------------------------------------------------

    @act
    def drop(self, who: int, kind: int, up: bool = False, skip: int = 0, times: int = 1, relay: int = 0) -> None:
        """Frames of one kind vanish."""
        self._fault(who, relay, kind, up, lambda pipe, frame: [], skip, times)

    @act
    def double(self, who: int, kind: int, up: bool = False, skip: int = 0, relay: int = 0) -> None:
        """A frame comes twice."""
        self._fault(who, relay, kind, up, lambda pipe, frame: [frame, frame], skip, 1)

    @act
    def delay(self, who: int, kind: int, later: int, skip: int = 0, relay: int = 0) -> None:
        """A frame of the relay comes after others that were written later."""
        saboteur = self._sabotage(who, relay)
        self._fault(who, relay, kind, False, lambda pipe, frame: saboteur.delay(pipe, frame, later), skip, 1)

    @act
    def cut(self, who: int, kind: int, up: bool = False, skip: int = 0, relay: int = 0) -> None:
        """The connection breaks at a frame; what came after it, and the answers, are lost."""

        def act(pipe: Pipe, frame: Any) -> list[Any]:
            pipe.drop()
            return []

        self._fault(who, relay, kind, up, act, skip, 1)

    @act
    def pretend_stored(self, who: int, skip: int = 0, relay: int = 0) -> None:
        """STORED is answered, nothing is stored."""

        def act(pipe: Pipe, frame: frames.Append) -> list[Any]:
            channel = pipe.relay.store.channel(pipe.connection._by_handle[frame.handle].channel_id)
            seq, turn = (channel.head, channel.turn) if channel is not None else (0, 0)
            pipe.write(frames.Stored(frame.request, seq + 1, turn + frame.commit))
            return []

        self._fault(who, relay, 0, True, act, skip, 1)

    @act
    def pretend_taken(self, who: int, relay: int = 0) -> None:
        """TAKEN is answered empty, as if somebody had been faster."""

        def act(pipe: Pipe, frame: frames.Take) -> list[Any]:
            pipe.write(frames.Taken(frame.request, None, None))
            return []

        self._fault(who, relay, UP.index(frames.Take), True, act, 0, 1)

    @act
    def lie_about_turns(self, who: int, by: int, relay: int = 0) -> None:
        """Pushed entries carry another turn than they had."""

        def act(pipe: Pipe, frame: frames.Entries) -> list[Any]:
            return [frames.Entries(frame.handle, [_later_turn(entry, by) for entry in frame.entries])]

        self._fault(who, relay, 0, False, act, 0, 3)

    def _fault(self, who: int, relay: int, kind: int, up: bool, act: Any, skip: int, times: int) -> None:
        saboteur = self._sabotage(who, relay)
        kinds, faults = (UP, saboteur.up) if up else (DOWN, saboteur.down)
        faults.append(Fault(kinds[kind % len(kinds)], act, skip, times))

    @act
    def withhold(self, who: int, what: int, relay: int = 0) -> None:
        """The next message, all messages, control entries, everything from now on, every third entry."""
        self._sabotage(who, relay).withheld.append(withholding(what % 5))

    @act
    def release(self, who: int, relay: int = 0) -> None:
        self._sabotage(who, relay).release()

    @act
    def flip(self, who: int, index: int, every: int = 1, control: bool = False, relay: int = 0) -> None:
        entry_class = EntryClass.CONTROL if control else EntryClass.MESSAGE
        self._sabotage(who, relay).altered.append(flipped(index, every, entry_class))

    @act
    def replay(self, who: int, which: int = 0, relay: int = 0) -> None:
        """Old entries once more: all, the oldest, every third one; or stored as new ones."""
        pipe = self._who(who).pipes.get(URLS[relay % len(URLS)])
        if pipe is None or not pipe._pushed:
            return
        if which % 4 == 3:
            handle, entry = pipe._pushed[which % len(pipe._pushed)]
            channel = pipe.connection._by_handle.get(handle)
            if channel is not None:
                pipe.relay.plant(
                    channel.channel_id,
                    bytes(entry.entry),
                    entry_class=EntryClass(entry.entry_class),
                    commit=entry.commit,
                )
                pipe.relay.restart()
            return
        chosen = [entry for number, (_, entry) in enumerate(pipe._pushed) if which % 4 == 0 or number % 3 == which % 3]
        known = {(entry.seq, bytes(entry.entry)) for entry in chosen}
        pipe.replay(lambda entry: (entry.seq, bytes(entry.entry)) in known)

    @act
    def refuse(self, who: int, how: int, turn: int = 0, times: int = 1, relay: int = 0) -> None:
        """False refusals of each kind, once or whenever it is asked."""
        operation, code = REFUSALS[how % len(REFUSALS)]
        if operation is None:
            pipe = self._who(who).pipes.get(URLS[relay % len(URLS)])
            if pipe is not None:
                pipe.write(frames.Refused(None, code, None, ""))
            return

        def act(pipe: Pipe, frame: Any) -> list[Any]:
            pipe.write(frames.Refused(frame.request, code, turn if code == "stale-turn" else None, ""))
            return []

        self._sabotage(who, relay).up.append(Fault(operation, act, 0, times))

    @act
    def behave(self) -> None:
        self._behave()

    def _behave(self) -> None:
        for saboteurs in self.saboteurs:
            for saboteur in saboteurs.values():
                saboteur.behave()

    # insiders -----------------------------------------------------------------------------------------------------

    @act
    def attack(self, who: int, how: int, talk: int = 0) -> None:
        """A member with another client than ours: stolen content, receipts, garbage, commits against the policy."""
        person, at = self._who(who), self._talk(who, talk)
        if at is not None and insiders.joined(person, at.id):
            with person.mortal():
                insiders.ATTACKS[how % len(insiders.ATTACKS)](person, at.id)
                self.oracle.attacked = True

    @act
    def plant(self, who: int, what: int, talk: int = 0) -> None:
        """The relay puts entries of its own into a channel (T-016, T-022)."""
        person, at = self._who(who), self._talk(who, talk)
        if at is not None:
            core = person.engine._core
            channel = core.channel(core.conversation(at.id).channel)
            if channel is not None:
                relay = self.world.relays[channel.relay]
                relay.plant(
                    channel.channel,
                    random.Random(what).randbytes(512),
                    entry_class=EntryClass.CONTROL if what % 3 else EntryClass.MESSAGE,
                    commit=what % 3 == 2,
                )
                relay.restart()

    # the quiet point ----------------------------------------------------------------------------------------------

    @act
    def quiet(self) -> None:
        """All faults end, clocks are right, everybody is there: then nothing may be missing (T-081)."""
        self.calm()
        before, texts = self.witness.frames, len(self.oracle.sent)
        self.world.settle(3 * 3600)
        lost = any(
            row.state != ConversationState.JOINED
            for person in self.people
            for row in person.database.find(Conversation, "1")
        )
        # a request that nobody could answer, or whose answer was lost, is repeated after 7 (HT-M-056)
        days = 9 if lost or not self.oracle.nobody_restored else 4
        for _ in range(days):  # what expired unconfirmed is published again, receipts that were lost are told again
            self.world.pass_days(1)
            self._back()
            self.world.settle(3 * 3600)
        self.world.settle(60)  # what fell due just now: chores are hourly, and so is the end of what came before
        self.oracle.at_rest()
        assert self.witness.frames - before < 3_000 + 60 * texts, "busy without end"

    def calm(self) -> None:
        """No more faults; everybody starts again and is online."""
        self._behave()
        self.down.clear()
        for person in self.people:
            person.skew, person.away = 0, False
            person.reborn()


def _later_turn(entry: frames.PushedEntry, by: int) -> frames.PushedEntry:
    return frames.PushedEntry(entry.seq, max(0, entry.turn + by), entry.entry_class, entry.commit, entry.entry)
