"""A member who writes PrivateMessages by hand (RFC 9420, 6.3): any content under the right keys and a right signature.

What an outsider sends fails at the first authentication tag. An insider's bytes get past it: to the parser of the
content, the proposals, the path. The keys come from the insider's own stored rows.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fuzz.mutation import vector
from hanatalk import mls

APPLICATION, PROPOSAL, COMMIT = 1, 2, 3  # ContentType
_PRIVATE_MESSAGE = b"\x00\x01\x00\x02"  # mls10, mls_private_message
_NONCE = 12


@dataclass(frozen=True)
class Suite:
    """What of a suite this needs: hash, AEAD key length."""

    hash: str
    key_length: int

    @property
    def hash_length(self) -> int:
        return hashlib.new(self.hash).digest_size

    def expand(self, secret: bytes, label: str, context: bytes, length: int) -> bytes:
        """ExpandWithLabel (RFC 9420, 8)."""
        info = length.to_bytes(2) + vector(b"MLS 1.0 " + label.encode()) + vector(context)
        made = block = b""
        for counter in range(1, -(-length // self.hash_length) + 1):
            block = hmac.digest(secret, block + info + bytes([counter]), self.hash)
            made += block
        return made[:length]


SUITES = {mls.SUITE_X_WING: Suite("sha384", 32), mls.SUITE_X25519: Suite("sha256", 16)}


def row(rows: Mapping[bytes, bytes], kind: bytes) -> Any:
    """The value of the first row of a kind (rust/hanatalk-mls/src/codec.rs: a version byte, then MessagePack)."""
    return msgspec.msgpack.decode(next(value for key, value in sorted(rows.items()) if key[:2] == kind)[1:])


@dataclass(frozen=True, kw_only=True)
class Insider:
    """The second of two members, in an epoch in which nobody has sent anything yet."""

    suite: Suite
    group_id: bytes
    epoch: int
    context: bytes  # the GroupContext, serialised
    sender_data_secret: bytes
    encryption_secret: bytes
    signer: Ed25519PrivateKey

    @classmethod
    def of(cls, rows: Mapping[bytes, bytes], *, suite: int, group_id: bytes, epoch: int) -> "Insider":
        secrets = row(rows, b"ms")["message_secrets"]
        return cls(
            suite=SUITES[suite],
            group_id=group_id,
            epoch=epoch,
            context=secrets["serialized_context"],
            sender_data_secret=secrets["sender_data_secret"]["secret"]["value"]["vec"],
            encryption_secret=secrets["secret_tree"]["parent_nodes"][0]["secret"]["value"]["vec"],
            signer=Ed25519PrivateKey.from_private_bytes(row(rows, b"sk")["private"][:32]),
        )

    def message(
        self,
        content_type: int,
        content: bytes,
        *,
        generation: int = 0,
        aad: bytes = b"",
        tail: bytes = b"",
        padding: int = 0,
        leaf: int = 1,
        honest: bool = True,
    ) -> bytes:
        """MLSMessage(PrivateMessage).

        :param content: serialised as the content type says, or not at all.
        :param tail: what follows the signature: a commit's confirmation tag.
        :param generation: at most some thousand: the ratchet is turned for real.
        :param honest: False spoils the signature.
        """
        head = vector(self.group_id) + self.epoch.to_bytes(8) + bytes([content_type])
        framed = vector(self.group_id) + self.epoch.to_bytes(8) + b"\x01" + leaf.to_bytes(4) + vector(aad)
        framed += bytes([content_type]) + content
        signed = vector(b"MLS 1.0 FramedContentTBS") + vector(_PRIVATE_MESSAGE + framed + self.context)
        signature = self.signer.sign(signed if honest else signed + b"x")
        plain = content + vector(signature) + tail + bytes(padding)
        key, nonce = self._ratchet(content_type, generation, leaf)
        guard = b"gard"
        nonce = bytes(a ^ b for a, b in zip(nonce, guard.ljust(_NONCE, b"\0"), strict=True))
        ciphertext = AESGCM(key).encrypt(nonce, plain, head + vector(aad))
        sample = ciphertext[: self.suite.hash_length]
        sender_key = self.suite.expand(self.sender_data_secret, "key", sample, self.suite.key_length)
        sender_nonce = self.suite.expand(self.sender_data_secret, "nonce", sample, _NONCE)
        sender_data = leaf.to_bytes(4) + generation.to_bytes(4) + guard
        sealed = AESGCM(sender_key).encrypt(sender_nonce, sender_data, head)
        return _PRIVATE_MESSAGE + head + vector(aad) + vector(sealed) + vector(ciphertext)

    def opened(self, message: bytes, *, tail_length: int) -> tuple[bytes, bytes]:
        """Content and tail of an own message of generation 0 without padding."""
        content_type, aad, sealed, ciphertext = self._parts(message)
        head = vector(self.group_id) + self.epoch.to_bytes(8) + bytes([content_type])
        sample = ciphertext[: self.suite.hash_length]
        sender_key = self.suite.expand(self.sender_data_secret, "key", sample, self.suite.key_length)
        sender_nonce = self.suite.expand(self.sender_data_secret, "nonce", sample, _NONCE)
        guard = AESGCM(sender_key).decrypt(sender_nonce, sealed, head)[8:]
        key, nonce = self._ratchet(content_type, 0, 1)
        nonce = bytes(a ^ b for a, b in zip(nonce, guard.ljust(_NONCE, b"\0"), strict=True))
        plain = AESGCM(key).decrypt(nonce, ciphertext, head + vector(aad))
        end = len(plain) - tail_length
        return plain[: end - len(vector(bytes(64)))], plain[end:]

    def _ratchet(self, content_type: int, generation: int, leaf: int) -> tuple[bytes, bytes]:
        suite, length = self.suite, self.suite.hash_length
        node = suite.expand(self.encryption_secret, "tree", b"right" if leaf else b"left", length)
        kind = "application" if content_type == APPLICATION else "handshake"
        secret = suite.expand(node, kind, b"", length)
        for turn in range(min(generation, 5000)):
            secret = suite.expand(secret, "secret", turn.to_bytes(4), length)
        at = generation.to_bytes(4)
        return suite.expand(secret, "key", at, suite.key_length), suite.expand(secret, "nonce", at, _NONCE)

    def _parts(self, message: bytes) -> tuple[int, bytes, bytes, bytes]:
        place = len(_PRIVATE_MESSAGE) + len(vector(self.group_id)) + 8
        content_type, rest = message[place], message[place + 1 :]
        found = []
        for _ in range(3):
            width = 1 << (rest[0] >> 6)
            length = int.from_bytes(rest[:width]) & ((1 << (8 * width - 2)) - 1)
            found.append(rest[width : width + length])
            rest = rest[width + length :]
        return content_type, found[0], found[1], found[2]
