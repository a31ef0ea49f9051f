"""`listen`: events as they come, until interrupted."""

import asyncio
import signal
from typing import assert_never

import click

from hanatalk.cli import keeping, rendering, wording
from hanatalk.cli.command import Command, takes_settings
from hanatalk.cli.opened import answered, with_profile
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings
from hanatalk.cli.sizes import in_bytes
from hanatalk.client import Profile, calls, events

TERMINATED = 128 + signal.SIGTERM


@click.command("listen", cls=Command, help="cli.help.listen")
@takes_settings
def listen(settings: Settings) -> None:
    """Print events. The first one says whether the relay is connected; from then on nothing is missed."""
    output = Output(settings)

    async def follow(profile: Profile) -> bool:
        # told to end, close the profile in order: the lock goes, the database is not left to recover
        told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
        telling, ending = asyncio.create_task(_tell(output, profile)), asyncio.create_task(told.wait())
        await asyncio.wait((telling, ending), return_when=asyncio.FIRST_COMPLETED)
        if telling.done():
            ending.cancel()
            await telling
        else:
            telling.cancel()
        return told.is_set()

    if with_profile(settings, follow):
        click.get_current_context().exit(TERMINATED)


async def _tell(output: Output, profile: Profile) -> None:
    """Until the owner of the profile ends."""
    begun = asyncio.Event()
    coming = aiter(profile.events(begun))
    first = asyncio.ensure_future(anext(coming, None))  # asking for the first event is what registers us
    registered = asyncio.ensure_future(begun.wait())  # by the process that owns the profile, which may be busy
    await asyncio.wait((first, registered), return_when=asyncio.FIRST_COMPLETED)
    registered.cancel()
    account = await answered(profile, calls.Status(), calls.Account)
    state = events.ConnectionChanged(relay=account.relay, connected=account.connected, queued=account.queued)
    _show(output, account, state)
    output.note("cli.listen.note")
    event = await first
    while event is not None:
        _show(output, account, event)
        event = await anext(coming, None)


def _show(output: Output, account: calls.Account, event: events.Event) -> None:
    if output.is_json:
        output.object(event)
    else:
        output.line(_line(output, account, event))


def _line(output: Output, account: calls.Account, event: events.Event) -> str:
    say = output.say
    match event:
        case events.MessageReceived(message=message):
            return rendering.message(message, own=account.account, words=wording.words(output), paint=output.painted)
        case events.MessageGone(message=message, reason=reason):
            return say(f"cli.event.{reason}", message=message[:8])
        case events.Reacted(from_=name, message=message, emoji=emoji):
            key = "cli.event.reaction" if emoji else "cli.event.reaction-removed"
            return say(key, name=name, message=message[:8], emoji=emoji or "")
        case events.Edited(from_=name, message=message, text=text):
            return say("cli.event.edited", name=name, message=message[:8], text=text)
        case events.Opened(from_=name, message=message):
            return say("cli.event.seen", name=name, message=message[:8])
        case events.AttachmentProgress(direction=direction, state=state, done=done, size=size, message=message):
            way = direction if state in ("fetching", "uploading") else f"{direction}.{state}"
            return say(f"cli.event.attachment.{way}", message=message[:8], done=in_bytes(done), size=in_bytes(size))
        case events.Introduced(name=name, by=by):
            return say("cli.event.introduced", name=name, by=by)
        case events.IntroductionAnswered(name=name, by=by, yes=yes):
            return say("cli.event.introduction.yes" if yes else "cli.event.introduction.no", name=name, by=by)
        case events.KeepingChanged(timer=timer, privacy=privacy, by=by):
            return say("cli.event.timer", by=by, kept=keeping.said(output, timer=timer, privacy=privacy))
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
        case events.MemberLeft(name=name, by=by):
            return say("cli.event.member-left", name=name, by=by)
        case events.RoleChanged(name=name, admin=admin):
            return say("cli.event.admin" if admin else "cli.event.no-admin", name=name)
        case events.GroupChanged(name=name, by=by):
            return say("cli.event.group", name=name, by=by)
        case events.TellingChanged(name=name, telling=telling):
            return say("cli.event.telling" if telling else "cli.event.silent", name=name)
        case events.ChangeVoid(name=name, why=why):
            return output.painted(say("cli.event.change-void", name=name, why=say(f"cli.void.{why}")), rendering.YELLOW)
        case events.DeviceChanged(name=name, change=change):
            return output.painted(say(f"cli.event.device-{change}", name=name), rendering.YELLOW)
        case events.DeviceRevoked():
            return output.painted(say("cli.event.revoked"), rendering.RED)
        case events.HistoryMoved(stage=stage, done=done, size=size):  # fetching it is one half, taking it in the other
            return say("cli.event.history", percent=50 * done // max(size, 1) + (50 if stage == "taking" else 0))
        case events.LinkMoved(state=state):
            return say("cli.event.link", state=state)
        case events.MemberRejoined(name=name):
            return output.painted(say("cli.event.rejoined", name=name), rendering.YELLOW)
        case events.ConversationChanged(state=state):
            return say(f"cli.event.conversation.{state}")
        case events.ConversationMoved(relay=relay):
            return output.painted(say("cli.event.moved", relay=relay), rendering.YELLOW)
        case events.RelayReturned(relay=relay):
            return say("cli.event.relay-returned", relay=relay)
        case events.OwnMissing(first=first, last=last):
            return output.painted(say("cli.event.own-missing", count=last - first + 1), rendering.YELLOW)
        case events.InviteRefused(refused=refused):
            return output.painted(say("cli.event.invite", refused=refused), rendering.RED)
        case events.ConnectionChanged(relay=relay, connected=connected, queued=queued):
            return say("cli.event.connected" if connected else "cli.event.offline", relay=relay, queued=queued)
    assert_never(event)
