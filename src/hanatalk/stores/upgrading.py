"""What a schema step moves that SQL alone cannot (schema/)."""

import struct
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from hanatalk.cipherfile import EncryptedConnection


def move_landed(connection: EncryptedConnection) -> None:
    """Step 2: what a relay of version 1 that was killed has left in `landing_*` and `batch_*` goes into `landed_*`."""
    for side in (0, 1):
        bodies = dict(connection.all(f"SELECT n, body FROM landing_{side}"))  # noqa: S608
        for n, news in connection.all(f"SELECT n, news FROM batch_{side}"):  # noqa: S608
            landed: list[Any]
            landed, acks = msgspec.msgpack.decode(news, type=tuple[list[Any], list[Any]])
            record: tuple[Any, ...] = (landed, [bodies.get(row[0]) for row in landed], acks, [])
            connection.execute(f"INSERT INTO landed_{side} VALUES (?, ?)", (n, msgspec.msgpack.encode(record)))  # noqa: S608
        connection.execute(f"DROP TABLE landing_{side}")
        connection.execute(f"DROP TABLE batch_{side}")


def move_answers(connection: EncryptedConnection) -> None:
    """Step 3: rows of `answer` become runs of a channel and a day."""
    rows = connection.execute("SELECT channel, day, seq, turn, entry_id FROM answer ORDER BY channel, day, seq")
    for (channel, day), answers in groupby(rows, key=itemgetter(0, 1)):
        found = list(answers)
        run = b"".join(struct.pack(">16sII", entry_id, seq, turn) for _, _, seq, turn, entry_id in found)
        connection.execute("INSERT INTO answers VALUES (?, ?, ?)", (channel << 32 | found[0][2], day, run))
    connection.execute("DROP TABLE answer")


MOVES = {2: move_landed, 3: move_answers}
