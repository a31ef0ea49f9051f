"""Reads a store's files as an examiner who has the key: every page and block, whatever their owner thinks of it.

Independent of sqlite3mc: RFC 8439 by `cryptography`, over the layout that spec/04-storage.md HT-S-003 and HT-S-027
state.
"""

import struct
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hanatalk.stores.landing import landing_paths

RESERVED = 32  # 16 bytes nonce, 16 bytes tag, at the end of each page
BLOCK = 4_096
WAL_HEADER, FRAME_HEADER = 32, 24


def _page(page: bytes, number: int, key: bytes) -> bytes:
    nonce = page[-32:-16]
    counter = struct.pack("<I", (struct.unpack("<I", nonce[12:])[0] ^ number) & 0xFFFFFFFF)
    first = Cipher(algorithms.ChaCha20(key, counter + nonce[:12]), mode=None).encryptor().update(bytes(64))
    start = 24 if number == 1 else 0
    count = struct.pack("<I", (struct.unpack("<I", counter)[0] + 1) & 0xFFFFFFFF)
    stream = Cipher(algorithms.ChaCha20(first[32:], count + nonce[:12]), mode=None).decryptor()
    return page[:start] + stream.update(page[start:-32]) + bytes(32)


def decrypted(content: bytes, key: bytes) -> bytes:
    """All pages of a database file, decrypted one after the other."""
    (page_size,) = struct.unpack(">H", content[16:18])
    return b"".join(
        _page(content[at : at + page_size], at // page_size + 1, key) for at in range(0, len(content), page_size)
    )


def unsealed_landing(content: bytes, key: bytes) -> bytes:
    """Whatever the salt at the beginning of a landing file still opens, block by block, in order or not (HT-S-027)."""
    if content[:16] != b"HANA landing 1\0\0":
        return b""
    opener = AESGCM(HKDF(SHA256(), 32, content[16:48], b"hana/landing/1").derive(key))
    found: list[bytes] = []
    for at in range(BLOCK, len(content), BLOCK):
        head = content[at : at + 12]
        n, length = struct.unpack(">QI", head)
        with suppress(InvalidTag):
            found.append(opener.decrypt(bytes(4) + struct.pack(">Q", n), content[at + 12 : at + 12 + length], head))
    return b"".join(found)


def decrypted_wal(content: bytes, key: bytes) -> bytes:
    """All frames of a write-ahead log, old generations included, decrypted one after the other."""
    pages: list[bytes] = []
    if len(content) < WAL_HEADER:
        return b""
    (page_size,) = struct.unpack(">I", content[8:12])
    step = FRAME_HEADER + page_size
    for at in range(WAL_HEADER, len(content) - step + 1, step):
        (number,) = struct.unpack(">I", content[at : at + 4])
        pages.append(_page(content[at + FRAME_HEADER : at + step], number, key))
    return b"".join(pages)


def everything(path: Path, key: bytes) -> bytes:
    """All that the key opens of the store at `path` and of the files beside it."""
    log = path.with_name(path.name + "-wal")
    database = path.read_bytes()
    whole = database[: len(database) - len(database) % 4_096]
    frames = decrypted_wal(log.read_bytes(), key) if log.exists() else b""
    landed = [unsealed_landing(file.read_bytes(), key) for file in landing_paths(path) if file.exists()]
    return b"".join([decrypted(whole, key) if whole else b"", frames, *landed])
