"""The relay without sockets: what clients of it observe, through real connections on both ends."""

import os
from collections.abc import Sequence

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tests.simulated_relay import Pipe, SimulatedRelay

from hanatalk.errors import StorageError, WireError
from hanatalk.ids import ChannelId, EntryId, ReaderId, ReadToken, TakeId, WriteToken
from hanatalk.relay.core import RelayCore, Terms
from hanatalk.relay.policy import Limits
from hanatalk.stores.interface import Acknowledge, Append, Operation, Quota, Result, Retention, StoredEntry
from hanatalk.stores.memory import MemoryStore
from hanatalk.wire import channels, events, frames
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection
from hanatalk.wire.events import Event

READ, WRITE = ReadToken(b"r" * 32), WriteToken(b"w" * 32)
R, W = channels.read_verifier(READ), channels.write_verifier(WRITE)
CHANNEL = channels.channel_id(READ, WRITE)


class Client:
    """One connection to a simulated relay."""

    def __init__(self, relay: SimulatedRelay, *, open_channel: bool = True, address: bytes | None = None) -> None:
        self.connection = ClientConnection()
        self.pipe: Pipe = relay.connect(self.connection, address=address)
        if open_channel:
            self.connection.open(CHANNEL, read=READ, write=WRITE)
            self.pipe.pump()

    def append(self, entry: bytes = b"entry", **fields: object) -> EntryId:
        entry_id = fields.pop("entry_id", None) or EntryId(os.urandom(16))
        fields.setdefault("entry_class", EntryClass.MESSAGE)
        self.connection.append(CHANNEL, entry_id=entry_id, entry=entry, **fields)  # type: ignore[arg-type]
        return entry_id  # type: ignore[return-value]

    def pump(self) -> list[Event]:
        return self.pipe.pump()

    def received(self) -> list[bytes]:
        return [event.entry for event in self.pump() if isinstance(event, events.EntryReceived)]


def codes(reported: Sequence[Event]) -> list[str]:
    return [event.code for event in reported if isinstance(event, events.Refused)]


@pytest.fixture
def relay() -> SimulatedRelay:
    return SimulatedRelay()


def test_hello_says_the_terms() -> None:
    """HT-R-022, HT-R-070"""
    terms = Terms(limits=Limits(entry_size=4096), retention=Retention(message_days=2), policy="be kind")
    relay = SimulatedRelay(terms=terms)
    (answered,) = Client(relay, open_channel=False).pump()
    assert isinstance(answered, events.HelloAnswered)
    assert (answered.limits.entry_size, answered.retention.message, answered.policy) == (4096, 2, "be kind")
    assert answered.relay_key == relay.relay_key


PASS = b"open sesame, please"


@pytest.mark.parametrize(
    ("given", "code"), [(PASS, None), (b"open barley, please", "access-pass"), (None, "access-pass-needed")]
)
def test_an_access_pass_is_asked_for(given: bytes | None, code: str | None) -> None:
    """HT-R-021, HT-R-120, HT-R-123: the channel opens with the pass, and only with it."""
    relay = SimulatedRelay(terms=Terms(access_pass=PASS))
    connection = ClientConnection(access_pass=given)
    pipe = relay.connect(connection)
    connection.open(CHANNEL, read=READ, write=WRITE)
    connection.append(CHANNEL, entry_id=EntryId(bytes(16)), entry_class=EntryClass.MESSAGE, entry=b"entry")
    reported = pipe.pump()
    assert codes(reported) == ([] if code is None else [code])
    assert connection.is_open(CHANNEL) is (code is None)
    assert (relay.core._store.channel(CHANNEL) is not None) is (code is None)
    assert "sesame" not in repr(relay.terms)
    assert PASS not in b"".join(pipe.sent)


@pytest.mark.parametrize(
    "terms",
    [Terms(access_pass=PASS), Terms(limits=Limits(work=8, work_from=0))],
    ids=["pass", "work"],
)
def test_a_recorded_proof_opens_nothing_on_another_connection(terms: Terms) -> None:
    """T-078, HT-R-123: every message of somebody who was let in, played again: to this relay and to its twin."""
    relay = SimulatedRelay(terms=terms)
    connection = ClientConnection(access_pass=PASS)
    pipe = relay.connect(connection)
    connection.open(CHANNEL, read=READ, write=WRITE)
    while not connection.is_open(CHANNEL):
        pipe.pump()
        connection.work(1 << 20)
    assert len(pipe.sent) == 2
    for elsewhere in (relay, SimulatedRelay(terms=terms)):
        for played in (pipe.sent, [b"".join([b"\x92", *(message[1:] for message in hello_and_proof(pipe.sent))])]):
            thief = elsewhere.core.connect(address=None, now=0.0)
            for message in played:
                elsewhere.core.receive(thief, message, now=0.0)
            assert thief.ended
            assert not thief.handles
            last = [f for peer, said in elsewhere.core.output() for m in said for f in frames.decode_relay_frames(m)]
            assert last[-1] in (frames.Refused(None, code, None, "") for code in ("access-pass", "work"))


def hello_and_proof(sent: list[bytes]) -> list[bytes]:
    """HELLO and PROOF, a message each."""
    kept = [f for m in sent for f in frames.decode_client_frames(m) if isinstance(f, frames.Hello | frames.Proof)]
    return [frames.encode([frame]) for frame in kept]


def test_nothing_has_an_effect_before_the_proof() -> None:
    """T-078, HT-R-121: requests before PROOF, around a wrong PROOF and after it leave no trace."""
    relay = SimulatedRelay(terms=Terms(access_pass=PASS))
    opening = frames.Open(1, CHANNEL, READ, True, WRITE, True)
    append = frames.Append(2, 1, b"e" * 16, EntryClass.MESSAGE, False, None, None, None, b"entry")
    for messages in (
        [[frames.Hello([1]), opening, append]],
        [[frames.Hello([1])], [opening], [append], [frames.Ping(1)]],
        [[frames.Hello([1]), opening, append, frames.Proof(bytes(32), 0), opening, append]],
        [[frames.Hello([1])], [frames.Proof(None, None), opening, append]],
    ):
        peer = relay.core.connect(address=None, now=0.0)
        for message in messages:
            relay.core.receive(peer, frames.encode(message), now=0.0)
        said = [f for _, out in relay.core.output() for m in out for f in frames.decode_relay_frames(m)]
        assert {type(frame) for frame in said} <= {frames.Challenge, frames.Refused}
        assert not peer.handles
        assert not relay.core.pending
        relay.core.disconnect(peer)


