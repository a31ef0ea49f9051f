"""A member's client that does not keep the rules, and a relay that injects: every other client refuses alike."""

import os
from collections.abc import Callable

import msgspec
import pytest
from tests.client import gatherings
from tests.client.people import START, URL, Person, World

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine.conversations import commits, enclosing
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import accounts, content, policy
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import ContactKeyPackage, IntentKind
from hanatalk.wire.classes import EntryClass


class Insider:
    """A member whose client commits whatever it is told to."""

    def __init__(self, person: Person, group: str) -> None:
        self.person = person
        self.id = ConversationId(bytes.fromhex(group))
        self.core: Core = person.engine._core
        self.agreed = policy.of(self.core.conversation(self.id).policy)

    def leaf(self, other: Person) -> int:
        device = other.engine._core.identity.device.key
        return next(member.leaf for member in self.core.members(self.id) if member.device == device)

    def key_package(self, account: bytes, suite: int = mls.SUITE_X_WING) -> tuple[bytes, content.Person]:
        """A contact's KeyPackage, and its chain as a commit brings it."""
        row = self.core.db.first(ContactKeyPackage, "account = ? AND suite = ?", account, suite)
        chain = self.core.chain(account)  # type: ignore[arg-type]
        assert row is not None
        assert chain is not None
        return row.key_package, content.Person(list(chain.links), "누구")

    def stranger(self) -> tuple[bytes, content.Person]:
        """A device of an account that nobody knows."""
        device = accounts.Device(accounts.new_seed())
        chain = accounts.create(device)
        return _key_package(chain, device), content.Person(list(chain.links), "모르는 사람")

    def commit(
        self,
        *,
        adds: list[bytes] | None = None,
        removes: list[int] | None = None,
        agreed: policy.Policy | None = None,
        new_era: bool = True,
        people: list[content.Person] | None = None,
    ) -> None:
        """Post it as any commit."""
        core = self.core
        row = core.conversation(self.id)
        channel = core.channel(row.channel)
        assert channel is not None
        with core.transaction():
            commits.want(core, self.id, IntentKind.NEW_ERA, self.person.now)
            intent = commits.Intent(self.id, IntentKind.NEW_ERA, self.person.now)
            made = core.group(self.id).commit(
                adds=adds or [],
                removes=removes or [],
                self_update=True,
                extensions=[(policy.EXTENSION, policy.encode(agreed))] if agreed is not None else None,
                aad=content.encode(content.CommitContext(1, new_era, None, people or [])),
            )
            core.db.mls_write(self.id, made.writes)
            commits.post(core, row, channel, intent, made.digest, enclosing.enclose(core, row, channel, made.commit))


def _key_package(chain: accounts.Chain, device: accounts.Device) -> bytes:
    signer = mls.signer_new()
    at = policy.WelcomeAt(1, URL, os.urandom(32), os.urandom(32), os.urandom(32))
    made = mls.key_package_new(
        signer,
        suite=mls.SUITE_X_WING,
        credential=accounts.credential(chain, device, signer.public_key),
        extensions=[(policy.WELCOME_EXTENSION, policy.encode(at))],
        not_before=START // 1000 - 3600,
        not_after=START // 1000 + 86_400,
    )
    return made.key_package


def changed(agreed: policy.Policy, **values: object) -> policy.Policy:
    return msgspec.structs.replace(agreed, **values)


def adds_a_stranger(insider: Insider, people: list[Person]) -> None:
    key_package, person = insider.stranger()
    insider.commit(adds=[key_package], people=[person])


def removes_somebody(insider: Insider, people: list[Person]) -> None:
    insider.commit(removes=[insider.leaf(people[2])])


def removes_the_admin(insider: Insider, people: list[Person]) -> None:
    agreed = changed(insider.agreed, admins=[insider.core.identity.account])
    insider.commit(removes=[insider.leaf(people[0])], agreed=agreed)


def renames(insider: Insider, people: list[Person]) -> None:
    insider.commit(agreed=changed(insider.agreed, name="내 거"), new_era=False)


def makes_itself_admin(insider: Insider, people: list[Person]) -> None:
    admins = sorted([*insider.agreed.admins, insider.core.identity.account])
    insider.commit(agreed=changed(insider.agreed, admins=admins), new_era=False)


def takes_rights(insider: Insider, people: list[Person]) -> None:
    insider.commit(agreed=changed(insider.agreed, rights=3), new_era=False)


def begins_an_era(insider: Insider, people: list[Person]) -> None:
    insider.commit()


def changes_the_relay(insider: Insider, people: list[Person]) -> None:
    relays = [policy.Relay("ws://127.0.0.1:9", os.urandom(32)), *insider.agreed.relays]
    insider.commit(agreed=changed(insider.agreed, relays=relays), new_era=False)


def replaces_a_leaf_by_another_device(insider: Insider, people: list[Person]) -> None:
    key_package, person = insider.stranger()
    insider.commit(adds=[key_package], removes=[insider.leaf(people[2])], people=[person])


