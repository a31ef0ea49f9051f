"""Encrypting for each device by itself: a double ratchet, as SimpleX and OMEMO have it (classical part).

For comparison only: no header keys, no skipped messages. New ratchet keys are made when somebody sends, not when
somebody receives, as the double ratchet's specification allows; so a device that only reads pays one key agreement.
"""

import hashlib
import hmac
import os

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HEADER = 40  # bytes: ratchet key, number in the chain
_NONCE = bytes(12)  # every key seals once


class Session:
    """One side of two devices' conversation."""

    def __init__(self, root: bytes, own: X25519PrivateKey | None, other: bytes | None) -> None:
        self._root = root
        self._own = own
        self._other = other
        self._sending: bytes | None = None
        self._receiving: bytes | None = None
        self._sent = self._received = 0

    @staticmethod
    def pair() -> "tuple[Session, Session]":
        """Two sides that have agreed on a root key; the first one sends first."""
        root, key = os.urandom(32), X25519PrivateKey.generate()
        return Session(root, None, key.public_key().public_bytes_raw()), Session(root, key, None)

    def encrypt(self, text: bytes) -> bytes:
        """A header in the clear (authenticated), then the text."""
        if self._sending is None:
            self._own = X25519PrivateKey.generate()
            self._sending, self._sent = self._turn(), 0
        assert self._own is not None
        header = self._own.public_key().public_bytes_raw() + self._sent.to_bytes(8)
        self._sending, key = _next(self._sending)
        self._sent += 1
        return header + AESGCM(key).encrypt(_NONCE, text, header)

    def decrypt(self, message: bytes) -> bytes:
        """:raises InvalidTag:"""
        header, body = message[:HEADER], message[HEADER:]
        if header[:32] != self._other or self._receiving is None:
            self._other = header[:32]
            self._receiving, self._received = self._turn(), 0
            self._sending = None
        self._receiving, key = _next(self._receiving)
        self._received += 1
        return AESGCM(key).decrypt(_NONCE, body, header)

    def _turn(self) -> bytes:
        assert self._own is not None
        assert self._other is not None
        shared = self._own.exchange(X25519PublicKey.from_public_bytes(self._other))
        extracted = hmac.digest(self._root, shared, hashlib.sha256)
        self._root = hmac.digest(extracted, b"root\1", hashlib.sha256)
        return hmac.digest(extracted, b"chain\2", hashlib.sha256)


def _next(chain: bytes) -> tuple[bytes, bytes]:
    return hmac.digest(chain, b"\2", hashlib.sha256), hmac.digest(chain, b"\1", hashlib.sha256)
