"""Files that lie on a disk while nobody looks: vault header, keys, lock, certificates, encrypted databases (T-053)."""

import base64
import json
import os
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from fuzz.mutation import tree
from fuzz.target import Attack, Target, hold
from hanatalk.cipherfile import mapped_errors, open_cipherfile
from hanatalk.errors import ProfileError, StorageError, UsageError, VerificationError
from hanatalk.localdb.lock import NAME as LOCK
from hanatalk.localdb.lock import ProfileLock
from hanatalk.localdb.vault import HEADER, KEY_FILE, KdfCost, Vault
from hanatalk.relay.certificates import Certificates, in_files, self_signed
from hanatalk.relay.options import TlsFiles
from hanatalk.relay.signing import key_in
from hanatalk.stores.channels import decode_news
from hanatalk.stores.landing import LandingFile, read_landing_file
from hanatalk.stores.opening import BESIDE, find_key
from hanatalk.stores.opening import KEY_FILE as STORE_KEY
from hanatalk.transport.tls import check_pin, spki_pin

CHEAP = KdfCost(memory_kib=8, passes=1, lanes=1)
RAW, CHECKED = 0, 1
FIELDS = ("format", "version", "salt", "nonce", "wrapped", "kept_in", "kdf")


def folder() -> Path:
    """A fresh folder in the scratch folder that whoever runs the target has set (`fuzz.running.scratch`)."""
    return Path(tempfile.mkdtemp())


def _header(given: bytes) -> bytes:
    """As it is, or a JSON object of the header's fields whose checksum is right: what a burglar would write."""
    if given[:1] != bytes([CHECKED]):
        return given[1:]
    try:
        values = msgspec.msgpack.decode(given[1:])
        fields: dict[str, Any] = dict(zip(FIELDS, values, strict=False))
        text = json.dumps({**fields, "check": "0" * 32})
        from hanatalk.localdb.vault import _Header

        right = msgspec.json.decode(text, type=_Header).checksum()
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        return given[1:]
    return json.dumps({**fields, "check": right}).encode()


def _vault() -> Attack:
    home = folder()

    def attack(given: bytes) -> None:
        header = _header(given)
        (home / HEADER).write_bytes(header)
        (home / KEY_FILE).write_bytes(b"00" * 32 + b"\n")
        vault = Vault(home, floor=CHEAP)
        vault.kept_in()
        kdf = json.loads(header).get("kdf") or {}
        if kdf.get("memory_kib", 0) <= 64 and kdf.get("passes", 0) <= 4 and kdf.get("lanes", 0) <= 4:
            unlocked = vault.open(passphrase="sesame")
            hold(len(unlocked.key) == 32 and unlocked.key.hex() not in repr(unlocked), "a key in a repr")

    return attack


def _headers() -> Iterator[bytes]:
    for passphrase in ("sesame", "열려라 참깨", None):
        home = folder() / "profile"
        Vault(home, floor=CHEAP).create(passphrase=passphrase, cost=CHEAP if passphrase else None)
        written = (home / HEADER).read_bytes()
        read = json.loads(written)
        yield bytes([RAW]) + written
        yield bytes([CHECKED]) + msgspec.msgpack.encode([read.get(field) for field in FIELDS])


def _mutated_header(given: bytes, longest: int, seed: int) -> bytes:
    return given[:1] + tree(given[1:], longest - 1, seed) if given else bytes([seed % 2])


