"""Several equal devices of one account (HT-M-120 … HT-M-129)."""

import pytest
from tests.client.engine.conftest import Pair
from tests.client.gatherings import founded
from tests.client.people import Person, World

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine.conversations import history, resync
from hanatalk.client.engine.formats import accounts, content, sealing
from hanatalk.ids import ConversationId
from hanatalk.wire.classes import EntryClass


def test_a_second_device_receives_and_sends(pair: Pair) -> None:
    """HT-M-123 … HT-M-125: linked by words, a member of the conversation; every device has every new message."""
    pair.minji.send(pair.conversation, "before")
    pair.world.settle()
    laptop = pair.minji.new_device()
    assert [chat.name for chat in laptop.engine.chats().chats] == ["Jihoon"]
    (seen,) = pair.jihoon.of(events.DeviceChanged)
    assert isinstance(seen, events.DeviceChanged)
    assert (seen.name, seen.change) == ("민지", "added")
    pair.jihoon.send(pair.conversation, "to both")
    pair.minji.send(pair.conversation, "from the phone")
    laptop.send(pair.conversation, "from the laptop")
    pair.world.settle()
    wanted = ["from the laptop", "from the phone", "to both"]
    for person in (pair.minji, pair.jihoon, laptop):
        assert person.engine.pending(pair.world.now) == 0
        assert person.of(events.GapFound) == []
        assert person.alarms() == []
    for person in (pair.minji, pair.jihoon, laptop):
        assert sorted(person.texts(pair.conversation)) == ["before", *wanted]
    (own,) = [message for message in laptop.messages(pair.conversation) if message.text == "from the phone"]
    assert (own.state, own.unread) == ("delivered", 1)


def _together(*people: Person, conversation: str) -> bool:
    found = {person.engine._core.group(_id(conversation)).epoch_authenticator for person in people}
    return len(found) == 1


def _id(conversation: str) -> ConversationId:
    return ConversationId(bytes.fromhex(conversation))


def test_reading_on_one_device_is_reading_on_all(pair: Pair) -> None:
    """HT-C-165, HT-C-024: the 1 goes out once for a person, the other device shows nothing unread."""
    laptop = pair.minji.new_device()
    message = pair.jihoon.send(pair.conversation, "하나만")
    pair.world.settle()
    assert laptop.engine.chats().chats[0].unread == 1
    seen = pair.jihoon.message(pair.conversation, message)
    assert (seen.state, seen.unread) == ("delivered", 1)
    laptop.read(pair.conversation)
    pair.world.settle()
    seen = pair.jihoon.message(pair.conversation, message)
    assert (seen.state, seen.unread) == ("read", 0)
    assert pair.minji.engine.chats().chats[0].unread == 0
    assert pair.minji.message(pair.conversation, message).state == "read"


def test_a_new_device_does_not_confirm_what_nobody_read(pair: Pair) -> None:
    """HT-C-166: what came before it stays unread until its sibling read it."""
    message = pair.jihoon.send(pair.conversation, "unread")
    pair.world.settle()
    laptop = pair.minji.new_device(history=0)
    later = pair.jihoon.send(pair.conversation, "later")
    pair.world.settle()
    laptop.read(pair.conversation)
    pair.world.settle(60)
    assert pair.jihoon.message(pair.conversation, message).unread == 1
    pair.minji.read(pair.conversation)
    pair.world.settle(60)
    assert pair.jihoon.message(pair.conversation, message).unread == 0
    assert pair.jihoon.message(pair.conversation, later).unread == 0


