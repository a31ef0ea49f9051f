"""First answers to entry_ids, in runs behind a filter (HT-S-012, HT-S-028)."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.stores.conformance import DAY, a_channel, acknowledge, append

from hanatalk.ids import ChannelId
from hanatalk.stores import answers as answers_module
from hanatalk.stores.interface import Append, Stored
from hanatalk.stores.sqlite import SqliteStore, _connect
from hanatalk.wire.classes import EntryClass

KEY = bytes(range(32))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "store.db", key=KEY)
    yield made
    made.close()


def rounds(store: SqliteStore, channel: ChannelId, *, count: int, each: int, burn: bool) -> list[Append]:
    """So many rounds of settling, each with so many appends."""
    found = []
    for _ in range(count):
        batch = [append(channel, burn_after=1) for _ in range(each)]
        store.apply(batch, day=DAY)
        if burn:
            store.apply([acknowledge(channel, b"a", 1 << 30)], day=DAY)
        store.settle()
        found += batch
    return found


@pytest.mark.parametrize("burn", [False, True])
@pytest.mark.parametrize("read_back", [False, True])
def test_every_settled_entry_id_gets_its_first_answer(store: SqliteStore, burn: bool, read_back: bool) -> None:
    """Whichever run it is in, also while the filter grows, and by one that is made anew."""
    channel, other = a_channel(), a_channel()
    before = [append(other), append(other, b"x", EntryClass.CONTROL)]
    store.apply(before, day=DAY)
    sent = rounds(store, channel, count=6, each=40, burn=burn)
    store.apply([append(channel)], day=DAY)  # makes the filter
    sent += [*rounds(store, channel, count=6, each=40, burn=burn)]
    if read_back:
        store._stale = True
    repeated = store.apply(sent, day=DAY)
    assert repeated == [Stored(seq + (seq > 240), 0, True) for seq in range(1, 481)]
    assert store.apply(before, day=DAY) == [Stored(1, 0, True), Stored(2, 0, True)]
    # And nobody else's: the same id in another channel is new.
    assert store.apply([msgspec.structs.replace(sent[0], channel_id=other)], day=DAY) == [Stored(3, 0)]


def test_an_entry_id_that_lies_across_two_answers_is_none(store: SqliteStore) -> None:
    """A run is searched at every place that an answer can begin at, not at every byte."""
    channel = a_channel()
    first, second = append(channel), append(channel)
    store.apply([first, second], day=DAY)
    store.settle()
    (run,) = store._connection.only("SELECT run FROM answers")
    across = append(channel)
    across = msgspec.structs.replace(across, entry_id=run[8:24])
    known = store._channels.find(channel)
    assert known is not None
    known.answered = bytearray(b"\xff" * 64)  # says yes to everything
    assert store.apply([across], day=DAY) == [Stored(3, 0)]
    assert store.apply([first, second], day=DAY) == [Stored(1, 0, True), Stored(2, 0, True)]


def test_the_newest_answer_counts_once_the_old_one_is_over(store: SqliteStore) -> None:
    """HT-S-012: after its days an entry_id is new; then the new answer is the one that is repeated."""
    channel = a_channel()
    one = append(channel)
    store.apply([one], day=DAY)
    store.settle()
    assert store.apply([one], day=DAY + 29) == [Stored(1, 0, True)]
    assert store.apply([one], day=DAY + 30) == [Stored(2, 0)]
    store.settle()
    assert store.apply([one], day=DAY + 30) == [Stored(2, 0, True)]
    assert store._connection.only("SELECT count(*) FROM answers") == (1,)  # the old run is gone


def test_few_new_entry_ids_are_searched_for(store: SqliteStore) -> None:
    """What makes an append cheap: the filter says no to most of what is new, however many are remembered."""
    channel = a_channel()
    rounds(store, channel, count=4, each=500, burn=True)
    store.apply([append(channel)], day=DAY)
    searched = 0

    def looked(_cursor: object, text: str, _values: object) -> bool:
        nonlocal searched
        searched += text.startswith("SELECT day, run")
        return True

    store._connection.exec_trace = looked
    store.apply([append(channel) for _ in range(1_000)], day=DAY)
    assert searched < 1_000 * 2 / answers_module.BITS_EACH


def test_answers_of_version_2_are_taken_over(tmp_path: Path) -> None:
    """Row by row before, in runs of a channel and a day after."""
    path = tmp_path / "store.db"
    connection = _connect(path, KEY)
    for step in (1, 2):
        connection.execute((Path(answers_module.__file__).parent / "schema" / f"{step:04}.sql").read_text())
    for table in ("landing_0", "landing_1", "batch_0", "batch_1"):
        connection.execute(f"DROP TABLE {table}")
    connection.pragma("user_version", 2)
    channels = [a_channel(), a_channel()]
    expected = []
    for number, channel in enumerate(channels, 5):
        connection.execute(
            "INSERT INTO channel VALUES (?, ?, ?, 9, 2, 0, ?, ?, 0, 0, 0, 0)",
            (number, channel, b"i" * 16, DAY, bytes(32)),
        )
        for seq in (3, 1, 8):
            one = msgspec.structs.replace(append(channel), entry_id=os.urandom(16))
            connection.execute(
                "INSERT INTO answer VALUES (?, ?, ?, ?, ?)", (number, one.entry_id, seq, 2, DAY - (seq == 8))
            )
            expected.append((one, Stored(seq, 2, True)))
    connection.close()
    store = SqliteStore(path, key=KEY)
    assert store._connection.only("SELECT count(*) FROM answers") == (4,)
    assert store.apply([one for one, _ in expected], day=DAY) == [answer for _, answer in expected]
    store.close()
    assert all(file.stat().st_size == 0 for file in tmp_path.glob("store.db-landing-*"))
