"""The file in which what arrives lies until it is settled (HT-S-022, HT-S-026, HT-S-027; T-005, T-080, T-082)."""

import errno
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.stores.carving import unsealed_landing
from tests.stores.conformance import DAY, a_channel, acknowledge, append, seqs

from hanatalk.cipherfile import open_cipherfile
from hanatalk.errors import StorageError
from hanatalk.stores import landing
from hanatalk.stores.interface import Stored
from hanatalk.stores.landing import BLOCK, LandingFile, PlainFile, landing_paths, read_landing_file
from hanatalk.stores.sqlite import APPLICATION, SqliteStore, _connect

KEY = bytes(range(32))


def filled(path: Path, *records: bytes) -> LandingFile:
    file = LandingFile(path, key=KEY)
    for n, record in enumerate(records, 1):
        file.append(n, record)
    return file


def test_what_is_appended_is_read_back_by_this_process_and_the_next(tmp_path: Path) -> None:
    path = tmp_path / "landing"
    file = filled(path, b"one", os.urandom(9_000), b"")
    found = list(file.records())
    assert [n for n, _ in found] == [1, 2, 3]
    file.close()
    assert path.stat().st_mode & 0o777 == 0o600
    again = LandingFile(path, key=KEY)
    assert list(again.records()) == found == read_landing_file(path, key=KEY)
    again.close()
    assert read_landing_file(path, key=b"other" + KEY[5:]) == []
    assert read_landing_file(tmp_path / "none", key=KEY) == []


def test_t005_a_reset_file_opens_to_nobody_though_its_bytes_are_there(tmp_path: Path) -> None:
    """HT-S-027: the salt is gone, the ciphertext lies on; the control: before that it opens."""
    path = tmp_path / "landing"
    file = filled(path, b"canary" * 100, b"canary" * 1_000)
    before = path.read_bytes()
    assert unsealed_landing(before, KEY).count(b"canary") == 1_100
    file.reset()
    after = path.read_bytes()
    assert after[BLOCK:] == before[BLOCK:]
    assert unsealed_landing(after, KEY) == b""
    assert read_landing_file(path, key=KEY) == []
    file.append(3, b"next")
    assert unsealed_landing(path.read_bytes(), KEY) == b"next"
    assert read_landing_file(path, key=KEY) == [(3, b"next")]
    file.reset()
    file.shorten()
    assert path.stat().st_size == 0
    file.close()


def test_two_files_and_two_beginnings_share_no_key(tmp_path: Path) -> None:
    """The same numbers and contents, other bytes: a nonce is used once under each key."""
    contents = []
    for name in "ab":
        file = filled(tmp_path / name, b"x" * 100)
        contents.append((tmp_path / name).read_bytes()[BLOCK : 2 * BLOCK])
        file.reset()
        file.append(1, b"x" * 100)
        contents.append((tmp_path / name).read_bytes()[BLOCK : 2 * BLOCK])
        file.close()
    assert len(set(contents)) == 4


@pytest.mark.parametrize("place", [0, 20, BLOCK + 3, BLOCK + 9, BLOCK + 40, 2 * BLOCK + 1])
def test_a_flipped_bit_ends_what_is_read(tmp_path: Path, place: int) -> None:
    path = tmp_path / "landing"
    filled(path, b"one" * 10, b"two" * 10, b"three").close()
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    found = [record for _, record in read_landing_file(path, key=KEY)]
    assert found == [b"one" * 10, b"two" * 10, b"three"][: 0 if place < 2 * BLOCK else 1]


