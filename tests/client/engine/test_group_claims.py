"""What a member says that is not so: a later epoch, a fork, a KeyPackage that nobody can use (HT-M-142, HT-M-143)."""

import os

import pytest
from tests.client import gatherings
from tests.client.people import DAY, START, URL, Person, World

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine.conversations import acquaintances, key_packages, resync
from hanatalk.client.engine.formats import accounts, policy, statements
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import (
    Adding,
    Change,
    ContactKeyPackage,
    ConversationState,
    Intent,
    IntentKind,
    Readmission,
    Resync,
)


def _id(group: str) -> ConversationId:
    return ConversationId(bytes.fromhex(group))


def _claim(liar: Person, group: str, *, epoch: int, authenticator: bytes) -> None:
    """The liar's client says that it stands where nobody does."""
    core = liar.engine._core
    row = core.conversation(_id(group))
    with core.transaction():
        number = resync.state(core, row, liar.now) + 1
        said = statements.Statement(
            1,
            _id(group),
            core.identity.device.key,
            number,
            epoch,
            authenticator,
            policy.of(row.policy).relays[0].key,
            [],
            None,
            list(core.identity.chain.links),
        )
        core.db.execute("UPDATE resync SET number = ? WHERE conversation = ?", number, _id(group))
        for channel in acquaintances.channels(core, _id(group)):
            resync._post(core, row, channel, statements.sign(said, core.identity.device))
    liar.tick()


def _asked(person: Person, group: str) -> int:
    mine = person.engine._core.db.first(Resync, "conversation = ?", _id(group))
    assert mine is not None
    return mine.asked


def _claims(liar: Person, group: str, *, fork: bool, authenticator: bytes | None = None) -> None:
    epoch = gatherings.row(liar, group).epoch + (0 if fork else 5)
    _claim(liar, group, epoch=epoch, authenticator=authenticator or bytes(32))


@pytest.mark.parametrize("fork", [False, True], ids=["a-later-epoch", "a-fork"])
def test_who_claims_wrongly_is_not_believed_again(world: World, fork: bool) -> None:
    """HT-M-143: once it works: the victim is added again, sees that it had missed nothing, and says so. Then not for a
    week, however often it is said; then once more."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people)
    victim, liar = people[0], people[1]
    world.settle(60)
    _claims(liar, group, fork=fork)
    world.settle(600)
    assert _asked(victim, group) == 1
    assert victim.alarms() == ["conversation.forked" if fork else "conversation.behind", "conversation.misled"]
    assert gatherings.together(people, group)
    victim.events.clear()
    epoch = gatherings.row(victim, group).epoch
    for _ in range(5):
        _claims(liar, group, fork=fork)
        world.settle(3600)
        assert gatherings.row(victim, group).state == ConversationState.JOINED
    assert _asked(victim, group) == 1
    assert victim.alarms() == []
    assert gatherings.row(victim, group).epoch == epoch
    victim.send(group, "나는 그대로 있어요")
    world.settle(60)
    assert "나는 그대로 있어요" in people[3].texts(group)
    world.now += 7 * DAY
    for person in people:
        person.tick()
    _claims(liar, group, fork=fork)
    world.settle(600)
    assert victim.alarms() == ["conversation.forked" if fork else "conversation.behind", "conversation.misled"]
    assert gatherings.together(people, group)


def test_who_claimed_wrongly_is_believed_with_somebody_else(world: World) -> None:
    """HT-M-143: a lie does not keep a device from learning from two that it really is on a fork."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people)
    victim, liar = people[0], people[1]
    world.settle(60)
    _claims(liar, group, fork=False)
    world.settle(600)
    assert "conversation.misled" in victim.alarms()
    victim.events.clear()
    world.settle(3600)
    epoch = gatherings.row(victim, group).epoch + 5
    for person in (liar, people[2]):
        _claim(person, group, epoch=epoch, authenticator=bytes(32))
    world.settle(600)
    assert "conversation.behind" in victim.alarms()


