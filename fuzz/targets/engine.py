"""A whole engine on a real encrypted database, and what a relay, a contact or a stranger can make it read.

Every input starts from the same state: it runs inside one transaction that is rolled back. Nothing may be raised:
whatever comes in is stored, ignored or said (HT-C-011), and afterwards the conversation can still be read.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Any, cast

import msgspec
from tests.client.people import START, URL, World

from fuzz.mutation import tree
from fuzz.target import Attack, Target, hold
from fuzz.targets import content as inner
from fuzz.targets.storage import folder
from hanatalk import mls
from hanatalk.client.engine.conversations import key_packages, resync
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import accounts, content, links, policy, sealing, statements
from hanatalk.client.events import MessageReceived
from hanatalk.errors import ContentError, HanaError, UsageError
from hanatalk.ids import ChannelId, ConversationId, EntryId, Incarnation, MessageId, RelayKey, TakeId
from hanatalk.localdb.rows import (
    Acceptance,
    Channel,
    ContactKeyPackage,
    KeyPackage,
    Outgoing,
    Purpose,
)
from hanatalk.wire import channels, events, frames
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection


class _UndoError(Exception):
    """The input has been played; the database goes back to where it was."""


class _Scene:
    """Minji and Jihoon talk; Minji's engine is the one under attack."""

    def __init__(self) -> None:
        self.world = World(folder())
        self.minji, self.jihoon = self.world.person("민지"), self.world.person("지훈")
        self.world.run()
        self.conversation = ConversationId(bytes.fromhex(self.world.befriend(self.minji, self.jihoon)))
        for number in range(3):
            self.jihoon.send(self.conversation.hex(), f"{number}")
            self.minji.send(self.conversation.hex(), f"answer {number}")
        self.world.settle()
        self.now = self.world.now + 1000
        self.core: Core = self.minji.engine._core
        found = self.core.channel(self.core.conversation(self.conversation).channel)
        assert found is not None
        self.channel: Channel = found

    @contextlib.contextmanager
    def played(self) -> Iterator[None]:
        """On a fresh connection; what happens in here never happened."""
        engine = self.minji.engine
        engine._core.links.clear()
        engine._next_chores = self.now + 1_000_000
        try:
            with self.core.transaction():
                engine.connected(URL, ClientConnection(), self.now)
                yield
                engine.tick(self.now + 60_000)
                engine.messages(self.conversation.hex(), 50)
                for chat in engine.chats().chats:
                    hold(chat.conversation, "a conversation without an id")
                engine.next_tick()
                for link in self.core.links.values():
                    for message in link.connection.messages_to_send():
                        hold(len(message) <= frames.MESSAGE_SIZE, "a message above HT-R-010")
                raise _UndoError
        except _UndoError:
            pass
        finally:
            engine.take_events()

    def deliver(self, *arrived: events.Event) -> None:
        self.minji.engine.received(URL, list(arrived), self.now)

    def greet(self) -> None:
        """The relay answers HELLO as it always did."""
        limits, retention = inner_limits()
        self.deliver(events.HelloAnswered(limits, retention, "be kind", self.world.relay.relay_key))

    def entry(
        self, body: bytes, *, kind: sealing.BodyKind = sealing.BodyKind.MLS, seq: int = 1, control: bool = False
    ) -> events.EntryReceived:
        """An entry of the conversation's channel, sealed as a member seals."""
        entry_class = EntryClass.CONTROL if control else EntryClass.MESSAGE
        sealed = sealing.seal(
            self.channel.seal_key,
            ChannelId(self.channel.channel),
            entry_class=entry_class,
            commit=control,
            kind=kind,
            body=body,
        )
        return events.EntryReceived(
            ChannelId(self.channel.channel), self.channel.cursor + seq, self.channel.turn, entry_class, control, sealed
        )


def inner_limits() -> tuple[frames.RelayLimits, frames.RetentionDays]:
    return frames.RelayLimits(1 << 20, 65_536, 4096, 2000, 1 << 25, 10_000, 1 << 30), frames.RetentionDays(3, 30, 1)


