"""A relay that asks for an access pass: what its operator types, and what people without, with a wrong and with the
right pass see (HT-R-021, HT-R-125)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.commands import Person, RelayProcess
from tests.e2e.conftest import acquaint

PASS = "a pass for the whole newsroom"


@pytest.fixture
def pass_file(tmp_path: Path) -> Path:
    path = tmp_path / "pass"
    path.write_text(f"{PASS}\n")
    return path


@pytest.fixture
def guarded(tmp_path: Path, pass_file: Path) -> Iterator[RelayProcess]:
    """A relay that asks for the pass."""
    relay = RelayProcess(tmp_path / "relay", "memory", "--access-pass-file", str(pass_file)).start()
    yield relay
    relay.kill()


def test_without_the_pass_nothing_and_with_it_everything(
    guarded: RelayProcess, pass_file: Path, person: Callable[[str], Person]
) -> None:
    """HT-R-125: missing, wrong, right, forgotten; each said in a sentence that names the next step."""
    minji = person("minji").join("민지", guarded.url)
    refused = minji.type("invite")
    assert (refused.code, refused.error["error"]) == (5, "relay.access-pass-needed")
    assert "hana relay-pass" in refused.error["hint"]

    wrong = minji.type("relay-pass", "--access-pass-file", "-", stdin="not the newsroom's pass\n")
    assert (wrong.code, wrong.error["error"]) == (5, "relay.access-pass")

    taken = minji.do("relay-pass", "--access-pass-file", str(pass_file)).object
    assert taken == {"relay": guarded.url, "connected": True}
    link = minji.do("invite").object["invite"]

    jihoon = person("jihoon").join("Jihoon", guarded.url, "--access-pass-file", str(pass_file))
    jihoon.do_here("accept", link)

    assert minji.do("relay-pass", "--forget").object == {"relay": guarded.url, "connected": False}
    assert minji.type("sync").error["error"] == "relay.access-pass-needed"
    assert PASS not in guarded.log.read_text()


def test_a_pass_given_through_the_process_that_has_the_profile_open(
    guarded: RelayProcess, pass_file: Path, person: Callable[[str], Person]
) -> None:
    """HT-R-125: `listen` owns the profile and was refused; a wrong pass is said, the right one connects it at once."""
    minji = person("minji").join("민지", guarded.url)
    with minji.listening() as listening:
        wrong = minji.type("relay-pass", "--access-pass-file", "-", stdin="not the newsroom's pass\n")
        assert (wrong.code, wrong.error["error"]) == (5, "relay.access-pass")
        taken = minji.do("relay-pass", "--access-pass-file", str(pass_file)).object
        assert taken == {"relay": guarded.url, "connected": True}
        listening.until("connection", relay=guarded.url, connected=True)
        assert minji.do("invite").object["invite"].startswith("hana:")


def test_somebody_elses_relay_may_want_a_pass_too(
    guarded: RelayProcess, relay: RelayProcess, pass_file: Path, person: Callable[[str], Person]
) -> None:
    """HT-R-125: a pass belongs to one relay's address."""
    minji = person("minji").join("민지", guarded.url, "--access-pass-file", str(pass_file))
    link = minji.do_here("invite").object["invite"]
    jihoon = person("jihoon").join("Jihoon", relay.url, "--access-pass-file", str(pass_file))
    assert jihoon.type("accept", link).error["error"] == "relay.access-pass-needed"
    jihoon.do("relay-pass", guarded.url, "--access-pass-file", str(pass_file))
    jihoon.do("accept", link)


def test_a_crowded_relay_asks_for_work_and_people_notice_nothing(
    tmp_path: Path, person: Callable[[str], Person]
) -> None:
    """HT-R-122, HT-R-124"""
    relay = RelayProcess(tmp_path / "relay", "memory", "--limit", "work-from=0", "--limit", "work=14").start()
    try:
        minji, jihoon = person("minji").join("민지", relay.url), person("jihoon").join("Jihoon", relay.url)
        conversation = acquaint(minji, jihoon)
        assert minji.do("send", conversation, "들려?").object["state"] in ("stored", "delivered", "read")
        jihoon.do_here("sync")
        assert jihoon.texts(conversation) == ["들려?"]
    finally:
        relay.kill()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "access-pass.length"),
        (b"too short\n", "access-pass.length"),
        (b"x" * 129, "access-pass.length"),
        (b"\xff" * 20, "access-pass.file"),
        (None, "access-pass.file"),
    ],
)
def test_what_is_no_pass_is_refused_on_both_sides(
    content: bytes | None, code: str, person: Callable[[str], Person], tmp_path: Path
) -> None:
    """HT-R-021"""
    path = tmp_path / "given"
    if content is not None:
        path.write_bytes(content)
    somebody = person("somebody")
    serve = somebody.type_here("relay", "serve", "--store", "memory", "--access-pass-file", str(path))
    assert (serve.code, serve.error["error"]) == (2, code)
    join = ("init", "--name", "누구", "--relay", "ws://127.0.0.1:9", "--no-passphrase")
    init = somebody.type_here(*join, "--access-pass-file", str(path))
    assert (init.code, init.error["error"]) == (2, code)
    assert not somebody.home.exists()


def test_nobody_to_ask_is_said(person: Callable[[str], Person]) -> None:
    somebody = person("somebody").join("누구", "ws://127.0.0.1:9")
    asked = somebody.type("relay-pass")
    assert (asked.code, asked.error["error"]) == (2, "access-pass.nobody")
    kept = somebody.do("relay-pass", "--access-pass-file", "-", stdin=PASS + "\n").object
    assert kept == {"relay": "ws://127.0.0.1:9", "connected": False}


def test_limits_are_checked_before_anything_is_opened(person: Callable[[str], Person], tmp_path: Path) -> None:
    """HT-R-126"""
    operator = person("operator")
    for limit, code in (
        ("nonsense=1", "limit.unknown"),
        ("connections=0", "limit.range"),
        ("connections", "usage.value"),
    ):
        refused = operator.type_here("relay", "serve", "--data", str(tmp_path / "data"), "--limit", limit)
        assert (refused.code, refused.error["error"]) == (2, code)
    assert not (tmp_path / "data").exists()
