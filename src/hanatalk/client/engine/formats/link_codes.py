"""The code that a new device shows to be added to an account: `hana-link:` and base64url (HT-M-123). Pure.

Another scheme than an invite's, so that neither can be passed off as the other (T-060).
"""

import hashlib
from typing import Annotated, Literal

import msgspec

from hanatalk.client.engine.formats import keys, links, pasted
from hanatalk.errors import ContentError
from hanatalk.ids import DeviceKey, RelayKey

SCHEME = "hana-link:"
_COMMITMENT = b"hana linking commitment/1"

Thirty2 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class LinkCode(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What the approving device needs. Secret, but what it gives away is no more than the linking's own exchange."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    relay_url: Annotated[str, msgspec.Meta(max_length=512)]  # with #pin=… under TLS
    relay_key: Thirty2
    secret: Thirty2
    device: Thirty2
    commitment: Thirty2  # to the nonce that the new device reveals when it knows the other's
    expires_at: Annotated[int, msgspec.Meta(ge=0, lt=pasted.EXPIRES_LIMIT)]  # seconds since 1970
    language: Literal["en", "ko"]  # of the words on both screens

    @property
    def capability(self) -> keys.Capability:
        return keys.linking(self.secret, RelayKey(self.relay_key))

    @property
    def device_key(self) -> DeviceKey:
        return DeviceKey(self.device)

    @property
    def digest(self) -> bytes:
        """What both sides mean when they speak of this code."""
        return hashlib.sha256(msgspec.msgpack.encode(self)).digest()

    def __repr__(self) -> str:
        return "LinkCode(…)"


def commitment(nonce: bytes) -> bytes:
    """To a nonce of 32 random bytes."""
    return hashlib.sha256(_COMMITMENT + nonce).digest()


def compose(code: LinkCode) -> str:
    """The code as text."""
    return pasted.compose(SCHEME, code)


def parse(text: str) -> LinkCode:
    """Read a code as a person pasted it.

    :raises ContentError: ``link.malformed`` (truncated, misspelt, or no such code), ``link.is-invite`` (T-060)
    """
    if text.strip().startswith(links.SCHEME):
        raise ContentError("link.is-invite")
    return pasted.parse(text, SCHEME, LinkCode, malformed="link.malformed")
