"""Mutations that keep a structure. Flipping bits alone hardly ever gets past a decoder's first check."""

import random
from typing import Any

import msgspec

BOUNDS: list[int] = [0, 1, 2, 9, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 4096, 65_535, 65_536, 2**31 - 1, 2**31]
BOUNDS += [
    2**32 - 1,
    2**32,
    2**40,
    2**48 - 1,
    2**48,
    2**53 - 1,
    2**53,
    2**63 - 1,
    2**63,
    2**64 - 1,
    -1,
    -(2**31),
    -(2**63),
]
TEXTS: list[str] = [
    "",
    " ",
    "민지",
    "minji\u202e",
    "\x1b[2J",
    "\x9b31m",
    "\u3164",
    "a\nb",
    "a\u200db",
    "👨‍👩‍👧",
    "\U000e0041",
]
TEXTS += [
    "\ufeff",
    "x" * 65,
    "\u0301" * 40,
    "\ud800",
    "{name}",
    "%s",
    "../..",
    "\x00",
    "ﷺ" * 8,
    "{name:이/가}",
    "\u2028",
]
TEXTS += ["²", "a\U000e0100", "葛\U000e0100", "\u17b4", "x\ufe0f", "❤\ufe0f"]
LENGTHS = (0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 101, 128, 129, 512, 513, 1024, 1025)
NO_UTF8 = b"\xa3\xff\xfe\x80"  # MessagePack: a text of three bytes that are none
DEEP = b"\x91" * 3000 + b"\x00"


class _Chance(random.Random):
    """libFuzzer's seed decides, so that a run can be repeated. `alone`: libFuzzer itself is not asked for anything."""

    alone = False


def tree(given: bytes, longest: int, seed: int, *, alone: bool = False) -> bytes:
    """Change one to four places of a MessagePack value, also of one that is wrapped in the bytes of another."""
    chance = _Chance(seed)
    chance.alone = alone
    if chance.random() < 0.1:
        return _bytes(given, longest, chance)
    try:
        value = msgspec.msgpack.decode(given)
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            value = _changed(value, chance)
        made = msgspec.msgpack.encode(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError, TypeError):
        return _bytes(given, longest, chance)
    return made if len(made) <= longest else _bytes(given, longest, chance)


def vectors(given: bytes, longest: int, seed: int) -> bytes:
    """Change TLS-encoded bytes: cut, repeat, empty or swap what reads as a vector of variable size, or flip bits."""
    chance = _Chance(seed)
    if len(given) < 8 or chance.random() < 0.3:
        return _bytes(given, longest, chance)
    changed = bytearray(given)
    for _ in range(chance.choice((1, 1, 2, 3))):
        place = chance.randrange(len(changed))
        found = vector_at(bytes(changed), place)
        if found is None:
            changed[place] = chance.choice((0, 1, 2, 0x3F, 0x40, 0x7F, 0x80, 0xBF, 0xC0, 0xFF, changed[place] ^ 1))
            continue
        start, end = found
        content = bytes(changed[start:end])
        match chance.randrange(6):
            case 0:
                content = b""
            case 1:
                content = content[: chance.randrange(len(content) + 1)]
            case 2:
                content += content
            case 3:
                content = _bytes(content, max(len(content) * 2, 16), chance)
            case 4:
                content = bytes(chance.randrange(64))
            case _:
                other = vector_at(bytes(changed), chance.randrange(len(changed)))
                if other is not None:
                    content = bytes(changed[other[0] : other[1]])
        changed[place:end] = vector(content)
    return bytes(changed[:longest])


def vector(content: bytes) -> bytes:
    """RFC 9420, 2.1.2."""
    length = len(content)
    if length < 1 << 6:
        return length.to_bytes(1) + content
    if length < 1 << 14:
        return (length | 1 << 14).to_bytes(2) + content
    return (length | 2 << 30).to_bytes(4) + content


