"""Sigchains and credentials: as bytes, and properly signed by people who lie (T-016, T-019)."""

from collections.abc import Iterator
from typing import Any

import msgspec

from fuzz.mutation import tree
from fuzz.target import Attack, Target, hold
from hanatalk.client.engine.formats import accounts
from hanatalk.errors import VerificationError
from hanatalk.ids import DeviceKey

DEVICES = [accounts.Device(bytes([n]) * 32) for n in range(4)]
KEYS = [device.key for device in DEVICES]
LEAF_KEY = b"l" * 32


def _read(given: bytes) -> Any:
    try:
        return msgspec.msgpack.decode(given)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _sigchain() -> Attack:
    """An input is a list of links; a link is bytes, or [height, change, device, signer, co-signer, previous] to be made
    and signed by these of four devices (a number beyond leaves a signature out)."""

    def attack(given: bytes) -> None:
        steps = _read(given)
        raw = [given] if not isinstance(steps, list) else []
        hashes: list[bytes] = []
        members: set[int] = set()
        honest = True
        for step in steps if isinstance(steps, list) else []:
            if not isinstance(step, list):
                raw.append(step if isinstance(step, bytes) else b"")
                honest = False
                continue
            made, sound = _link(step, hashes, members)
            raw.append(made)
            honest = honest and sound
        chain = accounts.verify_chain(raw)
        hold(chain.height == len(raw) - 1 and chain.account == chain.hashes[0], "another chain than was given")
        hold(accounts.verify_chain(list(chain.links), account=chain.account) == chain, "verified once only")
        hold(accounts.longer(chain, chain) is chain, "longer than itself")
        if all(isinstance(step, list) for step in steps or []) and steps:
            hold(honest, "a chain that breaks the rules was taken (HT-M-002)")
            hold(chain.devices == {KEYS[member] for member in members}, "another set of devices")

    return attack


def _link(step: list[Any], hashes: list[bytes], members: set[int]) -> tuple[bytes, bool]:
    """One link as the step says it, and whether it keeps the rules, judged by an independent model."""
    numbers = [part if isinstance(part, int) and 0 <= part < 1 << 31 else 0 for part in step[:6]] + [0] * 6
    height, change, device, signer, co_signer, previous = numbers[:6]
    height, change = min(height, accounts.CHAIN_LIMIT - 1), accounts.Change(1 + change % 3)
    device, place = device % 4, len(hashes)
    before = (b"", *hashes)[-1] if previous == 0 else (b"x" * 32 if previous % 2 else b"")
    link = msgspec.msgpack.encode(accounts.Link(1, height, before, change, KEYS[device]))
    by = DEVICES[signer % 4]
    signature = by.sign(b"hana link/1", link) if signer < 4 else bytes(64)
    co = DEVICES[co_signer % 4].sign(b"hana link co-signature/1", link) if co_signer < 4 else None
    hashes.append(_hash(link))
    sound = height == place and before == (hashes[place - 1] if place else b"") and signer < 4
    sound = sound and (change is accounts.Change.CREATE) == (place == 0)
    if change is accounts.Change.CREATE:
        members.add(device) if place == 0 else None
        sound = sound and signer % 4 in members
    elif change is accounts.Change.ADD:
        sound = sound and signer % 4 in members and device not in members and co_signer == device
        members.add(device)
    else:
        sound = sound and signer % 4 in members and device in members
        members.discard(device)
    return msgspec.msgpack.encode(accounts.SignedLink(link, by.key, signature, co)), sound


def _hash(link: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(b"hana link/1" + link).digest()


def _credential() -> Attack:
    """An input is a credential's bytes, or [which, field, …] to be signed by its device."""
    first = accounts.create(DEVICES[0])
    chain = accounts.extend(
        first, DEVICES[0], change=accounts.Change.ADD, device=KEYS[1], co_signature=accounts.co_sign(first, DEVICES[1])
    )
    chain = accounts.extend(chain, DEVICES[1], change=accounts.Change.REMOVE, device=KEYS[0])

    def attack(given: bytes) -> None:
        read = _read(given)
        raw = given
        if isinstance(read, list) and len(read) == 5 and isinstance(read[0], int) and not isinstance(read[0], bool):
            device, height = DEVICES[read[0] % 4], read[1] if isinstance(read[1], int) else 0
            account = read[2] if isinstance(read[2], bytes) and read[2] else chain.account
            head = read[3] if isinstance(read[3], bytes) and read[3] else chain.hashes[height % len(chain.hashes)]
            text = account + device.key + head + (height % 1024).to_bytes(8) + LEAF_KEY
            raw = msgspec.msgpack.encode(
                [1, account, device.key, head, height, device.sign(b"hana credential/1", text)]
            )
        parsed = accounts.read_credential(raw)
        hold(msgspec.msgpack.decode(raw, type=accounts.Credential) == parsed, "read twice")
        found = accounts.verify_credential(raw, LEAF_KEY, chain)
        hold(
            found.account == chain.account and DeviceKey(found.device) in chain.devices,
            "somebody else's credential was taken",
        )

    return attack


def _chains() -> Iterator[bytes]:
    none = 9
    yield msgspec.msgpack.encode([[0, 0, 0, 0, none, 0], [1, 1, 1, 0, 1, 0], [2, 2, 0, 1, none, 0], [3, 1, 2, 1, 2, 0]])
    chain = accounts.create(DEVICES[0])
    yield msgspec.msgpack.encode(list(chain.links))
    chain = accounts.extend(
        chain, DEVICES[0], change=accounts.Change.ADD, device=KEYS[1], co_signature=accounts.co_sign(chain, DEVICES[1])
    )
    yield msgspec.msgpack.encode(list(chain.links))
    yield chain.links[1]


def _credentials() -> Iterator[bytes]:
    chain = accounts.create(DEVICES[0])
    yield accounts.credential(chain, DEVICES[0], LEAF_KEY)
    yield msgspec.msgpack.encode([1, 2, b"", b"", 0])
    yield msgspec.msgpack.encode([0, 0, b"", b"", 0])


TARGETS = [
    Target(
        name="sigchain",
        parsers=("hanatalk.client.engine.formats.accounts.verify_chain",),
        allowed=(VerificationError,),
        ready=_sigchain,
        seeds=_chains,
        mutate=tree,
        short=800,
    ),
    Target(
        name="credential",
        parsers=(
            "hanatalk.client.engine.formats.accounts.read_credential",
            "hanatalk.client.engine.formats.accounts.verify_credential",
        ),
        allowed=(VerificationError,),
        ready=_credential,
        seeds=_credentials,
        mutate=tree,
        short=1500,
    ),
]
