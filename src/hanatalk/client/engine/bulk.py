"""What one relay connection carries of attachments. In memory only: all of it is found anew on the next connection.

What changes inside a transaction is only ever added to, so that an event that is taken twice changes nothing.
"""

from collections import deque

from hanatalk.client.engine.formats.chunking import ChunkKey
from hanatalk.ids import ChannelId, EntryId


class Bulk:
    """Attachments are named by the number of their row."""

    def __init__(self) -> None:
        self.channels: dict[ChannelId, int] = {}  # those that are open
        self.queues: dict[int, deque[int]] = {}  # positions that are still to be appended
        self.in_flight: dict[EntryId, tuple[int, int]] = {}  # attachment and position
        self.stored: set[EntryId] = set()  # of those, the ones that the relay has
        self.heads: dict[int, int] = {}  # of own channels, when they were opened
        self.appended: set[int] = set()  # something of these was appended since
        self.erases: dict[int, int] = {}  # seqs that the relay was asked to erase
        self.erased: dict[int, int] = {}  # answers
        self.keys: dict[int, ChunkKey] = {}
        self.arrived: set[int] = set()  # something of these came since the last look
        self.caught_up: set[int] = set()
        self.acknowledged: dict[int, int] = {}  # seq
        self.bad: dict[int, int] = {}  # entries that are no chunk of theirs
        self.seen: dict[int, int] = {}  # last seq
        self.kept: dict[int, dict[int, bytes]] = {}  # digests of chunks that are written, but not known to be durable
        self.files: dict[int, str | None] = {}  # into which they are written
        self.over: set[int] = set()  # nothing more is to be had from these channels
        self.unwritten: dict[int, list[int]] = {}  # positions that the relay has and no row says
        self.told: dict[int, int] = {}  # chunks done when progress was published last

    def let_go(self, channel: ChannelId) -> None:
        """The channel is closed."""
        number = self.channels.pop(channel)
        self.queues.pop(number, None)
        self.keys.pop(number, None)
        self.kept.pop(number, None)
        self.files.pop(number, None)
        self.unwritten.pop(number, None)
        for known in (self.heads, self.erases, self.erased, self.acknowledged, self.bad, self.seen, self.told):
            known.pop(number, None)
        for marked in (self.appended, self.arrived, self.caught_up, self.over):
            marked.discard(number)
        for entry_id in [entry_id for entry_id, (whose, _) in self.in_flight.items() if whose == number]:
            del self.in_flight[entry_id]

    def under_way(self, number: int) -> int:
        """Chunks of an attachment that the relay was sent and has not answered."""
        return sum(whose == number for whose, _ in self.in_flight.values())
