"""Ending: `lock`, `wipe`."""

import sys

import click

from hanatalk.cli.command import Command, takes_settings
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings
from hanatalk.client import calls, needs_passphrase, open_profile, wipe_profile
from hanatalk.errors import UsageError


class _NotOpenError(Exception):
    """No process has the profile open: opening it would have needed the passphrase."""


@click.command("lock", cls=Command, help="cli.help.lock")
@takes_settings
def lock(settings: Settings) -> None:
    """Make the process that has the profile open close it; the next command asks for the passphrase."""
    import asyncio

    output = Output(settings)
    if not needs_passphrase(settings.home):
        output.result({"locked": False}, output.say("cli.lock.nothing"))
        return

    def nobody() -> str:
        raise _NotOpenError

    async def close() -> None:
        async with open_profile(settings.home, passphrase=nobody) as profile:
            await profile.call(calls.Lock())

    try:
        asyncio.run(close())
    except _NotOpenError:
        output.result({"locked": True}, output.say("cli.lock.was"))
    else:
        output.result({"locked": True}, output.say("cli.lock.done"))


@click.command("wipe", cls=Command, help="cli.help.wipe")
@click.option("--yes", is_flag=True, help="cli.wipe.yes")
@takes_settings
def wipe(settings: Settings, *, yes: bool) -> None:
    """Destroy the profile, its key first."""
    output = Output(settings)
    needs_passphrase(settings.home)  # raises if there is no profile here: a foreign folder is never touched
    if not yes:
        if output.is_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError("usage.unconfirmed")
        question = output.say("cli.wipe.ask", home=str(settings.home))
        if not click.confirm(question, err=True):
            raise UsageError("usage.unconfirmed")
    wipe_profile(settings.home)
    output.result({"wiped": True}, output.say("cli.wipe.done"))
