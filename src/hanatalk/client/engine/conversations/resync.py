"""Coming back into a conversation that this device can no longer follow (HT-M-054 … HT-M-062, HT-M-092).

What is said in the resync channel makes nothing valid by itself: a member's commit and its Welcome bring a device back.
"""

import secrets

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine.conversations import acquaintances, changes, claims, commits, key_packages, welcoming
from hanatalk.client.engine.core import DAY, Core, new_reader
from hanatalk.client.engine.formats import keys, policy, sealing, statements
from hanatalk.client.engine.messages import outbox, receipts, sending
from hanatalk.errors import ContentError, VerificationError
from hanatalk.ids import AccountId, ConversationId
from hanatalk.localdb.rows import (
    Channel,
    Closed,
    Conversation,
    ConversationState,
    IntentKind,
    KeyPackage,
    Member,
    OutboxKind,
    Purpose,
    Readmission,
    Resync,
    Statement,
)
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.events import EntryReceived

HOUR = 3_600_000  # milliseconds
REQUEST_PAUSES = (0, 60_000, 600_000, HOUR, 6 * HOUR, DAY)  # before the next request of one conversation
QUIET = 7 * DAY  # after this a request is repeated, and counts start anew
KEY_PACKAGE_LIFETIME = 30 * DAY
ANSWERS_PER_DAY = 8  # requests of one device that are carried out
GRACE = 10_000  # milliseconds that a commit on its way has before a later epoch elsewhere counts
STATE_LEAST, STATE_MOST = 60_000, 6 * HOUR  # milliseconds between two statements about where this device stands
ANSWER_PAUSE, ANSWER_PLACES = 400, 32  # milliseconds: not all members of a group answer a request at once
UNREADABLE_LIMIT = 3  # members' entries in a row that do not decrypt
UPDATE_AFTER = 1_000  # milliseconds


def first_secret(group: mls.Group) -> bytes:
    """What the first epoch's members know; later ones are told it by whoever added them (HT-M-054, HT-M-122)."""
    return group.export_secret(keys.RESYNC_LABEL, b"", 32)


def begin(core: Core, conversation: ConversationId, secret: bytes, relays: list[policy.Relay], now: int) -> None:
    """Keep what the conversation's devices can find each other with for life (HT-M-054)."""
    core.db.insert(Resync(conversation, secret))
    for relay in relays:
        at = keys.resync(secret, relay.relay_key)
        core.db.insert(
            Channel(
                at.channel,
                Purpose.RESYNC,
                conversation,
                relay.url,
                at.read_token,
                at.write_token,
                at.seal_key,
                new_reader(),
                None,
                0,
                0,
                bytes(32),
                0,
                now,
            )
        )
    core.rescan()


def entry(core: Core, channel: Channel, event: EntryReceived, now: int) -> None:
    """Somebody said something: keep what is newer than what that device said before (HT-M-055)."""
    own = outbox.sent_as(core, channel.channel, event.entry)
    if own is not None:
        sending.stored(core, own, event.seq, now)
    try:
        kind, body = sealing.unseal(
            channel.seal_key,
            channel.channel,
            entry_class=event.entry_class,
            commit=event.commit,
            entry=event.entry,
        )
        if kind is not sealing.BodyKind.STATEMENT:
            return
        said, signed = statements.parse(body)
        about = acquaintances.spoken_of(core, channel, said.conversation)
        if about is None:
            return
        conversation = about.conversation
        if said.device == core.identity.device.key:
            statements.verify(said, signed, core.identity.account)
            core.db.execute(
                "UPDATE resync SET number = max(number, ?) WHERE conversation = ?", said.number, conversation
            )
            return
        member = next((each for each in core.members(conversation) if each.device == said.device), None)
        known = core.db.first(Statement, "conversation = ? AND device = ?", conversation, said.device)
        if member is None or (known is not None and said.number <= known.number):
            return
        core.remember_account(statements.verify(said, signed, member.account))
    except (ContentError, VerificationError):
        return  # made by nobody who may speak here
    counts = (known.answered, known.answered_at) if known is not None else (0, 0)
    core.db.put(Statement(conversation, member.device, said.number, signed.statement, now, now, *counts))


