"""A long queue: what a send, an answer and an entry cost does not grow with it. Counted in steps of SQLite."""

import contextlib
from collections.abc import Iterator

import apsw
from tests.client.engine.conftest import Pair
from tests.client.people import Person


class Steps:
    """What SQLite did, in steps of its virtual machine, and the dearest statement about the outbox."""

    def __init__(self) -> None:
        self.count = 0
        self.most, self.dearest = 0, ""


@contextlib.contextmanager
def counted(person: Person) -> Iterator[Steps]:
    steps = Steps()

    def took(event: dict[str, object]) -> None:
        status = event["stmt_status"]
        assert isinstance(status, dict)
        here = status["SQLITE_STMTSTATUS_VM_STEP"]
        steps.count += here
        sql = str(event["sql"])
        if here > steps.most and " outbox " in sql:
            steps.most, steps.dearest = here, sql

    person.database._connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, took)
    try:
        yield steps
    finally:
        person.database._connection.trace_v2(0, None)


def send(person: Person, conversation: str, count: int) -> Steps:
    """What `count` messages cost, with what a runtime asks after each of them."""
    with counted(person) as steps:
        for number in range(count):
            person.send(conversation, f"words {number}")
            person.engine.wanted_relays()
            person.engine.needed_relays()
            person.engine.next_tick()
    return steps


def test_a_send_costs_as_much_with_hundreds_in_the_queue_as_with_none(pair: Pair) -> None:
    minji, conversation = pair.minji, pair.conversation
    minji.offline()
    send(minji, conversation, 10)
    few = send(minji, conversation, 20)
    send(minji, conversation, 500)
    many = send(minji, conversation, 20)
    assert many.count < 1.2 * few.count, many.dearest


def test_a_long_queue_empties_at_the_cost_of_a_short_one_for_each_message(pair: Pair) -> None:
    """Answers of the relay, own entries that come back, and the others' entries among them."""
    world, minji, jihoon, conversation = pair.world, pair.minji, pair.jihoon, pair.conversation
    each = []
    for count in (50, 400):
        minji.offline()
        send(minji, conversation, count)
        for number in range(20):
            jihoon.send(conversation, f"answer {number}")
        world.settle()
        with counted(minji) as steps:
            minji.online()
            world.settle()
        each.append((steps.count / count, steps.most))
        assert minji.engine.pending(minji.now) == 0
    (few, dearest_few), (many, dearest_many) = each
    assert many < 1.2 * few
    assert dearest_many < 2 * dearest_few, steps.dearest
    assert len(jihoon.texts(conversation)) == 450 + 40
    assert len(minji.texts(conversation)) == 450 + 40


def test_what_was_written_before_the_start_was_counted_costs_no_square_either(pair: Pair) -> None:
    """HT-M-071: it waits unnumbered, and is numbered when the own relay was reached."""
    world, minji, conversation = pair.world, pair.minji, pair.conversation
    each = []
    for count in (50, 250):
        minji.restart(online=False)
        writing = send(minji, conversation, count)
        with counted(minji) as emptying:
            minji.online()
            world.settle()
        each.append((writing.count / count, emptying.count / count))
    (wrote_few, sent_few), (wrote_many, sent_many) = each
    assert wrote_many < 1.2 * wrote_few
    assert sent_many < 1.2 * sent_few
    assert len(pair.jihoon.texts(conversation)) == 300


def test_frames_for_a_relay_that_is_gone_cost_those_for_another_nothing(pair: Pair) -> None:
    world, minji, conversation = pair.world, pair.minji, pair.conversation
    each = []
    for waiting in (0, 500):
        minji.offline()
        send(minji, conversation, waiting)
        with minji.database.transaction():
            minji.database.execute("UPDATE outbox SET relay = 'ws://127.0.0.1:7799', channel = ?", bytes(32))
        send(minji, conversation, 200)
        with counted(minji) as steps:
            minji.online()
            world.settle()
        each.append(steps.most)
    assert each[1] < 1.2 * each[0], steps.dearest
    assert minji.engine.pending(minji.now) == 500
    assert "ws://127.0.0.1:7799" in minji.engine.wanted_relays()


def test_what_waits_is_counted_without_a_look_through_the_history(pair: Pair) -> None:
    minji, conversation = pair.minji, pair.conversation
    each = []
    for count in (10, 500):
        send(minji, conversation, count)
        pair.world.settle()
        with counted(minji) as steps:
            assert minji.engine.pending(minji.now) == 0
        each.append(steps.count)
    assert each[1] < 1.2 * each[0]
