"""Bodies of messages, apart from their rows: what is forgotten is overwritten where it stands (HT-S-060)."""

from hanatalk.client.engine.core import Core
from hanatalk.client.engine.messages import attached
from hanatalk.ids import MessageId
from hanatalk.localdb.rows import Content, Message


def insert(core: Core, message: Message, body: bytes | None) -> Message:
    """Store a message and its body (None: it is gone already); returns the row with its number."""
    number = core.db.insert(message)
    core.db.insert(Content(number, body))  # the highest number so far: SQLite moves nothing
    return message.numbered(number)


def find(core: Core, message: Message) -> bytes | None:
    """The body as sent; None when it is gone."""
    found = core.db.value("SELECT body FROM content WHERE number = ?", message.number)
    return found if isinstance(found, bytes) else None


def replace(core: Core, message: Message, body: bytes) -> None:
    """Another body of the same length: nothing moves."""
    core.db.execute("UPDATE content SET body = ? WHERE number = ?", body, message.number)


def is_gone(core: Core, message: MessageId) -> bool:
    """Whether a message that is known here expired or was taken back."""
    return bool(
        core.db.value(
            "SELECT 1 FROM message JOIN content USING (number) WHERE message = ? AND content.body IS NULL", message
        )
    )


def forget(core: Core, message: Message) -> None:
    """The body goes, from the database with this transaction, from its files when the log is emptied (HT-S-064).

    With it go its attachments: their keys stood in it.
    """
    attached.forget(core, message.message)
    core.db.execute("UPDATE content SET body = NULL WHERE number = ?", message.number)
    core.index.forgotten(message.number or 0)
    core.must_empty_log = True
