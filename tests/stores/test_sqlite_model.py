"""The SQLite store against the store in memory: any operations, between them tending, closing, killing, a full disk."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.stores.conformance import TOKEN

from hanatalk.errors import StorageError
from hanatalk.ids import ChannelId, EntryId, Incarnation, ReaderId, TakeId
from hanatalk.stores.interface import Acknowledge, Append, Erase, Operation, Quota, Retention, Store, Take
from hanatalk.stores.landing import SUFFIXES
from hanatalk.stores.memory import MemoryStore
from hanatalk.stores.sqlite import SqliteStore
from hanatalk.wire.channels import erase_hash
from hanatalk.wire.classes import EntryClass

KEY = bytes(range(32))
QUOTA = Quota(channel_entries=24, channel_bytes=40_000, total_entries=50, total_bytes=90_000, channel_readers=3)
RETENTION = Retention(message_days=3, control_days=5, taken_days=1)

channels = st.integers(0, 2).map(lambda n: ChannelId(bytes([n]) * 32))


def few(most: int) -> st.SearchStrategy[bytes]:
    return st.integers(0, most).map(lambda n: bytes([n]) * 16)


@st.composite
def appends(draw: st.DrawFn) -> Append:
    entry_class = draw(st.sampled_from([EntryClass.MESSAGE] * 4 + list(EntryClass)))
    size = draw(st.sampled_from([1, 500, 1_500, 5_000]))
    return Append(
        channel_id=draw(channels),
        entry_id=EntryId(draw(few(30)) if draw(st.booleans()) else draw(st.binary(min_size=16, max_size=16))),
        entry_class=entry_class,
        entry=bytes([draw(st.integers(0, 255))]) * size,
        commit=entry_class is EntryClass.CONTROL and draw(st.booleans()),
        turn=draw(st.none() | st.integers(0, 3)),
        burn_after=draw(st.none() | st.integers(1, 3)),
        erase_hash=erase_hash(TOKEN) if draw(st.booleans()) else None,
        incarnation=Incarnation(draw(few(255))),
    )


operations: st.SearchStrategy[Operation] = st.one_of(
    appends(),
    appends(),
    st.builds(Acknowledge, channel_id=channels, reader=few(3).map(ReaderId), seq=st.integers(0, 40)),
    st.builds(Take, channel_id=channels, take_id=few(3).map(TakeId)),
    st.builds(
        Erase, channel_id=channels, seq=st.integers(0, 40), erase_token=st.sampled_from([TOKEN, TOKEN, bytes(32), b""])
    ),
)


def control_hash(store: Store, channel: ChannelId, seq: int) -> bytes | str:
    try:
        return store.control_hash(channel, seq)
    except StorageError as error:
        return error.code


class SqliteAgainstMemory(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "store.db"
        self.model = MemoryStore(retention=RETENTION, quota=QUOTA)
        self.open()
        self.day = 100

    def open(self) -> None:
        self.store = SqliteStore(self.path, key=KEY, retention=RETENTION, quota=QUOTA)

    @rule(batch=st.lists(operations, max_size=12))
    def apply(self, batch: list[Operation]) -> None:
        assert self.store.apply(batch, day=self.day) == self.model.apply(batch, day=self.day)

    @rule(batch=st.lists(operations, max_size=12))
    def apply_on_a_full_disk(self, batch: list[Operation]) -> None:
        """Either the whole batch or nothing of it."""
        connection = self.store._connection
        connection.pragma("max_page_count", connection.pragma("page_count"))
        results, code = None, "storage.full"
        try:
            results = self.store.apply(batch, day=self.day)
        except StorageError as error:
            code = error.code
        assert code == "storage.full"
        assert results is None or results == self.model.apply(batch, day=self.day)
        connection.pragma("max_page_count", 1 << 30)

    @rule(steps=st.integers(1, 5))
    def tend(self, steps: int) -> None:
        for _ in range(steps):
            self.store.tend()

    @rule()
    def close_and_open(self) -> None:
        self.store.close()
        self.open()

    @rule()
    def kill_and_open(self) -> None:
        """What lies on the disk while the store runs is opened elsewhere, as after a kill -9."""
        files = {suffix: self.path.with_name(self.path.name + suffix) for suffix in ("", "-wal", *SUFFIXES)}
        left = {suffix: file.read_bytes() for suffix, file in files.items() if file.exists()}
        self.store.close()
        self.path = self.path.with_name(self.path.name + "+")
        for suffix, content in left.items():
            self.path.with_name(self.path.name + suffix).write_bytes(content)
        self.open()

    @rule()
    def read_back_from_the_rows(self) -> None:
        """As after a failed batch, while the store goes on running."""
        self.store._stale = True

    @rule(days=st.sampled_from([0, 1, 1, 2, 4, 9]))
    def time_passes(self, days: int) -> None:
        self.day += days
        for store in (self.store, self.model):
            total = [0, 0]
            while expired := store.expire(day=self.day):
                total = [total[0] + expired.entries, total[1] + expired.channels]
            if store is self.store:
                found = total
        assert found == total

    @invariant()
    def both_say_the_same(self) -> None:
        if not hasattr(self, "store"):
            return
        for n in range(3):
            channel = ChannelId(bytes([n]) * 32)
            state = self.store.channel(channel)
            assert state == self.model.channel(channel)
            for after, entries, size in ((0, 100, 1 << 30), (3, 2, 2_000)):
                read = [
                    store.read(channel, after=after, entries=entries, size=size) for store in (self.store, self.model)
                ]
                assert read[0] == read[1]
            for seq in range(state.head + 1 if state is not None else 0):
                assert control_hash(self.store, channel, seq) == control_hash(self.model, channel, seq), seq
        assert self.store.holdings() == self.model.holdings()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()


SqliteAgainstMemory.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
test_any_operations = SqliteAgainstMemory.TestCase


@pytest.mark.soak
class TestForLong(SqliteAgainstMemory.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(
        max_examples=3_000, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
    )
