"""The relay's end of one connection: messages in, requests out; answers in, messages out. No socket, no clock."""

from hanatalk.errors import WireError
from hanatalk.wire import frames
from hanatalk.wire.frames import ClientFrame, Frame
from hanatalk.wire.outgoing import Outgoing, frame_size
from hanatalk.wire.refusals import RefusalCode
from hanatalk.wire.states import RELAY_RECEIVES, State, why_unexpected

_NUMBERED = frozenset({frames.Open, frames.Append, frames.Take, frames.Receipt, frames.Erase})
# The open state's row leads nowhere else, so there it is enough to know which frames it has, and which are numbered.
assert set(RELAY_RECEIVES[State.OPEN].values()) == {State.OPEN}
_WHILE_OPEN = {kind: kind in _NUMBERED for kind in RELAY_RECEIVES[State.OPEN]}
_OPEN, _CLOSED = State.OPEN, State.CLOSED  # looked up for every message
_SMALL = 96  # bytes, more than any frame without an entry or a text takes


class RelayConnection:
    """Keeps HT-R-010 to HT-R-017 for one client. Requests are the frames themselves; who may do what is decided above.

    Whoever holds it answers with the methods below and writes `messages_to_send`; once `state` is closed, the last of
    these messages says why and the connection has to be dropped.
    """

    __slots__ = ("_challenged", "_last_handle", "_last_request", "outgoing", "state")

    def __init__(self, *, challenged: bool = False) -> None:
        """`challenged`: HELLO is to be answered by CHALLENGE, and requests are heard after PROOF only (HT-R-121)."""
        self.state = State.AWAITING_HELLO
        self._challenged = challenged
        self.outgoing = Outgoing()  # what waits to be sent; to be looked at only
        self._last_request = 0
        self._last_handle = 0

    @property
    def waiting_size(self) -> int:
        """Upper bound of the bytes that `messages_to_send` would return."""
        return self.outgoing.size

    def receive(self, message: bytes) -> list[ClientFrame]:
        """Take one binary WebSocket message: all its requests, in order; without those that come before PROOF.

        PROOF opens the connection here; whoever finds it wrong ends the connection before the next request.

        :raises WireError: the client broke the protocol (HT-R-017). None of the message's requests is returned, the
            refusal is queued, the state is closed.
        """
        if self.state is _CLOSED:
            raise WireError("wire.closed")
        try:
            requests = frames.decode_client_frames(message)
            state: State = self.state
            begun: list[ClientFrame] | None = None
            if state is not _OPEN:
                begun = []
                state = self._begin(requests, begun)
            last_request = self._last_request
            for frame in requests:
                kind = type(frame)
                numbered = _WHILE_OPEN.get(kind)
                if numbered is None:
                    raise WireError(f"wire.{why_unexpected(state, kind)}")
                if numbered:
                    request: int = frame.request  # type: ignore[union-attr]
                    if request <= last_request:
                        raise WireError(f"wire.{RefusalCode.REQUEST_ORDER}")
                    last_request = request
            self.state = state
            self._last_request = last_request
        except WireError as error:
            self.end(RefusalCode(error.code.removeprefix("wire.")))
            raise
        return requests if begun is None else begun + requests

    def _begin(self, requests: list[ClientFrame], begun: list[ClientFrame]) -> State:
        """Move HELLO and PROOF from `requests` to `begun` and drop what has no effect; returns the state after them."""
        state = self.state
        heard = 0
        while state is not _OPEN and heard < len(requests):
            frame = requests[heard]
            heard += 1
            following = RELAY_RECEIVES[state].get(type(frame))
            if following is None:
                raise WireError(f"wire.{why_unexpected(state, type(frame))}")
            if following is not state:
                begun.append(frame)
            state = State.CHALLENGED if state is State.AWAITING_HELLO and self._challenged else following
        del requests[:heard]
        return state

    def answer(self, frame: Frame) -> None:
        """Queue any frame but OPENED and ENTRIES."""
        self.outgoing.add(frame, frame_size(frame))

    def opened(self, request: int, *, incarnation: bytes, head: int, turn: int, refused_takes: int) -> int:
        """Queue OPENED and return the handle it gave out: 1, 2, 3, … (HT-R-031)."""
        self._last_handle += 1
        self.outgoing.add(frames.Opened(request, self._last_handle, incarnation, head, turn, refused_takes), _SMALL)
        return self._last_handle

    def stored(self, request: int, seq: int, turn: int) -> None:
        """Queue STORED (HT-R-041)."""
        self.outgoing.add(frames.Stored(request, seq, turn), _SMALL)

    def push(self, entries: frames.SharedEntries, size: int) -> None:
        """Queue ENTRIES whose list encodes to `size` bytes (HT-R-050)."""
        self.outgoing.add(entries, size + _SMALL)

    def refuse(self, request: int, code: str, *, turn: int | None = None) -> None:
        """Queue REFUSED for one request (HT-R-080)."""
        self.outgoing.add(frames.Refused(request, code, turn, ""), _SMALL)

    def end(self, code: RefusalCode) -> None:
        """Queue the last REFUSED and close (HT-R-017). What was queued before goes out first; once only."""
        if self.state is not _CLOSED:
            self.state = _CLOSED
            self.outgoing.add(frames.Refused(None, code, None, ""), _SMALL)

    def only_push(self) -> frames.SharedEntries | None:
        """The one ENTRIES that waits, if nothing else does: who holds the same one writes the same message."""
        only = self.outgoing.only
        return only if type(only) is frames.SharedEntries else None

    def skip_waiting(self) -> None:
        """Forget what waits: the same message was made by another connection."""
        self.outgoing.clear()

    def messages_to_send(self) -> list[bytes]:
        """Drain what waits, as binary WebSocket messages of at most 1 MiB each (HT-R-010)."""
        return self.outgoing.drain()
