"""Introductions: `introduce`, `introductions`, `meet`."""

import click

from hanatalk.cli.command import Command, takes_settings
from hanatalk.cli.opened import ask
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings
from hanatalk.client import calls


@click.command("introduce", cls=Command, help="cli.help.introduce")
@click.argument("one", metavar="CONTACT")
@click.argument("other", metavar="CONTACT")
@takes_settings
def introduce(settings: Settings, *, one: str, other: str) -> None:
    """Tell two contacts of each other."""
    output = Output(settings)
    made = ask(settings, calls.Introduce(one=one, other=other), calls.IntroductionMade)
    output.result(made, output.say("cli.introduce.done", one=one, other=other))


@click.command("introductions", cls=Command, help="cli.help.introductions")
@takes_settings
def introductions(settings: Settings) -> None:
    """List whom I was told of."""
    output = Output(settings)
    found = ask(settings, calls.Introductions(), calls.IntroductionList).introductions
    for each in found:
        output.result(each, f"{output.say('cli.meet.one', name=each.name, by=each.by)} {_state(output, each)}")
    if not found:
        output.note("cli.meet.none")


@click.command("meet", cls=Command, help="cli.help.meet")
@click.argument("introduction", metavar="NAME|ID")
@click.option("--decline", is_flag=True, help="cli.meet.decline")
@takes_settings
def meet(settings: Settings, *, introduction: str, decline: bool) -> None:
    """Answer an introduction."""
    output = Output(settings)
    found = ask(settings, calls.Meet(introduction=introduction, yes=not decline), calls.Introduction)
    output.result(found, _state(output, found))


def _state(output: Output, introduction: calls.Introduction) -> str:
    return output.say(f"cli.meet.{introduction.state}", name=introduction.name)
