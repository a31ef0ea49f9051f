"""The client's end of one relay connection: calls in, messages out; messages in, events out. No socket, no clock."""

from collections import deque
from collections.abc import Callable

from hanatalk.errors import UsageError, WireError
from hanatalk.ids import ChannelId, EntryId, Incarnation, ReaderId, RelayKey, TakeId, exact
from hanatalk.wire import events, frames, proofs
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.events import Event
from hanatalk.wire.frames import ENTRY_SIZE, MESSAGE_SIZE, PROTOCOL_VERSION
from hanatalk.wire.outgoing import Outgoing, frame_size
from hanatalk.wire.refusals import RefusalCode
from hanatalk.wire.states import CLIENT_RECEIVES, State, why_unexpected


class _Channel:
    """One OPEN of one channel on this connection."""

    __slots__ = ("channel_id", "closing", "handle", "waiting")

    def __init__(self, channel_id: ChannelId) -> None:
        self.channel_id = channel_id
        self.handle: int | None = None  # None until OPENED
        self.closing = False
        # What was called before OPENED came: given the handle, each queues its frame.
        self.waiting: deque[tuple[Callable[[int], None], EntryId | None]] = deque()


class _Asked:
    """A request that the relay owes an answer."""

    __slots__ = ("channel", "entry_id", "operation", "seq", "take_id")

    def __init__(
        self,
        operation: str,
        channel: _Channel,
        *,
        entry_id: EntryId | None = None,
        seq: int = 0,
        take_id: TakeId | None = None,
    ) -> None:
        self.operation = operation
        self.channel = channel
        self.entry_id = entry_id
        self.seq = seq
        self.take_id = take_id