class _Heard:
    """The real group, except that the next message decrypts to what the input says: as from a member who lies."""

    def __init__(self, group: mls.Group, plaintext: bytes, sender: int) -> None:
        self._group = group
        self._said = (plaintext, sender)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._group, name)

    def process(self, _: bytes) -> Any:
        return _Application(*self._said, self._group.epoch)


class _Application:
    def __init__(self, plaintext: bytes, sender: int, epoch: int) -> None:
        self.plaintext, self.sender, self.epoch = plaintext, sender, epoch
        self.aad = b""
        self.writes: mls.Writes = []


def _said() -> Attack:
    scene = _Scene()
    sender = next(m.leaf for m in scene.core.members(scene.conversation) if m.account != scene.core.identity.account)

    def attack(given: bytes) -> None:
        with scene.played():
            group = _Heard(scene.core.group(scene.conversation), given, sender)
            scene.core.adopt(scene.conversation, cast(mls.Group, group))
            scene.greet()
            scene.deliver(scene.entry(b"x"))
            row = scene.core.channel(ChannelId(scene.channel.channel))
            hold(row is not None and row.cursor == scene.channel.cursor + 1, "an entry that stops the conversation")
            hold(_shown(scene) <= 1, "one message shown twice")
            scene.core.adopt(
                scene.conversation, cast(mls.Group, _Heard(scene.core.group(scene.conversation), given, sender))
            )
            scene.deliver(scene.entry(b"y", seq=2))
            hold(_shown(scene) <= 1, "a repeated message shown twice (T-011)")
            try:
                envelope, _ = content.parse(given)
            except ContentError:
                return
            again = content.encode(msgspec.structs.replace(envelope, counter=(envelope.counter + 1) % 2**48))
            group = _Heard(scene.core.group(scene.conversation), again, sender)
            scene.core.adopt(scene.conversation, cast(mls.Group, group))
            scene.deliver(scene.entry(b"z", seq=3))
            hold(_shown(scene) <= 1, "the same id under another number shown twice (HT-C-003)")

    return attack


def _shown(scene: _Scene) -> int:
    return sum(isinstance(event, MessageReceived) for event in scene.core._unpublished)


def _introduced() -> Attack:
    """A contact's Hello with KeyPackages of its own: [[[welcome-at, not before, not after, suite] …], name, chain]."""
    scene = _Scene()
    friend = scene.jihoon.engine._core.identity
    sender = next(m.leaf for m in scene.core.members(scene.conversation) if m.account == friend.account)

    def attack(given: bytes) -> None:
        read = _read(given)
        step = (read if isinstance(read, list) else []) + [None] * 3
        packages = [
            _key_package(friend.device, friend.chain, part if isinstance(part, list) else [])
            for part in (step[0] if isinstance(step[0], list) else [])[:3]
        ]
        name = step[1] if isinstance(step[1], str) else "지훈"
        chain = step[2] if isinstance(step[2], list) else list(friend.chain.links)
        hello = msgspec.msgpack.encode([2, name, chain, packages])
        plain = content.encode(content.Envelope(1, b"h" * 16, 5, START, [], msgspec.Raw(hello)))
        with scene.played():
            group = _Heard(scene.core.group(scene.conversation), plain, sender)
            scene.core.adopt(scene.conversation, cast(mls.Group, group))
            scene.greet()
            scene.deliver(scene.entry(b"x"))
            kept = scene.core.db.find(ContactKeyPackage, "account = ?", friend.account)
            hold(len(kept) <= key_packages.CONTACT_KEY_PACKAGES, "a contact that fills the disk")

    return attack