def test_three_devices_in_several_conversations_and_a_group(world: World) -> None:
    """HT-M-124, HT-M-125: the account's group orders the second link; every conversation gets every device."""
    minji, jihoon, sua = world.person("민지"), world.person("Jihoon"), world.person("Sua")
    world.run()
    one, two = world.befriend(minji, jihoon), world.befriend(minji, sua)
    world.settle()
    group = founded(world, [minji, jihoon, sua])
    laptop = minji.new_device()
    tablet = laptop.new_device()
    world.settle(120)
    own = (minji, laptop, tablet)
    for person in own:
        assert len(person.engine.chats().chats) == 3
        assert [device.state for device in person.engine.devices.listed().devices] == ["current"] * 3
    for number, person in enumerate((*own, jihoon)):
        for conversation in (one, group):
            person.send(conversation, f"{number}")
    world.settle(120)
    for conversation, others in ((one, [jihoon]), (group, [jihoon, sua])):
        for person in (*own, *others):
            assert sorted(person.texts(conversation)) == ["0", "1", "2", "3"], (conversation, person.name)
    sua.send(two, "hi")
    world.settle()
    assert [person.texts(two) for person in own] == [["hi"]] * 3
    assert all(person.engine.pending(world.now) == 0 for person in (*own, jihoon, sua))


def test_t059_a_removed_device_reads_nothing_more(pair: Pair) -> None:
    """T-059, HT-M-127, HT-M-128: out of every conversation, shown to the other person, told to wipe."""
    laptop = pair.minji.new_device()
    laptop.offline()
    pair.minji.engine.devices.remove(laptop.engine.account().device[:12], pair.minji.now)
    pair.world.settle(60)
    changes = [event.change for event in pair.jihoon.events if isinstance(event, events.DeviceChanged)]
    assert changes == ["added", "removed"]
    assert [device.this for device in pair.minji.engine.devices.listed().devices] == [True]
    pair.jihoon.send(pair.conversation, "secret")
    pair.world.settle()
    laptop.online()
    pair.world.settle(60)
    assert laptop.engine.devices.revoked
    assert laptop.texts(pair.conversation) == []
    assert pair.minji.texts(pair.conversation) == ["secret"]
    laptop.send(pair.conversation, "still here?")
    pair.world.settle(60)
    assert pair.jihoon.texts(pair.conversation) == ["secret"]
    assert _together(pair.minji, pair.jihoon, conversation=pair.conversation)
    again = pair.minji.new_device()
    pair.world.settle(60)
    again.send(pair.conversation, "back")
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["secret", "back"]


def test_a_yes_that_crosses_a_no_says_that_it_was_refused(pair: Pair) -> None:
    """HT-M-124: nobody is told that there is nothing to answer when the other screen was only quicker."""
    new = pair.world.person("민지")
    pair.world.run()
    new.engine.devices.link(language="ko", now=new.now)
    pair.minji.engine.devices.approve(new.engine.devices.linking().link or "", pair.minji.now)
    pair.world.settle(5)
    pair.minji.engine.devices.confirm(yes=False, now=pair.minji.now)
    pair.world.settle(5)
    new.engine.devices.consent(yes=True, now=new.now)
    pair.minji.engine.devices.confirm(yes=True, now=pair.minji.now)
    pair.world.settle(5)
    for found in (new.engine.devices.linking(), pair.minji.engine.devices.approving()):
        assert (found.state, found.failure) == ("failed", "link.refused")


def test_a_lost_device_among_several_is_added_again(pair: Pair) -> None:
    """HT-M-122, HT-M-059: the resync channel is open to a device that joined late; any member brings it back."""
    laptop = pair.minji.new_device()
    pair.world.settle(60)
    core = laptop.engine._core
    with core.transaction():
        resync.lost(core, _id(pair.conversation), "mls.path-fault", pair.world.now)
    laptop.engine.tick(laptop.now)
    laptop.send(pair.conversation, "waits")
    pair.jihoon.send(pair.conversation, "meanwhile")
    pair.world.settle(120)
    people = (pair.minji, pair.jihoon, laptop)
    assert _together(*people, conversation=pair.conversation)
    for person in people:
        assert sorted(person.texts(pair.conversation)) == ["meanwhile", "waits"]