def vector_at(encoded: bytes, place: int) -> tuple[int, int] | None:
    """Where the content of a vector that starts at `place` begins and ends, if it can be one."""
    width = 1 << (encoded[place] >> 6)
    if width > 4 or place + width > len(encoded):
        return None
    length = int.from_bytes(encoded[place : place + width]) & ((1 << (8 * width - 2)) - 1)
    start = place + width
    return (start, start + length) if 0 < length <= len(encoded) - start else None


def _bytes(given: bytes, longest: int, chance: _Chance) -> bytes:
    """libFuzzer's own mutations, or a flipped bit."""
    if longest > 0 and not chance.alone:
        from atheris import Mutate

        mutated: bytes = Mutate(given[:longest], longest)
        return mutated
    changed = bytearray(given or b"\0")
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed[:longest])


def _changed(value: Any, chance: _Chance) -> Any:
    if isinstance(value, list) and value and chance.random() < 0.9:
        place = chance.choices(range(len(value)), weights=[_size(part) for part in value])[0]
        value = list(value)
        match chance.randrange(12):
            case 0:
                del value[place]
            case 1:
                value.insert(place, value[place])
            case 2:
                other = chance.randrange(len(value))
                value[place], value[other] = value[other], value[place]
            case _:
                value[place] = _changed(value[place], chance)
        return value
    if isinstance(value, dict) and value and chance.random() < 0.8:
        name = chance.choice(list(value))
        return {**value, name: _changed(value[name], chance)}
    if isinstance(value, bytes) and value and chance.random() < 0.8:
        return _changed_bytes(value, chance)
    if isinstance(value, str) and chance.random() < 0.4:
        return chance.choice("x가") * chance.choice(LENGTHS)
    if isinstance(value, str) and chance.random() < 0.7:
        cut = chance.randrange(len(value) + 1)
        return value[:cut] + chance.choice(TEXTS).encode("utf-8", "ignore").decode() + value[cut:]
    if isinstance(value, int) and not isinstance(value, bool) and chance.random() < 0.8:
        return chance.choice((value + 1, value - 1, value * 2, *chance.sample(BOUNDS, 4), chance.randrange(64)))
    return _anything(chance)


def _size(value: Any) -> int:
    """So that every part of a tree is as likely to change as any other."""
    if isinstance(value, list):
        return 1 + sum(_size(part) for part in value)
    return 1


def _changed_bytes(value: bytes, chance: _Chance) -> Any:
    if len(value) > 1 and chance.random() < 0.4:
        try:
            inner = msgspec.msgpack.decode(value)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            inner = None
        if isinstance(inner, list):
            return msgspec.msgpack.encode(_changed(inner, chance))
    match chance.randrange(6):
        case 5:
            return value[:1] * chance.choice(LENGTHS)
        case 0:
            return value[: chance.randrange(len(value))]
        case 1:
            return value + bytes(chance.choice((1, 16, 32, 600)))
        case 2:
            return bytes(len(value))
        case _:
            return _bytes(value, len(value) + 8, chance)


def _anything(chance: _Chance) -> Any:
    match chance.randrange(10):
        case 0:
            return None
        case 1:
            return chance.random() < 0.5
        case 2:
            return chance.choice((0.5, float("nan"), float("inf"), -0.0))
        case 3:
            return bytes(chance.choice((0, 1, 15, 16, 17, 32, 33, 64, 512)))
        case 4:
            return chance.choice(TEXTS).encode("utf-8", "ignore").decode()
        case 5:
            return [_anything(chance) for _ in range(chance.randrange(4))]
        case 6:
            return {"a": 1, 2: b"x"} if chance.random() < 0.5 else {}
        case 7:
            return msgspec.Raw(NO_UTF8)
        case 8:
            return msgspec.Raw(DEEP) if chance.random() < 0.2 else chance.choice(BOUNDS)
        case _:
            return chance.choice([bound for bound in BOUNDS if -(2**63) <= bound < 2**64])
