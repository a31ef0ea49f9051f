"""How long the texts of a conversation stay, agreed in its policy (HT-C-120; T-032, T-038, T-055)."""

from collections.abc import Callable

import msgspec
import pytest
from tests.client import gatherings
from tests.client.engine.conftest import Pair
from tests.client.engine.test_expiry import pass_seconds
from tests.client.people import Person, World

from hanatalk.client import calls, events
from hanatalk.client.engine import Fate
from hanatalk.client.engine.formats import content, policy, sealing
from hanatalk.errors import UsageError
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import Channel
from hanatalk.wire.classes import EntryClass


def keep(person: Person, conversation: str, timer: int | None = None, privacy: bool | None = None) -> None:
    person.engine.keep(conversation, timer=timer, privacy=privacy, now=person.now)


def kept(person: Person, conversation: str) -> tuple[int | None, bool, str]:
    found = person.engine.kept(ConversationId(bytes.fromhex(conversation)))
    return found.timer, found.privacy, found.state


def changes(person: Person) -> list[tuple[int | None, bool, str]]:
    return [
        (event.timer, event.privacy, event.by) for event in person.events if isinstance(event, events.KeepingChanged)
    ]


def damaged(person: Person) -> list[str]:
    """Why entries were refused."""
    return [event.code for event in person.events if isinstance(event, events.EntryDamaged)]


def forged(person: Person, conversation: str, change: Callable[[policy.Policy], policy.Policy]) -> None:
    """A changed program commits another policy."""
    core = person.engine._core
    row = core.conversation(ConversationId(bytes.fromhex(conversation)))
    channel = core.channel(row.channel)
    assert isinstance(channel, Channel)
    group = core.group(row.conversation)
    new = change(policy.of(row.policy))
    made = group.commit(
        self_update=True,
        extensions=[(policy.EXTENSION, policy.encode(new))],
        aad=content.encode(content.CommitContext(1, False)),
    )
    with core.transaction():
        core.db.mls_write(row.conversation, [*made.writes, *group.pending_discard()])
    sealed = sealing.seal(
        channel.seal_key,
        channel.channel,
        entry_class=EntryClass.CONTROL,
        commit=True,
        kind=sealing.BodyKind.MLS,
        body=made.commit,
    )
    person.world.relay.plant(channel.channel, sealed, entry_class=EntryClass.CONTROL, commit=True)
    for each in person.world.people:
        each.offline()
        each.online()
    person.world.settle(60)


def test_two_people_agree_and_every_text_from_then_on_has_the_timer(pair: Pair) -> None:
    """HT-C-120: by either of the two; what was sent before stays."""
    pair.minji.send(pair.conversation, "before")
    pair.world.settle()
    keep(pair.minji, pair.conversation, timer=60)
    pair.minji.send(pair.conversation, "not agreed yet")
    pair.world.settle()
    for person in (pair.minji, pair.jihoon):
        assert kept(person, pair.conversation) == (60, False, "done")
        assert changes(person) == [(60, False, "민지")]
    pair.jihoon.send(pair.conversation, "after")
    pair.jihoon.send(pair.conversation, "shorter", expire=10)
    pair.world.settle()
    assert [(message.text, message.timer) for message in pair.minji.messages(pair.conversation)] == [
        ("before", None),
        ("not agreed yet", None),
        ("after", 60),
        ("shorter", 10),
    ]
    pair.minji.read(pair.conversation)
    pass_seconds(pair.world, 62)
    for person in (pair.minji, pair.jihoon):
        assert person.texts(pair.conversation) == ["before", "not agreed yet"]
    keep(pair.jihoon, pair.conversation, timer=0)
    pair.world.settle()
    pair.minji.send(pair.conversation, "stays")
    assert pair.minji.messages(pair.conversation)[-1].timer is None
    assert changes(pair.minji)[-1] == (None, False, "Jihoon")


def test_privacy_mode_of_a_conversation(pair: Pair) -> None:
    """HT-C-115, HT-C-120: every text goes when read, what can be seen once stays what it is."""
    keep(pair.minji, pair.conversation, privacy=True)
    pair.world.settle()
    pair.jihoon.send(pair.conversation, "gone when read")
    pair.jihoon.engine.send(pair.conversation, "once", fate=Fate.ONCE, now=pair.jihoon.now)
    pair.world.settle()
    first, second = pair.minji.messages(pair.conversation)
    assert (first.privacy, second.privacy, second.view_once) == (True, False, True)
    pair.minji.read(pair.conversation)
    pass_seconds(pair.world, 5)
    for person in (pair.minji, pair.jihoon):
        assert [message.message for message in person.messages(pair.conversation)] == [second.message]


