"""T-003: every way to go wrong, with everything made to speak; then what the process said is searched (HT-R-094)."""

import asyncio
import base64
import contextlib
import json
import re
import resource
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from tests.relay.running import RelayProcess, relay_process
from tests.relay.test_metrics import fetch
from tests.relay.test_serve import HANDSHAKE, masked

from hanatalk.errors import WireError
from hanatalk.ids import ReadToken, WriteToken
from hanatalk.wire import channels, frames, proofs
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.refusals import RefusalCode

PASS = b"SECRET pass of this relay"
READ, WRITE = ReadToken(b"SECRET read token".ljust(32, b"r")), WriteToken(b"SECRET write token".ljust(32, b"w"))
CHANNEL = channels.channel_id(READ, WRITE)
R, W = channels.read_verifier(READ), channels.write_verifier(WRITE)
ENTRY_ID = b"SECRET entry id."
OPEN = frames.Open(1, CHANNEL, READ, True, WRITE, True)
OPEN_NOTHING = frames.Open(1, CHANNEL, R, False, W, False)
MESSAGE, CONTROL, INVITE = EntryClass.MESSAGE, EntryClass.CONTROL, EntryClass.INVITE

# What a client may do wrong after it was let in: the frames and the code that answers the last of them.
WRONG: list[tuple[list[frames.Frame], str]] = [
    ([frames.Hello([1])], "hello-twice"),
    ([frames.Proof(bytes(32), 1)], "hello-twice"),
    ([OPEN, OPEN], "request-order"),
    ([frames.Take(1, 7, ENTRY_ID)], "unknown-handle"),
    ([frames.Open(1, bytes(32), READ, True, WRITE, True)], "wrong-channel-id"),
    ([OPEN_NOTHING, frames.Subscribe(1, 0)], "read-token-needed"),
    ([OPEN_NOTHING, frames.Take(2, 1, ENTRY_ID)], "read-token-needed"),
    ([OPEN_NOTHING, frames.Receipt(2, 1, 1)], "read-token-needed"),
    ([OPEN_NOTHING, frames.Append(2, 1, ENTRY_ID, MESSAGE, False, None, None, None, b"SECRET")], "write-token-needed"),
    ([OPEN_NOTHING, frames.Erase(2, 1, 1, b"SECRET".ljust(32))], "write-token-needed"),
    ([OPEN, frames.Append(2, 1, ENTRY_ID, MESSAGE, False, None, None, None, b"SECRET" * 999)], "entry-size"),
    ([OPEN, frames.Append(2, 1, ENTRY_ID, MESSAGE, True, None, None, None, b"SECRET")], "fields"),
    ([OPEN, frames.Append(2, 1, ENTRY_ID, MESSAGE, False, 99, None, None, b"SECRET")], "stale-turn"),
    ([OPEN, frames.Receipt(2, 1, 99)], "unknown-entry"),
    (
        [
            OPEN,
            frames.Append(2, 1, b"SECRET invite id", INVITE, False, None, None, b"h" * 32, b"SECRET"),
            frames.Erase(3, 1, 1, b"SECRET".ljust(32)),
        ],
        "wrong-token",
    ),
    ([OPEN, frames.Erase(2, 1, 99, b"SECRET".ljust(32))], "unknown-entry"),
    ([frames.Open(n, CHANNEL, READ, True, WRITE, True) for n in range(1, 6)], "too-many-channels"),
    (
        [
            OPEN,
            *(frames.Append(2 + n, 1, bytes([n]) * 16, CONTROL, False, None, None, None, b"SECRET") for n in range(9)),
        ],
        "channel-full",
    ),
]


class Talker:
    """Raw bytes to the relay; remembers every port it used and every code it was told."""

    def __init__(self, relay: RelayProcess) -> None:
        self.port = int(relay.url.rpartition(":")[2])
        self.admin_port = int(relay.admin.rpartition(":")[2])
        self.ports = {self.port, self.admin_port}
        self.codes: set[str] = set()
        self.sent = b""
        self._few = asyncio.Semaphore(12)

    async def connect(self, port: int | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.port)
        self.ports.add(writer.get_extra_info("sockname")[1])
        return reader, writer

    async def say(self, *sent: bytes, port: int | None = None) -> None:
        """Send, read until the relay closes or has said nothing for a while, close."""
        async with self._few:
            reader, writer = await self.connect(port)
            said = b""
            with contextlib.suppress(ConnectionError, TimeoutError):
                for piece in sent:
                    self.sent += piece
                    writer.write(piece)
                    await writer.drain()
                while more := await asyncio.wait_for(reader.read(1 << 16), 0.15):
                    said += more
            writer.close()
            self._learn(said)

    async def admitted(self, asked: list[frames.Frame], until: str) -> bool:
        """Show the pass, then these frames, one message each; whether the relay answered with this code."""
        reader, writer = await self.connect()
        writer.write(HANDSHAKE + masked(2, frames.encode([frames.Hello([1])])))
        await reader.readuntil(b"\r\n\r\n")
        head = await reader.readexactly(2)
        (challenge,) = frames.decode_relay_frames(await reader.readexactly(head[1]))
        if not isinstance(challenge, frames.Challenge):  # it is busy
            writer.close()
            return False
        access = proofs.access_proof(PASS, challenge=challenge.challenge, relay_key=challenge.signing_key)
        messages = [frames.encode([frames.Proof(access, None)]), *(frames.encode([frame]) for frame in asked)]
        self.sent += b"".join(messages)
        said = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            for message in messages:
                writer.write(masked(2, message))
                await writer.drain()
            while until.encode() not in said and (more := await asyncio.wait_for(reader.read(1 << 16), 10)):
                said += more
        writer.close()
        self._learn(said)
        return until.encode() in said

    def _learn(self, said: bytes) -> None:
        # A code stands in the bytes as it is; a word of another kind that looks like one does no harm here.
        self.codes |= {code for code in RefusalCode if code.encode() in said}


