"""The entry point of `hana`, and the list of its commands."""

import errno
import os
import sys
from collections.abc import Sequence

import click

from hanatalk.cli import errors
from hanatalk.cli.command import Group
from hanatalk.cli.settings import Settings, from_environment
from hanatalk.errors import HanaError

COMMANDS = {
    "init": "people",
    "invite": "people",
    "accept": "people",
    "chats": "talk",
    "send": "talk",
    "sync": "talk",
    "messages": "talk",
    "read": "talk",
    "recall": "talk",
    "resend": "resending",
    "save": "files",
    "move": "relocating",
    "react": "about",
    "edit": "about",
    "versions": "about",
    "view": "about",
    "delete": "about",
    "timer": "keeping",
    "introduce": "meeting",
    "introductions": "meeting",
    "meet": "meeting",
    "search": "searching",
    "listen": "listening",
    "verify": "people",
    "lock": "locking",
    "wipe": "locking",
    "group": "groups",
    "devices": "devices",
    "readers": "receipts",
    "receipts": "receipts",
    "relay": "relays",
    "relay-pass": "access",
    "demo": "rehearsal",
    "drill": "surging",
}

_COMPLETION = "_HANA_COMPLETE"  # the variable click's completion scripts set


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. Never raises, never prints a traceback."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    settings = from_environment(words, os.environ)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a locale without Hangul must not crash us
    try:
        return _run(words, settings)
    except click.exceptions.NoArgsIsHelpError as error:
        if not settings.json:
            print(error.format_message(), file=sys.stderr)
            return 2
        return errors.report(errors.from_click(error), settings)
    except click.ClickException as error:
        return errors.report(errors.from_click(error), settings)
    except HanaError as error:
        return errors.report(error, settings)
    except (KeyboardInterrupt, click.Abort):
        return errors.INTERRUPTED
    except OSError as error:
        if isinstance(error, BrokenPipeError) or error.errno == errno.EPIPE:
            # what is still buffered has no reader either; without this the interpreter complains at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return errors.BROKEN_PIPE
        return errors.report(errors.from_system(error), settings)
    except Exception as error:  # noqa: BLE001 (a bug: said in one line, without its values)
        return errors.report(errors.from_bug(error), settings)


def _run(words: list[str], settings: Settings) -> int:
    hana = Group("hana", lazy=COMMANDS, top=True, help="cli.help.hana")
    instruction = os.environ.get(_COMPLETION)
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(hana, {"obj": settings}, "hana", _COMPLETION, instruction)
    try:
        # not hana.main(): it would answer a broken pipe and an interrupt its own way
        with hana.make_context("hana", words, obj=settings) as context:
            hana.invoke(context)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    sys.stdout.flush()
    return 0
