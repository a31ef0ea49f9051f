"""Two to four engines, relays that misbehave, processes that die, clocks that go wrong: the oracle of case 81 holds.

Acknowledged is shown in the end, shown once, nobody is told what is not so, no key and nonce is used twice, epoch
authenticators agree. The acts are those of `tests.client.machine.stage`, the oracle is `tests.client.machine.oracle`.
A failing example is printed as a script for `test_found.py`.
"""

import os
from collections import Counter

import pytest
from hypothesis import event, note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from tests.client.machine.running import run
from tests.client.machine.stage import REFUSALS, Stage

WHO = st.integers(0, 3)
TALK = st.integers(0, 2)
RELAY = st.sampled_from([0, 0, 1])
FLAG = st.booleans()
KIND = st.integers(0, 5)
SKIP = st.integers(0, 3)
STATEMENT = st.one_of(st.integers(0, 30), st.integers(0, 200))
DOING = st.integers(0, 6)
TURN = st.sampled_from([0, 1, 2, 9, 1 << 40])

figures: Counter[str] = Counter()  # over all examples of this process


class People(RuleBasedStateMachine):
    """Every rule is one act; what it means is said there."""

    stage: Stage | None = None

    @initialize(people=st.integers(2, 4), seed=st.integers(0, 1 << 16))
    def begin(self, people: int, seed: int) -> None:
        self.stage = Stage(people=people, seed=seed)

    def _act(self, name: str, **how: object) -> None:
        assert self.stage is not None
        event(name)
        getattr(self.stage, name)(**how)

    # what people do

    @rule(who=WHO, talk=TALK, count=st.integers(1, 4))
    def send(self, **how: int) -> None:
        self._act("send", **how)

    @rule(who=WHO, talk=TALK)
    def send_one(self, **how: int) -> None:
        self._act("send", **how)

    @rule(who=WHO, talk=TALK, expire=st.sampled_from([1, 60, 3600]))
    def send_with_timer(self, **how: int) -> None:
        self._act("send", **how)

    @rule(who=WHO, which=st.integers(0, 9), talk=TALK)
    def recall(self, **how: int) -> None:
        self._act("recall", **how)

    @rule(who=WHO, talk=TALK)
    def read(self, **how: int) -> None:
        self._act("read", **how)

    @rule(who=WHO)
    def invite(self, **how: int) -> None:
        self._act("invite", **how)

    @rule(who=WHO, link=st.integers(0, 3))
    def accept(self, **how: int) -> None:
        self._act("accept", **how)

    @rule(who=WHO)
    def restart(self, **how: int) -> None:
        self._act("restart", **how)

    @rule(who=WHO)
    def offline(self, **how: int) -> None:
        self._act("offline", **how)

    @rule()
    def online(self) -> None:
        self._act("online")

    @rule(who=WHO, talk=TALK, era=FLAG)
    def commit(self, **how: int) -> None:
        self._act("commit", **how)

    @rule(who=WHO, talk=TALK)
    def move(self, **how: int) -> None:
        self._act("move", **how)

    # copies of profiles

    @rule(who=WHO)
    def copy_profile(self, **how: int) -> None:
        self._act("copy_profile", **how)

    @rule(who=WHO)
    def restore_profile(self, **how: int) -> None:
        self._act("restore_profile", **how)

    # deaths, disks, clocks, time

    @rule(who=WHO, statement=STATEMENT, doing=DOING, talk=TALK)
    def die(self, **how: int) -> None:
        self._act("die", **how)

    @rule(who=WHO, statement=STATEMENT, doing=DOING, talk=TALK)
    def fill_disk(self, **how: int) -> None:
        self._act("fill_disk", **how)

    @rule(who=WHO, step=st.integers(0, 5), back=FLAG)
    def step_clock(self, **how: int) -> None:
        self._act("step_clock", **how)

    @rule(who=WHO)
    def right_clock(self, **how: int) -> None:
        self._act("right_clock", **how)

    @rule(steps=st.integers(1, 6))
    def work(self, **how: int) -> None:
        self._act("work", **how)

    @rule(seconds=st.integers(1, 90))
    def wait(self, **how: int) -> None:
        self._act("wait", **how)

    @rule(count=st.integers(1, 4))
    def hours(self, **how: int) -> None:
        self._act("hours", **how)

    @rule(count=st.sampled_from([1, 2, 4, 12, 31]))
    def days(self, **how: int) -> None:
        self._act("days", **how)

    # relays

    @rule(relay=RELAY)
    def restart_relay(self, **how: int) -> None:
        self._act("restart_relay", **how)

    @rule(relay=RELAY)
    def relay_away(self, **how: int) -> None:
        self._act("relay_away", **how)

    @rule()
    def relay_back(self) -> None:
        self._act("relay_back")

    @rule(relay=RELAY)
    def forget(self, **how: int) -> None:
        self._act("forget", **how)

    @rule(relay=RELAY)
    def remember(self, **how: int) -> None:
        self._act("remember", **how)

    @rule(relay=RELAY)
    def go_back(self, **how: int) -> None:
        self._act("go_back", **how)

    # faults

    @rule(who=WHO, kind=KIND, up=FLAG, skip=SKIP, times=st.integers(1, 3), relay=RELAY)
    def drop(self, **how: int) -> None:
        self._act("drop", **how)

    @rule(who=WHO, kind=KIND, up=FLAG, skip=SKIP, relay=RELAY)
    def double(self, **how: int) -> None:
        self._act("double", **how)

    @rule(who=WHO, kind=KIND, later=st.integers(0, 6), skip=SKIP, relay=RELAY)
    def delay(self, **how: int) -> None:
        self._act("delay", **how)

    @rule(who=WHO, kind=KIND, up=FLAG, skip=SKIP, relay=RELAY)
    def cut(self, **how: int) -> None:
        self._act("cut", **how)

    @rule(who=WHO, skip=SKIP, relay=RELAY)
    def pretend_stored(self, **how: int) -> None:
        self._act("pretend_stored", **how)

    @rule(who=WHO, relay=RELAY)
    def pretend_taken(self, **how: int) -> None:
        self._act("pretend_taken", **how)

    @rule(who=WHO, by=st.sampled_from([-5, -1, 1, 7, 1 << 40]), relay=RELAY)
    def lie_about_turns(self, **how: int) -> None:
        self._act("lie_about_turns", **how)

    @rule(who=WHO, what=st.integers(0, 4), relay=RELAY)
    def withhold(self, **how: int) -> None:
        self._act("withhold", **how)

    @rule(who=WHO, relay=RELAY)
    def release(self, **how: int) -> None:
        self._act("release", **how)

    @rule(who=WHO, index=st.integers(0, 511), every=st.integers(1, 3), control=FLAG, relay=RELAY)
    def flip(self, **how: int) -> None:
        self._act("flip", **how)

    @rule(who=WHO, which=st.integers(0, 40), relay=RELAY)
    def replay(self, **how: int) -> None:
        self._act("replay", **how)

    @rule(who=WHO, how=st.integers(0, len(REFUSALS) - 1), turn=TURN, times=st.sampled_from([1, 3, 1000]), relay=RELAY)
    def refuse(self, **how: int) -> None:
        self._act("refuse", **how)

    @rule()
    def behave(self) -> None:
        self._act("behave")

    # insiders

    @rule(who=WHO, how=st.integers(0, 8), talk=TALK)
    def attack(self, **how: int) -> None:
        self._act("attack", **how)

    @rule(who=WHO, what=st.integers(0, 8), talk=TALK)
    def plant(self, **how: int) -> None:
        self._act("plant", **how)

    @rule()
    def quiet(self) -> None:
        self._act("quiet")

    def teardown(self) -> None:
        if self.stage is None:
            return
        try:
            note(self.stage.replayable())
            self.stage.quiet()
            figures.update(self.stage.figures())
        finally:
            self.stage.close()


@pytest.mark.timeout(600)
def test_people_whatever_happens() -> None:
    """T-081, T-011 … T-014, T-021, T-024, T-028, T-029, T-032, T-039, T-055, T-083 in small: the bounded run."""
    run(People, 40, 30, fixed=True)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_people_whatever_happens_for_long(capsys: pytest.CaptureFixture[str]) -> None:
    """T-081: ten thousand steps (HANA_STEPS for more), other ones each time."""
    steps, figures_before = int(os.environ.get("HANA_STEPS", "10000")), figures.copy()
    while (figures - figures_before)["steps"] < steps:
        run(People, 50, 50, fixed=False)
    with capsys.disabled():
        print()
        for what, count in sorted((figures - figures_before).items()):
            print(f"{count:8,} {what}")
