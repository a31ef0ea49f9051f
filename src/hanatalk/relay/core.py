"""The relay without sockets, threads or clocks: requests in, one batch to the store, answers and pushes out.

Whoever runs it (`relay.serve`, the tests' simulated relay) calls `receive` for every message, `commit` when the batch
shall become durable, `feed` for subscribers that read from the store, and writes what `output` returns. Times are
arguments: `now` in seconds of any monotonic clock, `day` in whole UTC days since 1970-01-01.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from hanatalk.errors import StorageError, WireError
from hanatalk.ids import ChannelId, Incarnation, TakeId
from hanatalk.relay.counters import Counters
from hanatalk.relay.opened import Address, Channel, Opened, Peer, Subscription, Unborn
from hanatalk.relay.policy import Challenge, Limits, check_append, check_hello, check_open, check_proof
from hanatalk.relay.signing import SigningKey
from hanatalk.stores import interface as stores
from hanatalk.wire import frames
from hanatalk.wire.channels import receipt_statement
from hanatalk.wire.frames import MESSAGE_SIZE, PushedEntry, SharedEntries
from hanatalk.wire.refusals import RefusalCode
from hanatalk.wire.states import State

FEED_SIZE = 256 << 10  # bytes read from the store for one connection before the next one's turn (HT-R-055)
FEED_ENTRIES = 512
BATCH_OPERATIONS = 2_000
BATCH_SIZE = 8 << 20  # bytes of entries
PUSH_SIZE = 768 << 10  # bytes of entries in one ENTRIES frame; with one more entry still below HT-R-010
_CLOSED = State.CLOSED  # looked up for every request
PUSHED_OVERHEAD = 32  # an upper bound of one pushed entry's encoding beside its bytes


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What the relay tells in LIMITS (HT-R-022) and holds its clients to."""

    limits: Limits = Limits()
    retention: stores.Retention = stores.Retention()
    quota: stores.Quota = stores.Quota()
    policy: str = ""  # the operator's own words, at most 1,024 characters
    access_pass: bytes | None = None

    def __repr__(self) -> str:
        return f"Terms(limits={self.limits}, retention={self.retention}, access_pass={self.access_pass is not None})"


class Committed(msgspec.Struct, frozen=True):
    """What one `commit` did. `failure` is the code of the StorageError that undid all of it, if any."""

    operations: int
    appended: int
    failure: str | None = None


