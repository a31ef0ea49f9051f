"""Missing numbers: found, shown, asked for, closed (HT-C-030, HT-C-031). No silent loss."""

from hanatalk.client import events
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import content
from hanatalk.client.engine.messages import sending
from hanatalk.client.engine.messages.receipts import stream
from hanatalk.ids import ConversationId, DeviceKey
from hanatalk.localdb.rows import Conversation, Gap, Member

RETRY = (0, 10_000, 60_000, 600_000, 3_600_000)  # milliseconds until it is asked again
OPEN_ASKED_MOST = 2  # place in `RETRY` of the longest pause before what follows the last number is asked for again
COUNTER_JUMP = 1 << 20  # a counter further ahead than this is no counter of ours (T-035)


def open_end(core: Core, conversation: ConversationId, device: DeviceKey, now: int) -> None:
    """Something did not decrypt: this device may have sent more than we have.

    Asked of it again no sooner than after a pause, whatever it answered (HT-C-200): on a fork the two sides do not
    decrypt each other's requests, and would ask because of each of them.
    """
    first = stream(core, conversation, device).highest + 1
    if not core.db.value(
        "SELECT 1 FROM gap WHERE conversation = ? AND device = ? AND first = ?", conversation, device, first
    ):
        asked_at, asked = core.open_asked.get((conversation, device), (None, 0))
        if asked_at is not None and now >= asked_at + RETRY[OPEN_ASKED_MOST]:
            asked_at, asked = None, 0
        core.db.insert(Gap(conversation, device, first, content.OPEN_END, asked_at, asked))


def begin(core: Core, row: Conversation, own: Member, sender: Member, base: int) -> None:
    """The first time that anything of this device is heard in a group. Who joined with the current era, and met the
    device there, asks for nothing that was numbered before it (HT-C-081)."""
    conversation, device = row.conversation, sender.device
    if core.db.value("SELECT 1 FROM stream WHERE conversation = ? AND device = ?", conversation, device):
        return
    era = core.channel(row.channel)
    if era is not None and own.since_epoch == sender.since_epoch == era.since_epoch:
        _move_on(core, conversation, device, base)


def stays(core: Core, row: Conversation, sender: Member, counter: int, now: int) -> None:
    """A Tombstone stands where this device expected a message: it is said to be missing, and stays so (HT-C-083)."""
    if counter <= stream(core, row.conversation, sender.device).highest and not core.db.value(
        "SELECT 1 FROM gap WHERE conversation = ? AND device = ? AND first <= ? AND (last >= ? OR last = 0)",
        row.conversation,
        sender.device,
        counter,
        counter,
    ):
        return
    name = core.name(sender.account)
    found = events.GapFound(conversation=row.conversation.hex(), from_=name, first=counter, last=counter)
    core.notice(found, now, row.conversation)


def begins(core: Core, row: Conversation, sender: Member, first: int) -> None:
    """For this device the sender's messages begin at `first`: what was missing before it never was ours (HT-C-082)."""
    conversation, device = row.conversation, sender.device
    known = stream(core, conversation, device)
    if first > known.highest + 1:
        return  # beyond what it ever sent
    for gap in core.db.find(
        Gap, "conversation = ? AND device = ? AND last > 0 AND first < ?", conversation, device, first
    ):
        core.db.execute(
            "DELETE FROM gap WHERE conversation = ? AND device = ? AND first = ?", conversation, device, gap.first
        )
        if gap.last >= first:
            core.db.insert(Gap(conversation, device, first, gap.last, gap.asked_at, gap.asked))
    _move_on(core, conversation, device, known.highest)


