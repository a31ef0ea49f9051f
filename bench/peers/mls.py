"""Other implementations of MLS: npm ts-mls (as tests/interop pins it), two wheels in an environment of their own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from bench.machine import CACHE, NotMeasured

ROOT = Path(__file__).parents[2]
INTEROP = ROOT / "tests" / "interop"
SCENARIO = ROOT / "bench" / "mlspeers"
WHEELS = ("agentvault-mls-rs-uniffi==0.1.1", "rine-mls==0.1.1")
OURS = ("ours-xwing", "ours-x25519")
# rine-mls cannot update a leaf; ts-mls fails in trees where some were updated and others removed ("no overlap between
# provided private keys and update path").
UPDATING = (*OURS, "mls-rs")
NAMES = {
    "ours-xwing": "hanatalk",
    "ours-x25519": "hanatalk",
    "mls-rs": "mls-rs",
    "rine-xwing": "rine-mls",
    "ts-xwing": "ts-mls",
    "ts-x25519": "ts-mls",
}


def _python() -> Path:
    return CACHE / "mls" / "bin" / "python"


def install() -> None:
    """The wheels, without their dependencies (they have none), and ts-mls. :raises NotMeasured: it cannot be had"""
    if not _python().exists():
        subprocess.run([sys.executable, "-m", "venv", CACHE / "mls"], check=True, capture_output=True, timeout=120)
    for wheel in WHEELS:
        command = [str(_python()), "-m", "pip", "install", "--quiet", "--no-deps", wheel]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise NotMeasured(f"{wheel}: {done.stderr.strip()[-200:]}")
    if not (INTEROP / "node_modules" / "ts-mls").exists() and (npm := shutil.which("npm")) is not None:
        subprocess.run([npm, "ci", "--prefix", str(INTEROP)], check=True, capture_output=True, timeout=300)


def play(kind: str, size: int, warm: int, adds: int, *, seconds: float) -> dict[str, float]:
    """One life of a group, in a process of its own. :raises NotMeasured: it is not installed, or too slow"""
    if kind not in UPDATING:
        warm = 0
    arguments = [kind, str(size), str(warm), str(adds)]
    if kind in OURS:
        command = [sys.executable, str(SCENARIO / "scenario.py"), *arguments]
    elif kind.startswith("ts-"):
        node = shutil.which("node")
        if node is None or not (INTEROP / "node_modules" / "ts-mls").exists():
            raise NotMeasured("needs Node and `npm ci --prefix tests/interop`")
        command = [node, str(SCENARIO / "scenario.mjs"), str(INTEROP / "suites.mjs"), *arguments]
    elif _python().exists():
        command = [str(_python()), str(SCENARIO / "scenario.py"), *arguments]
    else:
        raise NotMeasured("its wheel is not installed")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"took more than {seconds:g} s") from None
    if done.returncode:
        raise NotMeasured((done.stderr.strip().splitlines() or ["no answer"])[-1])
    found: dict[str, float] = json.loads(done.stdout)
    return found
