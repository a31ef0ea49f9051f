"""Messages that go: timers and recalls between two people (HT-C-040 … HT-C-048; T-038, T-055, T-056)."""

import datetime as dt

import pytest
from tests.client.engine.conftest import Pair
from tests.client.people import DAY, URL, Person, World

from hanatalk.client import events
from hanatalk.client.engine.formats import content
from hanatalk.client.engine.messages import sending
from hanatalk.errors import ContentError, UsageError
from hanatalk.ids import ConversationId, MessageId
from hanatalk.localdb.rows import Recall
from hanatalk.wire.classes import EntryClass

HOUR = 3_600_000  # milliseconds
YEAR = 365 * DAY


def pass_seconds(world: World, seconds: float) -> None:
    """Let exactly this much time pass; who is online works meanwhile."""
    end = world.now + int(seconds * 1000)
    world.settle(seconds)
    world.now = end
    for person in world.people:
        person.engine.tick(person.now)
    world.run()


def gone(person: Person) -> list[tuple[str, str]]:
    return [(event.message, event.reason) for event in person.events if isinstance(event, events.MessageGone)]


def held(pair: Pair) -> int:
    """Message entries at the relay."""
    return sum(
        holding.count for holding in pair.world.relay.store.holdings() if holding.entry_class is EntryClass.MESSAGE
    )


# Timers


def test_a_timer_counts_from_reading_and_at_the_sender_from_storing(pair: Pair) -> None:
    """HT-C-040, HT-C-041: each side forgets by its own time; the other's text is untouched meanwhile."""
    message = pair.minji.send(pair.conversation, "gone soon", expire=60)
    pair.minji.send(pair.conversation, "stays")
    assert pair.minji.message(pair.conversation, message).expires_at is None
    pair.world.run()
    shown = pair.minji.message(pair.conversation, message)
    left = dt.datetime.fromisoformat(shown.expires_at or "").timestamp() * 1000 - pair.minji.now
    assert (shown.timer, round(left)) == (60, 60_000)
    pass_seconds(pair.world, 59)
    assert pair.minji.texts(pair.conversation) == ["gone soon", "stays"]
    pass_seconds(pair.world, 2)
    assert pair.minji.texts(pair.conversation) == ["stays"]
    assert gone(pair.minji) == [(message, "expired")]
    assert pair.jihoon.message(pair.conversation, message).expires_at is None  # not read
    pass_seconds(pair.world, 3600)
    assert pair.jihoon.texts(pair.conversation) == ["gone soon", "stays"]
    pair.jihoon.read(pair.conversation)
    pass_seconds(pair.world, 59)
    assert pair.jihoon.texts(pair.conversation) == ["gone soon", "stays"]
    pass_seconds(pair.world, 2)
    assert pair.jihoon.texts(pair.conversation) == ["stays"]
    assert gone(pair.jihoon) == [(message, "expired")]
    assert [chat.last for chat in pair.jihoon.engine.chats().chats] == ["stays"]


def test_the_engine_wakes_for_the_next_expiry_by_itself(pair: Pair) -> None:
    """HT-C-041: within a second, with nothing else to do."""
    pair.minji.send(pair.conversation, "x", expire=7)
    pair.world.run()
    pair.world.settle(300)
    begun = pair.world.now
    pair.minji.send(pair.conversation, "y", expire=2)
    pair.world.run()
    while pair.minji.texts(pair.conversation):
        pair.world.now = max(pair.world.now + 1, pair.minji.next_tick())
        pair.minji.engine.tick(pair.minji.now)
    assert 2_000 <= pair.world.now - begun < 3_000


def test_what_waits_for_a_relay_does_not_go(pair: Pair) -> None:
    """HT-C-040: sent offline with a short timer, it is delivered an hour later."""
    pair.minji.offline()
    pair.minji.send(pair.conversation, "kept for you", expire=5)
    pass_seconds(pair.world, 3600)
    assert pair.minji.texts(pair.conversation) == ["kept for you"]
    pair.minji.online()
    pair.world.settle(4)
    assert pair.jihoon.texts(pair.conversation) == ["kept for you"]
    pass_seconds(pair.world, 10)
    assert pair.minji.texts(pair.conversation) == []


