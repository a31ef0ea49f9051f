"""Through the binding into OpenMLS: bytes as they are, and content that a member encrypts and signs properly (T-088).

A panic that the binding catches comes as `Poisoned` and is a finding, whatever else a target allows.
"""

import contextlib
import json
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.mls.crafted import KeyPackage

from fuzz import material
from fuzz.insider import APPLICATION, COMMIT, PROPOSAL
from fuzz.mutation import tree, vector, vectors
from fuzz.target import Attack, Broken, Target, hold
from hanatalk import mls
from hanatalk.errors import HanaError

VECTORS = Path(__file__).resolve().parents[2] / "spec" / "vectors" / "mls"
POLICY = 0xF0A0


def _read(given: bytes) -> list[Any]:
    try:
        value = msgspec.msgpack.decode(given)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return []
    return value if isinstance(value, list) else []


def _number(step: list[Any], place: int, limit: int) -> int:
    part = step[place] if place < len(step) else 0
    return part % limit if isinstance(part, int) else 0


def _raw(step: list[Any], place: int, otherwise: bytes = b"") -> bytes:
    part = step[place] if place < len(step) else None
    return part if isinstance(part, bytes) else otherwise


@contextlib.contextmanager
def _no_panic() -> Iterator[None]:
    """:raises Broken: a panic was caught"""
    try:
        yield
    except mls.Poisoned as error:
        if "panic" in str(error.detail.get("why", "")):
            raise Broken(str(error)) from error
        raise


def _attacked(attack: Attack) -> Attack:
    def guarded(given: bytes) -> None:
        with _no_panic():
            attack(given)

    return guarded


def _processed(group: mls.Group, kept: material.Group, message: bytes) -> None:
    """One message for Minji. Refused, it has changed nothing: the next good one still decrypts (T-019)."""
    before = (group.epoch, group.epoch_authenticator, group.has_pending_commit)
    try:
        taken = group.process(message)
    except mls.MlsError:
        hold((group.epoch, group.epoch_authenticator, group.has_pending_commit) == before, "refused, but changed")
        after = group.process(kept.good)
        hold(isinstance(after, mls.Application) and after.plaintext == b"good", "the next good message is lost")
        raise
    if isinstance(taken, mls.StagedCommit):
        hold(group.epoch == before[0], "staged is not merged")
        with contextlib.suppress(mls.Evicted):
            group.staged_export("fuzz", b"", 32)
            group.staged_epoch_authenticator()
        group.staged_merge()
        group.roster()
        group.extensions()
    elif isinstance(taken, mls.Application):
        hold(taken.sender == 1 and taken.epoch == before[0], "from nobody")
    if group.is_active:
        group.encrypt(b"still there")


def _message() -> Attack:
    """The first byte chooses the suite; the rest is the message."""

    def attack(given: bytes) -> None:
        kept = material.groups()[given[0] % 2 if given else 0]
        _processed(kept.load(), kept, given[1:])

    return attack


def _messages() -> Iterator[bytes]:
    for number, kept in enumerate(material.groups()):
        for message in (kept.good, kept.commit, kept.adding, *kept.others):
            yield bytes([number]) + message
    for found in _official("messages", ("private_message", "public_message_application", "public_message_commit")):
        yield b"\1" + found


def _official(name: str, fields: tuple[str, ...]) -> Iterator[bytes]:
    """A few of the working group's own vectors."""
    with lzma.open(VECTORS / f"{name}.json.xz") as opened:
        for one in json.load(opened)[:2]:
            for field in fields:
                if one.get(field):
                    yield bytes.fromhex(one[field])


def _insider() -> Attack:
    """[suite, content type, generation, content, context, padding, honest, tail]"""
    insiders = [kept.insider() for kept in material.groups()]

    def attack(given: bytes) -> None:
        step = _read(given)
        which = _number(step, 0, 2)
        kept = material.groups()[which]
        message = insiders[which].message(
            _number(step, 1, 5),
            _raw(step, 3),
            generation=_number(step, 2, 5000),
            aad=_raw(step, 4),
            padding=_number(step, 5, 600),
            honest=_number(step, 6, 8) != 7,
            tail=_raw(step, 7),
        )
        _processed(kept.load(), kept, message)

    return attack


