"""The warrant report as text. Pure: the sentences come from the caller."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta

from hanatalk.cli import shown
from hanatalk.relay.warrant import Part, Report

Say = Callable[..., str]
EPOCH = date(1970, 1, 1)
PAGES_OF = "pages of "


def lines(report: Report, say: Say) -> Iterator[str]:
    """Files with what their bytes are, rows, entries, channels, and what there is nothing of."""
    yield say("cli.warrant.title", files=len(report.files), size=f"{report.total:,}")
    yield ""
    yield say("cli.warrant.files")
    for file in report.files:
        yield f"  {file.size:>13,}  {shown.name(file.name)}"
        for part in file.parts:
            if part.size:
                yield f"    {part.size:>13,}  {_kind(part, say)}"
    yield ""
    yield say("cli.warrant.rows")
    for table, count in report.rows.items():
        yield f"  {count:>13,}  {shown.name(table)}"
    yield ""
    yield say("cli.warrant.entries")
    for held in report.entries:
        day = (EPOCH + timedelta(days=held.day)).isoformat()
        kind = say(f"cli.warrant.class.{held.entry_class}")
        yield f"  {held.count:>13,}  × {held.size:>6,}  {day}  {kind}"
    yield ""
    yield say("cli.warrant.channels", n=len(report.channels))
    for channel in report.channels:
        yield f"  {channel.channel}  {say('cli.warrant.held', n=channel.entries, size=f'{channel.size:,}')}"
    yield ""
    yield say("cli.warrant.absent", things=", ".join(say(f"cli.warrant.thing.{thing}") for thing in report.absent))


def _kind(part: Part, say: Say) -> str:
    if part.kind.startswith(PAGES_OF):
        return say("cli.warrant.kind.pages", table=part.kind.removeprefix(PAGES_OF))
    return say(f"cli.warrant.kind.{part.kind.replace(' ', '-')}")
