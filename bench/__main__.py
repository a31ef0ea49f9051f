"""`python -m bench [TOPIC…]`: see bench/README.md."""

import argparse
import asyncio
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from bench.machine import CACHE, DRIVER_CORE, SERVER_CORE, NotMeasured, load_average
from bench.options import QUICK, Options
from bench.peers import setting_up
from bench.report import Row, Table, Target, write_json

TOPIC_SECONDS = 300.0  # after which a topic is given up
PATIENCE = {"groups": 4, "link": 3}  # times that; --full: 4 times more


def _topics() -> dict[str, Callable[[Options], Table]]:
    from bench import chat, client, crowd, driver, files, groups, linking, matrix, relay, searching

    return {
        "driver": driver.driver,
        "chat": chat.chat,
        "single": chat.single,
        "synapse": matrix.synapse,
        "tls": relay.tls,
        "idle": relay.idle,
        "fanout": relay.fanout,
        "stalled": relay.stalled,
        "send": client.send,
        "catchup": client.catchup,
        "open": client.opening,
        "search": searching.search,
        "file": files.transfer,
        "help": client.help_time,
        "size": client.size,
        "mls": client.mls,
        "groups": groups.groups,
        "message": groups.message,
        "crowd": crowd.crowd,
        "link": linking.link,
    }


def _child(topic: str, options: Options, path: Path) -> None:
    """Run one topic and leave its table in `path`."""
    write_json([_topics()[topic](options)], path)


def _read(path: Path) -> Table:
    (found,) = json.loads(path.read_text())
    rows = [Row(**{field.name: row[field.name] for field in dataclasses.fields(Row)}) for row in found["rows"]]
    targets = []
    for target in found["targets"]:
        kept = {field.name: target[field.name] for field in dataclasses.fields(Target)}
        if kept["value"] is None:
            kept["value"] = float("nan")
        targets.append(Target(**kept))
    return Table(found["topic"], found["title"], found["conditions"], rows, targets)


def _run(topic: str, arguments: list[str]) -> Table:
    """One topic in a process of its own: whatever happens to it, the others go on."""
    with tempfile.TemporaryDirectory(prefix="hanatalk-bench-") as folder:
        path = Path(folder) / "table.json"
        command = [sys.executable, "-m", "bench", topic, "--child", str(path), *arguments]
        began, load = time.monotonic(), load_average()
        patience = TOPIC_SECONDS * PATIENCE.get(topic, 1) * (4 if "--full" in arguments else 1)
        try:
            done = subprocess.run(command, timeout=patience, capture_output=True, text=True, check=False)
            why = done.stderr.strip().splitlines()[-1:] or [f"ended with {done.returncode}"]
        except subprocess.TimeoutExpired:
            why = [f"took more than {patience:g} s"]
        table = _read(path) if path.exists() else Table(topic, "not measured", [f"not measured: {why[0]}"])
        table.conditions.append(
            f"load average {load:.2f} before, {load_average():.2f} after; took {time.monotonic() - began:.0f} s"
        )
        return table


def main() -> int:
    """Run the topics that were named, all by default."""
    names = list(_topics())
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Hanatalk beside its peers: ratios, not records."
    )
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"of {', '.join(names)}; default: all")
    parser.add_argument("--rounds", type=int, help="measurements of each, interleaved (3)")
    parser.add_argument("--seconds", type=float, help="of one measurement (3)")
    parser.add_argument("--window", type=int, help="messages under way in each pair (16)")
    parser.add_argument(
        "--full", action="store_true", help="1,000,000 pending entries instead of 100,000; groups of 3,000"
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run? The figures say nothing")
    parser.add_argument("--no-setup", action="store_true", help="install nothing; what is missing is not measured")
    parser.add_argument("--json", type=Path, default=CACHE / "last.json", help="where the tables go as JSON")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--hollow", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.hollow:
        from bench.driver import hollow

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(hollow(given.hollow))
    unknown = [topic for topic in given.topics if topic not in names]
    if unknown:
        parser.error(f"no such topic: {', '.join(unknown)}")
    options = QUICK if given.quick else Options()
    changes = {
        name: getattr(given, name) for name in ("rounds", "seconds", "window") if getattr(given, name) is not None
    }
    if given.full:
        changes |= {"pending": 1_000_000, "large": True}
    options = dataclasses.replace(options, **changes)
    if given.child is not None:
        _child(given.topics[0], options, given.child)
        return 0
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    wanted = given.topics or names
    print(f"Hanatalk benchmarks. Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    print(f"servers on core {SERVER_CORE}, driver on core {DRIVER_CORE}; load average {load_average():.2f}")
    for line in setting_up.prepare(wanted, install=not given.no_setup):
        print(line)
    arguments = [
        part
        for name, value in changes.items()
        if name not in ("pending", "large")
        for part in (f"--{name}", str(value))
    ]
    arguments += ["--full"] * given.full + ["--quick"] * given.quick
    tables = []
    for topic in wanted:
        table = _run(topic, arguments)
        tables.append(table)
        print("\n" + table.text(), flush=True)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    write_json(tables, given.json)
    missed = [f"{table.topic}: {target.what}" for table in tables for target in table.targets if not target.met]
    count = sum(len(table.targets) for table in tables)
    print(f"\n{count - len(missed)} of {count} targets met" + "".join(f"\n   not met: {one}" for one in missed))
    print(f"as JSON: {given.json}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NotMeasured as error:
        sys.exit(f"not measured: {error}")
