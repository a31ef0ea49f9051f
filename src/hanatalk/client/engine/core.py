"""What the parts of the engine share: the database, the MLS handles, the links to relays, events not yet published.

The engine never waits, never looks at a clock and never touches a socket: the caller hands in what arrived and the time
(`now`, milliseconds since 1970), the engine answers through the `ClientConnection`s it was given and `Core.events`.
"""

import contextlib
import secrets
from collections.abc import Iterator

import msgspec

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine.bulk import Bulk
from hanatalk.client.engine.formats import accounts, policy
from hanatalk.client.engine.formats.clock import Clock
from hanatalk.client.engine.indexing import Index
from hanatalk.errors import StorageError
from hanatalk.ids import AccountId, ChannelId, ConversationId, DeviceKey, EntryId, Incarnation, MessageId, ReaderId
from hanatalk.localdb.database import Database
from hanatalk.localdb.rows import Account, Channel, Conversation, Member, Notice
from hanatalk.wire.client import ClientConnection

DAY = 86_400_000  # milliseconds
FROZEN = "frozen "  # setting, with an account's id


class Identity(msgspec.Struct, frozen=True):
    """Who this profile is."""

    device: accounts.Device
    chain: accounts.Chain
    name: str

    @property
    def account(self) -> AccountId:
        return self.chain.account


class Patience(msgspec.Struct, frozen=True):
    """How long a relay may be gone before a conversation moves on (HT-M-066), in milliseconds."""

    queued: int = 3_600_000  # something waits for it
    idle: int = 24 * 3_600_000


class Signed(msgspec.Struct, frozen=True):
    """The relay's last receipt for a channel, verified."""

    seq: int
    control_hash: bytes
    signature: bytes


