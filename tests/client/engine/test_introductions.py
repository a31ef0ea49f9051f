"""Introductions: two contacts of one person come to know each other, if both want to (HT-C-125 … HT-C-127)."""

import os

import pytest
from tests.client import gatherings
from tests.client.people import Person, World

from hanatalk.client import calls, events
from hanatalk.client.engine.formats import content
from hanatalk.client.engine.messages import sending
from hanatalk.client.engine.people import introductions, invites
from hanatalk.errors import ContentError, UsageError
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import Introduction, KeyPackage


class Three:
    """민지 knows the other two."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.minji, self.jihoon, self.third = gatherings.acquainted(world, 3)

    def introduce(self) -> None:
        self.minji.engine.introduce(self.jihoon.name, self.third.name, self.minji.now)
        self.world.settle(30)

    def meet(self, person: Person, *, yes: bool = True) -> calls.Introduction:
        (only,) = person.engine.introductions().introductions
        found = person.engine.meet(only.introduction[:8], yes=yes, now=person.now)
        self.world.settle(30)
        return found

    def state(self, person: Person) -> str:
        return person.engine.introductions().introductions[0].state


@pytest.fixture
def three(world: World) -> Three:
    return Three(world)


def friends(person: Person) -> set[str]:
    return {chat.name for chat in person.engine.chats().chats if chat.kind == "direct"}


def direct(person: Person, other: Person) -> str:
    (found,) = [chat for chat in person.engine.chats().chats if chat.kind == "direct" and chat.name == other.name]
    return found.conversation


@pytest.mark.parametrize("together", [False, True])
def test_two_who_both_want_to_get_a_conversation_of_their_own(three: Three, together: bool) -> None:
    """HT-C-126: one after the other, or both before either has heard of the other's yes: one conversation."""
    three.introduce()
    for person, other in ((three.jihoon, three.third), (three.third, three.jihoon)):
        (shown,) = person.engine.introductions().introductions
        assert (shown.name, shown.by, shown.state) == (other.name, three.minji.name, "offered")
        assert [event.name for event in person.of(events.Introduced)] == [other.name]  # type: ignore[attr-defined]
        assert other.name not in friends(person)  # nothing happens by itself
    if together:
        for person in (three.jihoon, three.third):
            person.engine.meet(person.engine.introductions().introductions[0].introduction, yes=True, now=person.now)
        three.world.settle(60)
    else:
        assert three.meet(three.jihoon).state == "waiting"
        assert three.third.name not in friends(three.jihoon)
        assert three.meet(three.third).state == "done"
    three.world.settle(60)
    conversation = direct(three.jihoon, three.third)
    assert direct(three.third, three.jihoon) == conversation
    assert (three.state(three.jihoon), three.state(three.third)) == ("done", "done")
    three.jihoon.send(conversation, "반가워요")
    three.world.settle()
    assert three.third.texts(conversation) == ["반가워요"]
    safety = {person.engine.verify(conversation, confirm=False).safety_number for person in (three.jihoon, three.third)}
    assert len(safety) == 1
    assert not three.jihoon.engine.verify(conversation, confirm=False).verified  # only the introducer's word
    assert {event.by for event in three.minji.of(events.IntroductionAnswered) if event.yes} <= {  # type: ignore[attr-defined]
        three.jihoon.name,
        three.third.name,
    }
    assert three.minji.database.number("SELECT count(*) FROM gap") == 0
    with pytest.raises(UsageError, match=r"introduction\.answered"):
        three.meet(three.jihoon)


def test_a_no_is_told_to_the_introducer_alone_and_nothing_comes_of_it(three: Three) -> None:
    """HT-C-126."""
    three.introduce()
    three.meet(three.jihoon, yes=False)
    three.meet(three.third)
    three.world.settle(60)
    assert three.third.name not in friends(three.jihoon)
    assert three.state(three.third) == "waiting"
    answers = [(event.by, event.yes) for event in three.minji.of(events.IntroductionAnswered)]  # type: ignore[attr-defined]
    assert answers == [(three.jihoon.name, False), (three.third.name, True)]


def test_it_survives_restarts_and_waits_for_whoever_is_away(three: Three) -> None:
    three.third.offline()
    three.introduce()
    three.meet(three.jihoon)
    for person in (three.minji, three.jihoon):
        person.restart()
    three.third.online()
    three.world.settle(60)
    assert three.meet(three.third).state == "done"
    three.world.settle(60)
    assert direct(three.jihoon, three.third) == direct(three.third, three.jihoon)


