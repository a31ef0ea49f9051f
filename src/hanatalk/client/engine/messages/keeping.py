"""How long texts of a conversation stay, as its policy says (HT-C-120)."""

import msgspec

from hanatalk.client.engine.formats import content, policy
from hanatalk.localdb.rows import Conversation


def written(*, timer: int, privacy: bool) -> bytes:
    """As a wanted change holds it. `timer`: seconds, 0: none."""
    return timer.to_bytes(4) + bytes([privacy])


def read(value: bytes) -> tuple[int, bool]:
    """The opposite of `written`."""
    return int.from_bytes(value[:4]), value[4:] == b"\x01"


def applied(text: content.Text, row: Conversation) -> content.Text:
    """A text that is to be sent, as long-lived as its conversation says, unless it says so itself."""
    agreed = policy.of(row.policy)
    own = text.timer is not None
    kept = agreed.privacy and text.fate is content.Fate.STAYS
    return msgspec.structs.replace(
        text,
        timer=text.timer if own else agreed.timer or None,
        fate=content.Fate.CONFIRMED if kept else text.fate,
    )
