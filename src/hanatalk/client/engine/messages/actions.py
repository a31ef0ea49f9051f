"""What a message does about another one: reactions, edits, "opened" (HT-C-104 … HT-C-114).

Each is a numbered message like any other. What it says stands in `content`, that it is about another message in
`action`; nothing is ever written into the other message, so it makes no difference which of the two arrives first.
"""

import enum
from typing import TypeVar

import msgspec

from hanatalk.client import events
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import content, emoji
from hanatalk.client.engine.messages import bodies, gone, sending
from hanatalk.errors import UsageError
from hanatalk.ids import AccountId, ConversationId, DeviceKey, MessageId
from hanatalk.localdb.rows import Action, ActionKind, Conversation, Member, Message, MessageKind

WAITING_LIMIT = 256  # of one device in one conversation, about messages that are not here (HT-C-104)
S = TypeVar("S", content.Edit, content.Reaction)
_KINDS = {content.Edit: ActionKind.EDIT, content.Reaction: ActionKind.REACTION, content.Opened: ActionKind.OPENED}


class Verdict(enum.Enum):
    """What becomes of an action. `VOID`: it is counted, its body is not kept; `FOREIGN`: void, and an alarm."""

    COUNTS = 0
    WAITS = 1
    VOID = 2
    FOREIGN = 3


# what people ask ----------------------------------------------------------------------------------------------


def react(core: Core, message: Message, reaction: str | None, now: int) -> Message | None:
    """Put an emoji to a message, or (None) take it away; returns what carries it, None if there is nothing to do.

    :raises UsageError: ``react.not-emoji``, ``message.gone``, ``react.limit``
    """
    if reaction is not None and not emoji.is_one(reaction):
        raise UsageError("react.not-emoji")
    _check_there(message)
    own = [action for action in _about(core, message.message, ActionKind.REACTION) if _is_own(core, action)]
    found = _said(core, own[-1], content.Reaction) if own else None
    if (found.emoji if found is not None else None) == reaction:
        return None
    step = _next_step(own)
    if step >= 2**32:
        raise UsageError("react.limit")
    return _act(core, message, content.Reaction(message.message, reaction, step), now)


def edit(core: Core, message: Message, text: str, mentions: list[content.Mention], now: int) -> Message | None:
    """Put other words in the place of an own text; returns what carries them, None if they are the same.

    :raises UsageError: ``edit.not-own``, ``edit.once``, ``edit.limit``, ``message.gone``, ``text.empty``
    :raises ContentError: ``text.too-long``
    """
    if message.account != core.identity.account:
        raise UsageError("edit.not-own")
    _check_there(message)
    if message.fate == content.Fate.ONCE:
        raise UsageError("edit.once")
    before = wording(core, message)
    if before is None or before.sticker is not None:
        raise UsageError("message.gone" if before is None else "edit.sticker")
    if not text:
        raise UsageError("text.empty")
    if before.text == text:
        return None
    step = _next_step(_about(core, message.message, ActionKind.EDIT))
    if step > content.EDITS_LIMIT:
        raise UsageError("edit.limit", limit=content.EDITS_LIMIT)
    return _act(core, message, content.Edit(message.message, text, mentions, step), now)


def view(core: Core, message: Message, now: int) -> content.Text:
    """What can be seen once, for this once: when this returns it is gone here, and its sender hears of it (HT-C-113).

    :raises UsageError: see `check_view`
    """
    found = check_view(core, message)
    with core.transaction():
        _seen(core, message, now)  # first, so that what goes out says that it was read
        _act(core, message, content.Opened(message.message), now)
    return found


def check_view(core: Core, message: Message) -> content.Text:
    """:raises UsageError: ``view.own``, ``view.not-once``, ``view.opened``, ``view.not-yet``, ``message.gone``"""
    if message.fate != content.Fate.ONCE:
        raise UsageError("view.not-once")
    if message.account == core.identity.account:
        raise UsageError("view.own")
    _check_there(message)
    found = wording(core, message)
    if found is None:
        raise UsageError("view.opened")
    if not sending.may_send(core, core.conversation(message.conversation)):
        raise UsageError("view.not-yet")  # an old copy of this profile may have shown it already (HT-C-118)
    return found


def _check_there(message: Message) -> None:
    if message.kind != MessageKind.PERSON or message.recalled:
        raise UsageError("message.gone")


def _act(core: Core, message: Message, body: content.Action, now: int) -> Message:
    with core.transaction():
        sent = sending.send_numbered(core, message.conversation, body, now=now)
        _keep(core, sent, body, waits=False)
        return sent


# what arrives -------------------------------------------------------------------------------------------------


