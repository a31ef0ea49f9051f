"""Two people over a relay with TLS, by the real commands; and somebody in between."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.e2e.commands import PATIENCE, Person, RelayProcess, environment, running_relay
from tests.e2e.conftest import acquaint
from tests.e2e.test_command_faults import NOBODY, refused
from tests.relay.certified import Issued, issued
from tests.transport.intercepting import intercepting

from hanatalk.client.engine.formats import links
from hanatalk.transport.urls import parse_relay_url


@pytest.fixture
def tls_relay(tmp_path: Path) -> Iterator[RelayProcess]:
    with running_relay(tmp_path / "relay", "--tls", "self") as running:
        yield running


def test_two_people_talk_by_the_pin_alone(person: Callable[[str], Person], tls_relay: RelayProcess) -> None:
    """HT-R-097, HT-R-101: the invite carries the pin, the invitee needs nothing else; a restart changes nothing."""
    address = tls_relay.url
    assert address.startswith(f"wss://127.0.0.1:{tls_relay.port}#pin=")
    minji = person("minji").join("민지", address)
    jihoon = person("jihoon").join("Jihoon", NOBODY)  # whose own relay is another one
    link = minji.do("invite").object["invite"]
    assert links.parse(link).relay_url == address
    conversation = jihoon.do("accept", link).object["conversation"]
    assert jihoon.do("send", conversation, "들려?").object["state"] == "stored"
    minji.do("sync")
    assert minji.texts(conversation) == ["들려?"]

    tls_relay.stop()
    tls_relay.start()
    assert tls_relay.url == address
    assert minji.do("send", conversation, "들려!").object["state"] == "stored"
    # his own relay is not there, which sync says; what this one has is with him nevertheless
    jihoon.type("sync", "--wait", "5")
    assert jihoon.texts(conversation) == ["들려?", "들려!"]
    key = tls_relay.data / "tls.key"
    assert key.stat().st_mode & 0o777 == 0o600
    kinds = {
        part["kind"]
        for file in minji.do("relay", "warrant", "--data", str(tls_relay.data)).object["files"]
        for part in file["parts"]
    }
    assert {"tls-key", "signing-key"} <= kinds
    assert "other" not in kinds


def test_an_interceptor_gets_nothing_and_nothing_is_lost(
    person: Callable[[str], Person], tls_relay: RelayProcess, tmp_path: Path
) -> None:
    """T-046: exit code 4 and a sentence; no byte of ours is heard; afterwards everything goes through, once."""
    authority = issued(authority=True)
    (tmp_path / "authority.pem").write_bytes(authority.chain_pem)
    minji, jihoon, third = (person(name).join(name, tls_relay.url) for name in ("minji", "jihoon", "third"))
    minji = replace(minji, variables=(("SSL_CERT_FILE", str(tmp_path / "authority.pem")),))
    conversation = acquaint(minji, jihoon)
    jihoon.do_here("sync")
    link = jihoon.do_here("invite").object["invite"]
    tls_relay.stop()
    with intercepting(issued("127.0.0.1"), port=tls_relay.port) as somebody:
        assert minji.do("send", conversation, "비밀 하나").object["state"] == "queued"
        assert refused(minji, "sync", "--wait", "5") == (4, "relay.pin-mismatch")
        assert refused(third, "accept", link) == (4, "relay.pin-mismatch")
    with intercepting(issued("127.0.0.1", issuer=authority), port=tls_relay.port) as trusted:
        assert minji.do("send", conversation, "비밀 둘").object["state"] == "queued"
        assert minji.type("sync", "--wait", "5").error["error"] == "relay.pin-mismatch"
        with minji.listening() as listening:
            assert listening.until("alarm")["code"] == "relay.pin-mismatch"
    assert somebody.tried >= 5
    assert trusted.tried >= 3
    assert somebody.heard + trusted.heard == b""
    tls_relay.start()
    assert minji.do("sync").object == {"received": 0, "sent": 2, "pending": 0, "rejoining": [], "invitations": []}
    jihoon.do_here("sync")
    assert jihoon.texts(conversation) == ["비밀 하나", "비밀 둘"]
    assert third.do_here("accept", link).object["conversation"]


def test_without_a_pin_a_self_signed_relay_is_refused(person: Callable[[str], Person], tls_relay: RelayProcess) -> None:
    """T-046, HT-R-097: whoever drops the pin from the address is told so, and gets no connection."""
    careless = person("careless").join("누구", tls_relay.url.partition("#")[0])
    assert refused(careless, "sync", "--wait", "3") == (4, "relay.untrusted")


@pytest.fixture
def certified(tmp_path: Path) -> Issued:
    return issued("127.0.0.1", issuer=issued(authority=True))


def test_an_operators_certificate_serves_with_and_without_the_pin(
    person: Callable[[str], Person], certified: Issued, tmp_path: Path
) -> None:
    """HT-R-103"""
    certificate, key = certified.written(tmp_path)
    assert certified.issuer is not None
    (tmp_path / "authority.pem").write_bytes(certified.issuer.chain_pem)
    with running_relay(tmp_path / "relay", "--tls-cert", str(certificate), "--tls-key", str(key)) as relay:
        assert parse_relay_url(relay.url).pin == certified.pin
        plain = relay.url.partition("#")[0]
        trusting = replace(person("minji"), variables=(("SSL_CERT_FILE", str(tmp_path / "authority.pem")),))
        minji, jihoon = trusting.join("민지", plain), person("jihoon").join("Jihoon", relay.url)
        link = minji.do("invite").object["invite"]
        assert links.parse(link).relay_url == plain  # what she believes in is what she hands on
        stranger = person("stranger").join("누구", relay.url)
        ended = stranger.type_here("accept", link)
        assert (ended.code, ended.error["error"]) == (4, "relay.untrusted")  # who has no such authority
        conversation = minji.do("accept", jihoon.do_here("invite").object["invite"]).object["conversation"]
        assert minji.do("send", conversation, "안녕").object["state"] == "stored"
        jihoon.do_here("sync")
        assert jihoon.texts(conversation) == ["안녕"]


def test_what_an_operator_types_wrong(person: Callable[[str], Person], certified: Issued, tmp_path: Path) -> None:
    """HT-R-103, HT-R-093: usage errors with sentences, and nothing is made."""
    certificate, key = map(str, certified.written(tmp_path))
    serve = ("relay", "serve", "--port", "0", "--data", str(tmp_path / "new"))
    operator = person("operator")

    def said(*options: str) -> tuple[int, str]:
        ended = operator.type_here(*serve, *options)
        return ended.code, ended.error["error"]

    assert said("--tls-cert", certificate) == (2, "usage.missing")
    assert said("--tls-key", key) == (2, "usage.missing")
    assert said("--tls", "self", "--tls-cert", certificate, "--tls-key", key) == (2, "usage.value")
    assert said("--tls", "maybe") == (2, "usage.value")
    assert said("--tls-cert", key, "--tls-key", key) == (2, "tls.certificate")
    assert said("--tls-cert", certificate, "--tls-key", f"{key}.none") == (2, "tls.missing")
    assert said("--host", "0.0.0.0") == (2, "relay.plain-host")
    Path(key).chmod(0o644)
    assert refused(operator, *serve, "--tls-cert", certificate, "--tls-key", key) == (2, "tls.key-readable")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()  # a relay that did not begin leaves no trace here
    assert not (tmp_path / "new").exists()


OVERRIDE = "\N{RIGHT-TO-LEFT OVERRIDE}"
EVIL = f"\x1b]0;OWNED\x07\x1b[2J{OVERRIDE}<script>OWNED</script>"


def test_a_relays_own_words_move_nothing(person: Callable[[str], Person]) -> None:
    """T-025, HT-R-105: its policy text is shown by no command, raw or otherwise; nothing in it is obeyed."""
    options = json.dumps({"port": 0, "store": "memory", "policy": EVIL})
    with subprocess.Popen(
        [sys.executable, "-m", "hanatalk.relay", options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    ) as relay:
        try:
            assert relay.stdout is not None
            minji = person("minji").join("민지", relay.stdout.readline().strip())
            with minji.listening() as listening:
                if not listening.seen[-1]["connected"]:
                    listening.until("connection", connected=True)
            said = json.dumps(listening.seen)
            for who in (minji, minji.prose("ko")):
                for command in (["invite"], ["sync"], ["chats"]):
                    ended = who.type_here(*command)
                    assert ended.code == 0
                    said += ended.out + ended.err
            assert [found for found in ("\x1b", "\x07", OVERRIDE, "OWNED", "script") if found in said] == []
        finally:
            relay.terminate()
            relay.wait(PATIENCE)
