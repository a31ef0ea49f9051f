"""Questions to the outbox that are asked at every send, entry and answer: none of them looks through all of it.

A person who writes in a plane for a week, or a bot, has thousands of frames there.
"""

from hanatalk.client.engine.core import Core
from hanatalk.ids import ChannelId, ConversationId
from hanatalk.localdb.rows import OutboxKind, Outgoing

# What is said at every relay, and what is left at one that somebody else has chosen: nothing else waits for it.
CAN_WAIT = frozenset({OutboxKind.STATEMENT, OutboxKind.START, OutboxKind.WELCOME, OutboxKind.ANNEX})
NONCE = 12  # bytes an entry begins with, as in its index


def relays(core: Core) -> set[str]:
    """URLs of the relays that something waits for: one step in the index for each of them."""
    rows = core.db.tuples(
        "WITH RECURSIVE at (relay) AS (SELECT min(relay) FROM outbox UNION ALL "
        "SELECT (SELECT min(relay) FROM outbox WHERE relay > at.relay) FROM at WHERE at.relay IS NOT NULL) "
        "SELECT relay FROM at WHERE relay IS NOT NULL"
    )
    return {str(url) for (url,) in rows}


def holds_up(core: Core, url: str) -> bool:
    """Whether something waits for this relay that other things wait for (`CAN_WAIT`)."""
    found = "SELECT 1 FROM outbox WHERE relay = ? AND kind NOT IN (?, ?, ?, ?) LIMIT 1"
    return bool(core.db.value(found, url, *CAN_WAIT))


def holds(core: Core, conversation: ConversationId) -> bool:
    """Whether something of a conversation waits that a commit may not overtake. A Welcome is no such thing."""
    found = "SELECT 1 FROM outbox WHERE owner = ? AND kind NOT IN (?, ?) LIMIT 1"
    return bool(core.db.value(found, conversation, OutboxKind.WELCOME, OutboxKind.ANNEX))


def counts(core: Core) -> list[tuple[str, OutboxKind, int]]:
    """How many frames of each kind wait for each relay."""
    rows = core.db.tuples("SELECT relay, kind, count(*) FROM outbox GROUP BY relay, kind")
    return [(str(url), OutboxKind(int(kind or 0)), int(count or 0)) for url, kind, count in rows]


def next_frames(core: Core, url: str, limit: int) -> list[Outgoing]:
    """The first frames for this relay that it has not stored, in order.

    Before this start is counted there, only those that continue no conversation (HT-M-071).
    """
    if url in core.counted:
        return core.db.find(Outgoing, "relay = ? AND stored_seq IS NULL ORDER BY number LIMIT ?", url, limit)
    found = "relay = ? AND kind > ? AND +stored_seq IS NULL ORDER BY number LIMIT ?"
    return core.db.find(Outgoing, found, url, OutboxKind.COMMIT, limit)


def welcomes(core: Core) -> list[tuple[ConversationId, str]]:
    """Conversations whose Welcome waits for the relay that its KeyPackage named, and that relay."""
    found = "SELECT DISTINCT owner FROM outbox WHERE relay = ? AND kind = ?"
    return [
        (ConversationId(owner), url)
        for url in sorted(relays(core))
        for (owner,) in core.db.tuples(found, url, OutboxKind.WELCOME)
        if isinstance(owner, bytes)
    ]


def sent_as(core: Core, channel: ChannelId, entry: bytes) -> Outgoing | None:
    """The frame that carries this entry, if it is an own one that waits for its answer."""
    found = core.db.first(Outgoing, "channel = ? AND substr(entry, 1, 12) = ?", channel, entry[:NONCE])
    return found if found is not None and found.entry == entry else None
