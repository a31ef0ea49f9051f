"""Every way a command can fail, turned into one line (or one JSON object) on stderr and an exit code.

0 done, 1 error, 2 usage, 3 network, 4 identity changed or verification failed, 5 refused by limits; 130 after Ctrl-C
and 141 after a broken pipe, as a shell reports the signals.
"""

import sys

import click

from hanatalk.cli import shown
from hanatalk.cli.output import encoded, said
from hanatalk.cli.settings import Settings
from hanatalk.errors import HanaError, LocalError, UsageError
from hanatalk.words import hint

INTERRUPTED = 130
BROKEN_PIPE = 141


def report(error: HanaError, settings: Settings) -> int:
    """Print what happened and what to do; return the exit code."""
    text = said(settings, error.code, error.detail)
    advice = hint(settings.language, error.code, **shown.values(error.detail))
    if settings.json:
        sys.stderr.buffer.write(encoded({"error": error.code, "text": text, "hint": advice}))
        sys.stderr.buffer.flush()
    else:
        print(f"hana: {text}", file=sys.stderr)
        if advice:
            print(f"      {advice}", file=sys.stderr)
    return error.exit_code


def from_click(error: click.ClickException) -> HanaError:
    """The parser's complaint as one of our codes, so that it is said in the chosen language too."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context is not None else "hana"
    match error:
        case click.exceptions.NoArgsIsHelpError():
            return UsageError("usage.command-missing", command=path)
        case click.exceptions.NoSuchOption():
            return UsageError("usage.option-unknown", option=error.option_name, command=path)
        case click.exceptions.NoSuchCommand():
            return UsageError("usage.command-unknown", name=error.command_name, command=path)
        case click.MissingParameter():
            return UsageError("usage.missing", what=_parameter(error), command=path)
        case click.BadOptionUsage():
            return UsageError("usage.option-value", option=error.option_name, command=path)
        case click.BadParameter():
            return UsageError("usage.value", what=_parameter(error), command=path)
    if context is not None and isinstance(context.command, click.Group) and not context.invoked_subcommand:
        return UsageError("usage.command-missing", command=path)
    return UsageError("usage.extra", command=path)


def from_bug(error: Exception) -> HanaError:
    """Nothing but HanaError should get this far. The place is named, the message is not: it may hold a secret."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return LocalError("hana.bug", kind=type(error).__name__, place="?")
    module = str(trace.tb_frame.f_globals.get("__name__", "?"))
    return LocalError("hana.bug", kind=type(error).__name__, place=f"{module}:{trace.tb_lineno}")


def from_system(error: OSError) -> HanaError:
    """The disk, a permission, a missing file: the system's own words and the path."""
    path = "" if error.filename is None else str(error.filename)
    return LocalError("hana.system", reason=error.strerror or type(error).__name__, path=path)


def _parameter(error: click.BadParameter) -> str:
    parameter = error.param
    if parameter is None:
        return ""
    if isinstance(parameter, click.Option):
        return parameter.opts[-1]
    return parameter.metavar or (parameter.name or "").upper()