def test_both_change_it_at_once_and_both_end_up_with_the_same(pair: Pair) -> None:
    """T-029: one wins, the other's wish is carried out after it."""
    keep(pair.minji, pair.conversation, timer=60)
    keep(pair.jihoon, pair.conversation, timer=120, privacy=True)
    pair.world.settle(60)
    assert kept(pair.minji, pair.conversation) == kept(pair.jihoon, pair.conversation)
    assert kept(pair.minji, pair.conversation)[2] == "done"
    assert len(changes(pair.minji)) == len(changes(pair.jihoon)) == 2


def test_it_waits_for_the_relay_and_survives_a_restart(pair: Pair) -> None:
    pair.minji.offline()
    keep(pair.minji, pair.conversation, timer=60)
    assert kept(pair.minji, pair.conversation) == (None, False, "queued")
    pair.minji.restart()
    pair.world.settle(60)
    assert kept(pair.jihoon, pair.conversation) == (60, False, "done")


@pytest.mark.parametrize("timer", [-1, content.TIMER_LIMIT + 1])
def test_it_has_limits(pair: Pair, timer: int) -> None:
    with pytest.raises(UsageError, match=r"expire\.limit"):
        keep(pair.minji, pair.conversation, timer=timer)


@pytest.mark.parametrize("what", ["name", "kind", "admins", "relays", "rights"])
def test_t032_in_a_conversation_of_two_nothing_else_of_the_policy_changes(pair: Pair, what: str) -> None:
    """HT-C-120: a changed program's commit is skipped."""

    def change(agreed: policy.Policy) -> policy.Policy:
        others: dict[str, object] = {
            "name": "mine",
            "kind": policy.Kind.GROUP,
            "admins": agreed.admins[:1],
            "relays": [policy.Relay("ws://127.0.0.1:9", bytes(32))],
            "rights": 3,
        }
        return msgspec.structs.replace(agreed, timer=60, **{what: others[what]})

    forged(pair.minji, pair.conversation, change)
    assert "commit.not-allowed" in damaged(pair.jihoon)
    assert kept(pair.jihoon, pair.conversation)[:2] == (None, False)
    pair.jihoon.send(pair.conversation, "goes on")
    pair.world.settle(60)
    assert pair.minji.texts(pair.conversation) == ["goes on"]


def test_t032_in_a_group_admins_agree_and_others_cannot(world: World) -> None:
    """HT-C-120: refused here, and skipped by everybody when a changed program does it."""
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    minji, jihoon, third = people
    with pytest.raises(UsageError, match=r"group\.not-allowed"):
        keep(jihoon, group, timer=60)
    forged(jihoon, group, lambda agreed: policy.with_keeping(agreed, timer=5, privacy=True))
    for person in people:
        assert kept(person, group)[:2] == (None, False)
    assert "commit.not-allowed" in damaged(minji)
    assert "commit.not-allowed" in damaged(third)
    keep(minji, group, timer=3600)
    world.settle(60)
    assert gatherings.together(people, group)
    jihoon.send(group, "for an hour")
    world.settle()
    assert [message.timer for message in third.messages(group)] == [3600]


def test_in_a_group_in_privacy_mode_it_goes_when_the_last_one_has_read_it(world: World) -> None:
    """HT-C-115, HT-C-024."""
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    minji, jihoon, third = people
    keep(minji, group, privacy=True)
    world.settle(30)
    minji.send(group, "for the three of us")
    world.settle(10)
    jihoon.read(group)
    pass_seconds(world, 20)
    for person in people:
        assert person.texts(group) == ["for the three of us"]
    third.read(group)
    pass_seconds(world, 20)
    for person in people:
        assert person.texts(group) == []


def test_a_call_that_asks_changes_nothing(pair: Pair) -> None:
    call = calls.Keep(conversation=pair.conversation)
    assert (call.timer, call.privacy) == (None, None)
    keep(pair.minji, pair.conversation)
    assert kept(pair.minji, pair.conversation) == (None, False, "done")