def test_work_is_asked_while_there_are_many() -> None:
    """HT-R-124: those who came before go on, those who come then work, those who come later need not."""
    relay = SimulatedRelay(terms=Terms(limits=Limits(work=6, work_from=2)))
    first, second = Client(relay), Client(relay)
    third = ClientConnection()
    pipe = relay.connect(third)
    assert pipe.pump() == []
    assert third.working
    second.append(b"still served")
    assert [type(event) for event in second.pump()] == [events.EntryStored]
    third.work(1 << 16)
    assert [type(event) for event in pipe.pump()] == [events.HelloAnswered]
    relay.core.disconnect(next(iter(relay.core.peers)))
    relay.core.disconnect(next(iter(relay.core.peers)))
    Client(relay)
    assert not first.connection.working


def test_who_never_proves_anything_is_sent_away() -> None:
    """HT-R-124, T-076: sooner if only the pass is asked for."""
    for terms, deadline in (
        (Terms(access_pass=PASS), 10.0),
        (Terms(access_pass=PASS, limits=Limits(work_from=0)), 30.0),
    ):
        relay = SimulatedRelay(terms=terms)
        peer = relay.core.connect(address=None, now=0.0)
        relay.core.receive(peer, frames.encode([frames.Hello([1])]), now=1.0)
        relay.core.receive(peer, frames.encode([frames.Ping(1)]), now=deadline - 0.5)
        relay.core.sweep(now=deadline)
        assert not peer.ended
        relay.core.sweep(now=deadline + 0.1)
        assert peer.ended


def test_stored_and_pushed_to_all_subscribers(relay: SimulatedRelay) -> None:
    """HT-R-040, HT-R-041, HT-R-050"""
    a, b = Client(relay), Client(relay)
    for client in (a, b):
        client.connection.subscribe(CHANNEL, 0)
        assert client.pump() == [events.CaughtUp(CHANNEL, 0)]
    entry_id = a.append(b"hello")
    assert a.pump() == [
        events.EntryStored(CHANNEL, entry_id, 1, 0),
        events.EntryReceived(CHANNEL, 1, 0, EntryClass.MESSAGE, False, b"hello"),
    ]
    assert b.received() == [b"hello"]


def test_nothing_is_answered_or_pushed_before_the_commit(relay: SimulatedRelay) -> None:
    """HT-R-041: STORED only once it is durable."""
    core = relay.core
    peer = core.connect(address=None, now=0.0)
    request = frames.Open(1, CHANNEL, READ, True, WRITE, True)
    append = frames.Append(2, 1, b"e" * 16, EntryClass.MESSAGE, False, None, None, None, b"entry")
    core.receive(peer, frames.encode([frames.Hello([1]), request, frames.Subscribe(1, 0), append]), now=0.0)
    core.feed()

    def kinds() -> list[type[frames.Frame]]:
        return [type(f) for _, messages in core.output() for m in messages for f in frames.decode_relay_frames(m)]

    assert kinds() == [frames.Limits, frames.Opened, frames.CaughtUp]
    assert core.commit(day=1).appended == 1
    assert kinds() == [frames.Stored, frames.Entries]


def test_a_repeated_entry_id_gets_the_first_answer_and_is_pushed_once(relay: SimulatedRelay) -> None:
    """HT-R-041, T-011"""
    a = Client(relay)
    a.connection.subscribe(CHANNEL, 0)
    entry_id = a.append(b"one", entry_class=EntryClass.CONTROL, commit=True)
    a.pump()
    a.append(b"two", entry_class=EntryClass.CONTROL, commit=True)
    a.pump()
    a.append(b"one", entry_class=EntryClass.CONTROL, commit=True, entry_id=entry_id)
    assert a.pump() == [events.EntryStored(CHANNEL, entry_id, 1, 1)]


def test_a_replayed_connection_stores_nothing_twice(relay: SimulatedRelay) -> None:
    """T-011: every message of a connection recorded and played to the relay again."""
    a = Client(relay)
    a.append(b"one")
    a.append(b"two", turn=0)
    a.pump()
    thief = relay.core.connect(address=None, now=0.0)
    for message in a.pipe.sent:
        relay.core.receive(thief, message, now=0.0)
        relay.settle()
    b = Client(relay)
    b.connection.subscribe(CHANNEL, 0)
    assert b.received() == [b"one", b"two"]


def test_requests_of_one_connection_cannot_be_replayed_into_it(relay: SimulatedRelay) -> None:
    """HT-R-014, T-011"""
    a = Client(relay)
    a.append(b"one")
    a.pump()
    relay.core.receive(a.pipe._peer, a.pipe.sent[-1], now=0.0)
    assert codes(a.pump()) == ["request-order"]
    assert a.pipe.dropped


def test_turns(relay: SimulatedRelay) -> None:
    """HT-R-045: two commits race, one wins, the loser learns the turn; entries carry the turn they came in."""
    a, b = Client(relay), Client(relay)
    a.connection.subscribe(CHANNEL, 0)
    winner = a.append(b"commit a", entry_class=EntryClass.CONTROL, commit=True, turn=0)
    loser = b.append(b"commit b", entry_class=EntryClass.CONTROL, commit=True, turn=0)
    late = b.append(b"old epoch", turn=0)
    fine = b.append(b"new epoch", turn=1)
    free = b.append(b"any epoch")
    assert events.EntryStored(CHANNEL, winner, 1, 1) in a.pump()
    assert b.pump() == [
        events.Refused(CHANNEL, loser, "stale-turn", 1, "", "append"),
        events.Refused(CHANNEL, late, "stale-turn", 1, "", "append"),
        events.EntryStored(CHANNEL, fine, 2, 1),
        events.EntryStored(CHANNEL, free, 3, 1),
    ]
    a.connection.subscribe(CHANNEL, 0)
    pushed = [event for event in a.pump() if isinstance(event, events.EntryReceived)][-3:]
    assert [(event.seq, event.turn, event.commit) for event in pushed] == [(1, 0, True), (2, 1, False), (3, 1, False)]


