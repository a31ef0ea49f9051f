"""Receipts and the "1": cumulative vectors inside MLS messages (HT-C-020 … HT-C-024).

A receipt says, for each device's numbered messages: decrypted up to here, read up to here. Nobody can confirm for
somebody else (MLS authenticates the leaf), beyond what was sent, or backwards.
"""

import bisect
import secrets

from hanatalk.client import events
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import content
from hanatalk.ids import AccountId, ConversationId, DeviceKey
from hanatalk.localdb.rows import Conversation, Member, Message, MessageKind, Receipt, Stream

MINIMUM = 2_000  # milliseconds between two receipts that go by themselves ...
PER_DEVICE = 50  # ... or this many for every device in the conversation
JITTER = 400  # milliseconds
COUNT_PAUSE = 1_000  # milliseconds between two publishings of counts in a large group
FEW = 32  # people up to whom each is looked at
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
    """What has changed since it was last told. Costs what has changed, not what there is."""
    behind = core.db.find(
        Stream, "conversation = ? AND (decrypted > told_decrypted OR told_read < decrypted)", conversation
    )
    if not behind:
        return []
    leaves = {member.device: member.leaf for member in members}
    silent = core.conversation(conversation).silent
    found = []
    for row in behind:
        read = min(row.told_read, row.decrypted) if silent else read_up_to(core, row)
        if row.device in leaves and (row.decrypted > row.told_decrypted or read > row.told_read):
            found.append(content.ReceiptLine(leaves[row.device], row.decrypted, read))
    return sorted(found, key=lambda line: line.leaf)


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
        after = min(before_decrypted, before_read)
        if is_approximate(len(members)):
            waiting = core.uncounted.setdefault(conversation.conversation, {})
            waiting[about.device] = min(after, waiting.get(about.device, after))
        else:
            _publish_now(core, conversation, members, about, after)


def _publish_now(core: Core, conversation: Conversation, members: list[Member], about: Member, after: int) -> None:
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


def publish_due(core: Core, now: int) -> None:
    """In large groups counts are published once a second, however many receipts came (HT-C-084)."""
    if not core.uncounted or now < core.counted_last + COUNT_PAUSE:
        return
    core.counted_last = now
    waiting, core.uncounted = core.uncounted, {}
    with core.transaction():
        for conversation, devices in waiting.items():
            row = core.conversation(conversation)
            members = core.members(conversation)
            by_device = {member.device: member for member in members}
            for device, after in devices.items():
                if device in by_device:
                    _publish_now(core, row, members, by_device[device], after)


def next_publish(core: Core) -> int | None:
    """When `publish_due` has something to do; None: nothing waits."""
    return core.counted_last + COUNT_PAUSE if core.uncounted else None


class _Heard:
    """What was confirmed of one device's messages: by device, and the highest number that each account has read."""

    def __init__(self, rows: list[Receipt], account: dict[DeviceKey, AccountId]) -> None:
        self.rows = {row.device: row for row in rows if row.device in account}
        self.read: dict[AccountId, int] = {}
        for device, row in self.rows.items():
            self.read[account[device]] = max(row.read, self.read.get(account[device], 0))
        self.sorted_read = sorted(self.read.values())
        self.decrypted: dict[AccountId, int] = {}
        for device, row in self.rows.items():
            self.decrypted[account[device]] = max(row.decrypted, self.decrypted.get(account[device], 0))
        self.sorted_decrypted = sorted(self.decrypted.values())


class Counts:
    """Unread counts and states of one conversation's messages. Receipts are looked at once for each sender that is
    asked about; a message to everybody who is here now then costs no look at each of them."""

    def __init__(self, core: Core, conversation: Conversation, members: list[Member]) -> None:
        self._core = core
        self._conversation = conversation.conversation
        self._own = core.identity.account
        self.approximate = is_approximate(len(members))
        silent = who_is_silent(core, conversation)
        self._people: dict[AccountId, int] = {}  # since which epoch
        for member in members:
            if member.account not in silent:
                since = self._people.get(member.account, member.since_epoch)
                self._people[member.account] = min(member.since_epoch, since)
        self._account = {member.device: member.account for member in members}
        self._everyone: dict[AccountId, int] = {}
        for member in members:
            self._everyone[member.account] = min(member.since_epoch, self._everyone.get(member.account, 2**62))
        self._newest = max(self._everyone.values(), default=0)
        self._heard: dict[DeviceKey, _Heard] = {}

    def _of(self, device: DeviceKey) -> _Heard:
        if device not in self._heard:
            rows = self._core.db.find(Receipt, "conversation = ? AND about = ?", self._conversation, device)
            self._heard[device] = _Heard(rows, self._account)
        return self._heard[device]

    def roster(self, message: Message) -> set[AccountId]:
        """People other than its sender to whom it was sent and who say what they have read (HT-C-083, HT-C-085)."""
        return {account for account, since in self._people.items() if since <= message.epoch} - {message.account}

    def readers(self, message: Message) -> set[AccountId]:
        """Accounts of which a device confirmed reading it; this one's own is not among them."""
        if message.counter < 0:
            return set()  # not even numbered yet (HT-M-061)
        heard = self._of(message.device).read
        return {account for account, read in heard.items() if read >= message.counter}

    def unread(self, message: Message) -> int:
        """People other than the sender, myself included, who have not read it."""
        if message.epoch >= self._newest and message.counter > 0 and len(self._people) > FEW:
            heard = self._of(message.device)
            if message.account not in heard.read and heard.read.keys() <= self._people.keys():
                count = len(self._people) - (message.account in self._people)
                count -= len(heard.sorted_read) - bisect.bisect_left(heard.sorted_read, message.counter)
                own = self._own in self._people and message.account != self._own and self._own not in heard.read
                return count - 1 if message.read and own else count
        waiting = self.roster(message) - self.readers(message)
        if message.read:
            waiting.discard(self._own)
        return len(waiting)

    def state(self, message: Message) -> str:
        """Own: queued, stored, delivered (each other person has it on some device), read (by all), failed (HT-C-070).

        Others': received, read.
        """
        if message.account != self._own:
            return "read" if message.read else "received"
        if self.unread(message) == 0 and any(
            since <= message.epoch and account != self._own for account, since in self._people.items()
        ):
            return "read"
        if message.counter > 0 and self._is_delivered(message):
            return "delivered"
        if message.failed:
            return "failed"
        return "stored" if message.stored_at is not None else "queued"

    def _is_delivered(self, message: Message) -> bool:
        """Each other person of its roster has it on some device."""
        heard = self._of(message.device)
        if message.epoch >= self._newest and message.account not in heard.decrypted:
            waiting = len(self._everyone) - (message.account in self._everyone)
            done = len(heard.sorted_decrypted) - bisect.bisect_left(heard.sorted_decrypted, message.counter)
            return waiting > 0 and done >= waiting
        others = {account for account, since in self._everyone.items() if since <= message.epoch} - {message.account}
        return bool(others) and all(heard.decrypted.get(account, 0) >= message.counter for account in others)


def is_approximate(devices: int) -> bool:
    """Whether counts lag noticeably, because receipts go less often than every two seconds (HT-C-084)."""
    return PER_DEVICE * devices > MINIMUM


def who_is_silent(core: Core, conversation: Conversation) -> set[AccountId]:
    """Accounts that do not say what they have read in this conversation, this one included (HT-C-085)."""
    rows = core.db.tuples("SELECT account FROM silent WHERE conversation = ?", conversation.conversation)
    found = {AccountId(account) for (account,) in rows if isinstance(account, bytes)}
    return found | {core.identity.account} if conversation.silent else found
