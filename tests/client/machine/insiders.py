"""What a member with a modified client, or a device that knows the era's keys, does to the other."""

import os
from collections.abc import Callable

from tests.client.people import Person

from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import content, sealing
from hanatalk.client.engine.messages import sending
from hanatalk.ids import ConversationId, MessageId
from hanatalk.localdb.rows import Channel, ConversationState, Message, MessageKind, OutboxKind
from hanatalk.wire.classes import EntryClass

Attack = Callable[[Person, ConversationId], None]


def joined(person: Person, conversation: ConversationId) -> bool:
    row = person.database.value("SELECT state FROM conversation WHERE conversation = ?", conversation)
    return row == ConversationState.JOINED


def _post(person: Person, conversation: ConversationId, plaintext: bytes) -> None:
    core = person.engine._core
    with core.transaction():
        row, members = core.conversation(conversation), core.members(conversation)
        sending._post(core, row, members, kind=OutboxKind.REQUEST, plaintext=plaintext, message=None)


def steal(person: Person, conversation: ConversationId) -> None:
    """Another's message id under the own name (T-028)."""
    other = person.database.first(
        Message,
        "conversation = ? AND device != ? AND kind = ? ORDER BY number DESC",
        conversation,
        person.engine._core.identity.device.key,
        MessageKind.PERSON,
    )
    if other is not None:
        forged = content.make(content.Text("stolen"), message=other.message, counter=1, sent_at=0)
        _post(person, conversation, forged)


def use_a_number_twice(person: Person, conversation: ConversationId) -> None:
    """The Hello's number for another message (HT-C-003); only if the other certainly has the Hello."""
    if person.database.value("SELECT 1 FROM receipt WHERE conversation = ? AND decrypted >= 1", conversation):
        forged = content.make(content.Text("again"), message=MessageId(os.urandom(16)), counter=1, sent_at=0)
        _post(person, conversation, forged)


def jump(person: Person, conversation: ConversationId) -> None:
    """A number far ahead (T-035)."""
    forged = content.make(content.Text("jump"), message=MessageId(os.urandom(16)), counter=1 << 40, sent_at=0)
    _post(person, conversation, forged)


def confirm_too_much(person: Person, conversation: ConversationId) -> None:
    """Receipts beyond what was sent, about oneself, backwards, about nobody (T-039)."""
    row = person.engine._core.conversation(conversation)
    lines = [
        content.ReceiptLine(1 - row.own_leaf, 1 << 30, 1 << 30),
        content.ReceiptLine(1 - row.own_leaf, 1, 2),
        content.ReceiptLine(1 - row.own_leaf, 0, 0),
        content.ReceiptLine(77, 5, 5),
    ]
    forged = content.make(content.Receipt(), message=MessageId(os.urandom(16)), counter=0, sent_at=0, receipts=lines)
    _post(person, conversation, forged)


def ask_for_everything(person: Person, conversation: ConversationId) -> None:
    """A request for all there ever was and will be (T-040)."""
    row = person.engine._core.conversation(conversation)
    ranges = [content.Range(1 - row.own_leaf, 1, content.OPEN_END), content.Range(row.own_leaf, 1, 1 << 40)]
    forged = content.make(content.SendAgain(ranges), message=MessageId(os.urandom(16)), counter=0, sent_at=0)
    _post(person, conversation, forged)


def talk_nonsense(person: Person, conversation: ConversationId) -> None:
    """Plaintext that is no envelope."""
    _post(person, conversation, b"\xc1nonsense")


def _channel(core: Core, conversation: ConversationId) -> Channel:
    return sending.era_channel(core, core.conversation(conversation))


def _plant(person: Person, conversation: ConversationId, body: bytes, *, commit: bool) -> None:
    channel = _channel(person.engine._core, conversation)
    entry = sealing.seal(
        channel.seal_key,
        channel.channel,
        entry_class=EntryClass.CONTROL,
        commit=commit,
        kind=sealing.BodyKind.MLS,
        body=body,
    )
    relay = person.world.relays[channel.relay]
    relay.plant(channel.channel, entry, entry_class=EntryClass.CONTROL, commit=commit)
    relay.restart()


def commit_garbage(person: Person, conversation: ConversationId) -> None:
    """A well sealed control entry with nothing sensible in it (T-022)."""
    _plant(person, conversation, os.urandom(300), commit=True)


def _commit(person: Person, conversation: ConversationId, *, removes: list[int], commit: bool) -> None:
    """Made and at once forgotten, as far as the own group goes; its generation stays used."""
    core = person.engine._core
    group = core.group(conversation)
    if group.has_pending_commit:
        return
    with core.transaction():
        made = group.commit(removes=removes, self_update=True, aad=content.encode(content.CommitContext(1, False)))
        core.db.mls_write(conversation, [*made.writes, *group.pending_discard()])
    _plant(person, conversation, made.commit, commit=commit)


def commit_a_removal(person: Person, conversation: ConversationId) -> None:
    """Valid MLS, against the policy of a direct conversation (T-032)."""
    row = person.engine._core.conversation(conversation)
    _commit(person, conversation, removes=[1 - row.own_leaf], commit=True)


def commit_out_of_turn(person: Person, conversation: ConversationId) -> None:
    """A commit in an entry that no turn counts (HT-M-037)."""
    _commit(person, conversation, removes=[], commit=False)


ATTACKS: tuple[Attack, ...] = (
    steal,
    use_a_number_twice,
    jump,
    confirm_too_much,
    ask_for_everything,
    talk_nonsense,
    commit_garbage,
    commit_a_removal,
    commit_out_of_turn,
)