def _key_files() -> Attack:
    """The first byte chooses the file: the store's key, the profile's, the relay's signing key, the lock's owner."""
    relay, profile = folder(), folder()
    made = Vault(profile / "p", floor=CHEAP)
    made.create(passphrase=None)
    held = ProfileLock(profile / "q")
    held.acquire()

    def attack(given: bytes) -> None:
        which, content = given[:1] or b"\0", given[1:]
        match which[0] % 4:
            case 0:
                (relay / STORE_KEY).write_bytes(content)
                hold(find_key(relay, BESIDE) == bytes.fromhex(content.decode()), "another key than is written")
            case 1:
                (profile / "p" / KEY_FILE).write_bytes(content)
                made.open(passphrase=None)
            case 2:
                (relay / "signing.key").write_bytes(content)
                hold(len(key_in(relay / "signing.key").public) == 32 and len(content) == 32, "a seed of another length")
            case _:
                (profile / "q" / LOCK).write_bytes(content)
                ProfileLock(profile / "q").acquire()
                hold(False, "two owners")

    return attack


def _keys() -> Iterator[bytes]:
    yield b"\0" + b"5a" * 32 + b"\n"
    yield b"\1" + b"5a" * 32 + b"\n"
    yield b"\2" + b"s" * 32
    yield b"\3" + str(os.getpid()).encode()


def _cipherfile() -> Attack:
    """What follows the first byte replaces that part of a good file (4 KiB pages) or is the file."""
    home = folder()
    path, good = home / "db.sqlite3", home / "good.sqlite3"
    connection = open_cipherfile(good, key=b"k" * 32, application=7)
    connection.execute("CREATE TABLE entry (number INTEGER PRIMARY KEY, text TEXT) STRICT")
    connection.execute("INSERT INTO entry (text) VALUES ('here')")
    connection.close()
    whole = good.read_bytes()

    def attack(given: bytes) -> None:
        if len(given) > 2 and given[0] & 1:
            place = int.from_bytes(given[:2]) % len(whole)
            content = (whole[:place] + given[2:] + whole[place + len(given) - 2 :])[: len(whole)]
        else:
            content = given[1:]
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.write_bytes(content)
        opened = open_cipherfile(path, key=b"k" * 32, application=7, read_only=bool(given[:1] and given[0] & 2))
        try:
            if content:
                with mapped_errors():
                    found = opened.all("SELECT text FROM entry")
                hold(found == [("here",)], "a page that was changed was read (HT-S-001)")
        finally:
            opened.close()

    return attack


def _files() -> Iterator[bytes]:
    yield b"\0" + b"SQLite format 3\0" + bytes(100)
    yield b"\0" + bytes(4096)
    yield b"\1\1" + b"x"
    yield b"\3\7" + b"y" * 16


def _tls_files() -> Attack:
    """The first byte chooses: an operator's certificate file, key file, the relay's own key, or a certificate in DER as
    the other side of a handshake shows it."""
    home = folder()
    good = self_signed(home / "own.key")
    key, _, chain = good.pem.partition(END)
    certificate, private, own = home / "cert.pem", home / "key.pem", home / "own"

    def attack(given: bytes) -> None:
        which, content = given[:1] or b"\0", given[1:]
        certificate.write_bytes(content if which[0] % 4 == 0 else chain)
        for path, there in ((private, content if which[0] % 4 == 1 else key + END), (own, content)):
            path.write_bytes(there)
            path.chmod(0o600)
        if which[0] % 4 < 2:
            shown = in_files(TlsFiles(certificate=certificate, key=private))
            hold(len(shown.pin) == 32 and "PRIVATE" not in repr(shown), "a key in a repr")
            Certificates(shown, files=None).context.sni_callback  # noqa: B018
        elif which[0] % 4 == 2:
            shown = self_signed(own)
            hold(Certificates(shown, files=None).context, "no TLS")
        else:
            hold(len(spki_pin(content)) == 32, "a pin of another length")
            check_pin(content, good.pin)

    return attack