def test_an_expired_message_is_neither_shown_again_nor_a_gap(pair: Pair) -> None:
    """HT-C-041: the relay replays it, the sender publishes again what was never confirmed: a tombstone (HT-C-047)."""
    pair.jihoon.offline()
    pair.minji.send(pair.conversation, "unread", expire=5)
    pair.minji.send(pair.conversation, "after")
    pair.world.run()
    pass_seconds(pair.world, 10)
    assert pair.minji.texts(pair.conversation) == ["after"]
    pair.world.pass_days(4)  # the relay's copy expired; the sender's chores publish again
    pair.jihoon.online()
    pair.world.settle(60)
    assert pair.jihoon.texts(pair.conversation) == ["after"]
    assert pair.jihoon.engine._core.db.number("SELECT count(*) FROM gap") == 0
    assert pair.minji.engine.pending(pair.minji.now) == 0


def test_the_timer_survives_a_restart_and_the_first_tick_comes_first(pair: Pair) -> None:
    pair.minji.send(pair.conversation, "x", expire=30)
    pair.world.run()
    pair.minji.restart(online=False)
    pair.world.now += 31_000
    pair.minji.engine.tick(pair.minji.now)
    assert pair.minji.texts(pair.conversation) == []


@pytest.mark.parametrize("seconds", [0, -1, content.TIMER_LIMIT + 1])
def test_a_timer_has_limits(pair: Pair, seconds: int) -> None:
    """HT-C-040, on both sides."""
    with pytest.raises(UsageError, match=r"expire\.limit"):
        pair.minji.send(pair.conversation, "x", expire=seconds)
    with pytest.raises(ContentError):
        content.parse_body(content.encode([1, "x", None, seconds]))


# A clock that is wrong


@pytest.mark.parametrize("restart", [False, True])
def test_t055_a_clock_set_back_a_year_extends_nothing(pair: Pair, restart: bool) -> None:
    """HT-C-042, while running and across a restart, on both sides."""
    message = pair.minji.send(pair.conversation, "x", expire=3600)
    pair.world.settle()
    pair.jihoon.read(pair.conversation)
    pass_seconds(pair.world, 1800)
    for person in (pair.minji, pair.jihoon):
        person.skew = -YEAR
        if restart:
            person.restart()
        person.engine.tick(person.now)
    pass_seconds(pair.world, 1700)
    for person in (pair.minji, pair.jihoon):
        assert person.texts(pair.conversation) == ["x"]
        assert str(person.message(pair.conversation, message).expires_at).startswith("2026")  # by the clock people see
    pass_seconds(pair.world, 200)
    for person in (pair.minji, pair.jihoon):
        assert person.texts(pair.conversation) == []


def test_t055_a_kill_and_a_clock_set_back_win_a_minute_at_most(pair: Pair) -> None:
    """HT-C-042: what was not written down is what a kill may win."""
    pair.minji.send(pair.conversation, "x", expire=3600)
    pair.world.run()
    pass_seconds(pair.world, 3000)
    pair.minji.skew = -YEAR
    pair.minji.restart()
    pair.minji.engine.tick(pair.minji.now)
    pass_seconds(pair.world, 661)
    assert pair.minji.texts(pair.conversation) == []


def test_t056_a_clock_set_forward_ends_running_timers_and_nothing_else(pair: Pair) -> None:
    """HT-C-043: unread, queued and untimed messages stay; when the clock is right again everything goes on at once."""
    pair.minji.send(pair.conversation, "read, timer", expire=3600)
    pair.world.settle()
    pair.jihoon.read(pair.conversation)
    pair.minji.send(pair.conversation, "unread, timer", expire=3600)
    pair.minji.send(pair.conversation, "no timer")
    pair.world.settle()
    pair.jihoon.skew = YEAR
    pair.jihoon.engine.tick(pair.jihoon.now)
    assert pair.jihoon.texts(pair.conversation) == ["unread, timer", "no timer"]
    pair.world.settle()
    pair.jihoon.skew = 0
    pair.jihoon.engine.tick(pair.jihoon.now)
    pair.jihoon.send(pair.conversation, "after")
    pair.minji.send(pair.conversation, "hear me")
    pair.world.settle(120)
    assert sorted(pair.minji.texts(pair.conversation)[-2:]) == ["after", "hear me"]
    pair.jihoon.read(pair.conversation)
    pair.world.settle(10)
    states = {message.text: message.state for message in pair.minji.messages(pair.conversation)}
    assert states["hear me"] == "read"  # receipts are not held up for a year
    pass_seconds(pair.world, 3601)
    assert "unread, timer" not in pair.jihoon.texts(pair.conversation)  # and its timer ran at its own pace


