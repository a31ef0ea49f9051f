"""Somebody between a client and its relay: a wrong key, a CA's certificate, old TLS, redirects (T-046)."""

import asyncio
import base64
import datetime as dt
import hashlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.observing import observed
from tests.relay.certified import Issued, issued
from tests.relay.running import running_relay
from tests.transport.intercepting import intercepting
from tests.transport.test_link import Events, failure

from hanatalk.errors import NetworkError, VerificationError
from hanatalk.ids import ReadToken, WriteToken
from hanatalk.transport.link import connect
from hanatalk.transport.urls import pin_text
from hanatalk.wire import channels, events
from hanatalk.wire.client import ClientConnection

KEY_SHARE, PRE_SHARED_KEY, EARLY_DATA = 51, 41, 42  # TLS extensions
OK = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "


@pytest.fixture(scope="module")
def authority() -> Issued:
    """A CA that the client's machine trusts, e.g. because somebody was compelled."""
    return issued(authority=True)


@pytest.fixture(autouse=True)
def trusting(authority: Issued, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "authority.pem").write_bytes(authority.chain_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return


@pytest.mark.parametrize("trusted", [False, True], ids=["another self-signed key", "a trusted authority's certificate"])
@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 403 Forbidden\r\n\r\n", b"\x00" * 64], ids=["silent", "403", "noise"]
)
async def test_another_key_gets_no_byte(authority: Issued, trusted: bool, answer: bytes) -> None:
    """T-046, HT-R-097: not even the WebSocket's request; and no answer hides what it is."""
    made = issued("127.0.0.1", issuer=authority if trusted else None)
    with intercepting(made, answer=answer) as interceptor:
        connection = ClientConnection()
        connection.open(
            channels.channel_id(ReadToken(bytes(32)), WriteToken(bytes(32))),
            read=ReadToken(bytes(32)),
            write=WriteToken(bytes(32)),
        )
        pin = pin_text(issued().pin)
        with pytest.raises(VerificationError, match=r"^relay\.pin-mismatch$") as caught:
            await connect(f"wss://127.0.0.1:{interceptor.port}/secret/path#pin={pin}", connection, Events(), seconds=5)
        assert caught.value.exit_code == 4
    assert (interceptor.tried, interceptor.heard) == (1, b"")


async def test_the_interceptor_hears_those_who_trust_the_authority(authority: Issued) -> None:
    """T-046's positive control: without a pin a trusted authority's certificate passes, and the request is heard."""
    with intercepting(issued("127.0.0.1", issuer=authority), answer=b"HTTP/1.1 403 Forbidden\r\n\r\n") as interceptor:
        await failure(f"wss://127.0.0.1:{interceptor.port}/secret/path")
    assert b"GET /secret/path" in interceptor.heard


@pytest.mark.parametrize(
    ("host", "kind", "code"),
    [
        ("127.0.0.1", "self-signed", "relay.untrusted"),
        ("127.0.0.1", "stranger", "relay.untrusted"),
        ("127.0.0.1", "other-name", "relay.untrusted"),
        ("127.0.0.1", "expired", "relay.untrusted"),
        ("127.0.0.1", "not-yet", "relay.untrusted"),
        ("localhost", "address-only", "relay.untrusted"),
    ],
)
async def test_without_a_pin_the_system_decides(authority: Issued, host: str, kind: str, code: str) -> None:
    """T-046, HT-R-097: self-signed, of an unknown authority, for another name, out of date: nothing is said to it."""
    day = dt.timedelta(days=1)
    made = {
        "self-signed": lambda: issued("127.0.0.1"),
        "stranger": lambda: issued("127.0.0.1", issuer=issued(authority=True)),
        "other-name": lambda: issued("relay.example", "127.0.0.2", issuer=authority),
        "expired": lambda: issued("127.0.0.1", issuer=authority, until=-day / 2),
        "not-yet": lambda: issued("127.0.0.1", issuer=authority, since=day, until=3 * day),
        "address-only": lambda: issued("127.0.0.1", issuer=authority),
    }[kind]()
    with intercepting(made) as interceptor:
        error = await failure(f"wss://{host}:{interceptor.port}")
        assert (error.code, error.exit_code) == (code, 4)
    assert interceptor.heard == b""