def test_a_live_push_says_the_same_turn_as_the_store(relay: SimulatedRelay) -> None:
    """HT-R-045"""
    a, live = Client(relay), Client(relay)
    live.connection.subscribe(CHANNEL, 0)
    live.pump()
    for commit in (True, False, True):
        a.append(entry_class=EntryClass.CONTROL, commit=commit)
        a.pump()
    late = Client(relay)
    late.connection.subscribe(CHANNEL, 0)
    both = [[e for e in each.pump() if isinstance(e, events.EntryReceived)] for each in (live, late)]
    assert both[0] == both[1]
    assert [event.turn for event in both[0]] == [0, 1, 1]


def test_subscribing_from_a_cursor(relay: SimulatedRelay) -> None:
    """HT-R-050, HT-R-051"""
    a = Client(relay)
    for number in range(5):
        a.append(b"%d" % number)
    a.pump()
    b = Client(relay)
    b.connection.subscribe(CHANNEL, 3)
    reported = b.pump()
    assert [event.seq for event in reported if isinstance(event, events.EntryReceived)] == [4, 5]
    assert reported[-1] == events.CaughtUp(CHANNEL, 5)
    b.connection.subscribe(CHANNEL, 0)
    assert len(b.received()) == 5
    b.connection.subscribe(CHANNEL, 77)
    assert b.pump() == [events.CaughtUp(CHANNEL, 5)]
    a.append(b"live")
    a.pump()
    assert b.received() == [b"live"]


def test_entries_burn_once_their_readers_have_acknowledged(relay: SimulatedRelay) -> None:
    """HT-R-052"""
    a = Client(relay)
    a.append(b"for two", burn_after=2)
    a.append(b"kept")
    a.pump()
    for reader, left in [(b"1" * 16, 2), (b"1" * 16, 2), (b"2" * 16, 1)]:
        a.connection.acknowledge(CHANNEL, reader=ReaderId(reader), seq=1)
        a.pump()
        assert len(relay.store.read(CHANNEL, after=0, entries=9, size=9999)) == left


def test_acknowledging_the_future_burns_nothing(relay: SimulatedRelay) -> None:
    """HT-R-052: else an insider could burn what is not yet there for anybody."""
    a, insider = Client(relay), Client(relay)
    a.append(b"first")
    a.pump()
    for reader in (b"1" * 16, b"2" * 16):
        insider.connection.acknowledge(CHANNEL, reader=ReaderId(reader), seq=2**53 - 1)
    seen: list[Operation] = []
    apply = relay.store.apply
    relay.store.apply = lambda operations, *, day: seen.extend(operations) or apply(operations, day=day)  # type: ignore[method-assign,func-returns-value]
    insider.pump()
    assert [operation.seq for operation in seen if isinstance(operation, Acknowledge)] == [1, 1]
    a.append(b"second", burn_after=2)
    a.pump()
    late = Client(relay)
    late.connection.subscribe(CHANNEL, 0)
    assert late.received() == [b"first", b"second"]


def test_acknowledgements_of_one_batch_count_once_and_highest(relay: SimulatedRelay) -> None:
    """HT-R-052: cumulative."""
    a = Client(relay)
    for _ in range(3):
        a.append(burn_after=1)
    a.pump()
    for seq in (2, 3, 1):
        a.connection.acknowledge(CHANNEL, reader=ReaderId(b"1" * 16), seq=seq)
    for message in a.connection.messages_to_send():
        relay.core.receive(a.pipe._peer, message, now=0.0)
    assert relay.core.pending == 1
    a.pump()
    assert relay.store.read(CHANNEL, after=0, entries=9, size=9999) == []


def test_a_reader_without_the_read_token_burns_nothing(relay: SimulatedRelay) -> None:
    """HT-R-004, HT-R-052"""
    a = Client(relay)
    a.append(burn_after=1)
    a.pump()
    writer = Client(relay, open_channel=False)
    writer.connection.open(CHANNEL, read=R, write=WRITE, read_is_token=False)
    writer.connection.acknowledge(CHANNEL, reader=ReaderId(b"1" * 16), seq=1)
    writer.pump()
    assert len(relay.store.read(CHANNEL, after=0, entries=9, size=9999)) == 1


def test_taking(relay: SimulatedRelay) -> None:
    """HT-R-053, HT-R-031: two invites, three takers; the writer sees that one came too late."""
    a = Client(relay)
    for entry in (b"one", b"two"):
        a.append(entry, entry_class=EntryClass.INVITE)
    a.pump()
    taking: list[tuple[bytes, bytes | None]] = [(b"A", b"one"), (b"B", b"two"), (b"A", b"one"), (b"C", None)]
    for take_id, expected in taking:
        a.connection.take(CHANNEL, TakeId(take_id * 16))
        (taken,) = a.pump()
        assert isinstance(taken, events.EntryTaken)
        assert taken.entry == expected
    for read_only, refused in [(False, 1), (True, 0)]:
        other = Client(relay, open_channel=False)
        other.connection.open(CHANNEL, read=READ, write=W if read_only else WRITE, write_is_token=not read_only)
        opened = other.pump()[-1]
        assert isinstance(opened, events.ChannelOpened)
        assert opened.refused_takes == refused


