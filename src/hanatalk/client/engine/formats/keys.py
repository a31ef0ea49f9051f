"""Keys and channels derived from secrets (spec/02-mls-profile.md, Eras and Derivations). Pure."""

import hashlib
import hmac

import msgspec

from hanatalk.ids import AccountId, ChannelId, ReadToken, RelayKey, WriteToken
from hanatalk.wire.channels import channel_id, channel_id_of, read_verifier, write_verifier

ERA_LABEL = "hana era"  # MLS-Exporter label, empty context, 32 bytes (HT-M-020)
RESYNC_LABEL = "hana resync"  # likewise, of the first epoch only (HT-M-054)


class Capability(msgspec.Struct, frozen=True):
    """A channel one may both read and write, and the key its entries are sealed with. Secret."""

    read_token: ReadToken
    write_token: WriteToken
    seal_key: bytes  # 32 bytes, AES-256-GCM-SIV

    @property
    def channel(self) -> ChannelId:
        return channel_id(self.read_token, self.write_token)

    def __repr__(self) -> str:
        return "Capability(…)"


class WriteCapability(msgspec.Struct, frozen=True):
    """A channel one may only append to: the read token stays with its owner. Secret."""

    read_verifier: bytes
    write_token: WriteToken
    seal_key: bytes

    @property
    def channel(self) -> ChannelId:
        return channel_id_of(self.read_verifier, write_verifier(self.write_token))

    def __repr__(self) -> str:
        return "WriteCapability(…)"


class TakeCapability(msgspec.Struct, frozen=True):
    """A channel one may only take from: what an invite link gives. Secret."""

    read_token: ReadToken
    write_verifier: bytes
    seal_key: bytes

    @property
    def channel(self) -> ChannelId:
        return channel_id_of(read_verifier(self.read_token), self.write_verifier)

    def __repr__(self) -> str:
        return "TakeCapability(…)"


def expand(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA-256 (RFC 5869) of a uniformly random secret."""
    key = hmac.digest(salt, secret, hashlib.sha256)
    out = b""
    block = b""
    counter = 1
    while len(out) < length:
        block = hmac.digest(key, block + info + bytes([counter]), hashlib.sha256)
        out += block
        counter += 1
    return out[:length]


def _capability(secret: bytes, relay: RelayKey, info: bytes) -> Capability:
    keys = expand(secret, salt=relay, info=info, length=96)
    return Capability(ReadToken(keys[:32]), WriteToken(keys[32:64]), keys[64:])


def era(secret: bytes, relay: RelayKey) -> Capability:
    """The channel of an era at one relay; `secret` is the exporter's output (HT-M-020)."""
    return _capability(secret, relay, b"hana era keys/1")


def welcome(secret: bytes, relay: RelayKey) -> Capability:
    """The one-time channel in which a KeyPackage's Welcome is left (HT-M-012)."""
    return _capability(secret, relay, b"hana welcome keys/1")


def annex(secret: bytes, relay: RelayKey) -> Capability:
    """The channel in which the body of a large Welcome lies (HT-M-089)."""
    return _capability(secret, relay, b"hana annex keys/1")


def resync(secret: bytes, relay: RelayKey) -> Capability:
    """The channel in which a conversation's devices find each other again, at one relay (HT-M-054)."""
    return _capability(secret, relay, b"hana resync keys/1")


def linking(secret: bytes, relay: RelayKey) -> Capability:
    """The channel in which a new device and the one that approves it speak (HT-M-123)."""
    return _capability(secret, relay, b"hana linking keys/1")


def start(device_seed: bytes, relay: RelayKey) -> Capability:
    """The channel in which a device counts the starts of its profile, at one relay (HT-M-070)."""
    return _capability(device_seed, relay, b"hana start keys/1")


def invite(secret: bytes, relay: RelayKey) -> tuple[ReadToken, bytes]:
    """Read token and seal key of an invite's channel. Its write token is independent: the link carries only its
    verifier, so that whoever holds the link can take but not append (HT-M-030)."""
    keys = expand(secret, salt=relay, info=b"hana invite keys/1", length=64)
    return ReadToken(keys[:32]), keys[32:]


def safety_number(one: AccountId, other: AccountId) -> str:
    """Sixty digits in twelve groups of five, the same on both sides (HT-M-040)."""
    first, second = sorted((one, other))
    digest = hashlib.sha512(b"hana safety number/1" + first + second).digest()
    groups = (int.from_bytes(digest[i * 5 : i * 5 + 5]) % 100_000 for i in range(12))
    return " ".join(f"{group:05}" for group in groups)
