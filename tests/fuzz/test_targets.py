"""T-088: every parser has a target, what the corpus and past findings hold does no harm, and a finding is one."""

import ast
import hashlib
import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fuzz.target import Broken, Target
from fuzz.targets import ALL
from tests.conftest import ROOT

from fuzz import running
from hanatalk.errors import WireError
from hanatalk.transport import arriving
from hanatalk.transport.unfinished import Unfinished
from hanatalk.wire.client import ClientConnection

SOURCE = ROOT / "src" / "hanatalk"
CORPUS_LIMIT = 1 << 20  # bytes in the repository

# Calls that turn bytes or text from elsewhere into values.
PARSING = {
    *("decode", "from_bytes", "fromhex", "b64decode", "urlsafe_b64decode", "loads", "unpack", "fromisoformat"),
    *("urlsplit", "parse_qs", "fullmatch", "parse_relay_url", "verify_chain", "read_bytes", "read_text"),
    *("load_pem_private_key", "load_pem_x509_certificates", "load_der_x509_certificate", "key_package_inspect"),
    *("welcome_stage", "process", "load"),
}
# Modules that parse and have no target, and why not.
WITHOUT = {
    "cli.devices": "a code from standard input; client.engine.formats.link_codes parses it",
    "cli.output": "JSON that it has just written",
    "cli.passphrase": "the person's own file; one line, decoded as UTF-8 or refused",
    "cli.people": "a link from standard input; client.engine.formats.links parses it",
    "cli.rendering": "times that the engine wrote itself",
    "client.engine.conversations.additions": "own rows of the authenticated database; chains by accounts.verify_chain",
    "client.engine.conversations.changes": "own rows; names that asking checked",
    "client.engine.formats.clock": "its own setting in the authenticated database",
    "client.engine.core": "own rows of the authenticated database, written after they were verified",
    "client.engine.conversations.claims": "entries, by sealing and mls; credentials, by accounts",
    "client.engine.conversations.faults": "own settings in the authenticated database",
    "client.engine.people.devices": "chains, by accounts.verify_chain",
    "client.engine.files.downloads": "own rows of the authenticated database",
    "client.engine.engine": "own rows of the authenticated database",
    "client.engine.conversations.history": "own settings; records parses what comes, content the bodies",
    "client.engine.conversations.joining": "chains and credentials, by accounts; the Welcome by mls and key_packages",
    "client.engine.people.introductions": "own rows of the authenticated database; chains by accounts.verify_chain",
    "client.engine.messages.keeping": "own settings in the authenticated database",
    "client.engine.formats.keys": "own digests",
    "client.engine.conversations.membership": "chains, by accounts.verify_chain",
    "client.engine.conversations.moving": "own settings in the authenticated database",
    "client.engine.messages.recovery": "own rows of the authenticated database",
    "client.engine.people.standing_in": "KeyPackages, by key_packages.check; own ones",
    "client.engine.people.roll": "chains and codes that were verified before they were stored",
    "client.engine.seen.views": "what the person typed, looked up; see command-line",
    "client.engine.conversations.welcoming": "KeyPackages that were inspected before they were stored",
    "client.runtime.attaching": "a file's name of this machine; client.kinds makes the others'",
    "client.runtime.profiles": "the relay's URL, by transport.urls",
    "client.runtime.owner": "text that the engine parses",
    "drill.demo": "its own children's output",
    "drill.processes": "its own children's output",
    "drill.searching": "searches bytes, reads nothing out of them",
    "localdb.database": "the schema, from the package",
    "relay.__main__": "the options its parent wrote",
    "relay.logs": "its own log records",
    "stores.sqlite": "own rows of the authenticated store",
    "stores.shelves": "names of own tables",
    "stores.upgrading": "own rows of the authenticated store",
    "transport.link": "the relay's URL, by transport.urls",
}


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where targets put their files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.mark.parametrize("target", ALL.values(), ids=ALL)
def test_t088_nothing_kept_does_any_harm(target: Target) -> None:
    """T-088, T-019: the corpus and every input that once was a finding, each through its parser."""
    attack = target.guarded()
    found = running.inputs(target)
    assert found, f"no seeds: python -m fuzz --seed --target {target.name}"
    for path in found:
        try:
            attack(path.read_bytes())
        except Exception as error:
            raise AssertionError(f"python -m fuzz --replay {path.relative_to(ROOT)}") from error


@pytest.mark.parametrize("target", ALL.values(), ids=ALL)
def test_t088_the_parsers_that_are_named_exist(target: Target) -> None:
    for parser in target.parsers:
        module, _, name = parser.rpartition(".")
        assert hasattr(importlib.import_module(module), name), parser


