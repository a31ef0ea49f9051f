"""What those who are added, or added again, find in their Welcome channels (HT-M-086, HT-M-089)."""

from hanatalk import mls
from hanatalk.client.engine.conversations import additions, annexes, key_packages
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import policy
from hanatalk.localdb.rows import Conversation


def leave(core: Core, row: Conversation, added: list[bytes], welcome: bytes) -> None:
    """Leave the Welcome of a commit for each KeyPackage that it added, with the people, in a group also the tree."""
    enclosed = key_packages.Enclosed(
        1,
        welcome,
        list(core.identity.chain.links),
        core.group(row.conversation).ratchet_tree() if row.kind == policy.Kind.GROUP else None,
        additions.all_people(core, core.members(row.conversation)),
    )
    kind, body = annexes.body_of(core, row.conversation, policy.of(row.policy).relays[0], enclosed)
    for each in added:
        at = policy.parse_welcome_at(mls.key_package_inspect(each).extensions)
        key_packages.leave(core, row.conversation, at, body, kind)
