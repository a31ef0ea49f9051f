"""`move`: a conversation to another of its relays."""

import click

from hanatalk.cli.command import Command, takes_settings
from hanatalk.cli.opened import ask
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings
from hanatalk.client import calls


@click.command("move", cls=Command, help="cli.help.move")
@click.argument("conversation", metavar="CONV")
@click.option("--relay", metavar="URL", help="cli.move.relay")
@takes_settings
def move(settings: Settings, *, conversation: str, relay: str | None) -> None:
    """Let a conversation go on at another relay."""
    output = Output(settings)
    done = ask(settings, calls.Move(conversation=conversation, relay=relay), calls.Moved)
    output.result(done, output.say(f"cli.move.{done.state}", relay=done.relay))
