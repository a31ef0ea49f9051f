"""Which relay URLs may be used, and that a pin is never dropped silently."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanatalk.errors import UsageError
from hanatalk.transport.urls import RelayUrl, parse_relay_url

PIN = bytes(range(32))
PIN_TEXT = base64.urlsafe_b64encode(PIN).rstrip(b"=").decode()


def refusal(url: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse_relay_url(url)
    return caught.value.code


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://127.0.0.1:7710", RelayUrl(scheme="ws", host="127.0.0.1", port=7710)),
        ("ws://localhost", RelayUrl(scheme="ws", host="localhost", port=7710)),
        ("ws://[::1]:80/relay", RelayUrl(scheme="ws", host="::1", port=80, path="/relay")),
        ("ws://127.8.9.10", RelayUrl(scheme="ws", host="127.8.9.10", port=7710)),
        ("wss://relay.example", RelayUrl(scheme="wss", host="relay.example", port=443)),
        ("wss://Relay.Example.:8443", RelayUrl(scheme="wss", host="relay.example", port=8443)),
        (f"wss://192.0.2.1#pin={PIN_TEXT}", RelayUrl(scheme="wss", host="192.0.2.1", port=443, pin=PIN)),
        ("ws://abc.onion", RelayUrl(scheme="ws", host="abc.onion", port=7710)),
    ],
)
def test_usable_urls(url: str, expected: RelayUrl) -> None:
    """HT-R-093, HT-R-097"""
    assert parse_relay_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "ws://relay.example",
        "ws://192.0.2.1",
        "ws://10.0.0.1",
        "ws://0.0.0.0",
        "ws://[::]",
        "ws://[::ffff:192.0.2.1]",
        "ws://localhost.example",
        "ws://notlocalhost",
        "ws://127.0.0.1.example",
        "ws://2130706433",
        "ws://0x7f.1",
        "ws://onion",
        "ws://abc.onion.example",
        "ws://abconion",
    ],
)
def test_plain_only_where_nobody_listens(url: str) -> None:
    """HT-R-093"""
    assert refusal(url) == "relay.plain-host"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "relay.example",
        "http://127.0.0.1",
        "https://relay.example",
        "file:///etc/passwd",
        "ws://",
        "ws:///path",
        "ws://user:secret@127.0.0.1",
        "ws://127.0.0.1:99999",
        "ws://127.0.0.1:port",
        "ws://127.0.0.1/?token=secret",
        "ws://127.0.0.1\r\nHost: other",
        "wss://relay .example",
        "wss://[relay",
    ],
)
def test_malformed_urls(url: str) -> None:
    assert refusal(url) == "relay.url"


@pytest.mark.parametrize(
    "fragment",
    [
        "pin=",
        "pin=short",
        f"pin={PIN_TEXT}=",
        f"pin={PIN_TEXT}&pin={PIN_TEXT}",
        f"other={PIN_TEXT}",
        PIN_TEXT,
        f"pin={PIN_TEXT}&x=1",
        f"pin={PIN_TEXT[:-1]}9",
        "pin=" + base64.b64encode(b"\xff" * 32).decode(),
    ],
)
def test_a_pin_that_cannot_be_read_is_never_ignored(fragment: str) -> None:
    """HT-R-097: nor is one that is written in a second way."""
    assert refusal(f"wss://relay.example#{fragment}") == "relay.pin"


def test_a_pin_on_a_plain_url_is_refused() -> None:
    """HT-R-097: nothing could check it."""
    assert refusal(f"ws://127.0.0.1#pin={PIN_TEXT}") == "relay.pin"


def test_the_pin_never_leaves() -> None:
    """HT-R-097"""
    assert parse_relay_url(f"wss://[::1]:8443/r#pin={PIN_TEXT}").without_fragment == "wss://[::1]:8443/r"


@given(st.text(max_size=40))
def test_any_text_is_a_url_or_a_usage_error(text: str) -> None:
    for url in (text, "ws://" + text, "wss://relay.example" + text):
        try:
            parsed = parse_relay_url(url)
        except UsageError:
            continue
        assert parsed.scheme == "wss" or parsed.loopback or parsed.onion


@pytest.mark.parametrize(
    "host",
    [
        "relay\u0085.example",
        "relay\u009b31m.example",
        "re\u202elay.example",
        "relay\u00a0.example",
        "evil.example\\.onion",
    ],
)
def test_t088_a_host_with_characters_that_nobody_sees_is_refused(host: str) -> None:
    """T-088, T-073: found by fuzzing; C1 controls and direction marks went through."""
    with pytest.raises(UsageError, match=r"relay\.url"):
        parse_relay_url(f"wss://{host}")