def malformed() -> list[bytes]:
    """Every frame of a client cut, with a field more, with a field of another type, and of an unknown type."""
    found = [b"", b"\x90", b"\xc1", b"\x91\x91\xcd\xff\xff", b"\x91" * 2_000, b"\xff" * 40]
    for frame, _ in [(OPEN, ""), (frames.Ping(1), ""), *((asked[-1], code) for asked, code in WRONG)]:
        encoded = frames.encode([frame])
        with_one_more = b"\x91" + bytes([encoded[1] + 1]) + encoded[2:] + b"\xa6SECRET"
        found += [
            encoded[:-1],
            encoded + b"SECRET",
            with_one_more,
            encoded.replace(b"SECRET", b"\xc4\xff\x00\x00\x00\x00"),
        ]
    return found


HTTP = [
    b"POST /SECRET HTTP/1.1\r\n\r\n",
    b"GET /SECRET HTTP/1.0\r\n\r\n",
    b"SECRET\r\n\r\n",
    HANDSHAKE.replace(b"GET / ", b"GET /SECRET?SECRET=1 ").replace(b"13", b"12"),
    HANDSHAKE.replace(
        b"Host: x", b"Host: SECRET\r\nX-Forwarded-For: 192.0.2.77\r\nCookie: SECRET\r\nUser-Agent: SECRET"
    ),
    HANDSHAKE.replace(b"Sec-WebSocket-Key: AAAA", b"Sec-WebSocket-Key: SECRET"),
    HANDSHAKE[:-2] + b"SECRET: " + b"SECRET" * 4_000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03SECRET",
    bytes(range(256)),
]
WEBSOCKET = [
    masked(1, b"SECRET"),
    masked(2, b"\x91SECRET", final=False),
    masked(0, b"SECRET"),
    masked(2, b"SECRET", reserved=0x40),
    masked(8, b"\x03\xe8SECRET"),
    masked(9, b"SECRET") + masked(10, b"SECRET"),
    masked(3, b"SECRET"),
    b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"SECRET",
    b"\x82\x06SECRET",  # not masked
]
ADMIN = [
    b"GET /metrics HTTP/1.1\r\nHost: SECRET.example\r\n\r\n",
    b"GET /SECRET HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: SECRET\r\n\r\n",
    b"SECRET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /" + b"SECRET" * 999 + b" HTTP/1.1\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 6\r\n\r\nSECRET",
    b"\xff\xfe SECRET\r\n\r\n",
]


