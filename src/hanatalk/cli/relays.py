"""Running a relay: `relay serve`, `relay warrant`."""

import re
from pathlib import Path
from typing import Any, Literal

import click

from hanatalk.cli.command import Command, Group, takes_settings
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings
from hanatalk.errors import UsageError

relay = Group("relay", lazy={"serve": "relays", "warrant": "relays"}, help="cli.help.relay")


class Days(click.ParamType[tuple[int, int | None]]):
    """``2`` or ``2,14``: days for messages, and for control entries."""

    name = "days"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int | None]:
        match = re.fullmatch(r"([0-9]{1,3})(?:,([0-9]{1,3}))?", str(value), re.ASCII)
        if match is None:
            raise click.BadParameter(str(value), ctx=ctx, param=param)
        return int(match[1]), int(match[2]) if match[2] else None


@click.command("serve", cls=Command, help="cli.help.relay-serve")
@click.option("--host", default="127.0.0.1", metavar="ADDRESS", help="cli.relay.host")
@click.option("--port", type=click.IntRange(0, 65_535), default=7710, metavar="N", help="cli.relay.port")
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="cli.relay.data")
@click.option("--store", type=click.Choice(["sqlite", "memory"]), default="sqlite", help="cli.relay.store")
@click.option("--retention", type=Days(), metavar="DAYS[,DAYS]", help="cli.relay.retention")
@click.option("--key", type=click.Choice(["beside", "ram"]), help="cli.relay.key")
@click.option("--key-file", type=click.Path(path_type=Path), metavar="PATH", help="cli.relay.key-file")
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
) -> None:
    """Serve until SIGTERM. Nothing but the first line goes to standard output."""
    from hanatalk.relay.options import RelayOptions
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
        key=str(key_file) if key_file is not None else key or "beside",
        retention=Retention(message_days=messages, control_days=control or Retention().control_days),
    )
    # always JSON: scripts read it, and people can too
    run(options, lambda url: output.object({"listening": url, "store": store}))
