"""Running a relay: `relay serve`, `relay warrant`."""

from pathlib import Path

import click

from hanatalk.cli.command import Command, Group, takes_settings
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings

relay = Group("relay", lazy={"serve": "relays", "warrant": "relays"}, help="cli.help.relay")


@click.command("serve", cls=Command, help="cli.help.relay-serve")
@click.option("--host", default="127.0.0.1", metavar="ADDRESS", help="cli.relay.host")
@click.option("--port", type=click.IntRange(0, 65_535), default=7710, metavar="N", help="cli.relay.port")
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="cli.relay.data")
@click.option("--store", type=click.Choice(["sqlite", "memory"]), default="sqlite", help="cli.relay.store")
@takes_settings
def serve(settings: Settings, *, host: str, port: int, data: Path | None, store: str) -> None:
    """Serve until SIGTERM. Nothing but the first line goes to standard output."""
    from hanatalk.relay.options import RelayOptions
    from hanatalk.relay.serve import run

    output = Output(settings)
    if store == "memory":
        options = RelayOptions(host=host, port=port, data=data, store="memory")
    else:
        options = RelayOptions(host=host, port=port, data=data or settings.relay_data)
    # always JSON: scripts read it, and people can too
    run(options, lambda url: output.object({"listening": url, "store": store}))
