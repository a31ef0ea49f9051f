"""A relay is its whole URL, the pin included."""

import pytest
from tests.client.people import DAY, START, World
from tests.simulated_relay import SimulatedRelay

from hanatalk.client.engine.formats import links
from hanatalk.errors import ContentError
from hanatalk.transport.urls import pin_text
from hanatalk.wire.classes import EntryClass

GENUINE, IMPOSTOR = (f"wss://relay.example:7710#pin={pin_text(bytes([number]) * 32)}" for number in (1, 2))


def test_two_pins_on_one_host_are_two_relays(world: World) -> None:
    """HT-R-097, T-046: what belongs to one never goes to the other, and neither is taken for the other's new key."""
    for url in (GENUINE, IMPOSTOR):
        world.relays[url] = SimulatedRelay(day=START // DAY)
    minji, jihoon = world.person("민지", relay=GENUINE), world.person("Jihoon", relay=IMPOSTOR)
    world.run()
    link = minji.invite()
    assert links.parse(link).relay_url == GENUINE
    channel = jihoon.engine.accept(link, jihoon.now)
    assert jihoon.engine.wanted_relays() == {GENUINE, IMPOSTOR}
    jihoon.online()
    world.run()
    accepted = jihoon.engine.accepted(channel)
    assert accepted is not None
    jihoon.send(accepted.conversation, "들려?")
    world.settle()
    assert minji.texts(accepted.conversation) == ["들려?"]
    assert minji.alarms() == jihoon.alarms() == []
    starts = list(world.relays[IMPOSTOR].store.holdings())  # of the profile whose own relay it is, and of minji's who
    assert [(each.entry_class, each.count) for each in starts] == [(EntryClass.CONTROL, 1)] * 2  # watches it (HT-M-070)
    own = links.parse(jihoon.invite())
    assert (own.relay_url, own.relay_key) == (IMPOSTOR, world.relays[IMPOSTOR].relay_key)
    assert links.parse(link).relay_key == world.relays[GENUINE].relay_key
    assert set(minji.pipes) == {GENUINE, IMPOSTOR}  # the acceptor's own relay is watched, as the fallback (HT-M-064)
    assert links.parse(link).capability.channel not in b"".join(jihoon.pipes[IMPOSTOR].sent)


def test_a_link_that_could_not_be_taken_in_time_is_given_up(world: World) -> None:
    """HT-M-036: nobody waits forever for the relay of an invite, which may be unreachable or refused (T-046)."""
    jihoon = world.person("Jihoon")
    world.relays[IMPOSTOR] = SimulatedRelay(day=START // DAY)
    elsewhere = world.person("somebody", relay=IMPOSTOR)
    world.run()
    link = elsewhere.invite()
    elsewhere.offline()
    del world.relays[IMPOSTOR]
    channel = jihoon.engine.accept(link, jihoon.now)
    jihoon.online()
    world.settle()
    assert IMPOSTOR in jihoon.engine.wanted_relays()
    assert not jihoon.engine.caught_up()
    world.pass_days(2)
    assert IMPOSTOR not in jihoon.engine.wanted_relays()
    assert jihoon.engine.caught_up()
    with pytest.raises(ContentError, match=r"invite\.expired"):
        jihoon.engine.accepted(channel)
