"""Groups: `group create`, `add`, `remove`, `promote`, `demote`, `rename`, `rights`, `leave`, `members`."""

import click

from hanatalk.cli import rendering
from hanatalk.cli.command import Command, Group, takes_settings
from hanatalk.cli.opened import ask
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings
from hanatalk.client import calls

group = Group(
    "group",
    lazy=dict.fromkeys(
        ("create", "add", "remove", "promote", "demote", "rename", "rights", "leave", "members"), "groups"
    ),
    help="cli.help.group",
)

ANYBODY = click.Choice(["admins", "everyone"])


@click.command("create", cls=Command, help="cli.help.group-create")
@click.argument("name", metavar="NAME")
@click.option("--large", is_flag=True, help="cli.group.large")
@click.option("--members-add", is_flag=True, help="cli.group.members-add")
@click.option("--members-rename", is_flag=True, help="cli.group.members-rename")
@takes_settings
def create(settings: Settings, *, name: str, large: bool, members_add: bool, members_rename: bool) -> None:
    """Found a group."""
    output = Output(settings)
    call = calls.GroupCreate(name=name, large=large, members_add=members_add, members_rename=members_rename)
    done = ask(settings, call, calls.GroupDone)
    output.result(done, output.say("cli.group.created", name=done.name, conversation=done.conversation[:8]))
    if large:
        output.note("cli.group.large-note")


def _changed(settings: Settings, call: calls.GroupCall) -> None:
    output = Output(settings)
    done = ask(settings, call, calls.GroupDone)
    output.result(done, output.say(f"cli.group.{done.state}", name=done.name))


@click.command("add", cls=Command, help="cli.help.group-add")
@click.argument("conversation", metavar="CONV")
@click.argument("people", metavar="CONTACT…", nargs=-1, required=True)
@takes_settings
def add(settings: Settings, *, conversation: str, people: tuple[str, ...]) -> None:
    """Add contacts, all at once."""
    _changed(settings, calls.GroupAdd(conversation=conversation, people=list(people)))


@click.command("remove", cls=Command, help="cli.help.group-remove")
@click.argument("conversation", metavar="CONV")
@click.argument("people", metavar="MEMBER…", nargs=-1, required=True)
@takes_settings
def remove(settings: Settings, *, conversation: str, people: tuple[str, ...]) -> None:
    """Remove people with all their devices."""
    _changed(settings, calls.GroupRemove(conversation=conversation, people=list(people)))


@click.command("promote", cls=Command, help="cli.help.group-promote")
@click.argument("conversation", metavar="CONV")
@click.argument("people", metavar="MEMBER…", nargs=-1, required=True)
@takes_settings
def promote(settings: Settings, *, conversation: str, people: tuple[str, ...]) -> None:
    """Make people admins."""
    _changed(settings, calls.GroupRole(conversation=conversation, people=list(people), admin=True))


@click.command("demote", cls=Command, help="cli.help.group-demote")
@click.argument("conversation", metavar="CONV")
@click.argument("people", metavar="MEMBER…", nargs=-1, required=True)
@takes_settings
def demote(settings: Settings, *, conversation: str, people: tuple[str, ...]) -> None:
    """Admins become ordinary members."""
    _changed(settings, calls.GroupRole(conversation=conversation, people=list(people), admin=False))


@click.command("rename", cls=Command, help="cli.help.group-rename")
@click.argument("conversation", metavar="CONV")
@click.argument("name", metavar="NAME")
@takes_settings
def rename(settings: Settings, *, conversation: str, name: str) -> None:
    """Give the group another name."""
    _changed(settings, calls.GroupRename(conversation=conversation, name=name))


@click.command("rights", cls=Command, help="cli.help.group-rights")
@click.argument("conversation", metavar="CONV")
@click.option("--add", "adders", type=ANYBODY, help="cli.group.rights-add")
@click.option("--rename", "renamers", type=ANYBODY, help="cli.group.rights-rename")
@takes_settings
def rights(settings: Settings, *, conversation: str, adders: str | None, renamers: str | None) -> None:
    """Say what every member may do."""
    everyone = {None: None, "admins": False, "everyone": True}
    call = calls.GroupRights(conversation=conversation, members_add=everyone[adders], members_rename=everyone[renamers])
    _changed(settings, call)


@click.command("leave", cls=Command, help="cli.help.group-leave")
@click.argument("conversation", metavar="CONV")
@takes_settings
def leave(settings: Settings, *, conversation: str) -> None:
    """Leave a group."""
    _changed(settings, calls.GroupLeave(conversation=conversation))


@click.command("members", cls=Command, help="cli.help.group-members")
@click.argument("conversation", metavar="CONV")
@takes_settings
def members(settings: Settings, *, conversation: str) -> None:
    """List the people of a conversation."""
    output = Output(settings)
    found = ask(settings, calls.GroupMembers(conversation=conversation), calls.MemberList)
    for member in found.members:
        marks = [output.say("cli.group.admin")] if member.admin else []
        marks += [output.say("cli.me")] if member.me else []
        marks += [output.say("cli.group.same-name")] if member.same_name else []
        marks += [] if member.telling else [output.say("cli.readers.silent")]
        output.result(member, rendering.member(member, marks=marks, paint=output.painted))
    if found.large:
        output.note("cli.group.large-note")
