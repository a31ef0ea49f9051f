"""The relay behind TLS, over real sockets: who gets in, what it shows, how long it waits."""

import asyncio
import datetime as dt
import json
import signal
import socket
import ssl
import time
from pathlib import Path

import pytest
from tests.relay.certified import issued
from tests.relay.running import relay_process, running_relay
from tests.relay.test_serve import HANDSHAKE, careless, last_words, masked, outdated, raw
from tests.transport.test_link import Events, opened

from hanatalk.errors import UsageError, VerificationError
from hanatalk.relay import serve as serving
from hanatalk.relay.options import TlsFiles
from hanatalk.transport import accepting
from hanatalk.transport.asking import NO_PAGE
from hanatalk.transport.link import connect
from hanatalk.transport.tls import client_context, spki_pin
from hanatalk.transport.urls import parse_relay_url, pin_text
from hanatalk.wire import events, frames
from hanatalk.wire.client import ClientConnection


def shown_to(url: str, *, name: str | None = None) -> bytes:
    """The pin of the certificate that a new connection is shown."""
    at = parse_relay_url(url)
    with (
        socket.create_connection((at.host, at.port), timeout=10) as plain,
        careless().wrap_socket(plain, server_hostname=name) as secure,
    ):
        certificate = secure.getpeercert(binary_form=True)
        assert certificate is not None
        return spki_pin(certificate)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1"])
async def test_the_own_key_is_enough_and_stays(tmp_path: Path, host: str) -> None:
    """HT-R-093, HT-R-100, HT-R-101: any host under TLS; the printed URL is all a client needs, at every start."""
    urls = []
    for _ in range(2):
        async with running_relay(tls="self", data=tmp_path, host=host) as url:
            urls.append(url)
            _, link, seen = await opened(url)
            await seen.until(events.CaughtUp)
            link.close()
            await link.gone(10)
    first, second = map(parse_relay_url, urls)
    assert first.pin is not None
    assert (first.scheme, first.host, first.pin) == (second.scheme, second.host, second.pin) == ("wss", host, first.pin)


async def test_a_relay_without_a_folder_has_a_new_key_each_start() -> None:
    """HT-R-101"""
    pins = set()
    for _ in range(2):
        async with running_relay(tls="self") as url:
            pins.add(parse_relay_url(url).pin)
    assert len(pins) == 2


@pytest.mark.parametrize("host", ["", "192.0.2.1", "relay.invalid"])
async def test_an_address_that_is_not_ours_is_said(host: str) -> None:
    with pytest.raises(UsageError, match=r"relay\.address"):
        async with running_relay(tls="self", host=host):
            pass


async def test_only_tls_13_and_no_tickets() -> None:
    """HT-R-100: no downgrade, and nothing by which a connection could say that it continues another."""
    async with running_relay(tls="self") as url:
        at = parse_relay_url(url)

        def look() -> tuple[str | None, bool]:
            plain = socket.create_connection((at.host, at.port), timeout=10)
            with plain, pytest.raises((ssl.SSLError, ConnectionError)):
                outdated().wrap_socket(plain)
            with (
                socket.create_connection((at.host, at.port), timeout=10) as plain,
                careless().wrap_socket(plain) as secure,
            ):
                secure.sendall(HANDSHAKE)
                assert secure.recv(12) == b"HTTP/1.1 101"  # tickets come before the first bytes
                assert secure.session is not None
                return secure.version(), secure.session.has_ticket

        assert await asyncio.to_thread(look) == ("TLSv1.3", False)


