"""The binding once more, with coverage: so that libFuzzer sees which edges of the Rust code an input takes.

A wheel of the same sources, built by the same compiler (SanitizerCoverage is an LLVM pass, it needs no nightly), kept
under ~/.cache/hanatalk and never installed: `load` puts it in front of the installed one for this process.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CRATE = ROOT / "rust" / "hanatalk-mls"
WRAPPER = Path(__file__).with_name("instrumented-rustc")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hanatalk"


def _digest() -> str:
    found = hashlib.sha256(platform.python_version().encode())
    for path in sorted([*CRATE.glob("src/**/*.rs"), CRATE / "Cargo.toml", CRATE / "Cargo.lock", WRAPPER]):
        found.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:24]


def folder() -> Path:
    """Where the instrumented module of these sources lies, or would."""
    return CACHE / "fuzz-wheels" / _digest()


def build() -> Path:
    """Make it if it is not there yet: some minutes the first time, seconds after a change.

    :raises subprocess.CalledProcessError: cargo's output has told why
    """
    place = folder()
    if place.exists():
        return place
    print("fuzz: building the binding with coverage (some minutes the first time)", file=sys.stderr, flush=True)
    building = place.with_name(f"{place.name}.{os.getpid()}")
    target = f"{platform.machine()}-unknown-linux-gnu"  # named, so that build scripts are not instrumented
    command = [str(Path(sys.executable).with_name("maturin")), "build", "--quiet", "--release", "--locked"]
    command += ["--manifest-path", str(CRATE / "Cargo.toml"), "--target", target]
    command += ["--interpreter", sys.executable, "--out", str(building)]
    environment = {**os.environ, "RUSTC_WRAPPER": str(WRAPPER), "CARGO_TARGET_DIR": str(CACHE / "fuzz-target")}
    # edges are counted crate by crate, and a build in a minute is worth more than a quick binding
    environment |= {"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"}
    environment["PATH"] = f"{environment.get('PATH', '')}:{Path.home() / '.cargo' / 'bin'}"
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    (wheel,) = building.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(building)
    wheel.unlink()
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    building.rename(place)
    return place


def load(place: Path) -> None:
    """Have `import hanatalk_mls` find the instrumented one. Before anything has imported it; needs atheris.

    Its counters register with the libFuzzer inside atheris, whose symbols are made visible for that.
    """
    from atheris import core_with_libfuzzer

    if "hanatalk_mls" in sys.modules:
        raise AssertionError("the binding is loaded already")
    ctypes.CDLL(core_with_libfuzzer.__file__, mode=os.RTLD_GLOBAL | os.RTLD_NOW | os.RTLD_NOLOAD)
    sys.path.insert(0, str(place))