def forgotten(core: Core, channel: Channel) -> None:
    """The relay lost what was said: say the last again, as it was."""
    for conversation in (ConversationId(channel.owner), *acquaintances.groups_of(core, channel)):
        mine = _mine(core, conversation)
        if mine is not None and mine.last is not None:
            _post(core, core.conversation(conversation), channel, mine.last)


# doubts ----------------------------------------------------------------------------------------------------------


def doubt(core: Core, conversation: ConversationId, now: int, *, delay: int = GRACE) -> None:
    """Something does not fit: say where this device stands, not too often (HT-M-057)."""
    mine = _mine(core, conversation)
    if mine is None or mine.doubted_at is not None:
        return
    stated = mine.stated if now - mine.stated_at < DAY else 0
    pause = min(STATE_LEAST << (stated - 1), STATE_MOST) if stated else 0
    core.db.execute(
        "UPDATE resync SET doubted_at = ?, stated = ? WHERE conversation = ?",
        max(now + delay, mine.stated_at + pause),
        stated,
        conversation,
    )


def unreadable(core: Core, conversation: ConversationId, now: int) -> None:
    """A member's entry of this epoch does not decrypt; a relay cannot make such entries."""
    core.db.execute("UPDATE resync SET unreadable = unreadable + 1 WHERE conversation = ?", conversation)
    mine = _mine(core, conversation)
    if mine is not None and mine.unreadable >= UNREADABLE_LIMIT:
        doubt(core, conversation, now)


def readable(core: Core, conversation: ConversationId) -> None:
    """Something decrypted."""
    core.db.execute("UPDATE resync SET unreadable = 0 WHERE conversation = ? AND unreadable > 0", conversation)


# losing the way --------------------------------------------------------------------------------------------------


def lost(core: Core, conversation: ConversationId, code: str, now: int) -> None:
    """This device can no longer follow: nothing of it goes out any more, and it will ask to be added again (HT-M-056).

    :param code: why; said to the person
    """
    row = core.conversation(conversation)
    if row.state in (ConversationState.BROKEN, ConversationState.REMOVED):
        return
    core.db.execute(
        "UPDATE conversation SET state = ?, receipt_due = NULL WHERE conversation = ?",
        ConversationState.BROKEN,
        conversation,
    )
    core.db.execute("DELETE FROM outbox WHERE owner = ? AND kind != ?", conversation, OutboxKind.WELCOME)
    core.db.execute("DELETE FROM intent WHERE conversation = ?", conversation)
    changes.lost_race(core, conversation)  # what was wanted is looked at again when this device is back (HT-M-091)
    core.db.execute("DELETE FROM readmission WHERE conversation = ?", conversation)
    core.notice(events.Alarm(conversation=conversation.hex(), code=code), now, conversation)
    mine = _mine(core, conversation)
    if mine is None:  # begun by a version that kept no resync secret
        core.notice(events.Alarm(conversation=conversation.hex(), code="conversation.no-way-back"), now, conversation)
        return
    asked = mine.asked if now - mine.asked_at < QUIET else 0
    pause = REQUEST_PAUSES[min(asked, len(REQUEST_PAUSES) - 1)]
    core.db.execute(
        "UPDATE resync SET asked = ?, ask_at = ?, doubted_at = NULL, back = NULL WHERE conversation = ?",
        asked,
        max(now, mine.asked_at + pause),
        conversation,
    )
    core.emit(events.ConversationChanged(conversation=conversation.hex(), state="rejoining"))


def _ask(core: Core, row: Conversation, mine: Resync, now: int) -> None:
    """A request: a fresh KeyPackage in a statement. An earlier one is no longer answered."""
    relays = policy.parse([(policy.EXTENSION, row.policy)]).relays
    relay = next((each for each in relays if (link := core.links.get(each.url)) and link.ready), relays[0])
    _close_request(core, mine)
    suite = core.group(row.conversation).suite
    expires_at = core.clock.wall(now) + KEY_PACKAGE_LIFETIME
    package = key_packages.make(core, relay, expires_at=expires_at, now=now, suite=suite)
    number = state(core, row, now, key_package=package)
    core.db.execute(
        "UPDATE resync SET key_package = ?, request = ?, asked = asked + 1, asked_at = ?, ask_at = ? "
        "WHERE conversation = ?",
        package.ref,
        number,
        now,
        now + QUIET,
        row.conversation,
    )
    core.db.execute("UPDATE statement SET due_at = ? WHERE conversation = ?", now, row.conversation)


