"""The invite link a person shares: `hana:` and base64url of a MessagePack array (HT-M-030). Pure."""

from typing import Annotated

import msgspec

from hanatalk.client.engine.formats import keys, pasted
from hanatalk.ids import ReadToken, RelayKey

SCHEME = "hana:"

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
    expires_at: Annotated[int, msgspec.Meta(ge=0, lt=pasted.EXPIRES_LIMIT)]  # seconds since 1970

    @property
    def capability(self) -> keys.TakeCapability:
        read_token, seal_key = keys.invite(self.secret, RelayKey(self.relay_key))
        return keys.TakeCapability(ReadToken(read_token), self.write_verifier, seal_key)

    def __repr__(self) -> str:
        return "InviteLink(…)"


def compose(link: InviteLink) -> str:
    """The link as text."""
    return pasted.compose(SCHEME, link)


def parse(text: str) -> InviteLink:
    """Read a link as a person pasted it.

    :raises ContentError: ``invite.malformed`` (truncated, misspelt, or no invite at all)
    """
    return pasted.parse(text, SCHEME, InviteLink, malformed="invite.malformed")
