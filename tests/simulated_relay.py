"""A relay in memory: the real `RelayConnection`, `RelayCore` and `MemoryStore`, moved by function calls.

It is a peer, not a mock: what a client sees of it is what the real relay does, until a test tells it to misbehave.

    relay = SimulatedRelay()
    pipe = relay.connect(connection)      # a ClientConnection
    connection.open(...)
    events = pipe.pump()                  # bytes to the relay, commit, answers and pushes back

Several pipes: what one appends waits in the others' inboxes until they pump; `relay.pump()` moves all of them.
"""

import copy
import os
from collections.abc import Callable, Iterable, Sequence

from hanatalk.errors import WireError
from hanatalk.ids import ChannelId, EntryId, Incarnation, RelayKey
from hanatalk.relay.core import RelayCore, Terms
from hanatalk.relay.opened import Peer
from hanatalk.relay.signing import SigningKey, ephemeral_key
from hanatalk.stores.interface import Append, Stored
from hanatalk.stores.memory import MemoryStore
from hanatalk.wire import frames
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection
from hanatalk.wire.events import Event
from hanatalk.wire.frames import PushedEntry

Predicate = Callable[[PushedEntry], bool]
Observer = Callable[["Pipe", frames.ClientFrame], None]
Push = tuple[int, PushedEntry]  # a handle and what was pushed there


class SimulatedRelay:
    """See the module's docstring. `day` is the relay's clock, `now` its seconds; both only move when told."""

    def __init__(self, *, day: int = 20_000, terms: Terms | None = None, key: SigningKey | None = None) -> None:
        self.day = day
        self.now = 0.0
        self.key = key if key is not None else ephemeral_key()
        self.terms = terms if terms is not None else Terms()
        self.store = MemoryStore(retention=self.terms.retention, quota=self.terms.quota)
        self.core = self._new_core()
        self.pipes: dict[Peer, Pipe] = {}
        self.observers: list[Observer] = []  # each sees every frame that arrives, before the relay decides on it

    def _new_core(self) -> RelayCore:
        return RelayCore(self.store, key=self.key, terms=self.terms, random=os.urandom)

    @property
    def relay_key(self) -> RelayKey:
        """What HELLO is answered with."""
        return self.key.public

    def connect(self, connection: ClientConnection, *, address: bytes | None = None) -> "Pipe":
        """Join one client's connection to this relay."""
        peer = self.core.connect(address=address, now=self.now)
        pipe = self.pipes[peer] = Pipe(self, peer, connection)
        return pipe

    def settle(self) -> None:
        """Commit what arrived, feed subscribers, put what the relay writes into the pipes' inboxes."""
        while True:
            self.core.commit(day=self.day)
            self.core.feed()
            moved = False
            for peer, messages in list(self.core.output()):
                moved = True
                pipe = self.pipes.get(peer)
                if pipe is not None:
                    pipe.arrive(messages)
            if not (moved or self.core.hungry or self.core.pending):
                return

    def pump(self) -> None:
        """Move bytes on all pipes until nothing moves; events collect in each pipe's `events`."""
        moved = True
        while moved:
            moved = False
            for pipe in list(self.pipes.values()):
                moved = pipe.step() or moved

    def pass_days(self, days: int) -> None:
        """Midnight, `days` times, each with its sweep."""
        for _ in range(days):
            self.day += 1
            while self.core.expire(day=self.day):
                pass
        self.settle()

    # --- the relay as a whole misbehaves ---

    def forget(self) -> None:
        """The store is wiped, the key stays: every channel has a new incarnation. All connections drop (T-024)."""
        self.store = MemoryStore(retention=self.terms.retention, quota=self.terms.quota)
        self._restart()

    def snapshot(self) -> MemoryStore:
        """A copy of everything held, for `go_back`."""
        return copy.deepcopy(self.store)

    def go_back(self, snapshot: MemoryStore) -> None:
        """The store is what it was at `snapshot`: same incarnations, lower heads. All connections drop (T-024)."""
        self.store = copy.deepcopy(snapshot)
        self._restart()

    def restart(self) -> None:
        """The process stops and starts on the same store. All connections drop."""
        self._restart()

    def _restart(self) -> None:
        for pipe in list(self.pipes.values()):
            pipe.drop()
        self.core = self._new_core()

    def plant(
        self, channel_id: ChannelId, entry: bytes, *, entry_class: EntryClass = EntryClass.MESSAGE, commit: bool = False
    ) -> int:
        """The relay puts an entry of its own making into a channel (T-016). Subscribers see it when they subscribe.

        Returns its seq.
        """
        append = Append(
            channel_id=channel_id,
            entry_id=EntryId(os.urandom(16)),
            entry_class=entry_class,
            entry=entry,
            commit=commit,
            incarnation=Incarnation(os.urandom(16)),
        )
        (result,) = self.store.apply([append], day=self.day)
        assert isinstance(result, Stored)
        live = self.core._channels.get(channel_id)
        if live is not None:
            live.head = result.seq
        return result.seq


