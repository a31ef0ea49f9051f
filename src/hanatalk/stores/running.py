"""The two hashes a store computes itself (spec/01-relay.md): over the control entries, and of an erase token."""

import hashlib

NO_CONTROL = bytes(32)  # h_0: no control entry yet


def next_control_hash(previous: bytes, *, seq: int, commit: bool, entry: bytes) -> bytes:
    """h_n of a control entry, from h_{n-1}; 32 bytes. This is what the relay signs in a receipt."""
    digest = hashlib.sha256(b"hana/control/1")
    digest.update(previous)
    digest.update(seq.to_bytes(8, "big"))
    digest.update(b"\x01" if commit else b"\x00")
    digest.update(hashlib.sha256(entry).digest())
    return digest.digest()


def erase_hash(erase_token: bytes) -> bytes:
    """What an APPEND names as `erase_hash`; 32 bytes."""
    return hashlib.sha256(b"hana/erase/1" + erase_token).digest()
