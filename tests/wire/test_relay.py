"""The relay's end of a connection: order of frames, and what it says at the end."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wire.samples import ANSWERS, CHALLENGE, PROOF, REQUESTS, client_frames

from hanatalk.errors import WireError
from hanatalk.wire import frames
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.refusals import RefusalCode
from hanatalk.wire.relay import RelayConnection
from hanatalk.wire.states import State

HELLO = frames.Hello(versions=[1])


def said(connection: RelayConnection) -> list[frames.RelayFrame]:
    return [frame for message in connection.messages_to_send() for frame in frames.decode_relay_frames(message)]


def ending(*sent: frames.Frame) -> str:
    """The code with which these frames, one message each, end a connection."""
    connection = RelayConnection()
    with pytest.raises(WireError) as caught:
        for frame in sent:
            connection.receive(frames.encode([frame]))
    assert connection.state is State.CLOSED
    last = said(connection)[-1]
    assert isinstance(last, frames.Refused)
    assert last.request is None
    assert caught.value.code == f"wire.{last.code}"
    return last.code


def test_requests_come_out_in_order() -> None:
    connection = RelayConnection()
    assert connection.receive(frames.encode(REQUESTS)) == REQUESTS
    assert connection.state is State.OPEN
    assert connection.messages_to_send() == []


@pytest.mark.parametrize("frame", REQUESTS[1:], ids=lambda frame: type(frame).__name__)
def test_hello_comes_first(frame: frames.Frame) -> None:
    """HT-R-013"""
    assert ending(frame) == "hello-first"


def test_hello_comes_once() -> None:
    """HT-R-013"""
    assert ending(HELLO, HELLO) == "hello-twice"


def test_nothing_is_heard_between_hello_and_proof() -> None:
    """HT-R-121, T-078: whatever comes before PROOF is dropped, and its request numbers are free again."""
    connection = RelayConnection(challenged=True)
    assert connection.receive(frames.encode(REQUESTS)) == [HELLO]
    connection.answer(CHALLENGE)
    assert connection.receive(frames.encode(REQUESTS[1:])) == []
    assert connection.state is State.CHALLENGED
    again = [REQUESTS[1], PROOF, *REQUESTS[1:]]
    assert connection.receive(frames.encode(again)) == [PROOF, *REQUESTS[1:]]
    assert connection.state is State.OPEN


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ([PROOF], "hello-first"),
        ([HELLO, HELLO], "hello-twice"),
        ([HELLO, PROOF, PROOF], "hello-twice"),
        ([HELLO, PROOF, HELLO], "hello-twice"),
    ],
)
def test_a_challenged_connection_begins_in_one_way_only(sent: list[frames.Frame], code: str) -> None:
    """HT-R-013, HT-R-123"""
    for messages in ([[frame] for frame in sent], [sent]):
        connection = RelayConnection(challenged=True)
        with pytest.raises(WireError, match=f"wire.{code}"):
            for message in messages:
                connection.receive(frames.encode(message))
        assert connection.state is State.CLOSED


def test_a_proof_that_nobody_asked_for_ends() -> None:
    """HT-R-123"""
    assert ending(HELLO, PROOF) == "hello-twice"


@pytest.mark.parametrize(("first", "second"), [(5, 5), (5, 4), (2**53 - 1, 1)])
def test_request_numbers_grow(first: int, second: int) -> None:
    """HT-R-014"""
    assert ending(HELLO, frames.Receipt(first, 1, 0), frames.Take(second, 1, bytes(16))) == "request-order"


def test_one_bad_frame_voids_its_whole_message() -> None:
    """HT-R-012: the good frames of a bad message have no effect."""
    connection = RelayConnection()
    connection.receive(frames.encode([HELLO]))
    message = frames.encode([frames.Receipt(1, 1, 0), frames.Receipt(1, 1, 0)])
    with pytest.raises(WireError, match="request-order"):
        connection.receive(message)


def test_garbage_ends_the_connection() -> None:
    """HT-R-012, HT-R-017"""
    connection = RelayConnection()
    with pytest.raises(WireError, match=r"wire\.malformed"):
        connection.receive(b"GET / HTTP/1.1")
    assert said(connection) == [frames.Refused(None, "malformed", None, "")]
    with pytest.raises(WireError, match=r"wire\.closed"):
        connection.receive(frames.encode([HELLO]))
    assert connection.messages_to_send() == []


def test_too_large_a_message_ends_the_connection() -> None:
    """HT-R-010, T-076"""
    connection = RelayConnection()
    with pytest.raises(WireError, match=r"wire\.too-large"):
        connection.receive(bytes((1 << 20) + 1))
    assert said(connection) == [frames.Refused(None, "too-large", None, "")]


def test_the_last_words_come_after_what_was_answered_and_once() -> None:
    """HT-R-017"""
    connection = RelayConnection()
    connection.receive(frames.encode([HELLO]))
    connection.stored(7, 1, 0)
    connection.end(RefusalCode.DRAINING)
    connection.end(RefusalCode.BUSY)
    assert said(connection) == [frames.Stored(7, 1, 0), frames.Refused(None, "draining", None, "")]


def test_handles_count_up() -> None:
    """HT-R-015"""
    connection = RelayConnection()
    given_out = [
        connection.opened(request, incarnation=bytes(16), head=0, turn=0, refused_takes=0) for request in (1, 2, 9)
    ]
    assert given_out == [1, 2, 3]
    assert [frame.handle for frame in said(connection) if isinstance(frame, frames.Opened)] == [1, 2, 3]


def test_answers_share_a_message() -> None:
    connection = RelayConnection()
    for answer in ANSWERS[:3]:
        connection.answer(answer)
    connection.refuse(4, RefusalCode.STALE_TURN, turn=3)
    (message,) = connection.messages_to_send()
    assert frames.decode_relay_frames(message) == [*ANSWERS[:3], frames.Refused(4, "stale-turn", 3, "")]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), st.lists(client_frames, min_size=1, max_size=3)), max_size=5))
def test_whatever_comes_it_is_requests_or_a_wire_error(sent: list[bytes | list[frames.ClientFrame]]) -> None:
    """T-019: and afterwards the connection is either as before or closed with exactly one last word."""
    connection = RelayConnection()
    for each in sent:
        before = connection.state
        try:
            connection.receive(each if isinstance(each, bytes) else frames.encode(each))
        except WireError:
            assert connection.state is State.CLOSED
            assert len(said(connection)) == (1 if before is not State.CLOSED else 0)


def test_waiting_size_bounds_what_waits() -> None:
    """HT-R-055: pushing stops by this figure."""
    connection = RelayConnection()
    encoded = frames.encode_entries([frames.PushedEntry(1, 0, EntryClass.MESSAGE, False, bytes(1000))])
    connection.push(frames.SharedEntries(1, msgspec.Raw(encoded)), len(encoded))
    connection.stored(1, 1, 1)
    size = connection.waiting_size
    assert size >= sum(map(len, connection.messages_to_send()))
    assert connection.waiting_size == 0
