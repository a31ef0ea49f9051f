"""The relay's log: one JSON object per line on stderr, allow-listed fields, nothing that names a person (HT-R-094)."""

import re
from collections.abc import MutableMapping
from typing import Any, Protocol, TextIO, cast

import structlog

# What a line may hold. Numbers and short codes only: no address, port, token, id, path, URL or exception text.
FIELDS = frozenset({"event", "level", "store", "code", "error", "entries", "channels", "connections", "operations"})
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
    return isinstance(value, int) or (isinstance(value, str) and _CODE.fullmatch(value) is not None)


def relay_log(stream: TextIO) -> RelayLog:
    """A logger writing to `stream`. structlog's and logging's global settings stay as they are."""
    logger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[structlog.stdlib.add_log_level, allow_listed, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return cast(RelayLog, logger)
