"""Click's commands, with three things added: lazy loading, help in the chosen language, global options anywhere.

``help=`` of every option and command here is a key of the catalogue, looked up when a help text is printed.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hanatalk import __version__
from hanatalk.cli.settings import Settings
from hanatalk.errors import LocalError, UsageError
from hanatalk.words import Language, sentence

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_CLIENT_ONLY = frozenset(
    {"hanatalk_mls", "argon2", "keyring", "mnemonic", "segno"}
)  # an operator's installation has none of them


def settings_of(context: click.Context) -> Settings:
    """The invocation's settings."""
    settings = context.find_root().obj
    assert isinstance(settings, Settings)
    return settings


def takes_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Hand the command's function the settings as its first argument."""

    def called(*arguments: Any, **options: Any) -> None:
        function(settings_of(click.get_current_context()), *arguments, **options)

    called.__name__ = function.__name__
    # click's decorators leave the options they met here
    called.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    return called


def is_unicode(text: str) -> bool:
    """False where the shell passed bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Command(click.Command):
    """One command. It takes the global options too, so that ``hana chats --json`` means what it says."""

    def __init__(self, name: str | None, *, params: Sequence[click.Parameter] = (), **attributes: Any) -> None:
        super().__init__(name, params=[*params, *global_options(hidden=True)], add_help_option=False, **attributes)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """:raises UsageError: ``text.not-utf8`` for a word that is no Unicode (paths may be what they like)"""
        rest = super().parse_args(ctx, args)
        for value in ctx.params.values():
            for word in value if isinstance(value, tuple) else (value,):
                if isinstance(word, str) and not is_unicode(word):
                    raise UsageError("text.not-utf8")
        return rest

    def get_short_help_str(self, limit: int = 45) -> str:
        return _first_line(sentence(_language(click.get_current_context()), self.help or ""))

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _usage(self, ctx, formatter)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _explain(self, ctx, formatter)

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The usage line and the help text name them."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _list_options(self, ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        return _explained(super().shell_complete(ctx, incomplete), _language(ctx))


class Group(click.Group):
    """Commands by name; each lives in a module that is imported when the command is used.

    :param lazy: the module (inside this package) of each command, in the order of the help text.
    :param bare: what the name alone does; None: it prints the help text.
    """

    def __init__(
        self,
        name: str | None,
        *,
        lazy: Mapping[str, str],
        top: bool = False,
        bare: Callable[[], None] | None = None,
        **attributes: Any,
    ) -> None:
        def alone() -> None:
            if bare is not None and click.get_current_context().invoked_subcommand is None:
                bare()

        super().__init__(
            name,
            params=global_options(hidden=not top),
            add_help_option=False,
            no_args_is_help=bare is None,
            invoke_without_command=bare is not None,
            callback=alone,
            **attributes,
        )
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return None
        try:
            module = importlib.import_module(f"hanatalk.cli.{self._lazy[cmd_name]}")
        except ModuleNotFoundError as error:
            if error.name not in _CLIENT_ONLY:
                raise
            raise LocalError("hana.client-missing", command=cmd_name) from error
        found = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(found, click.Command)
        return found

    def get_short_help_str(self, limit: int = 45) -> str:
        return _first_line(sentence(_language(click.get_current_context()), self.help or ""))

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _usage(self, ctx, formatter)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _explain(self, ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _list_options(self, ctx, formatter)
        language = _language(ctx)
        prefix = "" if ctx.parent is None else f"{self.name}-"
        with formatter.section(sentence(language, "cli.help.commands")):
            # by name only: importing every module to ask for one line each would cost the start-up
            formatter.write_dl([(name, _summary(language, f"{prefix}{name}")) for name in self._lazy])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        names = [name for name in self._lazy if name.startswith(incomplete)]
        prefix = "" if ctx.parent is None else f"{self.name}-"
        found = [CompletionItem(name, help=_summary(_language(ctx), f"{prefix}{name}")) for name in names]
        return found + _explained(click.Command.shell_complete(self, ctx, incomplete), _language(ctx))


def global_options(*, hidden: bool) -> list[click.Parameter]:
    """``--home --json --lang --passphrase-file --version --help``; hidden where they are only tolerated."""

    def option(*names: str, **attributes: Any) -> click.Option:
        return click.Option(names, expose_value=False, **attributes)

    def home(context: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            settings_of(context).home_given = Path(value)

    def as_json(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            settings_of(context).json = True

    def language(context: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            settings_of(context).language = Language(value)

    def passphrase_file(context: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            settings_of(context).passphrase_file = value

    def version(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value and not context.resilient_parsing:
            click.echo(f"hana {__version__}")
            context.exit()

    def show_help(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value and not context.resilient_parsing:
            click.echo(context.get_help(), color=context.color)
            context.exit()

    languages = click.Choice([str(language.value) for language in Language])
    return [
        option("--home", metavar="DIR", help="cli.option.home", callback=home, hidden=hidden),
        option("--json", is_flag=True, help="cli.option.json", callback=as_json, hidden=hidden),
        option("--lang", type=languages, help="cli.option.lang", callback=language, hidden=hidden),
        option(
            "--passphrase-file",
            metavar="PATH",
            help="cli.option.passphrase-file",
            callback=passphrase_file,
            hidden=hidden,
        ),
        option("--version", is_flag=True, is_eager=True, help="cli.option.version", callback=version, hidden=hidden),
        option("--help", is_flag=True, is_eager=True, help="cli.option.help", callback=show_help),
    ]


def _language(context: click.Context) -> Language:
    return settings_of(context).language


def _summary(language: Language, name: str) -> str:
    return _first_line(sentence(language, f"cli.help.{name}"))


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def _usage(command: click.Command, context: click.Context, formatter: click.HelpFormatter) -> None:
    pieces = " ".join(command.collect_usage_pieces(context))
    formatter.write_usage(context.command_path, pieces, prefix=sentence(_language(context), "cli.help.usage") + ": ")


def _explain(command: click.Command, context: click.Context, formatter: click.HelpFormatter) -> None:
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(sentence(_language(context), command.help or ""))


def _list_options(command: click.Command, context: click.Context, formatter: click.HelpFormatter) -> None:
    rows: list[tuple[str, str]] = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record is not None:
            rows.append((record[0], sentence(_language(context), parameter.help or "")))
    with formatter.section(sentence(_language(context), "cli.help.options")):
        formatter.write_dl(rows)


def _explained(items: "list[CompletionItem]", language: Language) -> "list[CompletionItem]":
    for item in items:
        if item.help:
            item.help = sentence(language, item.help)
    return items