def _close_request(core: Core, mine: Resync) -> None:
    if mine.key_package is not None:
        core.db.execute("UPDATE key_package SET used = 1 WHERE ref = ?", mine.key_package)
        core.db.mls_delete(mine.key_package)
        core.db.execute("UPDATE channel SET closed = 1 WHERE owner = ?", mine.key_package)


def state(core: Core, row: Conversation, now: int, *, key_package: KeyPackage | None = None) -> int:
    """Say where this device stands, or ask; returns the statement's number (HT-M-055)."""
    conversation = row.conversation
    mine = _mine(core, conversation)
    if mine is None:
        return 0
    group = core.group(conversation)
    number = max(mine.number + 1, now)
    body = statements.sign(
        statements.Statement(
            1,
            conversation,
            core.identity.device.key,
            number,
            group.epoch,
            statements.authenticator(group.epoch_authenticator),
            policy.parse([(policy.EXTENSION, row.policy)]).relays[0].key,
            _known(core, row),
            key_package.key_package if key_package else None,
            list(core.identity.chain.links),
        ),
        core.identity.device,
    )
    core.db.execute("UPDATE resync SET number = ?, last = ? WHERE conversation = ?", number, body, conversation)
    for channel in acquaintances.channels(core, conversation):
        _post(core, row, channel, body)
    return number


def _known(core: Core, row: Conversation) -> list[statements.Known]:
    """What is known of the other devices; in a large group of those that said something, then of some more."""
    conversation = row.conversation
    said = {each.device: each.number for each in core.db.find(Statement, "conversation = ?", conversation)}
    others = [member.device for member in core.members(conversation) if member.leaf != row.own_leaf]
    others.sort(key=lambda device: device not in said)
    return [
        statements.Known(device, receipts.stream(core, conversation, device).highest, said.get(device, 0))
        for device in others[: statements.KNOWN_LIMIT]
    ]


def _post(core: Core, row: Conversation, channel: Channel, body: bytes) -> None:
    sealed = sealing.seal(
        channel.seal_key,
        channel.channel,
        entry_class=EntryClass.CONTROL,
        kind=sealing.BodyKind.STATEMENT,
        body=body,
    )
    owner = acquaintances.frame_owner(channel.channel, row)
    core.db.execute("DELETE FROM outbox WHERE owner = ?", owner)  # what it says is said better now
    core.db.insert(
        sending.frame_for(channel, kind=OutboxKind.STATEMENT, owner=owner, entry=sealed, entry_class=EntryClass.CONTROL)
    )


# judging what others say -----------------------------------------------------------------------------------------


def due(core: Core, now: int) -> None:
    """Judge what was said and say what is to be said, where the resync channel is read to its head."""
    for said in core.db.find(Statement, "due_at <= ?", now):
        row = core.conversation(said.conversation)
        if heard_out(core, row):
            with core.transaction():
                core.db.execute(
                    "UPDATE statement SET due_at = NULL WHERE conversation = ? AND device = ?",
                    said.conversation,
                    said.device,
                )
                _judge(core, row, said, now)
    for mine in core.db.find(Resync, "doubted_at <= ?", now):
        row = core.conversation(mine.conversation)
        with core.transaction():
            core.db.execute(
                "UPDATE resync SET doubted_at = NULL, stated = stated + 1, stated_at = ? WHERE conversation = ?",
                now,
                mine.conversation,
            )
            if row.state == ConversationState.JOINED:
                state(core, row, now)
    if not core.counted or core.elsewhere:
        return  # an old copy counts its start first; one that is open elsewhere asks for nothing (HT-M-073)
    for mine in core.db.find(Resync, "ask_at <= ?", now):
        row = core.conversation(mine.conversation)
        if row.state == ConversationState.BROKEN and heard_out(core, row):
            with core.transaction():
                _ask(core, row, mine, now)
        elif row.state == ConversationState.ARRIVING and heard_out(core, row):
            with core.transaction():  # back, and nobody said so in all that time: what said it was lost
                lost(core, row.conversation, "conversation.behind", now)


def next_due(core: Core) -> list[int]:
    """When `due` has something to do."""
    rows = core.db.tuples(
        "SELECT due_at FROM statement UNION ALL SELECT doubted_at FROM resync UNION ALL SELECT ask_at FROM resync"
    )
    return [at for (at,) in rows if isinstance(at, int)]


