"""A relay's URL, and which of them may be used at all (HT-R-093, HT-R-097)."""

import base64
import binascii
import ipaddress
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import msgspec

from hanatalk.errors import UsageError

PLAIN_PORT = 7710
TLS_PORT = 443
PIN_LENGTH = 32
_IN_HOSTS = frozenset("-._:%")  # beside letters and digits; scripts with marks are written as xn--…


class RelayUrl(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed URL. `pin` is the SHA-256 of the relay's SubjectPublicKeyInfo, 32 bytes; None: the system's CAs."""

    scheme: Literal["ws", "wss"]
    host: str
    port: int
    path: str = "/"
    pin: bytes | None = None

    @property
    def onion(self) -> bool:
        """An onion service: only a proxy can reach it, and asking a name server would tell who is asking."""
        return self.host.endswith(".onion")

    @property
    def loopback(self) -> bool:
        """This machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def without_fragment(self) -> str:
        """What goes into the WebSocket handshake; the pin stays here."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def parse_relay_url(url: str) -> RelayUrl:
    """Parse and judge ``ws://host[:port][/path]`` or ``wss://host[:port][/path][#pin=…]``.

    The pin is 32 bytes in URL-safe base64 without padding. Plain ``ws://`` is for loopback and onion services.

    :raises UsageError: ``relay.url`` (malformed), ``relay.plain-host`` (ws:// elsewhere, HT-R-093), ``relay.pin``
        (malformed, or on a plain URL where nothing could check it)
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UsageError("relay.url") from None
    if parts.scheme not in ("ws", "wss") or not host or parts.username is not None or parts.query:
        raise UsageError("relay.url")
    if " " in url or not url.isprintable() or not all(one.isalnum() or one in _IN_HOSTS for one in host):
        raise UsageError("relay.url")
    scheme: Literal["ws", "wss"] = "wss" if parts.scheme == "wss" else "ws"
    parsed = RelayUrl(
        scheme=scheme,
        host=host.rstrip("."),
        port=port or (PLAIN_PORT if scheme == "ws" else TLS_PORT),
        path=parts.path or "/",
        pin=_pin(parts.fragment),
    )
    if scheme == "ws" and not (parsed.loopback or parsed.onion):
        raise UsageError("relay.plain-host")
    if scheme == "ws" and parsed.pin is not None:
        raise UsageError("relay.pin")
    return parsed


def pin_text(pin: bytes) -> str:
    """A pin as it stands in a URL: URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(pin).rstrip(b"=").decode()


def _pin(fragment: str) -> bytes | None:
    if not fragment:
        return None
    fields = parse_qs(fragment, keep_blank_values=True)
    texts = fields.get("pin", [])
    if set(fields) != {"pin"} or len(texts) != 1:
        raise UsageError("relay.pin")
    try:
        pin = base64.b64decode(texts[0] + "=" * (-len(texts[0]) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise UsageError("relay.pin") from None
    if len(pin) != PIN_LENGTH or pin_text(pin) != texts[0]:
        raise UsageError("relay.pin")
    return pin
