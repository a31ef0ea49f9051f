"""Where a store's key lies, and that nothing but a key opens one (T-048, HT-S-007 … HT-S-009)."""

import stat
from pathlib import Path

import pytest
from tests.stores.conformance import DAY, a_channel, append, seqs

from hanatalk.errors import HanaError
from hanatalk.stores.memory import MemoryStore
from hanatalk.stores.opening import open_store


def refused(data: Path | None, key_source: str = "beside", kind: str = "sqlite") -> str:
    with pytest.raises(HanaError) as caught:
        open_store(kind, data=data, key_source=key_source)
    return caught.value.code


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_key_file_is_made_once_and_private(tmp_path: Path, elsewhere: bool) -> None:
    data, safe = tmp_path / "data", tmp_path / "safe"
    data.mkdir()
    safe.mkdir()
    source = str(safe / "key") if elsewhere else "beside"
    channel = a_channel()
    store = open_store("sqlite", data=data, key_source=source)
    store.apply([append(channel)], day=DAY)
    store.close()
    path = safe / "key" if elsewhere else data / "store.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    left = {"store.db", "store.db-landing-0", "store.db-landing-1"}
    assert {file.name for file in data.iterdir()} == (left if elsewhere else left | {"store.key"})
    assert all(stat.S_IMODE((data / name).stat().st_mode) == 0o600 for name in left)
    store = open_store("sqlite", data=data, key_source=source)
    assert seqs(store, channel) == [1]
    store.close()
    assert bytes.fromhex(path.read_text()) not in (data / "store.db").read_bytes()
    path.unlink()
    assert refused(data, source) == "storage.key-missing"


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"0" * 63, b"0" * 64, b"A" * 64, b"g" * 64, b"1" * 65, b"1" * 64 + b"\n\n", b"raw:" + b"1" * 64],
)
def test_t048_a_key_file_that_is_not_exactly_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "store.key").write_bytes(content)
    assert refused(tmp_path) == "storage.key"
    assert not (tmp_path / "store.db").exists()


def test_another_key_is_foreign(tmp_path: Path) -> None:
    open_store("sqlite", data=tmp_path).close()
    (tmp_path / "store.key").write_text("1" * 64)
    assert refused(tmp_path) == "storage.foreign"


def test_a_key_in_ram_leaves_nothing_to_read(tmp_path: Path) -> None:
    """HT-S-008"""
    channel = a_channel()
    store = open_store("sqlite", data=tmp_path, key_source="ram")
    store.apply([append(channel)], day=DAY)
    assert seqs(store, channel) == [1]
    left = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(left) == {"store-ram.db" + suffix for suffix in ("", "-wal", "-shm", "-landing-0", "-landing-1")}
    store.close()
    for name, content in left.items():  # as a killed relay leaves them
        (tmp_path / name).write_bytes(content)
    store = open_store("sqlite", data=tmp_path, key_source="ram")
    assert store.channel(channel) is None
    store.close()
    # A store with a key that is kept is not touched by it.
    open_store("sqlite", data=tmp_path).close()
    kept = (tmp_path / "store.db").read_bytes()
    open_store("sqlite", data=tmp_path, key_source="ram").close()
    assert (tmp_path / "store.db").read_bytes() == kept


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    assert isinstance(open_store("memory", data=None), MemoryStore)
    assert refused(None) == "relay.data-needed"
    assert refused(tmp_path, kind="nats://localhost") == "store.unknown"
    (tmp_path / "store.db").write_bytes(b"SQLite format 3\0" + bytes(4080))
    (tmp_path / "store.key").write_text("1" * 64)
    assert refused(tmp_path) == "storage.plaintext"
