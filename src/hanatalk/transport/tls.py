"""TLS to a relay: the system's CAs, or one pinned key and no CA at all (HT-R-097); and a relay's own side of it."""

import hashlib
import hmac
import os
import ssl

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hanatalk.errors import VerificationError


class PinRefused(ssl.SSLError):
    """The handshake ended here: the other side is not who the pin names. `why` is what to raise."""

    def __init__(self, why: VerificationError) -> None:
        super().__init__(why.code)
        self.why = why


def client_context(pin: bytes | None) -> ssl.SSLContext:
    """TLS 1.3. With a pin the certificate's names, dates and signer say nothing, its key everything.

    The pin is checked inside the TLS handshake, before our Finished goes out: whoever stands in between gets no byte of
    the WebSocket's (HT-R-097). Its refusal is a `PinRefused`.
    """
    if pin is None:
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.sslobject_class = _pinned_to(pin)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _pinned_to(pin: bytes) -> type[ssl.SSLObject]:
    class Pinned(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            try:
                check_pin(self.getpeercert(binary_form=True), pin)
            except VerificationError as error:
                raise PinRefused(error) from None

    return Pinned


def spki_pin(certificate: bytes) -> bytes:
    """SHA-256 over the SubjectPublicKeyInfo of a DER certificate, 32 bytes.

    :raises VerificationError: ``relay.certificate``: not a certificate, or with a key that nobody knows
    """
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise VerificationError("relay.certificate") from error
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def check_pin(certificate: bytes | None, pin: bytes) -> None:
    """The other side's key is the pinned one (T-046).

    :raises VerificationError: ``relay.pin-mismatch``, ``relay.certificate``
    """
    if certificate is None or not hmac.compare_digest(spki_pin(certificate), pin):
        raise VerificationError("relay.pin-mismatch")


class Greeting:
    """What a relay shows to those who connect. `show` changes it for connections to come; those that are open stay."""

    def __init__(self, chain: bytes) -> None:
        """Show `chain`: a private key, its certificate and intermediates, PEM. :raises ssl.SSLError: see `show`"""
        self.context = self._current = _server_context(chain)
        self.context.sni_callback = self._choose

    def show(self, chain: bytes) -> None:
        """From now on show `chain`. :raises ssl.SSLError: OpenSSL refuses it; then nothing changes"""
        self._current = _server_context(chain)

    # OpenSSL asks with every ClientHello, whether it names a host or not.
    def _choose(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        connection.context = self._current


def _server_context(chain: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # a resumed connection would say that its client was here before (HT-R-100)
    # The ssl module reads files only. This one is in RAM and gone when it is closed.
    memory = os.memfd_create("relay")
    try:
        os.write(memory, chain)
        context.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
    return context