def _key_package(device: accounts.Device, chain: accounts.Chain, fields: list[Any]) -> bytes:
    """Properly signed: [welcome-at, not before, not after, suite]. Empty if the binding does not make it."""
    step = fields + [None] * 4
    signer = mls.signer_new()
    times = [
        part if isinstance(part, int) and 0 <= part < 2**64 else other
        for part, other in ((step[1], 0), (step[2], 2**33))
    ]
    with contextlib.suppress(HanaError):
        return mls.key_package_new(
            signer,
            suite=mls.SUITE_X25519 if step[3] == 7 else mls.SUITE_X_WING,
            credential=accounts.credential(chain, device, signer.public_key),
            extensions=[(policy.WELCOME_EXTENSION, step[0])] if isinstance(step[0], bytes) else [],
            not_before=times[0],
            not_after=times[1],
        ).key_package
    return b""


def _introductions() -> Iterator[bytes]:
    at = policy.encode(policy.WelcomeAt(1, URL, b"r" * 32, b"w" * 32, b"s" * 32))
    yield msgspec.msgpack.encode([[[at, 0, 2**33, 7], [at, 5, 2**33, 0]], "지훈", None])
    yield msgspec.msgpack.encode([[[at, 0, 2**63 - 1, 7]], "x", [b"link"]])


def _sayings() -> Iterator[bytes]:
    yield from inner.envelopes()
    chain = accounts.create(accounts.Device(b"d" * 32))
    for body in (
        content.Text("hi", b"r" * 16),
        content.Hello("지훈", list(chain.links), [b"kp"]),
        content.SendAgain([content.Range(0, 1, 0), content.Range(1, 2, 9)]),
        content.Tombstone(),
        content.Text("short-lived", None, 60),
        content.Recall(b"m" * 16),
        content.Reaction(b"m" * 16, "👍", 1),
        content.Edit(b"m" * 16, "other words", [], 1),
        content.Opened(b"m" * 16),
        content.Introduction(b"i" * 16, chain.account, "지훈", list(chain.links), None),
        content.Introduction(b"i" * 16, chain.account, "지훈", list(chain.links), b"kp"),
        content.Consent(b"i" * 16, b"kp"),
    ):
        for counter in (0, 5, 6, 7):
            receipts = [content.ReceiptLine(0, 4, 3), content.ReceiptLine(1, 5, 5)]
            yield content.make(body, message=MessageId(b"m" * 16), counter=counter, sent_at=START, receipts=receipts)


def _commit() -> Attack:
    """A member's real commit with whatever context: raw bytes, or [new era, seq, hash, who signed, tail] to be made."""
    scene = _Scene()
    jihoon: Core = scene.jihoon.engine._core
    rows = list(jihoon.db.mls_rows(scene.conversation))
    hashes = [bytes(32), scene.channel.control_hash, b"x" * 32]

    def attack(given: bytes) -> None:
        read = _read(given)
        aad = given
        if isinstance(read, list) and len(read) == 5 and all(isinstance(part, int) for part in read):
            new_era, seq, which, signer, tail = (abs(part) for part in read)
            control_hash = hashes[which % 3]
            incarnation = scene.channel.incarnation or bytes(16)
            text = channels.receipt_statement(
                ChannelId(scene.channel.channel), Incarnation(incarnation), seq=seq % 2**64, control_hash=control_hash
            )
            signature = scene.world.relay.key.sign(text) if signer % 2 else bytes(64)
            receipt = (seq % 2**64).to_bytes(8) + control_hash + signature + bytes(tail % 9)
            aad = content.encode(content.CommitContext(1, bool(new_era % 2), receipt if tail % 16 < 12 else None))
        group = mls.Group.load(scene.conversation, rows)
        made = group.commit(self_update=True, aad=aad)
        with scene.played():
            scene.greet()
            scene.deliver(scene.entry(made.commit, control=True))

    return attack


def _read(given: bytes) -> Any:
    try:
        return msgspec.msgpack.decode(given)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _contexts() -> Iterator[bytes]:
    yield content.encode(content.CommitContext(1, True, b"r" * 104))
    yield content.encode(content.CommitContext(1, False))
    for new_era in (0, 1):
        yield msgspec.msgpack.encode([new_era, 3, 1, 1, 0])
        yield msgspec.msgpack.encode([new_era, 2**64 - 1, 1, 0, 12])