def contents(kept: material.Group) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    """(content type, content, context, tail) of everything a member may send, and of what the profile refuses."""
    insider = kept.insider()
    yield APPLICATION, vector(b"hello"), b"", b""
    for commit, context in ((kept.commit, b"context"), (kept.adding, b"")):
        content, tail = insider.opened(commit, tail_length=kept.tail_length)
        yield COMMIT, content, context, tail
    tag = vector(bytes(kept.tail_length - 1))
    for proposals in proposal_lists(kept):
        yield COMMIT, vector(proposals) + b"\0", b"", tag
    yield PROPOSAL, b"\x00\x03" + (0).to_bytes(4), b"", b""


def by_value(proposal: bytes) -> bytes:
    """ProposalOrRef."""
    return b"\x01" + proposal


def proposal_lists(kept: material.Group) -> Iterator[bytes]:
    """Proposals of a commit: one of every kind, and combinations that make no sense."""
    add = by_value(b"\x00\x01" + kept.key_package[4:])
    remove = by_value(b"\x00\x03" + (0).to_bytes(4))
    psk = by_value(b"\x00\x04\x01" + vector(b"psk id") + vector(bytes(kept.tail_length - 1)))
    resumption = by_value(b"\x00\x04\x02\x01" + vector(kept.group_id) + bytes(8) + vector(bytes(kept.tail_length - 1)))
    reinit = by_value(b"\x00\x05" + vector(b"other") + b"\x00\x01" + kept.suite.to_bytes(2) + vector(b""))
    external = by_value(b"\x00\x06" + vector(b"kem output"))
    extensions = by_value(b"\x00\x07" + vector(POLICY.to_bytes(2) + vector(b"policy")))
    custom = by_value(b"\xf0\x01" + vector(b"custom"))
    reference = b"\x02" + vector(bytes(kept.tail_length - 1))
    yield from (add, remove, psk, resumption, reinit, external, extensions, custom, reference)
    yield add + add + remove + remove
    yield extensions + extensions
    yield remove + psk + by_value(b"\x00\x03" + (1).to_bytes(4)) + by_value(b"\x00\x03" + (2**32 - 1).to_bytes(4))


def _insider_seeds() -> Iterator[bytes]:
    for number, kept in enumerate(material.groups()):
        for content_type, content, context, tail in contents(kept):
            yield msgspec.msgpack.encode([number, content_type, 0, content, context, 0, 0, tail])
        yield msgspec.msgpack.encode([number, APPLICATION, 64, vector(b"late"), b"", 40, 0, b""])


