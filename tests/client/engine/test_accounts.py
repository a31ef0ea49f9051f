"""Sigchain and credentials (HT-M-001 … HT-M-007)."""

import os

import msgspec
import pytest

from hanatalk.client.engine.formats import accounts
from hanatalk.client.engine.formats.accounts import Change
from hanatalk.errors import VerificationError

FIRST, SECOND, THIRD = (accounts.Device(accounts.new_seed()) for _ in range(3))
ALONE = accounts.create(FIRST)


def _with(device: accounts.Device) -> accounts.Chain:
    signature = accounts.co_sign(ALONE, device)
    return accounts.extend(ALONE, FIRST, change=Change.ADD, device=device.key, co_signature=signature)


BOTH = _with(SECOND)


def _refused(why: str, *arguments: object, **names: object) -> None:
    with pytest.raises(VerificationError) as caught:
        accounts.verify_chain(*arguments, **names)  # type: ignore[arg-type]
    assert why in str(caught.value)


def test_a_chain_grows_and_keeps_its_id() -> None:
    assert BOTH.account == ALONE.account
    assert BOTH.devices == {FIRST.key, SECOND.key}
    removed = accounts.extend(BOTH, SECOND, change=Change.REMOVE, device=FIRST.key)
    assert removed.devices == {SECOND.key}
    assert removed.height == 2


def test_an_added_device_must_agree() -> None:
    """HT-M-003."""
    for signature in (None, accounts.co_sign(ALONE, THIRD)):
        with pytest.raises(VerificationError, match=r"chain\.broken"):
            accounts.extend(
                ALONE,
                FIRST,
                change=Change.ADD,
                device=SECOND.key,
                co_signature=signature,
            )


def test_only_current_devices_sign() -> None:
    """HT-M-002."""
    with pytest.raises(VerificationError, match="signer"):
        accounts.extend(ALONE, THIRD, change=Change.REMOVE, device=FIRST.key)
    gone = accounts.extend(BOTH, FIRST, change=Change.REMOVE, device=SECOND.key)
    with pytest.raises(VerificationError, match="signer"):
        accounts.extend(gone, SECOND, change=Change.REMOVE, device=FIRST.key)


def test_links_cannot_be_reordered_cut_or_taken_from_elsewhere() -> None:
    other = accounts.create(THIRD)
    _refused("order", [BOTH.links[1]])
    _refused("order", [*BOTH.links[::-1]])
    _refused("order", [other.links[0], BOTH.links[1]])
    _refused("length", [])
    _refused("other-account", list(other.links), account=ALONE.account)
    _refused("malformed", [b"\xc1"])


def test_every_byte_of_a_link_counts() -> None:
    raw = BOTH.links[1]
    for index in range(len(raw)):
        changed = bytearray(raw)
        changed[index] ^= 1
        with pytest.raises(VerificationError):
            accounts.verify_chain([BOTH.links[0], bytes(changed)])


def test_forks_are_neither() -> None:
    """HT-M-004."""
    one, other = _with(SECOND), _with(THIRD)
    assert accounts.longer(ALONE, one) is one
    assert accounts.longer(one, ALONE) is one
    with pytest.raises(VerificationError, match=r"chain\.fork"):
        accounts.longer(one, other)


def _remove(chain: accounts.Chain, by: accounts.Device, device: accounts.Device) -> accounts.Chain:
    return accounts.extend(chain, by, change=Change.REMOVE, device=device.key)


def test_a_removal_voids_what_the_removed_did_meanwhile() -> None:
    """HT-M-130: the same for whoever sees the branches in whatever order; each removing the other freezes."""
    signature = accounts.co_sign(BOTH, THIRD)
    thief = accounts.extend(BOTH, SECOND, change=Change.ADD, device=THIRD.key, co_signature=signature)
    removal = _remove(BOTH, FIRST, SECOND)
    for known, other in ((thief, removal), (removal, thief)):
        assert accounts.longer(known, other) is removal
    mutual = _remove(thief, SECOND, FIRST)
    for known, other in ((mutual, removal), (removal, mutual)):
        with pytest.raises(VerificationError, match=r"chain\.frozen"):
            accounts.longer(known, other)


def test_the_paper_device_outranks_all() -> None:
    """HT-M-131: it is in no conversation, signs links, and its branch counts; it cannot be removed."""
    paper = accounts.Device(b"\x09" * 32)
    alone = accounts.create(FIRST, paper)
    assert (alone.devices, alone.paper) == (frozenset({FIRST.key}), paper.key)
    both = accounts.extend(
        alone, FIRST, change=Change.ADD, device=SECOND.key, co_signature=accounts.co_sign(alone, SECOND)
    )
    by_thief, by_paper = _remove(both, SECOND, FIRST), _remove(both, paper, SECOND)
    for known, other in ((by_thief, by_paper), (by_paper, by_thief)):
        assert accounts.longer(known, other) is by_paper
    with pytest.raises(VerificationError, match="remove"):
        _remove(both, FIRST, paper)
    with pytest.raises(VerificationError, match="paper"):
        accounts.extend(
            both,
            FIRST,
            change=Change.PAPER,
            device=THIRD.key,
            co_signature=THIRD.sign(b"hana link co-signature/1", accounts._next(both, Change.PAPER, THIRD.key)),
        )


def test_a_credential_binds_account_device_and_leaf() -> None:
    """HT-M-005, HT-M-006."""
    leaf = os.urandom(32)
    raw = accounts.credential(BOTH, SECOND, leaf)
    assert accounts.verify_credential(raw, leaf, BOTH).device == SECOND.key
    with pytest.raises(VerificationError, match="forged"):
        accounts.verify_credential(raw, os.urandom(32), BOTH)
    with pytest.raises(VerificationError, match="not-in-chain"):
        accounts.verify_credential(raw, leaf, ALONE)  # the chain is older than the credential
    removed = accounts.extend(BOTH, FIRST, change=Change.REMOVE, device=SECOND.key)
    with pytest.raises(VerificationError, match="device"):
        accounts.verify_credential(raw, leaf, removed)
    with pytest.raises(VerificationError, match="not-in-chain"):
        accounts.verify_credential(raw, leaf, accounts.create(THIRD))
    found = msgspec.msgpack.decode(raw, type=accounts.Credential)
    stolen = msgspec.msgpack.encode(msgspec.structs.replace(found, device=FIRST.key))
    with pytest.raises(VerificationError, match="forged"):
        accounts.verify_credential(stolen, leaf, BOTH)
    with pytest.raises(VerificationError, match="malformed"):
        accounts.verify_credential(b"\x00", leaf, BOTH)


def test_an_old_credential_stays_valid_on_a_longer_chain() -> None:
    leaf = os.urandom(32)
    raw = accounts.credential(ALONE, FIRST, leaf)
    assert accounts.verify_credential(raw, leaf, BOTH).height == 0


def test_a_device_does_not_show_its_seed() -> None:
    assert FIRST.seed.hex() not in repr(FIRST)
    assert FIRST.seed.hex()[:8] not in repr(FIRST)