def heard_out(core: Core, row: Conversation) -> bool:
    """What stands in the resync channel is read wherever it can be; so is the era, if it still matters."""
    reached = False
    for channel in acquaintances.channels(core, row.conversation):
        link = core.links.get(channel.relay)
        if link is not None and link.ready:
            if channel.channel not in link.caught_up:
                return False
            reached = True
    if row.state != ConversationState.JOINED:
        return reached
    era = core.channel(row.channel)
    link = core.links.get(era.relay) if era is not None else None
    return reached and (link is None or row.channel in link.caught_up)


def _judge(core: Core, row: Conversation, said: Statement, now: int) -> None:
    mine = _mine(core, row.conversation)
    member = next((each for each in core.members(row.conversation) if each.device == said.device), None)
    if mine is None or member is None:
        return
    statement = statements.decode(said.body)
    if row.state == ConversationState.JOINED:
        if statement.key_package is not None:
            _readmit(core, row, said, statement.key_package, member, now)
        else:
            _compare(core, row, said, statement, now)
    elif row.state == ConversationState.ARRIVING and statement.key_package is None:
        about = statement.of(core.identity.device.key)
        if about is not None and about.number >= mine.request and statement.authenticator == mine.back:
            _settled(core, row, mine, about.highest, now)
    elif row.kind == policy.Kind.GROUP:
        return  # somebody else asks too: one who stands well will answer both
    elif row.state == ConversationState.ARRIVING:
        lost(core, row.conversation, "conversation.both-lost", now)
    elif None not in (statement.key_package, mine.key_package) and core.identity.device.key < said.device:
        _found_anew(core, row, statement.key_package or b"", member, now)


def _compare(core: Core, row: Conversation, said: Statement, statement: statements.Statement, now: int) -> None:
    """Where does the other stand? (HT-M-058)"""
    relays = [relay.key for relay in policy.parse([(policy.EXTENSION, row.policy)]).relays]
    conversation = row.conversation
    if statement.relay_key != relays[0]:
        ask = statement.relay_key in relays
        code = "conversation.moved-away"
    elif statement.epoch != row.epoch:
        ask = statement.epoch > row.epoch
        code = "conversation.behind"
    elif statement.authenticator != statements.authenticator(core.group(conversation).epoch_authenticator):
        own = statements.authenticator(core.group(conversation).epoch_authenticator)
        ask = core.identity.device.key > said.device
        if row.kind == policy.Kind.GROUP:  # all of one side ask, whoever they heard it from (HT-M-092)
            ask = own > statement.authenticator
        code = "conversation.forked"
    else:
        return
    if not ask:
        doubt(core, conversation, now, delay=0)
    elif not claims.is_believed(core, row, said, now):
        return
    elif now < said.came_at + GRACE:
        core.db.execute(
            "UPDATE statement SET due_at = ? WHERE conversation = ? AND device = ?",
            said.came_at + GRACE,
            conversation,
            said.device,
        )
    else:
        claims.believed(core, row, said)
        lost(core, conversation, code, now)


def _checked(core: Core, row: Conversation, key_package: bytes, member: Member, now: int) -> policy.WelcomeAt:
    """:raises ContentError: :raises VerificationError: the KeyPackage is not that device's, or not usable"""
    chain = core.chain(member.account)
    if chain is None:
        raise VerificationError("credential.not-in-chain")
    at = key_packages.check(key_package, chain, core.clock.wall(now))
    found = key_packages.device(key_package)
    suite = mls.key_package_inspect(key_package).suite
    relays = {relay.url for relay in policy.parse([(policy.EXTENSION, row.policy)]).relays}
    if found != member.device or at.relay_url not in relays or suite != core.group(row.conversation).suite:
        raise VerificationError("statement.refused", why="key-package")
    return at


