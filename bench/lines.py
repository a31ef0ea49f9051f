"""Raw connections of each protocol: enough of it to log in, send prebuilt messages and count delivered ones."""

import asyncio
import base64
import os
import ssl
from collections.abc import Callable
from typing import cast

from bench.load import Pair
from bench.machine import NotMeasured
from hanatalk.ids import EntryId, ReaderId, ReadToken, WriteToken
from hanatalk.wire import frames
from hanatalk.wire.channels import channel_id_of, read_verifier, write_verifier
from hanatalk.wire.classes import EntryClass

SIZE = 1024  # bytes of one message
ANSWER_SECONDS = 20.0


class Line(asyncio.Protocol):
    """A TCP connection. While it is set up, bytes gather in `gathered`; afterwards `hot` gets them."""

    def __init__(self) -> None:
        self.gathered = bytearray()
        self.hot: Callable[[bytes], None] | None = None
        self.lost = False
        self._news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.write = self.transport.write

    def data_received(self, data: bytes) -> None:
        if self.hot is not None:
            self.hot(data)
        else:
            self.gathered += data
            self._news.set()

    def connection_lost(self, _: Exception | None) -> None:
        self.lost = True
        self._news.set()

    async def until(self, needle: bytes) -> bytes:
        """Everything up to and with `needle`. :raises NotMeasured: it does not come"""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while needle not in self.gathered:
                    if self.lost:
                        raise NotMeasured(f"connection lost before {needle!r}: {bytes(self.gathered[-200:])!r}")
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise NotMeasured(f"no {needle!r}: {bytes(self.gathered[-200:])!r}") from None
        end = self.gathered.index(needle) + len(needle)
        found = bytes(self.gathered[:end])
        del self.gathered[:end]
        return found

    async def exactly(self, count: int) -> bytes:
        """The next `count` bytes."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while len(self.gathered) < count:
                    if self.lost:
                        raise NotMeasured("connection lost")
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise NotMeasured("no answer") from None
        found = bytes(self.gathered[:count])
        del self.gathered[:count]
        return found


async def dial(kind: type[Line], port: int, tls: ssl.SSLContext | None = None) -> Line:
    """A connection to a server on loopback."""
    loop = asyncio.get_running_loop()
    _, line = await loop.create_connection(kind, "127.0.0.1", port, ssl=tls)
    return line


# --- Hanatalk --------------------------------------------------------------------------------------------------------


class HanatalkLine(Line):
    """A WebSocket with whole messages; the mask is zero, which a server cannot know before it has unmasked."""

    def __init__(self) -> None:
        super().__init__()
        self.on_frames: Callable[[list[frames.RelayFrame]], None] = lambda _: None
        self._rest = b""
        self._answers: asyncio.Queue[list[frames.RelayFrame]] = asyncio.Queue()
        self.request = 0

    async def greet(self) -> None:
        """WebSocket handshake and HELLO."""
        self.write(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n\r\n" % base64.b64encode(os.urandom(16))
        )
        answer = await self.until(b"\r\n\r\n")
        if b" 101 " not in answer.split(b"\r\n")[0]:
            raise NotMeasured(f"no WebSocket: {answer[:80]!r}")
        self.on_frames = self._answers.put_nowait
        self.hot = self.messages
        if self.gathered:
            self.messages(bytes(self.gathered))
        self.say([frames.Hello([frames.PROTOCOL_VERSION])])
        await self.answer(frames.Limits)

    async def answer(self, kind: type[frames.Frame]) -> frames.Frame:
        """The next frame of this kind."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while True:
                    for frame in await self._answers.get():
                        if isinstance(frame, kind):
                            return frame
                        if isinstance(frame, frames.Refused):
                            raise NotMeasured(f"refused: {frame.code}")
        except TimeoutError:
            raise NotMeasured(f"no {kind.__name__}") from None

    async def open(self, read: bytes, write: bytes, *, reads: bool, writes: bool) -> int:
        """A handle on the channel of two tokens."""
        verifiers = read_verifier(ReadToken(read)), write_verifier(WriteToken(write))
        self.request += 1
        self.say(
            [
                frames.Open(
                    self.request,
                    channel_id_of(*verifiers),
                    read if reads else verifiers[0],
                    reads,
                    write if writes else verifiers[1],
                    writes,
                )
            ]
        )
        opened = await self.answer(frames.Opened)
        assert isinstance(opened, frames.Opened)
        return opened.handle

    def say(self, said: list[frames.Frame]) -> None:
        """One binary message."""
        message = frames.encode(said)
        size = len(message)
        if size < 126:
            head = b"\x82" + bytes([0x80 | size])
        elif size < 65_536:
            head = b"\x82\xfe" + size.to_bytes(2, "big")
        else:
            head = b"\x82\xff" + size.to_bytes(8, "big")
        self.write(head + b"\0\0\0\0" + message)

    def messages(self, data: bytes) -> None:
        """Cut the stream into messages; answer pings."""
        if self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        while end - position >= 2:
            size, start = data[position + 1], position + 2
            if size == 126:
                size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
            elif size == 127:
                size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
            if start + size > end:
                break
            if data[position] == 0x82:
                self.on_frames(frames.decode_relay_frames(data[start : start + size]))
            elif data[position] == 0x89:
                self.write(b"\x8a" + bytes([0x80 | size]) + b"\0\0\0\0" + data[start : start + size])
            position = start + size
        self._rest = data[position:]