def test_only_two_different_contacts_can_be_introduced(three: Three) -> None:
    with pytest.raises(UsageError, match=r"introduce\.same"):
        three.minji.engine.introduce(three.jihoon.name, three.jihoon.name, three.minji.now)
    with pytest.raises(UsageError, match=r"name\.unknown"):
        three.minji.engine.introduce(three.jihoon.name, "nobody", three.minji.now)
    with pytest.raises(UsageError, match=r"introduction\.unknown"):
        three.jihoon.engine.meet("nobody", yes=True, now=three.jihoon.now)


def _id(person: Person, other: Person) -> ConversationId:
    return ConversationId(bytes.fromhex(direct(person, other)))


def lie(three: Three, body: content.Introduction) -> None:
    """민지's program is a changed one."""
    sending.send_numbered(three.minji.engine._core, _id(three.minji, three.jihoon), body, now=three.minji.now)
    three.minji.tick()
    three.world.settle(30)


def test_t017_a_chain_of_somebody_else_is_refused_with_an_alarm(three: Three) -> None:
    """HT-C-125: an account cannot be claimed by another one's chain."""
    third = three.third.engine._core.identity
    own = three.minji.engine._core.identity
    lie(three, content.Introduction(os.urandom(16), third.account, "서연", list(own.chain.links), None))
    assert three.jihoon.engine.introductions().introductions == []
    assert "chain.other-account" in three.jihoon.alarms()


def test_oneself_the_introducer_and_acquaintances_are_not_introduced(three: Three) -> None:
    """HT-C-125."""
    for person in (three.minji, three.jihoon):
        who = person.engine._core.identity
        lie(three, content.Introduction(os.urandom(16), who.account, "x", list(who.chain.links), None))
    three.introduce()
    three.meet(three.jihoon)
    three.meet(three.third)
    three.world.settle(60)
    before = len(three.jihoon.engine.introductions().introductions)
    three.minji.engine.introduce(three.jihoon.name, three.third.name, three.minji.now)
    three.world.settle(30)
    assert len(three.jihoon.engine.introductions().introductions) == before == 1


def test_offers_are_bounded_and_the_oldest_goes(three: Three) -> None:
    """HT-C-125."""
    who = three.third.engine._core.identity
    sent = [os.urandom(16) for _ in range(introductions.OPEN_MOST + 5)]
    core = three.minji.engine._core
    with core.transaction():
        for number in sent:
            body = content.Introduction(number, who.account, "x", list(who.chain.links), None)
            sending.send_numbered(core, _id(three.minji, three.jihoon), body, now=three.minji.now)
    three.minji.tick()
    three.world.settle(60)
    kept = [bytes.fromhex(each.introduction) for each in three.jihoon.engine.introductions().introductions]
    assert kept == sent[5:]


def test_a_key_package_given_for_one_person_serves_no_other(three: Three) -> None:
    """HT-C-127, T-016: the introducer keeps the KeyPackage and uses it itself: refused, with an alarm."""
    three.introduce()
    three.third.offline()
    three.meet(three.jihoon)
    core = three.jihoon.engine._core
    row = core.db.first(Introduction, "made = 0")
    assert row is not None
    package = core.db.first(KeyPackage, "ref = ?", row.ref)
    assert package is not None
    minji = three.minji.engine._core
    chain = minji.chain(core.identity.account)
    assert chain is not None
    before = len(three.jihoon.engine.chats().chats)
    with minji.transaction():
        invites.found(minji, chain, package.key_package, three.minji.now)
    three.minji.tick()
    three.world.settle(60)
    assert len(three.jihoon.engine.chats().chats) == before
    assert "welcome.refused" in three.jihoon.alarms()


def test_a_damaged_key_package_begins_nothing(three: Three) -> None:
    three.introduce()
    core = three.jihoon.engine._core
    core.db.execute("UPDATE introduction SET key_package = ?", b"no key package")
    (only,) = three.jihoon.engine.introductions().introductions
    with pytest.raises(ContentError, match=r"mls\.bad-key-package"):
        three.jihoon.engine.meet(only.introduction, yes=True, now=three.jihoon.now)
    assert three.state(three.jihoon) == "offered"