@pytest.mark.parametrize("call", ["write", "sync"])
def test_t080_what_failed_is_not_there_and_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """HT-S-017: also if the bytes did reach the file, and the next record is shorter than what failed."""
    path = tmp_path / "landing"
    file = filled(path, b"one")
    right = getattr(PlainFile, call)

    def failing(self: PlainFile, *values: Any) -> None:
        right(self, *values)
        raise OSError(errno.EIO, "so it shall be")

    with monkeypatch.context() as patch:
        patch.setattr(PlainFile, call, failing)
        with pytest.raises(StorageError, match=r"storage\.io"):
            file.append(2, b"lost" * 3_000)
    assert list(file.records()) == [(1, b"one")]
    assert read_landing_file(path, key=KEY) == [(1, b"one")]  # for the next process too
    file.append(3, b"three")
    assert [n for n, _ in read_landing_file(path, key=KEY)] == [1, 3]
    file.close()


def test_the_store_reads_back_what_a_killed_process_left_half_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HT-S-022: killed after each step of a round, also between marking and making the file unreadable."""
    for steps in range(12):
        folder = tmp_path / str(steps)
        folder.mkdir()
        store = SqliteStore(folder / "store.db", key=KEY)
        channels = [a_channel() for _ in range(3)]
        for channel in channels:
            store.apply([append(channel, burn_after=1)], day=DAY)
        store.apply([append(channel, burn_after=1) for channel in channels for _ in range(3)], day=DAY)
        store.apply([acknowledge(channels[0], b"a", 2)], day=DAY)
        with monkeypatch.context() as patch:
            patch.setattr(LandingFile, "reset", lambda _file: None)
            for _ in range(steps):
                store._settle_step()
            store.apply([acknowledge(channels[1], b"a", 2)], day=DAY)
        left = folder / "left"
        left.mkdir()
        for file in folder.glob("store.db*"):
            (left / file.name).write_bytes(file.read_bytes())
        again = SqliteStore(left / "store.db", key=KEY)
        assert [seqs(again, channel) for channel in channels] == [[3, 4], [3, 4], [1, 2, 3, 4]]
        assert again.held().entries == 8
        again.close()
        store.close()


def test_a_store_of_version_1_that_was_killed_is_taken_over(tmp_path: Path) -> None:
    """What its tables still held is there, what was burned is not, and answers are remembered."""
    path = tmp_path / "store.db"
    connection = _connect(path, KEY)
    connection.execute((Path(landing.__file__).parent / "schema" / "0001.sql").read_text())
    connection.pragma("user_version", 1)
    channel, first, second = a_channel(), append(a_channel()), append(a_channel())
    connection.execute(
        "INSERT INTO channel VALUES (7, ?, ?, 0, 0, 0, 0, ?, 0, 0, 0, 0)", (channel, b"i" * 16, bytes(32))
    )
    rows = [
        (n, 7, n, 1, DAY, 0, 1, None, one.entry_id, len(one.entry)) for n, one in enumerate((first, second, first), 1)
    ]
    rows[2] = (*rows[2][:8], os.urandom(16), rows[2][9])
    for side, numbers in ((0, (1, 2)), (1, (3,))):
        news = ([rows[n - 1] for n in numbers], [])
        connection.execute(f"INSERT INTO batch_{side} VALUES (?, ?)", (side + 1, msgspec.msgpack.encode(news)))
        for n in numbers:
            if n != 1:  # was burned
                connection.execute(f"INSERT INTO landing_{side} VALUES (?, ?)", (n, b"body %d" % n))
    connection.close()
    store = SqliteStore(path, key=KEY)
    assert seqs(store, channel) == [2, 3]
    again = msgspec.structs.replace(first, channel_id=channel)
    assert store.apply([again], day=DAY) == [Stored(1, 0, True)]
    assert store.apply([append(channel)], day=DAY) == [Stored(4, 0)]
    store.close()
    opened = open_cipherfile(path, key=KEY, application=APPLICATION, read_only=True)
    tables = {name for (name,) in opened.all("SELECT name FROM sqlite_schema")}
    opened.close()
    assert not tables & {"landing_0", "landing_1", "batch_0", "batch_1"}
    assert all(file.stat().st_size == 0 for file in landing_paths(path))
