"""What people see of devices: the list, and where linking stands. Reads only."""

from hanatalk.client import calls
from hanatalk.client.engine.conversations import history, siblings
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import accounts, link_codes, policy
from hanatalk.client.engine.people import devices, linking
from hanatalk.localdb.rows import Conversation


def linking_state(core: Core) -> calls.Linking:
    """Where this device stands on its way into an account."""
    state = linking.linking(core)
    if state is None:
        is_linked = siblings.group(core) is not None
        return calls.Linking(
            state="linked" if is_linked else "none",
            account=core.identity.account.hex() if is_linked else None,
            name=core.identity.name if is_linked else None,
            awaited=devices.awaited(core) if is_linked else 0,
            history=history.percent(core) if is_linked else None,
        )
    code = link_codes.parse(state.code)
    if state.failure is not None:
        return calls.Linking(state="failed", failure=state.failure, language=code.language)
    if state.offer is None:
        return calls.Linking(state="shown", link=state.code, language=code.language)
    offered = linking.offer_of(state)
    return calls.Linking(
        state="consented" if state.consented else "offered",
        link=state.code,
        language=code.language,
        account=accounts.verify_chain(offered.chain).account.hex(),
        name=offered.name,
        words=linking.shown_words(core),
    )


def approving_state(core: Core) -> calls.Approving:
    """Where the device stands that is to be added."""
    state = linking.approving(core)
    if state is None:
        return calls.Approving(state="none")
    code = link_codes.parse(state.code)
    if state.failure is not None:
        name = "failed"
    elif state.adding:
        name = "adding"
    elif state.confirmed:
        name = "confirmed"
    else:
        name = "offered" if state.revealed is None else "revealed"
    return calls.Approving(
        state=name,
        device=code.device.hex(),
        language=code.language,
        words=linking.shown_words(core),
        failure=state.failure,
    )


def device_list(core: Core) -> calls.DeviceList:
    """The own devices: this one first, then as the chain added them; then those that are not yet out everywhere."""
    own, chain = core.identity.device.key, core.identity.chain
    inside: dict[bytes, int] = {}
    rows = core.db.find(Conversation, "kind != ?", policy.Kind.ACCOUNT)
    for row in rows:
        for member in core.members(row.conversation):
            if member.account == core.identity.account:
                inside[member.device] = inside.get(member.device, 0) + 1
    found = []
    for device in sorted(
        chain.devices | inside.keys(), key=lambda each: (each not in chain.devices, each != own, each)
    ):
        count = inside.get(device, 0)
        state = "leaving" if device not in chain.devices else "current" if count == len(rows) else "joining"
        found.append(
            calls.Device(device=device.hex(), this=device == own, state=state, conversations=count, of=len(rows))
        )
    return calls.DeviceList(devices=found)
