"""About a message: `react`, `edit`, `versions`, `view`, `delete`."""

from pathlib import Path

import click

from hanatalk.cli import files, rendering, shown
from hanatalk.cli.command import Command, takes_settings
from hanatalk.cli.opened import answered, ask, with_profile
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings
from hanatalk.cli.sizes import in_bytes
from hanatalk.cli.talk import from_stdin
from hanatalk.client import Profile, calls
from hanatalk.errors import UsageError


@click.command("react", cls=Command, help="cli.help.react")
@click.argument("message", metavar="ID")
@click.argument("emoji", metavar="[EMOJI]", required=False)
@click.option("--remove", is_flag=True, help="cli.react.remove")
@takes_settings
def react(settings: Settings, *, message: str, emoji: str | None, remove: bool) -> None:
    """Put an emoji to a message, take it away, or (without one) see who put which."""
    output = Output(settings)
    if emoji and remove:
        raise UsageError("react.both")
    if emoji is None and not remove:
        _reactors(settings, output, message)
        return
    done = ask(settings, calls.React(message=message, emoji=emoji), calls.Reacted)
    key = "cli.react.queued" if done.state == "queued" else "cli.react.removed" if remove else "cli.react.done"
    output.result(done, output.say(key, emoji=emoji or ""))


def _reactors(settings: Settings, output: Output, message: str) -> None:
    found = ask(settings, calls.Reactors(message=message), calls.ReactorList)
    if output.is_json:
        output.object(found)
        return
    for reaction in found.reactions:
        output.line(f"{shown.name(reaction.emoji)}  {shown.name(reaction.from_)}")
    if not found.reactions:
        output.note("cli.react.none")


@click.command("edit", cls=Command, help="cli.help.edit")
@click.argument("message", metavar="ID")
@click.argument("text", metavar="TEXT|-")
@takes_settings
def edit(settings: Settings, *, message: str, text: str) -> None:
    """Put other words in the place of an own message's."""
    output = Output(settings)

    async def deliver(profile: Profile) -> calls.Edited:
        typed = from_stdin() if text == "-" else text
        return await answered(profile, calls.Edit(message=message, text=typed), calls.Edited)

    done = with_profile(settings, deliver)
    output.result(done, output.say("cli.edit.queued" if done.state == "queued" else "cli.edit.done"))


@click.command("versions", cls=Command, help="cli.help.versions")
@click.argument("message", metavar="ID")
@takes_settings
def versions(settings: Settings, *, message: str) -> None:
    """What a message said before it was edited."""
    output = Output(settings)
    found = ask(settings, calls.Versions(message=message), calls.VersionList)
    if output.is_json:
        output.object(found)
        return
    for version in found.versions:
        at = output.painted(f"{rendering.moment(version.sent_at):%Y-%m-%d %H:%M}", rendering.DIM)
        output.line(f"{at}  {shown.text(version.text)}")
    if not found.versions:
        output.note("cli.versions.none")


@click.command("view", cls=Command, help="cli.help.view")
@click.argument("message", metavar="ID")
@click.option("--to", "folder", type=click.Path(path_type=Path), metavar="DIR", help="cli.view.to")
@takes_settings
def view(settings: Settings, *, message: str, folder: Path | None) -> None:
    """Show what can be seen once."""
    output = Output(settings)
    into = str(folder.absolute()) if folder is not None else None

    async def see(profile: Profile) -> calls.Viewed:
        if into is not None:
            await files.fetched(profile, message, output)
        return await answered(profile, calls.View(message=message, folder=into), calls.Viewed)

    seen = with_profile(settings, see)
    output.result(seen, shown.text(seen.text))
    for each in seen.files:
        output.note("cli.save.done", file=each.file, size=in_bytes(each.size))
        files.warn(output, each)
    output.note("cli.view.note")


@click.command("delete", cls=Command, help="cli.help.delete")
@click.argument("message", metavar="ID")
@takes_settings
def delete(settings: Settings, *, message: str) -> None:
    """Delete a message here, and only here."""
    output = Output(settings)
    done = ask(settings, calls.Delete(message=message), calls.Deleted)
    output.result(done, output.say(f"cli.delete.{done.state}"))
