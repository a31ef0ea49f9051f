"""People who are not, or no longer, in a group, and members who meddle with others' messages."""

import os

import hanatalk_mls
import pytest
from tests.client import gatherings
from tests.client.people import Person, World

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine.formats import accounts, content, sealing
from hanatalk.client.engine.messages import sending
from hanatalk.ids import ConversationId, MessageId
from hanatalk.localdb.rows import Channel
from hanatalk.wire.classes import EntryClass


def _id(group: str) -> ConversationId:
    return ConversationId(bytes.fromhex(group))


def _channel(person: Person, group: str) -> Channel:
    core = person.engine._core
    found = core.channel(core.conversation(_id(group)).channel)
    assert found is not None
    return found


def _plant(people: list[Person], channel: Channel, message: bytes, *, commit: bool = False) -> None:
    """The relay puts it into the channel; everybody comes back and sees it."""
    entry_class = EntryClass.CONTROL if commit else EntryClass.MESSAGE
    entry = sealing.seal(
        channel.seal_key,
        channel.channel,
        entry_class=entry_class,
        commit=commit,
        kind=sealing.BodyKind.MLS,
        body=message,
    )
    people[0].world.relay.plant(channel.channel, entry, entry_class=entry_class, commit=commit)
    for person in people:
        person.offline()
        person.online()
    people[0].world.settle(60)


def test_t016_nobody_comes_in_from_outside(world: World) -> None:
    """T-016: even with the group's GroupInfo, tree and the channel's keys, from a member that leaks them, an external
    commit counts for nobody; roster and epoch stay."""
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    leaked = people[2].engine._core.group(_id(group))
    device = accounts.Device(accounts.new_seed())
    signer = mls.signer_new()
    credential = accounts.credential(accounts.create(device), device, signer.public_key)
    commit = hanatalk_mls.testing_external_commit(signer, credential, leaked.group_info(), leaked.ratchet_tree())
    before = gatherings.row(people[0], group)
    _plant(people, _channel(people[2], group), commit, commit=True)
    for person in people:
        row = gatherings.row(person, group)
        assert (row.epoch, row.policy) == (before.epoch, before.policy)
        assert len(person.engine.members(group).members) == 3
        assert [event for event in person.events if isinstance(event, events.EntryDamaged)]
    people[1].send(group, "우리끼리")
    world.settle(60)
    assert gatherings.together(people, group)
    assert [person.texts(group) for person in people] == [["우리끼리"]] * 3


@pytest.mark.parametrize("admin", [False, True])
def test_t038_nobody_edits_or_recalls_anothers_message_in_a_group(world: World, *, admin: bool) -> None:
    """T-038, HT-C-045, HT-C-108: not even an admin; everybody sees the words as they were written, and an alarm."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people)
    meddler, author = (people[0], people[1]) if admin else (people[1], people[0])
    message = author.send(group, "내 말")
    world.settle(60)
    for body in (content.Edit(bytes.fromhex(message), "네 말", [], 1), content.Recall(bytes.fromhex(message))):
        sending.send_numbered(meddler.engine._core, _id(group), body, now=meddler.now)
        meddler.tick()
        world.settle(60)
    others = [person for person in people if person is not meddler]
    assert [person.texts(group) for person in others] == [["내 말"]] * 3
    for person in others:
        assert person.alarms() == ["message.foreign-edit", "message.foreign-recall"]


def test_t040_whoever_was_removed_is_answered_by_nobody(world: World) -> None:
    """T-040: with the keys that it still has, a removed member asks, reacts and confirms; nothing goes out for it,
    neither an answer nor a receipt nor a message sent again."""
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    message = people[0].send(group, "전에")
    world.settle(60)
    removed = people[2]
    old, channel = removed.engine._core.group(_id(group)), _channel(removed, group)
    leaves = [member.leaf for member in removed.engine._core.members(_id(group))]
    removed.offline()
    gatherings.remove(people[0], group, removed)
    world.settle(120)
    honest = people[:2]
    sent = [person.engine.counts()[1] for person in honest]
    shown = [person.texts(group) for person in honest]
    probes: list[tuple[int, content.Body]] = [
        (0, content.SendAgain([content.Range(leaf, 1, content.OPEN_END) for leaf in leaves])),
        (99, content.Reaction(bytes.fromhex(message), "👍", 1)),
        (100, content.Text("아직 여기 있어요")),
        (0, content.Receipt()),
    ]
    for counter, body in probes:
        confirmed = [content.ReceiptLine(leaf, 1, 1) for leaf in leaves]
        ciphertext, _ = old.encrypt(
            content.make(
                body, message=MessageId(os.urandom(16)), counter=counter, sent_at=world.now, receipts=confirmed
            )
        )
        _plant(honest, channel, ciphertext)
    world.settle(3_600)
    assert [person.engine.counts()[1] for person in honest] == sent
    assert [person.texts(group) for person in honest] == shown
    assert all(not shown.reactions for person in honest for shown in person.messages(group))
    assert gatherings.together(honest, group)


def test_t040_a_member_is_sent_the_same_again_only_so_often(world: World) -> None:
    """T-040, HT-C-031: who asks for everything again and again, with a right to it, does not set the others to work."""
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    for number in range(5):
        people[0].send(group, f"{number}")
    world.settle(60)
    core = people[1].engine._core
    leaf = next(
        member.leaf for member in core.members(_id(group)) if member.account == people[0].engine._core.identity.account
    )
    before = [person.engine.counts()[1] for person in (people[0], people[2])]
    asked, seconds = 30, 60
    for _ in range(asked):
        with core.transaction():
            sending.send_unnumbered(
                core, _id(group), content.SendAgain([content.Range(leaf, 1, content.OPEN_END)]), now=people[1].now
            )
        people[1].tick()
        world.settle(1)
        world.now += 1_000
    after = [person.engine.counts()[1] for person in (people[0], people[2])]
    assert 5 <= after[0] - before[0] <= 5 * (1 + seconds // 5) + seconds // 2  # of 150, and what it confirms
    assert after[1] - before[1] <= seconds // 2  # nothing is asked of this one