@pytest.mark.parametrize(
    "act",
    [
        adds_a_stranger,
        removes_somebody,
        removes_the_admin,
        renames,
        makes_itself_admin,
        takes_rights,
        begins_an_era,
        changes_the_relay,
        replaces_a_leaf_by_another_device,
    ],
)
def test_t032_who_is_no_admin_cannot(world: World, act: Callable[[Insider, list[Person]], None]) -> None:
    """T-032, HT-M-081: every other client skips the commit and says so; roster, roles and name stay."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people)
    honest = [people[0], people[2], people[3]]
    before = [gatherings.row(person, group) for person in honest]
    insider = Insider(people[1], group)
    act(insider, people)
    people[1].offline() if not people[1].pipes else None
    people[1].tick()
    world.run()
    for person, row in zip(honest, before, strict=True):
        now = gatherings.row(person, group)
        assert (now.epoch, now.policy, now.channel) == (row.epoch, row.policy, row.channel)
        damaged = [event.code for event in person.events if isinstance(event, events.EntryDamaged)]
        assert damaged, "nobody said anything"
    gatherings.rename(people[0], group, "우리는 계속")
    world.settle(60)
    assert gatherings.together(honest, group)
    assert {chat.name for chat in people[2].engine.chats().chats if chat.kind == "group"} == {"우리는 계속"}


def without_an_era(insider: Insider, people: list[Person]) -> None:
    insider.commit(removes=[insider.leaf(people[2])], new_era=False)


def without_the_chain(insider: Insider, people: list[Person]) -> None:
    key_package, _ = insider.stranger()
    insider.commit(adds=[key_package])


def with_a_foreign_chain(insider: Insider, people: list[Person]) -> None:
    key_package, _ = insider.stranger()
    insider.commit(adds=[key_package], people=[insider.stranger()[1]])


def a_device_twice(insider: Insider, people: list[Person]) -> None:
    account = people[2].engine._core.identity.account
    key_package, person = insider.key_package(account)
    insider.commit(adds=[key_package], people=[person])


def leaves_an_admin_outside(insider: Insider, people: list[Person]) -> None:
    agreed = changed(insider.agreed, admins=sorted([*insider.agreed.admins, os.urandom(32)]))
    insider.commit(agreed=agreed, new_era=False)


def takes_the_name_away(insider: Insider, people: list[Person]) -> None:
    insider.commit(agreed=changed(insider.agreed, name=None), new_era=False)


def makes_it_a_conversation_of_two(insider: Insider, people: list[Person]) -> None:
    insider.commit(agreed=changed(insider.agreed, kind=policy.Kind.DIRECT), new_era=False)


@pytest.mark.parametrize(
    "act",
    [
        without_an_era,
        without_the_chain,
        with_a_foreign_chain,
        a_device_twice,
        leaves_an_admin_outside,
        takes_the_name_away,
        makes_it_a_conversation_of_two,
    ],
)
def test_not_even_an_admin_can(world: World, act: Callable[[Insider, list[Person]], None]) -> None:
    """HT-M-082, HT-M-083: rules that bind admins too."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people)
    honest = people[1:]
    before = [gatherings.row(person, group) for person in honest]
    act(Insider(people[0], group), people)
    people[0].tick()
    world.run()
    for person, row in zip(honest, before, strict=True):
        now = gatherings.row(person, group)
        assert (now.epoch, now.policy, now.channel) == (row.epoch, row.policy, row.channel)
        assert [event.code for event in person.events if isinstance(event, events.EntryDamaged)]


def test_t027_a_removed_member_writes_to_nobody(world: World) -> None:
    """T-027: with the old era's keys it still can append; nobody takes notice."""
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    removed = people[2]
    removed.offline()
    gatherings.remove(people[0], group, removed)
    world.settle(60)
    text = [person.texts(group) for person in people[:2]]
    removed.send(group, "아직 여기 있어요")  # it does not know yet
    core = removed.engine._core
    frames = core.db.number("SELECT count(*) FROM outbox WHERE owner = ?", bytes.fromhex(group))
    assert frames
    channel = core.conversation(ConversationId(bytes.fromhex(group))).channel
    entry = core.db.value("SELECT entry FROM outbox WHERE owner = ?", bytes.fromhex(group))
    assert isinstance(entry, bytes)
    world.relay.plant(channel, entry)
    world.settle(60)
    removed.online()
    world.settle(60)
    assert [person.texts(group) for person in people[:2]] == text
    assert gatherings.together(people[:2], group)


def test_t022_garbage_control_entries_do_not_stop_a_removal(world: World) -> None:
    """T-022 in a group: the channel is full of garbage commits, and more keep coming; the removal goes through."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people)
    gatherings.remove(people[0], group, people[3])
    people[0].step()  # the commit is on its way
    for _ in range(20):
        channel = gatherings.row(people[0], group).channel
        world.relay.plant(channel, os.urandom(512), entry_class=EntryClass.CONTROL, commit=True)
        world.now += 20
        for person in people:  # what is planted is shown to who subscribes
            person.offline()
            person.online()
        world.run()
    world.settle(120)
    assert gatherings.names(people[1], group) == {person.name for person in people[:3]}
    assert gatherings.together(people[:3], group)


def test_t034_names_that_look_the_same_are_flagged(world: World) -> None:
    """T-034: another member by the same name, or one that looks so."""
    people = [world.person(name) for name in ("Minji", "지훈", "Мinji", "서연")]
    world.run()
    for other in people[1:]:
        world.befriend(people[0], other)
    group = gatherings.founded(world, people)
    flagged = {shown.name for shown in people[3].engine.members(group).members if shown.same_name}
    assert flagged == {"Minji", "Мinji"}