class Link:
    """One relay connection as the engine sees it; all of it is forgotten when the connection goes."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.ready = False  # HELLO was answered
        self.over = False  # the relay has said its last word, the socket is about to close
        self.opened: set[ChannelId] = set()
        self.incarnations: dict[ChannelId, Incarnation] = {}
        self.turns: dict[ChannelId, int] = {}  # as OPENED named them
        self.caught_up: set[ChannelId] = set()
        self.in_flight: set[EntryId] = set()
        self.acknowledge: dict[ChannelId, int] = {}
        self.signed: dict[ChannelId, Signed] = {}
        self.asked_receipt: dict[ChannelId, int] = {}  # for which seq
        self.asked_at: dict[ChannelId, int] = {}  # when, until it is answered
        self.taking: set[ChannelId] = set()
        self.erasing: dict[ChannelId, int] = {}  # seq of the one entry that the relay was asked to erase
        self.restoring: dict[ChannelId, EntryId] = {}  # the one control entry on its way back to a relay that forgot
        self.restored: dict[ChannelId, tuple[int, int]] = {}  # position of that entry, how often it was appended
        self.rescan = True  # the channel table changed: look for channels to open
        self.retry_at = 0  # after a refusal by limits: nothing is asked of this relay before
        self.unsigned: set[ChannelId] = set()  # the relay said that it no longer knows the hash: commits go without
        self.heads: dict[ChannelId, int] = {}  # up to which seq everything was shown, as CAUGHT_UP named it
        self.looked_for: set[int | None] = (
            set()
        )  # rows of `placed` whose channel was opened anew: they did not come back
        self.dropping: set[ChannelId] = set()  # said: an entry that was stored is not there any more
        self.tries: dict[MessageId, int] = {}  # how often such a message was published again
        self.readings: dict[ChannelId, int] = {}  # how often a log was read again because something was missing
        self.bulk = Bulk()

    def ask_receipt(self, channel: ChannelId, seq: int, now: int) -> None:
        """Ask the relay to sign what it has shown up to seq."""
        self.asked_receipt[channel], self.asked_at[channel] = seq, now
        self.connection.receipt(channel, seq)

    def reopen(self, channel: ChannelId) -> None:
        """Read a channel from its cursor again; what is still on its way to the old handle is ignored (HT-R-016)."""
        if channel in self.opened:
            self.connection.close(channel)
        self.opened.discard(channel)
        self.caught_up.discard(channel)
        self.acknowledge.pop(channel, None)
        self.asked_receipt.pop(channel, None)
        self.restoring.pop(channel, None)
        self.rescan = True


class Core:
    """See the module."""

    def __init__(self, database: Database, identity: Identity, patience: Patience | None = None) -> None:
        self.db = database
        self.identity = identity
        self.clock = Clock(database)
        self.index = Index(database)
        self.must_empty_log = True  # it may hold what was to go; at first what a killed process left
        self.links: dict[str, Link] = {}
        self.events: list[events.Event] = []
        self.received = 0  # people's messages received since the profile was opened
        self.run = secrets.token_bytes(16)  # this process
        self.counted: set[str] = set()  # relays where this start stands: for them it may number and encrypt (HT-M-071)
        self.elsewhere = False  # another copy began while this one is open
        self.counted_at, self.sent_at_start = 0, 0
        self.start_refusals: dict[str, int] = {}  # of a start, by relay
        self.count_again_at: int | None = None
        self.patience = patience or Patience()
        self.sent = 0  # outbox frames stored since the profile was opened
        self.doomed: list[str] = []  # chunk files to be removed once the transaction is committed
        self._groups: dict[ConversationId, mls.Group] = {}
        self._members: dict[ConversationId, list[Member]] = {}
        self.uncounted: dict[ConversationId, dict[DeviceKey, int]] = {}  # counts that are to be published (HT-C-084)
        self.open_asked: dict[tuple[ConversationId, DeviceKey], tuple[int, int]] = {}  # when, how often (HT-C-200)
        self.counted_last = 0  # when counts of large groups were published last
        self._unpublished: list[events.Event] = []
        self.exports: dict[bytes, Iterator[None]] = {}  # history on its way, step by step
        self._depth = 0
        self._chains: dict[AccountId, tuple[bytes, accounts.Chain]] = {}  # verified, with the row they came from

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """One transaction; on rollback the MLS handles and unpublished events are thrown away. Nested uses join in."""
        if self._depth:
            yield
            return
        self._depth = 1
        before = self.identity
        try:
            with self.db.transaction():
                yield
        except BaseException:
            self._groups.clear()
            self._members.clear()
            self._unpublished.clear()
            self.identity = before
            self.doomed.clear()
            raise
        finally:
            self._depth = 0
        self.events.extend(self._unpublished)
        self._unpublished.clear()
        while self.doomed:
            self.db.files.remove(self.doomed.pop())

    def emit(self, event: events.Event) -> None:
        """Publish an event once the transaction is committed."""
        self._unpublished.append(event)

    def notice(self, event: events.Event, now: int, conversation: ConversationId | None = None) -> None:
        """Publish an event and keep it for whoever looks later."""
        self.db.insert(Notice(None, conversation, now, msgspec.json.encode(event)))
        self.emit(event)

    def group(self, conversation: ConversationId) -> mls.Group:
        """The MLS handle, loaded from its rows if need be. :raises StorageError: ``storage.broken``"""
        group = self._groups.get(conversation)
        if group is None:
            try:
                group = mls.Group.load(conversation, self.db.mls_rows(conversation))
            except mls.MlsError as error:
                raise StorageError("storage.broken", what="group") from error
            self._groups[conversation] = group
        return group

    def adopt(self, conversation: ConversationId, group: mls.Group) -> None:
        """Keep the handle of a group that was just made."""
        self._groups[conversation] = group

    def conversation(self, conversation: ConversationId) -> Conversation:
        """:raises StorageError: ``storage.broken`` if it does not exist (ids come from our own rows)"""
        row = self.db.first(Conversation, "conversation = ?", conversation)
        if row is None:
            raise StorageError("storage.broken", what="conversation")
        return row

    def channel(self, channel: ChannelId) -> Channel | None:
        return self.db.first(Channel, "channel = ?", channel)

    def members(self, conversation: ConversationId) -> list[Member]:
        """The roster, by leaf; kept between calls. What a member did (`path_commits`, `heard_epoch`) may lag behind."""
        known = self._members.get(conversation)
        if known is None:
            known = self._members[conversation] = self.members_now(conversation)
        return known

    def members_now(self, conversation: ConversationId) -> list[Member]:
        """The roster as the database has it."""
        return self.db.find(Member, "conversation = ? ORDER BY leaf", conversation)

    def roster_changed(self, conversation: ConversationId) -> None:
        """Rows of members were written."""
        self._members.pop(conversation, None)

    def account(self, account: AccountId) -> Account | None:
        return self.db.first(Account, "account = ?", account)

    def chain(self, account: AccountId) -> accounts.Chain | None:
        row = self.account(account)
        if row is None:
            return None
        cached = self._chains.get(account)
        if cached is not None and cached[0] == row.chain:
            return cached[1]
        chain = accounts.verify_chain(msgspec.msgpack.decode(row.chain, type=list[bytes]), account=account)
        self._chains[account] = row.chain, chain
        return chain

    def name(self, account: AccountId) -> str:
        """How the account calls itself; empty if it never said."""
        row = self.account(account)
        return row.name if row else ""

    def conversation_name(self, conversation: Conversation) -> str:
        """A direct conversation is called like the other person."""
        agreed = policy.parse([(policy.EXTENSION, conversation.policy)])
        if agreed.name is not None:
            return agreed.name
        return next(
            (
                self.name(member.account)
                for member in self.members(conversation.conversation)
                if member.account != self.identity.account
            ),
            "",
        )

    def remember_account(self, chain: accounts.Chain, name: str | None = None) -> None:
        """Store a verified chain (the longer one wins) and, if it came with one, the name.

        A frozen account's chain stays as it is until a person has compared the safety number (HT-M-130).

        :raises VerificationError: ``chain.fork``, ``chain.frozen``
        """
        known, old = self.account(chain.account), self.chain(chain.account)
        if known is not None and old is not None:
            frozen = self.db.setting(FROZEN + chain.account.hex()) is not None
            chain = old if frozen else accounts.longer(old, chain)
        row = Account(
            chain.account,
            name if name is not None else (known.name if known else ""),
            msgspec.msgpack.encode(list(chain.links)),
            known.verified if known else 0,
        )
        self.db.put(row)
        if chain.account == self.identity.account:
            self.identity = Identity(self.identity.device, chain, row.name)

    def freeze(self, account: AccountId) -> None:
        """Two of its devices removed each other: nobody can tell which is its person's (HT-M-130)."""
        self.db.put_setting(FROZEN + account.hex(), b"1")
        self.db.execute("UPDATE account SET verified = 0 WHERE account = ?", account)

    def thaw(self, account: AccountId) -> None:
        """A person compared the safety number."""
        self.db.execute("DELETE FROM setting WHERE key = ?", FROZEN + account.hex())

    def own_relays(self) -> list[str]:
        """Relays where this profile's own channels are: its home, then the ones it falls back to."""
        raw = self.db.setting("fallback-relays")
        fallbacks = msgspec.msgpack.decode(raw, type=list[str]) if raw is not None else []
        return [(self.db.setting("relay") or b"").decode(), *fallbacks]

    def relay_key(self, url: str) -> bytes | None:
        """What the relay showed when it was last reached; None: it never was."""
        key = self.db.value("SELECT key FROM relay WHERE url = ?", url)
        return key if isinstance(key, bytes) else None

    def rescan(self) -> None:
        """The channel table changed."""
        for link in self.links.values():
            link.rescan = True


def new_reader() -> ReaderId:
    return ReaderId(secrets.token_bytes(16))


def new_entry_id() -> EntryId:
    return EntryId(secrets.token_bytes(16))