def test_erasing(relay: SimulatedRelay) -> None:
    """HT-R-054"""
    a = Client(relay)
    a.append(b"regretted", erase_hash=channels.erase_hash(b"t" * 32))
    a.append(b"plain")
    a.append(b"commit", entry_class=EntryClass.CONTROL, commit=True)
    a.pump()
    for seq, token, expected in [
        (1, b"x" * 32, "wrong-token"),
        (2, b"t" * 32, "wrong-token"),
        (3, b"t" * 32, "wrong-token"),
        (4, b"t" * 32, "unknown-entry"),
    ]:
        a.connection.erase(CHANNEL, seq=seq, erase_token=token)
        assert codes(a.pump()) == [expected]
    for _ in range(2):
        a.connection.erase(CHANNEL, seq=1, erase_token=b"t" * 32)
        assert a.pump() == [events.EntryErased(CHANNEL, 1)]
    a.connection.subscribe(CHANNEL, 0)
    assert a.received() == [b"plain", b"commit"]


@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.parametrize("fields", [{"burn_after": 1}, {"erase_hash": bytes(32)}], ids=str)
def test_an_insiders_commit_cannot_be_made_to_vanish(
    relay: SimulatedRelay, commit: bool, fields: dict[str, object]
) -> None:
    """T-028, HT-R-042: refused at the relay, the turn does not move, nothing is stored."""
    a = Client(relay)
    a.append(b"commit", entry_class=EntryClass.CONTROL, commit=commit, turn=0, **fields)
    assert codes(a.pump()) == ["fields"]
    assert relay.store.channel(CHANNEL) is None


def test_a_receipt_is_signed_over_the_control_entries(relay: SimulatedRelay) -> None:
    """HT-R-060, HT-R-061"""
    a = Client(relay)
    a.append(b"message")
    a.append(b"commit", entry_class=EntryClass.CONTROL, commit=True)
    a.pump()
    a.connection.receipt(CHANNEL, 2)
    (receipt,) = a.pump()
    assert isinstance(receipt, events.ReceiptSigned)
    assert receipt.control_hash == channels.next_control_hash(bytes(32), seq=2, commit=True, entry=b"commit")
    state = relay.store.channel(CHANNEL)
    assert state is not None
    statement = channels.receipt_statement(CHANNEL, state.incarnation, seq=2, control_hash=receipt.control_hash)
    Ed25519PublicKey.from_public_bytes(relay.relay_key).verify(receipt.signature, statement)


@pytest.mark.parametrize("seq", [0, 3])
def test_no_receipt_for_what_is_not_there(relay: SimulatedRelay, seq: int) -> None:
    """HT-R-060"""
    a = Client(relay)
    a.append(entry_class=EntryClass.CONTROL)
    a.append(entry_class=EntryClass.CONTROL)
    a.pump()
    a.connection.receipt(CHANNEL, seq)
    assert codes(a.pump()) == ["unknown-entry"]


def test_no_receipt_for_a_forgotten_past(relay: SimulatedRelay) -> None:
    """HT-R-061: after the control entries expired the hash at an earlier seq is gone, at the head it is not."""
    a = Client(relay)
    for _ in range(2):
        a.append(entry_class=EntryClass.CONTROL)
    a.pump()
    relay.pass_days(15)
    a.append(entry_class=EntryClass.CONTROL)
    a.pump()
    relay.pass_days(15)
    for seq, expected in [(1, ["forgotten"]), (3, [])]:
        a.connection.receipt(CHANNEL, seq)
        assert codes(a.pump()) == expected


def test_only_tokens_do_anything(relay: SimulatedRelay) -> None:
    """T-006, HT-R-003, HT-R-004: whoever has the relay's database, or even both verifiers, neither reads nor writes."""
    Client(relay).append()
    held = {state.channel_id for state in relay.store.holdings()} | {CHANNEL}
    finder = Client(relay, open_channel=False)
    finder.connection.open(next(iter(held)), read=CHANNEL, write=CHANNEL)
    assert codes(finder.pump()) == ["wrong-channel-id"]
    finder.connection.open(CHANNEL, read=R, write=W, read_is_token=False, write_is_token=False)
    finder.append()
    finder.connection.take(CHANNEL, TakeId(bytes(16)))
    finder.connection.erase(CHANNEL, seq=1, erase_token=bytes(32))
    finder.connection.receipt(CHANNEL, 1)
    assert codes(finder.pump()) == [
        "write-token-needed",
        "read-token-needed",
        "write-token-needed",
        "read-token-needed",
    ]
    finder.connection.subscribe(CHANNEL, 0)
    assert codes(finder.pump()) == ["read-token-needed"]
    assert finder.pipe.dropped


def test_reading_does_not_allow_writing_nor_writing_reading(relay: SimulatedRelay) -> None:
    """HT-R-004"""
    reader, writer = Client(relay, open_channel=False), Client(relay, open_channel=False)
    reader.connection.open(CHANNEL, read=READ, write=W, write_is_token=False)
    writer.connection.open(CHANNEL, read=R, write=WRITE, read_is_token=False)
    writer.append(b"written", erase_hash=channels.erase_hash(bytes(32)))
    writer.pump()
    reader.append()
    reader.connection.erase(CHANNEL, seq=1, erase_token=bytes(32))
    assert codes(reader.pump()) == ["write-token-needed", "write-token-needed"]
    reader.connection.subscribe(CHANNEL, 0)
    assert reader.received() == [b"written"]
    writer.connection.take(CHANNEL, TakeId(bytes(16)))
    assert codes(writer.pump()) == ["read-token-needed"]


def test_the_relay_keeps_no_token(relay: SimulatedRelay) -> None:
    """HT-R-003: neither the store nor what a connection keeps in RAM holds token or verifier."""
    a = Client(relay)
    a.append()
    a.pump()
    (opened,) = a.pipe._peer.handles.values()
    kept = [opened.channel.channel_id, opened.channel.incarnation, opened.capability]
    assert not {READ, WRITE, R, W} & {value for value in kept if isinstance(value, bytes)}
    assert set(opened.__slots__) == {"acknowledged", "capability", "channel", "subscription"}


def test_the_incarnation_survives_until_the_first_append_and_after(relay: SimulatedRelay) -> None:
    """HT-R-005"""

    def incarnation() -> bytes:
        client = Client(relay, open_channel=False)
        client.connection.open(CHANNEL, read=READ, write=WRITE)
        opened = client.pump()[-1]
        client.pipe.drop()
        assert isinstance(opened, events.ChannelOpened)
        return opened.incarnation

    first = incarnation()
    assert incarnation() == first
    Client(relay).append()
    relay.pump()
    assert incarnation() == first
    relay.restart()
    assert incarnation() == first
    relay.forget()
    assert incarnation() != first


