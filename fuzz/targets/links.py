"""What a person pastes: invite links and relay URLs."""

import base64
import hashlib
from collections.abc import Iterator

import msgspec

from fuzz.mutation import tree
from fuzz.target import Attack, Target, hold
from hanatalk.client.engine.formats import links, pasted
from hanatalk.errors import ContentError, UsageError
from hanatalk.transport.urls import parse_relay_url

RAW, CHECKED = 0, 1  # first byte of an invite link's input: the text itself, or what its check is made for
PIN = base64.urlsafe_b64encode(b"p" * 32).rstrip(b"=").decode()


def _as_text(given: bytes) -> str:
    """As it reaches a command: what is no UTF-8 comes as surrogates, and is refused before (`cli.command`)."""
    return given.decode("utf-8", "replace")


def _relay_url() -> Attack:
    def attack(given: bytes) -> None:
        url = _as_text(given)
        found = parse_relay_url(url)
        again = parse_relay_url(found.without_fragment)
        hold(
            (again.scheme, again.host, again.port, again.path) == (found.scheme, found.host, found.port, found.path),
            "another relay",
        )
        hold(found.scheme == "wss" or found.loopback or found.onion, "plain text across a network (HT-R-093)")
        hold(found.pin is None or len(found.pin) == 32, "a pin of another length")
        hold(0 < found.port < 65_536 and found.host, "no place to connect to")
        hold(found.host.isprintable() and not set(found.host) & set(" /?#@\\"), "a host that is more than a host")

    return attack


def _invite_link() -> Attack:
    def attack(given: bytes) -> None:
        if given[:1] == bytes([CHECKED]):
            raw = given[1:]
            check = hashlib.sha256(raw).digest()[: pasted.CHECK]
            text = links.SCHEME + base64.urlsafe_b64encode(raw + check).decode().rstrip("=")
        else:
            text = _as_text(given[1:])
        link = links.parse(text)
        hold(links.compose(link) == text.strip(), "one link, two spellings")
        hold(len(link.capability.channel) == 32, "no channel")
        hold(repr(link) == "InviteLink(…)", "a secret in a repr")

    return attack


def _after_the_first(given: bytes, longest: int, seed: int) -> bytes:
    if seed % 16 == 0 or not given:
        return bytes([seed // 16 % 2]) + given[1:]
    return given[:1] + tree(given[1:], longest - 1, seed)


def _invites() -> Iterator[bytes]:
    for url in ("ws://127.0.0.1:7710", f"wss://relay.example:443/hana#pin={PIN}"):
        link = links.InviteLink(1, url, b"k" * 32, b"s" * 32, b"w" * 32, b"a" * 32, b"h" * 32, 1_800_000_000)
        yield bytes([CHECKED]) + msgspec.msgpack.encode(link)
        yield bytes([RAW]) + links.compose(link).encode()
        longer = (
            msgspec.msgpack.encode(link)[:-5] + b"\xcf" + link.expires_at.to_bytes(8)
        )  # the same value, spelt longer
        assert msgspec.msgpack.decode(longer, type=links.InviteLink) == link
        yield bytes([CHECKED]) + longer


def _urls() -> Iterator[bytes]:
    for host in ("127.0.0.1", "[::1]:7710", "localhost:80/relay", "abcdefghijklmnop.onion:7710", "127.0.0.1."):
        yield f"ws://{host}".encode()
    for rest in (
        "relay.example",
        "relay.example:8443/hana?x=1",
        f"relay.example#pin={PIN}",
        "[2001:db8::1%25eth0]:443",
        "민지.example",
    ):
        yield f"wss://{rest}".encode()


TARGETS = [
    Target(
        name="relay-url",
        parsers=("hanatalk.transport.urls.parse_relay_url",),
        allowed=(UsageError,),
        ready=_relay_url,
        seeds=_urls,
        longest=600,
        short=4000,
    ),
    Target(
        name="invite-link",
        parsers=("hanatalk.client.engine.formats.links.parse", "hanatalk.client.engine.formats.pasted.parse"),
        allowed=(ContentError,),
        ready=_invite_link,
        seeds=_invites,
        mutate=_after_the_first,
        longest=2100,
        short=2500,
    ),
]