@pytest.mark.parametrize("pinned", [False, True])
async def test_no_downgrade_to_older_tls(authority: Issued, pinned: bool) -> None:
    """HT-R-100: the right name and the right key do not make TLS 1.2 good."""
    made = issued("127.0.0.1", issuer=authority)
    with intercepting(made, version=ssl.TLSVersion.TLSv1_2) as interceptor:
        pin = f"#pin={pin_text(made.pin)}" if pinned else ""
        error = await failure(f"wss://127.0.0.1:{interceptor.port}{pin}")
        assert isinstance(error, NetworkError)
        assert error.code == "network.tls"
    assert interceptor.heard == b""


def client_hello(raw: bytes) -> set[int]:
    """The extensions of the ClientHello at the start of a TLS stream."""
    body = raw[5 + 4 :]  # headers of record and message
    at = 2 + 32  # version, random
    at += 1 + body[at]  # session id
    at += 2 + int.from_bytes(body[at : at + 2], "big")  # cipher suites
    at += 1 + body[at]  # compression methods
    end = at + 2 + int.from_bytes(body[at : at + 2], "big")
    at += 2
    found = set()
    while at < end:
        found.add(int.from_bytes(body[at : at + 2], "big"))
        at += 4 + int.from_bytes(body[at + 2 : at + 4], "big")
    return found


async def test_no_connection_says_that_it_continues_another() -> None:
    """HT-R-100, T-045: no session is offered, whatever the one before was told."""
    async with running_relay(tls="self") as relay, observed(relay) as observer:
        for _ in range(2):
            seen = Events()
            link = await connect(observer.url, ClientConnection(), seen)
            await seen.until(events.HelloAnswered)
            link.close()
            await link.gone(5)
        hellos = [client_hello(bytes(wire.up)) for wire in observer.wires]
    assert len(hellos) == 2
    assert hellos[0] == hellos[1]
    assert KEY_SHARE in hellos[0]
    assert not {PRE_SHARED_KEY, EARLY_DATA} & hellos[0]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_leads_nowhere(authority: Issued, status: int) -> None:
    """T-071, T-025, HT-R-105: neither to plain ws://, nor to another machine, whatever the relay says."""
    made = issued("127.0.0.1", issuer=authority)
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0)
        for scheme in ("ws", "wss", "http", "file"):
            target = f"{scheme}://127.0.0.1:{elsewhere.getsockname()[1]}/".encode()
            answer = b"HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, target)
            with intercepting(made, answer=answer) as relay:
                error = await failure(f"wss://127.0.0.1:{relay.port}#pin={pin_text(made.pin)}")
                assert error.code == "network.unreachable"
            assert relay.heard.count(b"GET ") == 1
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


async def test_what_the_handshake_answers_is_not_used(authority: Issued, capfd: pytest.CaptureFixture[str]) -> None:
    """T-025, HT-R-105: headers, cookies, a body, extensions that nobody asked for."""
    seen = Events()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        requests.append(asked)
        key = next(
            line.split(b": ")[1] for line in asked.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
        )
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        writer.write(
            OK
            + accept
            + b"\r\nSet-Cookie: id=EVIL\r\nRefresh: 0; url=http://evil.example\r\nX-\x1b]0;EVIL\x07: 1\r\n\r\n"
        )
        writer.close()

    requests: list[bytes] = []
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for _ in range(2):
        try:
            link = await connect(url, ClientConnection(), seen, seconds=5)
            await asyncio.wait_for(link.closed, 5)
            await link.gone(5)
        except NetworkError:
            pass
    server.close()
    assert len(requests) == 2
    assert b"EVIL" not in b"".join(requests)
    assert b"ookie" not in b"".join(requests)
    assert "EVIL" not in "".join(capfd.readouterr())
    assert seen.all == []
