"""Running a relay: `relay serve`, `relay warrant`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from hanatalk.cli import passes
from hanatalk.cli.command import Command, Group, takes_settings
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings
from hanatalk.errors import UsageError
from hanatalk.ids import ChannelId

if TYPE_CHECKING:
    from hanatalk.relay.options import TlsFiles

relay = Group("relay", lazy={"serve": "relays", "warrant": "relays"}, help="cli.help.relay")


class Days(click.ParamType[tuple[int, int | None]]):
    """``2`` or ``2,14``: days for messages, and for control entries."""

    name = "days"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int | None]:
        match = re.fullmatch(r"([0-9]{1,3})(?:,([0-9]{1,3}))?", str(value), re.ASCII)
        if match is None:
            raise click.BadParameter(str(value), ctx=ctx, param=param)
        return int(match[1]), int(match[2]) if match[2] else None


class Limit(click.ParamType[tuple[str, str]]):
    """``NAME=NUMBER``; which names there are and what they take, `hanatalk.relay.limiting` knows."""

    name = "limit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, equals, number = str(value).partition("=")
        if not equals:
            raise click.BadParameter(str(value), ctx=ctx, param=param)
        return name, number


class Channel(click.ParamType[ChannelId]):
    """A channel id: 64 hexadecimal digits."""

    name = "channel"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ChannelId:
        if re.fullmatch(r"[0-9a-fA-F]{64}", str(value), re.ASCII) is None:
            raise click.BadParameter(str(value), ctx=ctx, param=param)
        return ChannelId(bytes.fromhex(str(value)))


@click.command("serve", cls=Command, help="cli.help.relay-serve")
@click.option("--host", default="127.0.0.1", metavar="ADDRESS", help="cli.relay.host")
@click.option("--port", type=click.IntRange(0, 65_535), default=7710, metavar="N", help="cli.relay.port")
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="cli.relay.data")
@click.option("--store", type=click.Choice(["sqlite", "memory"]), default="sqlite", help="cli.relay.store")
@click.option("--retention", type=Days(), metavar="DAYS[,DAYS]", help="cli.relay.retention")
@click.option("--key", type=click.Choice(["beside", "ram"]), help="cli.relay.key")
@click.option("--key-file", type=click.Path(path_type=Path), metavar="PATH", help="cli.relay.key-file")
@click.option("--access-pass-file", metavar="PATH", help="cli.relay.access-pass-file")
@click.option("--limit", "limits", type=Limit(), multiple=True, metavar="NAME=NUMBER", help="cli.relay.limit")
@click.option("--tls", type=click.Choice(["self"]), help="cli.relay.tls")
@click.option("--tls-cert", type=click.Path(path_type=Path), metavar="FILE", help="cli.relay.tls-cert")
@click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="cli.relay.tls-key")
@click.option("--admin-port", type=click.IntRange(0, 65_535), metavar="N", help="cli.relay.admin-port")
@click.option("--log", type=click.Choice(["json", "text"]), default="json", help="cli.relay.log")
@click.option(
    "--log-level", type=click.Choice(["info", "warning", "error"]), default="info", help="cli.relay.log-level"
)
@takes_settings
def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    data: Path | None,
    store: Literal["sqlite", "memory"],
    retention: tuple[int, int | None] | None,
    key: str | None,
    key_file: Path | None,
    access_pass_file: str | None,
    limits: tuple[tuple[str, str], ...],
    tls: Literal["self"] | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    admin_port: int | None,
    log: Literal["json", "text"],
    log_level: Literal["info", "warning", "error"],
) -> None:
    """Serve until SIGTERM. Nothing but the first line goes to standard output."""
    from hanatalk.relay.limiting import limited
    from hanatalk.relay.options import Listening, RelayOptions
    from hanatalk.relay.serve import run
    from hanatalk.stores.interface import Retention

    if key is not None and key_file is not None:
        raise UsageError("usage.value", what="--key-file", command="hana relay serve")
    messages, control = retention or (Retention().message_days, None)
    output = Output(settings)
    options = RelayOptions(
        host=host,
        port=port,
        data=data if data is not None or store == "memory" else settings.relay_data,
        store=store,
        key=_elsewhere(key_file) if key_file is not None else key or "beside",
        tls=_tls(tls, tls_cert, tls_key),
        retention=Retention(message_days=messages, control_days=control or Retention().control_days),
        access_pass=None if access_pass_file is None else passes.in_file(access_pass_file),
        admin_port=admin_port,
        log=log,
        log_level=log_level,
    )
    options = limited(options, limits)

    # always JSON: scripts read it, and people can too
    def say(listening: Listening) -> None:
        admin = {} if listening.admin is None else {"admin": listening.admin}
        output.object({"listening": listening.url, "store": store, **admin})

    run(options, say)


def _tls(
    own: Literal["self"] | None, certificate: Path | None, key: Path | None
) -> "TlsFiles | Literal['self'] | None":
    from hanatalk.relay.options import TlsFiles

    if certificate is None and key is None:
        return own
    if own is not None:
        raise UsageError("usage.value", what="--tls", command="hana relay serve")
    if certificate is None or key is None:
        missing = "--tls-cert" if certificate is None else "--tls-key"
        raise UsageError("usage.missing", what=missing, command="hana relay serve")
    return TlsFiles(certificate, key)


def _elsewhere(key_file: Path) -> str:
    """A key file called ``ram`` is a file too."""
    return str(key_file.absolute())


@click.command("warrant", cls=Command, help="cli.help.relay-warrant")
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="cli.relay.data")
@click.option("--channel", type=Channel(), metavar="ID", help="cli.warrant.channel")
@click.option("--key-file", type=click.Path(path_type=Path), metavar="PATH", help="cli.relay.key-file")
@takes_settings
def warrant(settings: Settings, *, data: Path | None, channel: ChannelId | None, key_file: Path | None) -> None:
    """Print everything a relay's folder holds. Reads only; works beside a running relay."""
    from hanatalk.cli import handing_over
    from hanatalk.relay.warrant import report
    from hanatalk.stores.opening import BESIDE

    output = Output(settings)
    key_source = BESIDE if key_file is None else _elsewhere(key_file)
    found = report(settings.relay_data if data is None else data, key_source=key_source, channel=channel)
    if output.is_json:
        output.object(found.to_dict())
    else:
        output.line("\n".join(handing_over.lines(found, output.say)))
