"""A relay on a free port of this machine, and a TLS relay's certificate."""

import datetime as dt
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.relay.running import running_relay


@pytest.fixture
async def relay_url() -> AsyncIterator[str]:
    async with running_relay() as url:
        yield url


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[ssl.SSLContext, bytes]:
    """A self-signed certificate's context, and its DER."""
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "relay")])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=3650))
        .sign(key, None)
    )
    assert isinstance(made.signature_hash_algorithm, hashes.HashAlgorithm | None)
    path = tmp_path / "relay.pem"
    path.write_bytes(
        made.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context, made.public_bytes(Encoding.DER)
