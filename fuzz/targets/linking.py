"""Parsers of linking a device and of what own devices tell each other (HT-M-123, HT-C-170)."""

import base64
import hashlib
from collections.abc import Iterator

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fuzz.mutation import tree
from fuzz.target import Attack, Target, hold
from hanatalk.client.engine.conversations import besides, key_packages
from hanatalk.client.engine.formats import accounts, content, link_codes, pasted, records, references, syncing
from hanatalk.client.engine.people import linking
from hanatalk.errors import ContentError, VerificationError
from hanatalk.ids import ConversationId

RAW, CHECKED = 0, 1  # first byte: the text itself, or the MessagePack inside it
DEVICE = accounts.Device(b"\x01" * 32)
NEW = accounts.Device(b"\x02" * 32)
CHAIN = accounts.create(DEVICE)
CODE = link_codes.LinkCode(
    1,
    "ws://127.0.0.1:7710",
    b"k" * 32,
    b"s" * 32,
    NEW.key,
    link_codes.commitment(b"n" * 32),
    1_800_000_000,
    "ko",
)


def _code() -> Attack:
    def attack(given: bytes) -> None:
        if not given:
            return
        if given[0] % 2 == CHECKED:
            raw = given[1:]
            check = hashlib.sha256(raw).digest()[: pasted.CHECK]
            text = link_codes.SCHEME + base64.urlsafe_b64encode(raw + check).decode().rstrip("=")
        else:
            text = given[1:].decode(errors="replace")
        code = link_codes.parse(text)
        hold(link_codes.compose(code) == text.strip(), "one code, two spellings")
        hold(len(code.capability.channel) == 32, "no channel")
        hold(repr(code) == "LinkCode(…)", "a secret in a repr")

    return attack


def _said() -> Attack:
    def attack(given: bytes) -> None:
        said = linking.parse(given)
        if isinstance(said, linking.Offer):
            offered, chain = linking.verify_offer(said, CODE)
            hold(offered.device in chain.devices, "offered by nobody")
            hold(offered.code == CODE.digest, "an offer for another code")

    return attack


def _siblings() -> Attack:
    def attack(given: bytes) -> None:
        said = syncing.parse(content.Sync(given))
        if isinstance(said, syncing.Packages):
            hold(len(said.packages) <= syncing.PACKAGES_LIMIT, "too many")
        elif isinstance(said, syncing.Wanted):
            hold(len(said.places) <= syncing.PLACES_LIMIT, "too many")
        elif isinstance(said, syncing.Contacts):
            hold(len(said.contacts) <= syncing.CONTACTS_LIMIT, "too many")

    return attack


def _beside() -> Attack:
    """First byte: as it is, or well sealed."""
    conversation, key, nonce = ConversationId(b"c" * 16), b"k" * 32, bytes(12)

    def attack(given: bytes) -> None:
        if not given:
            return
        sealed = given[1:]
        if given[0] % 2:
            sealed = nonce + AESGCM(key).encrypt(nonce, given[1:], conversation + NEW.key)
        found = besides.unseal(key, conversation, NEW.key, sealed)
        hold(given[0] % 2 == 1, "opened what nobody sealed")
        hold(repr(found) == "Beside(…)", "a secret in a repr")
        for batch in found.tail:
            hold(all(row.sender < len(batch.senders) for row in batch.rows), "a message of nobody")

    return attack


def _parts() -> Iterator[bytes]:
    streams = [key_packages.From(NEW.key, 7, 5, 1)]
    told = [key_packages.Told(NEW.key, DEVICE.key, 7, 5)]
    row = records.Kept(b"m" * 16, 0, 1, 2, 1, 1, None, True, None, None, False, content.Fate.STAYS, None, None)
    batch = records.Batch(b"c" * 16, [records.Sender(CHAIN.account, DEVICE.key)], [row])
    part = key_packages.Beside(b"r" * 32, streams, told, [CHAIN.account], False, True, [batch])
    yield b"\x01" + msgspec.msgpack.encode(part)
    yield b"\x00" + bytes(60)


def _history() -> Attack:
    def attack(given: bytes) -> None:
        cut = given[0] if given else 0
        pieces = [given[1 : 1 + cut], given[1 + cut :]]
        found = list(records.read(iter(pieces)))
        hold(isinstance(found[0], records.Head) and isinstance(found[-1], records.End), "no whole bundle")
        for record in found:
            if isinstance(record, records.Batch):
                hold(all(row.sender < len(record.senders) for row in record.rows), "a message of nobody")
        again = b"".join(records.make(record) for record in found)
        hold(list(records.read(iter([again]))) == found, "read back, it is another one")

    return attack


