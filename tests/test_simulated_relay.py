"""The simulated relay misbehaves as told, and only then: each fault as a client's wire sees it."""

import os

import msgspec
import pytest
from tests.simulated_relay import Pipe, SimulatedRelay

from hanatalk.errors import WireError
from hanatalk.ids import EntryId, ReadToken, WriteToken
from hanatalk.wire import channels, events, frames
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection
from hanatalk.wire.events import Event

READ, WRITE = ReadToken(b"r" * 32), WriteToken(b"w" * 32)
CHANNEL = channels.channel_id(READ, WRITE)


def client(relay: SimulatedRelay) -> tuple[ClientConnection, Pipe]:
    connection = ClientConnection()
    pipe = relay.connect(connection)
    connection.open(CHANNEL, read=READ, write=WRITE)
    connection.subscribe(CHANNEL, 0)
    pipe.pump()
    return connection, pipe


def append(connection: ClientConnection, pipe: Pipe, *entries: bytes) -> list[Event]:
    for entry in entries:
        connection.append(CHANNEL, entry_id=EntryId(os.urandom(16)), entry_class=EntryClass.MESSAGE, entry=entry)
    return pipe.pump()


def entries(pipe: Pipe) -> list[bytes]:
    return [event.entry for event in pipe.pump() if isinstance(event, events.EntryReceived)]


@pytest.fixture
def relay() -> SimulatedRelay:
    return SimulatedRelay()


def test_without_faults_bytes_pass(relay: SimulatedRelay) -> None:
    (a, a_pipe), (_, b_pipe) = client(relay), client(relay)
    append(a, a_pipe, b"one", b"two")
    assert entries(b_pipe) == [b"one", b"two"]


def test_replayed(relay: SimulatedRelay) -> None:
    """T-011: the wire reports it again; to show it once is the engine's."""
    (a, a_pipe), (_, b_pipe) = client(relay), client(relay)
    append(a, a_pipe, b"one", b"two")
    assert entries(b_pipe) == [b"one", b"two"]
    b_pipe.replay(lambda entry: entry.seq == 1)
    assert entries(b_pipe) == [b"one"]


def test_reordered(relay: SimulatedRelay) -> None:
    """T-012: seqs come as the relay pleases."""
    (a, a_pipe), (_, b_pipe) = client(relay), client(relay)
    b_pipe.hold()
    for entry in (b"one", b"two", b"three"):
        append(a, a_pipe, entry)
    assert entries(b_pipe) == []
    b_pipe.release(lambda held: held[::-1])
    assert entries(b_pipe) == [b"three", b"two", b"one"]


def test_withheld(relay: SimulatedRelay) -> None:
    """T-013, T-014: nothing on the wire tells, not even CAUGHT_UP."""
    (a, a_pipe), (b, b_pipe) = client(relay), client(relay)
    b_pipe.withhold(lambda entry: entry.seq == 2)
    append(a, a_pipe, b"one", b"two", b"three")
    assert entries(b_pipe) == [b"one", b"three"]
    b.subscribe(CHANNEL, 1)
    assert [event for event in b_pipe.pump() if isinstance(event, events.CaughtUp)] == [events.CaughtUp(CHANNEL, 3)]
    b_pipe.behave()
    b.subscribe(CHANNEL, 0)
    assert entries(b_pipe) == [b"one", b"two", b"three"]


def test_altered_and_flipped(relay: SimulatedRelay) -> None:
    """T-019"""
    (a, a_pipe), (_, b_pipe) = client(relay), client(relay)
    b_pipe.alter(lambda entry: msgspec.structs.replace(entry, entry=b"forged"))
    append(a, a_pipe, b"one")
    assert entries(b_pipe) == [b"forged"]
    b_pipe.behave()
    b_pipe.flip(0)
    append(a, a_pipe, b"two")
    with pytest.raises(WireError):
        b_pipe.pump()
    assert b_pipe.dropped


def test_falsely_refused(relay: SimulatedRelay) -> None:
    """T-021: the relay never saw it."""
    a, a_pipe = client(relay)
    a_pipe.refuse("stale-turn", turn=7)
    (refused,) = append(a, a_pipe, b"one")
    assert isinstance(refused, events.Refused)
    assert (refused.code, refused.turn) == ("stale-turn", 7)
    assert relay.store.channel(CHANNEL) is None
    assert len(append(a, a_pipe, b"two")) == 2


def test_forgotten_and_gone_back(relay: SimulatedRelay) -> None:
    """T-024: another incarnation; the same one with a lower head."""

    def opened() -> events.ChannelOpened:
        connection = ClientConnection()
        pipe = relay.connect(connection)
        connection.open(CHANNEL, read=READ, write=WRITE)
        found = pipe.pump()[-1]
        assert isinstance(found, events.ChannelOpened)
        return found

    a, a_pipe = client(relay)
    append(a, a_pipe, b"one")
    yesterday, before = relay.snapshot(), opened()
    append(a, a_pipe, b"two")
    relay.go_back(yesterday)
    assert a_pipe.dropped
    assert opened() == before
    relay.forget()
    assert opened().head == 0
    assert opened().incarnation != before.incarnation


def test_injected_by_the_relay(relay: SimulatedRelay) -> None:
    """T-016: it may put anything into a channel, with any class."""
    seq = relay.plant(CHANNEL, b"from nobody", entry_class=EntryClass.CONTROL, commit=True)
    _, pipe = client(relay)
    again = relay.pipes[pipe._peer].received
    pushed = [frame for message in again for frame in frames.decode_relay_frames(message)]
    assert any(isinstance(frame, frames.Entries) and frame.entries[0].seq == seq for frame in pushed)
