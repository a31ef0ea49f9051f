"""People and relays for the end-to-end tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.commands import Person, RelayProcess, running_relay


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """One relay for the tests of a module that leave it alone."""
    with running_relay(tmp_path_factory.mktemp("relay") / "data") as running:
        yield running


@pytest.fixture
def own_relay(tmp_path: Path) -> Iterator[RelayProcess]:
    """A relay that this test may kill."""
    with running_relay(tmp_path / "relay") as running:
        yield running


@pytest.fixture
def person(tmp_path: Path) -> Callable[[str], Person]:
    """A person by name, not yet anywhere."""
    return lambda name: Person(tmp_path / name)


def acquaint(inviter: Person, invitee: Person) -> str:
    """Invite, accept, and let the inviter notice. Returns the conversation's id."""
    accepted = invitee.do_here("accept", inviter.do_here("invite").object["invite"]).object
    inviter.do_here("sync")
    return str(accepted["conversation"])
