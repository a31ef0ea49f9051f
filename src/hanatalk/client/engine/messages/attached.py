"""Rows of attachments as everybody may ask for them, and letting go of them. Knows nothing of messages' bodies."""

from hanatalk.client.engine.core import Core
from hanatalk.ids import MessageId
from hanatalk.localdb.rows import Attachment, Transfer


def is_own(found: Attachment) -> bool:
    """Sealed by this device."""
    return found.erase_token is not None


def rows(core: Core, message: MessageId) -> list[Attachment]:
    """In the order of the message; none of one that is gone."""
    return core.db.find(Attachment, "message = ? AND state != ? ORDER BY position", message, Transfer.ERASING)


def row(core: Core, number: int) -> Attachment | None:
    return core.db.first(Attachment, "number = ?", number)


def forget(core: Core, message: MessageId) -> None:
    """Their files go with the transaction; own ones are to be erased at the relay as well (HT-C-148, HT-C-157)."""
    for found in rows(core, message):
        drop(core, found)


def drop(core: Core, found: Attachment) -> None:
    """Let go of one."""
    core.db.execute("DELETE FROM chunk WHERE attachment = ?", found.number)
    if found.file is not None:
        core.doomed.append(found.file)
    if is_own(found):
        core.db.execute("UPDATE attachment SET state = ?, file = NULL WHERE number = ?", Transfer.ERASING, found.number)
    else:
        core.db.execute("DELETE FROM attachment WHERE number = ?", found.number)


def sweep(core: Core) -> None:
    """Remove files that nobody knows: of a process that was killed before it had committed, or after (HT-C-157)."""
    known = {file for (file,) in core.db.tuples("SELECT file FROM attachment WHERE file IS NOT NULL")}
    for name in core.db.files.names():
        if name not in known:
            core.db.files.remove(name)
