"""Talking: `chats`, `send`, `sync`, `messages`, `read`, `recall`."""

import re
import sys
from pathlib import Path
from typing import Any

import click

from hanatalk.cli import files, rendering, wording
from hanatalk.cli.command import Command, takes_settings
from hanatalk.cli.durations import Duration
from hanatalk.cli.opened import answered, ask, with_profile
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings
from hanatalk.client import Profile, calls
from hanatalk.errors import UsageError

SEND_WAIT = 5.0  # seconds for the relay to store a message


class Seconds(click.ParamType[float]):
    """``10`` or ``0.5``; no infinity, no NaN."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", str(value), re.ASCII) is None:
            raise click.BadParameter(str(value), ctx=ctx, param=param)
        return float(value)


@click.command("chats", cls=Command, help="cli.help.chats")
@takes_settings
def chats(settings: Settings) -> None:
    """List the conversations."""
    output = Output(settings)
    found = ask(settings, calls.Chats(), calls.ChatList).chats
    for chat in found:
        states = [chat.state] if chat.state != "joined" else []
        states += ["same-name"] if chat.same_name else []
        state = " ".join(output.say(f"cli.chats.{each}") for each in states)
        output.result(chat, rendering.chat(chat, state=state, paint=output.painted))
    if not found:
        output.note("cli.chats.none")


@click.command("send", cls=Command, help="cli.help.send")
@click.argument("conversation", metavar="CONV")
@click.argument("text", metavar="[TEXT|-]", required=False)
@click.option("--file", "paths", type=click.Path(path_type=Path), multiple=True, metavar="PATH", help="cli.send.file")
@click.option("--original", is_flag=True, help="cli.send.original")
@click.option("--reply-to", metavar="ID", help="cli.send.reply-to")
@click.option("--expire", type=Duration(), metavar="30s", help="cli.send.expire")
@click.option("--view-once", is_flag=True, help="cli.send.view-once")
@click.option("--privacy", is_flag=True, help="cli.send.privacy")
@click.option("--whisper", metavar="MEMBER", help="cli.send.whisper")
@click.option("--sticker", metavar="STICKER", help="cli.send.sticker")
@takes_settings
def send(
    settings: Settings,
    *,
    conversation: str,
    text: str | None,
    sticker: str | None,
    paths: tuple[Path, ...],
    original: bool,
    **how: Any,
) -> None:
    """Put a message into the outbox and give the relay five seconds to store it, longer while files are moving."""
    if text is None and not sticker and not paths:
        raise UsageError("usage.missing", what="TEXT|-", command="hana send")
    output = Output(settings)
    absolute = [path.absolute() for path in paths]  # the owner of the profile may run elsewhere
    if original and paths:
        output.note("cli.send.original-note")

    # the passphrase may be the first line of standard input, so the profile is opened before the text is read
    async def deliver(profile: Profile) -> calls.Sent:
        typed = from_stdin() if text == "-" else text or ""
        if not typed and not sticker and not paths:
            raise UsageError("text.empty")
        attachments = [await files.attach(profile, path, original=original) for path in absolute]
        wait = 0.0 if paths else SEND_WAIT
        call = calls.Send(
            conversation=conversation, text=typed, sticker=sticker, attachments=attachments, wait=wait, **how
        )
        sent = await answered(profile, call, calls.Sent)
        return await files.sent(profile, sent, output) if paths else sent

    sent = with_profile(settings, deliver)
    output.result(sent, output.say(f"cli.send.{sent.state}"))


@click.command("sync", cls=Command, help="cli.help.sync")
@click.option("--wait", type=Seconds(), default=10.0, metavar="SECONDS", help="cli.sync.wait")
@takes_settings
def sync(settings: Settings, *, wait: float) -> None:
    """Fetch, decrypt, confirm, publish the outbox."""
    output = Output(settings)
    done = ask(settings, calls.Sync(wait=wait), calls.Synced)
    output.result(done, output.say("cli.sync.done", received=done.received, sent=done.sent, pending=done.pending))
    for waiting in done.rejoining:
        output.note("cli.sync.rejoining", name=waiting.name)
    for invitation in done.invitations:
        output.note("cli.sync.invitation", name=invitation.name, relay=invitation.relay)


@click.command("messages", cls=Command, help="cli.help.messages")
@click.argument("conversation", metavar="CONV")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, metavar="N", help="cli.messages.limit")
@click.option("--ids", is_flag=True, help="cli.messages.ids")
@takes_settings
def messages(settings: Settings, *, conversation: str, limit: int, ids: bool) -> None:
    """Print the last messages, oldest first."""
    output = Output(settings)

    async def fetch(profile: Profile) -> tuple[calls.Account, list[calls.Message]]:
        call = calls.Messages(conversation=conversation, limit=limit)
        found = await answered(profile, call, calls.MessageList)
        return await answered(profile, calls.Status(), calls.Account), found.messages

    account, found = with_profile(settings, fetch)
    if output.is_json:
        for message in found:
            output.object(message)
        return
    words = wording.words(output)
    for line in rendering.history(found, own=account.account, words=words, paint=output.painted, ids=ids):
        output.line(line)
    if not found:
        output.note("cli.messages.none")


@click.command("read", cls=Command, help="cli.help.read")
@click.argument("conversation", metavar="CONV")
@takes_settings
def read(settings: Settings, *, conversation: str) -> None:
    """Say that the conversation was read: the others' 1 goes out."""
    output = Output(settings)
    done = ask(settings, calls.Read(conversation=conversation), calls.ReadDone)
    output.result(done, output.say("cli.read.done", count=done.read))


@click.command("recall", cls=Command, help="cli.help.recall")
@click.argument("message", metavar="ID")
@takes_settings
def recall(settings: Settings, *, message: str) -> None:
    """Take an own message back."""
    output = Output(settings)
    done = ask(settings, calls.Recall(message=message), calls.Recalled)
    output.result(done, output.say(f"cli.recall.{done.state}"))


def from_stdin() -> str:
    """All of standard input as typed, minus one final newline. :raises UsageError: ``text.not-utf8``"""
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise UsageError("text.not-utf8") from None