class ClientConnection:
    """One connection to one relay. Channels are named by `ChannelId`; handles and request numbers stay inside.

    Calls on a channel whose OPENED has not come yet wait and go out in order once it has. Nothing the relay sends is
    believed beyond its form: seqs may repeat, jump or go back, entries are whatever the relay pushed.
    """

    def __init__(self, *, access_pass: bytes | None = None) -> None:
        """Queue HELLO. `access_pass` is the relay operator's, shown only to a relay that asks (HT-R-021)."""
        self._access_pass = access_pass
        self._challenge: frames.Challenge | None = None
        self._proved = False  # PROOF is queued
        self._nonce = 0  # the next one to try
        self._early: list[frames.Frame] = []  # sent before LIMITS: a relay with a challenge hears it after PROOF only
        self._state = State.AWAITING_HELLO
        self._outgoing = Outgoing()
        self._message_size = MESSAGE_SIZE
        self._channels: dict[ChannelId, _Channel] = {}
        self._by_handle: dict[int, _Channel] = {}
        self._last_handle = 0
        self._asked: dict[int, _Asked] = {}
        self._last_request = 0
        self._last_ping = 0
        self._last_pong = 0
        hello = frames.Hello(versions=[PROTOCOL_VERSION])
        self._outgoing.add(hello, frame_size(hello))

    # --- calls ---

    @property
    def state(self) -> State:
        """Awaiting the answer to HELLO, open, or closed."""
        return self._state

    def is_open(self, channel_id: ChannelId) -> bool:
        """True once OPENED has come, until `close`."""
        channel = self._channels.get(channel_id)
        return channel is not None and channel.handle is not None

    def open(
        self,
        channel_id: ChannelId,
        *,
        read: bytes,
        write: bytes,
        read_is_token: bool = True,
        write_is_token: bool = True,
    ) -> None:
        """OPEN a channel with tokens or verifiers, 32 bytes each (HT-R-030). Answered by `ChannelOpened`.

        :raises UsageError: ``wire.channel-already-open``
        """
        if channel_id in self._channels:
            raise UsageError("wire.channel-already-open")
        channel = self._channels[channel_id] = _Channel(channel_id)
        self._send(
            frames.Open(
                request=self._ask(_Asked("open", channel)),
                channel_id=exact(channel_id, 32, "channel"),
                read=exact(read, 32, "read"),
                read_is_token=read_is_token,
                write=exact(write, 32, "write"),
                write_is_token=write_is_token,
            )
        )

    def subscribe(self, channel_id: ChannelId, after_seq: int) -> None:
        """SUBSCRIBE from the cursor on (HT-R-050): `EntryReceived` …, `CaughtUp`, then live."""
        self._when_open(channel_id, lambda handle: self._send(frames.Subscribe(handle=handle, after_seq=after_seq)))

    def append(
        self,
        channel_id: ChannelId,
        *,
        entry_id: EntryId,
        entry_class: EntryClass,
        entry: bytes,
        commit: bool = False,
        turn: int | None = None,
        burn_after: int | None = None,
        erase_hash: bytes | None = None,
    ) -> None:
        """APPEND an entry of 1 to 65,536 bytes (HT-R-040). Answered by `EntryStored` or `Refused`.

        :raises UsageError: ``wire.entry-size``, ``wire.channel-not-open``
        """
        if not 1 <= len(entry) <= ENTRY_SIZE:
            raise UsageError("wire.entry-size", limit=ENTRY_SIZE, got=len(entry))
        exact(entry_id, 16, "entry")

        def send(handle: int) -> None:
            self._send(
                frames.Append(
                    request=self._ask(_Asked("append", self._by_handle[handle], entry_id=entry_id)),
                    handle=handle,
                    entry_id=entry_id,
                    entry_class=entry_class,
                    commit=commit,
                    turn=turn,
                    burn_after=burn_after,
                    erase_hash=erase_hash,
                    entry=entry,
                )
            )

        self._when_open(channel_id, send, entry_id=entry_id)

    def acknowledge(self, channel_id: ChannelId, *, reader: ReaderId, seq: int) -> None:
        """ACK everything up to `seq` for this reader (HT-R-052). Not answered."""
        exact(reader, 16, "reader")
        self._when_open(channel_id, lambda handle: self._send(frames.Ack(handle=handle, reader=reader, seq=seq)))

    def take(self, channel_id: ChannelId, take_id: TakeId) -> None:
        """TAKE the oldest entry nobody took (HT-R-053). Answered by `EntryTaken`."""
        exact(take_id, 16, "take")

        def send(handle: int) -> None:
            request = self._ask(_Asked("take", self._by_handle[handle], take_id=take_id))
            self._send(frames.Take(request=request, handle=handle, take_id=take_id))

        self._when_open(channel_id, send)

    def receipt(self, channel_id: ChannelId, seq: int) -> None:
        """Ask for a RECEIPT (HT-R-060). Answered by `ReceiptSigned`."""

        def send(handle: int) -> None:
            request = self._ask(_Asked("receipt", self._by_handle[handle], seq=seq))
            self._send(frames.Receipt(request=request, handle=handle, seq=seq))

        self._when_open(channel_id, send)

    def erase(self, channel_id: ChannelId, *, seq: int, erase_token: bytes) -> None:
        """ERASE an entry (HT-R-054). Answered by `EntryErased`."""
        exact(erase_token, 32, "erase token")

        def send(handle: int) -> None:
            request = self._ask(_Asked("erase", self._by_handle[handle], seq=seq))
            self._send(frames.Erase(request=request, handle=handle, seq=seq, erase_token=erase_token))

        self._when_open(channel_id, send)

    def close(self, channel_id: ChannelId) -> None:
        """Give the channel's handle back (HT-R-033). Answers still owed come; pushes do not.

        :raises UsageError: ``wire.channel-not-open``
        """
        channel = self._channels.pop(channel_id, None)
        if channel is None:
            raise UsageError("wire.channel-not-open")
        if channel.handle is None:
            channel.closing = True
        else:
            self._close_handle(channel.handle)

    def ping(self) -> None:
        """PING (HT-R-019). Answered by `Pong`."""
        self._last_ping += 1
        self._send(frames.Ping(number=self._last_ping))

    @property
    def working(self) -> bool:
        """True while the relay waits for work: call `work` until it is done (HT-R-122)."""
        return self._state is State.CHALLENGED and not self._proved

    def work(self, tries: int) -> None:
        """Try so many nonces more, about a microsecond each; the right one queues PROOF."""
        challenge = self._challenge
        if challenge is None or not self.working:
            return
        found = proofs.search(
            self._nonce,
            tries,
            challenge=challenge.challenge,
            relay_key=challenge.signing_key,
            work=challenge.work,
        )
        self._nonce += tries
        if found is not None:
            self._prove(challenge, found)

    # --- bytes ---

    def messages_to_send(self) -> list[bytes]:
        """Drain what waits, as binary WebSocket messages of at most 1 MiB each (HT-R-010)."""
        return self._outgoing.drain(self._message_size)

    def receive(self, message: bytes) -> list[Event]:
        """Take one binary WebSocket message.

        :raises WireError: the relay broke the protocol; the connection is closed and must be dropped. Nothing of this
            message was reported; a fresh connection gets it again from the cursor.
        """
        if self._state is State.CLOSED:
            raise WireError("wire.closed")
        try:
            reported: list[Event] = []
            for frame in frames.decode_relay_frames(message):
                following = CLIENT_RECEIVES[self._state].get(type(frame))
                if following is None:
                    raise WireError(f"wire.{why_unexpected(self._state, type(frame))}")
                self._state = following
                self._take_in(frame, reported)
        except WireError:
            self._end()
            raise
        return reported

    # --- inside ---

    def _send(self, frame: frames.Frame) -> None:
        if self._state in (State.AWAITING_HELLO, State.CHALLENGED):
            self._early.append(frame)
        if self._state is not State.CLOSED and not self.working:
            self._outgoing.add(frame, frame_size(frame))

    def _ask(self, asked: _Asked) -> int:
        self._last_request += 1
        self._asked[self._last_request] = asked
        return self._last_request

    def _when_open(
        self, channel_id: ChannelId, send: Callable[[int], None], *, entry_id: EntryId | None = None
    ) -> None:
        channel = self._channels.get(channel_id)
        if channel is None:
            raise UsageError("wire.channel-not-open")
        if channel.handle is None:
            channel.waiting.append((send, entry_id))
        else:
            send(channel.handle)

    def _close_handle(self, handle: int) -> None:
        del self._by_handle[handle]
        self._send(frames.Close(handle=handle))

    def _end(self) -> None:
        self._state = State.CLOSED
        self._outgoing.clear()
        self._early.clear()
        self._asked.clear()
        self._channels.clear()
        self._by_handle.clear()

    def _take_in(self, frame: frames.RelayFrame, reported: list[Event]) -> None:
        match frame:
            case frames.Entries():
                channel = self._pushed_to(frame.handle)
                if channel is not None:
                    channel_id = channel.channel_id
                    reported.extend(
                        events.EntryReceived(channel_id, e.seq, e.turn, e.entry_class, e.commit, e.entry)
                        for e in frame.entries
                    )
            case frames.Stored():
                asked = self._answered(frame.request, "append")
                if asked.entry_id is not None:
                    stored = events.EntryStored(asked.channel.channel_id, asked.entry_id, frame.seq, frame.turn)
                    reported.append(stored)
            case frames.CaughtUp():
                channel = self._pushed_to(frame.handle)
                if channel is not None:
                    reported.append(events.CaughtUp(channel.channel_id, frame.seq))
            case frames.Opened():
                self._opened(frame, reported)
            case frames.Refused():
                self._refused(frame, reported)
            case frames.Taken():
                self._taken(frame, reported)
            case frames.ReceiptSigned():
                asked = self._answered(frame.request, "receipt")
                if frame.seq != asked.seq:
                    raise WireError(f"wire.{RefusalCode.UNEXPECTED_ANSWER}")
                channel_id = asked.channel.channel_id
                reported.append(events.ReceiptSigned(channel_id, frame.seq, frame.control_hash, frame.signature))
            case frames.Erased():
                asked = self._answered(frame.request, "erase")
                reported.append(events.EntryErased(asked.channel.channel_id, asked.seq))
            case frames.Pong():
                if not self._last_pong < frame.number <= self._last_ping:
                    raise WireError(f"wire.{RefusalCode.UNEXPECTED_ANSWER}")
                self._last_pong = frame.number
                reported.append(events.Pong(frame.number))
            case frames.Limits():
                self._hello_answered(frame, reported)
            case frames.Challenge():
                self._challenged(frame, reported)

    def _pushed_to(self, handle: int) -> _Channel | None:
        """The channel, or None if we have closed that handle: its last pushes may cross our CLOSE."""
        channel = self._by_handle.get(handle)
        if channel is None and not 1 <= handle <= self._last_handle:
            raise WireError(f"wire.{RefusalCode.UNKNOWN_HANDLE}")
        return channel

    def _answered(self, request: int, operation: str) -> _Asked:
        asked = self._asked.pop(request, None)
        if asked is None or asked.operation != operation:
            raise WireError(f"wire.{RefusalCode.UNEXPECTED_ANSWER}")
        return asked

    def _challenged(self, frame: frames.Challenge, reported: list[Event]) -> None:
        if frame.pass_wanted and self._access_pass is None:
            reported.append(events.Refused(None, None, RefusalCode.ACCESS_PASS_NEEDED, None, "", "connection"))
            self._end()
            return
        self._challenge = frame
        self._outgoing.clear()  # it would not be heard now
        if not frame.work:
            self._prove(frame, None)

    def _prove(self, challenge: frames.Challenge, nonce: int | None) -> None:
        access = None
        if challenge.pass_wanted and self._access_pass is not None:
            access = proofs.access_proof(
                self._access_pass, challenge=challenge.challenge, relay_key=challenge.signing_key
            )
        self._proved = True
        for frame in (frames.Proof(access, nonce), *self._early):
            self._outgoing.add(frame, frame_size(frame))

    def _hello_answered(self, frame: frames.Limits, reported: list[Event]) -> None:
        if self._challenge is not None and not (self._proved and frame.signing_key == self._challenge.signing_key):
            # What was proved was proved to another key's relay.
            raise WireError(f"wire.{RefusalCode.UNEXPECTED_ANSWER}")
        self._early.clear()
        if frame.version != PROTOCOL_VERSION:
            raise WireError(f"wire.{RefusalCode.VERSION}", got=frame.version)
        # A relay may only lower the limit, and never below what one entry needs.
        self._message_size = min(MESSAGE_SIZE, max(frame.limits.message_size, 2 * ENTRY_SIZE))
        key = RelayKey(frame.signing_key)
        reported.append(events.HelloAnswered(frame.limits, frame.retention, frame.policy, key))

    def _opened(self, frame: frames.Opened, reported: list[Event]) -> None:
        channel = self._answered(frame.request, "open").channel
        if frame.handle != self._last_handle + 1:
            raise WireError(f"wire.{RefusalCode.UNKNOWN_HANDLE}")
        self._last_handle = channel.handle = frame.handle
        self._by_handle[frame.handle] = channel
        if not channel.closing:
            reported.append(
                events.ChannelOpened(
                    channel.channel_id,
                    Incarnation(frame.incarnation),
                    frame.head,
                    frame.turn,
                    frame.refused_takes,
                )
            )
        while channel.waiting:
            send, _ = channel.waiting.popleft()
            send(frame.handle)
        if channel.closing:
            self._close_handle(frame.handle)

    def _taken(self, frame: frames.Taken, reported: list[Event]) -> None:
        asked = self._answered(frame.request, "take")
        if (frame.seq is None) is not (frame.entry is None):
            raise WireError(f"wire.{RefusalCode.MALFORMED}")
        if asked.take_id is not None:
            reported.append(events.EntryTaken(asked.channel.channel_id, asked.take_id, frame.seq, frame.entry))

    def _refused(self, frame: frames.Refused, reported: list[Event]) -> None:
        if frame.request is None:
            reported.append(events.Refused(None, None, frame.code, frame.turn, frame.detail, "connection"))
            self._end()
            return
        asked = self._asked.pop(frame.request, None)
        if asked is None:
            raise WireError(f"wire.{RefusalCode.UNEXPECTED_ANSWER}")
        channel_id = asked.channel.channel_id
        reported.append(
            events.Refused(channel_id, asked.entry_id, frame.code, frame.turn, frame.detail, asked.operation)
        )
        if asked.operation == "open":
            channel = asked.channel
            if self._channels.get(channel_id) is channel:
                del self._channels[channel_id]
            for _, entry_id in channel.waiting:
                if entry_id is not None:
                    refused = events.Refused(channel_id, entry_id, frame.code, None, frame.detail, "append")
                    reported.append(refused)
            channel.waiting.clear()