def _readmit(core: Core, row: Conversation, said: Statement, key_package: bytes, member: Member, now: int) -> None:
    """Somebody asks to be added again: a commit is wanted (HT-M-059)."""
    conversation = row.conversation
    answered = said.answered if now - said.answered_at < DAY else 0
    if answered >= ANSWERS_PER_DAY:
        core.db.execute(
            "UPDATE statement SET due_at = ? WHERE conversation = ? AND device = ?",
            said.answered_at + DAY,
            conversation,
            said.device,
        )
        core.notice(events.Alarm(conversation=conversation.hex(), code="conversation.asks-often"), now, conversation)
        return
    if core.db.value(  # one after the other (HT-M-144)
        "SELECT 1 FROM intent WHERE conversation = ? AND kind = ? AND digest IS NOT NULL "
        "UNION ALL SELECT 1 FROM readmission WHERE conversation = ? AND device != ?",
        conversation,
        IntentKind.READMIT,
        conversation,
        said.device,
    ):
        core.db.execute(
            "UPDATE statement SET due_at = ? WHERE conversation = ? AND device = ?",
            now + GRACE,
            conversation,
            said.device,
        )
        return
    try:
        _checked(core, row, key_package, member, now)
    except (ContentError, VerificationError) as error:
        core.notice(events.Alarm(conversation=conversation.hex(), code=error.code), now, conversation)
        return
    if mls.key_package_inspect(key_package).signature_key == member.signature_key:
        return  # it was added by this request already (HT-M-144)
    core.db.execute(
        "UPDATE statement SET answered = ?, answered_at = ? WHERE conversation = ? AND device = ?",
        answered + 1,
        said.answered_at if answered else now,
        conversation,
        said.device,
    )
    core.db.put(Readmission(conversation, said.device, key_package))
    place = row.own_leaf % ANSWER_PLACES if row.kind == policy.Kind.GROUP else 0
    commits.want(core, conversation, IntentKind.READMIT, now + ANSWER_PAUSE * place)


def readmitted(core: Core, conversation: ConversationId, now: int) -> None:
    """The commit that added a device again came back: its Welcome goes out, and what it needs to know (HT-M-059)."""
    wanted = core.db.first(Readmission, "conversation = ?", conversation)
    if wanted is None or wanted.welcome is None:
        return
    core.db.execute("DELETE FROM readmission WHERE conversation = ?", conversation)
    row = core.conversation(conversation)
    if row.kind != policy.Kind.GROUP:
        core.db.execute("DELETE FROM outbox WHERE owner = ? AND kind = ?", conversation, OutboxKind.WELCOME)
        core.db.execute("DELETE FROM kept WHERE owner = ?", conversation)
    welcoming.leave(core, row, [wanted.key_package], wanted.welcome)
    state(core, row, now)
    members = core.members(conversation)
    receipts.tell_again(core, conversation)
    receipts.due(core, row, now, len(members))
    sending.publish_unconfirmed(core, conversation, now)
    member = next(each for each in members if each.device == wanted.device)
    core.notice(
        events.MemberRejoined(
            conversation=conversation.hex(), account=member.account.hex(), name=core.name(member.account)
        ),
        now,
        conversation,
    )


# coming back -----------------------------------------------------------------------------------------------------


def check_welcome(
    core: Core, row: Conversation, key_package: bytes, agreed: policy.Policy, people: set[AccountId]
) -> None:
    """A Welcome for a group that is known (HT-M-060).

    :param people: its members' accounts
    :raises ContentError: ``welcome.refused``
    """
    mine = _mine(core, row.conversation)
    before = policy.parse([(policy.EXTENSION, row.policy)])
    if row.state == ConversationState.JOINED or mine is None or mine.key_package != key_package:
        raise ContentError("welcome.refused", why="group")
    if row.kind == policy.Kind.GROUP:  # meanwhile others may have come and gone, or become admins
        if not all(relay in before.relays for relay in agreed.relays):
            raise ContentError("welcome.refused", why="policy")
        return
    if people != {member.account for member in core.members(row.conversation)}:
        raise ContentError("welcome.refused", why="members")
    if agreed.admins != before.admins or not all(relay in before.relays for relay in agreed.relays):
        raise ContentError("welcome.refused", why="policy")


