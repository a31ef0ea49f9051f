"""The relay's core and a store in memory, driven by several hostile clients at once (T-076, T-077 in miniature).

An input is a MessagePack list of steps, each a list of small numbers; what makes no sense is skipped or bent, so that
nearly every input is a run. Step: [peer, what, …], see `_Run._step`.
"""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from fuzz.mutation import tree
from fuzz.target import Attack, Target, hold
from hanatalk.errors import WireError
from hanatalk.ids import EntryId, ReaderId, ReadToken, WriteToken
from hanatalk.relay.admin import HEAD_SIZE, AdminPort, _Asking
from hanatalk.relay.core import RelayCore, Terms
from hanatalk.relay.opened import Peer
from hanatalk.relay.policy import Limits
from hanatalk.relay.signing import SigningKey
from hanatalk.stores.interface import Quota
from hanatalk.stores.memory import MemoryStore
from hanatalk.transport.asking import NO_PAGE, asked_key, own_request, refusal
from hanatalk.wire import channels, frames
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.frames import Frame
from hanatalk.wire.proofs import access_proof, search

PEERS, CHANNELS, STEPS = 4, 3, 200
LIMITS = Limits(
    channels=4, channels_in_all=10, connections=PEERS + 1, unborn_channels=4, unsent_size=4096, entry_size=2048
)
QUOTA = Quota(channel_entries=12, channel_bytes=8192, total_entries=40, channel_readers=3)
TOKENS = [(ReadToken(bytes([65 + n]) * 32), WriteToken(bytes([97 + n]) * 32)) for n in range(CHANNELS)]
# For each channel what shows everything, reading only, writing only, nothing; hashed once.
PROOFS = [
    [
        (
            read if reads else channels.read_verifier(read),
            reads,
            write if writes else channels.write_verifier(write),
            writes,
        )
        for reads, writes in ((True, True), (True, False), (False, True), (False, False))
    ]
    for read, write in TOKENS
]
PASS, KEY = b"open sesame", SigningKey(b"k" * 32)
IDS = [channels.channel_id(read, write) for read, write in TOKENS]
ERASE = [bytes([n]) * 32 for n in range(4)]
ERASE_HASHES = [channels.erase_hash(token) for token in ERASE]
OPEN, APPEND, SUBSCRIBE, ACK, TAKE, RECEIPT, ERASING, CLOSE, PING, RAW = range(10)
COMMIT, FEED, PAUSE, MIDNIGHT, RECONNECT, SWEEP, FRAME, FULL = range(10, 18)


