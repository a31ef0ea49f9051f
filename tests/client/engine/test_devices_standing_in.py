"""A device begins something and stays away: its siblings finish it, once (HT-M-127, HT-M-155, HT-M-156)."""

import itertools
from collections.abc import Iterator

import pytest
from tests.client.gatherings import founded
from tests.client.people import Person, World

from hanatalk.client import events
from hanatalk.client.engine.conversations import besides, key_packages
from hanatalk.client.engine.people import standing_in
from hanatalk.errors import ContentError
from hanatalk.ids import ConversationId, DeviceKey
from hanatalk.localdb.rows import Addition, KeyPackage, OutboxKind

HOUR = 3600.0  # seconds


class Home:
    """민지 with a phone and a laptop, two contacts, a conversation with each and a group."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.phone, self.jihoon, self.sua = (world.person(name) for name in ("민지", "Jihoon", "수아"))
        world.run()
        self.direct = [world.befriend(self.phone, other) for other in (self.jihoon, self.sua)]
        self.group = founded(world, [self.phone, self.jihoon, self.sua])
        self.laptop = self.phone.new_device()
        world.settle(120)

    @property
    def conversations(self) -> list[str]:
        return [*self.direct, self.group]

    def others(self, conversation: str) -> list[Person]:
        return (
            [self.jihoon, self.sua]
            if conversation == self.group
            else [(self.jihoon, self.sua)[self.direct.index(conversation)]]
        )

    def devices_in(self, conversation: str, *, seen_by: Person) -> list[DeviceKey]:
        found = seen_by.engine._core.members_now(_id(conversation))
        own = self.laptop.engine._core.identity.account
        return sorted(member.device for member in found if member.account == own)

    def ask_for(self, new: Person, approver: Person) -> None:
        """Everything up to the two people's yes."""
        new.engine.devices.link(language="ko", now=new.now)
        code = new.engine.devices.linking().link
        assert code is not None
        approver.engine.devices.approve(code, approver.now)
        self.world.settle(5)
        new.engine.devices.consent(yes=True, now=new.now)
        approver.engine.devices.confirm(yes=True, now=approver.now)


@pytest.fixture
def home(world: World) -> Home:
    return Home(world)


def _id(conversation: str) -> ConversationId:
    return ConversationId(bytes.fromhex(conversation))


def _key(person: Person) -> DeviceKey:
    return person.engine._core.identity.device.key


def _exchanges(world: World) -> Iterator[int]:
    """One exchange of one person at a time, for as long as somebody looks."""
    for number in itertools.count():
        person = world.people[number % len(world.people)]
        person.step()
        if number % len(world.people) == 0:
            world.now += 5
            for each in world.people:
                if each.pipes:
                    each.tick()
        yield number


def _talk(home: Home, own: list[Person]) -> None:
    """Everybody writes everywhere, and has everything, once."""
    for conversation in home.conversations:
        people = [*own, *home.others(conversation)]
        for number, person in enumerate(people):
            person.send(conversation, f"{conversation[:4]} {number}")
        home.world.settle(120)
        wanted = sorted(f"{conversation[:4]} {number}" for number in range(len(people)))
        for person in people:
            assert sorted(person.texts(conversation)) == wanted, (person.name, conversation)
        seen = {tuple(home.devices_in(conversation, seen_by=person)) for person in people}
        assert seen == {tuple(sorted(map(_key, own)))}, "one leaf for each device"


@pytest.mark.parametrize("steps", [3, 14, 20, 26, 41, 90])
def test_siblings_finish_an_addition_whose_device_stays_away(home: Home, steps: int) -> None:
    """HT-M-155, HT-M-156: the approving phone goes away after so many exchanges and does not come back for long; if
    the new device was in the account by then, the laptop brings it into every conversation. When the phone returns it
    goes on and adds nobody twice."""
    world, tablet = home.world, home.world.person("민지")
    world.run()
    home.ask_for(tablet, home.phone)
    for number in _exchanges(world):
        if number >= steps:
            break
    home.phone.offline()
    world.settle(10 * HOUR)
    if tablet.engine.devices.linking().state != "linked":
        home.phone.online()  # the way into the account itself is between those two alone
        world.settle(HOUR)
        _talk(home, [home.phone, home.laptop, tablet])
        return
    for conversation in home.conversations:
        assert _key(tablet) in home.devices_in(conversation, seen_by=home.laptop)
        assert [chat.state for chat in tablet.engine.chats().chats if chat.conversation == conversation] == ["joined"]
    assert tablet.engine.devices.linking().awaited == 0
    home.phone.online()
    world.settle(2 * HOUR)
    assert home.phone.engine._core.db.find(Addition, "1") == []
    _talk(home, [home.phone, home.laptop, tablet])