def judge(core: Core, row: Conversation, sender: Member, body: content.Action) -> Verdict:
    """What becomes of an action that a member sent."""
    action = _action(0, body, row.conversation, sender.account, sender.device)
    if isinstance(body, content.Reaction) and body.emoji is not None and not emoji.is_one(body.emoji):
        return Verdict.VOID
    target = core.db.first(Message, "message = ?", body.message)
    found = Verdict.WAITS if target is None else _judge(action, target)
    if found in (Verdict.COUNTS, Verdict.WAITS) and _is_late(core, action):
        return Verdict.VOID
    return found


def _judge(action: Action, target: Message) -> Verdict:
    own = target.account == action.account
    if action.kind == ActionKind.EDIT and not (own and target.conversation == action.conversation):
        return Verdict.FOREIGN  # T-038
    if target.conversation != action.conversation or target.kind != MessageKind.PERSON or target.recalled:
        return Verdict.VOID
    once = target.fate == content.Fate.ONCE
    if (action.kind == ActionKind.EDIT and once) or (action.kind == ActionKind.OPENED and (own or not once)):
        return Verdict.VOID
    return Verdict.COUNTS


def take_in(
    core: Core, row: Conversation, members: list[Member], carrier: Message, body: content.Action, now: int
) -> None:
    """An action that counts, or may count later, was stored (`carrier`)."""
    target = core.db.first(Message, "message = ?", body.message)
    _keep(core, carrier, body, waits=target is None)
    if target is None:
        _bound(core, row.conversation, carrier.device)
    else:
        _happened(core, row, members, target, carrier.account, body, now)


def meet(core: Core, row: Conversation, members: list[Member], message: Message, now: int) -> bool:
    """A message has arrived: what was said about it before holds, or not. False: somebody edited what is not theirs."""
    honest = True
    for action in core.db.find(Action, "target = ? AND waits = 1 ORDER BY number", message.message):
        verdict = _judge(action, message)
        honest = honest and verdict is not Verdict.FOREIGN
        carrier = core.db.first(Message, "number = ?", action.number)
        raw = bodies.find(core, carrier) if carrier is not None else None
        body = content.known_body(raw) if raw is not None else None
        if verdict is not Verdict.COUNTS or not isinstance(body, content.Action):
            _drop(core, action)
            continue
        core.db.execute("UPDATE action SET waits = 0 WHERE number = ?", action.number)
        _happened(core, row, members, message, action.account, body, now)
    return honest


def _happened(
    core: Core,
    row: Conversation,
    members: list[Member],
    target: Message,
    account: AccountId,
    body: content.Action,
    now: int,
) -> None:
    about = {"conversation": row.conversation.hex(), "message": target.message.hex()}
    who = {"from_": core.name(account), "from_account": account.hex()}
    if isinstance(body, content.Reaction):
        core.emit(events.Reacted(**about, **who, emoji=body.emoji))
    elif isinstance(body, content.Edit):
        core.emit(events.Edited(**about, **who, text=(wording(core, target) or body).text))
    else:
        core.emit(events.Opened(**about, **who))
        _was_opened(core, members, target, account, now)


def _was_opened(core: Core, members: list[Member], target: Message, account: AccountId, now: int) -> None:
    """Siblings forget what one of them has shown; the sender's devices, once everybody has seen it (HT-C-113)."""
    own = core.identity.account
    if account == own:
        _seen(core, target, now)
    elif target.account == own:
        people = {member.account for member in members} - {own}
        if people <= {action.account for action in _about(core, target.message, ActionKind.OPENED)}:
            core.db.execute("UPDATE message SET leaving = 0 WHERE number = ?", target.number)
            gone.let_go(core, target, now)
            gone.erase(core, target)


def _seen(core: Core, message: Message, now: int) -> None:
    core.db.execute("UPDATE message SET read = 1 WHERE number = ?", message.number)
    gone.let_go(core, message, now)
    core.emit(
        events.MessageGone(conversation=message.conversation.hex(), message=message.message.hex(), reason="opened")
    )


def remember(core: Core, carrier: Message, body: content.Action) -> None:
    """An action of long ago, that a sibling has: nothing happens any more, it only holds (HT-C-174)."""
    target = core.db.first(Message, "message = ?", body.message)
    _keep(core, carrier, body, waits=target is None)


def _keep(core: Core, carrier: Message, body: content.Action, *, waits: bool) -> None:
    if carrier.number is None:
        raise AssertionError("the carrier was just inserted")
    action = _action(carrier.number, body, carrier.conversation, carrier.account, carrier.device, waits=waits)
    core.db.insert(action)
    core.index.forgotten(action.number)
    if action.kind != ActionKind.EDIT:  # of edits every wording stays, of the rest the last word
        for older in _of(core, action):
            if older.number != action.number:
                _drop(core, older)


def _bound(core: Core, conversation: ConversationId, device: DeviceKey) -> None:
    """What waits for messages that never come (they were sent before this device joined) goes, the oldest first."""
    waiting = "conversation = ? AND device = ? AND waits = 1"
    count = core.db.number(f"SELECT count(*) FROM action WHERE {waiting}", conversation, device)  # noqa: S608
    if count > WAITING_LIMIT:
        oldest = f"{waiting} ORDER BY number LIMIT ?"
        for action in core.db.find(Action, oldest, conversation, device, count - WAITING_LIMIT):
            _drop(core, action)


