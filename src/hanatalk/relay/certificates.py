"""What a relay shows in TLS: a key of its own in a certificate that says nothing, or an operator's files.

The key is what clients pin. A certificate may change around it as often as it likes.
"""

import datetime as dt
import re
import ssl
import stat
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from hanatalk.errors import HanaError, StorageError, UsageError
from hanatalk.relay.folder import write_new
from hanatalk.relay.options import TlsFiles
from hanatalk.transport.tls import Greeting, spki_pin

FILE_LIMIT = 1 << 20  # bytes; a chain has a few KiB
EXPIRES_SOON = dt.timedelta(days=7)
OTHERS = 0o007  # permissions of whoever is neither the owner nor in the group
FIRST_DAY, NO_LAST_DAY = dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
_KEY = re.compile(rb"-----BEGIN ((?:[A-Z]+ )*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A private key (PEM) with its certificate and intermediates. Secret.

    :param pin: SHA-256 of the key's SubjectPublicKeyInfo, 32 bytes (HT-R-097).
    """

    pem: bytes
    pin: bytes
    not_before: dt.datetime
    not_after: dt.datetime

    def __repr__(self) -> str:
        return f"Shown({self.pin.hex()[:8]}…)"

    def warning(self, now: dt.datetime) -> str | None:
        """What clients without a pin mind: ``expired``, ``not-yet-valid``, ``expires-soon``; None: nothing."""
        if now >= self.not_after:
            return "expired"
        if now < self.not_before:
            return "not-yet-valid"
        return "expires-soon" if now >= self.not_after - EXPIRES_SOON else None


def self_signed(path: Path | None) -> Shown:
    """A certificate around the key in `path` (PEM, mode 0600), which is made at the first start; None: a new key.

    The certificate is made anew each time and never lapses: it names nobody and nothing in it is checked (HT-R-101).

    :raises StorageError: ``tls.own-key``: the file holds no such key, others may read it, or the disk says no
    """
    key = ec.generate_private_key(ec.SECP256R1())
    if path is not None:
        try:
            if not path.exists():
                write_new(path, _pem(key))
            kept = _parse_key(_read(path, secret=True), path)
        except OSError as error:
            raise StorageError("tls.own-key", why=type(error).__name__) from error
        except UsageError as error:
            raise StorageError("tls.own-key", why=error.code) from error
        if not isinstance(kept, ec.EllipticCurvePrivateKey):
            raise StorageError("tls.own-key", why="kind")
        key = kept
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "relay")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(FIRST_DAY)
        .not_valid_after(NO_LAST_DAY)
        .sign(key, hashes.SHA256())
    )
    return _shown(key, [certificate])


def in_files(files: TlsFiles) -> Shown:
    """What lies in an operator's files: the relay's certificate first, intermediates after it (HT-R-103).

    :raises UsageError: ``tls.missing``, ``tls.unreadable``, ``tls.certificate``, ``tls.key``, ``tls.key-encrypted``,
        ``tls.key-mismatch``, ``tls.key-readable`` (by everybody on this machine)
    """
    try:
        chain = x509.load_pem_x509_certificates(_read(files.certificate))
        public = _spki(chain[0])
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise UsageError("tls.certificate", path=str(files.certificate)) from None
    key = _parse_key(_read(files.key, secret=True), files.key)
    if key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != public:
        raise UsageError("tls.key-mismatch", path=str(files.key))
    return _shown(key, chain)


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path, *, secret: bool = False) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > FILE_LIMIT:
            raise UsageError("tls.unreadable", path=str(path))
        if secret and found.st_mode & OTHERS:
            raise UsageError("tls.key-readable", path=str(path))
        return path.read_bytes()
    except FileNotFoundError:
        raise UsageError("tls.missing", path=str(path)) from None
    except OSError:
        raise UsageError("tls.unreadable", path=str(path)) from None


def _parse_key(pem: bytes, path: Path) -> Key:
    found = _KEY.search(pem)  # OpenSSL puts curve parameters before it, people their certificate
    if found is None:
        raise UsageError("tls.key", path=str(path))
    try:
        key = load_pem_private_key(found[0] + b"\n", password=None)
    except TypeError:
        raise UsageError("tls.key-encrypted", path=str(path)) from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError("tls.key", path=str(path)) from None
    if not isinstance(key, Key):
        raise UsageError("tls.key", path=str(path))
    return key


def _pem(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _shown(key: Key, chain: list[x509.Certificate]) -> Shown:
    return Shown(
        pem=_pem(key) + b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain),
        pin=spki_pin(chain[0].public_bytes(Encoding.DER)),
        not_before=chain[0].not_valid_before_utc,
        not_after=chain[0].not_valid_after_utc,
    )


class Certificates:
    """The relay's TLS while it runs: what is shown now, and whether the operator's files have changed."""

    def __init__(self, shown: Shown, *, files: TlsFiles | None) -> None:
        """:raises UsageError: ``tls.certificate``: OpenSSL refuses it, e.g. for a short key"""
        self.shown = shown
        self._files = files
        self._seen = self._look()
        try:
            self._greeting = Greeting(shown.pem)
        except ssl.SSLError as error:
            raise UsageError("tls.certificate", path=str(files and files.certificate)) from error

    @property
    def context(self) -> ssl.SSLContext:
        """For accepting connections; each is shown what is current when it comes."""
        return self._greeting.context

    def changed(self) -> bool:
        """The files are others than when last looked at."""
        return self._look() != self._seen

    def renew(self) -> str:
        """Show what the files hold now to connections to come. Returns ``renewed``, ``other-key`` (pins break), or why
        everything stays as it was (HT-R-104)."""
        if self._files is None:
            return "renewed"
        self._seen = self._look()
        try:
            shown = in_files(self._files)
            self._greeting.show(shown.pem)
        except HanaError as error:
            return error.code
        except ssl.SSLError:
            return "tls.certificate"
        before, self.shown = self.shown, shown
        return "renewed" if shown.pin == before.pin else "other-key"

    def _look(self) -> list[tuple[int, int, int] | None]:
        if self._files is None:
            return []
        return [_trace(path) for path in (self._files.certificate, self._files.key)]


def _trace(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
