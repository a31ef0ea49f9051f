"""The relay's identity: one file, made once, apart from the store."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hanatalk.errors import StorageError
from hanatalk.relay.signing import SigningKey, ephemeral_key, key_in


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    """HT-R-062"""
    path = tmp_path / "signing.key"
    first = key_in(path)
    assert key_in(path).public == first.public
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["signing.key"]


def test_a_crash_while_making_it_leaves_no_half_key(tmp_path: Path) -> None:
    """HT-R-062"""
    (tmp_path / "signing.key.new").write_bytes(b"half")
    assert len((key_in(tmp_path / "signing.key"), (tmp_path / "signing.key").read_bytes())[1]) == 32


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_damaged_key_is_not_replaced_by_another_identity(tmp_path: Path, content: bytes) -> None:
    """HT-R-062"""
    path = tmp_path / "signing.key"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"relay\.signing-key"):
        key_in(path)
    assert path.read_bytes() == content


def test_it_signs(tmp_path: Path) -> None:
    """HT-R-060"""
    key = key_in(tmp_path / "signing.key")
    Ed25519PublicKey.from_public_bytes(key.public).verify(key.sign(b"statement"), b"statement")


def test_ephemeral_keys_differ() -> None:
    """HT-R-062"""
    assert ephemeral_key().public != ephemeral_key().public


def test_the_seed_is_not_in_the_repr() -> None:
    seed = b"\x07" * 32
    assert repr(seed)[2:-1] not in repr(SigningKey(seed))
