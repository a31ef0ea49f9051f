"""How much all connections together hold of messages that are not whole yet (HT-R-137).

picows collects a message in a buffer that grows by doubling and never shrinks. What is counted here is how far each
buffer was filled: the memory that it costs. A buffer that a message has left is given back to the system by telling it
that the pages are not needed; picows does not notice, since it reads nothing that was not written after.
"""

import sys
from collections.abc import Callable
from typing import Protocol

SMALL = 4 << 10  # bytes that a connection may hold uncounted: about what its buffer takes anyway


class Holder(Protocol):
    """One connection. `pages` is how far its buffers were filled since they were last given back; 0: uncounted."""

    pages: int

    def give_back(self) -> None:
        """Give the pages back that hold nothing."""
        ...

    def drop(self) -> None:
        """Close at once."""
        ...


class Unfinished:
    """The sum.

    :param most: bytes; 0: any number.
    :param reclaim: gives memory back to the system whose content is not needed any more (`relay.pages`).
    """

    def __init__(self, most: int, *, reclaim: Callable[[memoryview], None] = lambda _: None) -> None:
        self.reclaim = reclaim
        self._most = most or sys.maxsize
        self._growing: dict[Holder, None] = {}  # in the midst of a message; first who has been longest
        self._left: dict[Holder, None] = {}  # whose message is whole, but its pages are still taken
        self.bytes = 0
        self.dropped = 0  # connections, since the relay started

    def weigh(self, holder: Holder, filled: int, left: int) -> None:
        """A buffer was filled up to `filled`, more than `SMALL`; `left` of it is of a message that is not whole."""
        if filled > holder.pages:
            self.bytes += filled - holder.pages
            holder.pages = filled
        if left > SMALL:
            self._left.pop(holder, None)
            self._growing.setdefault(holder)
        else:
            self._growing.pop(holder, None)
            self._left.setdefault(holder)
        while self.bytes > self._most:
            self._make_room()

    def leave(self, holder: Holder) -> None:
        """The connection is gone. May be said twice."""
        self._growing.pop(holder, None)
        self._left.pop(holder, None)
        self.bytes -= holder.pages
        holder.pages = 0

    def give_back(self) -> None:
        """What whole messages have left goes back to the system. Called every few seconds."""
        for holder in list(self._left):
            holder.give_back()
            self.leave(holder)

    def _make_room(self) -> None:
        if self._left:
            self.give_back()
        else:
            holder = next(iter(self._growing))
            self.leave(holder)
            self.dropped += 1
            holder.drop()
