"""Where a passphrase comes from: a person at the terminal, or a file named by ``--passphrase-file``. Never argv."""

import os
import sys
from collections.abc import Callable

from hanatalk.cli.output import said
from hanatalk.cli.settings import Settings
from hanatalk.errors import ProfileError, UsageError

LONGEST = 4096  # bytes: a file that is not a passphrase file is noticed


def source(settings: Settings) -> Callable[[], str]:
    """What `open_profile` calls if it needs the passphrase.

    Standard input is read at once, whether it will be needed or not: what follows the first line may be a message.
    """
    if settings.passphrase_file == "-":  # noqa: S105 (a file's name)
        line = from_file(settings)
        return lambda: line
    if settings.passphrase_file is not None:
        return lambda: from_file(settings)
    return lambda: _asked(settings, "cli.passphrase.ask")


def chosen(settings: Settings) -> str:
    """A new profile's passphrase: asked twice, or read from the file.

    :raises UsageError: ``cli.passphrase.differ``
    """
    if settings.passphrase_file is not None:
        return from_file(settings)
    first = _asked(settings, "cli.passphrase.choose")
    if first != _asked(settings, "cli.passphrase.again"):
        raise UsageError("cli.passphrase.differ")
    return first


def from_file(settings: Settings) -> str:
    """The first line of the file, or of standard input for ``-``.

    :raises UsageError: ``cli.passphrase.empty``, ``cli.passphrase.file``
    """
    path = settings.passphrase_file
    assert path is not None
    try:
        if path == "-":
            line = sys.stdin.buffer.readline(LONGEST + 1)
        else:
            with open(path, "rb") as file:
                line = file.readline(LONGEST + 1)
        passphrase = line.decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise UsageError("cli.passphrase.file", path=path) from None
    if len(line) > LONGEST:
        raise UsageError("cli.passphrase.file", path=path)
    if not passphrase:
        raise UsageError("cli.passphrase.empty")
    return passphrase


def _asked(settings: Settings, key: str) -> str:
    """Ask the person at the terminal, also while standard input is a pipe (``echo hello | hana send CONV -``).

    :raises ProfileError: ``cli.passphrase.needed`` if nobody is there to ask
    """
    if not (sys.stdin is not None and sys.stdin.isatty()) and not (sys.stderr.isatty() and _terminal()):
        raise ProfileError("cli.passphrase.needed")
    from getpass import getpass

    try:
        passphrase = getpass(said(settings, key, {}) + " ")
    except EOFError:
        raise ProfileError("cli.passphrase.needed") from None
    if not passphrase:
        raise UsageError("cli.passphrase.empty")
    return passphrase


def _terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
