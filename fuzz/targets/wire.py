"""Frames in both directions, through the connections that both ends really use (T-019)."""

import contextlib
from collections.abc import Iterable, Iterator

import msgspec

from fuzz.mutation import tree
from fuzz.target import Attack, Target, hold
from hanatalk.errors import WireError
from hanatalk.ids import EntryId, ReaderId, ReadToken, TakeId, WriteToken
from hanatalk.wire import events, frames
from hanatalk.wire.channels import channel_id
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection
from hanatalk.wire.events import Event
from hanatalk.wire.frames import ClientFrame, Frame, RelayFrame
from hanatalk.wire.relay import RelayConnection
from hanatalk.wire.states import State

READ, WRITE = ReadToken(b"r" * 32), WriteToken(b"w" * 32)
CHANNEL, OTHER = channel_id(READ, WRITE), channel_id(ReadToken(b"R" * 32), WRITE)
HELLO = frames.Hello([1])
CHALLENGE = frames.Challenge(b"c" * 32, pass_wanted=True, work=2, signing_key=b"k" * 32)
LIMITS = frames.Limits(
    1,
    frames.RelayLimits(1 << 20, 65_536, 4096, 2000, 1 << 25, 10_000, 1 << 30),
    frames.RetentionDays(3, 30, 3),
    "",
    b"k" * 32,
)


NUMBERED = (frames.Open, frames.Append, frames.Take, frames.Receipt, frames.Erase)
SILENT, GREETED, CHALLENGED = range(3)


