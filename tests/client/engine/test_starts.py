"""Old copies of a profile (HT-M-070 … HT-M-074, T-058)."""

import os
from pathlib import Path

import msgspec
from tests.client.engine.conftest import Pair
from tests.client.people import DAY, START, URL, Person
from tests.simulated_relay import SimulatedRelay

from hanatalk.client import events
from hanatalk.client.engine.conversations import starts
from hanatalk.client.engine.formats import sealing
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import Channel, ConversationState, OutboxKind, Outgoing, Purpose
from hanatalk.wire import frames
from hanatalk.wire.classes import EntryClass


def _watch(pair: Pair) -> list[frames.Append]:
    """Every message entry that reaches the relay from now on."""
    seen: list[frames.Append] = []

    def observe(_: object, frame: frames.ClientFrame) -> None:
        if isinstance(frame, frames.Append) and frame.entry_class is EntryClass.MESSAGE:
            seen.append(frame)

    pair.world.relay.observers.append(observe)
    return seen


def _state(person: Person, pair: Pair) -> ConversationState:
    return ConversationState(person.engine._core.conversation(ConversationId(bytes.fromhex(pair.conversation))).state)


def test_t058_an_old_copy_sends_nothing_until_it_was_added_again(pair: Pair, tmp_path: Path) -> None:
    """T-058, HT-M-071, HT-M-072: nothing leaves or is encrypted; it is said; it goes on by itself."""
    pair.jihoon.send(pair.conversation, "before")
    pair.world.settle()
    pair.minji.offline()
    pair.jihoon.send(pair.conversation, "in the outbox of the copy")
    pair.jihoon.copy_to(tmp_path / "copy")
    pair.world.settle()
    pair.minji.online()
    pair.jihoon.send(pair.conversation, "after the copy")
    pair.minji.send(pair.conversation, "답장")
    pair.world.settle()
    pair.minji.offline()
    pair.jihoon.put_back(tmp_path / "copy", online=False)
    rows = pair.jihoon.engine._core.db.mls_rows(bytes.fromhex(pair.conversation))
    pair.jihoon.send(pair.conversation, "of the old copy")
    assert pair.jihoon.engine._core.db.mls_rows(bytes.fromhex(pair.conversation)) == rows, "encrypted before the check"
    sent = _watch(pair)
    pair.jihoon.online()
    pair.world.settle(120)
    assert sent == []
    assert "profile.old-copy" in pair.jihoon.alarms()
    assert pair.jihoon.engine.chats().chats[0].state == "rejoining"
    assert pair.jihoon.messages(pair.conversation)[-1].state == "queued"
    pair.minji.online()
    pair.world.settle(60)
    assert pair.jihoon.engine.chats().chats[0].state == "joined"
    everything = ["before", "in the outbox of the copy", "after the copy", "답장", "of the old copy"]
    assert sorted(pair.minji.texts(pair.conversation)) == sorted(everything)
    assert sorted(pair.jihoon.texts(pair.conversation)) == sorted(set(everything) - {"after the copy"})
    assert pair.jihoon.of(events.OwnMissing) != []
    assert not [alarm for alarm in pair.minji.alarms() if alarm.startswith("message.")]
    pair.minji.send(pair.conversation, "weiter")
    pair.jihoon.send(pair.conversation, "ja")
    pair.world.settle()
    assert pair.minji.texts(pair.conversation)[-2:] == ["weiter", "ja"] or "ja" in pair.minji.texts(pair.conversation)
    assert "weiter" in pair.jihoon.texts(pair.conversation)


def test_an_ordinary_start_is_not_held_up(pair: Pair) -> None:
    """HT-M-071: what was written offline leaves at the first start, without a timer having to run."""
    pair.jihoon.restart(online=False)
    pair.jihoon.send(pair.conversation, "written offline")
    assert pair.jihoon.messages(pair.conversation)[-1].state == "queued"
    pair.jihoon.online()
    pair.world.run()
    assert pair.minji.texts(pair.conversation) == ["written offline"]
    assert pair.jihoon.alarms() == []


