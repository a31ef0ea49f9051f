"""What a SQLite store holds, counted from its files alone: for the store itself and for a process that only reads."""

from collections import Counter
from collections.abc import Iterable, Sequence

from hanatalk.cipherfile import EncryptedConnection
from hanatalk.ids import ChannelId
from hanatalk.stores.channels import read_landing
from hanatalk.stores.interface import Holding
from hanatalk.stores.shelves import list_shelves
from hanatalk.wire.classes import EntryClass


def read_holdings(connection: EncryptedConnection, files: Sequence[Iterable[tuple[int, bytes]]]) -> list[Holding]:
    """`Store.holdings` from the rows and the records of both files; works in a process that only reads."""
    counts: Counter[tuple[bytes, int, int, int]] = Counter()
    for shelf in list_shelves(connection):
        for channel_id, entry_class, size, count in connection.all(
            "SELECT channel_id, class, length(body), count(*)"  # noqa: S608
            f" FROM {shelf.table} AS shelf JOIN channel ON number = shelf.n >> 32 GROUP BY 1, 2, 3"
        ):
            counts[channel_id, entry_class, shelf.day, size] += count
    for row in read_landing(connection, files):
        (channel_id,) = connection.only("SELECT channel_id FROM channel WHERE number = ?", (row[1],))
        counts[channel_id, row[3], row[4], row[9]] += 1
    return [
        Holding(channel_id=ChannelId(channel_id), entry_class=EntryClass(entry_class), day=day, size=size, count=count)
        for (channel_id, entry_class, day, size), count in sorted(counts.items())
    ]
