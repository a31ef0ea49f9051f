"""The other devices of the own account, and how to tell them something (HT-M-126, HT-C-170)."""

from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import policy, syncing
from hanatalk.client.engine.messages import sending
from hanatalk.errors import NetworkError
from hanatalk.ids import ConversationId, DeviceKey, RelayKey
from hanatalk.localdb.rows import Conversation

GROUP = "account-group"  # setting: the conversation of the own devices


def group(core: Core) -> Conversation | None:
    """The group of the own devices; None while there is only one."""
    found = core.db.setting(GROUP)
    return core.conversation(ConversationId(found)) if found is not None else None


def own_relay(core: Core) -> policy.Relay:
    """Where Welcomes for this device are left. :raises NetworkError: ``network.never-reached``"""
    url = core.own_relays()[0]
    return policy.Relay(url, relay_key(core, url))


def relay_key(core: Core, url: str) -> RelayKey:
    """:raises NetworkError: ``network.never-reached``"""
    key = core.relay_key(url)
    if key is None:
        raise NetworkError("network.never-reached", relay=url)
    return RelayKey(key)


def keys(core: Core) -> set[DeviceKey]:
    """The other devices of the own account."""
    return set(core.identity.chain.devices) - {core.identity.device.key}


def say(core: Core, said: syncing.Said, now: int) -> None:
    """Tell the other own devices, if there are any."""
    row = group(core)
    if row is not None:
        sending.send_sync(core, row.conversation, syncing.make(said), now=now)