def test_unborn_incarnations_are_bounded() -> None:
    """HT-R-005, T-076: opening channels nobody ever writes to costs the relay bounded memory."""
    relay = SimulatedRelay(terms=Terms(limits=Limits(unborn_channels=10)))
    client = Client(relay, open_channel=False)
    for number in range(50):
        read = ReadToken(number.to_bytes(32, "big"))
        channel_id = channels.channel_id(read, WRITE)
        client.connection.open(channel_id, read=read, write=WRITE)
        client.pump()
        client.connection.close(channel_id)
    client.pump()
    assert len(relay.core._unborn._incarnations) == 10
    assert not relay.core._channels


def test_a_channel_forgotten_while_open_is_opened_anew(relay: SimulatedRelay) -> None:
    """HT-R-005, HT-R-080: a cursor of the old life never counts in the new one."""
    a = Client(relay)
    a.append(b"old life")
    a.pump()
    relay.pass_days(70)
    assert codes(a.pump()) == ["reopen"]
    assert a.pipe.dropped
    b = Client(relay)
    b.append(b"new life")
    assert [event.seq for event in b.pump() if isinstance(event, events.EntryStored)] == [1]


def test_a_channel_that_the_store_lost_is_opened_anew(relay: SimulatedRelay) -> None:
    """HT-R-005: whatever made the store forget; who had it open learns of it when the next one opens it."""
    a = Client(relay)
    a.append(b"old life")
    a.pump()
    relay.store._channels.clear()
    b = Client(relay)
    b.append(b"new life")
    assert [event.seq for event in b.pump() if isinstance(event, events.EntryStored)] == [1]
    assert codes(a.pump()) == ["reopen"]


def test_what_is_committed_before_a_subscriber_was_fed_comes_once_and_in_order(relay: SimulatedRelay) -> None:
    """HT-R-050: a subscriber that still reads from the store gets no live push in between."""
    a, b = Client(relay), Client(relay)
    a.append(b"one")
    a.pump()
    for client in (b, a):
        client.connection.subscribe(CHANNEL, 0)
        client.append(b"two" if client is a else b"three")
        for message in client.connection.messages_to_send():
            relay.core.receive(client.pipe._peer, message, now=0.0)
    relay.core.commit(day=relay.day)
    assert b.received() == a.received() == [b"one", b"three", b"two"]


def test_closing_with_appends_on_the_way(relay: SimulatedRelay) -> None:
    """HT-R-033: they are stored, answered, and pushed to who opened the channel meanwhile."""
    a, b = Client(relay, open_channel=False), Client(relay, open_channel=False)
    a.connection.open(CHANNEL, read=READ, write=WRITE)
    entry_id = a.append(b"last words")
    a.connection.close(CHANNEL)
    b.connection.open(CHANNEL, read=READ, write=WRITE)
    b.connection.subscribe(CHANNEL, 0)
    for client in (a, b):
        for _ in range(2):  # HELLO and OPEN, then what waited for OPENED; nothing is committed in between
            for message in client.connection.messages_to_send():
                relay.core.receive(client.pipe._peer, message, now=0.0)
            for peer, messages in relay.core.output():
                relay.pipes[peer].arrive(messages)
            for message in client.pipe._inbox:
                client.pipe.events.extend(client.connection.receive(message))
            client.pipe._inbox.clear()
    assert relay.core.pending == 1
    assert events.EntryStored(CHANNEL, entry_id, 1, 0) in a.pump()
    assert b.received() == [b"last words"]
    again = Client(relay)
    again.connection.subscribe(CHANNEL, 0)
    assert again.received() == [b"last words"]
    assert not relay.core._unborn._incarnations


def test_one_append_of_a_dropped_connection_is_still_stored(relay: SimulatedRelay) -> None:
    """HT-R-017"""
    a = Client(relay)
    a.append(b"sent and gone")
    for message in a.connection.messages_to_send():
        relay.core.receive(a.pipe._peer, message, now=0.0)
    a.pipe.drop()
    relay.settle()
    assert not relay.core._unborn._incarnations  # born: a later life must not have this incarnation again (HT-R-005)
    b = Client(relay)
    b.connection.subscribe(CHANNEL, 0)
    assert b.received() == [b"sent and gone"]


def test_too_many_open_channels() -> None:
    """HT-R-032"""
    relay = SimulatedRelay(terms=Terms(limits=Limits(channels=2, channels_in_all=3)))
    one, two = Client(relay, open_channel=False), Client(relay, open_channel=False)
    for client, expected in [(one, 1), (two, 2)]:
        for number in range(3):
            read = ReadToken(bytes([number]) * 32)
            client.connection.open(channels.channel_id(read, WRITE), read=read, write=WRITE)
        assert codes(client.pump()) == ["too-many-channels"] * expected
    one.pipe.drop()
    read = ReadToken(b"x" * 32)
    two.connection.open(channels.channel_id(read, WRITE), read=read, write=WRITE)
    assert codes(two.pump()) == []


def test_too_many_connections_and_from_one_address() -> None:
    """HT-R-090, T-076"""
    relay = SimulatedRelay(terms=Terms(limits=Limits(connections=4, connections_per_address=2)))
    first = [Client(relay, open_channel=False, address=b"one") for _ in range(3)]
    assert [codes(client.pump()) for client in first] == [[], [], ["busy"]]
    assert first[2].pipe.dropped
    nobody = [Client(relay, open_channel=False) for _ in range(3)]
    assert [codes(client.pump()) for client in nobody] == [[], [], ["busy"]]
    first[0].pipe.drop()
    assert codes(Client(relay, open_channel=False, address=b"one").pump()) == []


