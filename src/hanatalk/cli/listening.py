"""`listen`: events as they come, until interrupted."""

import asyncio
import signal
from typing import assert_never

import click

from hanatalk.cli import rendering
from hanatalk.cli.command import Command, takes_settings
from hanatalk.cli.opened import answered, with_profile
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings
from hanatalk.client import Profile, calls, events

TERMINATED = 128 + signal.SIGTERM


@click.command("listen", cls=Command, help="cli.help.listen")
@takes_settings
def listen(settings: Settings) -> None:
    """Print events. The first one says whether the relay is connected; from then on nothing is missed."""
    output = Output(settings)

    async def follow(profile: Profile) -> bool:
        loop = asyncio.get_running_loop()
        this = asyncio.current_task()
        assert this is not None
        stopped = asyncio.Event()

        def stop() -> None:
            stopped.set()
            this.cancel()

        # close the profile in order: the lock goes, the database is not left to recover
        loop.add_signal_handler(signal.SIGTERM, stop)
        try:
            coming = profile.events()
            account = await answered(profile, calls.Status(), calls.Account)
            _show(
                output,
                account,
                events.ConnectionChanged(relay=account.relay, connected=account.connected, queued=account.queued),
            )
            output.note("cli.listen.note")
            async for event in coming:
                _show(output, account, event)
        except asyncio.CancelledError:
            if not stopped.is_set():
                raise
        return stopped.is_set()

    if with_profile(settings, follow):
        click.get_current_context().exit(TERMINATED)


def _show(output: Output, account: calls.Account, event: events.Event) -> None:
    if output.is_json:
        output.object(event)
    else:
        output.line(_line(output, account, event))


def _line(output: Output, account: calls.Account, event: events.Event) -> str:
    say = output.say
    match event:
        case events.MessageReceived(message=message):
            return rendering.message(message, own=account.account, me=say("cli.me"), paint=output.painted)
        case events.StateChanged(message=message, state=state):
            return say(f"cli.event.state.{state}", message=message[:8])
        case events.ReceiptReceived(message=message, unread=unread):
            return say("cli.event.receipt" if unread else "cli.event.all-read", message=message[:8], unread=unread)
        case events.GapFound(from_=name, first=first, last=last):
            return output.painted(say("cli.event.gap", name=name, count=last - first + 1), rendering.YELLOW)
        case events.GapClosed(from_=name):
            return say("cli.event.gap-closed", name=name)
        case events.EntryDamaged():
            return output.painted(say("cli.event.damaged"), rendering.RED)
        case events.Alarm(code=code):
            return output.painted(say(code), rendering.RED)
        case events.MemberJoined(name=name):
            return say("cli.event.member", name=name)
        case events.InviteRefused(refused=refused):
            return output.painted(say("cli.event.invite", refused=refused), rendering.RED)
        case events.ConnectionChanged(relay=relay, connected=connected, queued=queued):
            return say("cli.event.connected" if connected else "cli.event.offline", relay=relay, queued=queued)
    assert_never(event)