def _offered() -> Attack:
    """The offer behind a link: [welcome-at, name, chain, version, kind, not before, not after, raw]."""
    scene = _Scene()
    relay = scene.world.relay.relay_key
    stranger = accounts.Device(b"s" * 32)
    chain = accounts.create(stranger)

    def attack(given: bytes) -> None:
        read = _read(given)
        step = (read if isinstance(read, list) else []) + [None] * 8
        key_package = _key_package(stranger, chain, [step[0], step[5], step[6], step[4]])
        offer = msgspec.msgpack.encode(
            [step[3], key_package, step[1], list(chain.links) if step[2] is None else step[2]]
        )
        if isinstance(step[7], bytes):
            offer = step[7]
        link = links.InviteLink(
            1,
            URL,
            relay,
            b"q" * 32,
            b"w" * 32,
            chain.account,
            hashlib.sha256(key_package).digest(),
            scene.now // 1000 + 3600,
        )
        at = link.capability
        kind = sealing.BodyKind.OFFER if step[4] != 1 else sealing.BodyKind.MLS
        entry = sealing.seal(
            at.seal_key, at.channel, entry_class=EntryClass.INVITE, kind=kind, body=offer[: sealing.CAPACITY]
        )
        with scene.played():
            scene.greet()
            accepting = scene.minji.engine.accept(links.compose(link), scene.now)
            row = scene.core.db.first(Acceptance, "channel = ?", accepting)
            assert row is not None
            scene.deliver(events.EntryTaken(accepting, TakeId(row.take_id), 1, entry))
            try:
                scene.minji.engine.accepted(accepting)
            except HanaError as error:
                hold(error.code, "a failure without a code")
            scene.deliver(events.EntryTaken(accepting, TakeId(row.take_id), 1, entry))  # the relay says it twice

    return attack