def test_t088_every_parser_has_a_target() -> None:
    """Whoever adds a module that parses something adds a target, or says here why it needs none."""
    attacked = {
        parser.rpartition(".")[0].removeprefix("hanatalk.") for target in ALL.values() for parser in target.parsers
    }
    parsing = {_dotted(path) for path in SOURCE.rglob("*.py") if _parses(path)}
    assert sorted(parsing - attacked - set(WITHOUT)) == [], "modules that parse, without a target"
    assert sorted(set(WITHOUT) - parsing) == [], "excuses that are not needed any more"
    assert sorted(set(WITHOUT) & attacked) == [], "excused, and attacked nevertheless"


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def _parses(path: Path) -> bool:
    calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    names = {
        call.attr if isinstance(call, ast.Attribute) else call.id
        for call in calls
        if isinstance(call, ast.Attribute | ast.Name)
    }
    return bool(names & PARSING)


def test_the_corpus_is_small_and_named_by_hash() -> None:
    paths = [path for path in running.CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in paths) <= CORPUS_LIMIT
    for path in paths:
        assert path.name == hashlib.sha1(path.read_bytes()).hexdigest(), path
    folders = {path.name for place in (running.CORPUS, running.KEPT) for path in place.iterdir()}
    assert sorted(folders - set(ALL)) == [], "inputs of targets that there are not"


needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="no wheel of atheris for this machine"
)


def _fuzz(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "fuzz"]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@needs_atheris
@pytest.mark.timeout(900)  # ten seconds, on a machine of its own
def test_t088_a_short_run_of_every_target_finds_nothing(tmp_path: Path) -> None:
    """T-088: coverage-guided, some hundred inputs each, always from the same number; `make fuzz` goes on for hours."""
    done = _fuzz("--runs", "-1", "--plain", "--seed-number", "88", "--findings", str(tmp_path))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    rows = [line.split() for line in done.stdout.splitlines() if line.split()[:1] and line.split()[0] in ALL]
    assert [row[0] for row in rows] == list(ALL)
    assert all(int(row[1].replace(",", "")) >= ALL[row[0]].short for row in rows), done.stdout


def _finds(name: str) -> bool:
    """Whether what is kept for this target finds something in the code as it is now."""
    attack = ALL[name].guarded()
    try:
        for path in running.inputs(ALL[name]):
            attack(path.read_bytes())
    except Broken:
        return True
    return False


def test_a_client_that_takes_any_answer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """HT-R-016: without the check of an answer's kind, the target finds it."""

    def any_answer(client: ClientConnection, request: int, _: str) -> Any:
        asked = client._asked.pop(request, None)
        if asked is None:
            raise WireError("wire.unexpected-answer")
        return asked

    assert not _finds("relay-frames")
    monkeypatch.setattr(ClientConnection, "_answered", any_answer)
    assert _finds("relay-frames")


def test_a_relay_that_miscounts_what_is_unfinished_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """HT-R-137: half messages that are not counted are found, and an answer that quotes is too (HT-R-139)."""
    assert not _finds("websocket-bytes")
    with monkeypatch.context() as patched:
        patched.setattr(Unfinished, "weigh", lambda *_: None)
        assert _finds("websocket-bytes")
    monkeypatch.setattr(arriving, "refusal", lambda error: b"HTTP/1.1 400 " + str(error).encode() + b"\r\n\r\n")
    assert _finds("websocket-bytes")


BROKEN_PARSER = """
import sys
from pathlib import Path
import atheris
from fuzz import running
from fuzz.target import Target

def ready():
    @atheris.instrument_func
    def attack(given):
        if given[:1] == b"H":
            if given[1:2] == b"i":
                if len(given) > 2:
                    b"\\x00" [given[2]]  # no bounds check
    return attack

target = Target(name="broken", parsers=(), allowed=(UnicodeDecodeError,), ready=ready, seeds=lambda: [], longest=8)
plan = running.Plan(runs=20_000, seed=1, keep_grown=False, findings=Path(sys.argv[1]))
outcome = running.fuzz(target, plan)
assert outcome.edges and outcome.findings, outcome
assert any("IndexError" in log for log in outcome.logs), outcome.logs
for path in outcome.findings:
    print(path)
"""


@needs_atheris
def test_a_parser_without_a_bounds_check_is_found(tmp_path: Path) -> None:
    """A net that catches nothing proves nothing: coverage leads to the bug, the input is kept and reported."""
    done = _fuzz(str(tmp_path), code=BROKEN_PARSER)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = {Path(line) for line in done.stdout.split()}
    assert all(path.read_bytes()[:2] == b"Hi" for path in kept)


def test_a_finding_is_replayed_with_its_traceback(tmp_path: Path) -> None:
    harmless = tmp_path / "envelope"
    harmless.write_bytes(b"\x96\x01")
    assert _fuzz("--target", "envelope", "--replay", str(harmless)).returncode == 0
    broken = _fuzz("--target", "no-such-target", "--replay", str(harmless))
    assert broken.returncode != 0