def back(core: Core, row: Conversation, group: mls.Group, writes: mls.Writes, agreed: policy.Policy, now: int) -> None:
    """This device is a member again: group and channels are new, what people wrote stays (HT-M-060)."""
    conversation = row.conversation
    claims.judge(core, row, now)
    since = {member.device: min(member.since_epoch, group.epoch) for member in core.members(conversation)}
    core.db.execute("DELETE FROM member WHERE conversation = ?", conversation)
    core.db.mls_delete(conversation)
    core.db.mls_write(conversation, writes)
    core.adopt(conversation, group)
    core.db.execute(
        "DELETE FROM restoring WHERE channel IN (SELECT channel FROM channel WHERE owner = ?)", conversation
    )
    core.db.execute(
        "UPDATE channel SET closed = ? WHERE owner = ? AND purpose != ?", Closed.CLOSED, conversation, Purpose.RESYNC
    )
    core.db.execute("DELETE FROM ciphertext WHERE conversation = ?", conversation)
    core.db.execute("DELETE FROM gap WHERE conversation = ? AND last = 0", conversation)
    core.db.execute(
        "UPDATE conversation SET state = ?, policy = ?, epoch = ?, own_leaf = ?, updated_at = ? WHERE conversation = ?",
        ConversationState.ARRIVING,
        policy.encode(agreed),
        group.epoch,
        group.own_leaf,
        now,
        conversation,
    )
    commits.refresh_roster(core, conversation, group)
    for device, epoch in since.items():
        core.db.execute(
            "UPDATE member SET since_epoch = ? WHERE conversation = ? AND device = ?", epoch, conversation, device
        )
    core.roster_changed(conversation)
    secret = group.export_secret(keys.ERA_LABEL, b"", 32)
    commits.start_era(core, conversation, secret, agreed.relays, epoch=group.epoch, now=now)
    core.db.execute(
        "UPDATE resync SET back = ?, unreadable = 0 WHERE conversation = ?",
        statements.authenticator(group.epoch_authenticator),
        conversation,
    )
    core.db.execute("UPDATE statement SET due_at = ? WHERE conversation = ?", now, conversation)
    receipts.tell_again(core, conversation)
    state(core, core.conversation(conversation), now)


def _found_anew(core: Core, row: Conversation, key_package: bytes, member: Member, now: int) -> None:
    """Both asked and nobody is left to answer: the smaller device key begins again (HT-M-062)."""
    try:
        at = _checked(core, row, key_package, member, now)
    except (ContentError, VerificationError) as error:
        core.notice(events.Alarm(conversation=row.conversation.hex(), code=error.code), now, row.conversation)
        return
    agreed = policy.parse([(policy.EXTENSION, row.policy)])
    group, writes, welcome = key_packages.found(core, row.conversation, agreed, key_package)
    back(core, row, group, writes, agreed, now)
    key_packages.leave_welcome(core, row.conversation, at, welcome)


def _settled(core: Core, row: Conversation, mine: Resync, highest: int, now: int) -> None:
    """The other said what it knows of this device: go on from there (HT-M-061)."""
    _go_on(core, row, mine, highest, now)


def stand_again(core: Core, row: Conversation, mine: Resync, now: int) -> None:
    """This device can follow after all, from where it stands (HT-M-145): it no longer asks, and says so."""
    _go_on(core, row, mine, row.counter, now)
    state(core, core.conversation(row.conversation), now)


def _go_on(core: Core, row: Conversation, mine: Resync, highest: int, now: int) -> None:
    conversation = row.conversation
    _close_request(core, mine)
    core.db.execute(
        "UPDATE conversation SET state = ?, counter = max(counter, ?) WHERE conversation = ?",
        ConversationState.JOINED,
        highest,
        conversation,
    )
    core.db.execute(
        "UPDATE resync SET key_package = NULL, ask_at = NULL, back = NULL WHERE conversation = ?", conversation
    )
    if highest > row.counter:
        missing = events.OwnMissing(conversation=conversation.hex(), first=row.counter + 1, last=highest)
        core.notice(missing, now, conversation)
    core.notice(events.ConversationChanged(conversation=conversation.hex(), state="joined"), now, conversation)
    sending.publish_unconfirmed(core, conversation, now)
    sending.release(core, conversation, now)
    if changes.is_leaving(core, conversation):
        core.db.execute(
            "UPDATE conversation SET state = ? WHERE conversation = ?", ConversationState.LEAVING, conversation
        )
    elif core.db.value("SELECT 1 FROM change WHERE conversation = ?", conversation):
        commits.want(core, conversation, IntentKind.CHANGE, now)
    row = core.conversation(conversation)
    receipts.due(core, row, now, len(core.members(conversation)))
    commits.want(core, conversation, IntentKind.UPDATE, now + UPDATE_AFTER + secrets.randbelow(UPDATE_AFTER))


def _mine(core: Core, conversation: ConversationId) -> Resync | None:
    return core.db.first(Resync, "conversation = ?", conversation)