def test_t056_a_wrong_minute_loses_no_message_that_waits(pair: Pair) -> None:
    """HT-C-032, HT-C-043: sent while the clock was a year ahead, expired at the relay unfetched: published again."""
    pair.jihoon.offline()
    pair.minji.send(pair.conversation, "before")
    pair.world.settle()
    pair.minji.skew = YEAR
    pair.minji.engine.tick(pair.minji.now)
    pair.minji.send(pair.conversation, "while it was wrong")
    pair.world.settle()
    pair.minji.skew = 0
    pair.minji.engine.tick(pair.minji.now)
    pair.world.settle()
    pair.world.pass_days(4)
    assert held(pair) >= 2
    pair.jihoon.online()
    pair.world.settle(60)
    assert sorted(pair.jihoon.texts(pair.conversation)) == ["before", "while it was wrong"]


@pytest.mark.parametrize("skew", [YEAR, 40 * DAY, -YEAR])
def test_t056_a_wrong_minute_destroys_no_key_package_and_no_invite(world: World, skew: int) -> None:
    """HT-C-044: the housekeeping of a wrong clock would have destroyed what the invite needs."""
    minji, jihoon = world.person("민지"), world.person("Jihoon")
    world.settle()
    link = minji.invite()
    minji.skew = skew
    minji.restart()
    for _ in range(3):
        minji.engine.tick(minji.now)
        world.now += 20_000
    minji.skew = 0
    minji.restart()
    minji.engine.tick(minji.now)
    world.settle()
    accepted = jihoon.accept(link)
    jihoon.send(accepted.conversation, "hello")
    world.settle(60)
    assert minji.texts(accepted.conversation) == ["hello"]


def test_t056_a_clock_a_year_off_gives_clear_errors_and_the_invite_is_as_good_as_before(world: World) -> None:
    """HT-C-044."""
    minji, jihoon = world.person("민지"), world.person("Jihoon")
    world.run()
    link = minji.invite()
    jihoon.skew = YEAR
    with pytest.raises(ContentError, match=r"invite\.expired"):
        jihoon.accept(link)
    jihoon.skew = -YEAR
    with pytest.raises(ContentError, match=r"invite\.too-far"):
        jihoon.accept(link)
    jihoon.skew = -20 * DAY
    channel = jihoon.engine.accept(link, jihoon.now)
    world.run()
    with pytest.raises(ContentError, match=r"key-package\.expired"):
        jihoon.engine.accepted(channel)
    jihoon.skew = 0
    accepted = jihoon.accept(link)
    world.settle()
    minji.send(accepted.conversation, "da")
    world.settle()
    assert jihoon.texts(accepted.conversation) == ["da"]


def test_t056_a_relay_whose_clock_jumped_loses_nothing_that_waits(pair: Pair) -> None:
    """HT-S-010, HT-C-032: a year ahead it expired everything, channels too; back again, the senders restore it."""
    pair.jihoon.offline()
    pair.minji.send(pair.conversation, "waits")
    pair.world.settle()
    relay = pair.world.relay
    relay.pass_days(365)
    assert held(pair) == 0
    relay.day -= 365
    pair.minji.offline()
    pair.minji.online()
    pair.jihoon.online()
    pair.world.settle(60)
    assert pair.jihoon.texts(pair.conversation) == ["waits"]


# Recall


@pytest.mark.parametrize("read", [False, True])
def test_a_recall_is_forgotten_by_both_and_erased_at_the_relay(pair: Pair, read: bool) -> None:
    """HT-C-045, HT-C-046."""
    message = pair.minji.send(pair.conversation, "oops")
    pair.minji.send(pair.conversation, "fine")
    pair.world.settle()
    if read:
        pair.jihoon.read(pair.conversation)
        pair.world.settle()
    pair.minji.recall(message)
    assert pair.minji.texts(pair.conversation) == ["", "fine"]
    pair.world.settle()
    for person in (pair.minji, pair.jihoon):
        shown = person.message(pair.conversation, message)
        assert (shown.text, shown.recalled) == ("", True)
        assert gone(person) == [(message, "recalled")]
    assert pair.minji.engine.pending(pair.minji.now) == 0
    pair.minji.recall(message)  # again: nothing happens
    pair.world.settle()
    assert len(gone(pair.jihoon)) == 1