async def misbehave(relay: RelayProcess) -> Talker:
    talker = Talker(relay)
    silent = [await talker.connect() for _ in range(3)]  # never a handshake, or never HELLO: `slow` in the end
    for _, writer in silent[1:]:
        writer.write(HANDSHAKE)
    hello = masked(2, frames.encode([frames.Hello([1])]))
    beginnings: list[list[frames.Frame]] = [
        [frames.Ping(1)],
        [frames.Hello([9])],
        [frames.Hello([1]), frames.Proof(b"SECRET".ljust(32), 1)],
    ]
    pieces = [masked(2, message) for message in malformed()] + WEBSOCKET
    pieces += [masked(2, frames.encode(beginning)) for beginning in beginnings]
    await asyncio.gather(
        *(talker.say(sent) for sent in HTTP),
        *(talker.say(HANDSHAKE, sent) for sent in pieces),
        *(talker.say(HANDSHAKE + hello + sent) for sent in pieces),
        *(talker.say(sent, port=talker.admin_port) for sent in ADMIN),
    )
    for asked, code in WRONG:
        async with asyncio.timeout(30):
            while not await talker.admitted(asked, code):  # it may be busy with those before
                pass
    pings: list[frames.Frame] = [frames.Ping(number) for number in range(300)]
    await talker.admitted([*pings, frames.Hello([1])], "hello-twice")  # above its rate
    for sent in (b"", HANDSHAKE, HANDSHAKE + masked(2, frames.encode([frames.Hello([1])]))[:-1]):
        _, writer = await talker.connect()
        writer.write(sent)
        linger = struct.pack("ii", 1, 0)  # ends with a reset
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()
    crowd = [await talker.connect() for _ in range(60)]
    for reader, writer in crowd:
        writer.write(HANDSHAKE)
        with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            talker._learn(await asyncio.wait_for(reader.read(100), 0.02))
    for _, writer in crowd:
        writer.close()
    resource.prlimit(relay.process.pid, resource.RLIMIT_FSIZE, (4_096, resource.RLIM_INFINITY))
    append = frames.Append(2, 1, b"SECRET disk full", MESSAGE, False, None, None, None, b"SECRET")
    async with asyncio.timeout(60):
        opening = frames.Open(1, OTHER, OTHER_READ, True, WRITE, True)
        while not await talker.admitted([opening, append], "storage"):  # until the crowd is gone it is busy
            pass
    await fetch(relay.admin, "/ready")
    resource.prlimit(relay.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for reader, writer in silent:
        with contextlib.suppress(ConnectionError):
            talker._learn(await asyncio.wait_for(reader.read(), 20))
        writer.close()
    return talker


OTHER_READ = ReadToken(b"SECRET other token".ljust(32, b"o"))
OTHER = channels.channel_id(OTHER_READ, WRITE)


def findings(text: str, talker: Talker, folder: Path) -> list[str]:
    """What of it names somebody or something."""
    named: list[bytes] = [READ, WRITE, R, W, CHANNEL, OTHER, OTHER_READ, ENTRY_ID, PASS]
    shapes: list[Callable[[bytes], str]] = [
        bytes.hex,
        repr,
        lambda raw: base64.b64encode(raw).decode(),
        lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("="),
    ]
    needles = ["SECRET", "secret", "127.0.0.", "192.0.2.77", "localhost", "ws://", "http", str(folder), "store.", "/"]
    needles += [shape(raw) for raw in named for shape in shapes]
    found = [needle for needle in needles if needle in text]
    return found + [str(port) for port in talker.ports if re.search(rf"(?<!\d){port}(?!\d)", text)]


def test_no_way_to_go_wrong_is_told_with_a_name(tmp_path: Path) -> None:
    """T-003, HT-R-094, HT-R-133, HT-R-134: asyncio's, Python's and every library's debugging is on, too."""
    limits = {
        "connections": 40,
        "channels": 4,
        "entry_size": 4_096,
        "requests_per_second": 100,
        "burst_seconds": 1,
        "hello_deadline": 1.0,
        "work": 0,
    }
    with relay_process(
        debug=True,
        store="sqlite",
        data=str(tmp_path),
        limits=limits,
        quota={"channel_entries": 8},
        access_pass=base64.b64encode(PASS).decode(),
        admin_port=0,
        drain=0.5,
    ) as relay:
        talker = asyncio.run(misbehave(relay))
        relay.process.terminate()
        out, relay.log = relay.process.communicate(timeout=20)
    expected = {code for _, code in WRONG} | {
        *("malformed", "not-binary", "fragmented", "hello-first", "version", "access-pass", "busy", "slow", "storage"),
    }
    assert expected <= talker.codes  # it did go wrong in all these ways
    assert out == ""
    assert "commit-failed" in relay.log
    assert "stopped" in relay.log
    own = [json.loads(line) for line in relay.log.splitlines() if "commit-failed" in line]
    assert own[0]["code"].startswith("storage.")
    # On a slow machine asyncio's debugging names a function that took long, by its place in our code.
    slow = re.compile(r"WARNING:asyncio:Executing <.*> took [0-9.]+ seconds")
    places = re.compile(r" at [^ >]*\.py:[0-9]+")
    log = "\n".join(places.sub("", line) if slow.fullmatch(line) else line for line in relay.log.splitlines())
    assert findings(log, talker, tmp_path) == [], log
    # The search finds what is there: in what was sent, and in lines such as a careless program would write.
    assert "SECRET" in findings(talker.sent.decode("latin-1"), talker, tmp_path)
    careless = f"lost connection from 127.0.0.1:{talker.port}, channel {CHANNEL.hex()} in {tmp_path}"
    assert {"127.0.0.", str(talker.port), CHANNEL.hex(), str(tmp_path)} <= set(findings(careless, talker, tmp_path))


def test_the_samples_are_what_they_say() -> None:
    """What is to be malformed is."""
    refused = 0
    for message in malformed():
        try:
            frames.decode_client_frames(message)
        except WireError:
            refused += 1
    assert refused > 60
