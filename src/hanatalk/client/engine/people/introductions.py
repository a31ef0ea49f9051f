"""Introductions: two contacts of one person come to know each other, if both want to, without a link (HT-C-125 …).

The introducer tells each of the other. Who wants to answers with a KeyPackage made for the other one alone; the first
such answer is handed on, and whoever gets it and wants to as well begins the conversation.
"""

import secrets

import msgspec

from hanatalk.client import calls, events
from hanatalk.client.engine.conversations import commits, key_packages, siblings
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import accounts, content, policy
from hanatalk.client.engine.messages import sending
from hanatalk.client.engine.people import asking, invites
from hanatalk.errors import HanaError, StorageError, UsageError, VerificationError
from hanatalk.ids import AccountId, ConversationId
from hanatalk.localdb.rows import Conversation, ConversationState, Introduction, IntroductionState, Member

OPEN_MOST = 32  # unanswered ones in one conversation; of more the oldest go (HT-C-125)
UNANSWERED = (IntroductionState.OFFERED, IntroductionState.GIVEN)  # of those that this device made
PREFIX = 4  # characters that an id prefix has at least
STATES = {
    IntroductionState.OFFERED: "offered",
    IntroductionState.CONSENTED: "waiting",
    IntroductionState.DECLINED: "declined",
    IntroductionState.GIVEN: "waiting",
    IntroductionState.DONE: "done",
    IntroductionState.ELSEWHERE: "elsewhere",
}


# what people ask ----------------------------------------------------------------------------------------------


def introduce(core: Core, one: str, other: str, now: int) -> bytes:
    """Tell two contacts of each other; returns the introduction's id.

    :raises UsageError: ``name.unknown``, ``name.ambiguous``, ``introduce.same``
    """
    people = [asking.contact(core, one), asking.contact(core, other)]
    if people[0] == people[1]:
        raise UsageError("introduce.same")
    number = secrets.token_bytes(16)
    with core.transaction():
        for to, about in (people, reversed(people)):
            row, chain = _direct(core, to), core.chain(about)
            if row is None or chain is None:
                raise UsageError("name.unknown", name=core.name(to))
            _tell(core, row, number, chain, core.name(about) or about.hex()[:8], None, now)
            links = msgspec.msgpack.encode(list(chain.links))
            name = core.name(about)
            core.db.insert(
                Introduction(None, number, row.conversation, about, 1, IntroductionState.OFFERED, name, links)
            )
    return number


def answer(core: Core, wanted: str, *, yes: bool, now: int) -> Introduction:
    """Say whether I want to know whom I was told of; returns how it stands.

    :raises UsageError: ``introduction.unknown``, ``introduction.answered``, ``name.ambiguous``
    :raises NetworkError: ``network.never-reached``
    """
    row = _resolve(core, wanted)
    if row.state != IntroductionState.OFFERED:
        raise UsageError("introduction.answered")
    with core.transaction():
        if not yes:
            _move_on(core, row, IntroductionState.DECLINED)
            sending.send_numbered(core, row.conversation, content.Consent(row.introduction, None), now=now)
        elif row.key_package is not None:
            _begin(core, row, now)
        else:
            url = core.own_relays()[0]
            relay = policy.Relay(url, siblings.relay_key(core, url))
            expires_at = core.clock.wall(now) + key_packages.SPARE_LIFETIME
            package = key_packages.make(core, relay, expires_at=expires_at, now=now)
            core.db.execute("UPDATE introduction SET ref = ? WHERE number = ?", package.ref, row.number)
            _move_on(core, row, IntroductionState.CONSENTED)
            body = content.Consent(row.introduction, package.key_package)
            sending.send_numbered(core, row.conversation, body, now=now)
    return core.db.first(Introduction, "number = ?", row.number) or row


def shown(core: Core) -> calls.IntroductionList:
    """Those that I was told of, the oldest first."""
    return calls.IntroductionList(introductions=[one(core, row) for row in core.db.find(Introduction, "made = 0")])


def one(core: Core, row: Introduction) -> calls.Introduction:
    """As people see it."""
    begun = _direct(core, row.account) if row.state == IntroductionState.DONE else None
    return calls.Introduction(
        introduction=row.introduction.hex(),
        name=core.name(row.account) or row.name,
        account=row.account.hex(),
        by=_other_name(core, row.conversation),
        state=STATES[IntroductionState(row.state)],
        conversation=begun.conversation.hex() if begun is not None else None,
    )


def _resolve(core: Core, wanted: str) -> Introduction:
    found = [
        row
        for row in core.db.find(Introduction, "made = 0 ORDER BY number")
        if row.name == wanted or (len(wanted) >= PREFIX and row.introduction.hex().startswith(wanted.lower()))
    ]
    if len(found) > 1:
        raise UsageError("name.ambiguous", name=wanted)
    if not found:
        raise UsageError("introduction.unknown", name=wanted)
    return found[0]


def _direct(core: Core, account: AccountId) -> Conversation | None:
    rows = core.db.find(
        Conversation, "kind = ? AND state = ? ORDER BY created_at", policy.Kind.DIRECT, ConversationState.JOINED
    )
    return next((row for row in rows if account in _people(core, row.conversation)), None)


def _people(core: Core, conversation: ConversationId) -> set[AccountId]:
    return {member.account for member in core.members(conversation)}


