"""Beginning: `init`, `invite`, `accept`, `verify`."""

import secrets
import sys

import click

from hanatalk.cli import passes, passphrase, rendering
from hanatalk.cli.command import Command, takes_settings
from hanatalk.cli.durations import Duration
from hanatalk.cli.opened import ask
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings, coloured
from hanatalk.client import calls, create_profile
from hanatalk.words.spoken import SEED, on_paper


@click.command("init", cls=Command, help="cli.help.init")
@click.option("--name", required=True, metavar="NAME", help="cli.init.name")
@click.option("--relay", "relays", required=True, multiple=True, metavar="URL", help="cli.init.relay")
@click.option("--no-passphrase", is_flag=True, help="cli.init.no-passphrase")
@click.option("--access-pass-file", metavar="PATH", help="cli.relay-pass.file")
@click.option("--paper", is_flag=True, help="cli.init.paper")
@takes_settings
def init(
    settings: Settings,
    *,
    name: str,
    relays: tuple[str, ...],
    no_passphrase: bool,
    access_pass_file: str | None,
    paper: bool,
) -> None:
    """Make a profile: an account with this device."""
    output = Output(settings)
    secret = None if no_passphrase else passphrase.chosen(settings)
    access_pass = None if access_pass_file is None else passes.in_file(access_pass_file)
    seed = secrets.token_bytes(SEED) if paper else None
    made = create_profile(
        settings.home,
        name=name,
        relay=relays[0],
        fallbacks=relays[1:],
        passphrase=secret,
        access_pass=access_pass,
        paper=seed,
    )
    found = {"account": made.account, "device": made.device, "name": made.name}
    words = on_paper(seed, settings.language.value) if seed is not None else None
    output.result(
        found if words is None else {**found, "paper": words},
        output.say("cli.init.done", name=made.name, account=made.account),
    )
    if words is not None and not output.is_json:
        output.line(output.say("cli.init.words", words=words))
    output.note(f"cli.init.key.{made.key_place}")


@click.command("invite", cls=Command, help="cli.help.invite")
@click.option("--expires", type=Duration(), default="3d", metavar="3d", help="cli.invite.expires")
@click.option("--qr", is_flag=True, help="cli.invite.qr")
@click.option("--group", metavar="CONV", help="cli.invite.group")
@takes_settings
def invite(settings: Settings, *, expires: int, qr: bool, group: str | None) -> None:
    """Make a link for one person."""
    output = Output(settings)
    made = ask(settings, calls.Invite(expires=expires, group=group), calls.InviteMade)
    if qr:
        from hanatalk.cli.qr import drawn  # segno is not needed otherwise

        print(drawn(made.invite, colour=coloured(sys.stderr.isatty())), file=sys.stderr)
    output.result(made, made.invite)
    output.note("cli.invite.note", until=f"{rendering.moment(made.expires_at):%Y-%m-%d %H:%M}")
    if made.state != "stored":
        output.note("cli.invite.queued")


@click.command("accept", cls=Command, help="cli.help.accept")
@click.argument("link", metavar="LINK")
@takes_settings
def accept(settings: Settings, *, link: str) -> None:
    """Begin a conversation with whoever made the link."""
    output = Output(settings)
    if link == "-":
        link = sys.stdin.buffer.readline().decode(errors="replace")
    accepted = ask(settings, calls.Accept(link=link.strip()), calls.Accepted)
    output.result(accepted, output.say("cli.accept.done", name=accepted.name))
    output.note("cli.accept.verify", name=accepted.name)


@click.command("verify", cls=Command, help="cli.help.verify")
@click.argument("conversation", metavar="CONV")
@click.option("--confirm", is_flag=True, help="cli.verify.confirm")
@takes_settings
def verify(settings: Settings, *, conversation: str, confirm: bool) -> None:
    """Show the safety number; with --confirm, say that it was compared."""
    output = Output(settings)
    safety = ask(settings, calls.Verify(conversation=conversation, confirm=confirm), calls.Safety)
    groups = safety.safety_number.split()
    rows = [" ".join(groups[start : start + 4]) for start in range(0, len(groups), 4)]
    output.result(safety, "\n".join(rows))
    output.note("cli.verify.verified" if safety.verified else "cli.verify.compare")
