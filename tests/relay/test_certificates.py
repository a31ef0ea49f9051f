"""What a relay shows in TLS, and which files it refuses to show."""

import datetime as dt
import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.relay.certified import NOW, issued

from hanatalk.errors import StorageError, UsageError
from hanatalk.relay.certificates import Certificates, in_files, self_signed
from hanatalk.relay.options import TlsFiles

END = "-----END CERTIFICATE-----\n"


def test_the_own_key_is_made_once_and_the_certificate_anew(tmp_path: Path) -> None:
    """HT-R-101: the same pin at every start; for its owner alone."""
    path = tmp_path / "tls.key"
    first, again = self_signed(path), self_signed(path)
    assert first.pin == again.pin
    assert first.pem != again.pem
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["tls.key"]
    assert self_signed(tmp_path / "other.key").pin != first.pin
    assert self_signed(None).pin != self_signed(None).pin


def test_the_own_certificate_names_nobody_and_does_not_lapse(tmp_path: Path) -> None:
    """HT-R-101"""
    shown = self_signed(tmp_path / "tls.key")
    (certificate,) = x509.load_pem_x509_certificates(shown.pem)
    assert certificate.subject.rfc4514_string() == "CN=relay"
    assert len(certificate.extensions) == 0
    assert shown.warning(NOW + dt.timedelta(days=365_000)) is None
    assert "PRIVATE" not in repr(shown)


def test_half_a_key_of_a_crashed_start_is_not_used(tmp_path: Path) -> None:
    """HT-R-101"""
    (tmp_path / "tls.key.new").write_bytes(b"-----BEGIN PRIVATE")
    self_signed(tmp_path / "tls.key")
    assert not (tmp_path / "tls.key.new").exists()


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (b"", 0o600),
        (b"garbage", 0o600),
        (issued(key=ed25519.Ed25519PrivateKey.generate()).key_pem(), 0o600),
        (issued().key_pem(b"locked"), 0o600),
        (issued().key_pem(), 0o604),
    ],
    ids=["empty", "garbage", "another kind", "locked", "readable by others"],
)
def test_an_own_key_that_is_none_is_an_error_and_stays(tmp_path: Path, content: bytes, mode: int) -> None:
    """HT-R-101: never replaced, it may be what every invite names."""
    path = tmp_path / "tls.key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(StorageError, match=r"tls\.own-key"):
        self_signed(path)
    assert path.read_bytes() == content


def refusal(certificate: Path, key: Path) -> str:
    with pytest.raises(UsageError) as caught:
        in_files(TlsFiles(certificate, key))
    assert str(caught.value.detail["path"]) in (str(certificate), str(key))
    return caught.value.code


def test_files_of_every_usual_kind_are_taken(tmp_path: Path) -> None:
    """HT-R-103: curves, RSA, Ed25519; OpenSSL's older spelling; curve parameters before the key; one file for both."""
    for key in (
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65_537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ):
        made = issued("relay.example", key=key)
        shown = in_files(TlsFiles(*made.written(tmp_path)))
        assert shown.pin == made.pin
        Certificates(shown, files=None)
    made = issued("relay.example")
    certificate, _ = made.written(tmp_path, mode=0o640)
    assert isinstance(made.key, ec.EllipticCurvePrivateKey)
    old = made.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    both = tmp_path / "both.pem"
    both.write_bytes(made.chain_pem + parameters + old)
    both.chmod(0o400)
    assert in_files(TlsFiles(certificate, both)).pin == in_files(TlsFiles(both, both)).pin == made.pin


def test_the_chain_is_shown_whole(tmp_path: Path) -> None:
    """HT-R-103"""
    made = issued("relay.example", issuer=issued(authority=True))
    shown = in_files(TlsFiles(*made.written(tmp_path)))
    assert len(x509.load_pem_x509_certificates(shown.pem)) == 2
    assert shown.pin == made.pin


