"""A relay's access pass (HT-R-021), from a file or the terminal, never argv. Knows no profile: operators use it too."""

from hanatalk.cli import passphrase
from hanatalk.cli.settings import Settings
from hanatalk.errors import UsageError

LEAST, MOST = 16, 128  # bytes; a shorter one could be guessed by a relay that was shown a proof of it


def in_file(path: str) -> bytes:
    """The pass in the first line of a file, or of standard input for ``-``.

    :raises UsageError: ``access-pass.file``, ``access-pass.length``
    """
    line = passphrase.first_line(path)
    if line is None:
        raise UsageError("access-pass.file", path=path)
    return _checked(line)


def given(settings: Settings, path: str | None) -> bytes:
    """The pass in a file, or else typed.

    :raises UsageError: ``access-pass.nobody`` if nobody is there to ask, and as `in_file`
    """
    if path is not None:
        return in_file(path)
    typed = passphrase.asked(settings, "cli.relay-pass.ask")
    if typed is None:
        raise UsageError("access-pass.nobody")
    return _checked(typed)


def _checked(text: str) -> bytes:
    access_pass = text.strip().encode()
    if not LEAST <= len(access_pass) <= MOST:
        raise UsageError("access-pass.length", least=LEAST, most=MOST)
    return access_pass
