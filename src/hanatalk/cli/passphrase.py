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

    :raises UsageError: ``passphrase.differ``
    """
    if settings.passphrase_file is not None:
        return from_file(settings)
    first = _asked(settings, "cli.passphrase.choose")
    if first != _asked(settings, "cli.passphrase.again"):
        raise UsageError("passphrase.differ")
    return first


def from_file(settings: Settings) -> str:
    """The first line of the file, or of standard input for ``-``.

    :raises UsageError: ``profile.empty-passphrase``, ``passphrase.file``
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
        raise UsageError("passphrase.file", path=path) from None
    if len(line) > LONGEST:
        raise UsageError("passphrase.file", path=path)
    if not passphrase:
        raise UsageError("profile.empty-passphrase")
    return passphrase


def _asked(settings: Settings, key: str) -> str:
    """Ask the person at the terminal, also while standard input is a pipe (``echo hello | hana send CONV -``).

    :raises ProfileError: ``profile.passphrase-needed`` if nobody is there to ask
    """
    if not (sys.stdin is not None and sys.stdin.isatty()) and not (sys.stderr.isatty() and _terminal()):
        raise ProfileError("profile.passphrase-needed")
    from getpass import getpass

    try:
        passphrase = getpass(said(settings, key, {}) + " ")
    except EOFError:
        raise ProfileError("profile.passphrase-needed") from None
    if not passphrase:
        raise UsageError("profile.empty-passphrase")
    return passphrase


def _terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
