"""The client's end of a connection against answers written by hand: also the ones no honest relay gives."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wire.samples import LIMITS, relay_frames

from hanatalk.errors import UsageError, WireError
from hanatalk.ids import ChannelId, EntryId, Incarnation, ReaderId, RelayKey, TakeId
from hanatalk.wire import events, frames, proofs
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection
from hanatalk.wire.events import Event
from hanatalk.wire.states import State

CHANNEL = ChannelId(b"c" * 32)
OTHER = ChannelId(b"d" * 32)
ENTRY = EntryId(b"e" * 16)
INCARNATION = Incarnation(b"i" * 16)


def asked(connection: ClientConnection) -> list[frames.ClientFrame]:
    return [frame for message in connection.messages_to_send() for frame in frames.decode_client_frames(message)]


def tell(connection: ClientConnection, *answers: frames.Frame) -> list[Event]:
    return connection.receive(frames.encode(answers))


def opened(channel_id: ChannelId = CHANNEL) -> ClientConnection:
    """A connection with one open channel (handle 1, request 1), nothing waiting."""
    connection = ClientConnection()
    connection.open(channel_id, read=bytes(32), write=bytes(32))
    asked(connection)
    tell(connection, LIMITS, frames.Opened(1, 1, INCARNATION, 0, 0, 0))
    return connection


def append(connection: ClientConnection, entry_id: EntryId = ENTRY, **changes: Any) -> None:
    connection.append(CHANNEL, entry_id=entry_id, entry_class=EntryClass.MESSAGE, entry=b"entry", **changes)


def test_hello_goes_out_first() -> None:
    """HT-R-013"""
    connection = ClientConnection()
    connection.open(CHANNEL, read=b"r" * 32, write=b"w" * 32, write_is_token=False)
    assert asked(connection) == [
        frames.Hello([1]),
        frames.Open(1, CHANNEL, b"r" * 32, True, b"w" * 32, False),
    ]


CHALLENGE = frames.Challenge(b"q" * 32, True, 0, LIMITS.signing_key)
PASS = b"a pass to share with friends"


def test_a_challenge_is_answered_and_everything_said_again() -> None:
    """HT-R-120, HT-R-121: what went out with HELLO goes out again after PROOF, and what comes then follows."""
    connection = ClientConnection(access_pass=PASS)
    connection.open(CHANNEL, read=bytes(32), write=bytes(32))
    connection.ping()
    hello, *early = asked(connection)
    assert hello == frames.Hello([1])
    connection.open(OTHER, read=bytes(32), write=bytes(32))
    assert tell(connection, CHALLENGE) == []
    proof, *again = asked(connection)
    expected = proofs.access_proof(PASS, challenge=b"q" * 32, relay_key=LIMITS.signing_key)
    assert proof == frames.Proof(expected, None)
    assert again[:2] == early
    assert [frame.request for frame in again if isinstance(frame, frames.Open)] == [1, 2]
    connection.ping()
    assert asked(connection) == [frames.Ping(2)]
    answers = tell(connection, LIMITS, frames.Opened(1, 1, INCARNATION, 0, 0, 0), frames.Pong(1))
    assert [type(event) for event in answers] == [events.HelloAnswered, events.ChannelOpened, events.Pong]


def test_the_pass_is_never_sent() -> None:
    """HT-R-021: neither to a relay that asks nor to one that does not."""
    for answers in ([CHALLENGE, LIMITS], [LIMITS]):
        connection = ClientConnection(access_pass=PASS)
        sent = b"".join(connection.messages_to_send())
        for answer in answers:
            tell(connection, answer)
            sent += b"".join(connection.messages_to_send())
        assert PASS not in sent


def test_who_has_no_pass_says_so_to_itself() -> None:
    """HT-R-125"""
    connection = ClientConnection()
    (refused,) = tell(connection, CHALLENGE)
    assert isinstance(refused, events.Refused)
    assert (refused.code, refused.channel_id, refused.operation) == ("access-pass-needed", None, "connection")
    assert connection.state is State.CLOSED
    assert asked(connection) == []


def test_work_is_done_in_steps_and_nothing_is_said_meanwhile() -> None:
    """HT-R-122"""
    connection = ClientConnection()
    asked(connection)
    challenge = frames.Challenge(b"q" * 32, False, 10, LIMITS.signing_key)
    tell(connection, challenge)
    connection.open(CHANNEL, read=bytes(32), write=bytes(32))
    steps = 0
    while connection.working:
        assert asked(connection) == []
        connection.work(64)
        steps += 1
    assert 1 < steps < 1000
    proof, opening = asked(connection)
    assert isinstance(proof, frames.Proof)
    assert proof.access is None
    assert proof.nonce is not None
    assert proofs.is_worked(proof.nonce, challenge=b"q" * 32, relay_key=LIMITS.signing_key, work=10)
    assert isinstance(opening, frames.Open)
    connection.work(64)
    assert asked(connection) == []


@pytest.mark.parametrize("work", [23, 64, 2**53])
def test_absurd_work_is_refused(work: int) -> None:
    """HT-R-122"""
    connection = ClientConnection()
    with pytest.raises(WireError, match=r"wire\.malformed"):
        connection.receive(msgspec.msgpack.encode([[43, b"q" * 32, False, work, bytes(32)]]))


@pytest.mark.parametrize(
    ("challenge", "answer", "code"),
    [
        (CHALLENGE, msgspec.structs.replace(LIMITS, signing_key=b"m" * 32), "unexpected-answer"),
        (msgspec.structs.replace(CHALLENGE, work=22), LIMITS, "unexpected-answer"),  # taken back before it was done
        (CHALLENGE, CHALLENGE, "hello-twice"),
        (CHALLENGE, frames.Pong(1), "hello-first"),
    ],
)
def test_after_a_challenge_come_the_terms_of_the_same_relay(
    challenge: frames.Frame, answer: frames.Frame, code: str
) -> None:
    """HT-R-123, T-078"""
    connection = ClientConnection(access_pass=PASS)
    tell(connection, challenge)
    with pytest.raises(WireError, match=f"wire.{code}"):
        tell(connection, answer)


def test_hello_answered() -> None:
    """HT-R-022"""
    connection = ClientConnection()
    assert connection.state.name == "AWAITING_HELLO"
    assert tell(connection, LIMITS) == [
        events.HelloAnswered(LIMITS.limits, LIMITS.retention, "", RelayKey(LIMITS.signing_key))
    ]
    assert connection.state is State.OPEN


def test_another_version_is_refused() -> None:
    """HT-R-020"""
    with pytest.raises(WireError, match=r"wire\.version"):
        tell(ClientConnection(), msgspec.structs.replace(LIMITS, version=2))


def test_calls_wait_for_opened_and_keep_their_order() -> None:
    connection = ClientConnection()
    connection.open(CHANNEL, read=bytes(32), write=bytes(32))
    connection.subscribe(CHANNEL, 5)
    append(connection, turn=3)
    connection.acknowledge(CHANNEL, reader=ReaderId(b"r" * 16), seq=4)
    connection.take(CHANNEL, TakeId(b"t" * 16))
    connection.receipt(CHANNEL, 2)
    connection.erase(CHANNEL, seq=1, erase_token=b"x" * 32)
    assert len(asked(connection)) == 2  # HELLO and OPEN
    assert not connection.is_open(CHANNEL)
    reported = tell(connection, LIMITS, frames.Opened(1, 1, INCARNATION, 9, 3, 2))
    assert reported[1] == events.ChannelOpened(CHANNEL, INCARNATION, 9, 3, 2)
    assert connection.is_open(CHANNEL)
    assert asked(connection) == [
        frames.Subscribe(1, 5),
        frames.Append(2, 1, ENTRY, EntryClass.MESSAGE, False, 3, None, None, b"entry"),
        frames.Ack(1, b"r" * 16, 4),
        frames.Take(3, 1, b"t" * 16),
        frames.Receipt(4, 1, 2),
        frames.Erase(5, 1, 1, b"x" * 32),
    ]
    assert tell(
        connection,
        frames.Erased(5),
        frames.ReceiptSigned(4, 2, b"h" * 32, b"s" * 64),
        frames.Taken(3, 7, b"taken"),
        frames.Stored(2, 10, 3),
    ) == [
        events.EntryErased(CHANNEL, 1),
        events.ReceiptSigned(CHANNEL, 2, b"h" * 32, b"s" * 64),
        events.EntryTaken(CHANNEL, TakeId(b"t" * 16), 7, b"taken"),
        events.EntryStored(CHANNEL, ENTRY, 10, 3),
    ]


def test_pushed_entries_are_reported_as_they_come() -> None:
    """HT-R-050: repeated, reordered, from the past: the engine judges, not the wire (T-011, T-012)."""
    connection = opened()
    pushed = [
        frames.PushedEntry(seq, 0, EntryClass.CONTROL, seq == 3, b"entry %d" % seq) for seq in (3, 1, 1, 2**53 - 1)
    ]
    assert tell(connection, frames.Entries(1, pushed), frames.CaughtUp(1, 4)) == [
        *(events.EntryReceived(CHANNEL, e.seq, 0, EntryClass.CONTROL, e.commit, e.entry) for e in pushed),
        events.CaughtUp(CHANNEL, 4),
    ]


def test_a_stale_turn_names_the_entry_and_the_turn() -> None:
    """HT-R-045"""
    connection = opened()
    append(connection, turn=3)
    assert tell(connection, frames.Refused(2, "stale-turn", 5, "")) == [
        events.Refused(CHANNEL, ENTRY, "stale-turn", 5, "", "append")
    ]


def test_a_refused_open_refuses_what_waited_for_it() -> None:
    connection = ClientConnection()
    connection.open(CHANNEL, read=bytes(32), write=bytes(32))
    connection.subscribe(CHANNEL, 0)
    append(connection)
    reported = tell(connection, LIMITS, frames.Refused(1, "too-many-channels", None, "later"))
    assert reported[1:] == [
        events.Refused(CHANNEL, None, "too-many-channels", None, "later", "open"),
        events.Refused(CHANNEL, ENTRY, "too-many-channels", None, "later", "append"),
    ]
    connection.open(CHANNEL, read=bytes(32), write=bytes(32))  # and it may be tried again


def test_a_refusal_without_a_request_ends_the_connection() -> None:
    """HT-R-017"""
    connection = opened()
    assert tell(connection, frames.Refused(None, "draining", None, "")) == [
        events.Refused(None, None, "draining", None, "", "connection")
    ]
    assert connection.state is State.CLOSED
    assert connection.messages_to_send() == []
    with pytest.raises(WireError, match=r"wire\.closed"):
        tell(connection, frames.Pong(1))


def test_an_unknown_code_is_a_refusal() -> None:
    """HT-R-080"""
    connection = opened()
    append(connection)
    (refused,) = tell(connection, frames.Refused(2, "a-code-of-next-year", None, ""))
    assert isinstance(refused, events.Refused)
    assert refused.code == "a-code-of-next-year"


@pytest.mark.parametrize(
    "answer",
    [
        frames.Stored(1, 1, 0),  # the request was an OPEN
        frames.Stored(99, 1, 0),
        frames.Opened(2, 2, INCARNATION, 0, 0, 0),  # the request was an APPEND
        frames.Opened(99, 2, INCARNATION, 0, 0, 0),
        frames.Taken(2, None, None),
        frames.Erased(2),
        frames.ReceiptSigned(2, 1, bytes(32), bytes(64)),
        frames.Refused(99, "fields", None, ""),
        frames.Pong(1),
        frames.Pong(0),
    ],
    ids=repr,
)
def test_an_answer_that_was_not_asked_for_ends_the_connection(answer: frames.Frame) -> None:
    """HT-R-016"""
    connection = opened()
    append(connection)
    with pytest.raises(WireError, match=r"wire\.unexpected-answer"):
        tell(connection, answer)
    assert connection.state is State.CLOSED


def test_an_answer_comes_once() -> None:
    """HT-R-016, T-011"""
    connection = opened()
    append(connection)
    tell(connection, frames.Stored(2, 1, 0))
    with pytest.raises(WireError, match="unexpected-answer"):
        tell(connection, frames.Stored(2, 1, 0))


def test_a_receipt_for_another_seq_ends_the_connection() -> None:
    """HT-R-060"""
    connection = opened()
    connection.receipt(CHANNEL, 4)
    with pytest.raises(WireError, match="unexpected-answer"):
        tell(connection, frames.ReceiptSigned(2, 5, bytes(32), bytes(64)))


@pytest.mark.parametrize("taken", [frames.Taken(2, 1, None), frames.Taken(2, None, b"entry")], ids=repr)
def test_half_a_take_is_malformed(taken: frames.Taken) -> None:
    """HT-R-053"""
    connection = opened()
    connection.take(CHANNEL, TakeId(bytes(16)))
    with pytest.raises(WireError, match="malformed"):
        tell(connection, taken)


@pytest.mark.parametrize("handle", [2, 99])
def test_a_push_to_an_unknown_handle_ends_the_connection(handle: int) -> None:
    """HT-R-015"""
    with pytest.raises(WireError, match="unknown-handle"):
        tell(opened(), frames.CaughtUp(handle, 0))


@pytest.mark.parametrize("handle", [1, 3])
def test_a_handle_out_of_order_ends_the_connection(handle: int) -> None:
    """HT-R-015"""
    connection = opened()
    connection.open(OTHER, read=bytes(32), write=bytes(32))
    with pytest.raises(WireError, match="unknown-handle"):
        tell(connection, frames.Opened(2, handle, INCARNATION, 0, 0, 0))


def test_pushes_that_cross_a_close_are_ignored() -> None:
    """HT-R-016, HT-R-033"""
    connection = opened()
    append(connection)
    connection.close(CHANNEL)
    assert asked(connection)[-1] == frames.Close(1)
    assert not connection.is_open(CHANNEL)
    pushed = frames.Entries(1, [frames.PushedEntry(1, 0, EntryClass.MESSAGE, False, b"entry")])
    assert tell(connection, pushed, frames.CaughtUp(1, 1)) == []
    assert tell(connection, frames.Stored(2, 1, 0)) == [events.EntryStored(CHANNEL, ENTRY, 1, 0)]


def test_closing_before_opened_closes_once_it_came() -> None:
    """HT-R-033"""
    connection = ClientConnection()
    connection.open(CHANNEL, read=bytes(32), write=bytes(32))
    append(connection)
    connection.close(CHANNEL)
    asked(connection)
    assert len(tell(connection, LIMITS, frames.Opened(1, 1, INCARNATION, 0, 0, 0))) == 1
    assert [type(frame) for frame in asked(connection)] == [frames.Append, frames.Close]


def test_a_channel_may_be_closed_and_opened_again() -> None:
    connection = opened()
    connection.close(CHANNEL)
    connection.open(CHANNEL, read=bytes(32), write=bytes(32))
    tell(connection, frames.Opened(2, 2, INCARNATION, 1, 0, 0))
    append(connection)
    assert asked(connection)[-1] == frames.Append(3, 2, ENTRY, EntryClass.MESSAGE, False, None, None, None, b"entry")


def test_ping_and_pong() -> None:
    """HT-R-019"""
    connection = opened()
    connection.ping()
    connection.ping()
    assert asked(connection) == [frames.Ping(1), frames.Ping(2)]
    assert tell(connection, frames.Pong(1)) == [events.Pong(1)]
    with pytest.raises(WireError):
        tell(connection, frames.Pong(1))


def test_our_own_mistakes_are_usage_errors() -> None:
    connection = ClientConnection()
    with pytest.raises(UsageError, match=r"wire\.channel-not-open"):
        append(connection)
    with pytest.raises(UsageError, match=r"wire\.channel-not-open"):
        connection.close(CHANNEL)
    connection.open(CHANNEL, read=bytes(32), write=bytes(32))
    with pytest.raises(UsageError, match=r"wire\.channel-already-open"):
        connection.open(CHANNEL, read=bytes(32), write=bytes(32))
    for size in (0, 65_537):
        with pytest.raises(UsageError, match=r"wire\.entry-size"):
            connection.append(CHANNEL, entry_id=ENTRY, entry_class=EntryClass.MESSAGE, entry=bytes(size))


def test_large_uploads_are_cut_into_messages() -> None:
    """HT-R-010"""
    connection = opened()
    for number in range(40):
        append_large = {"entry_class": EntryClass.ATTACHMENT, "entry": bytes(65_536)}
        connection.append(CHANNEL, entry_id=EntryId(number.to_bytes(16, "big")), **append_large)  # type: ignore[arg-type]
    messages = connection.messages_to_send()
    assert all(len(message) <= 1 << 20 for message in messages)
    assert sum(len(frames.decode_client_frames(message)) for message in messages) == 40


def test_a_relays_smaller_message_limit_is_kept() -> None:
    """HT-R-022"""
    connection = ClientConnection()
    connection.open(CHANNEL, read=bytes(32), write=bytes(32))
    small = msgspec.structs.replace(LIMITS, limits=msgspec.structs.replace(LIMITS.limits, message_size=200_000))
    asked(connection)
    tell(connection, small, frames.Opened(1, 1, INCARNATION, 0, 0, 0))
    for number in range(10):
        connection.append(
            CHANNEL,
            entry_id=EntryId(number.to_bytes(16, "big")),
            entry_class=EntryClass.ATTACHMENT,
            entry=bytes(60_000),
        )
    assert all(len(message) <= 200_000 for message in connection.messages_to_send())


def test_a_bad_frame_voids_its_message_and_the_connection() -> None:
    """T-019: nothing of the message is reported, nothing changes afterwards."""
    connection = opened()
    append(connection)
    asked(connection)
    with pytest.raises(WireError):
        tell(connection, frames.Stored(2, 1, 0), frames.Stored(3, 1, 0))
    assert connection.state is State.CLOSED
    assert connection.messages_to_send() == []


def test_every_flipped_byte_of_an_answer_is_reported_or_refused() -> None:
    """T-019: the wire raises WireError or reports; what the entry holds is the engine's to verify."""
    answers = frames.encode(
        [
            LIMITS,
            frames.Opened(1, 1, INCARNATION, 3, 1, 0),
            frames.Entries(1, [frames.PushedEntry(1, 0, EntryClass.CONTROL, True, b"opaque")]),
            frames.CaughtUp(1, 3),
        ]
    )
    for position in range(len(answers)):
        for change in (0x01, 0x80, 0xFF):
            connection = ClientConnection()
            connection.open(CHANNEL, read=bytes(32), write=bytes(32))
            changed = bytearray(answers)
            changed[position] ^= change
            try:
                reported = connection.receive(bytes(changed))
            except WireError:
                assert connection.state is State.CLOSED
            else:
                assert all(isinstance(event, Event) for event in reported)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), st.lists(relay_frames, min_size=1, max_size=3)), max_size=4))
def test_whatever_comes_it_is_events_or_a_wire_error(sent: list[bytes | list[frames.RelayFrame]]) -> None:
    """T-019"""
    connection = opened()
    for number in range(3):
        append(connection, EntryId(bytes([number]) * 16))
    connection.take(CHANNEL, TakeId(bytes(16)))
    connection.ping()
    for each in sent:
        try:
            reported = connection.receive(each if isinstance(each, bytes) else frames.encode(each))
        except WireError:
            assert connection.state is State.CLOSED
        else:
            assert all(isinstance(event, Event) for event in reported)


def test_events_do_not_print_what_they_carry() -> None:
    """Entries never reach a log through a repr."""
    secret = b"opaque ciphertext"
    received = events.EntryReceived(CHANNEL, 1, 0, EntryClass.MESSAGE, False, secret)
    taken = events.EntryTaken(CHANNEL, TakeId(bytes(16)), 1, secret)
    assert "opaque" not in repr(received) + repr(taken)
