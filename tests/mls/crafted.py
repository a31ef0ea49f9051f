"""KeyPackages built byte by byte (RFC 9420, 10), so that any field can be wrong and the signatures still hold."""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from hanatalk import mls

FOREVER = 2**63 - 1
LIFETIME = 0xF0A2


def vector(content: bytes) -> bytes:
    """A variable-size vector (RFC 9420, 2.1.2)."""
    length = len(content)
    if length < 1 << 6:
        return length.to_bytes(1, "big") + content
    if length < 1 << 14:
        return (length | 1 << 14).to_bytes(2, "big") + content
    return (length | 2 << 30).to_bytes(4, "big") + content


def words(*values: int) -> bytes:
    return vector(b"".join(value.to_bytes(2, "big") for value in values))


def extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2, "big") + vector(data)


def signed(key: Ed25519PrivateKey, label: str, content: bytes) -> bytes:
    """SignWithLabel (RFC 9420, 5.1.2)."""
    return vector(key.sign(vector(b"MLS 1.0 " + label.encode()) + vector(content)))


def public_x25519() -> bytes:
    return X25519PrivateKey.generate().public_key().public_bytes_raw()


@dataclass(kw_only=True)
class KeyPackage:
    """A valid KeyPackage of the profile on suite 0x0001 until a field is changed."""

    suite: int = mls.SUITE_X25519
    version: int = 1
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    init_key: bytes = field(default_factory=public_x25519)
    encryption_key: bytes = field(default_factory=public_x25519)
    credential: bytes = b"\x00\x01" + vector(b"crafted")
    suites: tuple[int, ...] = (mls.SUITE_X_WING, mls.SUITE_X25519)
    extension_types: tuple[int, ...] = (0x000A, 0xF0A0, 0xF0A1, 0xF0A2)
    credential_types: tuple[int, ...] = (1,)
    lifetime: tuple[int, int] = (0, FOREVER)
    leaf_extensions: bytes = b""
    extensions: bytes = extension(LIFETIME, (1_700_000_000).to_bytes(8, "big") + (1_800_000_000).to_bytes(8, "big"))

    def leaf(self) -> bytes:
        public_key = self.key.public_key().public_bytes_raw()
        content = (
            vector(self.encryption_key)
            + vector(public_key)
            + self.credential
            + words(1)
            + words(*self.suites)
            + words(*self.extension_types)
            + words()
            + words(*self.credential_types)
            + b"\x01"
            + b"".join(bound.to_bytes(8, "big") for bound in self.lifetime)
            + vector(self.leaf_extensions)
        )
        return content + signed(self.key, "LeafNodeTBS", content)

    def message(self) -> bytes:
        """MLSMessage(KeyPackage)."""
        content = (
            self.version.to_bytes(2, "big")
            + self.suite.to_bytes(2, "big")
            + vector(self.init_key)
            + self.leaf()
            + vector(self.extensions)
        )
        return b"\x00\x01\x00\x05" + content + signed(self.key, "KeyPackageTBS", content)
