"""Text that one person's screen shows and another's takes: a scheme and base64url of MessagePack with a check. Pure."""

import base64
import binascii
import hashlib
from typing import TypeVar

import msgspec

from hanatalk.client.engine.formats.content import MALFORMED
from hanatalk.errors import ContentError

LIMIT = 2048  # characters
EXPIRES_LIMIT = 2**40  # seconds since 1970: what any of them, or a KeyPackage, may say
CHECK = 4  # bytes of SHA-256 at the end

Shown = TypeVar("Shown", bound=msgspec.Struct)


def compose(scheme: str, said: msgspec.Struct) -> str:
    """As text. `scheme`: with its colon."""
    raw = msgspec.msgpack.encode(said)
    return scheme + base64.urlsafe_b64encode(raw + _check(raw)).decode().rstrip("=")


def _check(raw: bytes) -> bytes:
    """So that a mistyped character is told from a link that was used."""
    return hashlib.sha256(raw).digest()[:CHECK]


def parse(text: str, scheme: str, kind: type[Shown], *, malformed: str) -> Shown:
    """Read it as a person pasted it: surrounding white space is allowed, nothing else.

    :param malformed: the error's code
    :raises ContentError: it is truncated, misspelt, spelt another way, or nothing of the kind
    """
    text = text.strip()
    if not text.startswith(scheme) or len(text) > LIMIT:
        raise ContentError(malformed)
    encoded = text.removeprefix(scheme)
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        said = msgspec.msgpack.decode(raw[:-CHECK], type=kind)
    except (binascii.Error, ValueError, *MALFORMED):
        raise ContentError(malformed) from None
    if compose(scheme, said) != text:  # one link, one spelling
        raise ContentError(malformed)
    return said