def _dies_with_a_welcome(home: Home, tablet: Person, conversation: str) -> None:
    """The phone adds the tablet to the conversation and goes away with the Welcome in its outbox."""
    phone = home.phone.engine._core
    for _ in _exchanges(home.world):
        waiting = phone.db.number(
            "SELECT count(*) FROM outbox WHERE kind = ? AND owner = ?", OutboxKind.WELCOME, _id(conversation)
        )
        inside = _key(tablet) in home.devices_in(conversation, seen_by=home.jihoon)
        if inside and waiting and tablet.engine.devices.linking().state == "linked":
            break
        if conversation in [chat.conversation for chat in tablet.engine.chats().chats]:
            pytest.fail("the Welcome came first")
    if home.phone.pipe is not None:
        home.phone.pipe.drop()
    home.phone.offline()


@pytest.mark.parametrize("place", ["direct", "group"])
def test_a_device_whose_welcome_never_came_says_so(home: Home, place: str) -> None:
    """HT-M-156, HT-M-150: the commit that added it counts, its Welcome went down with the phone: another sibling puts
    it in anew, and only siblings can have told it what was written meanwhile."""
    world, tablet = home.world, home.world.person("민지")
    conversation = home.direct[0] if place == "direct" else home.group
    world.run()
    home.jihoon.send(conversation, "before")
    world.settle()
    home.ask_for(tablet, home.phone)
    _dies_with_a_welcome(home, tablet, conversation)
    home.jihoon.send(conversation, "meanwhile")
    world.settle(60)
    assert conversation not in [chat.conversation for chat in tablet.engine.chats().chats]
    world.settle(8 * HOUR)
    assert sorted(chat.conversation for chat in tablet.engine.chats().chats) == sorted(home.conversations)
    assert tablet.texts(conversation) == ["before", "meanwhile"]
    home.phone.online()
    world.settle(2 * HOUR)
    assert tablet.texts(conversation) == home.phone.texts(conversation) == ["before", "meanwhile"]
    for person in (home.phone, home.laptop, tablet, home.jihoon):
        assert person.engine.pending(world.now) == 0
        assert "chain.fork" not in person.alarms()
    home.laptop.send(conversation, "all here?")
    world.settle()
    assert [person.texts(conversation)[-1] for person in (home.phone, tablet, home.jihoon)] == ["all here?"] * 3
    for person in (home.phone, home.laptop, tablet):
        assert person.engine._core.db.find(Addition, "1") == []
        assert not person.engine._core.db.tuples("SELECT 1 FROM mls WHERE CAST(owner AS TEXT) LIKE 'beside%'")


def test_a_key_package_given_before_stays_one_for_siblings_only(home: Home) -> None:
    """HT-M-156, HT-M-150: members saw it in the commit; a Welcome for it that no sibling made is refused, and once the
    device is in, it is good for nothing."""
    world, tablet = home.world, home.world.person("민지")
    world.run()
    home.ask_for(tablet, home.phone)
    _dies_with_a_welcome(home, tablet, home.group)
    home.laptop.offline()
    core = tablet.engine._core
    before = core.db.find(Addition, "conversation = ? AND device = ?", _id(home.group), _key(tablet))[0]
    seen_by_all = core.db.find(KeyPackage, "key_package = ?", before.key_package)[0]
    world.settle(4 * HOUR)
    after = core.db.find(Addition, "conversation = ? AND device = ?", _id(home.group), _key(tablet))[0]
    assert after.key_package != before.key_package
    made_by_a_member = key_packages.Enclosed(1, b"", [])
    for conversation in (home.group, home.direct[0]):
        with pytest.raises(ContentError) as caught:
            besides.of_welcome(core, _id(conversation), seen_by_all, made_by_a_member)
        assert caught.value.code == "welcome.refused"
    home.laptop.online()
    world.settle(4 * HOUR)
    assert home.group in [chat.conversation for chat in tablet.engine.chats().chats]
    assert core.db.find(KeyPackage, "ref = ?", seen_by_all.ref)[0].used
    assert core.db.mls_rows(seen_by_all.ref) == []