def test_who_is_too_fast_is_read_slower() -> None:
    """HT-R-091"""
    limits = Limits(requests_per_second=10, bytes_per_second=0, burst_seconds=1, address_requests_per_second=0)
    relay = SimulatedRelay(terms=Terms(limits=limits))
    peer = relay.core.connect(address=b"one", now=0.0)
    hello = frames.encode([frames.Hello([1])] + [frames.Ping(n) for n in range(14)])
    assert relay.core.receive(peer, hello, now=0.0) == pytest.approx(0.5)
    assert relay.core.receive(peer, frames.encode([frames.Ping(1)]), now=1.0) == 0.0
    assert not peer.ended


def test_connections_of_one_address_share_its_rate_and_cannot_renew_it() -> None:
    """HT-R-091: a new connection, or an immediate return, brings no fresh allowance."""
    limits = Limits(requests_per_second=0, address_requests_per_second=10, burst_seconds=1)
    relay = SimulatedRelay(terms=Terms(limits=limits))
    core = relay.core
    hello = frames.encode([frames.Hello([1])] + [frames.Ping(n) for n in range(9)])
    first = core.connect(address=b"one", now=0.0)
    assert core.receive(first, hello, now=0.0) == 0.0
    core.disconnect(first)
    core.sweep(now=0.1)
    assert core.receive(core.connect(address=b"one", now=0.1), hello, now=0.1) == pytest.approx(0.9)
    assert core.receive(core.connect(address=b"two", now=0.1), hello, now=0.1) == 0.0


def test_addresses_are_forgotten_when_nothing_is_owed(relay: SimulatedRelay) -> None:
    """HT-R-091, HT-R-072"""
    client = Client(relay, address=b"one")
    client.pipe.drop()
    relay.core.sweep(now=1e6)
    assert not relay.core._addresses


def test_deadlines() -> None:
    """HT-R-092, T-076: no HELLO, silence, and a ping before that."""
    relay = SimulatedRelay()
    silent, polite = relay.core.connect(address=None, now=0.0), Client(relay)
    assert relay.core.sweep(now=9.0) == []
    assert relay.core.sweep(now=11.0) == []
    assert silent.ended
    assert not polite.pipe._peer.ended
    assert relay.core.sweep(now=61.0) == [polite.pipe._peer]
    relay.now = 100.0
    polite.connection.ping()
    assert polite.pump() == [events.Pong(1)]
    assert relay.core.sweep(now=150.0) == []
    relay.core.sweep(now=221.0)
    assert codes(polite.pump()) == ["slow"]


class _FullDisk(MemoryStore):
    """Fails while `full`, as the disk does: nothing of the batch is stored."""

    full = False

    def apply(self, operations: Sequence[Operation], *, day: int) -> list[Result]:
        if self.full:
            raise StorageError("storage.full")
        return super().apply(operations, day=day)


def test_a_failing_disk_refuses_the_whole_batch_and_acknowledges_nothing() -> None:
    """T-080, HT-R-044"""
    relay = SimulatedRelay()
    store = relay.store = _FullDisk()
    relay.core = relay._new_core()
    a, b = Client(relay), Client(relay)
    b.connection.subscribe(CHANNEL, 0)
    b.pump()
    store.full = True
    first = a.append(b"one")
    a.append(b"two")
    a.connection.acknowledge(CHANNEL, reader=ReaderId(bytes(16)), seq=1)
    reported = a.pump()
    assert codes(reported) == ["storage", "storage"]
    assert not any(isinstance(event, events.EntryStored) for event in reported)
    assert b.pump() == []
    store.full = False
    a.append(b"one", entry_id=first)
    assert a.pump() == [events.EntryStored(CHANNEL, first, 1, 0)]
    assert b.received() == [b"one"]


def test_a_nearly_full_disk_refuses_before_storing_but_still_serves(relay: SimulatedRelay) -> None:
    """T-080, HT-R-044: reading, acknowledging, erasing go on: they make room."""
    a = Client(relay)
    a.append(b"before", erase_hash=channels.erase_hash(bytes(32)))
    a.pump()
    relay.core.disk_full = True
    a.append(b"after")
    a.connection.subscribe(CHANNEL, 0)
    reported = a.pump()
    assert codes(reported) == ["relay-full"]
    assert [event.entry for event in reported if isinstance(event, events.EntryReceived)] == [b"before"]
    a.connection.erase(CHANNEL, seq=1, erase_token=bytes(32))
    assert a.pump() == [events.EntryErased(CHANNEL, 1)]


def test_quotas_refuse() -> None:
    """HT-R-044"""
    relay = SimulatedRelay(terms=Terms(quota=Quota(channel_entries=8)))
    a = Client(relay)
    for _ in range(9):
        a.append()
    assert codes(a.pump()) == ["channel-full", "channel-full"]
    a.append(entry_class=EntryClass.CONTROL, commit=True)
    assert codes(a.pump()) == []  # the last part is for commits (T-022)


def test_a_paused_subscriber_costs_nothing_and_resumes_by_cursor(relay: SimulatedRelay) -> None:
    """T-077, HT-R-055"""
    a, slow = Client(relay), Client(relay)
    slow.connection.subscribe(CHANNEL, 0)
    slow.pump()
    peer = slow.pipe._peer
    relay.core.pause(peer)
    for number in range(5_000):
        a.append(b"%d" % number)
        if number % 500 == 499:
            a.pump()
            assert peer.connection.waiting_size == 0
    assert not relay.core.hungry
    assert slow.pump() == []
    relay.core.resume(peer)
    reported = slow.pump()
    assert [event.entry for event in reported if isinstance(event, events.EntryReceived)] == [
        b"%d" % number for number in range(5_000)
    ]
    assert not any(isinstance(event, events.CaughtUp) for event in reported)  # once per SUBSCRIBE (HT-R-051)
    a.append(b"live again")
    a.pump()
    assert slow.received() == [b"live again"]


