"""The relay's log: lines on stderr with allow-listed fields and without a time, nothing that names a person (HT-R-094).

Whoever collects the lines may add times: so a line says what became of the relay, or sums up; none is about one
connection.
"""

import re
from collections.abc import MutableMapping
from typing import Any, Literal, Protocol, TextIO, cast

import structlog

from hanatalk import __version__

# What a line may hold. Numbers and short codes only: no address, port, token, id, path, URL or exception text.
FIELDS = frozenset(
    {
        "access_pass",
        "admin",
        "channels",
        "code",
        "connections",
        "cut_off",
        "entries",
        "error",
        "event",
        "files",
        "free_mib",
        "level",
        "operations",
        "store",
        "times",
        "tls",
        "version",
    }
)
_CODE = re.compile(r"(?=.{1,40}$)[A-Za-z]+([._-][A-Za-z]+)*")  # words without digits: no id or address is one


class RelayLog(Protocol):
    """What we use of a structlog logger."""

    def info(self, event: str, **fields: str | int) -> None: ...
    def warning(self, event: str, **fields: str | int) -> None: ...
    def error(self, event: str, **fields: str | int) -> None: ...


def allow_listed(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: drop every field that is not on the list, and every value that is no number or code."""
    return {name: value for name, value in line.items() if name in FIELDS and _harmless(value)}


def _harmless(value: object) -> bool:
    if isinstance(value, str):
        return value == __version__ or _CODE.fullmatch(value) is not None
    return isinstance(value, int)


def as_text(_: object, __: str, line: MutableMapping[str, Any]) -> str:
    """A structlog renderer: ``warning disk-full free_mib=12``."""
    level, event = line.pop("level", ""), line.pop("event", "")
    return " ".join([f"{level:7}", event, *(f"{name}={value}" for name, value in line.items())])


def relay_log(
    stream: TextIO, *, form: Literal["json", "text"] = "json", level: Literal["info", "warning", "error"] = "info"
) -> RelayLog:
    """A logger writing to `stream` what is at least as grave as `level`. No global setting is read or changed."""
    logger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[
            structlog.stdlib.add_log_level,
            allow_listed,
            structlog.processors.JSONRenderer() if form == "json" else as_text,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    return cast(RelayLog, logger)
