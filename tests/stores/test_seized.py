"""The store's files in somebody's hands, with the key and without (T-001, T-004, T-005, T-006 for the store).

What an examiner with the key sees is read without SQLite: tests/stores/carving.py decrypts every page there is.
"""

import base64
import os
import random
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.stores.carving import decrypted, everything
from tests.stores.conformance import DAY, TOKEN, acknowledge, append, erase, expire

from hanatalk.cipherfile import open_cipherfile
from hanatalk.ids import ChannelId, ReadToken, WriteToken
from hanatalk.stores.channels import unsettled_records
from hanatalk.stores.interface import Append
from hanatalk.stores.sqlite import APPLICATION, PAGE_SIZE, SqliteStore
from hanatalk.wire.channels import channel_id, read_verifier, write_verifier
from hanatalk.wire.classes import EntryClass

KEY = bytes(range(32))
MARK = re.compile(rb"canary-(\d{5})")
SIZES = (512, 1024, 4096, 16384, 65536)


def canary(number: int, size: int) -> bytes:
    mark = b"canary-%05d." % number
    return (mark * (size // len(mark) + 1))[:size]


def files(path: Path) -> Iterator[Path]:
    yield from path.parent.glob(path.name + "*")


def carve(path: Path) -> set[int]:
    """Every canary of which a whole mark is left in any page, frame or block, by somebody who has the key."""
    return {int(found) for found in MARK.findall(everything(path, KEY))}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def test_t001_without_the_key_the_files_are_noise(path: Path) -> None:
    """Positive control: with the key every one of them is found."""
    store = SqliteStore(path, key=KEY)
    canaries = [canary(n, SIZES[n % 4]) for n in range(1_000)]
    channels = [ChannelId(os.urandom(32)) for _ in range(50)]
    classes = list(EntryClass)
    store.apply(
        [append(channels[n % 50], body, classes[n // 50 % 4]) for n, body in enumerate(canaries)],
        day=DAY,
    )
    for state in ("landed", "settled", "closed"):
        raw = b"".join(file.read_bytes() for file in files(path))
        assert len(raw) > 1_000_000
        for spelling in (
            b"canary-",
            b"canary-".decode().encode("utf-16-le"),
            b"canary-".hex().encode(),
            KEY,
            KEY.hex().encode(),
        ):
            assert spelling not in raw, state
        assert not any(base64.b64encode(b"canary-00000."[shift:])[:12] in raw for shift in range(3)), state
        assert not any(channel in raw for channel in channels), state
        assert b"SQLite format 3" not in raw
        assert carve(path) == set(range(1_000)), state
        if state == "landed":
            store.settle()
        else:
            store.close()


def test_t004_the_schema_has_no_place_for_times_addresses_or_order(path: Path) -> None:
    store = SqliteStore(path, key=KEY)
    store.apply([append(ChannelId(os.urandom(32)), b"x", EntryClass.CONTROL)], day=DAY)
    store.close()
    connection = open_cipherfile(path, key=KEY, application=APPLICATION, read_only=True)
    columns = {
        table: {name: kind for _, name, kind, *_ in connection.all(f"PRAGMA table_info({table})")}
        for (table,) in connection.all("SELECT name FROM sqlite_schema WHERE type = 'table'")
    }
    connection.close()
    # A column that is added has to be added here, and argued for.
    assert columns == {
        "channel": dict.fromkeys(
            ("number", "head", "turn", "refused_takes", "last_day", "control_base", "entries", "bytes", "burning"),
            "INTEGER",
        )
        | dict.fromkeys(("channel_id", "incarnation", "control_hash"), "BLOB"),
        f"long_{DAY}": dict.fromkeys(("n", "class", "turn", "is_commit", "burn_after"), "INTEGER")
        | dict.fromkeys(("erase_hash", "body"), "BLOB"),
        "answers": {"n": "INTEGER", "day": "INTEGER", "run": "BLOB"},
        "control": {"n": "INTEGER", "hash": "BLOB"},
        "invite": {"n": "INTEGER", "day": "INTEGER", "take_id": "BLOB", "taken_day": "INTEGER"},
        "reader": {"channel": "INTEGER", "reader": "BLOB", "seq": "INTEGER"},
        "landed_0": {"n": "INTEGER", "news": "BLOB"},
        "landed_1": {"n": "INTEGER", "news": "BLOB"},
        "progress": {"settled": "INTEGER"},
    }


def test_t004_days_are_all_that_is_stored_of_time(path: Path) -> None:
    """Every integer that could be a time of 2020 … 2100, in seconds or finer, in any table: none."""
    store = SqliteStore(path, key=KEY)
    channels = [ChannelId(os.urandom(32)) for _ in range(20)]
    kinds = list(EntryClass)
    store.apply([append(channels[n % 20], b"x" * 100, kinds[n // 20 % 4]) for n in range(200)], day=DAY)
    store.settle()
    store.apply([append(channels[n % 20], b"x" * 100, burn_after=2) for n in range(40)], day=DAY)
    store.apply([acknowledge(channel, b"a", 99) for channel in channels], day=DAY)
    connection = store._connection
    looked_at = 0
    for (table,) in connection.all("SELECT name FROM sqlite_schema WHERE type = 'table'"):
        names = [name for _, name, *_ in connection.all(f"PRAGMA table_info({table})")]
        for row in connection.all(f"SELECT * FROM {table}"):
            for name, value in zip(names, row, strict=True):
                # Row numbers and channel numbers are random or counts; the test below looks at their order.
                if isinstance(value, int) and name not in ("n", "number", "channel"):
                    looked_at += 1
                    assert value < 1_500_000_000, (table, name)
    for (run,) in connection.all("SELECT run FROM answers"):
        for _, seq, turn in struct.iter_unpack(">16sII", run):
            looked_at += 2
            assert max(seq, turn) < 1_500_000_000
    assert looked_at > 1_000
    store.close()


def rank_correlation(true_order: list[int], seen_order: list[int]) -> float:
    """Spearman's, of two orders of the same things: 1 the same, 0 nothing to do with each other."""
    place = {thing: index for index, thing in enumerate(seen_order)}
    count = len(true_order)
    square = sum((index - place[thing]) ** 2 for index, thing in enumerate(true_order))
    return 1 - 6 * square / (count * (count**2 - 1))


def earlier_first_in_pages(path: Path) -> float:
    """Of all pairs of canaries that share a page: how many lie in the order of arrival. 0.5 says nothing."""
    database = decrypted(path.read_bytes(), KEY)
    ordered = pairs = 0
    for at in range(0, len(database), PAGE_SIZE):
        seen = list(dict.fromkeys(int(found) for found in MARK.findall(database[at : at + PAGE_SIZE])))
        for index, one in enumerate(seen):
            pairs += len(seen) - index - 1
            ordered += sum(one < other for other in seen[index + 1 :])
    return ordered / pairs


def in_file_order(path: Path) -> list[int]:
    """Canaries in the order of their places in the decrypted file."""
    seen = dict.fromkeys(int(found) for found in MARK.findall(decrypted(path.read_bytes(), KEY)))
    return list(seen)


def test_t004_no_order_across_channels_can_be_read_once_settled(path: Path) -> None:
    """HT-S-023. One entry in each of 2,000 channels. Positive control: before they are settled the order is there."""
    store = SqliteStore(path, key=KEY)
    count = 2_000
    for start in range(0, count, 100):
        batch = [append(ChannelId(os.urandom(32)), canary(n, 512)) for n in range(start, start + 100)]
        store.apply(batch, day=DAY)
    connection = store._connection
    records = unsettled_records(connection, [file.records() for file in store._files])
    landed = [int(body[7:12]) for record in records for body in record.news.bodies if body is not None]
    assert rank_correlation(list(range(count)), landed) == 1.0
    while store.tend():
        pass
    assert not unsettled_records(connection, [file.records() for file in store._files])
    by_row = [int(body[7:12]) for (body,) in connection.all(f"SELECT body FROM short_{DAY} ORDER BY n")]
    store.close()
    by_place = in_file_order(path)
    assert sorted(by_row) == sorted(by_place) == list(range(count))
    found = {
        "row numbers": rank_correlation(list(range(count)), by_row),
        "places in the file": rank_correlation(list(range(count)), by_place),
    }
    print(found)
    within = earlier_first_in_pages(path)
    print("pairs in one page in the order of arrival", within)
    assert 0.45 < within < 0.55
    # 2,000 things in random order correlate by 0 ± 0.022 (one standard deviation).
    assert all(abs(correlation) < 0.11 for correlation in found.values()), found


# Case 5


def idle(store: SqliteStore, path: Path) -> int:
    """Tend as the relay does while nobody writes, until there is nothing left to do: how many rounds it took."""
    for rounds in range(1, 10):
        while store.tend():
            pass
        store._log.wait()  # in a relay the seconds to the next round
        if not path.with_name(path.name + "-wal").stat().st_size and not store._shelves.worn:
            return rounds
    raise AssertionError("it never came to rest")


Ending = Callable[[SqliteStore, list[Append]], None]


def by_expiry(store: SqliteStore, _: list[Append]) -> None:
    expire(store, DAY + 30)


def by_burning(store: SqliteStore, appended: list[Append]) -> None:
    for reader in (b"a", b"b"):
        store.apply([acknowledge(channel, reader, 1 << 40) for channel in {a.channel_id for a in appended}], day=DAY)


def by_erasing(store: SqliteStore, appended: list[Append]) -> None:
    count: dict[ChannelId, int] = {}
    operations = []
    for one in appended:
        count[one.channel_id] = count.get(one.channel_id, 0) + 1
        operations.append(erase(one.channel_id, count[one.channel_id], TOKEN))
    random.Random(5).shuffle(operations)
    for start in range(0, len(operations), 37):
        store.apply(operations[start : start + 37], day=DAY)


@pytest.mark.parametrize("settled", [False, True, None])
@pytest.mark.parametrize("ending", [by_expiry, by_burning, by_erasing])
def test_t005_what_has_ended_is_carved_for_in_vain(path: Path, settled: bool | None, ending: Ending) -> None:
    """Entries of every size, in pages shared with entries that stay; settled before, not, or half of them.

    Worst lag: expired bytes are gone when the sweep of the day answers that nothing more is due. Burned and erased
    ones stay in the write-ahead log until it is emptied: by the next idle tend, or the next sweep.
    """
    store = SqliteStore(path, key=KEY)
    chance = random.Random(3)
    channels = [ChannelId(os.urandom(32)) for _ in range(12)]
    ended: list[Append] = []
    stays: set[int] = set()
    number = 0
    for batch in range(30):
        operations = []
        for _ in range(20):
            # Channels of their own for what stays, but the same tables and pages.
            staying = chance.random() < 0.3
            body = canary(number, chance.choice(SIZES[: 5 if number % 10 == 0 else 3]))
            one = append(chance.choice(channels[:4] if staying else channels[4:]), body, burn_after=2, erasable=True)
            operations.append(one)
            if staying:
                stays.add(number)
            else:
                ended.append(one)
            number += 1
        days = [DAY + 30 if one not in ended else DAY for one in operations]
        for day in (DAY, DAY + 30):
            store.apply([one for one, its in zip(operations, days, strict=True) if its == day], day=day)
        if settled is not False and batch % (1 if settled else 3) == 0:
            store.tend()
    if settled:
        store.settle()
    assert carve(path) == set(range(number))  # positive control
    ending(store, ended)
    rounds = idle(store, path)
    assert carve(path) == stays
    assert rounds <= 4
    assert {int(found) for body in _bodies(store, channels) for found in MARK.findall(body)} == stays
    store.close()
    assert carve(path) == stays


def _bodies(store: SqliteStore, channels: list[ChannelId]) -> Iterator[bytes]:
    for channel in channels:
        for entry in store.read(channel, after=0, entries=10_000, size=1 << 30):
            yield entry.entry


def test_t005_expired_bytes_are_gone_when_the_sweep_says_so(path: Path) -> None:
    """Without a tend, without a close, control and invite entries too."""
    store = SqliteStore(path, key=KEY)
    channel = ChannelId(os.urandom(32))
    kinds = list(EntryClass)
    for n in range(200):
        store.apply([append(channel, canary(n, 1024), kinds[n % 4])], day=DAY)
    assert carve(path) == set(range(200))
    expire(store, DAY + 3)
    assert carve(path) == {n for n in range(200) if n % 4 >= 2}
    expire(store, DAY + 30)
    assert carve(path) == set()
    assert path.with_name("store.db-wal").stat().st_size == 0
    store.close()


def test_t005_pieces_in_the_slack_of_pages_go_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HT-S-013: what burns after it has settled, among entries that stay. The control: at first pieces are there."""
    chance = random.Random(13)
    monkeypatch.setattr(os, "urandom", chance.randbytes)  # which pages split, and so whether there are any
    store = SqliteStore(path, key=KEY)
    channels = [ChannelId(os.urandom(32)) for _ in range(80)]
    burns = {channel: n % 4 != 0 for n, channel in enumerate(channels)}
    stays = set()
    for number in range(2_000):
        channel = chance.choice(channels)
        if not burns[channel]:
            stays.add(number)
        body = canary(number, chance.randrange(100, 900))
        store.apply([append(channel, body, burn_after=1)], day=DAY)
        if number % 5 == 0:
            store.settle()
    store.settle()
    gone = [channel for channel in channels if burns[channel]]
    for start in range(0, len(gone), 5):
        store.apply([acknowledge(channel, b"a", 1 << 40) for channel in gone[start : start + 5]], day=DAY)
    store._log.empty()
    pieces = carve(path) - stays
    print("entries with pieces left in slack:", len(pieces), "of", 2_000 - len(stays))
    assert pieces
    idle(store, path)
    assert carve(path) == stays
    expire(store, DAY + 3)
    assert carve(path) == set()
    assert not [name for (name,) in store._connection.all("SELECT name FROM sqlite_schema") if name.startswith("short")]
    store.close()


def test_t005_a_report_that_is_being_read_delays_the_log_and_the_next_look_empties_it(path: Path) -> None:
    store = SqliteStore(path, key=KEY)
    store.apply([append(ChannelId(os.urandom(32)), canary(1, 512))], day=DAY)
    reader = open_cipherfile(path, key=KEY, application=APPLICATION, read_only=True)
    reader.execute("BEGIN")
    assert reader.only("SELECT count(*) FROM landed_0") == (1,)
    expire(store, DAY + 3)
    assert carve(path) == {1}
    reader.execute("COMMIT")
    store.tend()
    assert carve(path) == set()
    reader.close()
    store.close()


def test_t005_the_carving_finds_what_secure_delete_would_have_removed(path: Path) -> None:
    """The control of the controls: with secure_delete off the same deletion leaves bytes, and the carving sees them."""
    store = SqliteStore(path, key=KEY)
    store._connection.pragma("secure_delete", "OFF")
    channel = ChannelId(os.urandom(32))
    store.apply([append(channel, canary(n, 1024)) for n in range(50)], day=DAY)
    expire(store, DAY + 3)
    assert carve(path) != set()
    store.close()


# Case 6


def test_t006_what_is_stored_opens_nothing(path: Path) -> None:
    """Tokens and verifiers, which OPEN asks for, are nowhere; the channel id (positive control) is."""
    read, write = ReadToken(os.urandom(32)), WriteToken(os.urandom(32))
    channel = channel_id(read, write)
    store = SqliteStore(path, key=KEY)
    operations = [append(channel, os.urandom(512), kind, erasable=True) for kind in EntryClass]
    store.apply(operations, day=DAY)
    for _ in range(2):
        pages = everything(path, KEY)
        assert channel in pages
        for secret in (read, write, read_verifier(read), write_verifier(write), TOKEN):
            assert secret not in pages
            assert secret.hex().encode() not in pages
        store.close()


def test_the_carving_reads_pages_as_the_specification_says(path: Path) -> None:
    """HT-S-003, byte by byte: a page of the file decrypted without sqlite3mc is a page of SQLite."""
    store = SqliteStore(path, key=KEY)
    store.close()
    pages = decrypted(path.read_bytes(), KEY)
    assert struct.unpack(">H", pages[16:18]) == (PAGE_SIZE,)
    assert struct.unpack(">I", pages[68:72]) == (APPLICATION,)
