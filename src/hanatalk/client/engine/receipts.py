"""Receipts and the "1": cumulative vectors inside MLS messages (HT-C-020 … HT-C-024).

A receipt says, for each device's numbered messages: decrypted up to here, read up to here. Nobody can confirm for
somebody else (MLS authenticates the leaf), beyond what was sent, or backwards.
"""

import secrets

from hanatalk.client import events
from hanatalk.client.engine import content
from hanatalk.client.engine.core import Core
from hanatalk.ids import AccountId, ConversationId, DeviceKey
from hanatalk.localdb.rows import Conversation, Member, Message, MessageKind, Receipt, Stream

MINIMUM = 2_000  # milliseconds between two receipts that go by themselves ...
PER_DEVICE = 50  # ... or this many for every device in the conversation
JITTER = 400  # milliseconds
EVENTS_LIMIT = 256  # unread counts published for one receipt


def stream(core: Core, conversation: ConversationId, device: DeviceKey) -> Stream:
    found = core.db.first(Stream, "conversation = ? AND device = ?", conversation, device)
    return found or Stream(conversation, device)


def read_up_to(core: Core, row: Stream) -> int:
    """Everything of this device up to this counter is read here; what no person wrote reads itself (HT-C-023)."""
    first_unread = core.db.value(
        "SELECT min(counter) FROM message WHERE conversation = ? AND device = ? AND read = 0 AND kind = ?",
        row.conversation,
        row.device,
        MessageKind.PERSON,
    )
    read = row.decrypted if not isinstance(first_unread, int) else min(row.decrypted, first_unread - 1)
    if row.base_read < row.base:  # what came before this device: only its siblings know whether it is read (HT-C-166)
        known = max(row.base_read, _read_by_siblings(core, row))
        return read if known >= row.base else min(read, known)
    return read


def _read_by_siblings(core: Core, row: Stream) -> int:
    return core.db.number(
        "SELECT max(receipt.read) FROM receipt JOIN member USING (conversation, device) "
        "WHERE conversation = ? AND about = ? AND account = ?",
        row.conversation,
        row.device,
        core.identity.account,
    )


def due(core: Core, conversation: Conversation, now: int, devices: int) -> None:
    """Something is to be confirmed: at the next message of ours, or by itself a little later."""
    if conversation.receipt_due is not None:
        return
    pause = max(MINIMUM, PER_DEVICE * devices)
    at = max(now, conversation.receipt_sent + pause) + secrets.randbelow(JITTER)
    core.db.execute("UPDATE conversation SET receipt_due = ? WHERE conversation = ?", at, conversation.conversation)


def lines(core: Core, conversation: ConversationId, members: list[Member]) -> list[content.ReceiptLine]:
    """What has changed since it was last told."""
    found = []
    for member in members:
        row = core.db.first(Stream, "conversation = ? AND device = ?", conversation, member.device)
        if row is None:
            continue
        read = read_up_to(core, row)
        if row.decrypted > row.told_decrypted or read > row.told_read:
            found.append(content.ReceiptLine(member.leaf, row.decrypted, read))
    return found


def told(
    core: Core, conversation: ConversationId, members: list[Member], sent: list[content.ReceiptLine], now: int
) -> None:
    """These lines are in the outbox now."""
    by_leaf = {member.leaf: member.device for member in members}
    for line in sent:
        core.db.execute(
            "UPDATE stream SET told_decrypted = ?, told_read = ? WHERE conversation = ? AND device = ?",
            line.decrypted,
            line.read,
            conversation,
            by_leaf[line.leaf],
        )
    core.db.execute(
        "UPDATE conversation SET receipt_due = NULL, receipt_sent = ? WHERE conversation = ?", now, conversation
    )


def tell_again(core: Core, conversation: ConversationId) -> None:
    """What was told did not get out (or nobody seems to have heard it): everything is to be told again."""
    core.db.execute("UPDATE stream SET told_decrypted = 0, told_read = 0 WHERE conversation = ?", conversation)


def repeat(core: Core, conversation: Conversation, now: int, *, after: int, within: int) -> None:
    """A relay keeps a receipt `after` milliseconds, and may lose it: tell it again (HT-C-063).

    For as long after the last message of somebody else as a message is worth sending again, `within` milliseconds.
    """
    if conversation.receipt_due is not None or conversation.receipt_sent > now - after:
        return
    if core.db.value(
        "SELECT 1 FROM message WHERE conversation = ? AND account != ? AND sent_at > ? LIMIT 1",
        conversation.conversation,
        core.identity.account,
        core.clock.wall(now) - within,
    ):
        tell_again(core, conversation.conversation)
        due(core, conversation, now, len(core.members(conversation.conversation)))


