"""The request that opens a WebSocket (HT-R-139, HT-R-105)."""

import pytest

from hanatalk.errors import WireError
from hanatalk.transport.asking import HEADERS, asked_key, own_request, refusal

KEY = b"AAAAAAAAAAAAAAAAAAAAAA=="
GOOD = [
    b"GET / HTTP/1.1",
    b"Host: relay.example:7710",
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: " + KEY,
]


def head(*lines: bytes, without: bytes | None = None, first: bytes = GOOD[0]) -> bytes:
    kept = [line for line in GOOD[1:] if without is None or not line.lower().startswith(without)]
    return b"\r\n".join([first, *kept, *lines])


@pytest.mark.parametrize(
    "given",
    [
        head(),
        head(first=b"GET /any/path?of=no HTTP/1.1"),
        head(b"Connection: keep-alive, Upgrade", without=b"connection"),  # as Firefox says it
        head(b"upgrade:\tWebSocket ", without=b"upgrade"),
        head(b"Content-Length: 0"),
        head(b"User-Agent: caf\xc3\xa9"),
        head(*[b"X: y"] * (HEADERS - 5)),
        b"\r\n".join([GOOD[0], *reversed(GOOD[1:])]),
    ],
)
def test_a_websocket_may_be_asked_for_in_many_ways(given: bytes) -> None:
    assert asked_key(given) == KEY


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (b"", "wire.no-request"),
        (b"SECRET", "wire.no-request"),
        (head(first=b"POST / HTTP/1.1"), "wire.no-request"),
        (head(first=b"GET / HTTP/1.0"), "wire.no-request"),
        (head(first=b"GET  HTTP/1.1"), "wire.no-request"),
        (head(first=b"GET /\xff HTTP/1.1"), "wire.no-request"),
        (head(without=b"host"), "wire.no-request"),
        (head(b"Host: another"), "wire.no-request"),
        (head(b"Transfer-Encoding: chunked"), "wire.no-request"),
        (head(b"Content-Length: 1"), "wire.no-request"),
        (head(b"Content-Length: 0", b"Content-Length: 0"), "wire.no-request"),
        (head(b"no colon"), "wire.no-request"),
        (head(b" folded: line"), "wire.no-request"),
        (head(b"X: a\nb"), "wire.no-request"),
        (head(b"X: a\x00b"), "wire.no-request"),
        (head(*[b"X: y"] * HEADERS), "wire.no-request"),
        (head(b"X: " + b"y" * 20_000), "wire.no-request"),
        (head(without=b"upgrade"), "wire.no-page"),
        (head(b"Upgrade: h2c", without=b"upgrade"), "wire.no-page"),
        (head(without=b"connection"), "wire.no-page"),
        (head(b"Sec-WebSocket-Version: 8", without=b"sec-websocket-version"), "wire.no-page"),
        (head(without=b"sec-websocket-key"), "wire.no-page"),
        (head(b"Sec-WebSocket-Key: " + KEY), "wire.no-page"),
        (head(b"Sec-WebSocket-Key: short==", without=b"sec-websocket-key"), "wire.no-page"),
        (head(b"Sec-WebSocket-Key: " + b"!" * 24, without=b"sec-websocket-key"), "wire.no-page"),
    ],
)
def test_anything_else_is_refused_in_words_of_our_own(given: bytes, code: str) -> None:
    with pytest.raises(WireError, match=code):
        asked_key(given)
    answer = refusal(WireError(code))
    assert answer.startswith(b"HTTP/1.1 404 " if code == "wire.no-page" else b"HTTP/1.1 400 ")
    assert answer.endswith(b"\r\n\r\nThis is a relay. It has no pages.\n")


def test_what_picows_gets_holds_nothing_of_theirs_but_the_key() -> None:
    request = own_request(asked_key(head(b"X-Secret: SECRET", first=b"GET /SECRET HTTP/1.1")))
    assert b"SECRET" not in request
    assert asked_key(request.removesuffix(b"\r\n\r\n")) == KEY