def _other_name(core: Core, conversation: ConversationId) -> str:
    others = _people(core, conversation) - {core.identity.account}
    return next((core.name(account) for account in others), "")


def _tell(
    core: Core,
    row: Conversation,
    introduction: bytes,
    chain: accounts.Chain,
    name: str,
    key_package: bytes | None,
    now: int,
) -> None:
    body = content.Introduction(introduction, chain.account, name, list(chain.links), key_package)
    sending.send_numbered(core, row.conversation, body, now=now)


def _move_on(core: Core, row: Introduction, state: IntroductionState) -> None:
    core.db.execute("UPDATE introduction SET state = ? WHERE number = ?", state, row.number)


def _begin(core: Core, row: Introduction, now: int) -> None:
    """Both want to: begin the conversation by the other's KeyPackage."""
    links = msgspec.msgpack.decode(row.chain, type=list[bytes])
    chain = accounts.verify_chain(links, account=row.account)
    commits.hear_of(core, chain, row.name)
    conversation = invites.found(core, chain, row.key_package or b"", now)
    _move_on(core, row, IntroductionState.DONE)
    joined = events.MemberJoined(conversation=conversation.hex(), account=row.account.hex(), name=row.name)
    core.notice(joined, now, conversation)


# what arrives -------------------------------------------------------------------------------------------------


def arrived(core: Core, row: Conversation, sender: Member, body: content.Meeting, now: int) -> None:
    """A member of a conversation of two introduces somebody, or answers; anything else is nothing."""
    if row.kind != policy.Kind.DIRECT:
        return
    known = core.db.first(Introduction, "introduction = ? AND conversation = ?", body.introduction, row.conversation)
    if isinstance(body, content.Consent):
        if sender.account == core.identity.account:
            if known is not None and not known.made and known.state == IntroductionState.OFFERED:
                _move_on(core, known, IntroductionState.ELSEWHERE)
        elif known is not None and known.made and known.state in UNANSWERED:
            _answered(core, known, sender, body, now)
        return
    if sender.account == core.identity.account:
        return
    try:
        chain = accounts.verify_chain(body.chain, account=AccountId(body.account))
    except VerificationError as error:
        core.notice(events.Alarm(conversation=row.conversation.hex(), code=error.code), now, row.conversation)
        return
    if known is None:
        _offered(core, row, sender, body, chain, now)
    elif not known.made and known.account == chain.account and known.key_package is None and body.key_package:
        core.db.execute("UPDATE introduction SET key_package = ? WHERE number = ?", body.key_package, known.number)
        if known.state == IntroductionState.CONSENTED:
            _try_to_begin(core, msgspec.structs.replace(known, key_package=body.key_package), now)


def _offered(
    core: Core, row: Conversation, sender: Member, body: content.Introduction, chain: accounts.Chain, now: int
) -> None:
    if chain.account in (core.identity.account, sender.account) or _direct(core, chain.account) is not None:
        return
    links = msgspec.msgpack.encode(list(chain.links))
    found = Introduction(
        None,
        body.introduction,
        row.conversation,
        chain.account,
        0,
        IntroductionState.OFFERED,
        body.name,
        links,
        None,
        body.key_package,
    )
    core.db.insert(found)
    core.db.execute(
        "DELETE FROM introduction WHERE made = 0 AND state = ? AND conversation = ? AND number <= "
        "(SELECT number FROM introduction WHERE made = 0 AND state = ? AND conversation = ? "
        "ORDER BY number DESC LIMIT 1 OFFSET ?)",
        *(IntroductionState.OFFERED, row.conversation) * 2,
        OPEN_MOST,
    )
    told = events.Introduced(
        conversation=row.conversation.hex(),
        introduction=body.introduction.hex(),
        name=body.name,
        account=chain.account.hex(),
        by=core.name(sender.account),
    )
    core.notice(told, now, row.conversation)


def _try_to_begin(core: Core, row: Introduction, now: int) -> None:
    try:
        _begin(core, row, now)
    except StorageError:
        raise
    except HanaError as error:
        core.notice(events.Alarm(conversation=row.conversation.hex(), code=error.code), now, row.conversation)
        _move_on(core, row, IntroductionState.DECLINED)


def _answered(core: Core, row: Introduction, sender: Member, body: content.Consent, now: int) -> None:
    """At the introducer: the first who wants to is handed on to the other."""
    yes = body.key_package is not None
    given = row.state == IntroductionState.GIVEN  # it has the other one's KeyPackage already
    _move_on(core, row, IntroductionState.CONSENTED if yes else IntroductionState.DECLINED)
    answered = events.IntroductionAnswered(
        conversation=row.conversation.hex(),
        introduction=row.introduction.hex(),
        by=core.name(sender.account),
        name=row.name,
        yes=yes,
    )
    core.notice(answered, now, row.conversation)
    other = core.db.first(
        Introduction,
        "introduction = ? AND conversation != ? AND made = 1",
        row.introduction,
        row.conversation,
    )
    chain = core.chain(sender.account)
    if given or not yes or other is None or chain is None or other.state != IntroductionState.OFFERED:
        return
    _move_on(core, other, IntroductionState.GIVEN)
    to = core.conversation(other.conversation)
    _tell(core, to, row.introduction, chain, core.name(sender.account) or other.name, body.key_package, now)
