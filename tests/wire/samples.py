"""One of every frame, and hypothesis strategies for all of them."""

from typing import Any

from hypothesis import strategies as st

from hanatalk.wire import frames
from hanatalk.wire.classes import EntryClass

REQUESTS: list[frames.ClientFrame] = [
    frames.Hello(versions=[1]),
    frames.Open(1, b"c" * 32, b"r" * 32, True, b"w" * 32, False),
    frames.Append(2, 1, b"e" * 16, EntryClass.MESSAGE, False, 7, 3, b"h" * 32, b"opaque ciphertext"),
    frames.Subscribe(1, 0),
    frames.Ack(1, b"r" * 16, 9),
    frames.Take(3, 1, b"t" * 16),
    frames.Receipt(4, 1, 5),
    frames.Erase(5, 1, 2, b"t" * 32),
    frames.Close(1),
    frames.Ping(1),
]
PROOF = frames.Proof(access=b"p" * 32, nonce=7)
CHALLENGE = frames.Challenge(challenge=b"c" * 32, pass_wanted=True, work=4, signing_key=b"k" * 32)

LIMITS = frames.Limits(
    version=1,
    limits=frames.RelayLimits(
        message_size=1 << 20,
        entry_size=65_536,
        channels=10,
        requests_per_second=0,
        bytes_per_second=0,
        channel_entries=10,
        channel_bytes=10,
    ),
    retention=frames.RetentionDays(message=3, control=30, taken=1),
    policy="",
    signing_key=b"k" * 32,
)

ANSWERS: list[frames.RelayFrame] = [
    LIMITS,
    frames.Opened(1, 1, b"i" * 16, 0, 0, 0),
    frames.Stored(2, 1, 0),
    frames.Entries(1, [frames.PushedEntry(1, 0, EntryClass.CONTROL, True, b"entry")]),
    frames.CaughtUp(1, 1),
    frames.Taken(3, None, None),
    frames.ReceiptSigned(4, 5, b"h" * 32, b"s" * 64),
    frames.Erased(5),
    frames.Pong(1),
    frames.Refused(None, "busy", None, ""),
    CHALLENGE,
]

_count = st.integers(0, 2**53 - 1)
_positive = st.integers(1, 2**53 - 1)
_b16, _b32 = st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32)
_class = st.sampled_from(EntryClass)
_entry = st.binary(min_size=1, max_size=300)


def _build(kind: Any, *fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, *fields)


client_frames: st.SearchStrategy[frames.ClientFrame] = st.one_of(
    _build(frames.Hello, st.lists(_count, min_size=1, max_size=16)),
    _build(frames.Open, _positive, _b32, _b32, st.booleans(), _b32, st.booleans()),
    _build(
        frames.Append,
        _positive,
        _positive,
        _b16,
        _class,
        st.booleans(),
        st.none() | _count,
        st.none() | _positive,
        st.none() | _b32,
        _entry,
    ),
    _build(frames.Subscribe, _positive, _count),
    _build(frames.Ack, _positive, _b16, _count),
    _build(frames.Take, _positive, _positive, _b16),
    _build(frames.Receipt, _positive, _positive, _count),
    _build(frames.Erase, _positive, _positive, _positive, _b32),
    _build(frames.Close, _positive),
    _build(frames.Ping, _count),
    _build(frames.Proof, st.none() | _b32, st.none() | _count),
)

_pushed = _build(frames.PushedEntry, _positive, _count, _class, st.booleans(), _entry)
relay_frames: st.SearchStrategy[frames.RelayFrame] = st.one_of(
    _build(
        frames.Limits,
        _count,
        _build(frames.RelayLimits, *[_count] * 7),
        _build(frames.RetentionDays, *[_count] * 3),
        st.text(st.characters(codec="utf-8"), max_size=1024),
        _b32,
    ),
    _build(frames.Opened, _positive, _positive, _b16, _count, _count, _count),
    _build(frames.Stored, _positive, _positive, _count),
    _build(frames.Entries, _positive, st.lists(_pushed, min_size=1, max_size=5)),
    _build(frames.CaughtUp, _positive, _count),
    _build(frames.Taken, _positive, st.none() | _positive, st.none() | _entry),
    _build(frames.ReceiptSigned, _positive, _count, _b32, st.binary(min_size=64, max_size=64)),
    _build(frames.Erased, _positive),
    _build(frames.Pong, _count),
    _build(
        frames.Refused,
        st.none() | _positive,
        st.from_regex("[a-z][a-z-]{0,31}", fullmatch=True),
        st.none() | _count,
        st.text(st.characters(codec="utf-8"), max_size=100),
    ),
    _build(frames.Challenge, _b32, st.booleans(), st.integers(0, 22), _b32),
)
