"""The relay's own key: what makes a relay the same relay after its store was wiped (HT-R-062)."""

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hanatalk.errors import StorageError
from hanatalk.ids import RelayKey
from hanatalk.relay.folder import write_new

SEED_LENGTH = 32


class SigningKey:
    """An Ed25519 key that signs receipts (HT-R-060)."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = RelayKey(self._key.public_key().public_bytes_raw())

    def sign(self, statement: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(statement)


def ephemeral_key() -> SigningKey:
    """A key that is gone with the process."""
    return SigningKey(os.urandom(SEED_LENGTH))


def key_in(path: Path) -> SigningKey:
    """The key whose seed lies in `path` (mode 0600), made at the first start.

    :raises StorageError: ``relay.signing-key``: the file is not a seed, or cannot be read or written.
    """
    try:
        if not path.exists():
            write_new(path, os.urandom(SEED_LENGTH))
        seed = path.read_bytes()
    except OSError as error:
        raise StorageError("relay.signing-key", why=type(error).__name__) from error
    if len(seed) != SEED_LENGTH:
        raise StorageError("relay.signing-key", expected=SEED_LENGTH, got=len(seed))
    return SigningKey(seed)