def test_no_connection_is_fed_more_than_its_share_at_once(relay: SimulatedRelay) -> None:
    """T-077, HT-R-055: what waits for one connection stays below the limit however much there is to read."""
    a = Client(relay)
    for _ in range(60):
        a.append(bytes(60_000), entry_class=EntryClass.ATTACHMENT)
    a.pump()
    many = Client(relay)
    many.connection.subscribe(CHANNEL, 0)
    for message in many.connection.messages_to_send():
        relay.core.receive(many.pipe._peer, message, now=0.0)
    largest = 0
    while relay.core.hungry:
        relay.core.feed()
        largest = max(largest, many.pipe._peer.connection.waiting_size)
        for peer, messages in relay.core.output():
            if peer is many.pipe._peer:
                many.pipe.arrive(messages)
    assert largest < 400_000
    assert len(many.received()) == 60


def test_a_burst_larger_than_a_connection_may_hold_goes_through_the_store() -> None:
    """HT-R-055: also for a subscriber that is not slow."""
    relay = SimulatedRelay(terms=Terms(limits=Limits(unsent_size=200_000)))
    a, b = Client(relay), Client(relay)
    b.connection.subscribe(CHANNEL, 0)
    b.pump()
    entries = [bytes([number]) * 50_000 for number in range(30)]
    for entry in entries:
        a.append(entry, entry_class=EntryClass.ATTACHMENT)
    a.pump()
    assert b.received() == entries


def test_every_channel_of_a_connection_gets_its_turn(relay: SimulatedRelay) -> None:
    """HT-R-055: a long log does not starve a short one of the same connection."""
    writer, reader = Client(relay), Client(relay)
    for _ in range(40):
        writer.append(bytes(60_000), entry_class=EntryClass.ATTACHMENT)
    writer.pump()
    short_read = ReadToken(b"s" * 32)
    short = channels.channel_id(short_read, WRITE)
    writer.connection.open(short, read=short_read, write=WRITE)
    writer.connection.append(short, entry_id=EntryId(bytes(16)), entry_class=EntryClass.MESSAGE, entry=b"short")
    writer.pump()
    reader.connection.open(short, read=short_read, write=WRITE)
    reader.pump()
    reader.connection.subscribe(CHANNEL, 0)
    reader.connection.subscribe(short, 0)
    received = [event for event in reader.pump() if isinstance(event, events.EntryReceived)]
    place = [event.channel_id for event in received].index(short)
    assert place < 10


def test_several_long_logs_of_one_connection_all_come(relay: SimulatedRelay) -> None:
    """HT-R-055, T-077: what is queued for a connection is written also when there is no room for its next channel."""
    writer, reader = Client(relay), Client(relay, open_channel=False)
    reads = [ReadToken(bytes([number]) * 32) for number in range(5)]
    logs = [channels.channel_id(read, WRITE) for read in reads]
    for read, log in zip(reads, logs, strict=True):
        writer.connection.open(log, read=read, write=WRITE)
        for number in range(20):
            entry_id = EntryId(bytes([number]) * 16)
            writer.connection.append(log, entry_id=entry_id, entry_class=EntryClass.ATTACHMENT, entry=bytes(60_000))
        writer.pump()
        reader.connection.open(log, read=read, write=WRITE)
    reader.pump()
    for log in logs:
        reader.connection.subscribe(log, 0)
    for message in reader.connection.messages_to_send():
        relay.core.receive(reader.pipe._peer, message, now=0.0)
    for _ in range(100):
        relay.core.feed()
        for peer, messages in relay.core.output():
            if peer is reader.pipe._peer:
                reader.pipe.arrive(messages)
    assert not relay.core.hungry
    received = [event for event in reader.pump() if isinstance(event, events.EntryReceived)]
    assert sorted(event.channel_id for event in received) == sorted(log for log in logs for _ in range(20))


def test_subscribers_share_the_bytes(relay: SimulatedRelay) -> None:
    """HT-R-050: encoded once, whatever the number of subscribers."""
    a = Client(relay)
    others = [Client(relay) for _ in range(20)]
    for other in others:
        other.connection.subscribe(CHANNEL, 0)
        other.pump()
    for number in range(3):
        a.append(b"%d" % number)
    a.pump()
    assert all(other.received() == [b"0", b"1", b"2"] for other in others)
    assert len({other.pipe.received[-1] for other in others}) == 1


def test_draining(relay: SimulatedRelay) -> None:
    """HT-R-096: what came is stored, then everybody is told."""
    a = Client(relay)
    entry_id = a.append()
    for message in a.connection.messages_to_send():
        relay.core.receive(a.pipe._peer, message, now=0.0)
    relay.core.commit(day=relay.day)
    relay.core.drain()
    reported = a.pump()
    assert events.EntryStored(CHANNEL, entry_id, 1, 0) in reported
    assert codes(reported) == ["draining"]
    assert codes(Client(relay, open_channel=False).pump()) == ["draining"]


def test_expiry(relay: SimulatedRelay) -> None:
    """HT-R-070, HT-R-071"""
    a = Client(relay)
    a.append(b"message")
    a.append(b"commit", entry_class=EntryClass.CONTROL, commit=True)
    a.pump()
    for days, left in [(2, [b"message", b"commit"]), (1, [b"commit"]), (26, [b"commit"]), (1, [])]:
        relay.pass_days(days)
        assert [e.entry for e in relay.store.read(CHANNEL, after=0, entries=9, size=9999)] == left
    state = relay.store.channel(CHANNEL)
    assert state is not None
    assert (state.head, state.turn) == (2, 1)  # the channel remembers who it is


@pytest.mark.parametrize("message", [b"", b"\x00", b"\x91\x92\x0a\xff", bytes((1 << 20) + 1)], ids=len)
def test_malformed_input_ends_its_connection_and_no_other(relay: SimulatedRelay, message: bytes) -> None:
    """HT-R-012, HT-R-017, T-019, T-076"""
    a, b = Client(relay), Client(relay)
    relay.core.receive(a.pipe._peer, message, now=0.0)
    assert codes(a.pump()) == ["too-large" if len(message) > 1 << 20 else "malformed"]
    assert a.pipe.dropped
    b.append()
    assert isinstance(b.pump()[0], events.EntryStored)


