"""`search`: messages of all conversations."""

import click

from hanatalk.cli import rendering
from hanatalk.cli.command import Command, takes_settings
from hanatalk.cli.opened import answered, with_profile
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings
from hanatalk.cli.talk import from_stdin
from hanatalk.client import Profile, calls


@click.command("search", cls=Command, help="cli.help.search")
@click.argument("text", metavar="TEXT|-")
@click.option("--in", "conversation", metavar="CONV", help="cli.search.in")
@click.option("--before", metavar="ID", help="cli.search.before")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, metavar="N", help="cli.search.limit")
@takes_settings
def search(settings: Settings, *, text: str, conversation: str | None, before: str | None, limit: int) -> None:
    """Print what was found, newest first."""
    output = Output(settings)

    # the passphrase may be the first line of standard input, so the profile is opened before the text is read
    async def look(profile: Profile) -> tuple[calls.Account, calls.FoundList]:
        typed = from_stdin() if text == "-" else text
        call = calls.Search(text=typed, conversation=conversation, before=before, limit=limit)
        found = await answered(profile, call, calls.FoundList)
        return await answered(profile, calls.Status(), calls.Account), found

    account, found = with_profile(settings, look)
    for one in found.found:
        if output.is_json:
            output.object(one)
        else:
            output.line(rendering.found(one, own=account.account, me=output.say("cli.me"), paint=output.painted))
    if not found.found:
        output.note("cli.search.none")
    elif found.more:
        output.note("cli.search.more", message=found.found[-1].message[:8])