def _split(message: bytes) -> list[bytes]:
    """The frames of a message, one message each; the message itself if it is no list."""
    try:
        found = msgspec.msgpack.decode(message, type=list[msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError):
        return [message]
    return [b"\x91" + bytes(frame) for frame in found] or [message]


def _relay_takes(messages: Iterable[bytes], stage: int) -> tuple[list[ClientFrame], str | None, RelayConnection]:
    """A relay in front of HELLO, after it, or waiting for PROOF."""
    connection = RelayConnection(challenged=stage == CHALLENGED)
    if stage:
        connection.receive(frames.encode([HELLO]))
    taken: list[ClientFrame] = []
    for message in messages:
        try:
            taken += connection.receive(message)
        except WireError as error:
            return taken, error.code, connection
    return taken, None, connection


def _client_frames() -> Attack:
    def attack(given: bytes) -> None:
        for stage in (SILENT, GREETED, CHALLENGED):
            whole, fault, connection = _relay_takes([given], stage)
            last = connection.messages_to_send()
            if fault is None:
                hold(connection.state in (State.OPEN, State.CHALLENGED) and not last, "taken, but not open")
                hold(not whole or frames.decode_client_frames(frames.encode(whole)) == whole, "read and written differ")
            else:
                hold(connection.state is State.CLOSED, "refused, but open")
                (refused,) = frames.decode_relay_frames(last[-1])
                hold(isinstance(refused, frames.Refused) and refused.request is None, "ended without a word (HT-R-017)")
            parts, part_fault, _ = _relay_takes(_split(given), stage)
            hold((part_fault is None) or fault is not None, "a frame is refused alone and taken among others")
            if fault is None:
                hold(parts == whole, "cut into messages it reads differently")
            numbers = [frame.request for frame in whole if isinstance(frame, NUMBERED)]
            hold(numbers == sorted(set(numbers)), "requests that do not count up (HT-R-014)")
            for frame in parts:
                hold(not _tells(repr(frame)), "a token in a repr")
        if fault is not None:
            raise WireError(fault)

    return attack


def _tells(text: str) -> bool:
    return "\\x" in text or "b'" in text


def client_messages() -> Iterator[list[Frame]]:
    """What a client sends, a few frames a message."""
    append = frames.Append(2, 1, EntryId(b"e" * 16), EntryClass.MESSAGE, False, None, 2, b"h" * 32, b"entry")
    control = frames.Append(3, 1, EntryId(b"f" * 16), EntryClass.CONTROL, True, 0, None, None, b"commit")
    yield [frames.Open(1, CHANNEL, READ, True, WRITE, True), append, control]
    yield [frames.Subscribe(1, 0), frames.Ack(1, ReaderId(b"a" * 16), 3), frames.Ping(7), frames.Close(1)]
    yield [frames.Take(4, 1, b"t" * 16), frames.Receipt(5, 1, 2), frames.Erase(6, 1, 1, b"x" * 32)]
    yield [HELLO, frames.Open(1, CHANNEL, b"R" * 32, False, WRITE, True)]
    yield [frames.Ping(1), frames.Proof(b"a" * 32, 77), frames.Ping(2)]
    yield [HELLO, frames.Proof(None, None), frames.Open(1, CHANNEL, READ, True, WRITE, True)]


def relay_messages() -> Iterator[list[Frame]]:
    """What a relay answers to `_asking`'s client."""
    pushed = [
        frames.PushedEntry(1, 0, EntryClass.MESSAGE, False, b"entry"),
        frames.PushedEntry(2, 0, EntryClass.CONTROL, True, b"c"),
    ]
    yield [LIMITS]
    yield [CHALLENGE, LIMITS]
    yield [frames.Challenge(b"c" * 32, pass_wanted=False, work=0, signing_key=b"x" * 32), LIMITS]
    yield [frames.Opened(1, 1, b"i" * 16, 2, 1, 0), frames.Entries(1, pushed), frames.CaughtUp(1, 2)]
    yield [frames.Opened(1, 1, b"i" * 16, 2, 1, 3), frames.Opened(2, 2, b"i" * 16, 0, 0, 0), frames.Stored(3, 3, 1)]
    yield [frames.Opened(1, 1, b"i" * 16, 2, 1, 0), frames.Taken(4, 1, b"offer"), frames.Erased(6), frames.Pong(1)]
    yield [frames.Opened(1, 1, b"i" * 16, 2, 1, 0), frames.ReceiptSigned(5, 2, b"h" * 32, b"s" * 64)]
    # Each answer to a request of each kind, of which one is right.
    opened = frames.Opened(1, 1, b"i" * 16, 2, 1, 0)
    for request in range(2, 7):
        yield [opened, frames.Stored(request, 3, 1)]
        yield [opened, frames.Taken(request, 1, b"offer")]
        yield [opened, frames.ReceiptSigned(request, 2, b"h" * 32, b"s" * 64)]
        yield [opened, frames.Erased(request)]
        yield [opened, frames.Opened(request, 2, b"i" * 16, 0, 0, 0)]
    yield [frames.Refused(2, "too-many-channels", None, ""), frames.Refused(None, "draining", 3, "be back soon")]


def _asking(stage: int) -> ClientConnection:
    """A client that has asked for everything there is to ask for."""
    connection = ClientConnection(access_pass=b"open sesame" if stage else None)
    if stage == CHALLENGED:
        connection.receive(frames.encode([CHALLENGE]))
    if stage:
        connection.work(100)
        connection.receive(frames.encode([LIMITS]))
    connection.open(CHANNEL, read=READ, write=WRITE)
    connection.open(OTHER, read=READ, write=WRITE, read_is_token=False)
    connection.append(CHANNEL, entry_id=EntryId(b"e" * 16), entry_class=EntryClass.MESSAGE, entry=b"entry")
    connection.take(CHANNEL, TakeId(b"t" * 16))
    connection.receipt(CHANNEL, 2)
    connection.erase(CHANNEL, seq=1, erase_token=b"x" * 32)
    connection.acknowledge(CHANNEL, reader=ReaderId(b"a" * 16), seq=1)
    connection.subscribe(CHANNEL, 0)
    connection.ping()
    return connection


# Which frame answers which (HT-R-016); REFUSED answers any of them.
ANSWERED_BY: dict[type[Frame], type[Frame]] = {
    frames.Opened: frames.Open,
    frames.Stored: frames.Append,
    frames.Taken: frames.Take,
    frames.ReceiptSigned: frames.Receipt,
    frames.Erased: frames.Erase,
}
ANSWERS: list[tuple[type[Frame], type[Event]]] = [
    (frames.Opened, events.ChannelOpened),
    (frames.Stored, events.EntryStored),
    (frames.Taken, events.EntryTaken),
    (frames.ReceiptSigned, events.ReceiptSigned),
    (frames.Erased, events.EntryErased),
    (frames.Pong, events.Pong),
]


def _client_takes(messages: Iterable[bytes], stage: int) -> tuple[list[Event], str | None, ClientConnection]:
    connection = _asking(stage)
    reported: list[Event] = []
    for message in messages:
        try:
            reported += connection.receive(message)
        except WireError as error:
            return reported, error.code, connection
    return reported, None, connection


def _asked_for(message: bytes, stage: int) -> None:
    """Frame by frame, with books of our own: every answer that a client takes is of the kind it asked for, once."""
    connection = _asking(stage)
    open_requests: dict[int, type[Frame]] = {}
    for part in _split(message):
        for sent in connection.messages_to_send():
            for frame in frames.decode_client_frames(sent):
                if isinstance(frame, NUMBERED):
                    open_requests[frame.request] = type(frame)
        connection.receive(part)
        for answer in frames.decode_relay_frames(part):
            if type(answer) in ANSWERED_BY or (isinstance(answer, frames.Refused) and answer.request is not None):
                asked = open_requests.pop(answer.request, None)  # type: ignore[union-attr,arg-type]
                hold(asked is not None, "an answer that nobody waits for was taken (HT-R-016)")
                hold(asked is ANSWERED_BY.get(type(answer), asked), "an answer of another kind was taken (HT-R-016)")


def _relay_frames() -> Attack:
    def attack(given: bytes) -> None:
        for stage in (SILENT, GREETED, CHALLENGED):
            with contextlib.suppress(WireError):
                _asked_for(given, stage)
            whole, fault, connection = _client_takes([given], stage)
            hold(not whole or fault is None, "a refused message was reported")
            hold(connection.state is State.CLOSED or fault is None, "refused, but open")
            connection.work(100)
            for message in connection.messages_to_send():
                hold(len(message) <= frames.MESSAGE_SIZE, "a message above HT-R-010")
                frames.decode_client_frames(message)
            parts, part_fault, _ = _client_takes(_split(given), stage)
            if fault is None and (part_fault is None or connection.state is not State.CLOSED):
                hold(parts == whole, "cut into messages it reads differently")
            if fault is None and connection.state is not State.CLOSED:
                answered = frames.decode_relay_frames(given)
                for kind, event_kind in ANSWERS:
                    told = sum(type(event) is event_kind for event in whole)
                    hold(told == sum(type(frame) is kind for frame in answered), "an answer that was not asked for")
            for event in whole:
                hold(event.__class__.__name__ in repr(event), "no repr")
        if fault is not None:
            raise WireError(fault)
        read: list[RelayFrame] = frames.decode_relay_frames(given)
        hold(frames.decode_relay_frames(frames.encode(read)) == read, "what was read is not what is written")

    return attack


def _written(messages: Iterable[list[Frame]]) -> Iterator[bytes]:
    for message in messages:
        yield frames.encode(message)


TARGETS = [
    Target(
        name="client-frames",
        parsers=("hanatalk.wire.frames.decode_client_frames", "hanatalk.wire.relay.RelayConnection"),
        allowed=(WireError,),
        ready=_client_frames,
        seeds=lambda: _written(client_messages()),
        mutate=tree,
        short=4000,
    ),
    Target(
        name="relay-frames",
        parsers=("hanatalk.wire.frames.decode_relay_frames", "hanatalk.wire.client.ClientConnection"),
        allowed=(WireError,),
        ready=_relay_frames,
        seeds=lambda: _written(relay_messages()),
        mutate=tree,
        short=2500,
    ),
]