def _framed(given: bytes, longest: int, seed: int) -> bytes:
    """Change one record and say its new length."""
    found = []
    at = 1
    while at + 4 <= len(given):
        length = int.from_bytes(given[at : at + 4])
        found.append(given[at + 4 : at + 4 + length])
        at += 4 + length
    if not found or seed % 8 == 0:
        return tree(given, longest, seed)
    place = seed % len(found)
    found[place] = tree(found[place], longest // 2, seed)
    return (given[:1] + b"".join(len(record).to_bytes(4) + record for record in found))[:longest]


def _bundles() -> Iterator[bytes]:
    body = content.encode(content.Text("안녕"))
    row = records.Kept(
        b"m" * 16, 0, 1, 2, 1, 1_800_000_000_000, None, True, 60_000, 5_000, False, content.Fate.STAYS, None, body
    )
    batch = records.Batch(b"c" * 16, [records.Sender(CHAIN.account, DEVICE.key)], [row])
    head, end = records.make(records.Head(1, 1)), records.make(records.End())
    yield b"\x05" + head + records.make(batch) + end
    yield b"\x00" + head + end
    yield b"\x00" + head + records.make(batch)


def _after_the_first(given: bytes, longest: int, seed: int) -> bytes:
    if seed % 16 == 0 or not given:
        return bytes([seed // 16 % 2]) + given[1:]
    return given[:1] + tree(given[1:], longest - 1, seed)


def _codes() -> Iterator[bytes]:
    yield bytes([CHECKED]) + msgspec.msgpack.encode(CODE)
    yield bytes([RAW]) + link_codes.compose(CODE).encode()
    yield bytes([RAW]) + b"hana:abc"


def _exchange() -> Iterator[bytes]:
    offered = msgspec.msgpack.encode(linking.Offered(CODE.digest, DEVICE.key, b"o" * 32, "민지", list(CHAIN.links)))
    yield msgspec.msgpack.encode(linking.Offer(offered, DEVICE.sign(b"hana linking offer/1", offered)))
    yield msgspec.msgpack.encode(linking.Reveal(b"n" * 32))
    yield msgspec.msgpack.encode(linking.Consent(CHAIN.head, accounts.co_sign(CHAIN, NEW), b"key package"))
    yield msgspec.msgpack.encode(linking.Refusal())


def _things_said() -> Iterator[bytes]:
    yield msgspec.msgpack.encode(syncing.Wanted(NEW.key, [syncing.Place(b"c" * 16, 0x004E)]))
    yield msgspec.msgpack.encode(syncing.Packages([syncing.Package(b"c" * 16, b"key package", b"k" * 32)]))
    yield msgspec.msgpack.encode(syncing.Contacts([syncing.Contact("Jihoon", True, list(CHAIN.links))]))
    yield msgspec.msgpack.encode(syncing.Coming(NEW.key, b"b" * 16, 100))
    place = references.Place(b"k" * 32, b"w" * 32)
    reference = references.Reference(b"s" * 32, place, b"d" * 32, 1000, "application/x-hana-bundle", "bundle")
    yield msgspec.msgpack.encode(syncing.Shared(NEW.key, b"b" * 16, reference))
    yield msgspec.msgpack.encode(syncing.Taken(b"b" * 16))
    yield msgspec.msgpack.encode(syncing.Lacking([syncing.Package(b"c" * 16, b"key package", b"k" * 32)]))
    yield msgspec.msgpack.encode([99, "later"])


TARGETS = [
    Target(
        name="link-code",
        parsers=("hanatalk.client.engine.formats.link_codes.parse",),
        allowed=(ContentError,),
        ready=_code,
        seeds=_codes,
        mutate=_after_the_first,
        longest=2100,
    ),
    Target(
        name="beside",
        parsers=("hanatalk.client.engine.conversations.besides.unseal",),
        allowed=(ContentError,),
        ready=_beside,
        seeds=_parts,
        mutate=_after_the_first,
        longest=2100,
    ),
    Target(
        name="linking",
        parsers=("hanatalk.client.engine.people.linking.parse", "hanatalk.client.engine.people.linking.verify_offer"),
        allowed=(ContentError, VerificationError),
        ready=_said,
        seeds=_exchange,
        mutate=tree,
    ),
    Target(
        name="history",
        parsers=("hanatalk.client.engine.formats.records.read", "hanatalk.client.engine.formats.records.parse"),
        allowed=(ContentError,),
        ready=_history,
        seeds=_bundles,
        mutate=_framed,
    ),
    Target(
        name="siblings",
        parsers=("hanatalk.client.engine.formats.syncing.parse",),
        allowed=(ContentError,),
        ready=_siblings,
        seeds=_things_said,
        mutate=tree,
    ),
]
