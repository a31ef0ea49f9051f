"""Runs of targets: each in a forked child of a process that has imported everything once, with coverage.

libFuzzer ends the process with the run (or with the first finding), so every run needs its own; forking spares each of
them the second that importing and instrumenting takes.
"""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.target import Target

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"  # small, kept: seeds and what reached new code
KEPT = HERE / "regressions"  # inputs that once were findings
GROWN = HERE / "grown"  # what long runs found new; not kept until `--keep`
FINDINGS = HERE / "findings"
MOST_FINDINGS = 5  # of one target in one run
RSS_LIMIT = 2048  # MiB of one run
MOST_KEPT = 60  # inputs of one target that one `--keep` takes
LARGEST_KEPT = 2048  # bytes of one of these


@dataclass(kw_only=True)
class Outcome:
    """What a run of one target came to. `edges`: libFuzzer's coverage points, in Python and (instrumented) Rust."""

    target: str
    runs: int = 0
    seconds: float = 0.0
    edges: int = 0
    features: int = 0
    fresh: int = 0  # inputs that reached something no other did
    peak_rss: int = 0  # MiB
    findings: list[Path] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)  # the end of what each finding's run printed

    @property
    def rate(self) -> float:
        return self.runs / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how. `runs` 0: as many as fit into `seconds`; `seconds` 0: as long as `runs` take."""

    seconds: int = 0
    runs: int = 0
    seed: int = 0  # 0: libFuzzer chooses
    keep_grown: bool = True
    findings: Path = FINDINGS
    per_input: int = 20  # seconds, then it is a finding


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Where the targets put their files meanwhile: in RAM, where there is such a thing."""
    ram = Path("/dev/shm")
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="hana-fuzz-", dir=ram if ram.is_dir() else None) as made:
        tempfile.tempdir = made
        try:
            yield Path(made)
        finally:
            tempfile.tempdir = before


def inputs(target: Target) -> list[Path]:
    """The kept corpus of a target and what once was found in it."""
    return sorted(path for place in (CORPUS, KEPT) for path in (place / target.name).glob("*") if path.is_file())


def fuzz(target: Target, plan: Plan) -> Outcome:
    """Run until the plan is fulfilled; goes on after a finding."""
    outcome = Outcome(target=target.name)
    began = time.monotonic()
    with scratch() as place:
        grown = GROWN / target.name if plan.keep_grown else place / "grown"
        grown.mkdir(parents=True, exist_ok=True)
        for turn in range(MOST_FINDINGS):
            left = plan.seconds - int(time.monotonic() - began) if plan.seconds else 0
            runs = plan.runs - outcome.runs if plan.runs else 0
            if (plan.seconds and left <= 0) or (plan.runs and runs <= 0):
                break
            found = _one_run(
                target, plan, seconds=left, runs=runs, seed=plan.seed + turn, grown=grown, log=place / "log"
            )
            _add(outcome, found)
            if not found.findings:
                break
    outcome.seconds = time.monotonic() - began
    return outcome


def _add(outcome: Outcome, found: Outcome) -> None:
    outcome.runs += found.runs
    outcome.fresh += found.fresh
    outcome.edges, outcome.features = max(outcome.edges, found.edges), max(outcome.features, found.features)
    outcome.peak_rss = max(outcome.peak_rss, found.peak_rss)
    outcome.findings += found.findings
    outcome.logs += found.logs


def _one_run(target: Target, plan: Plan, *, seconds: int, runs: int, seed: int, grown: Path, log: Path) -> Outcome:
    findings = plan.findings / target.name
    findings.mkdir(parents=True, exist_ok=True)
    before = set(findings.iterdir())
    arguments = [
        "fuzz",
        f"-max_len={target.longest}",
        f"-timeout={plan.per_input}",
        f"-rss_limit_mb={RSS_LIMIT}",
        f"-artifact_prefix={findings}/",
        "-print_final_stats=1",
        "-verbosity=1",
        f"-seed={seed}",
        *([f"-max_total_time={seconds}"] if seconds else []),
        *([f"-runs={runs}"] if runs else []),
        str(grown),
        *(str(place / target.name) for place in (CORPUS, KEPT) if (place / target.name).is_dir()),
    ]
    _in_child(target, arguments, log)
    text = log.read_text(errors="replace")
    found = _read(target.name, text)
    found.findings = sorted(set(findings.iterdir()) - before)
    if found.findings or "Done " not in text:
        found.logs.append(_telling(text))
    if not found.findings and "Done " not in text and "stat::number_of_executed_units" not in text:
        missing = findings / "no-input"
        missing.write_bytes(b"")  # it died before or between inputs: that counts too
        found.findings.append(missing)
    return found