class _Client:
    """What one hostile client knows and what the relay owes it."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.request = 0
        self.owed: dict[int, str] = {}
        self.since: dict[int, int] = {}  # handle -> where the last SUBSCRIBE begins
        self.pushed: dict[int, list[int]] = {}  # handle -> what was pushed since then
        self.caught_up: set[int] = set()


class _Run:
    def __init__(self, *, challenged: bool) -> None:
        self.pass_wanted = challenged
        limits = msgspec.structs.replace(LIMITS, work=2, work_from=1 if challenged else 9)
        terms = Terms(limits=limits, quota=QUOTA, access_pass=PASS if challenged else None)
        self.core = RelayCore(MemoryStore(quota=QUOTA), key=KEY, terms=terms, random=bytes)
        self.day, self.now = 20_000, 0.0
        self.clients = [self._connect() for _ in range(PEERS)]

    def play(self, steps: list[Any]) -> None:
        for step in steps[:STEPS]:
            if isinstance(step, list) and len(step) >= 2:
                self._step(step)
                self._read()
        self._settle()
        for client in self.clients:
            hold(client.peer.ended or not client.owed, "a request without an answer")
            if not client.peer.ended:
                self._has_everything(client)
        for client in self.clients:
            self.core.disconnect(client.peer)
        self._settle()
        hold(not self.core.peers and not self.core.pending and not self.core.hungry, "something is left of the dead")
        hold(not self.core._channels and not self.core._opened, "channels of the dead")
        self.core.sweep(now=self.now + 1e6)

    def _has_everything(self, client: _Client) -> None:
        """What the channels still hold was pushed to whoever subscribed (HT-R-050)."""
        for handle, since in client.since.items():
            opened = client.peer.handles.get(handle)
            if opened is not None and opened.subscription is not None:
                held = self.core._store.read(opened.channel.channel_id, after=since, entries=1000, size=1 << 30)
                missing = {entry.seq for entry in held} - set(client.pushed.get(handle, ()))
                hold(not missing, "an entry that a subscriber never got")

    def _connect(self) -> _Client:
        client = _Client(self.core.connect(address=b"somewhere", now=self.now))
        self.core.receive(client.peer, frames.encode([frames.Hello([1])]), now=self.now)
        asked = client.peer.challenge
        if asked is not None:
            nonce = search(0, 10_000, challenge=asked.challenge, relay_key=KEY.public, work=asked.work)
            proof = frames.Proof(access_proof(PASS, challenge=asked.challenge, relay_key=KEY.public), nonce)
            self.core.receive(client.peer, frames.encode([proof]), now=self.now)
        return client

    def _settle(self) -> None:
        for client in self.clients:
            self.core.resume(client.peer)
        for _ in range(1000):
            self.core.commit(day=self.day)
            self.core.feed()
            self._read()
            if not (self.core.pending or self.core.hungry):
                return
        hold(False, "the relay never comes to rest")

    def _step(self, step: list[Any]) -> None:
        numbers = [part if isinstance(part, int) and 0 <= part < 1 << 53 else 0 for part in step[:8]] + [0] * 6
        which = numbers[0] % PEERS
        client = self.clients[which]
        match numbers[1] % 18:
            case 10:
                self.core.commit(day=self.day)
            case 11:
                self.core.feed()
            case 12:
                (self.core.pause if numbers[2] % 2 else self.core.resume)(client.peer)
            case 13:
                self.day += 1 + numbers[2] % 40
                while self.core.expire(day=self.day):
                    pass
            case 14:
                self.core.disconnect(client.peer)
                self.clients[which] = self._connect()
            case 15:
                self.now += numbers[2] % 200
                self.core.sweep(now=self.now)
            case 9:
                raw = step[2] if len(step) > 2 and isinstance(step[2], bytes) else b""
                self.core.receive(client.peer, raw, now=self.now)
                client.owed.clear()  # whoever writes bytes by hand keeps their own books
                client.request = 1 << 52
            case 17:
                self.core.disk_full = bool(numbers[2] % 2)
            case 16:  # whoever has not proved anything, or proved it wrongly, has no say (HT-R-121)
                late = self.core.connect(address=None, now=self.now)
                proof = frames.Proof(bytes(32) if numbers[2] % 2 else None, numbers[3])
                first = [
                    frames.Hello([1]),
                    frames.Open(1, IDS[0], *PROOFS[0][0]),
                    frames.Append(2, 1, EntryId(bytes(16)), EntryClass.MESSAGE, False, None, None, None, b"x"),
                ]
                pending = self.core.pending
                self.core.receive(late, frames.encode([*first, *([proof] if numbers[2] & 2 else [])]), now=self.now)
                hold(not self.pass_wanted or self.core.pending == pending, "stored for somebody without the pass")
                self.core.disconnect(late)
            case what:
                self._send(client, what, numbers[2:])

    def _send(self, client: _Client, what: int, numbers: list[int]) -> None:
        client.request += 1
        request, handle = client.request, 1 + numbers[0] % 6
        frame: Frame
        match what:
            case 0:
                channel = numbers[0] % CHANNELS
                frame = frames.Open(
                    request, IDS[(channel + numbers[2] // 250) % CHANNELS], *PROOFS[channel][numbers[1] % 4]
                )
            case 1:
                frame = frames.Append(
                    request,
                    handle,
                    EntryId(bytes([numbers[1] % 16]) * 16),
                    EntryClass(1 + numbers[2] % 4),
                    bool(numbers[3] & 1),
                    (numbers[3] >> 1) % 4 if numbers[3] & 8 else None,
                    1 + numbers[4] % 3 if numbers[4] & 8 else None,
                    ERASE_HASHES[numbers[4] % 4] if numbers[4] & 16 else None,
                    bytes(1 + numbers[5] % 3000),
                )
            case 2:
                frame = frames.Subscribe(handle, numbers[1])
                opened = client.peer.handles.get(handle)
                # Above the head, `after_seq` counts as the head (HT-R-051).
                client.since[handle] = min(numbers[1], 0 if opened is None else opened.channel.head)
                client.pushed[handle] = []
                client.caught_up.discard(handle)
            case 3:
                frame = frames.Ack(handle, ReaderId(bytes([numbers[1] % 5]) * 16), numbers[2])
            case 4:
                frame = frames.Take(request, handle, bytes([numbers[1] % 5]) * 16)
            case 5:
                frame = frames.Receipt(request, handle, numbers[1])
            case 6:
                frame = frames.Erase(request, handle, 1 + numbers[1] % 64, ERASE[numbers[2] % 4])
            case 7:
                frame = frames.Close(handle)
                client.since.pop(handle, None)
                client.caught_up.discard(handle)
            case _:
                frame = frames.Ping(numbers[1])
        if what in (0, 1, 4, 5, 6):
            client.owed[request] = type(frame).__name__
        if not client.peer.ended:
            self.core.receive(client.peer, frames.encode([frame]), now=self.now)

    def _read(self) -> None:
        """What the relay writes must be readable, owed, and in order."""
        by_peer = {client.peer: client for client in self.clients}
        for peer, messages in list(self.core.output()):
            client = by_peer.get(peer)
            for message in messages:
                hold(len(message) <= frames.MESSAGE_SIZE, "a message above HT-R-010")
                for frame in frames.decode_relay_frames(message):
                    if client is not None:
                        _told(client, frame)
        for client in self.clients:
            hold(client.peer.connection.waiting_size <= 1 << 20, "what waits for a client grows")


def _told(client: _Client, frame: frames.RelayFrame) -> None:
    match frame:
        case frames.Entries():
            pushed = client.pushed.setdefault(frame.handle, [])
            for entry in frame.entries:
                hold(not pushed or entry.seq > pushed[-1], "an entry pushed twice, or out of order (HT-R-050)")
                pushed.append(entry.seq)
        case frames.CaughtUp():
            hold(frame.handle not in client.caught_up, "caught up twice (HT-R-051)")
            client.caught_up.add(frame.handle)
        case frames.Opened() | frames.Stored() | frames.Taken() | frames.ReceiptSigned() | frames.Erased():
            hold(client.owed.pop(frame.request, None) or client.request >= 1 << 52, "an answer nobody waits for")
        case frames.Refused():
            if frame.request is not None:
                hold(client.owed.pop(frame.request, None) or client.request >= 1 << 52, "a refusal nobody waits for")


def _relay_core() -> Attack:
    def attack(given: bytes) -> None:
        try:
            steps = msgspec.msgpack.decode(given)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            steps = [[0, RAW, given]]
        if isinstance(steps, list):
            _Run(challenged=len(steps) % 2 == 1).play(steps)

    return attack


def _seeds() -> Iterator[bytes]:
    opened = [[0, OPEN, 0, 0], [1, OPEN, 0, 0], [0, SUBSCRIBE, 0, 0], [1, SUBSCRIBE, 0, 0]]
    messages = [[0, APPEND, 0, n, 0, 0, 24 + 8 * (n % 2), 100 * n] for n in range(6)]
    yield msgspec.msgpack.encode(
        [*opened, *messages, [0, COMMIT], [1, FEED], [1, ACK, 0, 1, 4], [0, ACK, 0, 2, 9], [0, COMMIT]]
    )
    turns = [[n % 2, APPEND, 0, 8 + n, 1, 1 | 8 | (n << 1), 0, 60] for n in range(3)]
    yield msgspec.msgpack.encode(
        [*opened, *turns, [0, COMMIT], [0, RECEIPT, 0, 1], [1, PAUSE, 1], *messages, [0, COMMIT], [1, PAUSE, 0]]
    )
    offer = [
        [2, OPEN, 1, 0],
        [2, APPEND, 0, 3, 3, 0, 0, 9],
        [3, OPEN, 1, 1],
        [2, COMMIT],
        [3, TAKE, 0, 1],
        [3, TAKE, 0, 2],
        [2, COMMIT],
    ]
    yield msgspec.msgpack.encode(
        [*offer, [2, ERASING, 0, 0, 0], [2, CLOSE, 0], [3, RECONNECT], [0, SWEEP, 150], [0, MIDNIGHT, 3]]
    )
    wrong = [
        [0, OPEN, 0, 0, 250],
        [0, APPEND, 5],
        [1, RAW, b"\x91\x92\x0a\x07"],
        [2, PING, 0, 7],
        [3, FULL, 1],
        [3, OPEN, 2, 0],
        [3, APPEND, 0],
    ]
    yield msgspec.msgpack.encode([*wrong, [0, COMMIT], [1, FRAME, 1]])


class _Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, content: bytes | bytearray | memoryview) -> None:
        hold(not self.closed, "an answer after the end")
        self.written += content

    def close(self) -> None:
        self.closed = True


def _admin_request() -> Attack:
    """A request to the admin port; the first byte says into how large pieces it is cut (0: whole)."""
    port = AdminPort(ready=lambda: None, metrics=lambda: "# the page\n")

    def attack(given: bytes) -> None:
        size, request = given[0] if given else 0, given[1:]
        asking, transport = _Asking(port), _Transport()
        asking._transport = transport
        for place in range(0, len(request), size or len(request) or 1):
            asking.data_received(request[place : place + (size or len(request))])
        head, ended, content = transport.written.partition(b"\r\n\r\n")
        hold(transport.closed == bool(ended), "answered and open, or closed without an answer")
        if not ended:
            hold(len(request) <= HEAD_SIZE + 4, "more than a head, and no answer")
            return
        lines = head.split(b"\r\n")
        hold(all(line.count(b": ") >= 1 for line in lines[1:]), "a header that the client wrote")
        status = int(lines[0].split(b" ")[1])
        length = int(next(line for line in lines if line.startswith(b"Content-Length: ")).split()[1])
        hold(len(content) in (0, length), "another length than is said")
        if status == 200:
            asked = request.partition(b"\r\n\r\n")[0].split(b"\r\n")
            hosts = [line for line in asked[1:] if line.lower().startswith(b"host:")]
            hold(len(hosts) == 1 and asked[0].split()[0] in (b"GET", b"HEAD"), "answered to somebody else (T-062)")
            name = hosts[0].partition(b":")[2].strip().lower()
            hold(name.startswith((b"127.0.0.1", b"localhost", b"[::1]")), "a foreign Host was answered (T-062)")

    return attack


def _requests() -> Iterator[bytes]:
    for path in ("/health", "/ready", "/metrics", "/"):
        yield b"\0" + f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:9100\r\nAccept: */*\r\n\r\n".encode()
    yield b"\7" + b"HEAD /ready HTTP/1.1\r\nhost:\tlocalhost\r\nContent-Length: 0\r\n\r\n"
    yield b"\1" + b"POST /metrics HTTP/1.1\r\nHost: evil.example\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield b"\0" + b"GET /metrics HTTP/1.0\r\nHost: [::1]\r\nHost: 127.0.0.1\r\n\r\n"


def _websocket_request() -> Attack:
    """The request that opens a WebSocket; what picows gets of it, and what goes back, is ours but for the key."""

    def attack(given: bytes) -> None:
        try:
            key = asked_key(given)
        except WireError as error:
            answer = refusal(error)
            hold(answer.endswith(NO_PAGE) and answer.count(b"\r\n\r\n") == 1, "an answer of other words")
            raise
        hold(re.fullmatch(rb"[A-Za-z0-9+/]{22}==", key), "a key that is more than a key")
        hold(b"\r\n" + b"sec-websocket-key" in given.lower(), "a key that nobody named")
        own = own_request(key)
        hold(own.count(b"\r\n\r\n") == 1 and own.endswith(b"\r\n\r\n"), "a request that ends early")
        hold(asked_key(own[:-4]) == key, "a request of our own that we would refuse")

    return attack


def _heads() -> Iterator[bytes]:
    good = own_request(b"AAAAAAAAAAAAAAAAAAAAAA==")[:-4]
    yield good
    yield good.replace(b"Connection: Upgrade", b"connection:keep-alive ,\tUPGRADE") + b"\r\nOrigin: https://relay"
    yield good.replace(b"13", b"8")
    yield good + b"\r\nContent-Length: 0\r\nTransfer-Encoding: chunked"
    yield b"POST /metrics HTTP/1.1\r\nHost: x"


TARGETS = [
    Target(
        name="websocket-request",
        parsers=("hanatalk.transport.asking.asked_key",),
        allowed=(WireError,),
        ready=_websocket_request,
        seeds=_heads,
        longest=4096,
        short=2500,
    ),
    Target(
        name="admin-request",
        parsers=("hanatalk.relay.admin.AdminPort",),
        allowed=(),
        ready=_admin_request,
        seeds=_requests,
        longest=6000,
        short=2500,
    ),
    Target(
        name="relay-core",
        parsers=(
            "hanatalk.relay.core.RelayCore",
            "hanatalk.relay.policy.check_append",
            "hanatalk.wire.proofs.is_worked",
        ),
        allowed=(WireError,),
        ready=_relay_core,
        seeds=_seeds,
        mutate=tree,
        longest=4096,
        short=500,
    ),
]
