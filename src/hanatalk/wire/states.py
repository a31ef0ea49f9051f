"""The states of a connection and every transition between them, as data (HT-R-013, HT-R-017).

Both sides use the same three states. The tables name which frame a side may *receive* in a state and where that leads;
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
    OPEN = "open"
    CLOSED = "closed"


Table = Mapping[State, Mapping[type[Frame], State]]

RELAY_RECEIVES: Final[Table] = {
    State.AWAITING_HELLO: {frames.Hello: State.OPEN},
    State.OPEN: {
        frames.Open: State.OPEN,
        frames.Append: State.OPEN,
        frames.Subscribe: State.OPEN,
        frames.Ack: State.OPEN,
        frames.Take: State.OPEN,
        frames.Receipt: State.OPEN,
        frames.Erase: State.OPEN,
        frames.Close: State.OPEN,
        frames.Ping: State.OPEN,
    },
    State.CLOSED: {},
}

CLIENT_RECEIVES: Final[Table] = {
    State.AWAITING_HELLO: {frames.Limits: State.OPEN, frames.Refused: State.CLOSED},
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
    if state is State.AWAITING_HELLO:
        return RefusalCode.HELLO_FIRST
    if kind in (frames.Hello, frames.Limits):
        return RefusalCode.HELLO_TWICE
    return RefusalCode.MALFORMED