def apply(
    core: Core,
    conversation: Conversation,
    members: list[Member],
    by: Member,
    confirmed: list[content.ReceiptLine],
) -> None:
    """Take in what another device confirms (T-039)."""
    by_leaf = {member.leaf: member for member in members}
    own = by_leaf[conversation.own_leaf]
    for line in confirmed:
        about = by_leaf.get(line.leaf)
        if about is None or about.device == by.device or line.read > line.decrypted:
            continue
        if about.device == own.device and line.decrypted > conversation.counter:
            continue  # beyond what was sent
        known = core.db.first(
            Receipt,
            "conversation = ? AND about = ? AND device = ?",
            conversation.conversation,
            about.device,
            by.device,
        )
        before_decrypted, before_read = (known.decrypted, known.read) if known else (0, 0)
        decrypted, read = max(line.decrypted, before_decrypted), max(line.read, before_read)
        if (decrypted, read) == (before_decrypted, before_read):
            continue
        core.db.put(Receipt(conversation.conversation, about.device, by.device, decrypted, read))
        _publish(core, conversation, members, about, min(before_decrypted, before_read))


def _publish(core: Core, conversation: Conversation, members: list[Member], about: Member, after: int) -> None:
    messages = core.db.find(
        Message,
        "conversation = ? AND device = ? AND counter > ? AND kind = ? ORDER BY counter DESC LIMIT ?",
        conversation.conversation,
        about.device,
        after,
        MessageKind.PERSON,
        EVENTS_LIMIT,
    )
    counts = Counts(core, conversation, members)
    for message in reversed(messages):
        if about.leaf == conversation.own_leaf:
            core.emit(
                events.StateChanged(
                    conversation=conversation.conversation.hex(),
                    message=message.message.hex(),
                    state=counts.state(message),
                )
            )
        core.emit(
            events.ReceiptReceived(
                conversation=conversation.conversation.hex(),
                message=message.message.hex(),
                unread=counts.unread(message),
            )
        )


class Counts:
    """Unread counts and states of one conversation's messages, from one look at the receipts."""

    def __init__(self, core: Core, conversation: Conversation, members: list[Member]) -> None:
        self._own = core.identity.account
        self._people: dict[AccountId, int] = {}  # since which epoch
        for member in members:
            self._people[member.account] = min(member.since_epoch, self._people.get(member.account, member.since_epoch))
        self._account = {member.device: member.account for member in members}
        self._receipts: dict[DeviceKey, dict[DeviceKey, Receipt]] = {}
        for row in core.db.find(Receipt, "conversation = ?", conversation.conversation):
            self._receipts.setdefault(row.about, {})[row.device] = row

    def _readers(self, message: Message) -> set[AccountId]:
        if message.counter < 0:
            return set()  # not even numbered yet (HT-M-061)
        return {
            self._account[device]
            for device, row in self._receipts.get(message.device, {}).items()
            if row.read >= message.counter and device in self._account
        }

    def _roster(self, message: Message) -> set[AccountId]:
        """Who was in when it was sent."""
        return {account for account, since in self._people.items() if since <= message.epoch}

    def unread(self, message: Message) -> int:
        """People other than the sender, myself included, who have not read it."""
        waiting = self._roster(message) - {message.account} - self._readers(message)
        if message.read:
            waiting.discard(self._own)
        return len(waiting)

    def state(self, message: Message) -> str:
        """Own: queued, stored, delivered (each other person has it on some device), read (by all), failed (HT-C-070).

        Others': received, read.
        """
        if message.account != self._own:
            return "read" if message.read else "received"
        if self.unread(message) == 0:
            return "read"
        waiting = self._roster(message) - {message.account}
        told = message.counter > 0 and bool(waiting)
        for device, row in self._receipts.get(message.device, {}).items():
            if row.decrypted >= message.counter:
                waiting = waiting - {self._account.get(device, message.account)}
        if told and not waiting:
            return "delivered"
        if message.failed:
            return "failed"
        return "stored" if message.stored_at is not None else "queued"