def _landing_file() -> Attack:
    """The first byte chooses: the file as it is, a part of a good one, or a record under the right key."""
    path, key = folder() / "store.db-landing-0", b"k" * 32
    good = LandingFile(path, key=key)
    for n, record in enumerate((b"one", b"two" * 2_000, b"three"), 1):
        good.append(n, record)
    good.close()
    whole, right = path.read_bytes(), read_landing_file(path, key=key)

    def attack(given: bytes) -> None:
        which, content = given[:1] or b"\0", given[1:]
        if which[0] % 3 == 2:
            decode_news(content)
            return
        if which[0] % 3 == 1:
            place = int.from_bytes(content[:2]) * 11 % len(whole)
            content = whole[:place] + content[2:] + whole[place + len(content[2:]) :]
        path.write_bytes(content)
        found = read_landing_file(path, key=key)
        hold(found == right[: len(found)], "a record that was changed was read (HT-S-027)")

    return attack


def _landing_seeds() -> Iterator[bytes]:
    path = folder() / "seed-landing-0"
    file = LandingFile(path, key=b"s" * 32)
    file.append(1, b"x")
    file.close()
    yield b"\0" + path.read_bytes()[: 3 * 4_096]
    yield b"\1\5\5" + b"z" * 9
    news = ([(1, 2, 3, 1, 20_000, 0, 1, None, b"e" * 16, 4)], [b"body"], [(2, b"r" * 16, 3)], [(1, 1)])
    yield b"\2" + msgspec.msgpack.encode(news)


END = b"-----END PRIVATE KEY-----\n"


def _tls_seeds() -> Iterator[bytes]:
    good = self_signed(None)
    key, _, chain = good.pem.partition(END)
    yield b"\0" + chain
    yield b"\1" + key + END
    yield b"\2" + key + END
    yield b"\3" + ssl.PEM_cert_to_DER_cert(chain.decode())


def _der(given: bytes, longest: int, seed: int) -> bytes:
    """Inside the PEM's base64 as often as around it."""
    from atheris import Mutate

    lines = given[1:].split(b"\n")
    if seed % 2 and len(lines) > 3:
        try:
            inner = base64.b64decode(b"".join(lines[1:-2]), validate=True)
        except ValueError:
            inner = b""
        if inner:
            again = base64.encodebytes(Mutate(inner, len(inner) + 16)).replace(b"\n", b"")
            folded = [again[place : place + 64] for place in range(0, len(again), 64)]
            return (given[:1] + b"\n".join([lines[0], *folded, *lines[-2:]]))[:longest]
    mutated: bytes = Mutate(given[1:], longest - 1)
    return given[:1] + mutated


TARGETS = [
    Target(
        name="tls-files",
        parsers=(
            "hanatalk.relay.certificates.in_files",
            "hanatalk.relay.certificates.self_signed",
            "hanatalk.transport.tls.spki_pin",
        ),
        allowed=(UsageError, StorageError, VerificationError),
        ready=_tls_files,
        seeds=_tls_seeds,
        mutate=_der,
        short=300,
    ),
    Target(
        name="vault-header",
        parsers=("hanatalk.localdb.vault.Vault",),
        allowed=(ProfileError,),
        ready=_vault,
        seeds=_headers,
        mutate=_mutated_header,
        longest=5000,
        short=800,
    ),
    Target(
        name="key-files",
        parsers=(
            "hanatalk.stores.opening.find_key",
            "hanatalk.relay.signing.key_in",
            "hanatalk.localdb.vault.Vault",
            "hanatalk.localdb.lock.ProfileLock",
        ),
        allowed=(StorageError, ProfileError),
        ready=_key_files,
        seeds=_keys,
        longest=200,
        short=1000,
    ),
    Target(
        name="cipherfile",
        parsers=("hanatalk.cipherfile.open_cipherfile",),
        allowed=(StorageError,),
        ready=_cipherfile,
        seeds=_files,
        longest=9000,
        short=100,
    ),
    Target(
        name="landing-file",
        parsers=("hanatalk.stores.landing.read_landing_file", "hanatalk.stores.channels.decode_news"),
        allowed=(StorageError,),
        ready=_landing_file,
        seeds=_landing_seeds,
        longest=13_000,
        short=300,
    ),
]
