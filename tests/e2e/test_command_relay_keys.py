"""`--key-file` and `--key ram`: what a seized data folder yields without the key (HT-S-007, HT-S-008)."""

import base64
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.commands import Person, RelayProcess
from tests.e2e.conftest import acquaint
from tests.stores.carving import decrypted, everything

from hanatalk.cipherfile import PLAINTEXT_HEADER
from hanatalk.drill import seizing

WAITING = ["하나", "둘", "셋"]


def seized(data: Path) -> bytes:
    """Every byte of every file in the folder."""
    return b"".join(path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file())


def waiting(minji: Person, jihoon: Person) -> str:
    """A conversation with three messages at the relay that Jihoon has not taken."""
    conversation = acquaint(minji, jihoon)
    jihoon.do_here("sync")
    for text in WAITING:
        assert minji.do_here("send", conversation, text).object["state"] == "stored"
    return conversation


def test_with_the_key_elsewhere_a_seized_folder_yields_nothing(tmp_path: Path, person: Callable[[str], Person]) -> None:
    """HT-S-007: no page can be read, no entry found; with the key file (the control) all of them."""
    key = tmp_path / "safe" / "ram"  # a file may be called like the other choice
    key.parent.mkdir()
    relay = RelayProcess(tmp_path / "relay", "sqlite", "--key-file", str(key)).start()
    try:
        minji, jihoon = person("minji").join("민지", relay.url), person("jihoon").join("Jihoon", relay.url)
        conversation = waiting(minji, jihoon)
        for state in ("running", "killed"):
            content = seized(relay.data)
            raw = bytes.fromhex(key.read_text())
            assert PLAINTEXT_HEADER not in content
            for secret in (raw, raw.hex().encode(), base64.b64encode(raw)):
                assert secret not in content
            database = relay.data / "store.db"
            opened = everything(database, raw)
            assert b"CREATE TABLE" in opened  # the control
            for table in (b"CREATE TABLE", b"landed_0"):
                assert table not in content
            other = bytes(31) + b"\1"
            assert b"CREATE TABLE" not in decrypted(database.read_bytes(), other)
            if state == "running":
                relay.kill()
        shutil.copy(key, relay.data / "store.key")
        entries = seizing.entries(relay.data)
        assert len([entry for entry in entries if len(entry) == 512]) >= len(WAITING)
        assert not any(entry[:32] in content for entry in entries)
        (relay.data / "store.key").unlink()
        relay.start()
        jihoon.do_here("sync")
        assert jihoon.texts(conversation) == WAITING
    finally:
        relay.kill()


@pytest.mark.parametrize("what", ["another key", "no key", "a cut key"])
def test_a_key_file_that_does_not_fit_is_refused_and_nothing_is_changed(tmp_path: Path, what: str) -> None:
    """HT-S-007, T-048: missing, wrong and damaged, each with its sentence; no new key is made over an old store."""
    key, data = tmp_path / "key", tmp_path / "relay"
    relay = RelayProcess(data, "sqlite", "--key-file", str(key)).start()
    assert relay.stop()[0] == 0
    good = key.read_text()
    before = (data / "store.db").read_bytes()
    if what == "no key":
        key.unlink()
    else:
        key.write_text("1" * 64 if what == "another key" else good[:40])
    typed = ("relay", "serve", "--port", "0", "--data", str(data), "--key-file", str(key))
    ended = Person(tmp_path / "operator").type(*typed)
    codes = {"another key": "storage.foreign", "no key": "storage.key-missing", "a cut key": "storage.key"}
    assert (ended.code, ended.error["error"]) == (1, codes[what])
    assert (data / "store.db").read_bytes() == before
    assert key.exists() is (what != "no key")
    assert not (data / "store.key").exists()
    key.write_text(good)
    relay.start()
    assert relay.stop()[0] == 0


def test_with_the_key_in_ram_a_restart_holds_nothing_and_the_senders_restore_it(
    tmp_path: Path, person: Callable[[str], Person]
) -> None:
    """HT-S-008, T-024: what was waiting comes again from the outboxes, once and in order."""
    relay = RelayProcess(tmp_path / "relay", "sqlite", "--key", "ram").start()
    try:
        minji, jihoon = person("minji").join("민지", relay.url), person("jihoon").join("Jihoon", relay.url)
        conversation = waiting(minji, jihoon)
        relay.kill()
        left, files = seized(relay.data), [relay.data / "store-ram.db", relay.data / "store-ram.db-wal"]
        last = b"".join(path.read_bytes() for path in files)[-64:]
        assert {path.name for path in relay.data.iterdir()} >= {"store-ram.db"}
        assert PLAINTEXT_HEADER not in left
        assert b"CREATE TABLE" not in left
        held = Person(tmp_path / "operator").do_here("relay", "warrant", "--data", str(relay.data)).object
        assert (held["entries"], held["channels"], held["rows"]) == ([], [], {})
        relay.start()
        assert last in left  # the control
        assert last not in seized(relay.data)
        minji.do_here("sync")
        jihoon.do_here("sync")
        minji.do_here("sync")
        assert jihoon.texts(conversation) == WAITING
        minji.do_here("send", conversation, "넷")
        jihoon.do_here("sync")
        assert jihoon.texts(conversation) == [*WAITING, "넷"]
    finally:
        relay.kill()