def test_no_message_leaves_before_the_start_is_counted(pair: Pair) -> None:
    """HT-M-071: also none that lay in the outbox, encrypted, when the process ended."""
    pair.jihoon.offline()
    for number in range(70):
        pair.jihoon.send(pair.conversation, f"{number}")
    pair.jihoon.restart(online=False)
    order: list[str] = []

    def observe(_: object, frame: frames.ClientFrame) -> None:
        if isinstance(frame, frames.Append):
            order.append("message" if frame.entry_class is EntryClass.MESSAGE else "control")

    pair.world.relay.observers.append(observe)
    pair.jihoon.online()
    pair.world.run()
    assert order[0] == "control"
    assert order.count("message") >= 70
    assert pair.minji.texts(pair.conversation) == [f"{number}" for number in range(70)]


def test_two_copies_at_once_one_is_blocked(pair: Pair, tmp_path: Path) -> None:
    """HT-M-073: a clone is opened while the first is open: the first says so and stops; started again it rejoins."""
    pair.jihoon.copy_to(tmp_path / "clone")
    pair.world.settle()
    clone = Person(pair.world, "Jihoon", tmp_path / "clone", pair.jihoon.key)
    pair.world.join(clone)
    pair.world.settle(120)
    assert "profile.old-copy" in clone.alarms()
    assert "profile.opened-elsewhere" in pair.jihoon.alarms()
    assert pair.jihoon.engine.chats().chats[0].state == "blocked"
    sent = _watch(pair)
    pair.jihoon.send(pair.conversation, "blocked")
    pair.world.settle()
    assert sent == []
    assert pair.minji.texts(pair.conversation) == []
    clone.send(pair.conversation, "the clone goes on")
    pair.world.settle()
    assert pair.minji.texts(pair.conversation) == ["the clone goes on"]
    clone.offline()
    pair.jihoon.restart()
    pair.world.settle(120)
    assert "profile.old-copy" in pair.jihoon.alarms()
    assert sorted(pair.minji.texts(pair.conversation)) == ["blocked", "the clone goes on"]
    assert not [alarm for alarm in pair.minji.alarms() if alarm.startswith("message.")]


def test_a_relay_cannot_make_a_copy_look_old(pair: Pair) -> None:
    """HT-M-072: garbage, replayed starts, a wiped relay: nothing; only what this device sealed counts."""
    channel = pair.jihoon.engine._core.db.first(Channel, "purpose = ?", Purpose.START)
    assert channel is not None
    (first, *_) = pair.world.relay.store.read(channel.channel, after=0, entries=9, size=1 << 20)
    pair.jihoon.restart()
    pair.world.settle()
    pair.jihoon.offline()
    pair.world.relay.plant(channel.channel, first.entry, entry_class=EntryClass.CONTROL, commit=True)
    pair.world.relay.plant(channel.channel, os.urandom(512), entry_class=EntryClass.CONTROL, commit=True)
    pair.jihoon.restart()
    pair.world.settle()
    pair.world.relay.forget()
    pair.world.settle()
    pair.jihoon.online()
    pair.minji.online()
    pair.world.settle()
    assert "profile.old-copy" not in pair.jihoon.alarms()
    assert "profile.opened-elsewhere" not in pair.jihoon.alarms()
    pair.jihoon.send(pair.conversation, "noch da")
    pair.world.settle()
    assert pair.minji.texts(pair.conversation) == ["noch da"]
    assert pair.world.relay.store.read(channel.channel, after=0, entries=9, size=1 << 20), (
        "counted again on the wiped relay"
    )


def test_a_relay_that_falsely_refuses_the_start_holds_up_what_goes_there(pair: Pair) -> None:
    """HT-M-071, HT-M-074, T-021: said, a bounded number of tries; it goes on once the relay behaves."""
    pair.jihoon.restart(online=False)
    pair.jihoon.online()
    assert pair.jihoon.pipe is not None
    for _ in range(50):
        pair.jihoon.pipe.refuse("stale-turn", turn=99)
    sent = _watch(pair)
    pair.jihoon.send(pair.conversation, "late")
    pair.world.settle(70)
    assert sent == []
    assert pair.jihoon.alarms().count("relay.stale-turn") == 2
    assert pair.jihoon.messages(pair.conversation)[-1].state == "queued"
    pair.jihoon.pipe.behave()
    pair.world.settle(70)
    assert pair.minji.texts(pair.conversation) == ["late"]


