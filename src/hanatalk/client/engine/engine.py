"""The engine's face: what arrived and the time go in, frames (in the `ClientConnection`s) and events come out.

The runtime calls `connected`, `received`, `disconnected` and `tick`; after each of them it flushes every connection and
publishes `take_events`. Calls of people are methods too. No call waits for anything.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence

import msgspec

from hanatalk.client import calls, events
from hanatalk.client.engine import relays
from hanatalk.client.engine.conversations import moving
from hanatalk.client.engine.core import Core, Identity, Link, Patience
from hanatalk.client.engine.files import transfers, uploads
from hanatalk.client.engine.formats import accounts, content, links, mentions, policy
from hanatalk.client.engine.messages import (
    actions,
    attached,
    expiry,
    going,
    keeping,
    outbox,
    sending,
    telling,
    timers,
    undelivered,
    whispers,
)
from hanatalk.client.engine.people import asking, groups, introductions, invites, own_devices
from hanatalk.client.engine.seen import searching, views
from hanatalk.client.engine.seen.attachments import Attachments
from hanatalk.errors import HanaError, StorageError, UsageError
from hanatalk.ids import AccountId, ChannelId, ConversationId, MessageId
from hanatalk.localdb.database import Database
from hanatalk.localdb.rows import Acceptance, Account, Conversation, Invite, Message, Purpose
from hanatalk.wire import events as wire
from hanatalk.wire.client import ClientConnection

CHORES_EVERY = 3_600_000  # milliseconds
PATIENCE = Patience()
KEEP_CLOCK = 600_000  # milliseconds on the clock after which it is written down
LOG_WAIT = 5_000  # milliseconds until what was removed is gone from the database's log too (HT-S-064)


def check_name(name: str) -> str:
    """A display name, trimmed. :raises UsageError: ``name.invalid``"""
    name = name.strip()
    if not 0 < len(name) <= content.NAME_LIMIT or not name.isprintable():
        raise UsageError("name.invalid", limit=content.NAME_LIMIT)
    return name


def create(
    database: Database,
    *,
    name: str,
    relay: str,
    fallbacks: Sequence[str] = (),
    access_pass: bytes | None = None,
    paper: bytes | None = None,
) -> Identity:
    """Fill a new local database: device key, account (its sigchain's first link), name, relays.

    :param fallbacks: where new conversations go when `relay` is gone; :param access_pass: of `relay`
    :param paper: seed of a paper device (HT-M-131), 32 bytes; it is kept nowhere
    :raises UsageError: ``name.invalid``, ``relay.too-many``
    """
    if len(fallbacks) >= invites.OWN_RELAYS:
        raise UsageError("relay.too-many", most=invites.OWN_RELAYS)
    name = check_name(name)
    device = accounts.Device(accounts.new_seed())
    chain = accounts.create(device, accounts.Device(paper) if paper is not None else None)
    with database.transaction():
        database.put_setting("device-seed", device.seed)
        database.put_setting("account", chain.account)
        database.put_setting("relay", relay.encode())
        database.insert(Account(chain.account, name, msgspec.msgpack.encode(list(chain.links)), 1))
        for url in (relay, *fallbacks):
            database.execute("INSERT INTO relay (url, key) VALUES (?, NULL)", url)
        if fallbacks:
            database.put_setting("fallback-relays", msgspec.msgpack.encode(list(fallbacks)))
        if access_pass is not None:
            database.put_setting(f"access-pass {relay}", access_pass)
    return Identity(device, chain, name)


def identity(database: Database) -> Identity:
    """Who the open database belongs to. :raises StorageError: ``storage.foreign``"""
    seed, account = database.setting("device-seed"), database.setting("account")
    row = database.first(Account, "account = ?", account) if account else None
    if seed is None or row is None:
        raise StorageError("storage.foreign")
    chain = accounts.verify_chain(msgspec.msgpack.decode(row.chain, type=list[bytes]), account=AccountId(row.account))
    return Identity(accounts.Device(seed), chain, row.name)


class Engine:
    """One open profile. Not safe for several threads."""

    def __init__(self, database: Database, *, patience: Patience = PATIENCE) -> None:
        self._core = Core(database, identity(database), patience)
        self.devices = own_devices.OwnDevices(self._core, self._at, self._follow_up)
        self._next_chores = 0
        self._empty_log_at: int | None = None
        self._next_clock = 0
        self._left_off = False  # the disk said no after a call had become durable: what follows it is still to be done
        self._now = 0  # the time of the last call
        self._swept = False
        self.attachments = Attachments(self._core)

    def _at(self, device: int) -> int:
        """The engine's time; every call that brings the device's comes by here (HT-C-061)."""
        self._now = self._core.clock.at(device)
        if self._core.clock.moved >= KEEP_CLOCK:
            with self._core.transaction():
                self._core.clock.keep()
        return self._now

    # relays ---------------------------------------------------------------------------------------------------

    @property
    def home_relay(self) -> str:
        """Where new invites and Welcomes are left."""
        return (self._core.db.setting("relay") or b"").decode()

    def wanted_relays(self) -> set[str]:
        """Relays to be connected with: the own one, those of conversations, those with something to send or take."""
        found = {*self._core.own_relays(), *outbox.relays(self._core)}
        found.update(str(url) for (url,) in self._core.db.tuples("SELECT DISTINCT relay FROM channel WHERE closed = 0"))
        return found | self._asked_for_offers() | transfers.wanted_relays(self._core)

    def _asked_for_offers(self) -> set[str]:
        rows = self._core.db.find(Acceptance, "conversation IS NULL AND failure IS NULL")
        return {links.parse(row.link).relay_url for row in rows}

    def access_pass(self, url: str) -> bytes | None:
        """What the operator of the relay at `url` gave this person (HT-R-125)."""
        return self._core.db.setting(f"access-pass {url}")

    def keep_pass(self, url: str, access_pass: bytes | None) -> None:
        """:param access_pass: None: forget it; :raises StorageError:"""
        with self._core.transaction():
            if access_pass is None:
                self._core.db.execute("DELETE FROM setting WHERE key = ?", f"access-pass {url}")
            else:
                self._core.db.put_setting(f"access-pass {url}", access_pass)

    def connected(self, url: str, connection: ClientConnection, now: int) -> None:
        """A connection is up; its HELLO is queued."""
        now = self._at(now)
        self._core.links[url] = Link(connection)
        self._pump(now)

    def disconnected(self, url: str) -> None:
        """The connection is gone; what was in flight will be sent again, byte by byte the same."""
        link = self._core.links.pop(url, None)
        if link is not None and link.ready:
            self._emit_connection(url, connected=False)

    def unreachable(self, url: str, now: int) -> None:
        """A relay was tried in vain (HT-M-066)."""
        now = self._at(now)
        moving.failed(self._core, url, now)
        transfers.failed(self._core, url, now)
        self._pump(now)

    def needed_relays(self) -> set[str]:
        """The wanted ones without which something cannot go on; the rest is only watched for a move."""
        read = self._core.db.tuples(
            "SELECT DISTINCT relay FROM channel WHERE purpose NOT IN (?, ?, ?) AND closed = 0",
            Purpose.FALLBACK,
            Purpose.RESYNC,
            Purpose.START,
        )
        fed = {url for url in outbox.relays(self._core) if outbox.holds_up(self._core, url)}
        asked = self._asked_for_offers() | transfers.wanted_relays(self._core)
        return {self.home_relay, *(str(url) for (url,) in read), *fed, *asked}

    def relays_of(self, message: Message) -> set[str]:
        """Where an own message goes."""
        row = self._core.conversation(message.conversation)
        channel = self._core.channel(row.channel)
        return {channel.relay} if channel is not None else set()

    def received(self, url: str, arrived: list[wire.Event], now: int) -> None:
        """What one message of a relay reported: one transaction; if that fails, one for each event.

        :raises StorageError: the disk said no; nothing of what failed is lost, it is fetched again after a reconnect
        """
        now = self._at(now)
        link = self._core.links.get(url)
        if link is None:
            return
        was_ready = link.ready
        try:
            self._take(url, link, arrived, now)
        except StorageError:
            link.acknowledge.clear()
            raise
        except HanaError:
            link.acknowledge.clear()
            for event in arrived:
                self._take(url, link, [event], now)
        if link.ready and not was_ready:
            self._emit_connection(url, connected=True)
        self._pump(now)

    def _take(self, url: str, link: Link, arrived: list[wire.Event], now: int) -> None:
        with self._core.transaction():
            for event in arrived:
                relays.take_event(self._core, url, link, event, now)
            relays.settle(self._core, now)

    def tick(self, now: int) -> None:
        """Do what is due at `now`. The first tick comes before anything else: what was to go must not be seen again.

        :raises StorageError: the disk said no
        """
        self._left_off = False
        now = self._at(now)
        if not self._swept:
            self._swept = True
            attached.sweep(self._core)
        expiry.expire(self._core, now)
        if now >= self._next_chores:
            relays.chores(self._core, now)
            self._next_chores = now + CHORES_EVERY
        if now >= self._next_clock:
            self._next_clock = now + timers.KEEP_CLOCK
            timers.keep_clock(self._core)
        self._index(now)
        for link in self._core.links.values():
            if link.retry_at and now >= link.retry_at:
                link.retry_at = 0
        self._pump(now)

    def next_tick(self) -> int:
        """When `tick` wants to be called at the latest, in milliseconds since 1970."""
        if self._left_off:
            return 0
        found = [self._next_chores]
        if self._empty_log_at is not None:
            found.append(self._empty_log_at)
        due = relays.next_due(self._core, self._now)
        if due is not None:
            found.append(due)
        if timers.next_due(self._core) is not None:
            found.append(self._next_clock)
        due = self._core.index.next_due(self._now)
        if due is not None:
            found.append(due)
        return self._core.clock.wall(min(found))

    def _index(self, now: int) -> None:
        due = self._core.index.next_due(now)
        if due is not None and due <= now:
            with self._core.transaction():
                self._core.index.step(now)

    def _settle_log(self, now: int) -> None:
        """Empty the database's log: at once after something was forgotten, else a little after anything was written."""
        core, due = self._core, self._empty_log_at
        if core.db.log_holds and (core.must_empty_log or (due is not None and now >= due)):
            core.must_empty_log, due = False, None
            with contextlib.suppress(StorageError):  # a full disk: what is done is done, try again later
                core.db.empty_log()
        self._empty_log_at = (due or now + LOG_WAIT) if core.db.log_holds else None

    def _pump(self, now: int) -> None:
        relays.due(self._core, now)
        for url, link in self._core.links.items():
            relays.pump(self._core, url, link, now)
        self._settle_log(now)

    def _follow_up(self, now: int, own: Message | None = None) -> None:
        """What a call has stored is durable: nothing may deny it (HT-S-081). What fails now, the next tick says."""
        try:
            if own is not None:
                self._publish_own(own)
            self._pump(now)
        except StorageError:
            self._left_off = True

    def _emit_connection(self, url: str, *, connected: bool) -> None:
        queued = self._core.db.number("SELECT count(*) FROM outbox WHERE relay = ?", url)
        self._core.events.append(events.ConnectionChanged(relay=url, connected=connected, queued=queued))

    def is_ready(self, url: str) -> bool:
        """HELLO was answered."""
        link = self._core.links.get(url)
        return link is not None and link.ready

    def take_events(self) -> list[events.Event]:
        """Drain what was published."""
        found, self._core.events = self._core.events, []
        return found

    # what people ask ------------------------------------------------------------------------------------------

    def pending(self, now: int) -> int:
        """Frames in the outbox, and receipts, requests and commits that are due soon."""
        return relays.pending(self._core, self._core.clock.at(now))

    def caught_up(self, urls: set[str] | None = None) -> bool:
        """Every channel at these relays (None: all that are wanted) is read to its head."""
        return all(relays.caught_up(self._core, url) for url in (self.wanted_relays() if urls is None else urls))

    def counts(self) -> tuple[int, int]:
        """People's messages received and frames stored since the profile was opened."""
        return self._core.received, self._core.sent

    def account(self) -> calls.Account:
        who = self._core.identity
        return calls.Account(
            account=who.account.hex(),
            device=who.device.key.hex(),
            name=who.name,
            relay=self.home_relay,
            connected=self.is_ready(self.home_relay),
            queued=self._core.db.number("SELECT count(*) FROM outbox"),
        )

    def knows_relay(self) -> bool:
        """The own relay was reached at least once."""
        return self._core.db.value("SELECT key FROM relay WHERE url = ?", self.home_relay) is not None

    def move(self, conversation: str, now: int, *, relay: str | None = None) -> ConversationId:
        """Move a conversation to another relay of its policy, as soon as that can be reached (HT-M-066, HT-M-078).

        :param relay: its URL; None: the next one that can be reached
        :raises UsageError: ``name.unknown``, ``name.ambiguous``; see `moving.want`
        """
        now = self._at(now)
        row = views.resolve(self._core, conversation)
        moving.want(self._core, row, relay, now)
        self._follow_up(now)
        return row.conversation

    def relays_agreed(self, conversation: str) -> list[str]:
        """A conversation's relays, where it is first. :raises UsageError: ``name.unknown``, ``name.ambiguous``"""
        return [relay.url for relay in policy.of(views.resolve(self._core, conversation).policy).relays]

    def invitations(self) -> list[calls.Invitation]:
        """Welcomes that wait for a relay that cannot be reached; it was chosen by who is invited."""
        return [
            calls.Invitation(
                conversation=conversation.hex(),
                name=self._core.conversation_name(self._core.conversation(conversation)),
                relay=url,
            )
            for conversation, url in outbox.welcomes(self._core)
            if not self.is_ready(url)
        ]

    def rejoining(self) -> list[calls.Rejoining]:
        """Conversations that wait for this device to be added again."""
        return views.rejoining(self._core)

    def invite(self, *, expires: int, now: int, group: str | None = None) -> Invite:
        """:param expires: seconds; :param group: whoever comes is added to it (HT-M-093)
        :raises UsageError, NetworkError: see `invites.offer`, `asking.may_lead_to`"""
        now = self._at(now)
        leads_to = asking.may_lead_to(self._core, group) if group is not None else None
        row = invites.offer(self._core, self.home_relay, expires=expires, now=now, leads_to=leads_to)
        self._follow_up(now)
        return row

    def invite_made(self, row: Invite) -> calls.InviteMade:
        queued = self._core.db.value("SELECT 1 FROM outbox WHERE owner = ?", row.invite)
        return calls.InviteMade(
            invite=row.link, expires_at=views.rfc3339(row.expires_at), state="queued" if queued else "stored"
        )

    def accept(self, link: str, now: int) -> ChannelId:
        """Begin accepting; `accepted` says how it went. :raises ContentError, UsageError: see `invites.begin`"""
        now = self._at(now)
        row = invites.begin(self._core, link, now=now)
        self._follow_up(now)
        return row.channel

    def accepted(self, channel: ChannelId) -> calls.Accepted | None:
        """The conversation, or None while the relay has not answered or what we left there is not stored yet.

        :raises HanaError: with the code of what went wrong
        """
        row = self._core.db.first(Acceptance, "channel = ?", channel)
        if row is None:
            return None
        if row.failure is not None:
            raise invites.failed(row.failure)
        if row.conversation is None:
            return None
        if self._core.db.value("SELECT 1 FROM outbox WHERE owner = ?", row.conversation):
            return None
        if self._core.db.value("SELECT 1 FROM message WHERE conversation = ? AND counter < 0", row.conversation):
            return None
        return self.accepted_so_far(channel)

    def accepted_so_far(self, channel: ChannelId) -> calls.Accepted | None:
        """The conversation even if the Welcome still waits in the outbox."""
        row = self._core.db.first(Acceptance, "channel = ?", channel)
        if row is None or row.conversation is None:
            return None
        conversation = self._core.conversation(row.conversation)
        return calls.Accepted(conversation=row.conversation.hex(), name=self._core.conversation_name(conversation))

    def send(
        self,
        conversation: str,
        text: str,
        *,
        reply_to: str | None = None,
        expire: int | None = None,
        fate: content.Fate = content.Fate.STAYS,
        whisper: str | None = None,
        sticker: str | None = None,
        attachments: Sequence[uploads.Staged] = (),
        now: int,
    ) -> Message:
        """Durable in the outbox when it returns. `expire`: seconds. :raises UsageError, ContentError, LocalError:"""
        now = self._at(now)
        if expire is not None and not 0 < expire <= content.TIMER_LIMIT:
            raise UsageError("expire.limit", days=content.TIMER_LIMIT // 86_400)
        if sticker is not None and re.fullmatch(content.STICKER, sticker) is None:
            raise UsageError("sticker.malformed")
        row = views.resolve(self._core, conversation)
        to = row if whisper is None else whispers.conversation_for(self._core, row, whisper)
        reply = views.resolve_message(self._core, reply_to) if reply_to else None
        if reply is not None and reply.conversation not in (row.conversation, to.conversation):
            raise UsageError("message.unknown", message=reply_to or "")
        body = content.Text(
            text,
            MessageId(reply.message) if reply else None,
            expire,
            mentions=self._mentions(row, text),
            fate=fate,
            thread=row.conversation if whisper is not None else None,
            sticker=sticker,
        )
        message = uploads.send(self._core, to.conversation, keeping.applied(body, to), attachments, now=now)
        self._follow_up(now, message)
        return message

    def _mentions(self, row: Conversation, text: str) -> list[content.Mention]:
        if "@" not in text:
            return []
        people = {member.account for member in self._core.members(row.conversation)}
        return mentions.found(text, {account: self._core.name(account) for account in people})

    def _publish_own(self, message: Message) -> None:
        self._core.events.append(events.MessageReceived(message=views.own(self._core, message)))

    def state(self, message: Message) -> str:
        """Current state of an own message."""
        return views.state(self._core, message)

    def chats(self) -> calls.ChatList:
        return views.chats(self._core)

    def messages(self, conversation: str, limit: int) -> calls.MessageList:
        """:raises UsageError: ``name.unknown``, ``name.ambiguous``"""
        return views.messages(self._core, views.resolve(self._core, conversation), limit)

    def search(
        self, text: str, *, conversation: str | None = None, before: str | None = None, limit: int
    ) -> Iterator[calls.Found | None]:
        """Messages that have every word of `text`, newest first; None now and then, so that others come to their turn.

        :raises UsageError: ``search.empty``, ``search.too-long``, ``name.unknown``, ``name.ambiguous``,
            ``message.unknown``
        """
        return searching.found(self._core, text, conversation=conversation, before=before, limit=limit)

    def recall(self, message: str, now: int) -> Message:
        """Take an own message back. :raises UsageError: ``message.unknown``, ``name.ambiguous``, ``recall.not-own``"""
        now = self._at(now)
        row = views.resolve_message(self._core, message)
        expiry.recall(self._core, row, now)
        self._follow_up(now)
        return row

    def resend(self, message: str, now: int) -> Message:
        """Send an own message that was not delivered once more. :raises UsageError: see `undelivered.resend`"""
        now = self._at(now)
        row = views.resolve_message(self._core, message)
        undelivered.resend(self._core, row, now)
        self._follow_up(now)
        return row

    def react(self, message: str, emoji: str | None, now: int) -> tuple[Message, Message | None]:
        """The message, and what carries the reaction (None: nothing to do). :raises UsageError: see `actions.react`"""
        now = self._at(now)
        row = views.resolve_message(self._core, message)
        carrier = actions.react(self._core, row, emoji, now)
        self._follow_up(now)
        return row, carrier

    def edit(self, message: str, text: str, now: int) -> tuple[Message, Message | None]:
        """As `react`. :raises UsageError, ContentError: see `actions.edit`"""
        now = self._at(now)
        row = views.resolve_message(self._core, message)
        named = self._mentions(self._core.conversation(row.thread or row.conversation), text)
        carrier = actions.edit(self._core, row, text, named, now)
        self._follow_up(now)
        return row, carrier

    def may_act(self, message: str) -> bool:
        """Whether something about this message would go out at once. :raises UsageError: ``message.unknown``"""
        row = views.resolve_message(self._core, message)
        return sending.may_send(self._core, self._core.conversation(row.conversation))

    def check_view(self, message: str) -> None:
        """Whether `view` would show anything. :raises UsageError: as `view`"""
        actions.check_view(self._core, views.resolve_message(self._core, message))

    def view(self, message: str, now: int) -> calls.Viewed:
        """:raises UsageError: ``message.unknown``, ``name.ambiguous``; see `actions.view`"""
        now = self._at(now)
        row = views.resolve_message(self._core, message)
        found = actions.view(self._core, row, now)
        self._follow_up(now)
        return calls.Viewed(message=row.message.hex(), text=found.text)

    def delete(self, message: str, now: int) -> calls.Deleted:
        """:raises UsageError: ``message.unknown``, ``name.ambiguous``, ``message.gone``"""
        now = self._at(now)
        row = views.resolve_message(self._core, message)
        here = going.delete(self._core, row, now)
        self._follow_up(now)
        return calls.Deleted(message=row.message.hex(), state="deleted" if here else "hidden")

    def reactors(self, message: str) -> calls.ReactorList:
        """:raises UsageError: ``message.unknown``, ``name.ambiguous``"""
        return views.reactors(self._core, views.resolve_message(self._core, message))

    def versions(self, message: str) -> calls.VersionList:
        """:raises UsageError: ``message.unknown``, ``name.ambiguous``, ``view.hidden``"""
        return views.versions(self._core, views.resolve_message(self._core, message))

    def read(self, conversation: str, now: int) -> calls.ReadDone:
        """:raises UsageError: ``name.unknown``, ``name.ambiguous``"""
        now = self._at(now)
        done = views.read(self._core, views.resolve(self._core, conversation), now)
        self._follow_up(now)
        return done

    def introduce(self, one: str, other: str, now: int) -> calls.IntroductionMade:
        """:raises UsageError: see `introductions.introduce`"""
        now = self._at(now)
        number = introductions.introduce(self._core, one, other, now)
        self._follow_up(now)
        return calls.IntroductionMade(introduction=number.hex())

    def introductions(self) -> calls.IntroductionList:
        return introductions.shown(self._core)

    def meet(self, introduction: str, *, yes: bool, now: int) -> calls.Introduction:
        """:raises UsageError, NetworkError: see `introductions.answer`"""
        now = self._at(now)
        row = introductions.answer(self._core, introduction, yes=yes, now=now)
        self._follow_up(now)
        return introductions.one(self._core, row)

    def keep(self, conversation: str, *, timer: int | None, privacy: bool | None, now: int) -> Conversation:
        """How long texts stay from now on. :raises UsageError: see `calls.Keep`"""
        now = self._at(now)
        row = views.resolve(self._core, conversation)
        if timer is not None or privacy is not None:
            groups.set_keeping(self._core, row, timer=timer, privacy=privacy, now=now)
            self._follow_up(now)
        return row

    def kept(self, conversation: ConversationId) -> calls.Kept:
        """How long they stay, as it is agreed now."""
        agreed = policy.of(self._core.conversation(conversation).policy)
        return calls.Kept(
            conversation=conversation.hex(),
            timer=agreed.timer or None,
            privacy=agreed.privacy,
            state="queued" if asking.waiting(self._core, conversation) else "done",
        )

    def group(self, call: calls.GroupCall, now: int) -> ConversationId:
        """Make or change a group. :raises UsageError: see `asking.carry_out`; :raises NetworkError:"""
        now = self._at(now)
        conversation = asking.carry_out(self._core, call, self._reached(), now)
        self._follow_up(now)
        return conversation

    def _reached(self) -> list[str]:
        """The own relays, but for fallbacks that were never reached."""
        home, *fallbacks = self._core.own_relays()
        return [home, *(url for url in fallbacks if self._core.relay_key(url) is not None)]

    def group_done(self, conversation: ConversationId) -> calls.GroupDone:
        """How it went so far."""
        row = self._core.conversation(conversation)
        return calls.GroupDone(
            conversation=conversation.hex(),
            name=self._core.conversation_name(row),
            state="queued" if asking.waiting(self._core, conversation) else "done",
        )

    def group_relays(self, conversation: ConversationId) -> set[str]:
        """Where a group is."""
        channel = self._core.channel(self._core.conversation(conversation).channel)
        return {channel.relay} if channel is not None else set()

    def readers(self, message: str) -> calls.ReaderList:
        """:raises UsageError: ``message.unknown``, ``readers.not-own``"""
        return telling.readers(self._core, views.resolve_message(self._core, message))

    def tell(self, conversation: str, telling_: bool, now: int) -> None:
        """Tell what is read in a conversation, or stop it. :raises UsageError: ``name.unknown``, ``name.ambiguous``"""
        now = self._at(now)
        telling.switch(self._core, views.resolve(self._core, conversation), telling_, now)
        self._follow_up(now)

    def members(self, conversation: str) -> calls.MemberList:
        """:raises UsageError: ``name.unknown``, ``name.ambiguous``"""
        return asking.members(self._core, views.resolve(self._core, conversation))

    def verify(self, conversation: str, *, confirm: bool) -> calls.Safety:
        """:raises UsageError: ``name.unknown``, ``name.ambiguous``, ``verify.group``"""
        row = views.resolve(self._core, conversation)
        found = views.safety(self._core, row, confirm=confirm)
        if confirm:
            self.devices.verified(row, self._now)
        return found
