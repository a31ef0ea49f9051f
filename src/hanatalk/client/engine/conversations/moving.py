"""A conversation moves to the next relay of its policy when the first is gone (HT-M-064 … HT-M-068)."""

from hanatalk.client import events
from hanatalk.client.engine.conversations import commits, enclosing, resync
from hanatalk.client.engine.core import Core, Link
from hanatalk.client.engine.formats import content, policy
from hanatalk.client.engine.messages import receipts, sending
from hanatalk.errors import UsageError
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import Channel, Conversation, ConversationState, Intent, IntentKind, OutboxKind, Purpose

FAILURES = 3  # in a row, while another relay was reached
WANTED, LEFT = "move", "left"  # settings: where a person wants a conversation, which relay that was gone it left


def want(core: Core, row: Conversation, relay: str | None, now: int) -> None:
    """A person wants a conversation at another of its relays (HT-M-078). None: at the next that can be reached.

    :raises UsageError: ``move.not-admin``, ``move.here``, ``move.unknown``
    """
    agreed = policy.of(row.policy)
    if not agreed.is_admin(core.identity.account):
        raise UsageError("move.not-admin")
    if relay == agreed.relays[0].url:
        raise UsageError("move.here")
    if relay is not None and relay not in [each.url for each in agreed.relays]:
        raise UsageError("move.unknown", relay=relay)
    with core.transaction():
        _set(core, WANTED, row.conversation, relay)
        commits.want(core, row.conversation, IntentKind.MOVE, now)


def _set(core: Core, what: str, conversation: ConversationId, url: str | None) -> None:
    if url is None:
        core.db.execute("DELETE FROM setting WHERE key = ?", f"{what} {conversation.hex()}")
    else:
        core.db.put_setting(f"{what} {conversation.hex()}", url.encode())


def _get(core: Core, what: str, conversation: ConversationId) -> str | None:
    raw = core.db.setting(f"{what} {conversation.hex()}")
    return raw.decode() if raw is not None else None


def returned(core: Core, url: str, now: int) -> None:
    """A relay answers: conversations that left it because it was gone may go back (HT-M-079)."""
    for row in core.db.find(Conversation, "state = ?", ConversationState.JOINED):
        if _get(core, LEFT, row.conversation) == url:
            _set(core, LEFT, row.conversation, None)
            back = events.RelayReturned(conversation=row.conversation.hex(), relay=url)
            core.notice(back, now, row.conversation)


def failed(core: Core, url: str, now: int) -> None:
    """A relay was tried in vain. It counts only while another is reached: then it is not our own network (HT-M-066)."""
    if not any(link.ready for other, link in core.links.items() if other != url):
        return
    with core.transaction():
        core.db.execute(
            "UPDATE relay SET failing_since = coalesce(failing_since, ?), failures = failures + 1 WHERE url = ?",
            now,
            url,
        )
        since = core.db.value("SELECT failing_since FROM relay WHERE url = ? AND failures >= ?", url, FAILURES)
        if not isinstance(since, int):
            return
        for row in core.db.find(Conversation, "state = ?", ConversationState.JOINED):
            waiting = core.db.value("SELECT 1 FROM outbox WHERE owner = ?", row.conversation) or core.db.value(
                "SELECT 1 FROM message WHERE conversation = ? AND counter < 0", row.conversation
            )
            patience = core.patience.queued if waiting else core.patience.idle
            if sending.era_channel(core, row).relay == url and now - since >= patience and _target(core, row):
                commits.want(core, row.conversation, IntentKind.MOVE, now)


def _target(core: Core, row: Conversation) -> tuple[int, Channel, Link] | None:
    """The next relay that can be used: its place in the policy, the era's channel there."""
    agreed = policy.parse([(policy.EXTENSION, row.policy)])
    if not agreed.is_admin(core.identity.account):
        return None
    first = agreed.relays[0].url
    wanted = _get(core, WANTED, row.conversation)
    if core.db.value("SELECT 1 FROM relay WHERE url = ? AND failures >= ?", first, FAILURES):
        wanted = None  # better anywhere than nowhere
    for place, relay in enumerate(agreed.relays[1:], start=1):
        if wanted not in (None, relay.url):
            continue
        channel = core.db.first(
            Channel,
            "owner = ? AND purpose = ? AND relay = ? AND closed = 0",
            row.conversation,
            Purpose.FALLBACK,
            relay.url,
        )
        link = core.links.get(relay.url)
        if channel is not None and link is not None and channel.channel in link.caught_up:
            return place, channel, link
    return None


def attempt(core: Core, intent: Intent) -> None:
    """Make the move's commit. One of ours that waits for the old relay is given up for it (HT-M-067)."""
    row = core.conversation(intent.conversation)
    found = _target(core, row)
    if found is None or core.elsewhere or row.state != ConversationState.JOINED:
        return
    place, channel, _ = found
    if channel.relay not in core.counted:
        return
    with core.transaction():
        commits.give_up_pending(core, row)
        agreed = policy.parse([(policy.EXTENSION, row.policy)])
        relays = [agreed.relays[place], *(relay for relay in agreed.relays if relay != agreed.relays[place])]
        made = core.group(row.conversation).commit(
            self_update=True,
            extensions=[(policy.EXTENSION, policy.encode(policy.with_relays(agreed, relays)))],
            aad=content.encode(content.CommitContext(1, True, None)),
        )
        core.db.mls_write(row.conversation, made.writes)
        sealed = enclosing.enclose(core, row, channel, made.commit)
        commits.post(core, row, channel, intent, made.digest, sealed)


def moved(core: Core, conversation: ConversationId, *, own: bool, now: int) -> None:
    """The era begins at another relay: what waited for the old one goes there, in order (HT-M-068)."""
    core.db.execute(
        "UPDATE outbox SET refused_turn = 0 WHERE owner = ? AND kind IN (?, ?, ?)",
        conversation,
        OutboxKind.MESSAGE,
        OutboxKind.RECEIPT,
        OutboxKind.REQUEST,
    )
    sending.settle(core, conversation, now)
    sending.publish_unconfirmed(core, conversation, now)
    sending.release(core, conversation, now)  # what waited for this start to be counted at the old one
    row = core.conversation(conversation)
    receipts.tell_again(core, conversation)
    receipts.due(core, row, now, len(core.members(conversation)))
    if own:
        resync.state(core, row, now)
    at, left = (relay.url for relay in policy.of(row.policy).relays[:2])
    link = core.links.get(left)
    gone = link is None or not link.ready
    _set(core, LEFT, conversation, left if gone else None)
    _set(core, WANTED, conversation, None)
    core.notice(events.ConversationMoved(conversation=conversation.hex(), relay=at, left=left), now, conversation)