def _offers() -> Iterator[bytes]:
    at = policy.encode(policy.WelcomeAt(1, URL, b"r" * 32, b"w" * 32, b"s" * 32))
    yield msgspec.msgpack.encode([at, "수민", None, 1, 0, 0, 2**33, None])
    yield msgspec.msgpack.encode([at, "수민", None, 1, 7, START // 1000, START // 1000 + 86_400, None])
    yield msgspec.msgpack.encode([at, "수민", [b"x"], 2, 1, 0, 0, None])
    yield msgspec.msgpack.encode([at, "x", None, 1, 0, 0, 0, msgspec.msgpack.encode([1, b"kp", "x", [b"link"]])])


def _welcomed() -> Attack:
    """A stranger who holds one of Minji's KeyPackages: [policy, chain, version, credential, more extensions, raw]."""
    scene = _Scene()
    core = scene.core
    package = next(row for row in core.db.find(KeyPackage, "used = 0"))
    at = next(row for row in core.db.find(Channel, "owner = ?", package.ref))
    stranger = accounts.Device(b"s" * 32)
    chain = accounts.create(stranger)
    proper = policy.encode(
        policy.direct([core.identity.account, chain.account], policy.Relay(URL, scene.world.relay.relay_key))
    )

    def attack(given: bytes) -> None:
        read = _read(given)
        step = (read if isinstance(read, list) else []) + [None] * 6
        signer = mls.signer_new()
        agreed = step[0] if isinstance(step[0], bytes) else proper
        own = accounts.credential(chain, stranger, signer.public_key)
        welcome = b""
        with contextlib.suppress(HanaError):
            group, _ = mls.Group.create(
                signer,
                suite=mls.SUITE_X_WING,
                group_id=bytes(step[4] % 40) if isinstance(step[4], int) and step[4] >= 0 else b"g" * 16,
                credential=step[3] if isinstance(step[3], bytes) else own,
                extensions=[(policy.EXTENSION, agreed)],
            )
            welcome = group.commit(adds=[package.key_package]).welcome or b""
        enclosed = msgspec.msgpack.encode(
            [step[2] if step[2] is not None else 1, welcome, list(chain.links) if step[1] is None else step[1]]
        )
        if isinstance(step[5], bytes):
            enclosed = step[5]
        channel = ChannelId(at.channel)
        entry = sealing.seal(
            at.seal_key,
            channel,
            entry_class=EntryClass.CONTROL,
            kind=sealing.BodyKind.WELCOME,
            body=enclosed[: sealing.CAPACITY],
        )
        with scene.played():
            scene.greet()
            for seq in (1, 2):  # the same Welcome twice (T-033)
                scene.deliver(events.EntryReceived(channel, seq, 0, EntryClass.CONTROL, False, entry))
            row = core.channel(channel)
            hold(row is None or row.cursor >= 1, "a Welcome that stops the channel")

    return attack


def _welcomes() -> Iterator[bytes]:
    yield msgspec.msgpack.encode([None, None, None, None, None, None])
    yield msgspec.msgpack.encode([policy.encode(policy.direct([], inner.RELAY)), None, 1, None, 16, None])
    yield msgspec.msgpack.encode([next(inner._policies()), [b"link"], 2, b"credential", 3, None])
    yield msgspec.msgpack.encode([None, None, 1, None, None, msgspec.msgpack.encode([1, b"welcome", [b"link"]])])


def _told() -> Attack:
    """Events of a relay that says anything: a list of steps [what, channel, seq, turn, which, flags]."""
    scene = _Scene()
    core = scene.core
    known = [ChannelId(row.channel) for row in core.db.find(Channel, "1")] + [ChannelId(b"?" * 32)]
    jihoon: Core = scene.jihoon.engine._core
    group = mls.Group.load(scene.conversation, list(jihoon.db.mls_rows(scene.conversation)))
    real = []
    for number in range(4):
        body = content.Text(f"real {number}")
        plain = content.make(body, message=MessageId(bytes([number + 1]) * 16), counter=number + 5, sent_at=START)
        real.append((scene.entry(group.encrypt(plain)[0]).entry, EntryClass.MESSAGE, False))
    context = content.encode(content.CommitContext(1, new_era=False))
    real.append(
        (scene.entry(group.commit(self_update=True, aad=context).commit, control=True).entry, EntryClass.CONTROL, True)
    )
    real += [
        (bytes(512), EntryClass.MESSAGE, False),
        (b"\0", EntryClass.CONTROL, False),
        (scene.entry(b"junk").entry, EntryClass.MESSAGE, False),
    ]
    keys_of = [scene.world.relay.relay_key, RelayKey(b"k" * 32)]
    codes = [*(code.value for code in _refusals()), "nonsense"]

    def event(numbers: list[int]) -> events.Event:
        what, where, seq, turn, which, flags = numbers[:6]
        channel = known[where % len(known)]
        row = core.channel(channel)
        if flags & 16 and row is not None:
            seq, turn = row.cursor + seq % 8, row.turn + turn % 3
        entry, entry_class, commit = real[which % len(real)]
        waiting = core.db.find(Outgoing, "1 ORDER BY number")
        entry_id = EntryId(waiting[which % len(waiting)].entry_id) if waiting and flags & 1 else EntryId(bytes(16))
        match what % 10:
            case 0:
                return events.HelloAnswered(*inner_limits(), "x" * (seq % 1024), keys_of[which % 2])
            case 1:
                return events.ChannelOpened(channel, Incarnation(bytes([which % 3]) * 16), seq, turn, flags)
            case 2:
                return events.CaughtUp(channel, seq)
            case 3:
                return events.EntryStored(channel, entry_id, max(seq, 1), turn)
            case 4:
                return events.EntryTaken(channel, TakeId(bytes(16)), seq or None, entry if seq else None)
            case 5:
                return events.ReceiptSigned(
                    channel, seq, row.control_hash if row is not None and flags & 1 else bytes(32), bytes(64)
                )
            case 6:
                return events.Refused(
                    channel if flags & 1 else None,
                    entry_id,
                    codes[which % len(codes)],
                    turn,
                    "\x1b[2J",
                    ("append", "open", "take")[flags % 3],
                )
            case 7:
                return events.EntryErased(channel, seq)
            case _:
                return events.EntryReceived(
                    channel,
                    max(seq, 1),
                    turn,
                    EntryClass(1 + flags % 4) if flags & 8 else entry_class,
                    commit ^ bool(flags & 4),
                    entry,
                )

    def attack(given: bytes) -> None:
        read = _read(given)
        with scene.played():
            scene.greet()
            later = scene.now
            for step in read[:60] if isinstance(read, list) else []:
                numbers = (
                    [part if isinstance(part, int) and 0 <= part < 2**53 else 0 for part in step[:6]]
                    if isinstance(step, list)
                    else []
                )
                numbers += [0] * (6 - len(numbers))
                if numbers[0] % 13 == 11:
                    later += numbers[2] % 10_000_000
                    scene.minji.engine.tick(later)
                elif numbers[0] % 13 == 12:
                    with contextlib.suppress(UsageError, HanaError):
                        scene.minji.send(scene.conversation.hex(), "meanwhile")
                else:
                    scene.minji.engine.received(URL, [event(numbers)], later)
                    scene.minji.engine.take_events()
            shown = scene.minji.engine.messages(scene.conversation.hex(), 10_000).messages
            texts = [message.text for message in shown if message.text.startswith("real")]
            hold(len(texts) == len(set(texts)), "shown twice (T-011)")

    return attack


def _refusals() -> list[Any]:
    from hanatalk.wire.refusals import RefusalCode

    return list(RefusalCode)


def _tellings() -> Iterator[bytes]:
    opened = [[1, n, 0, 0, 0, 16] for n in range(4)]
    entries = [[8, n, 1 + k, 0, k, 16] for n in range(3) for k in range(5)]
    yield msgspec.msgpack.encode([*opened, *entries])
    yield msgspec.msgpack.encode(
        [[12], *opened, [2, 0, 9], [3, 0, 4, 0, 0, 1], [11, 0, 900_000], [6, 0, 0, 0, 3, 1], [5, 0, 1]]
    )
    yield msgspec.msgpack.encode(
        [[1, 0, 0, 0, 1, 3], [1, 0, 99, 7, 2, 0], [2, 0, 5], [8, 0, 2**53 - 1, 2**53 - 1, 4, 0], [4, 1, 1, 0, 0]]
    )


def _stated() -> Attack:
    """What a device says in the resync channel, properly signed: [number, epoch, known, KeyPackage, chain, flags, raw].

    Flags: 1 Minji has lost her way; 2 the same again; 4 another conversation's; 8 the statement's bytes as given.
    """
    scene = _Scene()
    core, friend = scene.core, scene.jihoon.engine._core.identity
    resync_channel = core.db.find(Channel, "purpose = ? AND owner = ?", Purpose.RESYNC, scene.conversation)[0]
    channel = ChannelId(resync_channel.channel)

    def attack(given: bytes) -> None:
        step = (found if isinstance(found := _read(given), list) else []) + [None] * 7
        flags = step[5] if isinstance(step[5], int) else 0
        package = _key_package(friend.device, friend.chain, step[3]) if isinstance(step[3], list) else None
        fields = [
            1,
            bytes(16) if flags & 4 else scene.conversation,
            friend.device.key,
            step[0],
            step[1],
            bytes(32),
            bytes(32),
        ]
        raw = msgspec.msgpack.encode([*fields, step[2] or [], package, step[4] or list(friend.chain.links)])
        if flags & 8 and isinstance(step[6], bytes):
            raw = step[6]
        body = msgspec.msgpack.encode(statements.Signed(raw, friend.device.sign(b"hana statement/1", raw)))
        sealed = sealing.seal(
            resync_channel.seal_key,
            channel,
            entry_class=EntryClass.CONTROL,
            kind=sealing.BodyKind.STATEMENT,
            body=body[: sealing.CAPACITY],
        )
        with scene.played():
            scene.greet()
            if flags & 1:
                resync.lost(core, scene.conversation, "mls.path-fault", scene.now)
            for row in core.db.find(Channel, "closed = 0"):
                at, incarnation = ChannelId(row.channel), Incarnation(row.incarnation or bytes(16))
                scene.deliver(
                    events.ChannelOpened(at, incarnation, row.cursor, row.turn, 0), events.CaughtUp(at, row.cursor)
                )
            for seq in range(1, 3 if flags & 2 else 2):
                place = resync_channel.cursor + seq
                scene.deliver(events.EntryReceived(channel, place, 0, EntryClass.CONTROL, False, sealed))
                scene.deliver(events.CaughtUp(channel, place))
            scene.minji.engine.tick(scene.now + 60_000)

    return attack


def _statements() -> Iterator[bytes]:
    at = policy.encode(policy.WelcomeAt(1, URL, b"r" * 32, b"w" * 32, b"s" * 32))
    known = [[b"d" * 32, 4, 1]]
    for flags in (0, 1, 2, 4):
        yield msgspec.msgpack.encode([START, 2, known, None, None, flags, None])
        yield msgspec.msgpack.encode([START, 9, known, [at, 0, 2**33, 0], None, flags, None])
    yield msgspec.msgpack.encode([2**53 - 1, 2**53 - 1, [], None, None, 8, msgspec.msgpack.encode([1, b"x"])])


def _starts() -> Iterator[bytes]:
    yield msgspec.msgpack.encode([1, 1, bytes(16)])
    yield msgspec.msgpack.encode([1, 2**53 - 1, b"x" * 16])


def _started() -> Attack:
    """What stands in the own channel that counts the profile's starts, under its key."""
    scene = _Scene()
    own = scene.core.db.find(Channel, "purpose = ?", Purpose.START)[0]
    channel = ChannelId(own.channel)

    def attack(given: bytes) -> None:
        sealed = sealing.seal(
            own.seal_key,
            channel,
            entry_class=EntryClass.CONTROL,
            kind=sealing.BodyKind.START,
            body=given[: sealing.CAPACITY],
        )
        with scene.played():
            scene.greet()
            scene.deliver(events.EntryReceived(channel, own.cursor + 1, own.turn, EntryClass.CONTROL, False, sealed))
            scene.deliver(events.CaughtUp(channel, own.cursor + 1))

    return attack


_KINDS: tuple[tuple[str, Callable[[], Attack], Callable[[], Iterator[bytes]], tuple[str, ...], int], ...] = (
    ("engine-content", _said, _sayings, ("receiving.entry", "formats.content.parse"), 150),
    ("engine-hello", _introduced, _introductions, ("conversations.key_packages.remember",), 40),
    ("engine-commit", _commit, _contexts, ("conversations.commits.arrived", "conversations.judging.check_commit"), 40),
    ("engine-offer", _offered, _offers, ("people.invites.taken",), 40),
    ("engine-welcome", _welcomed, _welcomes, ("people.invites.welcome_entry",), 40),
    ("engine-statement", _stated, _statements, ("conversations.resync.entry", "formats.statements.parse"), 30),
    ("engine-start", _started, _starts, ("conversations.starts.entry",), 30),
    ("engine-relay", _told, _tellings, ("relays.take_event",), 60),
)
TARGETS = [
    Target(
        name=name,
        parsers=tuple(f"hanatalk.client.engine.{parser}" for parser in parsers),
        allowed=(),
        ready=ready,
        seeds=seeds,
        mutate=tree,
        short=short,
    )
    for name, ready, seeds, parsers, short in _KINDS
]
