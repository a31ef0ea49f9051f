"""python -m fuzz [--seconds N] [--target NAME]… [--list] [--replay FILE]… [--seed] [--keep]

Exit code 1 if anything was found.
"""

import argparse
import hashlib
import sys
import traceback
from pathlib import Path

from scripts.compile_catalogues import compile_catalogues

from fuzz import native, running
from fuzz.running import CORPUS, Outcome, Plan


def main() -> int:
    """Run as asked; see the module."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Coverage-guided attacks on every parser.")
    parser.add_argument("--seconds", type=int, default=60, help="of each target (default 60)")
    parser.add_argument(
        "--runs", type=int, default=0, help="inputs of each target instead; -1: each target's short run"
    )
    parser.add_argument("--target", action="append", metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--seed-number", type=int, default=0, help="of the random generator, to repeat a run")
    parser.add_argument("--findings", type=Path, default=running.FINDINGS, help="where findings are written")
    parser.add_argument("--plain", action="store_true", help="with the installed binding: no coverage inside Rust")
    parser.add_argument("--list", action="store_true", help="the targets, what they attack, what may come of it")
    parser.add_argument(
        "--replay", action="append", type=Path, metavar="FILE", help="run this input once, with its traceback"
    )
    parser.add_argument("--seed", action="store_true", help="make the seeds anew, and missing frozen groups")
    parser.add_argument("--keep", action="store_true", help="take what long runs grew into the corpus, minimised")
    given = parser.parse_args()
    compile_catalogues(native.ROOT / "src" / "hanatalk" / "words")
    if given.list or given.replay or given.seed:
        with running.scratch():
            return _without_coverage(given)
    names = _instrumented(plain=given.plain)
    from fuzz.targets import ALL

    wanted = [ALL[name] for name in given.target or ALL]
    if given.keep:
        running.keep(wanted)
        return 0
    print(f"fuzz: {len(wanted)} targets, coverage in {names}", flush=True)
    outcomes: list[Outcome] = []
    for target in wanted:
        plan = Plan(
            seconds=0 if given.runs else given.seconds,
            runs=target.short if given.runs < 0 else given.runs,
            seed=given.seed_number,
            keep_grown=not given.runs,
            findings=given.findings,
            per_input=120 if given.runs else 20,  # counted runs are tests, and must hold on a busy machine
        )
        outcomes.append(running.fuzz(target, plan))
        lines = list(running.table(outcomes[-1:]))
        print("\n".join(lines if len(outcomes) == 1 else lines[1:]), flush=True)
    return _report(outcomes)


def _instrumented(*, plain: bool) -> str:
    """Import everything that the targets need, with coverage. Returns what has it."""
    import atheris

    if not plain:
        native.load(native.build())
    before, sys.stderr = sys.stderr, _Silent()
    try:
        with atheris.instrument_imports(include=["hanatalk", "fuzz.targets"], enable_loader_override=False):
            import fuzz.targets  # noqa: F401
    finally:
        sys.stderr = before
    return "Python" if plain else "Python and Rust"


class _Silent:
    """atheris names every module that it instruments."""

    def write(self, _: str) -> int:
        return 0

    def flush(self) -> None:
        pass


def _report(outcomes: list[Outcome]) -> int:
    found = [(outcome, path) for outcome in outcomes for path in outcome.findings]
    for outcome in outcomes:
        for log in {log.partition("\n==")[0].rpartition("\n\n")[0][-400:]: log for log in outcome.logs}.values():
            print(f"\n--- {outcome.target} ---\n{log}")
    for outcome, path in found:
        print(f"finding: python -m fuzz --target {outcome.target} --replay {path}")
    return 1 if found else 0


def _without_coverage(given: argparse.Namespace) -> int:
    if given.seed:
        from fuzz import material

        if not material.FILE.exists():
            material.make()
    from fuzz.targets import ALL

    if given.list:
        for target in ALL.values():
            allowed = ", ".join(kind.__name__ for kind in target.allowed) or "nothing"
            print(f"{target.name:<18}{', '.join(target.parsers)}\n{'':<18}may raise {allowed}")
    if given.seed:
        for name in given.target or ALL:
            _seed(name)
    broken = 0
    for path in given.replay or ():
        name = (given.target or [path.parent.name])[0]
        try:
            ALL[name].guarded()(path.read_bytes())
            print(f"{name}: {path.name}: nothing found")
        except Exception:  # noqa: BLE001 (whatever comes is the finding)
            traceback.print_exc()
            broken = 1
    return broken


def _seed(name: str) -> None:
    from fuzz.targets import ALL

    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    for seed in ALL[name].seeds():
        (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)


if __name__ == "__main__":
    sys.exit(main())
