"""The request that opens a WebSocket (HT-R-139): bytes in, the key or a refusal out. Pure.

picows answers what it cannot read with an error that quotes it. So it sees none of it: a request is read here, and
picows gets one of our own that carries nothing of the other side's but the key.
"""

import base64
import binascii
import re

from hanatalk.errors import WireError

HEAD_SIZE = 16 << 10  # bytes of a request with its headers (HT-R-135)
HEADERS = 100
_REQUEST = re.compile(rb"GET [!-~]{1,8192} HTTP/1\.1")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([ \t!-~\x80-\xff]*?)[ \t]*")
NO_PAGE = b"This is a relay. It has no pages.\n"
_REASONS = {"wire.no-page": b"404 Not Found", "wire.no-request": b"400 Bad Request"}


def asked_key(head: bytes) -> bytes:
    """The ``Sec-WebSocket-Key`` of a request's head, without its empty line: 24 characters, 16 bytes in Base64.

    :raises WireError: ``wire.no-request``: it is no HTTP/1.1 GET without a body; ``wire.no-page``: it is one, but not
        for a WebSocket of version 13
    """
    request, *lines = head.split(b"\r\n")
    if len(head) > HEAD_SIZE or len(lines) > HEADERS or _REQUEST.fullmatch(request) is None:
        raise WireError("wire.no-request")
    headers: dict[bytes, list[bytes]] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise WireError("wire.no-request")
        headers.setdefault(header[1].lower(), []).append(header[2])
    body = b"transfer-encoding" in headers or headers.get(b"content-length", [b"0"]) != [b"0"]
    if body or len(headers.get(b"host", ())) != 1:
        raise WireError("wire.no-request")
    (key,) = found if len(found := headers.get(b"sec-websocket-key", [])) == 1 else (b"",)
    wanted = (
        _tokens(headers, b"upgrade") == {b"websocket"}
        and b"upgrade" in _tokens(headers, b"connection")
        and headers.get(b"sec-websocket-version") == [b"13"]
        and _is_key(key)
    )
    if not wanted:
        raise WireError("wire.no-page")
    return key


def own_request(key: bytes) -> bytes:
    """The request for picows."""
    return (
        b"GET / HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
    )


def refusal(error: WireError) -> bytes:
    """The answer to what `asked_key` refused: the same few words to everybody (HT-R-105, T-025)."""
    return (
        b"HTTP/1.1 " + _REASONS[error.code] + b"\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: " + str(len(NO_PAGE)).encode() + b"\r\n"
        b"X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n" + NO_PAGE
    )


def _tokens(headers: dict[bytes, list[bytes]], name: bytes) -> set[bytes]:
    return {token.strip().lower() for value in headers.get(name, ()) for token in value.split(b",")}


def _is_key(key: bytes) -> bool:
    try:
        return len(key) == 24 and len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False
