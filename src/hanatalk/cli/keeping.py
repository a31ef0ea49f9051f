"""`timer`: how long texts of a conversation stay."""

import click

from hanatalk.cli.command import Command, takes_settings
from hanatalk.cli.durations import Duration
from hanatalk.cli.opened import ask
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings
from hanatalk.client import calls

_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


@click.command("timer", cls=Command, help="cli.help.timer")
@click.argument("conversation", metavar="CONV")
@click.argument("duration", metavar="[30s|off]", type=Duration(off=True), required=False)
@click.option("--privacy", type=click.Choice(["on", "off"]), help="cli.timer.privacy")
@takes_settings
def timer(settings: Settings, *, conversation: str, duration: int | None, privacy: str | None) -> None:
    """Show how long texts stay, or agree on it anew."""
    output = Output(settings)
    wanted = None if privacy is None else privacy == "on"
    kept = ask(settings, calls.Keep(conversation=conversation, timer=duration, privacy=wanted), calls.Kept)
    output.result(kept, said(output, timer=kept.timer, privacy=kept.privacy))
    if kept.state != "done":
        output.note("cli.timer.queued")


def said(output: Output, *, timer: int | None, privacy: bool) -> str:
    """In one sentence. `timer`: seconds"""
    if timer is None:
        return output.say("cli.timer.privacy-only" if privacy else "cli.timer.none")
    return output.say("cli.timer.both" if privacy else "cli.timer.only", duration=short(timer))


def short(seconds: int) -> str:
    """As it is typed: ``90s``, ``2d``."""
    count, unit = next((seconds // size, unit) for size, unit in _UNITS if not seconds % size)
    return f"{count}{unit}"
