"""What a warrant gets (HT-S-040 … HT-S-043): every byte accounted for, nothing personal among it."""

import json
import os
from pathlib import Path

import pytest

from hanatalk.errors import StorageError
from hanatalk.ids import ChannelId, EntryId, Incarnation
from hanatalk.relay import warrant
from hanatalk.stores.interface import Append, Stored
from hanatalk.stores.opening import open_store
from hanatalk.wire.classes import EntryClass

DAY = 20_000


def _append(channel: ChannelId, entry: bytes, entry_class: EntryClass = EntryClass.MESSAGE) -> Append:
    return Append(
        channel_id=channel,
        entry_id=EntryId(os.urandom(16)),
        entry_class=entry_class,
        entry=entry,
        incarnation=Incarnation(os.urandom(16)),
    )


def _fill(data: Path, *, close: bool = True):  # type: ignore[no-untyped-def]
    data.mkdir(exist_ok=True)
    (data / "relay.lock").touch()
    (data / "signing.key").write_bytes(os.urandom(32))
    store = open_store("sqlite", data=data)
    one, other = ChannelId(os.urandom(32)), ChannelId(os.urandom(32))
    results = store.apply(
        [
            *(_append(one, os.urandom(512)) for _ in range(7)),
            _append(one, os.urandom(4096), EntryClass.CONTROL),
            _append(other, os.urandom(65_536), EntryClass.ATTACHMENT),
        ],
        day=DAY,
    )
    assert all(isinstance(result, Stored) for result in results)
    if close:
        store.close()
    return one, other, store


@pytest.mark.parametrize("running", [False, True])
def test_every_byte_of_every_file_is_accounted_for(tmp_path: Path, running: bool) -> None:
    """HT-S-040: stopped, and beside a store that is open; the parts of every file add up."""
    _, _, store = _fill(tmp_path, close=not running)
    (tmp_path / "note.txt").write_text("left by the operator")
    found = warrant.report(tmp_path)
    on_disk = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert {file.name: file.size for file in found.files} == on_disk
    for file in found.files:
        assert sum(part.size for part in file.parts) == file.size
        assert all(part.size > 0 for part in file.parts) or file.size == 0
    assert found.total == sum(on_disk.values())
    kinds = {part.kind for file in found.files for part in file.parts}
    assert {"store-key", "signing-key", "lock", "other"} <= kinds
    if running:
        store.close()


@pytest.mark.parametrize("running", [False, True])
def test_entries_are_listed_by_class_day_and_size(tmp_path: Path, running: bool) -> None:
    """HT-S-041, T-004: no finer time than the day, no name, no address."""
    one, other, store = _fill(tmp_path, close=not running)
    found = warrant.report(tmp_path)
    assert [(held.entry_class, held.day, held.size, held.count) for held in found.entries] == [
        ("message", DAY, 512, 7),
        ("attachment", DAY, 65_536, 1),
        ("control", DAY, 4096, 1),
    ]
    assert {held.channel: (held.entries, held.size) for held in found.channels} == {
        one.hex(): (8, 7 * 512 + 4096),
        other.hex(): (1, 65_536),
    }
    assert found.rows["channel"] in (0, 2)
    if running:
        store.close()


def test_one_channel_alone(tmp_path: Path) -> None:
    """HT-S-042."""
    _, other, _ = _fill(tmp_path)
    found = warrant.report(tmp_path, channel=other)
    assert [held.channel for held in found.channels] == [other.hex()]
    assert [(held.entry_class, held.count) for held in found.entries] == [("attachment", 1)]
    assert warrant.report(tmp_path, channel=ChannelId(bytes(32))).entries == []


def test_without_the_key_there_is_only_ciphertext(tmp_path: Path) -> None:
    """HT-S-043: the key was kept elsewhere and not handed over."""
    _fill(tmp_path)
    (tmp_path / "store.key").unlink()
    found = warrant.report(tmp_path)
    (store,) = [file for file in found.files if file.name == "store.db"]
    assert [part.kind for part in store.parts] == ["ciphertext"]
    assert found.entries == []
    assert found.rows == {}


def test_a_key_that_does_not_fit_is_said(tmp_path: Path) -> None:
    _fill(tmp_path)
    (tmp_path / "store.key").write_bytes(os.urandom(32).hex().encode() + b"\n")
    with pytest.raises(StorageError, match=r"storage\.foreign"):
        warrant.report(tmp_path)


def test_no_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"warrant\.no-data"):
        warrant.report(tmp_path / "nowhere")


def test_looking_changes_nothing(tmp_path: Path) -> None:
    _fill(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    warrant.report(tmp_path)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if not path.name.endswith(("-shm", "-wal"))}
    assert {name: content for name, content in before.items() if name in after} == after


def test_the_report_is_json(tmp_path: Path) -> None:
    _fill(tmp_path)
    found = json.loads(json.dumps(warrant.report(tmp_path).to_dict()))
    assert found["entries"][0]["class"] == "message"
    assert set(found["absent"]) >= {"accounts", "names", "addresses"}