def test_history_comes_first_whole_and_once(pair: Pair) -> None:
    """HT-C-172 … HT-C-175: old messages in order before new ones, reactions and edits held, unread stays unread."""
    world, minji, jihoon = pair.world, pair.minji, pair.jihoon
    first = minji.send(pair.conversation, "첫째")
    second = jihoon.send(pair.conversation, "second")
    world.settle()
    minji.read(pair.conversation)
    jihoon.engine.react(first, "👍", jihoon.now)
    minji.engine.edit(first, "첫째, 고침", minji.now)
    jihoon.recall(jihoon.send(pair.conversation, "taken back"))
    unread = jihoon.send(pair.conversation, "not read yet")
    world.settle(60)
    laptop = minji.new_device()
    jihoon.send(pair.conversation, "live")
    world.settle(60)
    assert laptop.texts(pair.conversation) == minji.texts(pair.conversation)
    assert laptop.texts(pair.conversation) == ["첫째, 고침", "second", "", "not read yet", "live"]
    for one, other in zip(laptop.messages(pair.conversation), minji.messages(pair.conversation), strict=True):
        assert one == other
    assert (
        laptop.engine.chats().chats[0].unread == minji.engine.chats().chats[0].unread == 3
    )  # what was taken back counts until it is read
    assert jihoon.message(pair.conversation, unread).unread == 1
    assert jihoon.message(pair.conversation, second).unread == 0
    laptop.read(pair.conversation)
    world.settle(60)
    assert jihoon.message(pair.conversation, unread).unread == 0
    assert minji.engine.chats().chats[0].unread == 0
    for person in (minji, jihoon, laptop):
        assert person.engine.pending(world.now) == 0
        assert person.of(events.GapFound) == []
        assert person.alarms() == []


