"""An operator's limits by name (``--limit NAME=NUMBER``): which there are, what each takes, where it goes."""

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from hanatalk.errors import UsageError
from hanatalk.relay.options import RelayOptions

_FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
MOST: Final = 2**53 - 1  # what LIMITS may carry (HT-R-018)


class Named(msgspec.Struct, frozen=True):
    """Where a limit goes and what it may be. A size is in bytes and takes K, M, G and T."""

    part: Literal["limits", "quota", "options"]
    field: str
    least: int = 1
    most: int = MOST
    size: bool = False


NAMED: Final[Mapping[str, Named]] = {
    "connections": Named("limits", "connections", most=1_000_000),
    "address-connections": Named("limits", "connections_per_address", most=1_000_000),
    "handshakes": Named("limits", "handshakes", most=1_000_000),
    "address-handshakes": Named("limits", "handshakes_per_address", most=1_000_000),
    "channels": Named("limits", "channels", most=1_000_000),
    "all-channels": Named("limits", "channels_in_all", most=100_000_000),
    "requests": Named("limits", "requests_per_second", least=0),
    "traffic": Named("limits", "bytes_per_second", least=0, size=True),
    "address-requests": Named("limits", "address_requests_per_second", least=0),
    "address-traffic": Named("limits", "address_bytes_per_second", least=0, size=True),
    "channel-entries": Named("quota", "channel_entries", least=8),
    "channel-size": Named("quota", "channel_bytes", least=1 << 20, size=True),
    "entries": Named("quota", "total_entries", least=8),
    "size": Named("quota", "total_bytes", least=1 << 20, size=True),
    "unfinished": Named("limits", "unfinished_size", least=1 << 20, size=True),
    "least-free": Named("options", "least_free", least=0, size=True),
    "work": Named("limits", "work", least=0, most=22),
    "work-from": Named("limits", "work_from", least=0, most=1_000_000),
}


def limited(options: RelayOptions, limits: Iterable[tuple[str, str]]) -> RelayOptions:
    """These options with these limits, each a name and a number as typed; of a repeated name the last counts.

    :raises UsageError: ``limit.unknown``, ``limit.number``, ``limit.range``
    """
    changes: dict[str, dict[str, int]] = {"limits": {}, "quota": {}, "options": {}}
    for name, number in limits:
        named = NAMED.get(name)
        if named is None:
            raise UsageError("limit.unknown", name=name, known=", ".join(NAMED))
        changes[named.part][named.field] = _number(name, named, number)
    return msgspec.structs.replace(
        options,
        limits=msgspec.structs.replace(options.limits, **changes["limits"]),
        quota=msgspec.structs.replace(options.quota, **changes["quota"]),
        **changes["options"],
    )


def value(options: RelayOptions, name: str) -> int:
    """What a limit is set to."""
    named = NAMED[name]
    part = options if named.part == "options" else getattr(options, named.part)
    found: int = getattr(part, named.field)
    return found


def shown(name: str, number: int) -> str:
    """A number as one would type it: sizes with the largest suffix that divides them."""
    if NAMED[name].size and number:
        for suffix, factor in reversed(_FACTORS.items()):
            if number % factor == 0:
                return f"{number // factor}{suffix}"
    return str(number)


def _number(name: str, named: Named, typed: str) -> int:
    match = re.fullmatch(r"([0-9]{1,16})([KMGT]?)", typed, re.ASCII)
    if match is None or (match[2] and not named.size):
        raise UsageError("limit.number", name=name)
    number = int(match[1]) * _FACTORS[match[2]]
    if not named.least <= number <= named.most:
        raise UsageError("limit.range", name=name, least=shown(name, named.least), most=shown(name, named.most))
    return number
