"""What people ask of groups: names looked up, then `groups`; and how it went."""

from collections.abc import Iterable

from hanatalk import mls
from hanatalk.client import calls
from hanatalk.client.engine.conversations import changes, siblings
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import content, policy
from hanatalk.client.engine.formats.looks import same_look
from hanatalk.client.engine.messages import receipts
from hanatalk.client.engine.people import groups
from hanatalk.client.engine.seen import views
from hanatalk.errors import UsageError
from hanatalk.ids import AccountId, ConversationId
from hanatalk.localdb.rows import Change, ChangeKind, Conversation, ConversationState, Intent, IntentKind


def carry_out(core: Core, call: calls.GroupCall, relays: list[str], now: int) -> ConversationId:
    """Do what a call asks, as far as this device can alone; returns the group.

    :param relays: where a new group's channels are, in order of preference
    :raises UsageError: see `groups`; ``name.unknown``, ``name.ambiguous``, ``name.invalid``
    """
    if isinstance(call, calls.GroupCreate):
        rights = policy.Right.ADD * call.members_add | policy.Right.RENAME * call.members_rename
        at = [policy.Relay(url, siblings.relay_key(core, url)) for url in relays]
        return groups.create(core, group_name(call.name), large=call.large, relays=at, rights=rights, now=now)
    row = views.resolve(core, call.conversation)
    match call:
        case calls.GroupAdd(people=people):
            groups.add(core, row, [contact(core, wanted) for wanted in people], now)
        case calls.GroupRemove(people=people):
            groups.remove(core, row, [member(core, row, wanted) for wanted in people], now)
        case calls.GroupRole(people=people, admin=admin):
            groups.set_role(core, row, [member(core, row, wanted) for wanted in people], admin=admin, now=now)
        case calls.GroupRename(name=name):
            groups.rename(core, row, group_name(name), now)
        case calls.GroupRights(members_add=add, members_rename=rename):
            before = policy.of(row.policy).rights
            rights = _flag(before, policy.Right.ADD, add) & policy.Right.ADD
            rights |= _flag(before, policy.Right.RENAME, rename) & policy.Right.RENAME
            groups.set_rights(core, row, rights, now)
        case calls.GroupLeave():
            groups.leave(core, row, now)
    return row.conversation


def _flag(before: int, right: policy.Right, wanted: bool | None) -> int:
    if wanted is None:
        return before
    return before | right if wanted else before & ~right


def may_lead_to(core: Core, group: str) -> ConversationId:
    """A group into which this person may invite.

    :raises UsageError: ``name.unknown``, ``name.ambiguous``, ``group.not-a-group``, ``group.not-allowed``
    """
    row = views.resolve(core, group)
    groups.must_be_adder(core, row)
    return row.conversation


def waiting(core: Core, conversation: ConversationId) -> bool:
    """Whether something that was asked for still waits for a commit, or for what follows it."""
    if core.db.first(Change, "conversation = ? AND kind != ?", conversation, ChangeKind.LEFT) is not None:
        return True
    if core.db.first(Intent, "conversation = ? AND kind = ?", conversation, IntentKind.CHANGE) is not None:
        return True
    if core.db.value("SELECT 1 FROM outbox WHERE owner = ?", conversation):
        return True
    return core.conversation(conversation).state == ConversationState.LEAVING or changes.is_leaving(core, conversation)


def group_name(name: str) -> str:
    """A group's name, trimmed. :raises UsageError: ``name.invalid``"""
    name = name.strip()
    if not 0 < len(name) <= content.NAME_LIMIT or not name.isprintable():
        raise UsageError("name.invalid", limit=content.NAME_LIMIT)
    return name


def contact(core: Core, wanted: str) -> AccountId:
    """Somebody with whom this profile has a conversation of two: an account id, a unique prefix, a unique name, or that
    conversation. :raises UsageError: ``name.unknown``, ``name.ambiguous``
    """
    own = core.identity.account
    rows = core.db.tuples(
        "SELECT DISTINCT account, conversation FROM member JOIN conversation USING (conversation) "
        "WHERE kind = ? AND account != ?",
        policy.Kind.DIRECT,
        own,
    )
    for account, conversation in rows:
        if isinstance(account, bytes) and isinstance(conversation, bytes) and conversation.hex() == wanted.lower():
            return AccountId(account)
    return _pick(core, {AccountId(account) for account, _ in rows if isinstance(account, bytes)}, wanted)


def member(core: Core, row: Conversation, wanted: str) -> AccountId:
    """A member of a group. :raises UsageError: ``name.unknown``, ``name.ambiguous``"""
    return _pick(core, {each.account for each in core.members(row.conversation)}, wanted)


def _pick(core: Core, among: Iterable[AccountId], wanted: str) -> AccountId:
    known = list(among)
    named = [account for account in known if core.name(account) == wanted]
    prefixed = [
        account for account in known if len(wanted) >= views.PREFIX and account.hex().startswith(wanted.lower())
    ]
    for found in (named, prefixed):
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError("name.ambiguous", name=wanted)
    raise UsageError("name.unknown", name=wanted)


def members(core: Core, row: Conversation) -> calls.MemberList:
    """People of a conversation, admins first, then by name. Names that look the same are flagged (T-034)."""
    agreed = policy.of(row.policy)
    devices: dict[AccountId, int] = {}
    for each in core.members(row.conversation):
        devices[each.account] = devices.get(each.account, 0) + 1
    looks: dict[str, int] = {}
    for account in devices:
        look = same_look(core.name(account))
        looks[look] = looks.get(look, 0) + 1
    silent = receipts.who_is_silent(core, row)
    found = []
    for account, count in devices.items():
        known = core.account(account)
        name = known.name if known else ""
        found.append(
            calls.MemberShown(
                account=account.hex(),
                name=name,
                admin=agreed.is_admin(account),
                devices=count,
                me=account == core.identity.account,
                verified=bool(known and known.verified),
                same_name=looks[same_look(name)] > 1,
                telling=account not in silent,
            )
        )
    found.sort(key=lambda shown: (not shown.admin, shown.name, shown.account))
    return calls.MemberList(members=found, large=core.group(row.conversation).suite == mls.SUITE_X25519)
