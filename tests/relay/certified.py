"""Certificates and keys as operators and attackers make them."""

import datetime as dt
import ipaddress
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from hanatalk.transport.tls import spki_pin

NOW = dt.datetime.now(dt.UTC)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate with its key, and of whoever signed it."""

    certificate: x509.Certificate
    key: Key
    issuer: "Issued | None" = None

    @property
    def pin(self) -> bytes:
        return spki_pin(self.certificate.public_bytes(Encoding.DER))

    @property
    def chain_pem(self) -> bytes:
        own = self.certificate.public_bytes(Encoding.PEM)
        return own if self.issuer is None else own + self.issuer.chain_pem

    def key_pem(self, passphrase: bytes | None = None) -> bytes:
        lock = BestAvailableEncryption(passphrase) if passphrase is not None else NoEncryption()
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)

    def written(self, folder: Path, *, mode: int = 0o600) -> tuple[Path, Path]:
        """Certificate and key files in `folder`."""
        certificate, key = folder / "chain.pem", folder / "key.pem"
        certificate.write_bytes(self.chain_pem)
        key.write_bytes(self.key_pem())
        key.chmod(mode)
        return certificate, key


def issued(
    *names: str,
    issuer: Issued | None = None,
    key: Key | None = None,
    authority: bool = False,
    since: dt.timedelta = dt.timedelta(days=-1),
    until: dt.timedelta = dt.timedelta(days=30),
) -> Issued:
    """A certificate for `names` (host names or addresses), by `issuer` or self-signed."""
    key = key if key is not None else ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority" if authority else "somebody")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer is not None else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + since)
        .not_valid_after(NOW + until)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_usage(authority=authority), critical=True)
    )
    if issuer is not None:
        vouched = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(vouched, critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
    signer = issuer.key if issuer is not None else key
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Issued(certificate=builder.sign(signer, algorithm), key=key, issuer=issuer)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