def _inside(given: bytes, longest: int, seed: int) -> bytes:
    """Mostly the content, TLS-wise; else the frame around it."""
    step = _read(given)
    if seed % 4 == 0 or len(step) < 8 or not isinstance(step[3], bytes):
        return tree(given, longest, seed)
    place = 3 if seed % 16 else (4, 7)[seed // 16 % 2]
    step[place] = vectors(_raw(step, place), longest - len(given) + len(_raw(step, place)), seed)
    return msgspec.msgpack.encode(step)


def _key_package() -> Attack:
    """Raw bytes after a 0; after a 1 the fields of a KeyPackage that is signed properly."""
    key = Ed25519PrivateKey.from_private_bytes(b"k" * 32)

    def attack(given: bytes) -> None:
        message = given[1:]
        if given[:1] == b"\1":
            fields = _read(given[1:])
            message = _crafted(fields, key).message()
        info = mls.key_package_inspect(message)
        hold(info.suite in (mls.SUITE_X_WING, mls.SUITE_X25519), "a suite outside the profile")
        hold(len(info.signature_key) == 32 and info.ref, "no key")
        hold(0 <= info.not_before < 2**64 and 0 <= info.not_after < 2**64, "no lifetime")
        repr(info)

    return attack


def _numbers(value: Any, limit: int) -> tuple[int, ...]:
    return tuple(part % limit for part in value if isinstance(part, int)) if isinstance(value, list) else ()


def _crafted(fields: list[Any], key: Ed25519PrivateKey) -> KeyPackage:
    lifetime = [*_numbers(fields[8] if len(fields) > 8 else None, 2**64), 0, 0]
    return KeyPackage(
        suite=_number(fields, 0, 1 << 16),
        version=_number(fields, 1, 1 << 16),
        key=key,
        init_key=_raw(fields, 2),
        encryption_key=_raw(fields, 3),
        credential=_raw(fields, 4),
        suites=_numbers(fields[5] if len(fields) > 5 else None, 1 << 16),
        extension_types=_numbers(fields[6] if len(fields) > 6 else None, 1 << 16),
        credential_types=_numbers(fields[7] if len(fields) > 7 else None, 1 << 16),
        lifetime=(lifetime[0], lifetime[1]),
        leaf_extensions=_raw(fields, 9),
        extensions=_raw(fields, 10),
    )


def _key_packages() -> Iterator[bytes]:
    for kept in material.groups():
        yield b"\0" + kept.key_package
    for found in _official("messages", ("mls_key_package",)):
        yield b"\0" + found
    good = KeyPackage(init_key=b"\x09" + bytes(31), encryption_key=b"\x09" + bytes(31))
    fields: list[Any] = [good.suite, good.version, good.init_key, good.encryption_key, good.credential]
    fields += [list(good.suites), list(good.extension_types), list(good.credential_types), list(good.lifetime)]
    yield b"\1" + msgspec.msgpack.encode([*fields, b"", good.extensions])
    grease = (0x0A0A).to_bytes(2) + vector(b"grease")
    yield b"\1" + msgspec.msgpack.encode([*fields, grease, good.extensions + grease])


def _after_the_first(raw: Callable[[bytes, int, int], bytes]) -> Callable[[bytes, int, int], bytes]:
    def mutate(given: bytes, longest: int, seed: int) -> bytes:
        if not given:
            return bytes([seed % 2])
        return given[:1] + (tree if given[0] == 1 else raw)(given[1:], longest - 1, seed)

    return mutate


def _raw_after_the_first(given: bytes, longest: int, seed: int) -> bytes:
    return given[:1] + vectors(given[1:], longest - 1, seed) if given else bytes([seed % 4])


def _welcome() -> Attack:
    """The first byte chooses suite and shape: a Welcome with its tree, or a tree for a frozen Welcome without one."""

    def attack(given: bytes) -> None:
        flags = given[0] if given else 0
        kept = material.groups()[flags % 2]
        rows = list(kept.newcomer.items())
        if flags & 2:
            staged = mls.welcome_stage(kept.bare_welcome, rows, ratchet_tree=given[1:])
        else:
            staged = mls.welcome_stage(given[1:], rows)
        hold(any(member.leaf == staged.own_leaf for member in staged.members), "nobody's Welcome")
        group, _ = staged.join()
        group.encrypt(b"here")

    return attack


def _welcomes() -> Iterator[bytes]:
    for number, kept in enumerate(material.groups()):
        yield bytes([number]) + kept.welcome
        yield bytes([number]) + kept.bare_welcome
        yield bytes([number | 2]) + kept.tree
    for found in _official("messages", ("mls_welcome", "ratchet_tree")):
        yield b"\1" + found
        yield b"\3" + found


def _rows() -> Attack:
    """[suite, row, place, bytes, how]: a stored row of Minji's is damaged, cut, emptied or left out."""

    def attack(given: bytes) -> None:
        step = _read(given)
        kept = material.groups()[_number(step, 0, 2)]
        rows = sorted(kept.minji.items())
        which = _number(step, 1, len(rows))
        key, value = rows[which]
        place, part = _number(step, 2, len(value) + 1), _raw(step, 3)
        match _number(step, 4, 6):
            case 0:
                rows[which] = (key, value[:place] + part + value[place + len(part) :])
            case 1:
                rows[which] = (key, value[:place])
            case 2:
                del rows[which]
            case 3:
                rows[which] = (key, value[:1] + tree(value[1:], len(value) * 2 + 64, place, alone=True))
            case 4:
                rows[which] = (key, rows[place % len(rows)][1])
            case _:
                rows[which] = (key, part)
        group = mls.Group.load(kept.group_id, rows)
        for use in (
            lambda: group.process(kept.good),
            lambda: group.encrypt(b"hello"),
            group.roster,
            group.extensions,
            lambda: group.export_secret("fuzz", b"", 32),
            lambda: group.process(kept.adding),
            group.staged_merge,
            lambda: group.commit(self_update=True),
            group.pending_merge,
        ):
            with contextlib.suppress(mls.MlsError, mls.Misuse, mls.PendingCommit, mls.Evicted), _no_panic():
                use()

    return attack


def _row_seeds() -> Iterator[bytes]:
    for number, kept in enumerate(material.groups()):
        for which in range(len(kept.minji)):
            yield msgspec.msgpack.encode([number, which, 17 * which, b"\xff", which % 6])
            yield msgspec.msgpack.encode([number, which, which, b"", 3])


def _extensions() -> Attack:
    """[suite, [[type, bytes] …], group id, credential, context]: what a founder puts into a group and others read."""
    signer = mls.signer_new()

    def attack(given: bytes) -> None:
        step = _read(given)
        pairs = step[1] if len(step) > 1 and isinstance(step[1], list) else []
        extensions = [
            (pair[0], pair[1])
            for pair in pairs
            if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], int) and isinstance(pair[1], bytes)
        ]
        kept = material.groups()[_number(step, 0, 2)]
        group, _ = mls.Group.create(
            signer, suite=kept.suite, group_id=_raw(step, 2), credential=_raw(step, 3), extensions=extensions
        )
        hold(group.extensions() == extensions, "other extensions than were given")
        made = group.commit(adds=[kept.key_package], extensions=extensions[::-1], aad=_raw(step, 4))
        assert made.welcome is not None
        staged = mls.welcome_stage(made.welcome, list(kept.newcomer.items()))
        hold(sorted(staged.extensions) == sorted(extensions), "the joiner reads others")

    return attack