def test_every_byte_of_a_request_flipped_is_refused_or_another_request() -> None:
    """T-019: no exception out of the core, whatever a client sends."""
    good = frames.encode(
        [
            frames.Hello([1]),
            frames.Open(1, CHANNEL, READ, True, WRITE, True),
            frames.Subscribe(1, 0),
            frames.Append(2, 1, b"e" * 16, EntryClass.CONTROL, True, 0, None, None, b"entry"),
            frames.Ack(1, b"r" * 16, 1),
            frames.Take(3, 1, b"t" * 16),
            frames.Erase(4, 1, 1, b"x" * 32),
            frames.Receipt(5, 1, 1),
            frames.Ping(1),
            frames.Close(1),
        ]
    )
    relay = SimulatedRelay()
    for position in range(len(good)):
        for change in (0x01, 0x10, 0xFF):
            changed = bytearray(good)
            changed[position] ^= change
            peer = relay.core.connect(address=None, now=0.0)
            relay.core.receive(peer, bytes(changed), now=0.0)
            relay.settle()
            relay.core.disconnect(peer)
    assert not relay.core.peers
    assert not relay.core._channels


def test_an_unknown_handle_ends_the_connection(relay: SimulatedRelay) -> None:
    """HT-R-015"""
    for frame in [
        frames.Subscribe(2, 0),
        frames.Ack(2, bytes(16), 1),
        frames.Close(2),
        frames.Append(9, 2, bytes(16), EntryClass.MESSAGE, False, None, None, None, b"entry"),
        frames.Take(9, 2, bytes(16)),
        frames.Erase(9, 2, 1, bytes(32)),
        frames.Receipt(9, 2, 1),
    ]:
        a = Client(relay)
        relay.core.receive(a.pipe._peer, frames.encode([frame]), now=0.0)
        assert codes(a.pump()) == ["unknown-handle"]


def test_nothing_after_a_fatal_frame_has_an_effect(relay: SimulatedRelay) -> None:
    """HT-R-017"""
    a = Client(relay)
    good = frames.Append(9, 1, bytes(16), EntryClass.MESSAGE, False, None, None, None, b"entry")
    relay.core.receive(a.pipe._peer, frames.encode([frames.Close(7), good]), now=0.0)
    a.pump()
    assert relay.store.channel(CHANNEL) is None


def test_a_store_that_cannot_be_read_ends_the_connection_not_the_relay(relay: SimulatedRelay) -> None:
    """HT-R-044"""

    class Unreadable(MemoryStore):
        def read(self, channel_id: ChannelId, *, after: int, entries: int, size: int) -> list[StoredEntry]:
            raise StorageError("storage.io")

    store = relay.store = Unreadable()
    relay.core = RelayCore(store, key=relay.key, terms=relay.terms, random=os.urandom)
    a, b = Client(relay), Client(relay)
    a.append()
    a.pump()
    a.connection.subscribe(CHANNEL, 0)
    assert codes(a.pump()) == ["storage"]
    b.connection.ping()
    assert b.pump() == [events.Pong(1)]


def test_the_batch_names_the_incarnation_that_was_answered(relay: SimulatedRelay) -> None:
    """HT-R-005: whoever opened before the first append has the incarnation that the append stores."""
    a, b = Client(relay, open_channel=False), Client(relay, open_channel=False)
    seen: list[bytes] = []
    for client in (a, b):
        client.connection.open(CHANNEL, read=READ, write=WRITE)
        seen += [event.incarnation for event in client.pump() if isinstance(event, events.ChannelOpened)]
    b.append()
    b.pump()
    state = relay.store.channel(CHANNEL)
    assert state is not None
    assert seen == [state.incarnation, state.incarnation]


def test_fields_reach_the_store_as_they_came(relay: SimulatedRelay) -> None:
    """HT-R-040"""
    seen: list[Operation] = []
    apply = relay.store.apply

    def spy(operations: Sequence[Operation], *, day: int) -> list[Result]:
        seen.extend(operations)
        return apply(operations, day=day)

    relay.store.apply = spy  # type: ignore[method-assign]
    a = Client(relay)
    entry_id = a.append(b"bytes", turn=0, burn_after=3, erase_hash=b"h" * 32)
    a.pump()
    (stored,) = seen
    assert isinstance(stored, Append)
    assert msgspec.structs.asdict(stored) == {
        "channel_id": CHANNEL,
        "entry_id": entry_id,
        "entry_class": EntryClass.MESSAGE,
        "entry": b"bytes",
        "commit": False,
        "turn": 0,
        "burn_after": 3,
        "erase_hash": b"h" * 32,
        "incarnation": stored.incarnation,
    }


def test_the_client_refuses_what_a_hostile_relay_makes_up(relay: SimulatedRelay) -> None:
    """HT-R-016, T-021: at the wire, false answers to what was never asked end the connection."""
    a = Client(relay)
    a.pipe.rewrite(lambda message: [*message, frames.Stored(999, 1, 0)])
    a.append()
    with pytest.raises(WireError, match="unexpected-answer"):
        a.pump()


def test_t088_above_the_head_after_seq_counts_as_the_head_whenever_the_store_is_read(relay: SimulatedRelay) -> None:
    """HT-R-051: what was appended before the subscriber's first turn was skipped; found by fuzzing (T-088)."""
    core = relay.core
    opening = frames.encode([frames.Hello([1]), frames.Open(1, CHANNEL, READ, True, WRITE, True)])
    reader, writer = (core.connect(address=None, now=0.0) for _ in range(2))
    for peer in (reader, writer):
        core.receive(peer, opening, now=0.0)
    core.receive(reader, frames.encode([frames.Subscribe(1, 3)]), now=0.0)
    for number in range(3):
        append = frames.Append(
            2 + number, 1, EntryId(bytes([number]) * 16), EntryClass.MESSAGE, False, None, None, None, b"entry"
        )
        core.receive(writer, frames.encode([append]), now=0.0)
    core.commit(day=1)
    core.feed()
    found = [f for peer, ms in core.output() if peer is reader for m in ms for f in frames.decode_relay_frames(m)]
    assert [entry.seq for frame in found if isinstance(frame, frames.Entries) for entry in frame.entries] == [1, 2, 3]