async def test_plain_words_to_a_tls_port_get_nothing(tmp_path: Path) -> None:
    """T-003: neither an answer nor a crash, and others are served on."""
    async with running_relay(tls="self") as url:
        at = parse_relay_url(url)
        _, link, seen = await opened(url)
        await seen.until(events.CaughtUp)
        for sent in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", HANDSHAKE, bytes(5000)):
            reader, writer = await asyncio.open_connection(at.host, at.port)
            writer.write(sent)
            assert b"HTTP" not in await asyncio.wait_for(reader.read(), 10)
            writer.close()
        assert (await last_words(url, masked(1, b"text")))[-1] == frames.Refused(None, "not-binary", None, "")
        assert not link.closed.done()
        link.close()
        await link.gone(10)


async def test_slow_handshakes_meet_their_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """T-076, HT-R-102: nothing at all, half a TLS handshake, TLS and then silence, half an HTTP request."""
    monkeypatch.setattr(accepting, "HANDSHAKE_SECONDS", 0.3)
    async with running_relay(tls="self") as url:
        at = parse_relay_url(url)
        began = time.monotonic()
        waiting = []
        for sent in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"):
            reader, writer = await asyncio.open_connection(at.host, at.port)
            writer.write(sent)
            waiting.append((reader, writer))
        for sent in (b"", HANDSHAKE[:40]):
            reader, writer = await raw(url)
            writer.write(sent)
            waiting.append((reader, writer))
        answers = await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in waiting)), 10)
        assert answers == [b""] * 5
        assert time.monotonic() - began >= 0.25
        for _, writer in waiting:
            writer.close()
            await asyncio.wait({asyncio.create_task(writer.wait_closed())})


def files(made: tuple[Path, Path]) -> TlsFiles:
    return TlsFiles(*made)


async def test_an_operators_files_are_served_by_name_and_by_pin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HT-R-097, HT-R-103: with the CA, under the names it vouches for; or with the pin alone, at any date."""
    authority = issued(authority=True)
    made = issued("localhost", "127.0.0.1", issuer=authority)
    (tmp_path / "authority.pem").write_bytes(authority.chain_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    async with running_relay(tls=files(made.written(tmp_path)), host="0.0.0.0") as url:
        at = parse_relay_url(url)
        assert at.pin == made.pin
        for usable in (url, f"wss://127.0.0.1:{at.port}", f"wss://localhost:{at.port}"):
            _, link, seen = await opened(usable)
            await seen.until(events.CaughtUp)
            link.close()
            await link.gone(10)
        with pytest.raises(VerificationError, match=r"relay\.untrusted"):
            await connect(f"wss://127.0.0.2:{at.port}", ClientConnection(), Events())
    lapsed = issued("127.0.0.1", issuer=authority, until=dt.timedelta(hours=-1))
    async with running_relay(tls=files(lapsed.written(tmp_path))) as url:
        _, link, seen = await opened(url)
        await seen.until(events.CaughtUp)
        link.close()
        await link.gone(10)
        with pytest.raises(VerificationError, match=r"relay\.untrusted"):
            await connect(url.partition("#")[0], ClientConnection(), Events())


async def test_a_mistake_in_the_files_is_said_before_anything_is_made(tmp_path: Path) -> None:
    """HT-R-103"""
    certificate, key = issued("127.0.0.1").written(tmp_path)
    key.unlink()
    with pytest.raises(UsageError, match=r"tls\.missing"):
        async with running_relay(tls=TlsFiles(certificate, key), data=tmp_path / "data"):
            pass
    assert not (tmp_path / "data").exists()


async def test_changed_files_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HT-R-104: whoever comes later sees the new certificate, with or without naming a host; open connections stay."""
    monkeypatch.setattr(serving, "CERTIFICATE_SECONDS", 0.02)
    first, second = issued("127.0.0.1"), issued("127.0.0.1", key=issued().key)
    async with running_relay(tls=files(first.written(tmp_path))) as url:
        connection, link, seen = await opened(url)
        await seen.until(events.CaughtUp)
        assert await asyncio.to_thread(shown_to, url) == first.pin
        second.written(tmp_path)
        deadline = time.monotonic() + 10
        while await asyncio.to_thread(shown_to, url, name="relay.example") != second.pin:
            assert time.monotonic() < deadline
        assert await asyncio.to_thread(shown_to, url) == second.pin
        connection.ping()
        link.flush()
        await seen.until(events.Pong)
        link.close()
        await link.gone(10)