def _telling(text: str) -> str:
    """What of a log says what happened: from the exception to libFuzzer's own summary."""
    lines = text[max(text.rfind(" === Uncaught"), 0) :].splitlines()
    end = next((place for place, line in enumerate(lines) if line.startswith("==") and "ERROR" in line), len(lines))
    return "\n".join([*lines[:end][-40:], *lines[end : end + 2]])


def _in_child(target: Target, arguments: list[str], log: Path) -> None:
    """Fork, fuzz, wait. Everything the child prints goes to `log`."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        try:
            os.waitpid(child, 0)
        except KeyboardInterrupt:
            os.kill(child, signal.SIGINT)
            os.waitpid(child, 0)
            raise
        return
    try:
        opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, 1)
        os.dup2(opened, 2)
        import atheris

        attack = target.guarded()
        mutate = {} if target.mutate is None else {"custom_mutator": target.mutate}
        atheris.Setup(arguments, attack, internal_libfuzzer=True, **mutate)
        atheris.Fuzz()
    except SystemExit:  # a finding: libFuzzer writes the input from its exit handler, so the C library's exit is needed
        pass
    except BaseException:  # noqa: BLE001 (the log tells, the parent goes on)
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        ctypes.CDLL(None).exit(1)


_STATUS = re.compile(r"cov: (\d+) ft: (\d+)")
_STATISTIC = re.compile(r"(?m)^stat::(\w+):\s+(\d+)")


def _read(name: str, text: str) -> Outcome:
    """libFuzzer's report."""
    outcome = Outcome(target=name)
    statistics = {key: int(value) for key, value in _STATISTIC.findall(text)}
    outcome.runs = statistics.get("number_of_executed_units", 0)
    outcome.fresh = statistics.get("new_units_added", 0)
    outcome.peak_rss = statistics.get("peak_rss_mb", 0)
    for match in _STATUS.finditer(text):
        outcome.edges, outcome.features = int(match[1]), int(match[2])
    if not outcome.runs:
        outcome.runs = max((int(number) for number in re.findall(r"(?m)^#(\d+)\t", text)), default=0)
    return outcome


def keep(targets: Iterable[Target]) -> None:
    """Take from what long runs grew the inputs that reach what the corpus does not, the smallest first."""
    for target in targets:
        corpus = CORPUS / target.name
        corpus.mkdir(parents=True, exist_ok=True)
        grown = [path for path in (GROWN / target.name).glob("*") if path.stat().st_size <= LARGEST_KEPT]
        known = inputs(target)
        ordered = [*known, *sorted(grown, key=lambda path: (path.stat().st_size, path.name))]
        reached: set[str] = set()
        kept = 0
        for number, (path, features) in enumerate(_features(target, ordered)):
            if number >= len(known) and not features <= reached and kept < MOST_KEPT:
                shutil.copy(path, corpus)
                kept += 1
            reached |= features


def _features(target: Target, paths: list[Path]) -> Iterator[tuple[Path, set[str]]]:
    """What each input reaches: libFuzzer's inner merge, whose control file lists inputs and then their features."""
    with scratch() as place:
        control = place / "control"
        control.write_text("\n".join([str(len(paths)), "0", *map(str, paths), ""]))
        _in_child(target, ["fuzz", f"-merge_control_file={control}", "-merge_inner=1", "-timeout=60"], place / "log")
        found = {
            int(words[1]): set(words[2:])
            for line in control.read_text().splitlines()
            if (words := line.split())[:1] == ["FT"]
        }
    return iter([(path, found.get(number, set())) for number, path in enumerate(paths)])


def table(outcomes: Iterable[Outcome]) -> Iterable[str]:
    """The outcomes as lines."""
    yield f"{'target':<18}{'runs':>11}{'runs/s':>9}{'edges':>8}{'features':>10}{'new':>7}{'MiB':>6}{'findings':>10}"
    for one in outcomes:
        yield (
            f"{one.target:<18}{one.runs:>11,}{one.rate:>9,.0f}{one.edges:>8,}{one.features:>10,}{one.fresh:>7,}"
            f"{one.peak_rss:>6}{len(one.findings):>10}"
        )
