"""A KeyPackage that MLS does not take, although it looked right: whose it is cannot be added by it (HT-M-142).

Only MLS sees some flaws, such as a key that stands in the tree already. What was to be done with the KeyPackage is not
tried for ever: another one of the device is taken, or it is void and said so, and everything else goes on.
"""

from hanatalk.client import events
from hanatalk.client.engine.conversations import additions, changes
from hanatalk.client.engine.core import Core
from hanatalk.localdb.rows import Conversation, Intent, IntentKind, Readmission
from hanatalk.mls import BadKeyPackage

AGAIN = 400  # milliseconds until what is left is tried without it


def drop(
    core: Core,
    row: Conversation,
    intent: Intent,
    error: BadKeyPackage,
    *,
    adds: additions.Changes | changes.Folded | Readmission,
    now: int,
) -> None:
    """Forget the KeyPackage of `error`; what is left of the intent is due soon.

    :param adds: what the commit was to add, in the order of the KeyPackages
    """
    conversation = row.conversation
    core.notice(events.Alarm(conversation=conversation.hex(), code=error.code), now, conversation)
    left = True
    if isinstance(adds, Readmission):  # it asks again, by another one, when nobody answers (HT-M-056)
        core.db.execute("DELETE FROM readmission WHERE conversation = ? AND device = ?", conversation, adds.device)
        left = bool(core.db.value("SELECT 1 FROM readmission WHERE conversation = ?", conversation))
    elif isinstance(adds, changes.Folded):
        changes.used(core, adds.adds[error.index])
    else:
        device = list(adds.adds)[error.index]
        core.db.execute("DELETE FROM addition WHERE conversation = ? AND device = ?", conversation, device)
    if left:
        core.db.execute(
            "UPDATE intent SET not_before = ? WHERE conversation = ? AND kind = ?",
            now + AGAIN,
            conversation,
            intent.kind,
        )
    else:
        core.db.execute("DELETE FROM intent WHERE conversation = ? AND kind = ?", conversation, IntentKind.READMIT)