def test_a_start_counts_when_it_came_back(pair: Pair) -> None:
    """HT-M-071, T-021: a relay that only says STORED lets nothing out; on the next connection it is counted again."""
    pair.jihoon.restart(online=False)
    pair.jihoon.online()
    pipe = pair.jihoon.pipe
    assert pipe is not None
    channel = pair.jihoon.engine._core.db.first(Channel, "purpose = ?", Purpose.START)
    assert channel is not None

    def swallow(frame: frames.ClientFrame) -> frames.ClientFrame | None:
        if isinstance(frame, frames.Append) and frame.commit:
            pipe.write(frames.Stored(frame.request, 1 << 20, 1 << 20))
            return None
        return frame

    pipe.rewrite_up(lambda message: [frame for frame in map(swallow, message) if frame is not None])
    pair.jihoon.send(pair.conversation, "late")
    pair.world.settle(3600)
    assert pair.minji.texts(pair.conversation) == []
    pair.jihoon.offline()
    pair.jihoon.online()
    pair.world.settle()
    assert pair.minji.texts(pair.conversation) == ["late"]


def test_a_relay_that_is_down_silences_nobody_elsewhere(pair: Pair) -> None:
    """HT-M-070, HT-M-071: starts are counted where the conversation is, whichever relay is the own one."""
    pair.jihoon.restart(online=False)
    core = pair.jihoon.engine._core
    with core.transaction():
        core.db.put_setting("relay", b"ws://127.0.0.1:9")
    pair.jihoon.online()
    pair.jihoon.send(pair.conversation, "not from there")
    pair.world.run()
    assert pair.minji.texts(pair.conversation) == ["not from there"]
    assert core.counted == {URL}


def test_t058_a_copy_is_found_old_at_each_relay_by_itself(pair: Pair, tmp_path: Path) -> None:
    """T-058, HT-M-070: neither the own relay's silence nor many starts elsewhere let it use a key again."""
    other = "ws://127.0.0.1:7711"
    relay = pair.world.relays[other] = SimulatedRelay(day=START // DAY)
    daniel = pair.world.person("Daniel", relay=other)
    pair.world.run()
    there = pair.world.befriend(daniel, pair.jihoon)
    pair.jihoon.copy_to(tmp_path / "copy")
    own = pair.world.relays.pop(URL)  # the original meets the other relay only
    pair.jihoon.restart()
    pair.world.settle()
    pair.jihoon.send(there, "of the original")
    pair.world.settle()
    pair.world.relays[URL] = own
    del pair.world.relays[other]
    pair.jihoon.put_back(tmp_path / "copy")
    for _ in range(3):  # more starts than the original counted there
        pair.jihoon.restart()
        pair.world.settle()
    pair.jihoon.send(there, "of the copy")
    assert "profile.old-copy" not in pair.jihoon.alarms()
    pair.world.relays[other] = relay
    for person in (daniel, pair.jihoon):
        person.online()
    pair.world.settle(3600)
    assert "profile.old-copy" in pair.jihoon.alarms()
    assert sorted(daniel.texts(there)) == ["of the copy", "of the original"]
    assert not [alarm for alarm in daniel.alarms() if alarm.startswith("message.")]
    assert {chat.state for chat in pair.jihoon.engine.chats().chats} == {"joined"}


def test_starts_of_strangers_do_not_parse(pair: Pair) -> None:
    """HT-M-070: what this device did not seal is nothing; what it sealed as something else neither."""
    core = pair.jihoon.engine._core
    channel = core.db.first(Channel, "purpose = ?", Purpose.START)
    assert channel is not None
    for kind, body in (
        (sealing.BodyKind.START, b"\xc1"),
        (sealing.BodyKind.START, msgspec.msgpack.encode([2, 9, bytes(16)])),
        (sealing.BodyKind.MLS, msgspec.msgpack.encode([1, 9, bytes(16)])),
    ):
        sealed = sealing.seal(
            channel.seal_key, channel.channel, entry_class=EntryClass.CONTROL, commit=True, kind=kind, body=body
        )
        pair.world.relay.plant(channel.channel, sealed, entry_class=EntryClass.CONTROL, commit=True)
    pair.jihoon.restart()
    pair.world.settle()
    assert pair.jihoon.alarms() == []
    assert starts.last(pair.jihoon.engine._core, URL).number < 9
    assert pair.jihoon.engine._core.db.first(Outgoing, "kind = ?", OutboxKind.START) is None
    assert URL in pair.jihoon.pipes
