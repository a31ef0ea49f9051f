"""The states of a connection and every transition between them, as data (HT-R-013, HT-R-017).

Both sides use the same states. The tables name which frame a side may *receive* in a state and where that leads;
a frame that is not in its table ends the connection.
"""

import enum
from collections.abc import Mapping
from typing import Final

from hanatalk.wire import frames
from hanatalk.wire.frames import Frame
from hanatalk.wire.refusals import RefusalCode


class State(enum.Enum):
    """Where one side of a connection stands."""

    AWAITING_HELLO = "awaiting HELLO"  # at the client: awaiting the answer to its HELLO
    CHALLENGED = "challenged"  # HELLO was answered by CHALLENGE, and nothing else has an effect yet (HT-R-121)
    OPEN = "open"
    CLOSED = "closed"


Table = Mapping[State, Mapping[type[Frame], State]]

_REQUESTS: Final = (
    frames.Open,
    frames.Append,
    frames.Subscribe,
    frames.Ack,
    frames.Take,
    frames.Receipt,
    frames.Erase,
    frames.Close,
    frames.Ping,
)
RELAY_RECEIVES: Final[Table] = {
    State.AWAITING_HELLO: {frames.Hello: State.OPEN},  # CHALLENGED if this relay wants to see something first
    # A client that does not know yet that it is challenged goes on; it says all of it again after PROOF.
    State.CHALLENGED: {frames.Proof: State.OPEN} | dict.fromkeys(_REQUESTS, State.CHALLENGED),
    State.OPEN: dict.fromkeys(_REQUESTS, State.OPEN),
    State.CLOSED: {},
}

CLIENT_RECEIVES: Final[Table] = {
    State.AWAITING_HELLO: {
        frames.Limits: State.OPEN,
        frames.Challenge: State.CHALLENGED,
        frames.Refused: State.CLOSED,
    },
    State.CHALLENGED: {frames.Limits: State.OPEN, frames.Refused: State.CLOSED},
    State.OPEN: {
        frames.Opened: State.OPEN,
        frames.Stored: State.OPEN,
        frames.Entries: State.OPEN,
        frames.CaughtUp: State.OPEN,
        frames.Taken: State.OPEN,
        frames.ReceiptSigned: State.OPEN,
        frames.Erased: State.OPEN,
        frames.Pong: State.OPEN,
        frames.Refused: State.OPEN,  # CLOSED if it names no request: the one transition that depends on a field
    },
    State.CLOSED: {},
}


def why_unexpected(state: State, kind: type[Frame]) -> RefusalCode:
    """The code for a frame that `state` has no row for."""
    beginning = kind in (frames.Hello, frames.Limits, frames.Challenge, frames.Proof)
    if state is State.AWAITING_HELLO or (state is State.CHALLENGED and not beginning):
        return RefusalCode.HELLO_FIRST
    if beginning:
        return RefusalCode.HELLO_TWICE
    return RefusalCode.MALFORMED
