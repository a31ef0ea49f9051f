"""T-087: what is installed is what was locked. A changed wheel does not get in, an unlisted one neither."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from scripts import sbom
from tests.conftest import ROOT

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


def test_the_bill_of_materials_lists_every_locked_package_with_its_hashes() -> None:
    """T-087: CycloneDX, from the lock files alone; the same lock files make the same bill."""
    bill = sbom.document({})
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert bill == sbom.document({})
    listed = {component["purl"]: component for component in bill["components"]}
    locked = (ROOT / "requirements.txt").read_text()
    python = re.findall(r"(?m)^([a-z0-9._-]+)==([^\s;]+)", locked)
    crates = tomllib.loads((ROOT / "rust" / "hanatalk-mls" / "Cargo.lock").read_text())["package"]
    crates = [crate for crate in crates if crate["name"] != "hanatalk-mls"]
    assert len(listed) == len(python) + len(crates)
    for name, version in python:
        (files,) = listed[f"pkg:pypi/{name}@{version}"]["externalReferences"]
        assert files["hashes"]
        assert all(f"--hash=sha256:{one['content']}" in locked for one in files["hashes"])
    for crate in crates:
        (one,) = listed[f"pkg:cargo/{crate['name']}@{crate['version']}"]["hashes"]
        assert one["content"] == crate["checksum"]


def test_every_python_package_has_a_licence_that_is_allowed() -> None:
    """T-087; those of the crates are asked of cargo by `make sbom`."""
    bill = sbom.document({})
    python = [component for component in bill["components"] if component["purl"].startswith("pkg:pypi/")]
    assert sbom.refused(python) == []
    unknown = [component for component in bill["components"] if component["purl"].startswith("pkg:cargo/")]
    assert len(sbom.refused(unknown)) == len(unknown), "a crate whose licence nobody knows is refused"


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("MIT OR GPL-2.0-only", True),
        ("GPL-2.0-only", False),
        ("MIT AND GPL-2.0-only", False),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", True),
        ("(MIT OR Apache-2.0) AND Proprietary", False),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("Unlicense OR MIT", True),
        ("", False),
    ],
)
def test_licence_expressions(expression: str, allowed: bool) -> None:
    assert sbom.is_allowed(expression) is allowed


def test_known_flaws_and_sources_are_configured() -> None:
    """T-087: nothing is looked over, and what cannot be looked up fails."""
    deny = tomllib.loads((ROOT / "rust" / "deny.toml").read_text())
    assert deny["sources"] == {"unknown-registry": "deny", "unknown-git": "deny"}
    assert (deny["advisories"]["yanked"], deny["advisories"]["ignore"]) == ("deny", [])
    assert set(deny["licenses"]["allow"]) <= sbom.ALLOWED
    audit = (ROOT / "Makefile").read_text().partition("\naudit:")[2].partition("\n\n")[0]
    assert "--strict --require-hashes --disable-pip -r requirements.txt" in audit
    assert audit.startswith(" setup deny\n")
    assert "$(DENY) check advisories" in audit
    assert "\n\t$(DENY) check bans licenses sources\n" in (ROOT / "Makefile").read_text()
    assert "--require-hashes -r requirements-audit.txt" in audit


def _cargo_deny() -> str | None:
    """Where `make deny` looks for it."""
    path = os.pathsep.join([str(Path.home() / ".cache/hanatalk/cargo-deny/bin"), os.environ.get("PATH", "")])
    return shutil.which("cargo-deny", path=path)


@pytest.mark.skipif(_cargo_deny() is None, reason="cargo-deny is not installed (make deny says how)")
@pytest.mark.parametrize(
    ("change", "passes"),
    [(("", ""), True), (('    "MIT",\n', ""), False), (("[bans]", '[bans]\ndeny = ["openmls"]'), False)],
    ids=["as it is", "without a licence that is used", "with a crate that is banned"],
)
def test_cargo_deny_lets_through_what_is_locked_and_nothing_else(
    tmp_path: Path, change: tuple[str, str], passes: bool
) -> None:
    """T-087: licences, sources, bans; without the net. The known flaws need it: `make audit`."""
    cargo = ["--manifest-path", str(ROOT / "rust" / "hanatalk-mls" / "Cargo.toml"), "--locked", "--offline"]
    known = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", *cargo], capture_output=True, text=True, check=False
    )
    if known.returncode:
        pytest.skip("not every locked crate is on this machine")
    config = (ROOT / "rust" / "deny.toml").read_text()
    assert change[0] in config
    changed = tmp_path / "deny.toml"
    changed.write_text(config.replace(*change, 1))
    command = [str(_cargo_deny()), *cargo, "--config", str(changed), "check", "bans", "licenses", "sources"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is passes, done.stderr[-3000:]
