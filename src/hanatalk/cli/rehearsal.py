"""`demo`: two people, one relay, this machine; one line per claim, as it is measured."""

import asyncio
import os
import tempfile
import time
from pathlib import Path

import click

from hanatalk.cli import rendering
from hanatalk.cli.command import Command, takes_settings
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings
from hanatalk.drill.demo import CLAIMS, Claim, rehearse


@click.command("demo", cls=Command, help="cli.help.demo")
@click.option("--headless", is_flag=True, help="cli.demo.headless")
@takes_settings
def demo(settings: Settings, *, headless: bool) -> None:
    """Exit code 0 if every claim held, else 1."""
    output = Output(settings)
    # The demo touches a temporary folder and nothing else: not the keyring of whoever runs it either.
    os.environ["DBUS_SESSION_BUS_ADDRESS"] = "disabled:"
    output.note("cli.demo.begin")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hana-demo-") as folder:
        claims = asyncio.run(_carry_out(output, Path(folder)))
    held = sum(claim.ok for claim in claims)
    output.note("cli.demo.end", held=held, claims=len(CLAIMS), seconds=round(time.monotonic() - began))
    if held != len(CLAIMS):
        click.get_current_context().exit(1)


async def _carry_out(output: Output, folder: Path) -> list[Claim]:
    claims = []
    async for claim in rehearse(folder):
        claims.append(claim)
        text = output.say(f"cli.demo.claim.{claim.claim}")
        evidence = dict(claim.evidence)
        output.result({"claim": claim.claim, "ok": claim.ok, "evidence": evidence, "text": text}, _line(output, claim))
    return claims


def _line(output: Output, claim: Claim) -> str:
    text = output.say(f"cli.demo.claim.{claim.claim}")
    if claim.ok:
        shown = output.say(f"cli.demo.shown.{claim.claim}", **claim.evidence)
        return f"{output.painted('✓', rendering.GREEN)} {text}\n    {output.painted(shown, rendering.DIM)}"
    found = ", ".join(f"{name}={value}" for name, value in claim.evidence.items())
    return f"{output.painted('✗', rendering.RED)} {text}\n    {output.say('cli.demo.refuted', found=found)}"
