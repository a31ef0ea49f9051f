"""When messages with a timer go: begun by reading, or by a relay's storing (HT-C-040 … HT-C-043)."""

from hanatalk.client.engine.core import DAY, Core
from hanatalk.client.engine.formats import content
from hanatalk.ids import ConversationId, MessageId
from hanatalk.localdb.rows import Member, MessageKind

KEEP_CLOCK = 60_000  # milliseconds that a kill and a clock set back may add to a running timer (HT-C-042)
CONFIRMED = 3 * DAY  # milliseconds that a message stays at most that goes when everybody read it (HT-C-115)


def of(text: content.Text) -> int | None:
    """How long a text stays, in milliseconds; None: for good."""
    timer = text.timer * 1000 if text.timer else None
    if text.fate is not content.Fate.CONFIRMED:
        return timer
    return CONFIRMED if timer is None else min(timer, CONFIRMED)


def read(core: Core, conversation: ConversationId, now: int, *, thread: ConversationId | None = None) -> int:
    """What others wrote is read now, their timers begin. Returns how many messages became read.

    :param thread: only what is shown in this group's thread
    """
    core.clock.keep(at_least=KEEP_CLOCK)
    return core.db.execute(
        "UPDATE message SET read = 1, expires_at = ? + timer WHERE conversation = ? AND read = 0 AND kind = ? "
        "AND (? IS NULL OR thread = ?)",
        now,
        conversation,
        MessageKind.PERSON,
        thread,
        thread,
    )


def read_elsewhere(
    core: Core, conversation: ConversationId, members: list[Member], told: list[content.ReceiptLine], now: int
) -> None:
    """Another own device says what was read there: it is read here too, and timers begin (HT-C-165)."""
    devices = {member.leaf: member.device for member in members}
    for line in told:
        if line.leaf in devices and line.read <= line.decrypted:
            core.db.execute(
                "UPDATE message SET read = 1, expires_at = ? + timer WHERE conversation = ? AND device = ? "
                "AND counter <= ? AND read = 0 AND kind = ?",
                now,
                conversation,
                devices[line.leaf],
                line.read,
                MessageKind.PERSON,
            )


def stored(core: Core, message: MessageId, now: int) -> None:
    """A relay has an own message: its timer begins. What still waits for a relay does not go."""
    core.db.execute(
        "UPDATE message SET expires_at = ? + timer WHERE message = ? AND expires_at IS NULL AND recalled = 0 "
        "AND kind = ?",
        now,
        message,
        MessageKind.PERSON,
    )


def next_due(core: Core) -> int | None:
    """When the next message goes; None: no timer runs."""
    found = core.db.value("SELECT min(expires_at) FROM message WHERE expires_at IS NOT NULL")
    return found if isinstance(found, int) else None


def keep_clock(core: Core) -> None:
    """While a timer runs, what time it is survives a kill."""
    if next_due(core) is not None:
        with core.transaction():
            core.clock.keep(at_least=KEEP_CLOCK)