class HanatalkPair(Pair):
    """A appends to a channel, B is subscribed, gets each entry and acknowledges it: the acknowledgement burns it.

    `echo`: A is subscribed too and acknowledges its own entries, as people's clients do (docs/adr/0007).
    """

    def __init__(
        self, sender: HanatalkLine, receiver: HanatalkLine, *, handles: tuple[int, int], echo: bool = False
    ) -> None:
        super().__init__()
        self._burn_after = 2 if echo else 1
        self._own_reader = ReaderId(os.urandom(16))
        self.sender, self.receiver = sender, receiver
        self.entry = os.urandom(SIZE)
        self._handle, self._reading = handles
        self._reader = ReaderId(os.urandom(16))
        self.refused = 0
        sender.on_frames = self._stored
        receiver.on_frames = self._entries

    def send(self, count: int) -> None:
        request, handle, entry = self.sender.request, self._handle, self.entry
        self.sender.request += count
        ids, burn_after = os.urandom(16 * count), self._burn_after
        self.sender.say(
            [
                frames.Append(
                    request + 1 + n,
                    handle,
                    EntryId(ids[16 * n : 16 * n + 16]),
                    EntryClass.MESSAGE,
                    False,
                    0,
                    burn_after,
                    None,
                    entry,
                )
                for n in range(count)
            ]
        )

    def _stored(self, got: list[frames.RelayFrame]) -> None:
        last = 0
        for frame in got:
            if type(frame) is frames.Entries:
                last = frame.entries[-1].seq
            elif type(frame) is not frames.Stored:
                self.refused += 1
        if last:
            self.sender.say([frames.Ack(self._handle, self._own_reader, last)])

    def _entries(self, got: list[frames.RelayFrame]) -> None:
        count = last = 0
        for frame in got:
            if type(frame) is frames.Entries:
                count += len(frame.entries)
                last = frame.entries[-1].seq
        if count:
            self.receiver.say([frames.Ack(self._reading, self._reader, last)])
            self.on_arrived(self, count)

    def close(self) -> None:
        self.sender.transport.abort()
        self.receiver.transport.abort()


async def hanatalk_pairs(port: int, count: int, tls: ssl.SSLContext | None = None, *, echo: bool = False) -> list[Pair]:
    """`count` channels, each with one who may only write (`echo`: read too) and one who may only read."""
    pairs: list[Pair] = []
    for _ in range(count):
        read, write = os.urandom(32), os.urandom(32)
        ends = []
        for reads in (False, True):
            line = cast(HanatalkLine, await dial(HanatalkLine, port, tls))
            await line.greet()
            ends.append((line, await line.open(read, write, reads=reads or echo, writes=not reads)))
        (sender, handle), (receiver, reading) = ends
        for line, its_handle in ends[0 if echo else 1 :]:
            line.say([frames.Subscribe(its_handle, 0)])
            await line.answer(frames.CaughtUp)
        pairs.append(HanatalkPair(sender, receiver, handles=(handle, reading), echo=echo))
    return pairs


# --- XMPP ------------------------------------------------------------------------------------------------------------

