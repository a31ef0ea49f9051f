"""The own devices: `devices`, `devices link`, `devices approve`, `devices remove`."""

import asyncio
import sys
from collections.abc import Callable

import click

from hanatalk.cli import passes, passphrase
from hanatalk.cli.command import Command, Group, takes_settings
from hanatalk.cli.durations import Duration
from hanatalk.cli.opened import answered, ask, with_profile
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings, coloured
from hanatalk.client import Profile, calls, create_profile, needs_passphrase
from hanatalk.errors import ContentError, ProfileError, UsageError
from hanatalk.words.spoken import off_paper, spoken

NEW_NAME = "device"  # of a profile that is nobody yet; the account's name takes its place
ASK_AGAIN = 20.0  # seconds that one call waits for something to move
SETTLE = 45.0  # seconds in which nothing moves, after which the rest goes on in the background of other commands
YES = frozenset({"y", "yes", "ㅇ", "예", "네", "응"})


@takes_settings
def _list(settings: Settings) -> None:
    """List the own devices."""
    output = Output(settings)
    for device in ask(settings, calls.Devices(), calls.DeviceList).devices:
        output.result(device, _line(output, device))


devices = Group(
    "devices",
    lazy={"link": "devices", "approve": "devices", "remove": "devices"},
    help="cli.help.devices",
    bare=_list,
)


def _line(output: Output, device: calls.Device) -> str:
    this = output.say("cli.devices.this") if device.this else ""
    state = output.say(f"cli.devices.{device.state}", conversations=device.conversations, of=device.of)
    return "  ".join(part for part in (device.device[:16], state, this) if part)


@click.command("link", cls=Command, help="cli.help.devices-link")
@click.option("--relay", metavar="URL", help="cli.init.relay")
@click.option("--no-passphrase", is_flag=True, help="cli.init.no-passphrase")
@click.option("--access-pass-file", metavar="PATH", help="cli.relay-pass.file")
@takes_settings
def link(settings: Settings, *, relay: str | None, no_passphrase: bool, access_pass_file: str | None) -> None:
    """Make this device one of an account that another device is in."""
    output = Output(settings)
    try:
        needs_passphrase(settings.home)
    except ProfileError as error:
        if error.code != "profile.none":
            raise
        if relay is None:
            raise UsageError("link.relay-needed") from None
        secret = None if no_passphrase else passphrase.chosen(settings)
        access_pass = None if access_pass_file is None else passes.in_file(access_pass_file)
        made = create_profile(settings.home, name=NEW_NAME, relay=relay, passphrase=secret, access_pass=access_pass)
        output.note(f"cli.init.key.{made.key_place}")
    with_profile(settings, lambda profile: _link(output, profile, settings.language.value))


async def _link(output: Output, profile: Profile, language: str) -> None:
    state = await answered(profile, calls.Link(language=language), calls.Linking)
    if state.state == "shown":
        if not output.is_json:
            from hanatalk.cli.qr import drawn  # segno is not needed otherwise

            print(drawn(state.link or "", colour=coloured(sys.stderr.isatty())), file=sys.stderr)
        output.result({"link": state.link}, state.link or "")
        output.note("cli.link.shown")
        state = await _moved(profile, state)
    if state.state == "offered":
        words = " ".join(spoken(state.words, state.language))
        shown = {"account": state.account, "name": state.name, "words": words}
        output.result(shown, output.say("cli.link.words", words=words, name=state.name or ""))
        yes = await _agreed(output, output.say("cli.link.ask", name=state.name or ""))
        state = await answered(profile, calls.LinkConfirm(yes=yes), calls.Linking)
        output.note("cli.link.waiting")
    while state.state == "consented":
        state = await _moved(profile, state)
    _check(state.state, state.failure)
    account = await answered(profile, calls.Status(), calls.Account)
    await _arrived(output, profile)
    output.result(
        {"account": account.account, "device": account.device, "name": account.name},
        output.say("cli.link.done", name=account.name),
    )


async def _arrived(output: Output, profile: Profile) -> None:
    """Wait for the history and the conversations, as long as they come."""
    loop = asyncio.get_running_loop()
    end = loop.time() + SETTLE
    before: tuple[int | None, int] = (None, 0)
    while loop.time() < end:
        state = await answered(profile, calls.LinkState(), calls.Linking)
        if not state.awaited:
            await answered(profile, calls.Sync(), calls.Synced)  # what was said there meanwhile, and our Hellos
            return
        if (state.history, state.awaited) != before:
            before, end = (state.history, state.awaited), loop.time() + SETTLE
            if state.history is not None:
                output.note("cli.event.history", percent=state.history)
            else:
                output.note("cli.link.awaited", count=state.awaited)
        await asyncio.sleep(0.1)


async def _moved(profile: Profile, state: calls.Linking) -> calls.Linking:
    while True:
        found = await answered(profile, calls.LinkState(seen=state.state, wait=ASK_AGAIN), calls.Linking)
        if found.state != state.state:
            return found


