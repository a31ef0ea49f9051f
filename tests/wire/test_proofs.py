"""What answers a CHALLENGE, computed once more by the words of the specification."""

import hashlib
import hmac

import pytest

from hanatalk.wire import proofs

CHALLENGE, KEY = bytes(range(32)), bytes(range(32, 64))


def test_the_access_proof_is_as_specified() -> None:
    """HT-R-121"""
    key = hashlib.sha256(b"hana/access/1" + b"correct horse battery").digest()
    expected = hmac.new(key, b"hana/proof/1" + CHALLENGE + KEY, hashlib.sha256).digest()
    proof = proofs.access_proof(b"correct horse battery", challenge=CHALLENGE, relay_key=KEY)
    assert proof == expected
    assert proof.hex() == "fe0086a4901dd0226b67ff38db3cf3724f48c107d6b77ec6a4565430bf54dc9a"


def test_the_proof_is_of_this_pass_this_challenge_and_this_relay() -> None:
    """HT-R-123, T-078"""
    made = {
        proofs.access_proof(access_pass, challenge=challenge, relay_key=key)
        for access_pass in (b"one", b"two")
        for challenge in (CHALLENGE, bytes(32))
        for key in (KEY, bytes(32))
    }
    assert len(made) == 8


@pytest.mark.parametrize("work", [1, 8, 12])
def test_work_is_a_hash_that_begins_with_zeros(work: int) -> None:
    """HT-R-122"""
    nonce = proofs.search(0, 1 << 20, challenge=CHALLENGE, relay_key=KEY, work=work)
    assert nonce is not None
    hashed = hashlib.sha256(b"hana/work/1" + CHALLENGE + KEY + nonce.to_bytes(8, "big")).digest()
    assert f"{int.from_bytes(hashed, 'big'):0256b}".startswith("0" * work)
    assert proofs.is_worked(nonce, challenge=CHALLENGE, relay_key=KEY, work=work)
    assert not any(proofs.is_worked(n, challenge=CHALLENGE, relay_key=KEY, work=work) for n in range(nonce))
    assert not proofs.is_worked(nonce, challenge=CHALLENGE, relay_key=KEY, work=40)


def test_work_for_one_connection_is_none_for_another() -> None:
    """HT-R-123, T-078: of nonces found for one challenge, hardly one fits another challenge or another relay."""
    found: list[int] = []
    while len(found) < 20:
        nonce = proofs.search(found[-1] + 1 if found else 0, 1 << 20, challenge=CHALLENGE, relay_key=KEY, work=8)
        assert nonce is not None
        found.append(nonce)
    for challenge, key in ((bytes(32), KEY), (CHALLENGE, bytes(32))):
        assert sum(proofs.is_worked(nonce, challenge=challenge, relay_key=key, work=8) for nonce in found) < 5