class Pipe:
    """One client's way to the relay, with a saboteur on it. Without faults bytes pass untouched."""

    def __init__(self, relay: SimulatedRelay, peer: Peer, connection: ClientConnection) -> None:
        self.relay = relay
        self.connection = connection
        self.dropped = False
        self.events: list[Event] = []
        self.sent: list[bytes] = []  # every message of the client, as an observer records it
        self.received: list[bytes] = []  # every message to the client
        self._peer = peer
        self._inbox: list[bytes] = []
        self._pushed: list[Push] = []  # everything ever pushed
        self._held: list[Push] | None = None
        self._withheld: list[Predicate] = []
        self._rewrites: list[Callable[[list[frames.RelayFrame]], list[frames.RelayFrame]]] = []
        self._rewrites_up: list[Callable[[list[frames.ClientFrame]], list[frames.ClientFrame]]] = []
        self._flips: list[int] = []
        self._refusals: list[tuple[type[frames.Frame], str, int | None]] = []

    # --- moving bytes ---

    def pump(self) -> list[Event]:
        """Move bytes both ways until nothing moves; returns (and forgets) the client's events since the last call.

        :raises WireError: what the client's connection raised; the pipe is dropped then.
        """
        while self.step():
            pass
        events, self.events = self.events, []
        return events

    def step(self) -> bool:
        """One exchange; True if anything moved."""
        if self.dropped:
            return False
        moved = False
        for message in self.connection.messages_to_send():
            moved = True
            self.sent.append(message)
            self._to_relay(message)
        self.relay.settle()
        inbox, self._inbox = self._inbox, []
        for arrived in inbox:
            moved = True
            message = _flipped(arrived, self._flips.pop(0)) if self._flips else arrived
            self.received.append(message)
            try:
                self.events.extend(self.connection.receive(message))
            except WireError:
                self.drop()
                raise
        if self._peer.ended and not self._inbox:
            self.drop()
        return moved

    def arrive(self, messages: Iterable[bytes]) -> None:
        """The relay wrote to this client."""
        for message in messages:
            if self._withheld or self._rewrites or self._held is not None:
                rewritten = self._misbehave(frames.decode_relay_frames(message))
                if rewritten:
                    self._inbox.append(frames.encode(rewritten))
            else:
                self._inbox.append(message)
            self._remember(message)

    def drop(self) -> None:
        """The connection breaks: what is on its way either way is lost."""
        if not self.dropped:
            self.dropped = True
            self._inbox.clear()
            self.relay.core.disconnect(self._peer)
            self.relay.pipes.pop(self._peer, None)

    # --- faults ---

    def withhold(self, predicate: Predicate) -> None:
        """Entries for which it is true never reach this client; CAUGHT_UP says nothing of it (T-013, T-014)."""
        self._withheld.append(predicate)

    def rewrite(self, change: Callable[[list[frames.RelayFrame]], list[frames.RelayFrame]]) -> None:
        """Every message to the client passes through `change`, decoded: drop, alter, add, swap frames."""
        self._rewrites.append(change)

    def rewrite_up(self, change: Callable[[list[frames.ClientFrame]], list[frames.ClientFrame]]) -> None:
        """Every message of the client passes through `change`, decoded, before the relay takes it in."""
        self._rewrites_up.append(change)

    def write(self, *written: frames.RelayFrame) -> None:
        """The relay writes these frames of its own making to the client."""
        self._inbox.append(frames.encode(written))

    def alter(self, change: Callable[[PushedEntry], PushedEntry]) -> None:
        """Each pushed entry passes through `change`: flipped ciphertext, another seq, class or turn."""

        def change_all(message: list[frames.RelayFrame]) -> list[frames.RelayFrame]:
            return [
                frames.Entries(frame.handle, [change(entry) for entry in frame.entries])
                if isinstance(frame, frames.Entries)
                else frame
                for frame in message
            ]

        self._rewrites.append(change_all)

    def hold(self) -> None:
        """Keep every pushed entry back until `release`; everything else passes."""
        self._held = []

    def release(self, order: Callable[[list[Push]], Sequence[Push]] = lambda held: held) -> None:
        """Push what `hold` kept back, one entry per message, in the order that `order` puts it (T-012)."""
        held, self._held = self._held, None
        for handle, entry in order(held if held is not None else []):
            self._inbox.append(frames.encode([frames.Entries(handle, [entry])]))

    def behave(self) -> None:
        """No more faults on this pipe."""
        self._withheld.clear()
        self._rewrites.clear()
        self._rewrites_up.clear()
        self._flips.clear()
        self._refusals.clear()

    def flip(self, *bits: int) -> None:
        """The next messages to the client have this bit flipped (counted modulo their length), one each (T-019)."""
        self._flips.extend(bits)

    def replay(self, predicate: Predicate = lambda entry: True) -> None:
        """Push entries that this client has had before once more, of any age (T-011)."""
        for handle, entry in list(self._pushed):
            if predicate(entry):
                self._inbox.append(frames.encode([frames.Entries(handle, [entry])]))

    def refuse(self, code: str, *, operation: type[frames.Frame] = frames.Append, turn: int | None = None) -> None:
        """The next request of this kind is refused and never reaches the relay (T-021). Call it n times for n."""
        self._refusals.append((operation, code, turn))

    # --- inside ---

    def _to_relay(self, message: bytes) -> None:
        if self.relay.observers:
            for frame in frames.decode_client_frames(message):
                for observe in self.relay.observers:
                    observe(self, frame)
        if self._rewrites_up:
            changed = frames.decode_client_frames(message)
            for change in self._rewrites_up:
                changed = change(changed)
            if not changed or self.dropped:
                return
            message = frames.encode(changed)
        if self._refusals:
            kept: list[frames.ClientFrame] = []
            for frame in frames.decode_client_frames(message):
                refusal = next((each for each in self._refusals if isinstance(frame, each[0])), None)
                if refusal is None:
                    kept.append(frame)
                else:
                    self._refusals.remove(refusal)
                    request: int = frame.request  # type: ignore[union-attr]
                    self._inbox.append(frames.encode([frames.Refused(request, refusal[1], refusal[2], "")]))
            if not kept:
                return
            message = frames.encode(kept)
        self.relay.core.receive(self._peer, message, now=self.relay.now)

    def _misbehave(self, message: list[frames.RelayFrame]) -> list[frames.RelayFrame]:
        kept: list[frames.RelayFrame] = []
        for frame in message:
            if isinstance(frame, frames.Entries):
                entries = [entry for entry in frame.entries if not any(hit(entry) for hit in self._withheld)]
                if self._held is not None:
                    self._held.extend((frame.handle, entry) for entry in entries)
                elif entries:
                    kept.append(frames.Entries(frame.handle, entries))
            else:
                kept.append(frame)
        for change in self._rewrites:
            kept = change(kept)
        return kept

    def _remember(self, message: bytes) -> None:
        for frame in frames.decode_relay_frames(message):
            if isinstance(frame, frames.Entries):
                self._pushed.extend((frame.handle, entry) for entry in frame.entries)


def _flipped(message: bytes, bit: int) -> bytes:
    index = bit % (8 * len(message))
    changed = bytearray(message)
    changed[index // 8] ^= 1 << (index % 8)
    return bytes(changed)
