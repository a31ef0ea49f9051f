"""Opens the local database: `hanatalk.cipherfile` with the values of this kind of file (spec/04-storage.md)."""

from pathlib import Path

from hanatalk.cipherfile import EncryptedConnection, mapped_errors, open_cipherfile, storage_error

__all__ = ["APPLICATION", "EncryptedConnection", "mapped_errors", "open_database", "storage_error"]

APPLICATION = 0x48414E31  # "HAN1", the file's application_id


def open_database(path: Path, *, key: bytes) -> EncryptedConnection:
    """Open or create the local database at `path` under the vault's 32-byte key.

    WAL, synchronous=FULL, secure_delete=ON, temp_store=MEMORY, foreign_keys=ON; busy timeout 0; ATTACH, VACUUM, backup
    and serialize refused. The caller names the disk's errors (`mapped_errors`, `storage_error`).

    :raises StorageError: see `hanatalk.cipherfile.open_cipherfile`.
    """
    return open_cipherfile(path, key=key, application=APPLICATION)