def counted(core: Core, row: Conversation, sender: Member, counter: int, now: int) -> None:
    """A numbered message is stored: open, narrow or close gaps, move the stream on."""
    conversation, device = row.conversation, sender.device
    known = stream(core, conversation, device)
    core.db.execute(
        "DELETE FROM gap WHERE conversation = ? AND device = ? AND last = 0 AND first <= ?",
        conversation,
        device,
        counter,
    )
    if counter > known.highest:
        if counter > known.highest + 1:
            _found(core, row, sender, Gap(conversation, device, known.highest + 1, counter - 1), now)
    else:
        gap_row = core.db.first(
            Gap, "conversation = ? AND device = ? AND first <= ? AND last >= ?", conversation, device, counter, counter
        )
        if gap_row is not None:
            _narrow(core, gap_row, counter)
            name = core.name(sender.account)
            core.emit(events.GapClosed(conversation=conversation.hex(), from_=name, first=counter, last=counter))
    _move_on(core, conversation, device, max(counter, known.highest))


def announced(core: Core, row: Conversation, sender: Member, counter: int, now: int) -> None:
    """A member says what its last number is (HT-C-025): now it is known whether something is missing at the end."""
    known = stream(core, row.conversation, sender.device)
    core.db.execute(
        "DELETE FROM gap WHERE conversation = ? AND device = ? AND last = 0", row.conversation, sender.device
    )
    if known.highest < counter <= known.highest + COUNTER_JUMP:
        _found(core, row, sender, Gap(row.conversation, sender.device, known.highest + 1, counter), now)
        _move_on(core, row.conversation, sender.device, counter)


def _found(core: Core, row: Conversation, sender: Member, gap: Gap, now: int) -> None:
    core.db.put(gap)
    found = events.GapFound(
        conversation=row.conversation.hex(), from_=core.name(sender.account), first=gap.first, last=gap.last
    )
    core.notice(found, now, row.conversation)


def _move_on(core: Core, conversation: ConversationId, device: DeviceKey, highest: int) -> None:
    first_gap = core.db.value(
        "SELECT min(first) FROM gap WHERE conversation = ? AND device = ? AND last > 0", conversation, device
    )
    decrypted = first_gap - 1 if isinstance(first_gap, int) else highest
    core.db.execute(
        "INSERT INTO stream (conversation, device, decrypted, highest) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (conversation, device) DO UPDATE SET decrypted = excluded.decrypted, highest = excluded.highest",
        conversation,
        device,
        decrypted,
        highest,
    )


def _narrow(core: Core, gap: Gap, counter: int) -> None:
    core.db.execute(
        "DELETE FROM gap WHERE conversation = ? AND device = ? AND first = ?", gap.conversation, gap.device, gap.first
    )
    if gap.first < counter:
        core.db.insert(Gap(gap.conversation, gap.device, gap.first, counter - 1, gap.asked_at, gap.asked))
    if counter < gap.last:
        core.db.insert(Gap(gap.conversation, gap.device, counter + 1, gap.last, gap.asked_at, gap.asked))


def next_ask(gap: Gap) -> int:
    """When this gap may be asked for (again)."""
    if gap.asked_at is None:
        return 0
    return gap.asked_at + RETRY[min(gap.asked, len(RETRY) - 1)]


def ask(core: Core, conversation: ConversationId, now: int) -> None:
    """One request for all that is missing and due; the caller made sure that the channel is caught up."""
    due = [
        gap
        for gap in core.db.find(Gap, "conversation = ? ORDER BY device, first", conversation)
        if next_ask(gap) <= now
    ]
    if not due:
        return
    leaves = {member.device: member.leaf for member in core.members(conversation)}
    ranges = []
    for gap in due[: content.RANGES_LIMIT]:
        if gap.device not in leaves:
            core.db.execute(
                "DELETE FROM gap WHERE conversation = ? AND device = ? AND first = ?",
                conversation,
                gap.device,
                gap.first,
            )
            continue
        ranges.append(content.Range(leaves[gap.device], gap.first, gap.last))
        if gap.last == content.OPEN_END:
            core.open_asked[conversation, gap.device] = (now, min(gap.asked + 1, OPEN_ASKED_MOST))
        core.db.execute(
            "UPDATE gap SET asked_at = ?, asked = asked + 1 WHERE conversation = ? AND device = ? AND first = ?",
            now,
            conversation,
            gap.device,
            gap.first,
        )
    if ranges:
        sending.send_again_request(core, conversation, ranges, now)
