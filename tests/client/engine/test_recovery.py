"""A relay that forgets or goes back (T-024, HT-M-050 … HT-M-052)."""

from tests.client.engine.conftest import Pair
from tests.client.people import World

from hanatalk.client.engine.conversations import commits
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import IntentKind


def _commit(pair: Pair, person: object, kind: IntentKind = IntentKind.UPDATE) -> None:
    core = person.engine._core  # type: ignore[attr-defined]
    with core.transaction():
        commits.want(core, ConversationId(bytes.fromhex(pair.conversation)), kind, pair.world.now)
    pair.world.settle()


def _same_epoch(pair: Pair) -> bool:
    conversation = ConversationId(bytes.fromhex(pair.conversation))
    found = {person.engine._core.group(conversation).epoch_authenticator for person in (pair.minji, pair.jihoon)}
    return len(found) == 1


def _back_online(pair: Pair) -> None:
    for person in (pair.minji, pair.jihoon):
        person.offline()
        person.online()
    pair.world.settle(120)


def test_t024_a_wiped_relay_gets_its_commits_and_messages_again(pair: Pair) -> None:
    """Nothing is lost, nothing shown twice, no fork; later commits work."""
    _commit(pair, pair.minji)
    pair.minji.send(pair.conversation, "davor")
    pair.world.settle()
    pair.jihoon.offline()
    pair.minji.send(pair.conversation, "unterwegs")
    pair.world.run()
    pair.world.relay.forget()
    _back_online(pair)
    assert pair.jihoon.texts(pair.conversation) == ["davor", "unterwegs"]
    assert "relay.forgot" in pair.minji.alarms()
    assert _same_epoch(pair)
    _commit(pair, pair.jihoon)
    pair.jihoon.send(pair.conversation, "danach")
    pair.world.settle()
    assert pair.minji.texts(pair.conversation) == ["davor", "unterwegs", "danach"]
    assert _same_epoch(pair)
    assert pair.minji.engine.pending(pair.world.now) == 0


def test_t024_a_member_who_was_behind_follows_on_the_wiped_relay(pair: Pair) -> None:
    """The commit that one member missed is brought back by the other."""
    pair.jihoon.offline()
    _commit(pair, pair.minji)
    pair.minji.send(pair.conversation, "im neuen Epoch")
    pair.world.run()
    pair.world.relay.forget()
    pair.minji.online()
    pair.world.settle()
    pair.jihoon.online()
    pair.world.settle(120)
    assert pair.jihoon.texts(pair.conversation) == ["im neuen Epoch"]
    assert _same_epoch(pair)


def test_t024_yesterday_s_backup_of_the_relay(pair: Pair) -> None:
    """Same incarnation, lower head: noticed, commits back first, messages after."""
    pair.minji.send(pair.conversation, "gestern")
    pair.world.settle()
    yesterday = pair.world.relay.snapshot()
    _commit(pair, pair.minji)
    _commit(pair, pair.jihoon)
    pair.jihoon.offline()
    pair.minji.send(pair.conversation, "heute")
    pair.world.run()
    pair.world.relay.go_back(yesterday)
    _back_online(pair)
    assert pair.jihoon.texts(pair.conversation) == ["gestern", "heute"]
    assert "relay.forgot" in pair.minji.alarms()
    assert _same_epoch(pair)


def test_an_open_invite_survives_a_wiped_relay(world: World) -> None:
    """HT-M-052."""
    minji, jihoon = world.person("민지"), world.person("Jihoon")
    world.run()
    link = minji.invite()
    world.relay.forget()
    minji.offline()
    minji.online()
    jihoon.offline()
    jihoon.online()
    world.settle()
    accepted = jihoon.accept(link)
    world.settle()
    assert [chat.conversation for chat in minji.engine.chats().chats] == [accepted.conversation]


def test_a_welcome_survives_a_wiped_relay(world: World) -> None:
    """HT-M-052: the inviter was away when the relay lost the Welcome."""
    minji, jihoon = world.person("민지"), world.person("Jihoon")
    world.run()
    link = minji.invite()
    minji.offline()
    accepted = jihoon.accept(link)
    jihoon.send(accepted.conversation, "안녕")
    world.settle()
    world.relay.forget()
    jihoon.offline()
    jihoon.online()
    world.settle()
    minji.online()
    world.settle(120)
    assert minji.texts(accepted.conversation) == ["안녕"]
    jihoon.send(accepted.conversation, "또")
    world.settle()
    assert minji.texts(accepted.conversation) == ["안녕", "또"]
