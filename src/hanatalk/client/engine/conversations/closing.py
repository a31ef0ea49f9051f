"""Tokens and keys of channels that are not read any more go when nothing needs them (HT-C-077)."""

from hanatalk.client.engine.core import Core
from hanatalk.ids import ChannelId
from hanatalk.localdb.rows import Closed, Purpose

# Who left an era still acknowledges what it read there at once, in the step that closed it; erasing what was taken back
# needs the tokens for as long as own entries may lie there; and a frame that waits may have to be sealed anew.
_OVER = (
    "closed = ? AND purpose IN (?, ?, ?) AND channel NOT IN (SELECT channel FROM conversation) "
    "AND channel NOT IN (SELECT channel FROM placed) "
    "AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.channel = channel.channel)"
)


def forget(core: Core) -> None:
    """Overwrite and delete them; runs inside a transaction, hourly."""
    of = (Closed.CLOSED, Purpose.ERA, Purpose.FALLBACK, Purpose.WELCOME)
    for (over,) in core.db.tuples(f"SELECT channel FROM channel WHERE {_OVER}", *of):  # noqa: S608 (our own literals)
        if not isinstance(over, bytes):
            continue
        channel = ChannelId(over)
        for link in core.links.values():
            if channel in link.opened:
                link.opened.discard(channel)
                link.caught_up.discard(channel)
                link.connection.close(channel)
        core.db.execute(
            "UPDATE channel SET read_token = zeroblob(32), write_token = zeroblob(32), seal_key = zeroblob(32) "
            "WHERE channel = ?",
            channel,
        )
        core.db.execute("DELETE FROM channel WHERE channel = ?", channel)