class RelayCore:
    """See the module's docstring. Owns the store; not thread-safe."""

    def __init__(
        self,
        store: stores.Store,
        *,
        key: SigningKey,
        terms: Terms,
        random: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._key = key
        self._terms = terms
        self._limits = terms.limits
        self._random = random
        self._channels: dict[ChannelId, Channel] = {}
        self._unborn = Unborn(terms.limits.unborn_channels)
        self._addresses: dict[bytes, Address] = {}
        self._opened = 0
        self._subscribed = 0
        self._operations: list[stores.Operation] = []
        self._origins: list[tuple[Peer, int, Channel]] = []  # request 0: nobody waits for an answer
        self._batch = 0  # number of the batch that waits
        self._dirty: dict[Peer, None] = {}
        self._hungry: dict[Peer, None] = {}
        self._draining = False
        self.counters = Counters()
        self.peers: dict[Peer, None] = {}
        self.pending_size = 0  # bytes of entries waiting for `commit`
        self.disk_full = False  # set from outside: new appends are refused before they are acknowledged (HT-R-044)
        # Each takes exactly the frame it stands beside.
        self._answers: dict[type[frames.Frame], Callable[[Peer, Any], None]] = {
            frames.Append: self._append,
            frames.Ack: self._acknowledge,
            frames.Hello: self._hello,
            frames.Proof: self._proof,
            frames.Open: self._open,
            frames.Subscribe: self._subscribe,
            frames.Take: self._take,
            frames.Receipt: self._receipt,
            frames.Erase: self._erase,
            frames.Close: self._close,
            frames.Ping: self._ping,
        }

    # --- connections ---

    def connect(self, *, address: bytes | None, now: float) -> Peer:
        """A new connection. `address` is any opaque name of where it comes from, None if that says nothing (loopback).

        A connection over a limit is ended at once with code ``busy`` (HT-R-090).
        """
        known = None
        if address is not None:
            known = self._addresses.get(address)
            if known is None:
                known = self._addresses[address] = Address(self._limits, now=now)
            known.connections += 1
        peer = Peer(self._limits, address=known, challenge=self._challenge(), now=now)
        self.peers[peer] = None
        self.counters.connections += 1
        if self._draining:
            self.end(peer, RefusalCode.DRAINING)
        elif len(self.peers) > self._limits.connections or (
            known is not None and known.connections > self._limits.connections_per_address
        ):
            self.end(peer, RefusalCode.BUSY)
        return peer

    def _challenge(self) -> Challenge | None:
        """What the next connection has to show: the pass, and work while there are many (HT-R-120, HT-R-124)."""
        pass_wanted = self._terms.access_pass is not None
        work = self._limits.work if len(self.peers) >= self._limits.work_from else 0
        if not (pass_wanted or work):
            return None
        return Challenge(challenge=self._random(32), pass_wanted=pass_wanted, work=work)

    def disconnect(self, peer: Peer) -> None:
        """The connection is gone. What it appended before still becomes durable."""
        if peer not in self.peers:
            return
        del self.peers[peer]
        peer.ended = True
        for handle in list(peer.handles):
            self._release(peer, handle)
        self._dirty.pop(peer, None)
        self._hungry.pop(peer, None)
        if peer.address is not None:
            peer.address.connections -= 1

    def end(self, peer: Peer, code: RefusalCode) -> None:
        """Refuse the whole connection (HT-R-017): `output` returns its last words and says that it ended."""
        if not peer.ended:
            peer.ended = True
            peer.connection.end(code)
            self._dirty[peer] = None
            self.counters.end(code)

    def _refuse(self, peer: Peer, request: int, code: str, *, turn: int | None = None) -> None:
        peer.connection.refuse(request, code, turn=turn)
        self.counters.refuse(code)

    def drain(self) -> None:
        """The relay stops: commit what waits, then end every connection with code ``draining``."""
        self._draining = True
        for peer in list(self.peers):
            self.end(peer, RefusalCode.DRAINING)

    def sweep(self, *, now: float) -> list[Peer]:
        """End connections past their deadlines (HT-R-092); returns those to be pinged, idle for half of it."""
        quiet = []
        for peer in list(self.peers):
            if peer.ended:
                continue
            idle = now - peer.seen
            late = peer.connection.state is not State.OPEN and now - peer.connected_at > self._begin_deadline(peer)
            if idle > self._limits.idle_deadline or late:
                self.end(peer, RefusalCode.SLOW)
            elif idle > self._limits.idle_deadline / 2:
                quiet.append(peer)
        for name, address in list(self._addresses.items()):
            if address.forgettable(now=now):
                del self._addresses[name]
        return quiet

    def _begin_deadline(self, peer: Peer) -> float:
        working = peer.connection.state is State.CHALLENGED and peer.challenge is not None and peer.challenge.work
        return self._limits.work_deadline if working else self._limits.hello_deadline

    def pause(self, peer: Peer) -> None:
        """The socket takes no more: nothing is pushed to this connection until `resume` (HT-R-055)."""
        peer.paused = True
        self.counters.slowed += 1
        self._hungry.pop(peer, None)

    def resume(self, peer: Peer) -> None:
        """The socket has drained."""
        peer.paused = False
        if peer.behind:
            self._hungry[peer] = None

    # --- requests ---

    def receive(self, peer: Peer, message: bytes, *, now: float) -> float:
        """Take one binary WebSocket message. Returns for how many seconds nothing more shall be read (HT-R-091).

        Writes wait for `commit`; everything else is answered at once. A malformed message ends the connection.
        """
        if peer.ended:
            return 0.0
        peer.seen = now
        self._dirty[peer] = None
        connection = peer.connection
        try:
            requests = connection.receive(message)
        except WireError as error:
            peer.ended = True
            self.counters.end(error.code.removeprefix("wire."))
            return 0.0
        counters = self.counters
        counters.frames_in += len(requests)
        counters.bytes_in += len(message)
        answers = self._answers
        try:
            for request in requests:
                answers[type(request)](peer, request)
                if connection.state is _CLOSED:
                    return 0.0
        except StorageError:
            self.end(peer, RefusalCode.STORAGE)
            return 0.0
        return peer.spend(len(requests), len(message), now=now)

    def _hello(self, peer: Peer, request: frames.Hello) -> None:
        code = check_hello(request)
        asked = peer.challenge
        if code is not None:
            self.end(peer, code)
        elif asked is None:
            self._begin(peer)
        else:
            peer.connection.answer(frames.Challenge(asked.challenge, asked.pass_wanted, asked.work, self._key.public))

    def _proof(self, peer: Peer, request: frames.Proof) -> None:
        asked = peer.challenge
        assert asked is not None  # the connection hears PROOF after CHALLENGE only
        peer.challenge = None
        access_pass = self._terms.access_pass
        code = check_proof(request, asked, access_pass=access_pass, relay_key=self._key.public)
        if code is not None:
            self.end(peer, code)
        else:
            self._begin(peer)

    def _begin(self, peer: Peer) -> None:
        limits, retention, quota = self._limits, self._terms.retention, self._terms.quota
        peer.connection.answer(
            frames.Limits(
                version=frames.PROTOCOL_VERSION,
                limits=frames.RelayLimits(
                    message_size=MESSAGE_SIZE,
                    entry_size=limits.entry_size,
                    channels=limits.channels,
                    requests_per_second=limits.requests_per_second,
                    bytes_per_second=limits.bytes_per_second,
                    channel_entries=quota.channel_entries,
                    channel_bytes=quota.channel_bytes,
                ),
                retention=frames.RetentionDays(
                    message=retention.message_days, control=retention.control_days, taken=retention.taken_days
                ),
                policy=self._terms.policy,
                signing_key=self._key.public,
            )
        )

    def _open(self, peer: Peer, request: frames.Open) -> None:
        capability = check_open(request)
        if isinstance(capability, RefusalCode):
            self._refuse(peer, request.request, capability)
            return
        if len(peer.handles) >= self._limits.channels or self._opened >= self._limits.channels_in_all:
            self._refuse(peer, request.request, RefusalCode.TOO_MANY_CHANNELS)
            return
        channel_id = ChannelId(request.channel_id)
        state = self._store.channel(channel_id)
        channel = self._channels.get(channel_id)
        if channel is not None and channel.head and state is None:
            self._forgotten(channel)
            channel = None
        if channel is None:
            if state is None:
                incarnation = self._unborn.pop(channel_id) or Incarnation(self._random(16))
                channel = Channel(channel_id, incarnation, head=0)
            else:
                channel = Channel(channel_id, state.incarnation, head=state.head)
            self._channels[channel_id] = channel
        handle = peer.connection.opened(
            request.request,
            incarnation=channel.incarnation,
            head=channel.head,
            turn=0 if state is None else state.turn,
            refused_takes=state.refused_takes if state is not None and capability.write else 0,
        )
        channel.openers += 1
        self._opened += 1
        peer.handles[handle] = Opened(channel, capability)

    def _at(self, peer: Peer, handle: int) -> Opened | None:
        opened = peer.handles.get(handle)
        if opened is None:
            self.end(peer, RefusalCode.UNKNOWN_HANDLE)
        return opened

    def _append(self, peer: Peer, request: frames.Append) -> None:
        opened = peer.handles.get(request.handle) or self._at(peer, request.handle)
        if opened is None:
            return
        code = check_append(request, opened.capability, entry_size=self._limits.entry_size)
        if code is None and self.disk_full:
            code = RefusalCode.RELAY_FULL
        if code is not None:
            self._refuse(peer, request.request, code)
            return
        channel = opened.channel
        self._operations.append(
            stores.Append(
                channel_id=channel.channel_id,
                entry_id=request.entry_id,
                entry_class=request.entry_class,
                entry=request.entry,
                commit=request.commit,
                turn=request.turn,
                burn_after=request.burn_after,
                erase_hash=request.erase_hash,
                incarnation=channel.incarnation,
            )
        )
        self._origins.append((peer, request.request, channel))
        self.pending_size += len(request.entry)

    def _acknowledge(self, peer: Peer, request: frames.Ack) -> None:
        opened = self._at(peer, request.handle)
        if opened is None or not opened.capability.read:
            return
        channel = opened.channel
        # Nobody holds what does not exist yet: a later entry must not burn by an earlier acknowledgement (HT-R-052).
        seq = min(request.seq, channel.head)
        if not seq:
            return
        acknowledge = stores.Acknowledge(channel_id=channel.channel_id, reader=request.reader, seq=seq)
        before = opened.acknowledged
        if before is not None and before[0] == self._batch and before[1] == request.reader:
            # Cumulative: one operation per reader and batch is enough.
            earlier = self._operations[before[2]]
            if type(earlier) is stores.Acknowledge and earlier.seq < seq:
                self._operations[before[2]] = acknowledge
            return
        opened.acknowledged = (self._batch, request.reader, len(self._operations))
        self._operations.append(acknowledge)
        self._origins.append((peer, 0, channel))

    def _take(self, peer: Peer, request: frames.Take) -> None:
        opened = self._at(peer, request.handle)
        if opened is None:
            return
        if not opened.capability.read:
            self._refuse(peer, request.request, RefusalCode.READ_TOKEN_NEEDED)
            return
        take = stores.Take(channel_id=opened.channel.channel_id, take_id=TakeId(request.take_id))
        self._operations.append(take)
        self._origins.append((peer, request.request, opened.channel))

    def _erase(self, peer: Peer, request: frames.Erase) -> None:
        opened = self._at(peer, request.handle)
        if opened is None:
            return
        if not opened.capability.write:
            self._refuse(peer, request.request, RefusalCode.WRITE_TOKEN_NEEDED)
            return
        channel_id = opened.channel.channel_id
        erase = stores.Erase(channel_id=channel_id, seq=request.seq, erase_token=request.erase_token)
        self._operations.append(erase)
        self._origins.append((peer, request.request, opened.channel))

    def _receipt(self, peer: Peer, request: frames.Receipt) -> None:
        opened = self._at(peer, request.handle)
        if opened is None:
            return
        channel, connection = opened.channel, peer.connection
        if not (opened.capability.read or opened.capability.write):
            self._refuse(peer, request.request, RefusalCode.READ_TOKEN_NEEDED)
            return
        if not 1 <= request.seq <= channel.head:
            self._refuse(peer, request.request, RefusalCode.UNKNOWN_ENTRY)
            return
        try:
            control_hash = self._store.control_hash(channel.channel_id, request.seq)
        except StorageError as error:
            if error.code != "storage.forgotten":
                raise
            self._refuse(peer, request.request, RefusalCode.FORGOTTEN)
            return
        statement = receipt_statement(
            channel.channel_id, channel.incarnation, seq=request.seq, control_hash=control_hash
        )
        signature = self._key.sign(statement)
        connection.answer(frames.ReceiptSigned(request.request, request.seq, control_hash, signature))

    def _subscribe(self, peer: Peer, request: frames.Subscribe) -> None:
        opened = self._at(peer, request.handle)
        if opened is None:
            return
        if not opened.capability.read:
            self.end(peer, RefusalCode.READ_TOKEN_NEEDED)
            return
        self._unsubscribe(peer, opened)
        cursor = min(request.after_seq, opened.channel.head)  # above the head it counts as the head (HT-R-051)
        subscription = Subscription(peer, opened.channel, handle=request.handle, cursor=cursor)
        opened.subscription = subscription
        opened.channel.subscriptions[subscription] = None
        self._subscribed += 1
        self._fall_behind(subscription)

    def _close(self, peer: Peer, request: frames.Close) -> None:
        if self._at(peer, request.handle) is not None:
            self._release(peer, request.handle)

    def _ping(self, peer: Peer, request: frames.Ping) -> None:
        peer.connection.answer(frames.Pong(request.number))

    # --- the batch ---

    @property
    def pending(self) -> int:
        """Operations waiting for `commit`."""
        return len(self._operations)

    @property
    def crowded(self) -> bool:
        """True if the batch is as large as one should be: `commit` now."""
        return len(self._operations) >= BATCH_OPERATIONS or self.pending_size >= BATCH_SIZE

    def commit(self, *, day: int) -> Committed:
        """Make the batch durable in one transaction; only then queue its answers, and its entries to subscribers."""
        operations, origins = self._operations, self._origins
        if not operations:
            return Committed(0, 0)
        self._operations, self._origins = [], []
        self._batch += 1
        self.pending_size = 0
        try:
            results = self._store.apply(operations, day=day)
        except StorageError as error:
            # Nothing was stored and nothing was acknowledged: the senders' outboxes keep it (T-080).
            for peer, request, _ in origins:
                if request and not peer.ended:
                    self._refuse(peer, request, RefusalCode.STORAGE)
                    self._dirty[peer] = None
            return Committed(len(operations), 0, error.code)
        appended = repeated = burned = 0
        by_class = self.counters.appended
        dirty, channels = self._dirty, self._channels
        fresh: dict[Channel, list[PushedEntry]] = {}
        for operation, (peer, request, channel), result in zip(operations, origins, results, strict=True):
            dirty[peer] = None
            if type(result) is stores.Stored and type(operation) is stores.Append:
                if not peer.ended:
                    peer.connection.stored(request, result.seq, result.turn)
                if result.repeated:
                    repeated += 1
                    continue
                appended += 1
                by_class[operation.entry_class] += 1
                if channels.get(channel.channel_id) is not channel:
                    channel = self._born(channel)  # noqa: PLW2901 (from here on this one is meant)
                channel.head = result.seq
                if channel.subscriptions:
                    pushed = _pushed(operation, result)
                    if channel in fresh:
                        fresh[channel].append(pushed)
                    else:
                        fresh[channel] = [pushed]
            elif type(result) is stores.Acknowledged:
                burned += result.burned
            elif request and not peer.ended:
                self._answer(peer, request, result)
        self.counters.repeated += repeated
        self.counters.burned += burned
        for channel, entries in fresh.items():
            self._push(channel, entries)
        return Committed(len(operations), appended)

    def _born(self, channel: Channel) -> Channel:
        """The channel as it is open now: the appender may have closed it, others opened it, before the commit."""
        live = self._channels.get(channel.channel_id)
        if live is channel:
            return channel
        self._unborn.pop(channel.channel_id)
        return channel if live is None else live

    def _answer(self, peer: Peer, request: int, result: stores.Result) -> None:
        match result:
            case stores.Refusal():
                self._refuse(peer, request, result.code, turn=result.turn)
            case stores.Taken():
                peer.connection.answer(frames.Taken(request, result.seq, result.entry))
                self.counters.taken += result.seq is not None
            case stores.Erased():
                peer.connection.answer(frames.Erased(request))
                self.counters.erased += 1

    # --- subscribers ---

    def _push(self, channel: Channel, entries: list[PushedEntry]) -> None:
        dirty = self._dirty
        for group in _groups(entries):
            encoded = frames.encode_entries(group)
            raw, size, last = msgspec.Raw(encoded), len(encoded), group[-1].seq
            by_handle: dict[int, SharedEntries] = {}
            room = self._limits.unsent_size - size
            for subscription in channel.subscriptions:
                if subscription.behind:
                    continue
                peer = subscription.peer
                if peer.paused or peer.connection.waiting_size > room:
                    self._fall_behind(subscription)
                    continue
                handle = subscription.handle
                shared = by_handle.get(handle)
                if shared is None:
                    shared = by_handle[handle] = SharedEntries(handle, raw)
                peer.connection.push(shared, size)
                subscription.cursor = last
                dirty[peer] = None

    def _fall_behind(self, subscription: Subscription) -> None:
        subscription.behind = True
        peer = subscription.peer
        peer.behind[subscription] = None
        if not peer.paused:
            self._hungry[peer] = None

    @property
    def hungry(self) -> bool:
        """True if `feed` has something to do."""
        return bool(self._hungry)

    def feed(self) -> None:
        """Give every subscriber that reads from the store its next part; call it again while `hungry`."""
        for peer in list(self._hungry):
            try:
                self._feed(peer)
            except StorageError:
                self.end(peer, RefusalCode.STORAGE)
            if not peer.behind or peer.ended:
                self._hungry.pop(peer, None)

    def _feed(self, peer: Peer) -> None:
        self._dirty[peer] = None  # first: what is queued below is to be written even if there is no room for more
        room = min(FEED_SIZE, self._limits.unsent_size - peer.connection.waiting_size)
        for subscription in list(peer.behind):
            if room <= 0 or peer.ended:
                return
            channel = subscription.channel
            entries: list[stores.StoredEntry] = []
            if subscription.cursor < channel.head:
                entries = self._store.read(
                    channel.channel_id, after=subscription.cursor, entries=FEED_ENTRIES, size=room
                )
            del peer.behind[subscription]
            if entries:
                size = sum(len(entry.entry) + PUSHED_OVERHEAD for entry in entries)
                pushed = [PushedEntry(e.seq, e.turn, e.entry_class, e.commit, e.entry) for e in entries]
                encoded = msgspec.Raw(frames.encode_entries(pushed))
                peer.connection.push(SharedEntries(subscription.handle, encoded), size)
                subscription.cursor = entries[-1].seq
                room -= size
            if entries and subscription.cursor < channel.head:
                peer.behind[subscription] = None  # at the end: every channel of the connection gets its turn
                continue
            subscription.behind = False
            if not subscription.caught_up:
                subscription.caught_up = True
                peer.connection.answer(frames.CaughtUp(subscription.handle, channel.head))

    def _unsubscribe(self, peer: Peer, opened: Opened) -> None:
        subscription = opened.subscription
        if subscription is not None:
            opened.subscription = None
            opened.channel.subscriptions.pop(subscription, None)
            self._subscribed -= 1
            peer.behind.pop(subscription, None)

    def _release(self, peer: Peer, handle: int) -> None:
        opened = peer.handles.pop(handle)
        self._unsubscribe(peer, opened)
        channel = opened.channel
        channel.openers -= 1
        self._opened -= 1
        if not channel.openers and self._channels.get(channel.channel_id) is channel:
            del self._channels[channel.channel_id]
            if not channel.head:
                self._unborn.remember(channel.channel_id, channel.incarnation)

    # --- out ---

    def output(self) -> Iterable[tuple[Peer, list[bytes]]]:
        """What waits to be written, each connection once. A peer whose `ended` is set gets nothing after this."""
        dirty, self._dirty = self._dirty, {}
        # Subscribers that got nothing but the same push get the same bytes, not equal ones.
        pushed: SharedEntries | None = None
        shared: list[bytes] = []
        count = size = 0
        for peer in dirty:
            connection = peer.connection
            count += len(connection.outgoing.frames)
            only = connection.only_push()
            if only is None:
                messages = connection.messages_to_send()
                if not (messages or peer.ended):
                    continue
            elif only is pushed:
                connection.skip_waiting()
                messages = shared
            else:
                pushed, messages = only, connection.messages_to_send()
                shared = messages
            for message in messages:
                size += len(message)
            yield peer, messages
        self.counters.frames_out += count
        self.counters.bytes_out += size

    # --- figures ---

    @property
    def open_channels(self) -> int:
        """Handles given out and not given back, of all connections."""
        return self._opened

    @property
    def subscriptions(self) -> int:
        """Of all connections."""
        return self._subscribed

    def held(self) -> stores.Held:
        """What the store holds."""
        return self._store.held()

    def holdings(self) -> list[stores.Holding]:
        """Everything it holds, one by one: for few entries only."""
        return self._store.holdings()

    # --- time ---

    def tend(self) -> bool:
        """One step of what the store puts off (HT-S-022); call it again while it answers True.

        :raises StorageError: the disk
        """
        return self._store.tend()

    def expire(self, *, day: int) -> stores.Expired:
        """One step of the sweep (HT-R-071); call it again while the answer is true.

        :raises StorageError: the disk
        """
        expired = self._store.expire(day=day)
        self.counters.expired += expired.entries
        if expired.channels:
            for channel in list(self._channels.values()):
                if channel.head and self._store.channel(channel.channel_id) is None:
                    self._forgotten(channel)
        return expired

    def _forgotten(self, channel: Channel) -> None:
        """The store no longer knows an opened channel: its next life is another incarnation (HT-R-005)."""
        self._channels.pop(channel.channel_id, None)
        for peer in list(self.peers):
            if any(opened.channel is channel for opened in peer.handles.values()):
                self.end(peer, RefusalCode.REOPEN)


def _pushed(operation: stores.Append, result: stores.Stored) -> PushedEntry:
    # STORED carries the turn after the entry, ENTRIES the one it was appended in (HT-R-045).
    turn = result.turn - 1 if operation.commit else result.turn
    return PushedEntry(result.seq, turn, operation.entry_class, operation.commit, operation.entry)


def _groups(entries: list[PushedEntry]) -> Iterable[list[PushedEntry]]:
    """What fits one ENTRIES frame each; mostly that is all."""
    group: list[PushedEntry] = []
    size = 0
    for entry in entries:
        entry_size = len(entry.entry) + PUSHED_OVERHEAD
        if group and (size + entry_size > PUSH_SIZE or len(group) == frames.MESSAGE_FRAMES):
            yield group
            group, size = [], 0
        group.append(entry)
        size += entry_size
    yield group
