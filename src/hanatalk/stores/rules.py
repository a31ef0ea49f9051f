"""What every store decides alike: what burns, what an erase token opens, when a channel or the relay is full."""

from hanatalk.stores.interface import Append, Quota
from hanatalk.wire.channels import ERASE_TOKEN_LENGTH, erase_hash
from hanatalk.wire.classes import EntryClass

BURNS = (EntryClass.MESSAGE, EntryClass.ATTACHMENT)  # control and invite entries never burn (T-028, HT-S-025)


def burn_after(append: Append) -> int | None:
    """Readers after which this entry is burned, None for never."""
    return append.burn_after if append.entry_class in BURNS else None


def erasable_by(append: Append) -> bytes | None:
    """The hash whose preimage erases this entry, None for nobody: control entries are never erased (T-028)."""
    return append.erase_hash if append.entry_class is not EntryClass.CONTROL else None


def may_erase(wanted: bytes | None, erase_token: bytes) -> bool:
    """Whether the token is the preimage of the entry's erase_hash."""
    return wanted is not None and len(erase_token) == ERASE_TOKEN_LENGTH and erase_hash(erase_token) == wanted


def over_quota(quota: Quota, append: Append, *, channel: tuple[int, int], total: tuple[int, int]) -> str | None:
    """The refusal's code if this entry is one too many (HT-S-018).

    :param channel: entries and bytes that the channel holds.
    :param total: entries and bytes that the store holds.
    """
    size = len(append.entry)
    part = 8 if append.entry_class is EntryClass.CONTROL else 7
    if (channel[0] + 1) * 8 > quota.channel_entries * part or (channel[1] + size) * 8 > quota.channel_bytes * part:
        return "channel-full"
    if total[0] + 1 > quota.total_entries or total[1] + size > quota.total_bytes:
        return "relay-full"
    return None
