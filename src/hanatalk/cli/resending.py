"""`resend`: what was not delivered, once more."""

import click

from hanatalk.cli.command import Command, takes_settings
from hanatalk.cli.opened import ask
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings
from hanatalk.client import calls


@click.command("resend", cls=Command, help="cli.help.resend")
@click.argument("message", metavar="ID")
@takes_settings
def resend(settings: Settings, *, message: str) -> None:
    """Send an own message once more that somebody did not get."""
    output = Output(settings)
    sent = ask(settings, calls.Resend(message=message), calls.Sent)
    output.result(sent, output.say(f"cli.send.{sent.state}"))
