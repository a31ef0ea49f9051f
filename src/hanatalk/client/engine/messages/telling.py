"""Saying what one has read, or not: per conversation, not reciprocal (HT-C-085); and who has read a message."""

from hanatalk.client import calls, events
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.messages import receipts, sending
from hanatalk.errors import UsageError
from hanatalk.ids import AccountId
from hanatalk.localdb.rows import Conversation, Message


def switch(core: Core, row: Conversation, telling: bool, now: int) -> None:
    """Stop telling what is read here, or tell it again; announced once inside the conversation."""
    if bool(row.silent) is not telling:
        return
    with core.transaction():
        core.db.execute("UPDATE conversation SET silent = ? WHERE conversation = ?", int(not telling), row.conversation)
        sending.send_telling(core, row.conversation, telling, now=now)
        if telling:
            receipts.due(core, core.conversation(row.conversation), now, len(core.members(row.conversation)))


def announced(core: Core, row: Conversation, account: AccountId, telling: bool) -> None:
    """Another person says whether it tells."""
    if account == core.identity.account:
        core.db.execute("UPDATE conversation SET silent = ? WHERE conversation = ?", int(not telling), row.conversation)
        return
    if telling:
        core.db.execute("DELETE FROM silent WHERE conversation = ? AND account = ?", row.conversation, account)
    else:
        core.db.execute("INSERT OR IGNORE INTO silent (conversation, account) VALUES (?, ?)", row.conversation, account)
    core.emit(
        events.TellingChanged(
            conversation=row.conversation.hex(), account=account.hex(), name=core.name(account), telling=telling
        )
    )


def readers(core: Core, message: Message) -> calls.ReaderList:
    """Who has read an own message. :raises UsageError: ``readers.not-own``"""
    if message.account != core.identity.account:
        raise UsageError("readers.not-own")
    row = core.conversation(message.conversation)
    members = core.members(row.conversation)
    counts = receipts.Counts(core, row, members)
    read, roster, silent = counts.readers(message), counts.roster(message), receipts.who_is_silent(core, row)
    found = []
    for account in {member.account for member in members} - {core.identity.account}:
        if account in silent:
            state = "silent"
        elif account in roster:
            state = "read" if account in read else "unread"
        else:
            continue  # joined later
        found.append(calls.Reader(account=account.hex(), name=core.name(account), state=state))
    found.sort(key=lambda reader: (reader.state, reader.name, reader.account))
    return calls.ReaderList(readers=found)