@pytest.mark.parametrize("hours", [1.5, 2.5, 3.1])
def test_a_late_welcome_and_a_sibling_that_stood_in_meanwhile(home: Home, hours: float) -> None:
    """HT-M-156: the phone comes back with its Welcome, before, while or after the laptop replaces the leaf."""
    world, tablet = home.world, home.world.person("민지")
    world.run()
    home.ask_for(tablet, home.phone)
    _dies_with_a_welcome(home, tablet, home.direct[0])
    home.laptop.offline()
    world.settle(hours * HOUR)
    home.phone.online()
    home.laptop.online()
    world.settle(10 * HOUR)
    assert sorted(chat.conversation for chat in tablet.engine.chats().chats) == sorted(home.conversations)
    _talk(home, [home.phone, home.laptop, tablet])
    assert tablet.engine._core.db.find(Addition, "1") == []


def test_two_stand_in_at_once(home: Home) -> None:
    """HT-M-155: two siblings whose turn it is at the same time ask and commit; the tablet is in once."""
    world, desk, tablet = home.world, home.phone.new_device(), home.world.person("민지")
    world.settle(300)
    home.ask_for(tablet, home.phone)
    for _ in _exchanges(world):
        if tablet.engine.devices.linking().state == "linked":
            break
    missing = [each for each in home.conversations if _key(tablet) not in home.devices_in(each, seen_by=home.jihoon)]
    assert home.group in missing
    for person in (home.phone, home.laptop, desk):
        person.offline()
    world.settle(5 * HOUR)  # both turns are past when they come back
    home.laptop.online()
    desk.online()
    for person in (home.laptop, desk):
        person.engine.tick(world.now + int(HOUR * 1000))
    asked = [
        person.engine._core.db.find(Addition, "conversation = ?", _id(home.group)) for person in (home.laptop, desk)
    ]
    assert all(asked), "both stand in"
    world.settle(10 * HOUR)
    home.phone.online()
    world.settle(2 * HOUR)
    for person in (home.phone, home.laptop, desk, tablet):
        assert person.engine._core.db.find(Addition, "1") == []
    _talk(home, [home.phone, home.laptop, desk, tablet])


def test_nobody_is_hurried(home: Home) -> None:
    """HT-M-155: while the approving device is there, the others add nobody, ask nobody."""
    world, tablet = home.world, home.world.person("민지")
    world.run()
    home.ask_for(tablet, home.phone)
    world.settle(0.5 * HOUR)
    assert home.laptop.engine._core.db.find(Addition, "1") == []
    assert (
        len(home.jihoon.of(events.DeviceChanged)) == 2 + 2
    )  # laptop and tablet, in a conversation of two and in the group
    _talk(home, [home.phone, home.laptop, tablet])


@pytest.mark.parametrize("steps", [1, 8, 16, 30, 60])
def test_siblings_finish_a_removal_whose_device_stays_away(home: Home, steps: int) -> None:
    """HT-M-127, T-059: the phone removes a lost tablet and goes away after so many exchanges. Once the account's group
    has the link, the laptop takes the tablet out everywhere; contacts see it, once; the tablet wipes itself."""
    world = home.world
    tablet = home.phone.new_device()
    world.settle(120)
    tablet.offline()
    for person in (home.jihoon, home.sua):
        person.events.clear()
    home.phone.engine.devices.remove(_key(tablet).hex(), home.phone.now)
    for number in _exchanges(world):
        if number >= steps:
            break
    home.phone.offline()
    world.settle(2 * HOUR)
    begun = _key(tablet) not in home.laptop.engine._core.identity.chain.devices
    if begun:
        for conversation in home.conversations:
            for person in (home.laptop, *home.others(conversation)):
                assert _key(tablet) not in home.devices_in(conversation, seen_by=person)
    home.phone.online()
    world.settle(2 * HOUR)
    assert [device.state for device in home.phone.engine.devices.listed().devices] == ["current"] * 2
    for person in (home.jihoon, home.sua):
        changes = [event.change for event in person.events if isinstance(event, events.DeviceChanged)]
        assert changes == ["removed"] * 2  # from a conversation of two and from the group
    _talk(home, [home.phone, home.laptop])
    tablet.online()
    world.settle(120)
    assert tablet.engine.devices.revoked


def test_turns_are_an_hour_apart(home: Home) -> None:
    """HT-M-155: of two that could, each waits for those before it: first who approved it, then by their keys."""
    world, tablet = home.world, home.laptop.new_device()
    world.settle(300)
    for place, person in enumerate((home.laptop, home.phone)):
        core = person.engine._core
        row = core.conversation(_id(home.group))
        without = [member for member in core.members(row.conversation) if member.device != _key(tablet)]
        with core.transaction():
            known = max(row.created_at, standing_in._since(core, _key(tablet), world.now))
            late = known + place * standing_in.TURN
            assert standing_in.turn(core, row, without, _key(tablet), late)
            assert place == 0 or not standing_in.turn(core, row, without, _key(tablet), late - 1)
