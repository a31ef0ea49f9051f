"""The 1 from the other side: `readers`, `receipts`."""

import click

from hanatalk.cli import rendering
from hanatalk.cli.command import Command, takes_settings
from hanatalk.cli.opened import ask
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings
from hanatalk.client import calls


@click.command("readers", cls=Command, help="cli.help.readers")
@click.argument("message", metavar="ID")
@takes_settings
def readers(settings: Settings, *, message: str) -> None:
    """List who has read an own message."""
    output = Output(settings)
    for reader in ask(settings, calls.Readers(message=message), calls.ReaderList).readers:
        state = output.say(f"cli.readers.{reader.state}")
        output.result(reader, rendering.reader(reader, state=state, paint=output.painted))


@click.command("receipts", cls=Command, help="cli.help.receipts")
@click.argument("conversation", metavar="CONV")
@click.argument("switch", metavar="on|off", type=click.Choice(["on", "off"]))
@takes_settings
def receipts(settings: Settings, *, conversation: str, switch: str) -> None:
    """Tell the others what is read here, or not."""
    output = Output(settings)
    ask(settings, calls.Telling(conversation=conversation, telling=switch == "on"), calls.Done)
    output.result({"receipts": switch}, output.say(f"cli.receipts.{switch}"))
