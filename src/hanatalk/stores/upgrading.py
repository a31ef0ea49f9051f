"""What a schema step moves that SQL alone cannot (schema/)."""

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