def test_who_really_missed_something_suspects_nobody(world: World) -> None:
    """HT-M-143, HT-M-058: a commit that the relay withheld: the claim was true."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people)
    world.settle(60)
    gatherings.promote(people[0], group, people[1])
    world.settle(60)
    behind = people[0]
    assert behind.pipe is not None
    behind.pipe.withhold(lambda entry: entry.commit)
    gatherings.rename(people[1], group, "못 본 이름")
    world.settle(5)
    people[1].send(group, "다음 시기의 글")
    world.settle(60)
    behind.restart()
    world.settle(600)
    assert gatherings.together(people, group)
    assert "conversation.misled" not in behind.alarms()
    assert "다음 시기의 글" in behind.texts(group)


def test_t031_two_histories_in_a_group_come_together(world: World) -> None:
    """T-015, T-031, HT-M-058, HT-M-144, HT-C-200: the relay shows each half a commit of its own. It is said, one
    side is added again, and what both wrote is read by all, once."""
    people = gatherings.acquainted(world, 5)
    for one in range(2, 5):
        world.befriend(people[1], people[one])
    group = gatherings.founded(world, people)
    gatherings.promote(people[0], group, people[3])
    world.settle(60)
    ours, theirs = people[:3], people[3:]
    relay = world.relay
    before = relay.snapshot()
    for person in theirs:
        person.offline()
    gatherings.rename(people[0], group, "이쪽")
    world.settle(30)
    for person in ours:
        person.offline()
    relay.go_back(before)
    for person in theirs:
        person.online()
    gatherings.rename(people[3], group, "저쪽")
    world.settle(30)
    assert gatherings.authenticator(people[0], group) != gatherings.authenticator(people[3], group)
    for person in people:
        person.online()
    for number in range(4):
        for person in people:
            person.send(group, f"{person.name} {number}")
        world.settle(20)
    world.settle(3600)
    assert gatherings.together(people, group), [gatherings.row(person, group) for person in people]
    wanted = sorted(f"{person.name} {number}" for person in people for number in range(4))
    for person in people:
        assert sorted(person.texts(group)) == wanted
    for person in people:  # nobody asked because of what the other side asked, and so on
        channel = person.engine._core.channel(gatherings.row(person, group).channel)
        assert channel is not None
        assert channel.cursor < 200
    alarms = {code for person in people for code in person.alarms()}
    assert alarms & {"conversation.forked", "conversation.behind"}, "somebody was told"


# KeyPackages ------------------------------------------------------------------------------------------------------


def _twins(signer: mls.Signer, chain: accounts.Chain, device: accounts.Device) -> bytes:
    """A KeyPackage that is right by itself; another one has the same signature key."""
    at = policy.WelcomeAt(1, URL, os.urandom(32), os.urandom(32), os.urandom(32))
    return mls.key_package_new(
        signer,
        suite=mls.SUITE_X_WING,
        credential=accounts.credential(chain, device, signer.public_key),
        extensions=[(policy.WELCOME_EXTENSION, policy.encode(at))],
        not_before=START // 1000 - 3600,
        not_after=START // 1000 + 30 * 86_400,
    ).key_package


def _leaves_twins(victim: Person, others: list[Person]) -> None:
    """These contacts' clients left KeyPackages with one signature key for all, and nothing else."""
    signer = mls.signer_new()
    core = victim.engine._core
    for other in others:
        identity = other.engine._core.identity
        core.db.execute("DELETE FROM contact_key_package WHERE account = ?", identity.account)
        key_packages.remember(core, identity.chain, [_twins(signer, identity.chain, identity.device)])
        assert core.db.first(ContactKeyPackage, "account = ?", identity.account) is not None


def test_a_key_package_that_mls_refuses_is_void_and_holds_up_nobody(world: World) -> None:
    """HT-M-142, HT-M-091: of two that collide one is added at most; the other change is void and said; a third person
    is added, and what follows goes on."""
    people = gatherings.acquainted(world, 5)
    group = gatherings.founded(world, people[:2])
    world.settle(60)
    _leaves_twins(people[0], people[2:4])
    gatherings.add(people[0], group, *people[2:])
    world.settle(60)
    core = people[0].engine._core
    assert core.db.find(Change, "1") == []
    assert core.db.find(Adding, "1") == []
    assert core.db.find(Intent, "kind = ?", IntentKind.CHANGE) == []
    void = [event for event in people[0].events if isinstance(event, events.ChangeVoid)]
    assert [(event.change, event.why) for event in void] == [("add", "no-key-package")]
    assert people[4].name in gatherings.names(people[0], group)
    assert gatherings.together([people[0], people[1], people[4]], group)
    gatherings.rename(people[0], group, "그래도 이어져요")
    world.settle(60)
    assert gatherings.together([people[0], people[1], people[4]], group)


def test_a_request_with_a_key_package_that_mls_refuses_holds_up_nobody(world: World) -> None:
    """HT-M-142, HT-M-059: it is dropped and said; the next request is answered."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people[:2])
    signer = mls.signer_new()
    core = people[0].engine._core
    twins = [_twins(signer, p.engine._core.identity.chain, p.engine._core.identity.device) for p in people[2:]]
    identity = people[2].engine._core.identity
    core.db.execute("DELETE FROM contact_key_package WHERE account = ?", identity.account)
    key_packages.remember(core, identity.chain, twins[:1])
    gatherings.add(people[0], group, people[2], people[3])
    world.settle(60)
    device = people[3].engine._core.identity.device.key
    people[0].events.clear()
    with core.transaction():
        core.db.put(Readmission(_id(group), device, twins[1]))
        core.db.insert(Intent(_id(group), IntentKind.READMIT, people[0].now))
    people[0].tick()
    world.settle(60)
    assert "mls.bad-key-package" in people[0].alarms()
    assert core.db.find(Readmission, "1") == []
    assert core.db.find(Intent, "kind = ?", IntentKind.READMIT) == []
    lost = people[3].engine._core
    with lost.transaction():
        resync.lost(lost, _id(group), "mls.path-fault", world.now)
    people[3].tick()
    world.settle(600)
    assert gatherings.row(people[3], group).state == ConversationState.JOINED
    assert gatherings.together([people[0], people[1], people[3]], group)


def test_a_request_of_somebody_who_was_removed_meanwhile_is_nothing(world: World) -> None:
    """HT-M-059, HT-M-142: whoever waited to answer it finds no such member; it goes on, and nobody comes back."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people)
    world.settle(60)
    core = people[0].engine._core
    gone = people[3].engine._core
    made = key_packages.make(
        gone, policy.of(gatherings.row(people[0], group).policy).relays[0], expires_at=world.now + DAY, now=world.now
    )
    with core.transaction():
        core.db.put(Readmission(_id(group), gone.identity.device.key, made.key_package))
        core.db.insert(Intent(_id(group), IntentKind.READMIT, people[0].now + 5_000))
    gatherings.remove(people[0], group, people[3])
    world.settle(60)
    assert core.db.find(Readmission, "1") == []
    assert core.db.find(Intent, "1") == []
    assert gatherings.names(people[1], group) == {person.name for person in people[:3]}
    assert gatherings.together(people[:3], group)
