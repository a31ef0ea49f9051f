"""Finishing what another own device began: additions that their device does not make, Welcomes that never came
(HT-M-155, HT-M-156).

Nobody elects anybody. Everyone waits for its turn; whoever comes first commits, and the others see that it is done.
"""

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine.conversations import besides, commits, history, key_packages, resync, siblings
from hanatalk.client.engine.core import DAY, Core
from hanatalk.client.engine.formats import accounts, policy, syncing
from hanatalk.errors import HanaError, VerificationError
from hanatalk.ids import ConversationId, DeviceKey
from hanatalk.localdb.rows import Addition, Conversation, ConversationState, IntentKind, Member

TURN = 3_600_000  # milliseconds that each device leaves to those whose turn comes before
PATIENCE = 60_000  # milliseconds per place that who stands in leaves to the others, once the KeyPackage came
LACKING = 2 * TURN  # milliseconds after giving a KeyPackage, before the new device says that it was not added
SLOWER = 4  # times as long before it says so again
KNOWN = "device-since "  # setting, with a sibling's key: when this device learnt of it
GIVEN = "packages-given"  # setting: when this device gave siblings KeyPackages last
KEY_PACKAGE_LIFETIME = 30 * DAY


def turn(core: Core, row: Conversation, members: list[Member], device: DeviceKey, now: int) -> bool:
    """Whether it is this device's turn to add a sibling that a conversation lacks (HT-M-125, HT-M-155): an hour for
    each that comes before, counted from when this device knew of both the sibling and the conversation."""
    place = _place(core, members, device)
    if place is None:
        return False
    return place == 0 or now >= max(_since(core, device, now), row.created_at) + TURN * place


def patience(core: Core, members: list[Member], device: DeviceKey) -> int:
    """Milliseconds to wait with the commit once the KeyPackage came: several may have asked for it."""
    return PATIENCE * (_place(core, members, device) or 0)


def _place(core: Core, members: list[Member], device: DeviceKey) -> int | None:
    """First whoever approved it (if it is no member: the smallest key), then the others by their keys."""
    own = core.identity.device.key
    present = {member.device for member in members if member.account == core.identity.account}
    order = sorted(present & core.identity.chain.devices)
    approver = accounts.signer_of(core.identity.chain, accounts.Change.ADD, device)
    if approver in order:
        order.remove(approver)
        order.insert(0, approver)
    return order.index(own) if own in order else None


def _since(core: Core, device: DeviceKey, now: int) -> int:
    """When this device learnt of a sibling; at the first look that is now."""
    known = core.db.setting(KNOWN + device.hex())
    if known is None:
        core.db.put_setting(KNOWN + device.hex(), now.to_bytes(8))
        return now
    return int.from_bytes(known)


def given(core: Core, now: int) -> None:
    """This device gave its siblings KeyPackages."""
    core.db.put_setting(GIVEN, now.to_bytes(8))


def say_lacking(core: Core, now: int) -> None:
    """Of conversations that this device gave a KeyPackage for long ago and is not in: fresh ones, for all siblings
    (HT-M-156). Each time it waits longer, so that there are never many."""
    at, given_at = core.clock.wall(now), core.db.setting(GIVEN)
    if siblings.group(core) is None or given_at is None or history.taking(core) is not None:
        return
    url = core.own_relays()[0]
    key = core.relay_key(url)
    if key is None:
        return  # a relay of its own that it has never seen: later
    waited = now - int.from_bytes(given_at)
    found = []
    for waiting in core.db.find(Addition, "device = ?", core.identity.device.key):
        before = mls.key_package_inspect(waiting.key_package)
        made_at = before.not_after * 1000 - KEY_PACKAGE_LIFETIME
        if min(waited, at - made_at) < LACKING * SLOWER ** besides.count_replaced(core, waiting.conversation):
            continue
        besides.replaced(core, waiting.conversation, before.ref)
        made = key_packages.make(
            core, policy.Relay(url, key), expires_at=at + KEY_PACKAGE_LIFETIME, now=now, suite=before.suite
        )  # the one before stays good: its Welcome may come yet
        core.db.put(Addition(waiting.conversation, waiting.device, made.key_package))
        key_of = besides.give(core, waiting.conversation)
        found.append(syncing.Package(waiting.conversation, made.key_package, key_of))
    for start in range(0, len(found), syncing.PACKAGES_LIMIT):
        siblings.say(core, syncing.Lacking(found[start : start + syncing.PACKAGES_LIMIT]), now)


def heard_lacking(core: Core, sender: Member, said: syncing.Lacking, now: int) -> None:
    """A sibling waits in vain: add it, or, if it stands in the tree without its Welcome, replace its leaf there."""
    for package in said.packages:
        conversation = ConversationId(package.conversation)
        row = core.db.first(Conversation, "conversation = ?", conversation)
        if row is None or row.state != ConversationState.JOINED or row.kind == policy.Kind.ACCOUNT:
            continue
        if core.db.value("SELECT 1 FROM intent WHERE conversation = ? AND digest IS NOT NULL", conversation):
            continue  # a commit is on its way, perhaps this one; if not, it will be said again
        if not is_sound(core, package.key_package, sender, conversation, now):
            continue
        core.db.put(Addition(conversation, sender.device, package.key_package))
        besides.keep(core, conversation, sender.device, package.key)
        wait = resync.ANSWER_PAUSE * (row.own_leaf % resync.ANSWER_PLACES)
        commits.want(core, conversation, IntentKind.DEVICES, now + wait)


def is_sound(core: Core, key_package: bytes, sender: Member, conversation: ConversationId, now: int) -> bool:
    """Whether a sibling's KeyPackage can be used, and is its own; an alarm if not."""
    try:
        key_packages.check(key_package, core.identity.chain, core.clock.wall(now))
        if key_packages.device(key_package) != sender.device:
            raise VerificationError("credential.forged")
    except HanaError as error:
        core.notice(events.Alarm(conversation=conversation.hex(), code=error.code), now, conversation)
        return False
    return True
