"""How a message's body goes, whatever for: from its row, and from the frames that carry it (HT-C-047)."""

from hanatalk.client.engine.core import Core
from hanatalk.client.engine.messages import bodies, placing, sending
from hanatalk.localdb.rows import ConversationState, Message, OutboxKind, Outgoing


def let_go(core: Core, message: Message, now: int) -> None:
    """Forget the body; a tombstone takes the place of what waits in the outbox."""
    bodies.forget(core, message)
    if message.counter < 0:  # it waited for its attachments, or for the conversation to go on
        sending.release(core, message.conversation, now)
    for frame in core.db.find(Outgoing, "message = ? AND kind = ?", message.message, OutboxKind.MESSAGE):
        if any(frame.entry_id in link.in_flight for link in core.links.values()):
            continue  # on its way: what the relay answers decides
        placing.remember(core, frame, None, now)  # an earlier try may have arrived unheard
        row = core.conversation(message.conversation)
        if row.state == ConversationState.JOINED:
            sending.encrypt_anew(core, row, core.members(row.conversation), frame, now)
        else:
            core.db.execute("DELETE FROM outbox WHERE number = ?", frame.number)


def erase(core: Core, message: Message) -> None:
    """Relays that may still hold it are to erase it (HT-C-046)."""
    core.db.execute("UPDATE placed SET wanted = 1 WHERE message = ?", message.message)
