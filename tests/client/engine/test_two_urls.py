"""One relay that is known by two URLs, with and without its pin (HT-M-071, HT-R-103)."""

from tests.client.people import World

OTHER = "ws://127.0.0.1:7711"


def test_what_is_counted_at_one_url_counts_at_the_other(world: World) -> None:
    """HT-M-071: the counter's channel depends on the relay's key, so there is only one."""
    world.relays[OTHER] = world.relay
    minji, jihoon = world.person("민지"), world.person("Jihoon", relay=OTHER)
    world.run()
    conversation = minji.accept(jihoon.invite()).conversation
    world.settle()
    minji.restart()
    minji.send(conversation, "안녕")
    world.settle()
    assert jihoon.texts(conversation) == ["안녕"]
