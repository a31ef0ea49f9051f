"""Somebody is away, the relay dies, the input is wrong: what `hana` says and how it ends."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.e2e.commands import Person, RelayProcess, environment
from tests.e2e.conftest import acquaint

from hanatalk.client.engine.formats import links

NOBODY = "ws://127.0.0.1:9"  # the discard port: nothing listens there


def couple(person: Callable[[str], Person], relay: RelayProcess) -> tuple[Person, Person, str]:
    minji, jihoon = person("minji").join("민지", relay.url), person("jihoon").join("Jihoon", relay.url)
    return minji, jihoon, acquaint(minji, jihoon)


def test_accepting_and_writing_while_the_inviter_is_away(person: Callable[[str], Person], relay: RelayProcess) -> None:
    minji, jihoon = person("minji").join("민지", relay.url), person("jihoon").join("Jihoon", relay.url)
    link = minji.do("invite").object["invite"]
    conversation = jihoon.do("accept", link).object["conversation"]
    assert jihoon.do("send", "민지", "있어?").object["state"] == "stored"
    assert minji.do("sync").object["received"] == 1
    assert minji.texts("Jihoon") == ["있어?"]
    assert minji.do("chats").object["conversation"] == conversation


def test_without_a_relay_everything_local_works_and_the_message_waits(
    person: Callable[[str], Person], own_relay: RelayProcess
) -> None:
    minji, jihoon, conversation = couple(person, own_relay)
    own_relay.kill()
    began = time.monotonic()
    assert minji.do("send", conversation, "기다림").object["state"] == "queued"
    assert time.monotonic() - began < 10  # at most five seconds for STORED, then the command's own time
    assert minji.texts(conversation) == ["기다림"]
    assert minji.do("chats").object["last"] == "기다림"
    assert minji.do("read", conversation).code == 0
    offline = minji.type("sync", "--wait", "3")
    assert (offline.code, offline.out) == (3, "")
    assert offline.error["error"].startswith("network.")
    assert offline.error["hint"]
    assert "Sent" not in minji.prose("en").do("send", conversation, "또").out
    own_relay.start()
    assert minji.do("sync").object == {"received": 0, "sent": 2, "pending": 0, "rejoining": [], "invitations": []}
    jihoon.do("sync")
    assert jihoon.texts(conversation) == ["기다림", "또"]


def test_the_relay_is_killed_between_and_under_messages(
    person: Callable[[str], Person], own_relay: RelayProcess
) -> None:
    minji, jihoon, conversation = couple(person, own_relay)
    assert minji.do("send", conversation, "stored before").object["state"] == "stored"
    own_relay.kill()
    assert minji.do("send", conversation, "queued under").object["state"] == "queued"
    own_relay.start()
    assert minji.do("send", conversation, "stored after").object["state"] == "stored"  # what waits goes first, in order
    jihoon.do("sync")
    jihoon.do("sync")
    assert jihoon.texts(conversation) == ["stored before", "queued under", "stored after"]


def test_a_relay_that_is_told_to_stop_drains_and_says_nothing_more(own_relay: RelayProcess) -> None:
    began = time.monotonic()
    assert own_relay.stop() == (0, "")
    assert time.monotonic() - began < 5.5


def test_two_relays_do_not_share_a_folder(own_relay: RelayProcess) -> None:
    relay = Person(own_relay.data)
    second = relay.type("relay", "serve", "--port", "0", "--data", str(own_relay.data))
    assert (second.code, second.error["error"]) == (1, "relay.locked")
    taken = relay.type("relay", "serve", "--port", str(own_relay.port), "--store", "memory")
    assert (taken.code, taken.error["error"]) == (2, "relay.address-in-use")
    assert relay.type("relay", "serve", "--host", "192.0.2.1", "--store", "memory").code == 2


@pytest.fixture(scope="module")
def known(relay: RelayProcess, tmp_path_factory: pytest.TempPathFactory) -> Person:
    return Person(tmp_path_factory.mktemp("known") / "minji").join("민지", relay.url)


@pytest.fixture(scope="module")
def link(known: Person) -> str:
    return str(known.do("invite").object["invite"])


def refused(who: Person, *command: str) -> tuple[int, str]:
    """Both languages give the same code; each has a sentence and an advice of its own."""
    english, korean = who.type("--lang", "en", *command), who.type_here("--lang", "ko", *command)
    for ended, letters in ((english, "[A-Za-z]"), (korean, "[가-힣]")):
        assert ended.out == ""
        assert ended.error.keys() == {"error", "text", "hint"}
        for sentence in (ended.error["text"], ended.error["hint"]):
            assert re.search(letters, sentence), ended.error
            assert "{" not in sentence
    assert (english.code, english.error["error"]) == (korean.code, korean.error["error"])
    assert english.error["text"] != korean.error["text"]
    return english.code, english.error["error"]


@pytest.mark.parametrize(
    "bad", ["nonsense", "hana:", "hana:AAAA", "http://example.org", "hana-link:AAAA", "hana:가나다"]
)
def test_a_malformed_link(known: Person, bad: str) -> None:
    assert refused(known, "accept", bad) == (1, "invite.malformed")


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.99])
def test_a_cut_link(known: Person, link: str, kept: float) -> None:
    assert refused(known, "accept", link[: int(len(link) * kept)]) == (1, "invite.malformed")


def test_the_own_link(known: Person, link: str) -> None:
    assert refused(known, "accept", link) == (2, "invite.own")


def test_t075_a_used_link(person: Callable[[str], Person], relay: RelayProcess) -> None:
    minji, jihoon, third = (person(name).join(name, relay.url) for name in ("minji", "jihoon", "third"))
    link = minji.do("invite").object["invite"]
    jihoon.do("accept", link)
    assert refused(third, "accept", link) == (1, "invite.used")
    assert third.do("chats").objects == []


def test_an_expired_link(person: Callable[[str], Person], relay: RelayProcess, link: str) -> None:
    late = person("late").join("늦은이", relay.url)
    yesterday = msgspec.structs.replace(links.parse(link), expires_at=int(time.time()) - 86_400)
    assert refused(late, "accept", links.compose(yesterday)) == (1, "invite.expired")


def test_an_unreachable_relay(person: Callable[[str], Person], link: str) -> None:
    lonely = person("lonely").join("외딴", NOBODY)  # signing up needs no network
    for command in (["sync", "--wait", "2"], ["invite"]):
        code, error = refused(lonely, *command)
        assert code == 3
        assert error.startswith("network.")
    assert lonely.do("chats").objects == []


@pytest.mark.parametrize(
    "url", ["nonsense", "http://127.0.0.1:1", "ws://example.org:7710", "ws://", "ws://127.0.0.1:99999"]
)
def test_a_relay_address_that_is_none(person: Callable[[str], Person], url: str) -> None:
    nobody = person("nobody")
    code, error = refused(nobody, "init", "--name", "x", "--relay", url, "--no-passphrase")
    assert (code, error.partition(".")[0]) == (2, "relay")
    assert not nobody.home.exists()


@pytest.mark.parametrize("name", ["", " ", "a\x1bb", "x" * 1000])
def test_a_name_that_is_none(person: Callable[[str], Person], name: str) -> None:
    nobody = person("nobody")
    assert refused(nobody, "init", "--name", name, "--relay", NOBODY, "--no-passphrase") == (2, "name.invalid")


def test_an_empty_text(known: Person) -> None:
    assert refused(known, "send", "anybody", "")[1] == "text.empty"


def test_bytes_that_are_no_text(known: Person) -> None:
    ended = known.type("send", "anybody", "-", stdin=b"\xff\xfe\x00")
    assert (ended.code, ended.error["error"]) == (2, "text.not-utf8")


def test_no_profile(person: Callable[[str], Person]) -> None:
    for command in (["chats"], ["sync"], ["lock"], ["wipe", "--yes"], ["listen"]):
        assert refused(person("nobody"), *command) == (1, "profile.none")


def test_a_foreign_folder_is_refused_and_left_alone(person: Callable[[str], Person]) -> None:
    foreign = person("foreign")
    foreign.home.mkdir()
    (foreign.home / "vault.json").write_text('{"not": "ours"}')
    (foreign.home / "letter.txt").write_text("dear diary")
    assert refused(foreign, "chats") == (1, "profile.foreign")
    assert refused(foreign, "sync") == (1, "profile.foreign")
    assert (foreign.home / "letter.txt").read_text() == "dear diary"


def test_a_damaged_profile_is_an_error_not_a_crash(person: Callable[[str], Person]) -> None:
    broken = person("broken").join("깨진", NOBODY)
    (database,) = broken.home.glob("*.sqlite3")
    database.write_bytes(os.urandom(8192))
    code, error = refused(broken, "chats")
    assert code == 1
    assert error in ("storage.foreign", "storage.broken", "storage.plaintext")


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    blocked = Person(tmp_path / "file" / "home")
    ended = blocked.type("init", "--name", "x", "--relay", NOBODY, "--no-passphrase")
    assert ended.code == 1
    assert ended.error["error"] != "hana.bug"


def test_a_relay_that_refuses(person: Callable[[str], Person]) -> None:
    """A refusal by rule or limit is told as such, with its own exit code."""
    options = '{"port": 0, "store": "memory", "access_pass": "c2VjcmV0"}'
    with subprocess.Popen(
        [sys.executable, "-m", "hanatalk.relay", options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as members_only:
        try:
            assert members_only.stdout is not None
            stranger = person("stranger").join("누구", members_only.stdout.readline().strip())
            assert refused(stranger, "sync", "--wait", "3") == (5, "relay.access-pass-needed")
        finally:
            members_only.terminate()


@pytest.mark.parametrize(
    "where", ["nonsense", "file:///etc/passwd", "ws://relay.example:80", "wss://[", "wss://x#pin=A"]
)
def test_a_link_to_no_relay_is_refused_and_forgotten(known: Person, link: str, where: str) -> None:
    """HT-R-093, T-071: an address that may not be used is not tried, and no later command waits for it."""
    elsewhere = links.compose(msgspec.structs.replace(links.parse(link), relay_url=where, secret=os.urandom(32)))
    ended = known.type_here("accept", elsewhere)
    assert (ended.code, ended.error["error"].partition(".")[0]) == (2, "relay")
    assert known.type_here("sync").code == 0


def test_a_link_to_a_dead_relay_keeps_nothing_of_others_from_coming(
    person: Callable[[str], Person], relay: RelayProcess
) -> None:
    """One relay that cannot be reached says so with its exit code; what lies at the others comes in all the same."""
    minji, jihoon, conversation = couple(person, relay)
    dead = links.compose(
        msgspec.structs.replace(links.parse(minji.do_here("invite").object["invite"]), relay_url=NOBODY)
    )
    assert jihoon.type_here("accept", dead).code == 3
    minji.do_here("send", conversation, "들려?")
    ended = jihoon.type_here("sync", "--wait", "10")
    assert (ended.code, ended.error["error"]) == (3, "network.unreachable")
    assert jihoon.texts(conversation) == ["들려?"]


def test_a_link_for_years_is_refused(known: Person, link: str) -> None:
    """HT-M-030: else its relay would be asked for that long."""
    until = int(time.time()) + 32 * 86_400
    years = msgspec.structs.replace(links.parse(link), account=os.urandom(32), expires_at=until)
    assert refused(known, "accept", links.compose(years)) == (1, "invite.too-far")


def test_accepting_while_the_own_relay_is_down(person: Callable[[str], Person], relay: RelayProcess) -> None:
    """Only the invite's relay is needed for that."""
    minji = person("minji").join("민지", relay.url)
    elsewhere = person("elsewhere").join("외딴", NOBODY)
    assert elsewhere.type_here("sync", "--wait", "2").code == 3
    accepted = elsewhere.do_here("accept", minji.do_here("invite").object["invite"]).object
    assert elsewhere.do_here("send", accepted["conversation"], "안녕").object["state"] == "stored"


WITHOUT_ROOM = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_t080_a_disk_that_takes_no_more_refuses_the_message_and_nothing_is_half_done(
    person: Callable[[str], Person], relay: RelayProcess
) -> None:
    """T-083: no file may grow. `send` and `listen` end with the disk's error, code 1; with room again all goes on."""
    minji, jihoon, conversation = couple(person, relay)
    for arguments in (("send", conversation, "zu viel"), ("listen",)):
        ended = subprocess.run(
            [sys.executable, "-c", WITHOUT_ROOM, *minji.command(*arguments)],
            capture_output=True,
            env=environment(HANA_HOME=str(minji.home), PYTHONDONTWRITEBYTECODE="1"),
            timeout=60,
            check=False,
        )
        assert ended.returncode == 1, (arguments, ended)
        error = msgspec.json.decode(ended.stderr)
        assert error["error"] in ("storage.io", "storage.full"), error
    assert minji.texts(conversation) == []
    assert minji.do("send", conversation, "wieder Platz").object["state"] == "stored"
    jihoon.do("sync")
    assert jihoon.texts(conversation) == ["wieder Platz"]
