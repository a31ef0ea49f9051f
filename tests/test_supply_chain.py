"""T-087: what is installed is what was locked. A changed wheel does not get in, an unlisted one neither."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

WHEEL = "greeting-1.0-py3-none-any.whl"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder with one wheel, as a mirror would serve it."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("greeting.py", "text = 'hello'\n")
        wheel.writestr("greeting-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
        wheel.writestr(
            "greeting-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr("greeting-1.0.dist-info/RECORD", "")
    return folder


def install(index: Path, requirements: str) -> subprocess.CompletedProcess[str]:
    """As `scripts/setup` does it, but from a folder and into a folder."""
    listed = index.parent / "requirements.txt"
    listed.write_text(requirements)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--isolated",
        "--disable-pip-version-check",
        "--quiet",
        "--no-deps",
    ]
    command += ["--no-index", "--find-links", str(index), "--target", str(index.parent / "installed")]
    return subprocess.run(
        [*command, "--require-hashes", "-r", str(listed)], capture_output=True, text=True, check=False
    )


def locked(index: Path) -> str:
    return f"greeting==1.0 --hash=sha256:{hashlib.sha256((index / WHEEL).read_bytes()).hexdigest()}\n"


def test_the_locked_wheel_installs(index: Path) -> None:
    """The positive control: the two refusals below are not refused for another reason."""
    done = install(index, locked(index))
    assert done.returncode == 0, done.stderr
    assert (index.parent / "installed" / "greeting.py").exists()


def test_a_tampered_wheel_does_not(index: Path) -> None:
    requirements = locked(index)
    with zipfile.ZipFile(index / WHEEL, "a") as wheel:
        wheel.writestr("extra.pth", "import os\n")
    done = install(index, requirements)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (index.parent / "installed").exists()


def test_a_requirement_without_a_hash_does_not(index: Path) -> None:
    done = install(index, "greeting==1.0\n")
    assert done.returncode != 0
    assert "require-hashes" in done.stderr


def test_set_up_installs_with_hashes_only() -> None:
    """Whatever `scripts/setup` takes from an index goes through --require-hashes; the rest is --no-index."""
    script = (Path(__file__).resolve().parent.parent / "scripts" / "setup").read_text()
    installs = [line for line in script.splitlines() if "pip install" in line]
    assert len(installs) == 3
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)
    assert "maturin build" in script
    assert "--locked" in script
