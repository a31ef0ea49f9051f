"""A KeyPackage that names an unreachable relay for its Welcome (HT-C-076)."""

import pytest
from tests.client.people import DAY, URL, Person, World

from hanatalk.client.engine.conversations import commits, key_packages
from hanatalk.client.engine.formats import policy
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import IntentKind

NOWHERE = "ws://127.0.0.1:9"


@pytest.fixture
def accepted(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[Person, Person, str]:
    """민지's invite is at the relay; her KeyPackage wants its Welcome elsewhere. Jihoon accepts it."""
    minji, jihoon = world.person("민지"), world.person("Jihoon")
    world.run()
    make = key_packages.make

    def elsewhere(core: object, relay: policy.Relay, **more: object) -> object:
        return make(core, policy.Relay(NOWHERE, relay.key), **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(key_packages, "make", elsewhere)
        link = minji.invite()
    channel = jihoon.engine.accept(link, jihoon.now)
    world.settle()
    found = jihoon.engine.accepted_so_far(channel)
    assert found is not None
    return minji, jihoon, found.conversation


def test_nothing_waits_for_it(world: World, accepted: tuple[Person, Person, str]) -> None:
    """HT-C-076: caught up, nothing pending; it is said which invitation waits, and for what."""
    _, jihoon, conversation = accepted
    jihoon.send(conversation, "hello?")
    world.settle()
    assert jihoon.engine.pending(jihoon.now) == 0
    assert NOWHERE in jihoon.engine.wanted_relays()
    assert NOWHERE not in jihoon.engine.needed_relays()
    assert jihoon.engine.caught_up(jihoon.engine.needed_relays())
    (invitation,) = jihoon.engine.invitations()
    assert (invitation.conversation, invitation.name, invitation.relay) == (conversation, "민지", NOWHERE)


def test_commits_go_on(world: World, accepted: tuple[Person, Person, str]) -> None:
    """HT-C-076: whoever names a dead relay stops no era and no update."""
    _, jihoon, conversation = accepted
    core, row = jihoon.engine._core, ConversationId(bytes.fromhex(conversation))
    epoch = core.conversation(row).epoch
    with core.transaction():
        commits.want(core, row, IntentKind.NEW_ERA, jihoon.now)
    jihoon.tick()
    world.settle()
    assert core.conversation(row).epoch == epoch + 1


def test_it_is_given_up_after_30_days(world: World, accepted: tuple[Person, Person, str]) -> None:
    """HT-C-076: counted only while another relay is reached; said once."""
    _, jihoon, _ = accepted
    for day in range(32):
        jihoon.online()
        assert URL in jihoon.pipes
        jihoon.engine.unreachable(NOWHERE, jihoon.now)
        assert bool(jihoon.engine.invitations()) is (day < 30), day
        world.now += DAY
        jihoon.tick()
        world.run()
    assert NOWHERE not in jihoon.engine.wanted_relays()
    assert jihoon.alarms().count("welcome.undelivered") == 1