def _check(state: str, failure: str | None) -> None:
    if state == "failed":
        raise ContentError(failure or "link.refused")


async def _agreed(output: Output, question: str) -> bool:
    """A yes or no from the terminal, or one line of standard input. :raises UsageError: ``usage.unconfirmed``"""
    if not output.is_json:
        print(question, end=" ", file=sys.stderr, flush=True)
    line = await asyncio.to_thread(sys.stdin.buffer.readline)
    if not line:
        raise UsageError("usage.unconfirmed")  # nothing was decided: the same command goes on from here
    return line.decode(errors="replace").strip().lower() in YES


@click.command("approve", cls=Command, help="cli.help.devices-approve")
@click.argument("code", metavar="LINK")
@click.option("--history", type=Duration(), metavar="all", help="cli.approve.history")
@click.option("--no-history", is_flag=True, help="cli.approve.no-history")
@takes_settings
def approve(settings: Settings, *, code: str, history: int | None, no_history: bool) -> None:
    """Add the device that shows LINK to this account."""
    output = Output(settings)
    if code == "-":
        code = sys.stdin.buffer.readline().decode(errors="replace")
    call = calls.Approve(link=code.strip(), history=0 if no_history else history)
    with_profile(settings, lambda profile: _approve(output, profile, call))


async def _approve(output: Output, profile: Profile, call: calls.Approve) -> None:
    state = await answered(profile, call, calls.Approving)
    device = state.device or ""
    output.note("cli.approve.offered")
    while state.state == "offered":
        state = await answered(profile, calls.ApproveState(seen=state.state, wait=ASK_AGAIN), calls.Approving)
    if state.state == "revealed":
        words = " ".join(spoken(state.words, state.language))
        output.result({"device": device, "words": words}, output.say("cli.approve.words", words=words))
        yes = await _agreed(output, output.say("cli.approve.ask"))
        state = await answered(profile, calls.ApproveConfirm(yes=yes), calls.Approving)
    while state.state in ("confirmed", "adding"):
        state = await answered(profile, calls.ApproveState(seen=state.state, wait=ASK_AGAIN), calls.Approving)
    _check(state.state, state.failure)

    def there(found: list[calls.Device]) -> bool:
        return any(each.device == device and each.state == "current" for each in found)

    found = await _settled(output, profile, there)
    for each in found:
        if each.device == device:
            output.result(
                {"device": device, "conversations": each.conversations, "of": each.of, "state": each.state},
                output.say("cli.approve.done", conversations=each.conversations, of=each.of),
            )


async def _settled(output: Output, profile: Profile, done: Callable[[list[calls.Device]], bool]) -> list[calls.Device]:
    """Follow the commits in every conversation, for a while: what is left goes on whenever the profile is open."""
    loop = asyncio.get_running_loop()
    end = loop.time() + SETTLE
    before = -1
    while True:
        found = (await answered(profile, calls.Devices(), calls.DeviceList)).devices
        if done(found) or loop.time() >= end:
            await answered(profile, calls.Sync(), calls.Synced)  # what they are to be told leaves before we do
            return found
        now = sum(each.conversations for each in found)
        if now != before and before >= 0:
            end = loop.time() + SETTLE
            output.note("cli.devices.progress", conversations=now, of=sum(each.of for each in found))
        before = now
        await asyncio.sleep(0.1)


@click.command("remove", cls=Command, help="cli.help.devices-remove")
@click.argument("device", metavar="ID")
@click.option("--yes", is_flag=True, help="cli.remove.yes")
@click.option("--paper", is_flag=True, help="cli.remove.paper")
@takes_settings
def remove(settings: Settings, *, device: str, yes: bool, paper: bool) -> None:
    """Remove a device from the account and from every conversation; ask it to wipe itself."""
    output = Output(settings)
    if not yes:
        if output.is_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError("usage.unconfirmed")
        if not click.confirm(output.say("cli.remove.ask", device=device), err=True):
            raise UsageError("usage.unconfirmed")
    call = calls.RemoveDevice(device=device, paper=_paper(output) if paper else None)
    with_profile(settings, lambda profile: _remove(output, profile, call))


def _paper(output: Output) -> bytes:
    """The words of the paper device, from one line of standard input. :raises UsageError: ``paper.words``"""
    if not output.is_json:
        print(output.say("cli.remove.words"), file=sys.stderr, flush=True)
    found = off_paper(sys.stdin.buffer.readline().decode(errors="replace"))
    if found is None:
        raise UsageError("paper.words")
    return found


async def _remove(output: Output, profile: Profile, call: calls.RemoveDevice) -> None:
    removed = await answered(profile, call, calls.DeviceRemoved)
    found = await _settled(output, profile, lambda found: all(each.device != removed.device for each in found))
    left = next((each.conversations for each in found if each.device == removed.device), 0)
    output.result(
        {"device": removed.device, "left": left, "state": "leaving" if left else "removed"},
        output.say("cli.remove.leaving" if left else "cli.remove.done", left=left),
    )
