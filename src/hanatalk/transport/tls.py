"""TLS to a relay: the system's CAs, or one pinned key and no CA at all (HT-R-097)."""

import hashlib
import hmac
import ssl

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hanatalk.errors import VerificationError


def client_context(pin: bytes | None) -> ssl.SSLContext:
    """TLS 1.3. With a pin the certificate's names and signer say nothing: `check_pin` decides, before any frame."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if pin is not None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def spki_pin(certificate: bytes) -> bytes:
    """SHA-256 over the SubjectPublicKeyInfo of a DER certificate, 32 bytes.

    :raises VerificationError: ``relay.certificate``: not a certificate
    """
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, TypeError) as error:
        raise VerificationError("relay.certificate") from error
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def check_pin(certificate: bytes | None, pin: bytes) -> None:
    """The other side's key is the pinned one (T-046).

    :raises VerificationError: ``relay.pin-mismatch``, ``relay.certificate``
    """
    if certificate is None or not hmac.compare_digest(spki_pin(certificate), pin):
        raise VerificationError("relay.pin-mismatch")
