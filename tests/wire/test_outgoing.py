"""Messages are cut where HT-R-010 says."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hanatalk.wire import frames
from hanatalk.wire.frames import MESSAGE_SIZE, Taken
from hanatalk.wire.outgoing import Outgoing, frame_size


def test_nothing_waits_nothing_is_sent() -> None:
    outgoing = Outgoing()
    assert outgoing.drain() == []
    outgoing.add(frames.Pong(1), 10)
    outgoing.clear()
    assert outgoing.drain() == []
    assert outgoing.size == 0


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([1, 500, 40_000, 65_536]), min_size=1, max_size=60))
def test_large_frames_are_spread_over_messages_in_order(sizes: list[int]) -> None:
    """HT-R-010"""
    outgoing = Outgoing()
    sent = [Taken(index + 1, 1, bytes(size)) for index, size in enumerate(sizes)]
    for frame in sent:
        outgoing.add(frame, frame_size(frame))
    messages = outgoing.drain()
    assert all(len(message) <= MESSAGE_SIZE for message in messages)
    assert [frame for message in messages for frame in frames.decode_relay_frames(message)] == sent
    assert len(outgoing) == 0


def test_many_small_frames_are_spread_over_messages() -> None:
    """HT-R-010: 4,096 frames a message."""
    outgoing = Outgoing()
    for number in range(10_000):
        outgoing.add(frames.Pong(number), 16)
    messages = outgoing.drain()
    assert [len(frames.decode_relay_frames(message)) for message in messages] == [4096, 4096, 10_000 - 8192]


def test_a_smaller_limit_is_kept() -> None:
    """HT-R-022: a relay may announce a smaller message."""
    outgoing = Outgoing()
    for number in range(10):
        frame = Taken(number + 1, 1, bytes(60_000))
        outgoing.add(frame, frame_size(frame))
    assert all(len(message) <= 131_072 for message in outgoing.drain(131_072))
