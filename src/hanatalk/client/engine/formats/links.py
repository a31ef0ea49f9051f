"""The invite link a person shares: `hana:` and base64url of a MessagePack array (HT-M-030). Pure."""

import base64
import binascii
import hashlib
from typing import Annotated

import msgspec

from hanatalk.client.engine.formats import keys
from hanatalk.client.engine.formats.content import MALFORMED
from hanatalk.errors import ContentError
from hanatalk.ids import ReadToken, RelayKey

SCHEME = "hana:"
LIMIT = 2048  # characters
EXPIRES_LIMIT = 2**40  # seconds since 1970: what any invite or KeyPackage may say
CHECK = 4  # bytes of SHA-256 at the end

Thirty2 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class InviteLink(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Everything an invitee needs. Secret: whoever holds the link first is the invitee."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    relay_url: Annotated[str, msgspec.Meta(max_length=512)]  # with #pin=… under TLS
    relay_key: Thirty2
    secret: Thirty2
    write_verifier: Thirty2
    account: Thirty2
    key_package_hash: Thirty2  # SHA-256
    expires_at: Annotated[int, msgspec.Meta(ge=0, lt=EXPIRES_LIMIT)]  # seconds since 1970

    @property
    def capability(self) -> keys.TakeCapability:
        read_token, seal_key = keys.invite(self.secret, RelayKey(self.relay_key))
        return keys.TakeCapability(ReadToken(read_token), self.write_verifier, seal_key)

    def __repr__(self) -> str:
        return "InviteLink(…)"


def compose(link: InviteLink) -> str:
    """The link as text."""
    raw = msgspec.msgpack.encode(link)
    return SCHEME + base64.urlsafe_b64encode(raw + _check(raw)).decode().rstrip("=")


def _check(raw: bytes) -> bytes:
    """So that a mistyped character is told from a link that was used."""
    return hashlib.sha256(raw).digest()[:CHECK]


def parse(text: str) -> InviteLink:
    """Read a link as a person pasted it: surrounding white space is allowed, nothing else.

    :raises ContentError: ``invite.malformed`` (truncated, misspelt, or no invite at all)
    """
    text = text.strip()
    if not text.startswith(SCHEME) or len(text) > LIMIT:
        raise ContentError("invite.malformed")
    encoded = text.removeprefix(SCHEME)
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        link = msgspec.msgpack.decode(raw[:-CHECK], type=InviteLink)
    except (binascii.Error, ValueError, *MALFORMED):
        raise ContentError("invite.malformed") from None
    if compose(link) != text:  # one link, one spelling
        raise ContentError("invite.malformed")
    return link
