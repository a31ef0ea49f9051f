"""Files into messages and out of them: `save`, and what `send --file` does."""

import asyncio
import sys
from pathlib import Path

import click

from hanatalk.cli.command import Command, takes_settings
from hanatalk.cli.opened import answered, with_profile
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings
from hanatalk.cli.sizes import in_bytes
from hanatalk.client import Profile, calls
from hanatalk.errors import ContentError, NetworkError

LOOK = 0.5  # seconds between two looks at how far it is
STANDSTILL = 5.0  # seconds without a byte after which nobody waits any longer


async def attach(profile: Profile, path: Path, *, original: bool) -> str:
    """Have a file sealed (an absolute path); returns its name until the message is sent."""
    call = calls.Attach(path=str(path), original=original)
    return (await answered(profile, call, calls.Attached)).attachment


async def sent(profile: Profile, begun: calls.Sent, output: Output) -> calls.Sent:
    """Wait while the files of a message are on their way."""
    if begun.state != "queued":
        return begun
    try:
        done = await _follow(profile, begun.message, output, "up")
    except NetworkError:
        return begun  # it is in the outbox, and goes on when the relay is there again
    return calls.Sent(message=begun.message, state=done.sent or begun.state)


async def _follow(profile: Profile, message: str, output: Output, direction: str) -> calls.Transfer:
    """Look again and again, and say how far it is, until it is over or nothing moves."""
    loop = asyncio.get_running_loop()
    moved, last = loop.time(), -1
    while True:
        found = await answered(profile, calls.Fetch(message=message, wait=LOOK), calls.Transfer)
        if found.done != last:
            moved, last = loop.time(), found.done
            _progress(output, found, direction)
        over = found.state in ("refused", "missing") or (found.state == "here" and found.sent != "queued")
        if over or loop.time() - moved > STANDSTILL:
            if sys.stderr.isatty() and not output.is_json:
                print(file=sys.stderr)
            return found


def _progress(output: Output, found: calls.Transfer, direction: str) -> None:
    if output.is_json:
        return
    percent = 100 if not found.size else found.done * 100 // found.size
    line = output.say(f"cli.transfer.{direction}", percent=percent, size=in_bytes(found.size))
    if sys.stderr.isatty():
        print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)


@click.command("save", cls=Command, help="cli.help.save")
@click.argument("message", metavar="ID")
@click.option("--to", "folder", type=click.Path(path_type=Path), metavar="DIR", help="cli.save.to")
@click.option("--cancel", is_flag=True, help="cli.save.cancel")
@takes_settings
def save(settings: Settings, *, message: str, folder: Path | None, cancel: bool) -> None:
    """Fetch a message's attachments and write them into a folder, or stop fetching them."""
    output = Output(settings)
    into = (folder or Path()).absolute()

    async def fetch(profile: Profile) -> list[calls.Saved]:
        if cancel:
            await answered(profile, calls.Fetch(message=message, cancel=True), calls.Transfer)
            return []
        await fetched(profile, message, output)
        call = calls.Save(message=message, folder=str(into))
        return (await answered(profile, call, calls.SavedList)).files

    for each in with_profile(settings, fetch):
        output.result(each, output.say("cli.save.done", file=each.file, size=in_bytes(each.size)))
        warn(output, each)
    if cancel:
        output.note("cli.save.cancelled")


def warn(output: Output, saved: calls.Saved) -> None:
    """Say it if a file is not what its name says."""
    if saved.warning is not None:
        output.note("cli.save.type", name=saved.name, type=saved.type)


async def fetched(profile: Profile, message: str, output: Output) -> None:
    """Fetch a message's attachments to their end. :raises ContentError: why not; :raises NetworkError:"""
    found = await _follow(profile, message, output, "down")
    if found.failure is not None:
        raise ContentError(found.failure)
    if found.state == "fetching":
        raise NetworkError("network.timeout")
