"""The 1 in groups: who has read, who does not say, how often it is told (HT-C-020 … HT-C-025, HT-C-084, HT-C-085)."""

from tests.client import gatherings
from tests.client.people import Person, World

from hanatalk.client import events
from hanatalk.client.engine.messages import receipts
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import OutboxKind, Receipt


def states(person: Person, message: str) -> dict[str, str]:
    """Who has read it, as its sender sees."""
    return {reader.name: reader.state for reader in person.engine.readers(message).readers}


def test_the_sender_sees_who_has_read(world: World) -> None:
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    message = people[0].send(group, "누가 봤나")
    world.settle()
    assert states(people[0], message) == {people[1].name: "unread", people[2].name: "unread"}
    people[2].read(group)
    world.settle()
    assert states(people[0], message) == {people[1].name: "unread", people[2].name: "read"}


def test_who_does_not_tell_is_left_out_and_still_sees_the_others(world: World) -> None:
    """HT-C-085: announced once; no count waits for them; what the others read they see. Then they tell again."""
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    quiet = people[2]
    quiet.engine.tell(group, False, quiet.now)
    world.settle()
    told = [event for event in people[0].events if isinstance(event, events.TellingChanged)]
    assert [(event.name, event.telling) for event in told] == [(quiet.name, False)]
    message = people[0].send(group, "읽었어?")
    world.settle()
    assert [person.message(group, message).unread for person in people] == [1, 1, 1]
    quiet.read(group)
    world.settle()
    assert states(people[0], message) == {people[1].name: "unread", quiet.name: "silent"}
    assert _read_by(people[0], quiet) < _read_by(people[0], quiet, decrypted=True)
    people[1].read(group)
    world.settle()
    assert people[0].message(group, message).state == "read"
    assert [person.message(group, message).unread for person in people] == [0, 0, 0]
    quiet.engine.tell(group, True, quiet.now)
    world.settle()
    assert states(people[0], message)[quiet.name] == "read"


def _read_by(person: Person, other: Person, *, decrypted: bool = False) -> int:
    """What `other` told of `person`'s messages: the highest number read (or decrypted)."""
    core = person.engine._core
    row = core.db.first(
        Receipt, "about = ? AND device = ? ORDER BY decrypted DESC", core.identity.device.key, _device(other)
    )
    assert row is not None
    return row.decrypted if decrypted else row.read


def _device(person: Person) -> bytes:
    return person.engine._core.identity.device.key


def test_a_flood_of_messages_is_confirmed_by_few_receipts(world: World) -> None:
    """HT-C-022: sixty messages in half a minute, and at most one receipt of each device in two seconds."""
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    sent = {person.name: 0 for person in people}

    def count() -> None:
        for person in people:
            db = person.engine._core.db
            sent[person.name] += db.number("SELECT count(*) FROM outbox WHERE kind = ?", OutboxKind.RECEIPT)

    begun = world.now
    for number in range(60):
        people[0].send(group, f"{number}")
        for _ in range(5):
            world.now += 100
            for person in people[1:]:
                person.tick()
            count()
            world.run()
    seconds = (world.now - begun) / 1000
    assert all(sent[person.name] <= seconds / 2 + 1 for person in people[1:])
    assert all(sent[person.name] >= 10 for person in people[1:])


def test_in_a_large_group_counts_lag_and_say_so(world: World, monkeypatch: object) -> None:
    """HT-C-084: counts are marked, published at most once a second, and right in the end."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people)
    patch = monkeypatch
    patch.setattr(receipts, "PER_DEVICE", 600)  # type: ignore[attr-defined]  # as if there were twelve times as many
    message = people[0].send(group, "큰 모임")
    world.settle()
    shown = people[0].message(group, message)
    assert (shown.unread, shown.approximate) == (3, True)
    for person in people[1:]:
        person.read(group)
    people[0].events.clear()
    world.settle()
    told = [event.unread for event in people[0].events if isinstance(event, events.ReceiptReceived)]
    assert told[-1] == 0
    assert people[0].message(group, message).state == "read"


def test_the_quick_count_is_the_slow_count(world: World, monkeypatch: object) -> None:
    """What is counted by order (many people) is what is counted one by one."""
    people = gatherings.acquainted(world, 5)
    group = gatherings.founded(world, people[:4])
    messages = [people[n % 3].send(group, f"{n}") for n in range(6)]
    world.settle()
    people[1].read(group)
    world.settle()
    messages += [people[n % 3].send(group, f"later {n}") for n in range(3)]
    world.settle()
    gatherings.add(people[0], group, people[4])
    world.settle()
    messages += [people[n % 3].send(group, f"after {n}") for n in range(3)]
    world.settle()
    people[3].read(group)
    world.settle()
    slow = [[person.message(group, message).unread for message in messages] for person in people[:4]]
    monkeypatch.setattr(receipts, "FEW", 0)  # type: ignore[attr-defined]
    assert [[person.message(group, message).unread for message in messages] for person in people[:4]] == slow
    assert len({tuple(row) for row in slow}) == 1


def test_receipts_of_nobodys_business_change_nothing(world: World) -> None:
    """T-039: for another's leaf nobody can confirm; beyond what was sent, or going back, changes nothing."""
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    message = people[0].send(group, "하나")
    world.settle()
    core = people[0].engine._core
    row = core.conversation(ConversationId(bytes.fromhex(group)))
    members = core.members(row.conversation)
    leaf = {member.device: member for member in members}
    one, other = leaf[_device(people[1])], leaf[_device(people[2])]
    from hanatalk.client.engine.formats.content import ReceiptLine

    with core.transaction():
        receipts.apply(core, row, members, one, [ReceiptLine(row.own_leaf, row.counter + 1, row.counter + 1)])
        receipts.apply(core, row, members, one, [ReceiptLine(one.leaf, 5, 5)])
        receipts.apply(core, row, members, other, [ReceiptLine(row.own_leaf, 0, 0)])
        receipts.apply(core, row, members, other, [ReceiptLine(row.own_leaf, 1, 2)])
    assert people[0].message(group, message).unread == 2
    assert people[0].message(group, message).state == "delivered"