def test_recalled_before_it_was_fetched_it_is_erased_and_never_read(pair: Pair) -> None:
    """HT-C-046: the relay had it, the receiver was away."""
    pair.jihoon.offline()
    message = pair.minji.send(pair.conversation, "secret")
    pair.minji.send(pair.conversation, "fine")
    pair.world.settle()
    before = held(pair)
    pair.minji.recall(message)
    pair.world.settle()
    assert held(pair) == before  # one erased, the recall came
    assert pair.minji.engine._core.db.number("SELECT count(*) FROM placed WHERE wanted = 1") == 0
    pair.jihoon.online()
    pair.world.settle(60)
    assert "secret" not in pair.jihoon.texts(pair.conversation)
    assert pair.jihoon.of(events.MessageReceived)[0].message.text == "fine"  # type: ignore[attr-defined]
    assert pair.jihoon.engine._core.db.number("SELECT count(*) FROM gap") == 0  # asked for, answered by a tombstone


def test_what_expired_here_can_still_be_recalled_there(pair: Pair) -> None:
    """HT-C-045: the sender's timer is over, the receiver has not read it yet."""
    message = pair.minji.send(pair.conversation, "x", expire=5)
    pair.world.settle()
    pass_seconds(pair.world, 10)
    assert pair.minji.texts(pair.conversation) == []
    assert pair.jihoon.texts(pair.conversation) == ["x"]
    pair.minji.recall(message)
    pair.world.settle()
    assert pair.jihoon.message(pair.conversation, message).recalled
    assert pair.minji.texts(pair.conversation) == []


def test_recalled_before_it_left_it_never_leaves(pair: Pair) -> None:
    """HT-C-047: the queued frame is replaced by a tombstone; its number is no gap."""
    pair.minji.offline()
    message = pair.minji.send(pair.conversation, "never")
    pair.minji.send(pair.conversation, "fine")
    pair.minji.recall(message)
    pair.minji.online()
    pair.world.settle(60)
    assert pair.jihoon.texts(pair.conversation) == ["fine"]
    assert gone(pair.jihoon) == []
    assert pair.jihoon.of(events.GapFound) == []


def test_recalled_while_on_its_way_it_is_erased_when_the_answer_comes(pair: Pair) -> None:
    pair.jihoon.offline()
    message = pair.minji.send(pair.conversation, "on its way")
    assert pair.minji.engine._core.links[URL].in_flight
    pair.minji.recall(message)
    pair.world.settle()
    assert pair.minji.engine._core.db.number("SELECT count(*) FROM placed WHERE wanted = 1") == 0
    pair.jihoon.online()
    pair.world.settle(60)
    assert "on its way" not in [m.message.text for m in pair.jihoon.of(events.MessageReceived)]  # type: ignore[attr-defined]


def test_recalled_after_an_answer_was_lost_it_is_found_at_the_relay_and_erased(pair: Pair) -> None:
    """HT-C-046: the relay stored it, nobody heard; the sender sees its own entry and takes it back."""
    pair.jihoon.offline()
    message = pair.minji.send(pair.conversation, "unheard")
    pipe = pair.minji.pipe
    assert pipe is not None
    for written in pipe.connection.messages_to_send():
        pair.world.relay.core.receive(pipe._peer, written, now=0.0)
    pair.world.relay.settle()
    pair.minji.restart(online=False)
    pair.minji.recall(message)
    pair.minji.online()
    pair.world.settle()
    assert pair.minji.engine._core.db.number("SELECT count(*) FROM placed WHERE wanted = 1") == 0
    pair.jihoon.online()
    pair.world.settle(60)
    assert pair.jihoon.of(events.MessageReceived) == []


