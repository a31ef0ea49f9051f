"""The pin check alone."""

import ssl

import pytest

from hanatalk.errors import VerificationError
from hanatalk.transport.tls import check_pin, client_context, spki_pin


def test_the_right_pin_passes(certificate: tuple[ssl.SSLContext, bytes]) -> None:
    """HT-R-097"""
    check_pin(certificate[1], spki_pin(certificate[1]))


@pytest.mark.parametrize("wrong", [None, b"", b"\x30\x00", b"not a certificate"])
def test_no_certificate_is_no_match(wrong: bytes | None) -> None:
    """T-046: verification raises, whatever comes."""
    with pytest.raises(VerificationError):
        check_pin(wrong, bytes(32))


VERSION_3 = b"\xa0\x03\x02\x01\x02"


def test_a_certificate_of_a_version_that_there_is_not_is_none(certificate: tuple[ssl.SSLContext, bytes]) -> None:
    """T-046, T-088: whoever stands in between shows what they like; found by fuzzing."""
    changed = certificate[1].replace(VERSION_3, VERSION_3[:-1] + b"\x28", 1)
    assert changed != certificate[1]
    with pytest.raises(VerificationError, match=r"relay\.certificate"):
        check_pin(changed, spki_pin(certificate[1]))


def test_another_key_is_no_match(certificate: tuple[ssl.SSLContext, bytes]) -> None:
    """T-046"""
    with pytest.raises(VerificationError, match=r"relay\.pin-mismatch"):
        check_pin(certificate[1], bytes(32))


def test_only_tls_13() -> None:
    for pin in (None, bytes(32)):
        assert client_context(pin).minimum_version is ssl.TLSVersion.TLSv1_3
    assert client_context(None).verify_mode is ssl.CERT_REQUIRED
