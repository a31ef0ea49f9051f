"""Being let in: `relay-pass`."""

import click

from hanatalk.cli import passes
from hanatalk.cli.command import Command, takes_settings
from hanatalk.cli.opened import answered, with_profile
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings
from hanatalk.client import Profile, calls
from hanatalk.errors import UsageError


@click.command("relay-pass", cls=Command, help="cli.help.relay-pass")
@click.argument("url", required=False, metavar="[URL]")
@click.option("--access-pass-file", metavar="PATH", help="cli.relay-pass.file")
@click.option("--forget", is_flag=True, help="cli.relay-pass.forget")
@takes_settings
def relay_pass(settings: Settings, *, url: str | None, access_pass_file: str | None, forget: bool) -> None:
    """Keep the pass that a relay asks for, and connect with it."""
    if forget and access_pass_file is not None:
        raise UsageError("usage.value", what="--forget", command="hana relay-pass")
    output = Output(settings)

    # the passphrase may be the line of standard input before it, so the profile is opened before the pass is read
    async def keep(profile: Profile) -> calls.PassKept:
        given = None if forget else passes.given(settings, access_pass_file)
        return await answered(profile, calls.RelayPass(relay=url, access_pass=given), calls.PassKept)

    kept = with_profile(settings, keep)
    done = "cli.relay-pass.taken" if kept.connected else "cli.relay-pass.kept"
    output.result(kept, output.say("cli.relay-pass.forgotten" if forget else done, relay=kept.relay))
