"""How the state machines are run: bounded and the same each time in `make test`, long and new each time in a soak."""

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

PHASES = [phase for phase in Phase if phase is not Phase.explain]
FAST = [Phase.reuse, Phase.generate]  # with HANA_FAST: what fails is shown as it was found


def run(machine: type[RuleBasedStateMachine], examples: int, steps: int, *, fixed: bool) -> None:
    """Up to `examples` runs of at most `steps` acts each."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=fixed,
            database=None,
            deadline=None,
            phases=FAST if os.environ.get("HANA_FAST") else PHASES,
            suppress_health_check=list(HealthCheck),
            print_blob=not fixed,
        ),
    )