_STREAM = (
    b"<?xml version='1.0'?><stream:stream to='localhost' xmlns='jabber:client'"
    b" xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)
_END = b"</message>"


class XmppLine(Line):
    """Plain SASL over plain TCP, one resource, one presence."""

    async def log_in(self, name: str, *, register: bool) -> None:
        """As `name`@localhost, whose password is its name."""
        self.write(_STREAM)
        await self.until(b"</stream:features>")
        if register:
            self.write(
                f"<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{name}</username>"
                f"<password>{name}</password></query></iq>".encode()
            )
            answer = await self.until(b">")
            while b"id='r'" not in answer and b'id="r"' not in answer:
                answer = await self.until(b">")
            if b"error" in answer and b"conflict" not in await self.until(b"</iq>"):
                raise NotMeasured(f"registration: {answer!r}")
        secret = base64.b64encode(f"\0{name}\0{name}".encode()).decode()
        self.write(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>".encode())
        await self.until(b"<success")
        await self.until(b">")
        self.write(_STREAM)
        await self.until(b"</stream:features>")
        self.write(
            b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind></iq>"
        )
        await self.until(b"</iq>")
        self.write(b"<presence/>")


class XmppPair(Pair):
    """A sends chat messages to B's full address."""

    def __init__(self, sender: XmppLine, receiver: XmppLine, *, to: str) -> None:
        super().__init__()
        self.sender, self.receiver = sender, receiver
        body = base64.b64encode(os.urandom(SIZE))[:SIZE].decode()
        self._stanza = f"<message to='{to}@localhost/r' type='chat'><body>{body}</body></message>".encode()
        self._tail = b""
        sender.hot = lambda _: None
        receiver.hot = self._received

    def send(self, count: int) -> None:
        self.sender.write(self._stanza * count)

    def _received(self, data: bytes) -> None:
        data = self._tail + data
        self._tail = data[1 - len(_END) :]
        count = data.count(_END)
        if count:
            self.on_arrived(self, count)

    def close(self) -> None:
        self.sender.transport.abort()
        self.receiver.transport.abort()


async def xmpp_pairs(port: int, count: int, *, register: bool) -> list[Pair]:
    """Accounts a0, b0, a1, b1, …"""
    pairs: list[Pair] = []
    for number in range(count):
        ends = []
        for name in (f"a{number}", f"b{number}"):
            line = cast(XmppLine, await dial(XmppLine, port))
            await line.log_in(name, register=register)
            ends.append(line)
        pairs.append(XmppPair(ends[0], ends[1], to=f"b{number}"))
    await asyncio.sleep(0.5)  # presences
    return pairs


# --- MQTT ------------------------------------------------------------------------------------------------------------


class MqttLine(Line):
    """MQTT 3.1.1."""

    async def log_in(self, name: str) -> None:
        """A session of its own that starts clean."""
        rest = b"\x00\x04MQTT\x04\x02\x00\x00" + len(name).to_bytes(2, "big") + name.encode()
        self.write(b"\x10" + bytes([len(rest)]) + rest)
        if await self.exactly(4) != b"\x20\x02\x00\x00":
            raise NotMeasured("no CONNACK")

    async def subscribe(self, topic: str) -> None:
        """At QoS 1."""
        rest = b"\x00\x01" + len(topic).to_bytes(2, "big") + topic.encode() + b"\x01"
        self.write(b"\x82" + bytes([len(rest)]) + rest)
        if await self.exactly(5) != b"\x90\x03\x00\x01\x01":
            raise NotMeasured("no SUBACK")


class MqttPair(Pair):
    """A publishes at QoS 1, B acknowledges what it gets."""

    def __init__(self, sender: MqttLine, receiver: MqttLine, topic: str) -> None:
        super().__init__()
        self.sender, self.receiver = sender, receiver
        rest = 2 + len(topic) + 2 + SIZE
        self._head = b"\x32" + bytes([0x80 | rest & 0x7F, rest >> 7]) + len(topic).to_bytes(2, "big") + topic.encode()
        self._body = os.urandom(SIZE)
        self._whole = 3 + rest
        self._number = 0
        self._rest = b""
        sender.hot = lambda _: None
        receiver.hot = self._received

    def send(self, count: int) -> None:
        parts = []
        for _ in range(count):
            self._number = self._number % 65_535 + 1
            parts += [self._head, self._number.to_bytes(2, "big"), self._body]
        self.sender.write(b"".join(parts))

    def _received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        whole, at = self._whole, len(self._head)
        count = len(data) // whole
        self._rest = data[count * whole :]
        if count:
            self.receiver.write(
                b"".join([b"\x40\x02" + data[n * whole + at : n * whole + at + 2] for n in range(count)])
            )
            self.on_arrived(self, count)

    def close(self) -> None:
        self.sender.transport.abort()
        self.receiver.transport.abort()


async def mqtt_pairs(port: int, count: int) -> list[Pair]:
    """One topic for each pair."""
    pairs: list[Pair] = []
    for number in range(count):
        sender, receiver = cast(MqttLine, await dial(MqttLine, port)), cast(MqttLine, await dial(MqttLine, port))
        await sender.log_in(f"a{number}")
        await receiver.log_in(f"b{number}")
        topic = f"t/{number:04}"
        await receiver.subscribe(topic)
        pairs.append(MqttPair(sender, receiver, topic))
    return pairs


async def xmpp_idle(port: int, count: int, *, register: bool, first: int = 0) -> list[Line]:
    """Logged in, and silent from then on."""
    found: list[Line] = []
    for number in range(first, first + count):
        line = cast(XmppLine, await dial(XmppLine, port))
        await line.log_in(f"{'ab'[number % 2]}{number // 2}", register=register)
        found.append(line)
    return found
