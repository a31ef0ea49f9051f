"""How long: ``90s``, ``3d``."""

import re
from typing import Any

import click

from hanatalk.errors import UsageError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


class Duration(click.ParamType[int]):
    """``90s``, ``30m``, ``12h``, ``3d``, ``2w``: whole seconds, at least one.

    :param off: ``off`` is 0
    """

    name = "duration"

    def __init__(self, *, off: bool = False) -> None:
        self._off = off

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if self._off and value == "off":
            return 0
        match = re.fullmatch(r"([0-9]{1,6})([smhdw])", str(value), re.ASCII)
        if match is None or not int(match[1]):
            raise UsageError("usage.duration", value=str(value))
        return int(match[1]) * _SECONDS[match[2]]
