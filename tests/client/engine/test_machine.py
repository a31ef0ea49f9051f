"""Two engines, a relay that misbehaves, processes that die: whatever happens, the oracle of case 81 holds.

Acknowledged is shown in the end, shown once, epoch authenticators agree, no ciphertext is new to a receiver and yet of
a used-up generation (that would be a key and nonce used twice).
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.client.people import Person, World

from hanatalk import mls
from hanatalk.client.engine import commits
from hanatalk.errors import StorageError
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import IntentKind
from hanatalk.stores.memory import MemoryStore
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.frames import PushedEntry

PHASES = (
    [Phase.reuse, Phase.generate]
    if os.environ.get("HANA_FAST")
    else [phase for phase in Phase if phase is not Phase.explain]
)
WHO = st.sampled_from([0, 1])


class Killed(BaseException):
    """The process dies here."""


class TwoPeople(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self.folder.name))
        self.sent: list[tuple[int, str]] = []
        self.backup: MemoryStore | None = None

    @initialize()
    def meet(self) -> None:
        self.people = [self.world.person("민지"), self.world.person("Jihoon")]
        self.world.run()
        self.conversation = self.world.befriend(*self.people)
        self._id = ConversationId(bytes.fromhex(self.conversation))

    @contextmanager
    def _mortal(self, who: int) -> Iterator[None]:
        try:
            yield
        except Killed:
            self._restart(who)

    def _restart(self, who: int) -> None:
        person = self.people[who]
        person.database._connection.exec_trace = None
        person.restart()

    # what people do

    @rule(who=WHO, count=st.integers(1, 4))
    def send(self, who: int, count: int) -> None:
        for _ in range(count):
            text = f"{who}:{len(self.sent)}"
            with self._mortal(who):
                self.people[who].send(self.conversation, text)
                self.sent.append((who, text))

    @rule(who=WHO, statement=st.integers(1, 60))
    def die_while_sending(self, who: int, statement: int) -> None:
        """At any SQL statement of a send: either it is durable, or it never happened."""
        person, text = self.people[who], f"{who}:{len(self.sent)}"
        self._fuse(person, statement)
        with self._mortal(who):
            with suppress(Killed):
                person.send(self.conversation, text)
            person.database._connection.exec_trace = None
        self._restart(who)
        if text in person.texts(self.conversation):
            self.sent.append((who, text))

    @rule(who=WHO, statement=st.integers(1, 60))
    def disk_full_while_sending(self, who: int, statement: int) -> None:
        """The disk says no at any statement; the process goes on (T-083)."""
        person, text = self.people[who], f"{who}:{len(self.sent)}"
        self._fuse(person, statement, lambda: StorageError("storage.full"))
        with suppress(StorageError):
            person.send(self.conversation, text)
        person.database._connection.exec_trace = None
        if text in person.texts(self.conversation):
            self.sent.append((who, text))

    @rule(who=WHO, statement=st.integers(1, 200))
    def die_while_working(self, who: int, statement: int) -> None:
        """At any SQL statement of whatever is going on: receiving, committing, confirming."""
        self._fuse(self.people[who], statement)
        with self._mortal(who):
            for _ in range(20):
                if not self._step():
                    break
        self.people[who].database._connection.exec_trace = None

    def _step(self) -> bool:
        moved = [person.step() for person in self.people]
        return any(moved)

    def _fuse(self, person: Person, statement: int, make: Callable[[], BaseException] = Killed) -> None:
        left = [statement]

        def trace(*_: object) -> bool:
            left[0] -= 1
            if left[0] == 0:
                person.database._connection.exec_trace = None
                raise make()
            return True

        person.database._connection.exec_trace = trace

    @rule(who=WHO)
    def read(self, who: int) -> None:
        self.people[who].read(self.conversation)

    @rule(who=WHO)
    def restart(self, who: int) -> None:
        self._restart(who)

    @rule(who=WHO)
    def go_offline(self, who: int) -> None:
        self.people[who].offline()

    @precondition(lambda self: any(person.pipe is None for person in self.people))
    @rule()
    def come_online(self) -> None:
        for person in self.people:
            if person.pipe is None:
                person.online()

    @rule(who=WHO, kind=st.sampled_from(list(IntentKind)))
    def want_commit(self, who: int, kind: IntentKind) -> None:
        core = self.people[who].engine._core
        with core.transaction():
            commits.want(core, self._id, kind, self.world.now)

    # what time and the relay do

    @rule(steps=st.integers(1, 5))
    def work(self, steps: int) -> None:
        for _ in range(steps):
            self._step()

    @rule(seconds=st.integers(1, 90))
    def wait(self, seconds: int) -> None:
        self.world.settle(seconds)

    @rule()
    def restart_relay(self) -> None:
        self.world.relay.restart()

    @rule()
    def relay_forgets(self) -> None:
        """Its disk is gone; everybody reconnects at once, so nobody commits in ignorance of another's commit."""
        self.world.relay.forget()
        self._all_back()

    @rule()
    def remember_the_relay(self) -> None:
        self.backup = self.world.relay.snapshot()

    @precondition(lambda self: self.backup is not None)
    @rule()
    def relay_goes_back(self) -> None:
        assert self.backup is not None
        self.world.relay.go_back(self.backup)
        self._all_back()

    def _all_back(self) -> None:
        for person in self.people:
            person.offline()
            person.online()

    @rule(who=WHO, seqs=st.sets(st.integers(1, 40), min_size=1, max_size=6))
    def withhold_messages(self, who: int, seqs: set[int]) -> None:
        pipe = self.people[who].pipe
        if pipe is not None:
            pipe.withhold(lambda entry: entry.seq in seqs and entry.entry_class is EntryClass.MESSAGE)

    @rule(who=WHO, index=st.integers(0, 511), every=st.integers(1, 3))
    def flip_messages(self, who: int, index: int, every: int) -> None:
        def flip(entry: PushedEntry) -> PushedEntry:
            if entry.entry_class is not EntryClass.MESSAGE or entry.seq % every:
                return entry
            changed = bytearray(entry.entry)
            changed[index % len(changed)] ^= 1
            return msgspec.structs.replace(entry, entry=bytes(changed))

        pipe = self.people[who].pipe
        if pipe is not None:
            pipe.alter(flip)

    @rule(who=WHO)
    def replay(self, who: int) -> None:
        pipe = self.people[who].pipe
        if pipe is not None:
            pipe.replay()

    @rule(who=WHO)
    def refuse_falsely(self, who: int) -> None:
        pipe = self.people[who].pipe
        if pipe is not None:
            pipe.refuse("channel-full")

    @rule()
    def behave(self) -> None:
        for person in self.people:
            if person.pipe is not None:
                person.pipe.behave()

    # the oracle

    @invariant()
    def shown_once(self) -> None:
        if not hasattr(self, "people"):
            return
        for person in self.people:
            texts = person.texts(self.conversation)
            assert len(texts) == len(set(texts)), "shown twice"
            assert set(texts) <= {text for _, text in self.sent}, "shown but never sent"

    def teardown(self) -> None:
        try:
            if hasattr(self, "people"):
                self._in_the_end()
        finally:
            self.folder.cleanup()

    def _in_the_end(self) -> None:
        for person in self.people:
            person.database._connection.exec_trace = None
            person.restart()
        self.world.settle(3 * 3600)
        wanted = {text for _, text in self.sent}
        for person in self.people:
            assert set(person.texts(self.conversation)) == wanted, "acknowledged but not shown"
            assert person.engine.pending(self.world.now) == 0
            for who, _ in enumerate(self.people):
                own = [text for text in person.texts(self.conversation) if text.startswith(f"{who}:")]
                if person is self.people[who]:
                    assert own == [text for sender, text in self.sent if sender == who]
        authenticators = {person.engine._core.group(self._id).epoch_authenticator for person in self.people}
        assert len(authenticators) == 1, "forked"
        self.world.pass_days(4)  # a receipt that was withheld: the sender publishes again, and is told again
        self.world.settle(3 * 3600)
        for person in self.people:
            assert all(
                message.state in ("delivered", "received", "read") for message in person.messages(self.conversation)
            )
            assert not {"message.reused-id", "message.reused-counter", "mls.path-fault"} & set(person.alarms())


@pytest.fixture(autouse=True)
def no_nonce_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ciphertext that a handle has never seen must not be called a replay."""
    seen: dict[bytes, set[bytes]] = {}
    process = mls.Group.process

    def watched(self: mls.Group, message: bytes) -> object:
        digest = hashlib.sha256(message).digest()
        known = seen.setdefault(self.group_id + bytes([self.own_leaf]), set())
        try:
            return process(self, message)
        except mls.Replay:
            assert digest in known, "a generation's key was used twice"
            raise
        finally:
            known.add(digest)

    monkeypatch.setattr(mls.Group, "process", watched)


def _run(examples: int, steps: int) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        TwoPeople,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


def test_two_people_whatever_happens() -> None:
    """T-081 in small: the bounded run."""
    _run(12, 30)


@pytest.mark.soak
def test_two_people_whatever_happens_for_long() -> None:
    """T-081: ten thousand steps."""
    _run(int(os.environ.get("HANA_EXAMPLES", "200")), 50)
