"""Two to eight devices of people in groups, relays that misbehave, processes that die, clocks that go wrong (T-081).

What `test_machine.py` does for conversations of two. The acts are those of `tests.client.machine.town` and, for relays
and faults, `tests.client.machine.stage`; the oracle is `tests.client.machine.town_oracle`.
"""

import os
from collections import Counter

import pytest
from hypothesis import event, note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.client.machine import town_ground
from tests.client.machine.running import run
from tests.client.machine.stage import REFUSALS
from tests.client.machine.town import Town

WHO = st.integers(0, 7)
WHOM = st.integers(0, 4)
TALK = st.sampled_from([0, 0, 0, 1, 2, 3])
RELAY = st.sampled_from([0, 0, 0, 1])
SMALL = st.integers(0, 3)
FLAG = st.booleans()
OF_TOWN = {
    "send": {"who": WHO, "talk": TALK, "count": st.integers(1, 3), "expire": st.sampled_from([None, None, None, 60])},
    "edit": {"who": WHO, "talk": TALK, "which": SMALL},
    "recall": {"who": WHO, "talk": TALK, "which": SMALL},
    "react": {"who": WHO, "talk": TALK, "which": SMALL, "emoji": SMALL},
    "read": {"who": WHO, "talk": TALK},
    "create": {"who": WHO},
    "add": {"who": WHO, "whom": WHOM, "talk": TALK},
    "remove": {"who": WHO, "whom": WHOM, "talk": TALK},
    "role": {"who": WHO, "whom": WHOM, "admin": FLAG, "talk": TALK},
    "rename": {"who": WHO, "number": SMALL, "talk": TALK},
    "leave": {"who": WHO, "talk": TALK},
    "commit": {"who": WHO, "talk": TALK},
    "die": {"who": WHO, "statement": st.integers(0, 200), "doing": st.integers(0, 7), "whom": WHOM},
    "fill_disk": {"who": WHO, "statement": st.integers(0, 200), "doing": st.integers(0, 7), "whom": WHOM},
    "quiet": {},
}
OF_STAGE = {
    "restart": {"who": WHO},
    "offline": {"who": WHO},
    "online": {},
    "work": {"steps": st.integers(1, 6)},
    "wait": {"seconds": st.integers(1, 90)},
    "hours": {"count": st.integers(1, 2)},
    "days": {"count": st.sampled_from([1, 2, 4])},
    "step_clock": {"who": WHO, "step": st.integers(0, 2), "back": FLAG},
    "right_clock": {"who": WHO},
    "restart_relay": {"relay": RELAY},
    "drop": {"who": WHO, "kind": st.integers(0, 5), "up": FLAG, "skip": SMALL, "relay": RELAY},
    "double": {"who": WHO, "kind": st.integers(0, 5), "up": FLAG, "skip": SMALL, "relay": RELAY},
    "delay": {"who": WHO, "kind": st.integers(0, 5), "later": st.integers(0, 6), "skip": SMALL, "relay": RELAY},
    "cut": {"who": WHO, "kind": st.integers(0, 5), "up": FLAG, "skip": SMALL, "relay": RELAY},
    "withhold": {"who": WHO, "what": st.integers(0, 4), "relay": RELAY},
    "release": {"who": WHO, "relay": RELAY},
    "replay": {"who": WHO, "which": st.sampled_from([0, 1, 2]), "relay": RELAY},
    "refuse": {"who": WHO, "how": st.integers(0, len(REFUSALS) - 1), "relay": RELAY},
    "behave": {},
}
HARDER = {  # only in the soak
    "move": {"who": WHO, "talk": TALK},
    "forget": {"relay": RELAY},
    "remember": {"relay": RELAY},
    "go_back": {"relay": RELAY},
    "relay_away": {"relay": RELAY},
    "relay_back": {},
    "pretend_stored": {"who": WHO, "skip": SMALL, "relay": RELAY},
    "flip": {"who": WHO, "index": st.integers(0, 511), "every": st.integers(1, 3), "control": FLAG, "relay": RELAY},
}
OFTEN = (
    3  # rules of each of people's acts: of every run's rules some are left out, and people do more than break things
)
figures: Counter[str] = Counter()  # over all examples of this process


class Townspeople(RuleBasedStateMachine):
    """Every rule is one act; what it means is said there."""

    town: Town | None = None
    harder = False

    @initialize(shape=st.integers(0, len(town_ground.SHAPES) - 1), seed=st.integers(0, 1 << 16))
    def begin(self, shape: int, seed: int) -> None:
        self.town = Town(shape, seed)

    def teardown(self) -> None:
        if self.town is None:
            return
        try:
            note("\n    ".join(self.town.stage.script))
            self.town.quiet()
            figures.update(self.town.figures())
        finally:
            self.town.stage.close()


def _rule(name: str, of_town: bool, harder: bool, how: dict[str, st.SearchStrategy[object]]) -> object:
    def acted(self: Townspeople, **values: object) -> None:
        assert self.town is not None
        event(name)
        getattr(self.town if of_town else self.town.stage, name)(**values)

    acted.__name__ = name
    made = rule(**how)(acted)
    return precondition(lambda self: self.harder)(made) if harder else made


for _name, _how in (OF_TOWN | OF_STAGE | HARDER).items():
    for _copy in range(OFTEN if _name in OF_TOWN else 1):
        _made = _rule(_name, _name in OF_TOWN or _name == "move", _name in HARDER, _how)
        setattr(Townspeople, f"{_name}_{_copy}", _made)


class Harder(Townspeople):
    """With relays that lose what they had, and moves."""

    harder = True


@pytest.mark.timeout(600)
def test_groups_whatever_happens() -> None:
    """T-081, T-026, T-029 in groups, in small: the bounded run."""
    run(Townspeople, 12, 20, fixed=True)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_groups_whatever_happens_for_long(capsys: pytest.CaptureFixture[str]) -> None:
    """T-081 in groups: ten thousand steps (HANA_STEPS for more), other ones each time."""
    steps, figures_before = int(os.environ.get("HANA_STEPS", "10000")), figures.copy()
    while (figures - figures_before)["steps"] < steps:
        run(Harder, 50, 50, fixed=False)
    with capsys.disabled():
        print()
        for what, count in sorted((figures - figures_before).items()):
            print(f"{count:8,} {what}")
