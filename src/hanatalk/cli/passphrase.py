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
    passphrase = first_line(path)
    if passphrase is None:
        raise UsageError("passphrase.file", path=path)
    if not passphrase:
        raise UsageError("profile.empty-passphrase")
    return passphrase


def first_line(path: str) -> str | None:
    """The first line of the file, or of standard input for ``-``; None if it holds no such line of UTF-8."""
    try:
        if path == "-":
            line = sys.stdin.buffer.readline(LONGEST + 1)
        else:
            with open(path, "rb") as file:
                line = file.readline(LONGEST + 1)
        text = line.decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        return None
    return None if len(line) > LONGEST else text


def asked(settings: Settings, key: str) -> str | None:
    """Ask the person at the terminal, also while standard input is a pipe (``echo hello | hana send CONV -``).

    None if nobody is there to ask.
    """
    if not (sys.stdin is not None and sys.stdin.isatty()) and not (sys.stderr.isatty() and _terminal()):
        return None
    from getpass import getpass

    try:
        return getpass(said(settings, key, {}) + " ")
    except EOFError:
        return None


def _asked(settings: Settings, key: str) -> str:
    """:raises ProfileError: ``profile.passphrase-needed`` if nobody is there to ask"""
    passphrase = asked(settings, key)
    if passphrase is None:
        raise ProfileError("profile.passphrase-needed")
    if not passphrase:
        raise UsageError("profile.empty-passphrase")
    return passphrase


def _terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