def test_what_an_operator_gets_wrong_is_said(tmp_path: Path) -> None:
    """HT-R-103: each with its own code, and the file's name."""
    certificate, key = issued("relay.example").written(tmp_path)
    nothing, garbage, locked, folder, pipe = (tmp_path / name for name in ("none", "bad", "locked", "folder", "pipe"))
    garbage.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    locked.write_bytes(issued().key_pem(b"secret"))
    folder.mkdir()
    os.mkfifo(pipe)
    for path in (garbage, locked):
        path.chmod(0o600)
    assert refusal(nothing, key) == "tls.missing"
    assert refusal(certificate, nothing) == "tls.missing"
    assert refusal(folder, key) == "tls.unreadable"
    assert refusal(certificate, folder) == "tls.unreadable"
    assert refusal(certificate, pipe) == "tls.unreadable"  # and nobody waits for a writer
    assert refusal(garbage, key) == "tls.certificate"
    assert refusal(key, key) == "tls.certificate"
    assert refusal(certificate, garbage) == "tls.key"
    assert refusal(certificate, locked) == "tls.key-encrypted"
    odd = tmp_path / "odd.pem"  # of an X.509 version that there is not
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text().partition(END)[0] + END)
    odd.write_text(ssl.DER_cert_to_PEM_cert(der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x28", 1)))
    assert refusal(odd, key) == "tls.certificate"
    other = tmp_path / "other"
    other.mkdir()
    assert refusal(certificate, issued().written(other)[1]) == "tls.key-mismatch"
    key.chmod(0o644)
    assert refusal(certificate, key) == "tls.key-readable"


def test_keys_that_cannot_do_tls_are_refused(tmp_path: Path) -> None:
    """HT-R-103: signing keys of another kind, and those that OpenSSL finds too short."""
    certificate, key = issued("relay.example").written(tmp_path)
    pem = dsa.generate_private_key(1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key.write_bytes(pem)
    assert refusal(certificate, key) == "tls.key"
    short = issued("relay.example", key=rsa.generate_private_key(65_537, 1024))
    files = TlsFiles(*short.written(tmp_path))
    with pytest.raises(UsageError, match=r"tls\.certificate"):
        Certificates(in_files(files), files=files)


@pytest.mark.parametrize(
    ("since", "until", "warning"),
    [(-2, 30, None), (-2, 3, "expires-soon"), (-2, -1, "expired"), (1, 30, "not-yet-valid")],
)
def test_dates_are_warned_of_and_served(tmp_path: Path, since: int, until: int, warning: str | None) -> None:
    """HT-R-103: with a pin nobody minds them."""
    made = issued("relay.example", since=dt.timedelta(days=since), until=dt.timedelta(days=until))
    files = TlsFiles(*made.written(tmp_path))
    assert Certificates(in_files(files), files=files).shown.warning(NOW) == warning


def test_a_renewal_is_noticed_and_a_mistake_changes_nothing(tmp_path: Path) -> None:
    """HT-R-104"""
    first = issued("relay.example")
    files = TlsFiles(*first.written(tmp_path))
    certificates = Certificates(in_files(files), files=files)
    assert not certificates.changed()
    issued("relay.example", key=first.key, until=dt.timedelta(days=60)).written(tmp_path)
    assert certificates.changed()
    assert certificates.renew() == "renewed"
    assert not certificates.changed()
    shown = certificates.shown
    assert (shown.pin, shown.not_after.date()) == (first.pin, (NOW + dt.timedelta(days=60)).date())

    other = issued("relay.example")
    files.certificate.write_bytes(other.chain_pem)  # the key comes a moment later
    assert (certificates.changed(), certificates.renew(), certificates.changed()) == (True, "tls.key-mismatch", False)
    assert certificates.shown is shown
    other.written(tmp_path)
    assert (certificates.changed(), certificates.renew()) == (True, "other-key")
    assert certificates.shown.pin == other.pin
    files.key.unlink()
    assert (certificates.changed(), certificates.renew()) == (True, "tls.missing")
    assert certificates.shown.pin == other.pin