def test_sighup_renews_at_once_and_says_so(tmp_path: Path) -> None:
    """HT-R-104: open connections stay, a mistake changes nothing; HT-R-094: the log has codes only."""
    made = issued("127.0.0.1", until=dt.timedelta(days=2))
    certificate, key = made.written(tmp_path)
    tls = {"certificate": str(certificate), "key": str(key)}
    with relay_process(store="memory", tls=tls) as relay:
        other = issued("127.0.0.1")
        certificate.write_bytes(other.chain_pem)
        relay.process.send_signal(signal.SIGHUP)
        assert shown_to(relay.url) == made.pin
        key.write_bytes(other.key_pem())
        relay.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while shown_to(relay.url) != other.pin:
            assert time.monotonic() < deadline
        assert f"#pin={pin_text(made.pin)}" in relay.url
        assert relay.terminate() == 0
    lines = [line for line in map(json.loads, relay.log.splitlines()) if line["event"] != "few-files"]
    said = [(line["event"], line.get("code")) for line in lines]
    assert said[:2] == [("listening", None), ("certificate", "expires-soon")]
    assert ("certificate", "other-key") in said
    assert str(tmp_path) not in relay.log


@pytest.mark.parametrize("tls", [None, "self"], ids=["ws", "wss"])
@pytest.mark.parametrize(
    "request_line",
    [b"GET / HTTP/1.1", b"GET /index.html?q=<script>alert(1)</script> HTTP/1.1", b"GET //update HTTP/1.1"],
)
async def test_a_relay_has_no_pages(tls: str | None, request_line: bytes) -> None:
    """T-025, HT-R-105: whatever is asked for, the same few words, as text, echoing nothing."""
    async with running_relay(tls=tls) as url:
        reader, writer = await raw(url)
        writer.write(request_line + b"\r\nHost: <b>x</b>\r\nAccept: text/html\r\nOrigin: https://evil.example\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *headers = head.lower().split(b"\r\n")
        assert status == b"http/1.1 404 not found"
        assert body == NO_PAGE
        assert {header.partition(b":")[0] for header in headers} == {
            *(b"content-type", b"content-length", b"connection", b"x-content-type-options")
        }
        assert b"content-type: text/plain" in head.lower()


@pytest.mark.parametrize("tls", [None, "self"], ids=["ws", "wss"])
@pytest.mark.parametrize(
    "request_head",
    [
        b"SECRET",
        b"SECRET /SECRET SECRET",
        b"GET /SECRET HTTP/1.0\r\nHost: SECRET",
        b"GET / HTTP/1.1\r\nHost: x\r\nSECRET",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: SECRET",
        HANDSHAKE[:-4].replace(b"Version: 13", b"Version: SECRET"),
        HANDSHAKE[:-4].replace(b"Key: AAAA", b"Key: SECRET"),
        b"SECRET" * 2_500,
    ],
)
async def test_a_malformed_request_is_not_echoed(tls: str | None, request_head: bytes) -> None:
    """T-025, HT-R-139: an answer in fixed words, none of them the client's."""
    async with running_relay(tls=tls) as url:
        reader, writer = await raw(url)
        writer.write(request_head + b"\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 4")
        assert answer.endswith(b"\r\n\r\n" + NO_PAGE)
        assert b"SECRET" not in answer


async def test_a_context_that_takes_any_certificate_is_never_ours() -> None:
    """HT-R-097: without CA verification only together with a pin that is checked."""
    assert client_context(None).verify_mode is ssl.CERT_REQUIRED
    assert client_context(None).check_hostname
    assert client_context(bytes(32)).sslobject_class is not ssl.SSLObject
