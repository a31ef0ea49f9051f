"""The house's own rules: borders, sizes, names, licences, what the readmes must say."""

import ast
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import threat_table
from tests.conftest import ROOT

SOURCE = ROOT / "src" / "hanatalk"
MODULES = sorted(SOURCE.rglob("*.py"))
LONGEST = 700  # lines
FORBIDDEN = {
    *("server", "session", "room", "user", "mailbox", "topic", "stream", "blob", "payload", "packet", "data"),
    *("manager", "handler", "helper", "helpers", "utils", "util", "common", "misc", "base"),
}
PURE = ("wire", "mls", "localdb", "client/engine")
CLOCKS = re.compile(r"\b(datetime\.(now|utcnow|today)|date\.today|os\.times|perf_counter|monotonic)\(")
# Written in two halves, so that this file does not hold what it forbids.
REGISTRIES = ["py" + "pi.org", "python" + "hosted", "registry." + "npm", "npmjs" + ".org", "index.crates" + ".io"]
REGISTRIES += ["static.crates" + ".io", "proxy.golang" + ".org", "yarnpkg" + ".com", "deb.debian" + ".org"]
NOT_AUDITED = "Not audited. Do not rely on it for your safety yet."


def committed() -> list[Path]:
    """Files under version control; a source archive has no history, there it is every file."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_rooms_keep_their_borders() -> None:
    """The import contracts of pyproject.toml, "the relay cannot read messages" among them."""
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("relay/serve.py", "import hanatalk.localdb", "The relay cannot read messages"),
        ("stores/memory.py", "import hanatalk_mls", "The relay cannot read messages"),
        ("client/engine/formats/content.py", "import time", "Rooms that decide do no I/O and own no clock"),
        ("relay/policy.py", "import asyncio", "Rooms that decide do no I/O and own no clock"),
        ("wire/frames.py", "import hanatalk.stores", "Rooms import downwards only"),
        ("client/engine/formats/content.py", "import hanatalk_mls", "Only mls imports the binding"),
        ("relay/policy.py", "import hanatalk.words", "Errors carry codes; only the faces print sentences"),
        ("somewhere.py", "", "Rooms import downwards only, and every module has its room"),
    ],
)
def test_the_contracts_see_a_crossed_border(tmp_path: Path, module: str, line: str, contract: str) -> None:
    """A contract that never fails guards nothing: cross each border once, in a copy."""
    (tmp_path / "src").mkdir()
    copied = tmp_path / "src" / "hanatalk"
    for path in MODULES:
        target = copied / path.relative_to(SOURCE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    with (copied / module).open("a") as opened:
        opened.write(f"\n{line}\n")
    code = "import sys; sys.path.insert(0, 'src'); from importlinter.cli import lint_imports_command as c; c()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert re.search(rf"(?m)^{re.escape(contract)}.* BROKEN", done.stdout), done.stdout


@pytest.mark.parametrize("room", PURE)
def test_rooms_that_decide_never_ask_what_time_it_is(room: str) -> None:
    """`datetime` may be imported for its arithmetic, so the import contract alone does not see this."""
    for path in sorted((SOURCE / room).rglob("*.py")):
        assert not CLOCKS.search(path.read_text()), path


def test_modules_can_be_read_in_one_sitting() -> None:
    long = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: lines for name, lines in long.items() if lines > LONGEST} == {}


def test_modules_have_names_that_say_something() -> None:
    parts = {part: path for path in MODULES for part in path.relative_to(SOURCE).with_suffix("").parts}
    assert {part: path for part, path in parts.items() if set(part.split("_")) & FORBIDDEN} == {}


RUNS_CODE = {"pickle", "marshal", "shelve", "runpy", "subprocess", "ctypes", "webbrowser", "code", "zipimport", "imp"}
RUNS_TEXT = {"eval", "exec", "compile", "__import__", "system", "popen", "import_module"}


@pytest.mark.parametrize("room", ["client", "wire", "transport", "mls", "localdb", "words"])
def test_nothing_that_comes_in_can_be_run(room: str) -> None:
    """T-025: what a device gets from a relay meets nothing that loads, unpickles, compiles or starts anything."""
    for path in sorted((SOURCE / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            imported: set[str] = set()
            if isinstance(node, ast.Import):
                imported = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported = {(node.module or "").partition(".")[0]}
            assert not imported & RUNS_CODE, path
            if isinstance(node, ast.Call):
                called = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
                of_re = isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", None) == "re"
                assert called not in RUNS_TEXT or of_re, (path, node.lineno)


def test_every_room_has_its_tests() -> None:
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    tested = {path.parent.name for path in ROOT.glob("tests/*/test_*.py")}
    tested |= {path.relative_to(ROOT / "tests").parts[0] for path in ROOT.glob("tests/*/*/test_*.py")}
    assert rooms - tested == set()


def test_no_committed_file_names_a_package_registry() -> None:
    """People have their own; a lock file that names one sends everybody there."""
    found = []
    for path in committed():
        text = path.read_bytes().decode(errors="replace")
        found += [f"{path.relative_to(ROOT)}: {name}" for name in REGISTRIES if name in text]
    assert found == []


def test_locked_requirements_all_have_hashes_and_no_address() -> None:
    """T-087: an install takes nothing whose hash is not written here."""
    for name in ("requirements.txt", "requirements-relay.txt", "requirements-audit.txt"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        requirements = re.split(r"\n(?=[a-z0-9])", re.sub(r"(?m)^\s*#.*\n", "", text))
        assert len(requirements) > 10
        for requirement in requirements:
            assert re.match(r"[a-z0-9._-]+==\S+", requirement), requirement
            assert "--hash=sha256:" in requirement, requirement


def test_a_relay_needs_nothing_of_a_device() -> None:
    """No Rust, no MLS, no key derivation of profiles: what is not installed cannot decrypt."""
    relay = (ROOT / "requirements-relay.txt").read_text()
    assert not re.search(r"(?m)^(hanatalk-mls|argon2|keyring|segno|maturin)", relay)


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_the_first_screen_says_that_nothing_is_audited(name: str) -> None:
    assert NOT_AUDITED in "\n".join((ROOT / name).read_text().splitlines()[:12])


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_the_readmes_show_commands_that_exist(name: str) -> None:
    """Every `hana <command>` of the readmes is one."""
    from hanatalk.cli.entry import COMMANDS

    named = set(re.findall(r"(?m)(?:^|`)hana ([a-z]+)", (ROOT / name).read_text()))
    assert named >= {"init", "invite", "accept", "send", "relay", "demo"}
    assert named - set(COMMANDS) == set()


def test_claims_stay_modest() -> None:
    """What product.md forbids to claim is not claimed by the readmes."""
    never = [
        "untraceable",
        "zero metadata",
        "unlinkable",
        "military",
        "quantum-safe",
        "100 %",
        "unbreakable",
        "deniable",
    ]
    for name in ("README.md", "README.ko.md", "ARCHITECTURE.md", "SECURITY.md"):
        text = (ROOT / name).read_text().lower()
        assert [word for word in never if word in text] == [], name


def test_licences_are_here_and_whole() -> None:
    # The Free Software Foundation's own text, byte for byte.
    agpl = hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
    assert agpl == "0d96a4ff68ad6d4b6f1f30f713b18d5184912ba8dd389f86aa7710db079abcb0"
    assert 'license = "AGPL-3.0-or-later"' in (ROOT / "pyproject.toml").read_text()
    assert "Apache License" in (ROOT / "rust" / "LICENSE-APACHE").read_text()
    assert "Permission is hereby granted, free of charge" in (ROOT / "rust" / "LICENSE-MIT").read_text()


def test_the_table_of_cases_is_current() -> None:
    """`make threat-table` writes it."""
    document = threat_table.DOCUMENT.read_text()
    assert threat_table.rewritten(document) == document


def test_the_table_has_all_cases_once() -> None:
    assert [number for section in threat_table.SECTIONS.values() for number in section] == list(range(1, 89))
    assert set(threat_table.named()) <= set(range(1, 89))


def test_every_decision_is_listed() -> None:
    listed = re.findall(r"\]\((\d{4}-[a-z0-9-]+\.md)\)", (ROOT / "docs" / "adr" / "README.md").read_text())
    assert listed == sorted(path.name for path in (ROOT / "docs" / "adr").glob("0*.md"))


def test_links_between_documents_lead_somewhere() -> None:
    links = [
        (path, target)
        for path in committed()
        if path.suffix == ".md"
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text())
        if "://" not in target
    ]
    assert len(links) > 20
    assert [(path.name, target) for path, target in links if not (path.parent / target).exists()] == []