def test_a_recall_that_comes_first_waits_for_its_message(pair: Pair) -> None:
    """HT-C-045: the relay reorders; the text is never shown."""
    pipe = pair.jihoon.pipe
    assert pipe is not None
    pair.world.settle()
    pipe.hold()
    message = pair.minji.send(pair.conversation, "late")
    pair.world.run()
    pair.minji.engine._core.db.execute("DELETE FROM placed")  # a relay that does not erase
    pair.minji.recall(message)
    pair.world.run()
    pipe.release(lambda pushed: list(reversed(pushed)))
    # the cursor has passed the first one: it comes again because it is missing, as the relay kept it
    pair.world.run()
    pair.world.settle(60)
    assert "late" not in [m.message.text for m in pair.jihoon.of(events.MessageReceived)]  # type: ignore[attr-defined]


def test_a_stale_turn_does_not_revive_what_was_recalled(pair: Pair) -> None:
    """HT-C-047: in flight when it was recalled, refused for its turn: what goes out instead is a tombstone."""
    pipe = pair.minji.pipe
    assert pipe is not None
    message = pair.minji.send(pair.conversation, "refused")
    core = pair.minji.engine._core
    turn = core.db.number("SELECT turn FROM channel WHERE channel = ?", core.conversation(_id(pair)).channel)
    pipe.refuse("stale-turn", turn=turn)
    pair.minji.recall(message)
    pair.world.settle(60)
    assert pair.jihoon.messages(pair.conversation) == []  # a tombstone: not even that there was something to recall
    assert pair.minji.engine.pending(pair.minji.now) == 0


def _id(pair: Pair) -> ConversationId:
    return ConversationId(bytes.fromhex(pair.conversation))


def test_t038_recall_of_anothers_message_is_ignored_with_an_alarm(pair: Pair) -> None:
    """HT-C-045: refused here, and when a changed program sends it all the same."""
    message = pair.minji.send(pair.conversation, "mine")
    pair.world.settle()
    with pytest.raises(UsageError, match=r"recall\.not-own"):
        pair.jihoon.recall(message)
    core = pair.jihoon.engine._core
    sending.send_recall(core, _id(pair), MessageId(bytes.fromhex(message)), now=pair.jihoon.now)
    pair.jihoon.engine.tick(pair.jihoon.now)
    pair.world.settle(60)
    assert pair.minji.texts(pair.conversation) == pair.jihoon.texts(pair.conversation) == ["mine"]
    assert pair.minji.alarms() == ["message.foreign-recall"]


def test_t038_a_recall_that_waits_meets_only_its_senders_message(pair: Pair) -> None:
    """HT-C-045: an id of Jihoon's, recalled by 민지 before it arrives, changes nothing for Jihoon's message."""
    pair.jihoon.offline()
    message = pair.jihoon.send(pair.conversation, "jihoon's")
    pair.minji.engine._core.db.put(
        Recall(None, MessageId(bytes.fromhex(message)), _id(pair), pair.minji.engine._core.identity.account)
    )
    pair.jihoon.online()
    pair.world.settle()
    assert pair.minji.message(pair.conversation, message).text == "jihoon's"


def test_every_message_entry_can_be_erased_so_that_texts_do_not_stand_out(pair: Pair) -> None:
    """HT-C-046 (T-043 in part): receipts and requests carry an erase_hash as well."""
    seen: list[bool] = []
    apply = pair.world.relay.store.apply

    def watched(operations: list[object], *, day: int) -> list[object]:
        seen.extend(
            operation.erase_hash is not None  # type: ignore[attr-defined]
            for operation in operations
            if getattr(operation, "entry_class", None) is EntryClass.MESSAGE
        )
        return apply(operations, day=day)  # type: ignore[arg-type, return-value]

    pair.world.relay.store.apply = watched  # type: ignore[method-assign, assignment]
    pair.minji.send(pair.conversation, "x")
    pair.world.settle()
    pair.jihoon.read(pair.conversation)
    pair.world.settle()
    assert len(seen) >= 3
    assert all(seen)


def test_a_relay_that_forgot_is_not_asked_to_erase_something_else(pair: Pair) -> None:
    pair.jihoon.offline()
    message = pair.minji.send(pair.conversation, "x")
    pair.world.settle()
    pair.minji.offline()
    pair.world.relay.forget()
    pair.minji.recall(message)
    pair.minji.online()
    pair.jihoon.online()
    pair.world.settle(120)
    assert pair.minji.engine.pending(pair.minji.now) == 0
    assert "x" not in [m.message.text for m in pair.jihoon.of(events.MessageReceived)]  # type: ignore[attr-defined]
