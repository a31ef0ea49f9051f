"""What a SQLite store holds, counted from its files alone: for the store itself and for a process that only reads."""

from collections import Counter
from collections.abc import Iterable, Sequence

from hanatalk.cipherfile import EncryptedConnection
from hanatalk.ids import ChannelId
from hanatalk.stores.channels import read_landing
from hanatalk.stores.interface import Holding
from hanatalk.stores.shelves import list_shelves
from hanatalk.wire.classes import EntryClass


def count_holdings(
    connection: EncryptedConnection, landed: Iterable[tuple[int, EntryClass, int, int]]
) -> list[Holding]:
    """`Store.holdings` from what is settled, and channel's number, class, day and size of each entry that is not."""
    counts: Counter[tuple[bytes, int, int, int]] = Counter()
    for shelf in list_shelves(connection):
        for channel_id, entry_class, size, count in connection.all(
            "SELECT channel_id, class, length(body), count(*)"  # noqa: S608
            f" FROM {shelf.table} AS shelf JOIN channel ON number = shelf.n >> 32 GROUP BY 1, 2, 3"
        ):
            counts[channel_id, entry_class, shelf.day, size] += count
    for (number, entry_class, day, size), count in Counter(landed).items():
        (channel_id,) = connection.only("SELECT channel_id FROM channel WHERE number = ?", (number,))
        counts[channel_id, int(entry_class), day, size] += count
    return [
        Holding(channel_id=ChannelId(channel_id), entry_class=EntryClass(entry_class), day=day, size=size, count=count)
        for (channel_id, entry_class, day, size), count in sorted(counts.items())
    ]


def read_holdings(connection: EncryptedConnection, files: Sequence[Iterable[tuple[int, bytes]]]) -> list[Holding]:
    """The same from the rows and the records of both files alone; works in a process that only reads."""
    landed = read_landing(connection, files)
    return count_holdings(connection, [(row[1], EntryClass(row[3]), row[4], row[9]) for row, _ in landed])
