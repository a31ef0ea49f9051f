"""`drill surge`: a compressed day with a wave of sign-ups through real relays; one line per hour, as it passes."""

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hanatalk.cli import rendering
from hanatalk.cli.command import Command, Group, takes_settings
from hanatalk.cli.output import Output
from hanatalk.cli.settings import Settings

if TYPE_CHECKING:
    from hanatalk.drill.surge import Day, Hour, Summary

BAR = 20  # cells
_EIGHTHS = " ▏▎▍▌▋▊▉"

drill = Group("drill", lazy={"surge": "surging"}, help="cli.help.drill")


@click.command("surge", cls=Command, help="cli.help.drill-surge")
@click.option("--people", type=click.IntRange(2, 2_000), default=100, metavar="N", help="cli.surge.people")
@click.option("--sign-ups", type=click.IntRange(1, 40), default=5, metavar="N", help="cli.surge.sign-ups")
@click.option("--messages", type=click.IntRange(1, 500), default=60, metavar="N", help="cli.surge.messages")
@click.option("--seconds", type=click.IntRange(6, 3_600), default=48, metavar="N", help="cli.surge.seconds")
@click.option("--relays", type=click.IntRange(1, 8), default=1, metavar="N", help="cli.surge.relays")
@click.option("--most", type=click.IntRange(0, 1_000_000), default=0, metavar="N", help="cli.surge.most")
@click.option("--kill", is_flag=True, help="cli.surge.kill")
@takes_settings
def surge(
    settings: Settings, *, people: int, sign_ups: int, messages: int, seconds: int, relays: int, most: int, kill: bool
) -> None:
    """Exit code 0 if nothing was lost that a relay had acknowledged, else 1."""
    from hanatalk.drill.surge import Day

    output = Output(settings)
    day = Day(people=people, sign_ups=sign_ups, messages=messages, seconds=seconds, relays=relays, most=most, kill=kill)
    output.note("cli.surge.begin", seconds=seconds, relays=relays, people=people)
    with tempfile.TemporaryDirectory(prefix="hana-surge-") as folder:
        summary = asyncio.run(_carry_out(output, day, Path(folder)))
    if summary is None or summary.lost:
        click.get_current_context().exit(1)


async def _carry_out(output: Output, day: "Day", folder: Path) -> "Summary | None":
    from hanatalk.drill.surge import Hour, play

    if not output.is_json:
        output.line(output.say("cli.surge.head"))
    async for found in play(day, folder):
        if isinstance(found, Hour):
            output.result(found, hour_line(found, day))
        else:
            output.result({"summary": found}, "\n".join(summary_lines(output, found)))
            return found
    return None


def hour_line(hour: "Hour", day: "Day") -> str:
    """One hour: what was said and who signed up as bars, then delays, refusals, connections."""
    most_said = max(day.spoken(one, day.people + sum(map(day.planned, range(one)))) for one in range(24))
    most_signed = max(map(day.planned, range(24)))
    delays = f"{_ms(hour.delay_p50_ms)} {_ms(hour.delay_p99_ms)} {_ms(hour.sign_up_p99_ms)}"
    refused = " ".join(f"{code}×{count:,}" for code, count in hour.refused.items())
    return (
        f"{hour.hour:02}  {bar(hour.messages / most_said)} {hour.per_second:>7,.0f}"
        f"  {bar(hour.sign_ups / most_signed)} {hour.sign_ups:>5,}  {delays}  {hour.connections:>6,}  {refused}"
    ).rstrip()


def bar(part: float) -> str:
    """A bar of `BAR` cells, in eighths of a cell; what is not nothing shows."""
    eighths = min(8 * BAR, max(round(8 * BAR * part), 1 if part > 0 else 0))
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(BAR)


def summary_lines(output: Output, found: "Summary") -> list[str]:
    """What the day came to."""
    mark = output.painted("✓", rendering.GREEN) if not found.lost else output.painted("✗", rendering.RED)
    lines = [
        "",
        output.say("cli.surge.signed-up", signed_up=f"{found.signed_up:,}", newcomers=f"{found.newcomers:,}"),
        output.say("cli.surge.delays", calm=_plain(found.calm_p99_ms), wave=_plain(found.wave_p99_ms)),
    ]
    if found.refused:
        refused = ", ".join(f"{code} {count:,}" for code, count in found.refused.items())
        lines.append(output.say("cli.surge.refused", refused=refused))
    if found.waiting:
        lines.append(output.say("cli.surge.waiting", waiting=f"{found.waiting:,}"))
    kept = output.say("cli.surge.lost", acknowledged=f"{found.acknowledged:,}", lost=f"{found.lost:,}")
    return [*lines, f"{mark} {kept}"]


def _ms(value: float | None) -> str:
    return f"{'–':>7}" if value is None else f"{value:>7,.0f}"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