def test_what_comes_while_history_travels_is_there_too(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """HT-C-175: between the bundle and the new device's joining nothing is lost, nothing comes twice."""
    for number in range(30):
        pair.minji.send(pair.conversation, f"old {number}")
    pair.world.settle()
    laptop = pair.minji.new_device(settle=False)
    step = laptop.step
    shown_while_taking = []

    def looked_at() -> bool:
        moved = step()
        if history.taking(laptop.engine._core) is not None:
            shown_while_taking.append(laptop.engine.chats().chats)
        return moved

    monkeypatch.setattr(laptop, "step", looked_at)
    pair.world.settle(2)
    assert shown_while_taking  # it was on its way for a while …
    assert not any(shown_while_taking)  # … and what is old comes first (HT-C-173)
    for number in range(20):
        pair.jihoon.send(pair.conversation, f"new {number}")
        pair.world.settle(1)
    pair.world.settle(60)
    wanted = [f"old {number}" for number in range(30)] + [f"new {number}" for number in range(20)]
    assert pair.minji.texts(pair.conversation) == wanted
    assert laptop.texts(pair.conversation) == wanted


def test_a_span_and_none(pair: Pair) -> None:
    """HT-C-172: what was written before the span does not come, what is not read always does."""
    pair.minji.send(pair.conversation, "long ago")
    pair.world.settle()
    pair.world.pass_days(10)
    pair.jihoon.send(pair.conversation, "lately")
    pair.world.settle(60)
    laptop = pair.minji.new_device(history=86_400)
    tablet = pair.minji.new_device(history=0)
    assert laptop.texts(pair.conversation) == ["lately"]
    assert tablet.texts(pair.conversation) == []


@pytest.mark.parametrize("every", [1, 3])
def test_killed_at_every_step_linking_goes_on(world: World, every: int) -> None:
    """HT-M-124, HT-M-125, HT-C-173: both devices die again and again; in the end everything is there, once."""
    minji = world.person("민지")
    others = [world.person(f"P{number}") for number in range(4)]
    world.run()
    conversations = [world.befriend(minji, other) for other in others]
    for number in range(60):
        minji.send(conversations[number % 4], f"{number}")
    world.settle()
    new = minji.new_device(settle=False)
    for turn in range(60):
        world.settle(0.4)
        if turn % every == 0:
            (minji, new)[turn % 2].restart()
    world.settle(120)
    assert [device.state for device in minji.engine.devices.listed().devices] == ["current", "current"]
    for conversation in conversations:
        assert new.texts(conversation) == minji.texts(conversation)
        assert len(new.texts(conversation)) == 15
    for conversation, other in zip(conversations, others, strict=True):
        other.send(conversation, "hi")
    world.settle()
    assert [new.texts(conversation)[-1] for conversation in conversations] == ["hi"] * 4


def test_every_device_of_one_person_is_lost(pair: Pair) -> None:
    """T-034: a new account by the same name stands beside the old one, with another safety number, and is marked."""
    before = pair.jihoon.engine.verify(pair.conversation, confirm=True).safety_number
    pair.minji.offline()
    again = pair.world.person("민지 ")
    pair.world.run()
    conversation = pair.world.befriend(again, pair.jihoon)
    after = pair.jihoon.engine.verify(conversation, confirm=False)
    assert after.safety_number != before
    assert not after.verified
    shown = {chat.conversation: (chat.verified, chat.same_name) for chat in pair.jihoon.engine.chats().chats}
    assert shown == {pair.conversation: (True, True), conversation: (False, True)}


def test_what_one_device_verified_all_have_verified(pair: Pair) -> None:
    """HT-C-170: a compared safety number is known to every own device."""
    laptop = pair.minji.new_device()
    assert not laptop.engine.chats().chats[0].verified
    pair.minji.engine.verify(pair.conversation, confirm=True)
    pair.world.settle()
    assert laptop.engine.chats().chats[0].verified


def test_the_others_finish_what_a_remover_began(pair: Pair) -> None:
    """HT-M-127: the device that removed another dies at once: its siblings commit in the conversations."""
    laptop = pair.minji.new_device()
    tablet = laptop.new_device()
    pair.world.settle(60)
    gone = laptop.engine._core.identity.device.key
    tablet.offline()
    pair.minji.engine.devices.remove(gone.hex(), pair.minji.now)
    core = pair.minji.engine._core
    for _ in range(400):
        pair.world.run()
        if gone not in core.identity.chain.devices:
            break
        pair.world.settle(0.05)
    pair.minji.offline()
    tablet.online()
    pair.world.settle(400)
    members = {member.device for member in pair.jihoon.engine._core.members(_id(pair.conversation))}
    assert gone not in members
    assert tablet.engine._core.identity.device.key in members


def test_t032_nobody_takes_out_anothers_device_nor_brings_one_in(pair: Pair) -> None:
    """T-032, HT-M-121: valid MLS of a member about a device of somebody else; it counts for nobody."""
    laptop = pair.minji.new_device()
    pair.world.settle(60)
    people = (pair.minji, pair.jihoon, laptop)
    core = pair.jihoon.engine._core
    stranger = accounts.Device(b"\x07" * 32)
    chain, signer = accounts.create(stranger), mls.signer_new()
    package = mls.key_package_new(
        signer,
        suite=mls.SUITE_X_WING,
        credential=accounts.credential(chain, stranger, signer.public_key),
        extensions=[],
        not_before=0,
        not_after=2**39,
    ).key_package
    leaf = next(
        member.leaf
        for member in core.members(_id(pair.conversation))
        if member.device == laptop.engine._core.identity.device.key
    )
    brought = [content.Person(list(chain.links), "stranger")]
    for removes, adds, carried in (([leaf], [], []), ([], [package], brought), ([], [package], [])):
        core = pair.jihoon.engine._core
        group = core.group(_id(pair.conversation))
        channel = core.channel(core.conversation(_id(pair.conversation)).channel)
        assert channel is not None
        before = group.epoch
        aad = content.encode(content.CommitContext(1, True, None, carried))
        with core.transaction():  # so that no generation is used twice
            made = group.commit(removes=removes, adds=adds, self_update=True, aad=aad)
            core.db.mls_write(_id(pair.conversation), [*made.writes, *group.pending_discard()])
        entry = sealing.seal(
            channel.seal_key,
            channel.channel,
            entry_class=EntryClass.CONTROL,
            commit=True,
            kind=sealing.BodyKind.MLS,
            body=made.commit,
        )
        pair.world.relay.plant(channel.channel, entry, entry_class=EntryClass.CONTROL, commit=True)
        for person in people:
            person.restart()
        pair.world.settle(60)
        for person in (pair.minji, laptop):
            assert person.engine._core.conversation(_id(pair.conversation)).epoch == before
            assert "EntryDamaged" in {type(event).__name__ for event in person.events}
            person.events.clear()
    pair.minji.send(pair.conversation, "noch da")
    pair.world.settle(60)
    assert [person.texts(pair.conversation)[-1] for person in people] == ["noch da"] * 3
