"""A conversation moves to the next relay of its policy when the first is gone (HT-M-064 … HT-M-068)."""

from hanatalk.client import events
from hanatalk.client.engine import commits, content, enclosing, policy, receipts, resync, sending
from hanatalk.client.engine.core import Core, Link
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import Channel, Conversation, ConversationState, Intent, IntentKind, OutboxKind, Purpose

FAILURES = 3  # in a row, while another relay was reached


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
            waiting = core.db.value("SELECT 1 FROM outbox WHERE owner = ?", row.conversation)
            patience = core.patience.queued if waiting else core.patience.idle
            if sending.era_channel(core, row).relay == url and now - since >= patience and _target(core, row):
                commits.want(core, row.conversation, IntentKind.MOVE, now)


def _target(core: Core, row: Conversation) -> tuple[int, Channel, Link] | None:
    """The next relay that can be used: its place in the policy, the era's channel there."""
    agreed = policy.parse([(policy.EXTENSION, row.policy)])
    if not agreed.is_admin(core.identity.account):
        return None
    for place, relay in enumerate(agreed.relays[1:], start=1):
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
    core.notice(events.Alarm(conversation=conversation.hex(), code="conversation.moved"), now, conversation)
