"""Where things are printed: results to stdout, prose to stderr, with ``--json`` one object per line."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hanatalk.cli import shown
from hanatalk.cli.settings import Settings, coloured
from hanatalk.words import sentence

if TYPE_CHECKING:
    import msgspec

    Printable = msgspec.Struct | Mapping[str, object]


class Output:
    """One per invocation. Every line is written at once: `hana listen | …` sees events as they come."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._colour = coloured(sys.stdout.isatty())

    @property
    def is_json(self) -> bool:
        """Prose only where a person reads it."""
        return self._settings.json

    def result(self, value: "Printable", prose: str) -> None:
        """What was asked for: the object with ``--json``, else the prose (already escaped by `shown`)."""
        if self.is_json:
            self.object(value)
        else:
            self.line(prose)

    def object(self, value: "Printable") -> None:
        """One JSON object on one line of stdout."""
        sys.stdout.buffer.write(encoded(value))
        sys.stdout.buffer.flush()

    def line(self, prose: str) -> None:
        """A line of a result on stdout."""
        print(prose, flush=True)

    def note(self, key: str, **values: str | int) -> None:
        """Prose beside the result, on stderr; nothing with ``--json``."""
        if not self.is_json:
            print(self.say(key, **values), file=sys.stderr, flush=True)

    def say(self, key: str, **values: str | int) -> str:
        """A sentence of the catalogue in the chosen language, its values made safe for a terminal."""
        return said(self._settings, key, values)

    def painted(self, prose: str, style: str) -> str:
        """`style` is the parameter of an SGR sequence, e.g. ``"33"`` for yellow."""
        return f"\x1b[{style}m{prose}\x1b[0m" if self._colour else prose


def said(settings: Settings, key: str, values: Mapping[str, str | int]) -> str:
    """See `Output.say`."""
    # A key without a sentence comes back as itself.
    return sentence(settings.language, shown.name(key), **shown.values(values))


def encoded(value: "Printable") -> bytes:
    """UTF-8 whatever the locale is, one line, safe to look at in a terminal."""
    import msgspec

    return (shown.json_line(msgspec.json.encode(value).decode()) + "\n").encode()