def _drop(core: Core, action: Action) -> None:
    carrier = core.db.first(Message, "number = ?", action.number)
    if carrier is not None:
        bodies.forget(core, carrier)
    core.db.execute("DELETE FROM action WHERE number = ?", action.number)


def forget(core: Core, message: Message, now: int, *, erase: bool = False) -> None:
    """With a message goes all that was said about it, its edits above all (HT-C-109).

    :param erase: the relays are to erase what this device said about it (HT-C-046)
    """
    for action in about(core, message):
        carrier = core.db.first(Message, "number = ?", action.number)
        if carrier is not None:
            if erase and action.device == core.identity.device.key:
                core.db.execute("UPDATE message SET recalled = 1 WHERE number = ?", carrier.number)
                gone.erase(core, carrier)
            gone.let_go(core, carrier, now)
        core.db.execute("DELETE FROM action WHERE number = ?", action.number)


def _action(
    number: int,
    body: content.Action,
    conversation: ConversationId,
    account: AccountId,
    device: DeviceKey,
    *,
    waits: bool = False,
) -> Action:
    step = 1 if isinstance(body, content.Opened) else body.step
    kind = _KINDS[type(body)]
    return Action(number, MessageId(body.message), conversation, account, device, kind, step, int(waits))


def _is_late(core: Core, action: Action) -> bool:
    """What is known already is newer, or the same step of the same device."""
    others = [(known.step, known.device) for known in _of(core, action)]
    if action.kind == ActionKind.EDIT:
        return (action.step, action.device) in others
    return any(known >= (action.step, action.device) for known in others)


def _of(core: Core, action: Action) -> list[Action]:
    """Of the same kind and person about the same message."""
    return core.db.find(Action, "target = ? AND account = ? AND kind = ?", action.target, action.account, action.kind)


# what people see ----------------------------------------------------------------------------------------------


def _about(core: Core, message: MessageId, kind: ActionKind) -> list[Action]:
    """In the order in which they count, those that hold."""
    return core.db.find(Action, "target = ? AND kind = ? AND waits = 0 ORDER BY step, device", message, kind)


def about(core: Core, message: Message) -> list[Action]:
    """All that was said about a message."""
    return core.db.find(Action, "target = ?", message.message)


def _is_own(core: Core, action: Action) -> bool:
    return action.account == core.identity.account


def _next_step(known: list[Action]) -> int:
    return known[-1].step + 1 if known else 1


def _said(core: Core, action: Action, kind: type[S]) -> S | None:
    raw = core.db.value("SELECT body FROM content WHERE number = ?", action.number)
    body = content.known_body(raw) if isinstance(raw, bytes) else None
    return body if isinstance(body, kind) else None


def wording(core: Core, message: Message) -> content.Text | None:
    """A text as it reads now; None when it is gone."""
    raw = bodies.find(core, message)
    body = content.known_body(raw) if raw is not None else None
    if not isinstance(body, content.Text):
        return None
    for action in reversed(_about(core, message.message, ActionKind.EDIT)):
        said = _said(core, action, content.Edit)
        if said is not None:
            return msgspec.structs.replace(body, text=said.text, mentions=said.mentions)
    return body


def versions(core: Core, message: Message) -> list[tuple[str, int]]:
    """Every wording of a text that is not gone and when it was sent (milliseconds, its device's clock), in order."""
    raw = bodies.find(core, message)
    body = content.known_body(raw) if raw is not None else None
    if not isinstance(body, content.Text):
        return []
    found = [(body.text, message.sent_at)]
    for action in _about(core, message.message, ActionKind.EDIT):
        said = _said(core, action, content.Edit)
        if said is not None:
            found.append((said.text, core.db.number("SELECT sent_at FROM message WHERE number = ?", action.number)))
    return found


def edited_at(core: Core, message: Message) -> int | None:
    """When the newest wording was sent; None: it is the first."""
    edits = _about(core, message.message, ActionKind.EDIT)
    return core.db.number("SELECT sent_at FROM message WHERE number = ?", edits[-1].number) if edits else None


def reactions(core: Core, message: Message) -> list[tuple[AccountId, str]]:
    """Who put what to it, in the order in which it came here."""
    found = []
    for action in sorted(_about(core, message.message, ActionKind.REACTION), key=lambda action: action.number):
        said = _said(core, action, content.Reaction)
        if said is not None and said.emoji is not None:
            found.append((action.account, said.emoji))
    return found


def opened_by(core: Core, message: Message) -> list[AccountId]:
    """Who has seen what can be seen once."""
    return [action.account for action in _about(core, message.message, ActionKind.OPENED)]