def _extension_seeds() -> Iterator[bytes]:
    for number in (0, 1):
        yield msgspec.msgpack.encode([number, [[POLICY, b"policy"]], b"group id", b"minji", b"context"])
        yield msgspec.msgpack.encode([number, [[POLICY, b""], [0xF0A1, b"x"], [0xF0A2, bytes(16)]], b"", b"", b""])
        yield msgspec.msgpack.encode([number, [[5, b"\0"], [3, b""], [POLICY, b"a"], [POLICY, b"b"]], b"g", b"m", b""])


def _target(
    name: str,
    ready: Callable[[], Attack],
    seeds: Callable[[], Iterator[bytes]],
    *,
    parser: str,
    mutate: Callable[[bytes, int, int], bytes],
    allowed: tuple[type[HanaError], ...] = (mls.MlsError,),
    short: int,
) -> Target:
    return Target(
        name=name,
        parsers=(f"hanatalk.mls.{parser}",),
        allowed=allowed,
        ready=lambda: _attacked(ready()),
        seeds=seeds,
        mutate=mutate,
        longest=16_384,
        short=short,
    )


TARGETS = [
    _target("mls-message", _message, _messages, parser="Group", mutate=_raw_after_the_first, short=300),
    _target("mls-insider", _insider, _insider_seeds, parser="Group", mutate=_inside, short=300),
    _target(
        "mls-key-package",
        _key_package,
        _key_packages,
        parser="key_package_inspect",
        mutate=_after_the_first(vectors),
        short=1500,
    ),
    _target("mls-welcome", _welcome, _welcomes, parser="welcome_stage", mutate=_raw_after_the_first, short=200),
    _target(
        "mls-rows",
        _rows,
        _row_seeds,
        parser="Group",
        mutate=tree,
        allowed=(mls.MlsError, mls.Poisoned, mls.Evicted),
        short=100,
    ),
    _target(
        "mls-extensions",
        _extensions,
        _extension_seeds,
        parser="Group",
        mutate=tree,
        allowed=(mls.MlsError, mls.Misuse),
        short=60,
    ),
]
