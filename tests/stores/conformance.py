"""What every store does, stated once. A store's own test module derives `Conformance` and gives it `make`.

The rules are those of spec/01-relay.md and spec/04-storage.md; the numbers stand in the tests' names or docstrings.
"""

import hashlib
import os
from collections.abc import Callable, Iterator

import pytest

from hanatalk.errors import StorageError, UsageError
from hanatalk.ids import ChannelId, EntryId, Incarnation, ReaderId, TakeId
from hanatalk.stores.interface import (
    Acknowledge,
    Acknowledged,
    Append,
    ChannelState,
    Erase,
    Erased,
    Expired,
    Holding,
    Quota,
    Refusal,
    Result,
    Retention,
    Store,
    Stored,
    Take,
    Taken,
)
from hanatalk.wire.channels import erase_hash, next_control_hash
from hanatalk.wire.classes import EntryClass

DAY = 20_000
TOKEN = bytes(range(32))
MESSAGE, ATTACHMENT, CONTROL, INVITE = EntryClass
Make = Callable[..., Store]


def a_channel() -> ChannelId:
    return ChannelId(os.urandom(32))


def append(
    channel: ChannelId,
    entry: bytes = b"",
    entry_class: EntryClass = MESSAGE,
    *,
    commit: bool = False,
    turn: int | None = None,
    burn_after: int | None = None,
    erasable: bool = False,
    entry_id: bytes | None = None,
    incarnation: bytes = b"i" * 16,
) -> Append:
    return Append(
        channel_id=channel,
        entry_id=EntryId(entry_id or os.urandom(16)),
        entry_class=entry_class,
        entry=entry or os.urandom(512),
        commit=commit,
        turn=turn,
        burn_after=burn_after,
        erase_hash=erase_hash(TOKEN) if erasable else None,
        incarnation=Incarnation(incarnation),
    )


def acknowledge(channel: ChannelId, reader: bytes, seq: int) -> Acknowledge:
    return Acknowledge(channel_id=channel, reader=ReaderId(reader * 16), seq=seq)


def take(channel: ChannelId, take_id: bytes) -> Take:
    return Take(channel_id=channel, take_id=TakeId(take_id * 16))


def erase(channel: ChannelId, seq: int, token: bytes = TOKEN) -> Erase:
    return Erase(channel_id=channel, seq=seq, erase_token=token)


def expire(store: Store, day: int) -> Expired:
    """The whole sweep of a day."""
    entries = channels = 0
    while expired := store.expire(day=day):
        entries, channels = entries + expired.entries, channels + expired.channels
    return Expired(entries, channels)


def seqs(store: Store, channel: ChannelId, *, after: int = 0) -> list[int]:
    return [entry.seq for entry in store.read(channel, after=after, entries=1_000, size=1 << 30)]


class Conformance:
    """The suite. `again` in the derived class says how a store is closed and opened, or killed and opened."""

    @pytest.fixture
    def make(self) -> Iterator[Make]:
        raise NotImplementedError

    def again(self, store: Store) -> Store:
        """Open once more what the store left; the same store if nothing is left of it."""
        return store

    @pytest.fixture
    def store(self, make: Make) -> Store:
        return make()

    def one(self, store: Store, operation: Append | Acknowledge | Take | Erase, day: int = DAY) -> Result:
        (result,) = store.apply([operation], day=day)
        return result

    # Appending and reading

    def test_entries_come_back_in_order_with_what_was_given(self, store: Store) -> None:
        channel, other = a_channel(), a_channel()
        entries = [os.urandom(size) for size in (1, 512, 1024, 4096, 16384, 65536)]
        operations = [append(channel, entry, list(EntryClass)[n % 4]) for n, entry in enumerate(entries)]
        assert store.apply([*operations, append(other, b"other")], day=DAY) == [
            *(Stored(n, 0) for n in range(1, 7)),
            Stored(1, 0),
        ]
        for tended in range(3):
            found = store.read(channel, after=0, entries=100, size=1 << 20)
            assert [(e.seq, e.turn, e.entry_class, e.commit, e.entry) for e in found] == [
                (n + 1, 0, list(EntryClass)[n % 4], False, entry) for n, entry in enumerate(entries)
            ], tended
            while store.tend():
                pass
            if tended:
                store = self.again(store)

    def test_reading_is_limited_by_entries_and_by_size_but_gives_one(self, store: Store) -> None:
        channel = a_channel()
        kinds = (MESSAGE, CONTROL, ATTACHMENT, INVITE)
        store.apply([append(channel, b"x" * 1000, kinds[n % 4]) for n in range(10)], day=DAY)
        for _ in range(3):
            assert [e.seq for e in store.read(channel, after=3, entries=4, size=1 << 20)] == [4, 5, 6, 7]
            assert [e.seq for e in store.read(channel, after=0, entries=10, size=3500)] == [1, 2, 3]
            assert [e.seq for e in store.read(channel, after=0, entries=10, size=1)] == [1]
            assert [e.seq for e in store.read(channel, after=8, entries=1, size=1)] == [9]
            assert store.read(channel, after=10, entries=10, size=1000) == []
            assert store.read(channel, after=1 << 60, entries=10, size=1000) == []
            assert store.read(channel, after=0, entries=0, size=1000) == []
            store.tend()
        assert store.read(a_channel(), after=0, entries=10, size=1000) == []

    def test_a_channel_is_its_first_appends(self, store: Store) -> None:
        channel = a_channel()
        assert store.channel(channel) is None
        self.one(store, append(channel, incarnation=b"first" + bytes(11)))
        self.one(store, append(channel, CONTROL.to_bytes(1, "big"), CONTROL, commit=True, incarnation=b"x" * 16))
        expected = ChannelState(incarnation=Incarnation(b"first" + bytes(11)), head=2, turn=1, refused_takes=0)
        assert store.channel(channel) == expected
        assert self.again(store).channel(channel) == expected

    def test_a_repeated_entry_id_gets_its_first_answer(self, store: Store) -> None:
        """HT-R-031: also with another turn, after a commit, after it was burned, in one batch, and in a new process."""
        channel = a_channel()
        first = append(channel, turn=0, burn_after=1)
        commit = append(channel, b"", CONTROL, commit=True, turn=0)
        assert store.apply([first, first, commit, commit], day=DAY) == [
            Stored(1, 0),
            Stored(1, 0, True),
            Stored(2, 1),
            Stored(2, 1, True),
        ]
        self.one(store, acknowledge(channel, b"r", 2))
        assert seqs(store, channel) == [2]
        for _ in range(3):
            assert store.apply([first, commit], day=DAY + 1) == [Stored(1, 0, True), Stored(2, 1, True)]
            while store.tend():
                pass
            store = self.again(store)
        assert seqs(store, channel) == [2]
        # Another channel's entry_ids are another channel's.
        assert self.one(store, append(a_channel(), entry_id=first.entry_id)) == Stored(1, 0)

    # Turns

    def test_a_stale_turn_is_refused_with_the_current_one_and_disturbs_nobody(self, store: Store) -> None:
        channel = a_channel()
        results = store.apply(
            [
                append(channel, turn=1),
                append(channel, turn=0),
                append(channel, b"", CONTROL, commit=True, turn=0),
                append(channel, b"", CONTROL, commit=True, turn=0),
                append(channel, turn=0),
                append(channel, turn=1),
                append(channel),
            ],
            day=DAY,
        )
        stale = Refusal("stale-turn", 1)
        assert results == [
            Refusal("stale-turn", 0),
            Stored(1, 0),
            Stored(2, 1),
            stale,
            stale,
            Stored(3, 1),
            Stored(4, 1),
        ]
        found = store.read(channel, after=0, entries=9, size=1 << 20)
        assert [(e.seq, e.turn, e.commit) for e in found] == [
            (1, 0, False),
            (2, 0, True),
            (3, 1, False),
            (4, 1, False),
        ]

    def test_a_refused_append_makes_no_channel(self, store: Store) -> None:
        channel = a_channel()
        assert self.one(store, append(channel, turn=7)) == Refusal("stale-turn", 0)
        assert store.channel(channel) is None
        assert store.holdings() == []

    # Receipts

    def test_the_control_hash_runs_over_control_entries_only(self, store: Store) -> None:
        channel = a_channel()
        control = [append(channel, b"one", CONTROL), append(channel, b"two", CONTROL, commit=True)]
        store.apply([append(channel), control[0], append(channel), control[1], append(channel)], day=DAY)
        first = next_control_hash(bytes(32), seq=2, commit=False, entry=b"one")
        second = next_control_hash(first, seq=4, commit=True, entry=b"two")
        assert (
            hashlib.sha256(
                b"hana/control/1" + bytes(32) + (2).to_bytes(8, "big") + b"\0" + hashlib.sha256(b"one").digest()
            ).digest()
            == first
        )
        for _ in range(2):
            hashes = [store.control_hash(channel, seq) for seq in range(6)]
            assert hashes == [bytes(32), bytes(32), first, first, second, second]
            store = self.again(store)

    def test_a_hash_whose_entries_expired_is_forgotten_and_later_ones_go_on(self, store: Store) -> None:
        channel = a_channel()
        store.apply([append(channel, b"one", CONTROL)], day=DAY)
        store.apply([append(channel, b"two", CONTROL)], day=DAY + 1)
        store.apply([append(channel)], day=DAY + 29)
        first = next_control_hash(bytes(32), seq=1, commit=False, entry=b"one")
        second = next_control_hash(first, seq=2, commit=False, entry=b"two")
        expire(store, DAY + 30)
        assert store.control_hash(channel, 1) == first  # what the later ones build on is kept
        expire(store, DAY + 31)
        with pytest.raises(StorageError, match=r"storage\.forgotten"):
            store.control_hash(channel, 1)
        with pytest.raises(StorageError, match=r"storage\.forgotten"):
            store.control_hash(channel, 0)
        assert store.control_hash(channel, 3) == second
        store = self.again(store)
        store.apply([append(channel, b"three", CONTROL)], day=DAY + 31)
        assert store.control_hash(channel, 4) == next_control_hash(second, seq=4, commit=False, entry=b"three")
        with pytest.raises(StorageError, match=r"storage\.forgotten"):
            store.control_hash(a_channel(), 0)

    # Burning

    @pytest.mark.parametrize("tended", [False, True])
    def test_an_entry_burns_once_enough_readers_are_past_it(self, store: Store, tended: bool) -> None:
        channel = a_channel()
        store.apply([append(channel, burn_after=n) for n in (2, 2, 3, 1)] + [append(channel)], day=DAY)

        def settle() -> None:
            nonlocal store
            while tended and store.tend():
                pass
            if tended:
                store = self.again(store)
                while store.tend():
                    pass

        settle()
        assert self.one(store, acknowledge(channel, b"a", 2)) == Acknowledged(0)
        settle()
        assert self.one(store, acknowledge(channel, b"a", 2)) == Acknowledged(0)  # the same reader counts once
        assert self.one(store, acknowledge(channel, b"a", 1)) == Acknowledged(0)  # and never goes back
        assert self.one(store, acknowledge(channel, b"b", 1)) == Acknowledged(1)
        assert seqs(store, channel) == [2, 3, 4, 5]
        settle()
        assert self.one(store, acknowledge(channel, b"c", 3)) == Acknowledged(1)  # 2: a and c
        assert seqs(store, channel) == [3, 4, 5]
        settle()
        assert self.one(store, acknowledge(channel, b"a", 4)) == Acknowledged(1)  # 4: a alone
        assert self.one(store, acknowledge(channel, b"b", 5)) == Acknowledged(1)  # 3: a, b, c
        assert seqs(store, channel) == [5]
        assert self.one(store, acknowledge(channel, b"z", 5)) == Acknowledged(0)

    @pytest.mark.parametrize("tended", [False, True])
    def test_what_has_burned_stays_burned_and_gives_its_room_back(self, make: Make, tended: bool) -> None:
        store, channel = make(quota=Quota(total_entries=4)), a_channel()
        store.apply([append(channel, burn_after=1), append(channel, burn_after=2), append(channel)], day=DAY)
        while tended and store.tend():
            pass
        self.one(store, acknowledge(channel, b"a", 3))
        for _ in range(3):
            assert seqs(store, channel) == [2, 3]
            assert sum(holding.count for holding in store.holdings()) == 2
            store = self.again(store)
        other = a_channel()
        results = store.apply([append(other) for _ in range(3)], day=DAY)
        assert results == [Stored(1, 0), Stored(2, 0), Refusal("relay-full")]
        assert self.one(store, acknowledge(channel, b"b", 3)) == Acknowledged(1)
        expire(store, DAY + 3)
        assert expire(store, DAY + 33).channels == 2

    def test_acknowledging_beyond_the_head_counts_up_to_the_head(self, store: Store) -> None:
        channel = a_channel()
        assert self.one(store, acknowledge(channel, b"a", 1 << 60)) == Acknowledged(0)
        assert store.channel(channel) is None
        self.one(store, append(channel, burn_after=2))
        assert self.one(store, acknowledge(channel, b"a", 1 << 60)) == Acknowledged(0)
        self.one(store, append(channel, burn_after=1))
        assert self.one(store, acknowledge(channel, b"b", 1)) == Acknowledged(1)
        assert seqs(store, channel) == [2]

    def test_t028_control_and_invite_entries_never_burn(self, store: Store) -> None:
        """T-028: whatever the append says; the policy refuses it, and the store does not rely on that."""
        channel = a_channel()
        store.apply([append(channel, b"", kind, burn_after=1, erasable=True) for kind in (CONTROL, INVITE)], day=DAY)
        assert self.one(store, acknowledge(channel, b"a", 9)) == Acknowledged(0)
        assert self.one(store, erase(channel, 1)) == Refusal("wrong-token")
        assert seqs(store, channel) == [1, 2]

    def test_readers_are_limited(self, make: Make) -> None:
        store, channel = make(quota=Quota(channel_readers=2)), a_channel()
        self.one(store, append(channel, burn_after=3))
        assert self.one(store, acknowledge(channel, b"a", 1)) == Acknowledged(0)
        assert self.one(store, acknowledge(channel, b"b", 1)) == Acknowledged(0)
        assert self.one(store, acknowledge(channel, b"c", 1)) == Refusal("too-many-readers")

    # Erasing

    @pytest.mark.parametrize("tended", [False, True])
    def test_the_sender_takes_an_entry_back(self, store: Store, tended: bool) -> None:
        channel = a_channel()
        store.apply(
            [append(channel, erasable=True), append(channel), append(channel, b"", INVITE, erasable=True)], day=DAY
        )
        while tended and store.tend():
            pass
        if tended:
            store = self.again(store)
        assert self.one(store, erase(channel, 1, bytes(32))) == Refusal("wrong-token")
        assert self.one(store, erase(channel, 1, b"short")) == Refusal("wrong-token")
        assert self.one(store, erase(channel, 2)) == Refusal("wrong-token")
        assert seqs(store, channel) == [1, 2, 3]
        assert store.apply([erase(channel, 1), erase(channel, 3)], day=DAY) == [Erased(), Erased()]
        assert seqs(store, channel) == [2]
        assert self.one(store, erase(channel, 1)) == Erased()  # gone already
        assert self.one(store, take(channel, b"t")) == Taken(None, None)
        for seq in (0, 4, -1):
            assert self.one(store, erase(channel, seq)) == Refusal("unknown-entry")
        assert self.one(store, erase(a_channel(), 1)) == Erased()

    # Taking

    def test_taking_reserves_the_oldest_invite_for_one_take_id(self, store: Store) -> None:
        channel = a_channel()
        store.apply([append(channel, b"key package %d" % n, INVITE) for n in range(2)], day=DAY)
        store.apply([append(channel, b"welcome", CONTROL), append(channel, b"hello")], day=DAY)
        assert self.one(store, take(channel, b"a")) == Taken(1, b"key package 0")
        assert self.one(store, take(channel, b"b")) == Taken(2, b"key package 1")
        store = self.again(store)
        assert self.one(store, take(channel, b"a")) == Taken(1, b"key package 0")  # repeated: the same again
        assert store.channel(channel) is not None
        assert self.one(store, take(channel, b"c")) == Taken(None, None)
        assert self.one(store, take(channel, b"d")) == Taken(None, None)
        for _ in range(2):
            state = store.channel(channel)
            assert state is not None
            assert state.refused_takes == 2
            store = self.again(store)
        assert seqs(store, channel) == [1, 2, 3, 4]
        assert self.one(store, take(a_channel(), b"a")) == Taken(None, None)

    def test_a_taken_entry_goes_after_a_day(self, store: Store) -> None:
        """HT-S-011"""
        channel = a_channel()
        store.apply([append(channel, b"", INVITE), append(channel, b"", INVITE)], day=DAY)
        self.one(store, take(channel, b"a"), DAY + 5)
        assert expire(store, DAY + 5) == Expired(0, 0)
        assert seqs(store, channel) == [1, 2]
        assert expire(store, DAY + 6) == Expired(1, 0)
        assert seqs(store, channel) == [2]

    # Expiry

    @pytest.mark.parametrize(("entry_class", "days"), [(MESSAGE, 3), (ATTACHMENT, 3), (CONTROL, 30), (INVITE, 30)])
    @pytest.mark.parametrize("tended", [False, True])
    def test_an_entry_of_day_d_goes_at_the_start_of(
        self, store: Store, entry_class: EntryClass, days: int, tended: bool
    ) -> None:
        channel = a_channel()
        self.one(store, append(channel, b"", entry_class))
        while tended and store.tend():
            pass
        expire(store, DAY + days - 1)
        assert seqs(store, channel) == [1]
        assert expire(store, DAY + days).entries == 1
        assert seqs(store, channel) == []
        assert store.holdings() == []
        assert expire(store, DAY + days) == Expired(0, 0)

    def test_an_operator_may_only_lower_the_days(self, make: Make) -> None:
        store, channel = make(retention=Retention(message_days=1, control_days=2)), a_channel()
        store.apply([append(channel), append(channel, b"", CONTROL)], day=DAY)
        assert expire(store, DAY + 1).entries == 1
        assert expire(store, DAY + 2).entries == 1
        for wrong in ({"message_days": 4}, {"control_days": 31}, {"taken_days": 2}, {"message_days": 0}):
            with pytest.raises(UsageError, match=r"retention\.range"):
                Retention(**wrong)

    def test_the_channel_outlives_its_last_entry_by_the_control_retention(self, store: Store) -> None:
        channel, long = a_channel(), a_channel()
        store.apply([append(channel), append(long, b"", CONTROL)], day=DAY)
        expire(store, DAY + 3)
        for day in (DAY + 4, DAY + 32):
            assert expire(store, day).channels == 0
            state = store.channel(channel)
            assert state is not None
            assert state.head == 1
        assert expire(store, DAY + 33).channels == 1
        assert store.channel(channel) is None
        assert store.channel(long) is not None
        assert expire(store, DAY + 59).channels == 0
        assert expire(store, DAY + 60).channels == 1
        assert store.channel(long) is None
        # What comes then is another channel.
        assert self.one(store, append(channel, incarnation=b"n" * 16), DAY + 61) == Stored(1, 0)
        state = store.channel(channel)
        assert state is not None
        assert state.incarnation == b"n" * 16

    def test_a_sweep_that_comes_late_counts_from_when_it_was_due(self, store: Store) -> None:
        channel = a_channel()
        self.one(store, append(channel))
        assert expire(store, DAY + 400).channels == 1
        assert store.channel(channel) is None

    def test_a_burned_entry_keeps_its_channel_from_the_day_it_burned(self, store: Store) -> None:
        channel = a_channel()
        self.one(store, append(channel, burn_after=1))
        self.one(store, acknowledge(channel, b"a", 1), DAY + 2)
        assert expire(store, DAY + 31).channels == 0
        assert expire(store, DAY + 32).channels == 1

    def test_entry_ids_are_remembered_for_the_control_retention(self, store: Store) -> None:
        channel = a_channel()
        early = append(channel)
        self.one(store, early)
        self.one(store, append(channel, b"", CONTROL), DAY + 20)
        assert expire(store, DAY + 29) == Expired(1, 0)
        assert self.one(store, early, DAY + 29) == Stored(1, 0, True)
        assert expire(store, DAY + 30) == Expired(0, 0)
        assert self.one(store, early, DAY + 30) == Stored(3, 0)
        assert self.one(store, early, DAY + 30) == Stored(3, 0, True)
        store = self.again(store)
        assert self.one(store, early, DAY + 30) == Stored(3, 0, True)

    def test_a_sweep_goes_on_until_nothing_is_due(self, store: Store) -> None:
        channels = [a_channel() for _ in range(30)]
        store.apply([append(channels[n % 30], b"x", burn_after=1 + n % 2) for n in range(3_000)], day=DAY)
        assert expire(store, DAY + 3).entries == 3_000
        assert store.holdings() == []
        assert expire(store, DAY + 33).channels == 30

    def test_a_day_that_goes_back_removes_nothing(self, store: Store) -> None:
        channel = a_channel()
        self.one(store, append(channel))
        self.one(store, append(channel), DAY - 100)
        assert expire(store, DAY - 100) == Expired(0, 0)
        assert seqs(store, channel) == [1, 2]
        assert expire(store, DAY + 2).entries == 1  # the one that said it was of an earlier day
        assert seqs(store, channel) == [1]

    # Quotas

    def test_a_full_channel_refuses_and_still_takes_a_commit(self, make: Make) -> None:
        """T-022: the last eighth is for control entries."""
        store, channel = make(quota=Quota(channel_entries=16)), a_channel()
        results = store.apply([append(channel) for _ in range(16)], day=DAY)
        assert [type(result) for result in results] == [Stored] * 14 + [Refusal] * 2
        assert results[-1] == Refusal("channel-full")
        assert self.one(store, append(channel, b"", CONTROL, commit=True)) == Stored(15, 1)
        assert self.one(store, append(channel, b"", CONTROL)) == Stored(16, 1)
        assert self.one(store, append(channel, b"", CONTROL)) == Refusal("channel-full")
        assert self.one(store, append(a_channel())) == Stored(1, 0)
        expire(store, DAY + 3)
        assert self.one(store, append(channel), DAY + 3) == Stored(17, 1)

    def test_quotas_count_bytes(self, make: Make) -> None:
        store, channel = make(quota=Quota(channel_bytes=8_000)), a_channel()
        first = append(channel, b"x" * 6_000)
        assert self.one(store, first) == Stored(1, 0)
        assert self.one(store, append(channel, b"x" * 1_001)) == Refusal("channel-full")
        assert self.one(store, append(channel, b"x" * 1_000)) == Stored(2, 0)
        store = self.again(store)
        assert self.one(store, append(channel, b"x" * 1_000)) == Refusal("channel-full")
        assert self.one(store, first) == Stored(1, 0, True)  # what is there already needs no room

    def test_a_full_relay_refuses(self, make: Make) -> None:
        store = make(quota=Quota(total_entries=2, total_bytes=2_000))
        first = a_channel()
        assert self.one(store, append(first, b"x" * 1_500, burn_after=1)) == Stored(1, 0)
        assert self.one(store, append(a_channel(), b"x" * 501)) == Refusal("relay-full")
        assert self.one(store, append(a_channel(), b"x" * 500)) == Stored(1, 0)
        assert self.one(store, append(a_channel(), b"x")) == Refusal("relay-full")
        store = self.again(store)
        assert self.one(store, append(a_channel(), b"x")) == Refusal("relay-full")
        self.one(store, acknowledge(first, b"a", 1))
        assert self.one(store, append(a_channel(), b"x" * 1_500)) == Stored(1, 0)

    # The warrant

    def test_holdings_say_all_that_is_held(self, store: Store) -> None:
        channel, other = sorted((a_channel(), a_channel()))
        store.apply(
            [
                append(channel, b"x" * 512),
                append(channel, b"y" * 512, burn_after=1),
                append(channel, b"x" * 1024),
                append(channel, b"x" * 512, CONTROL),
                append(other, b"x" * 512, INVITE),
            ],
            day=DAY,
        )
        store.apply([append(channel, b"x" * 512)], day=DAY + 1)

        def held(size: int, count: int, entry_class: EntryClass = MESSAGE, day: int = DAY) -> Holding:
            return Holding(channel_id=channel, entry_class=entry_class, day=day, size=size, count=count)

        in_other = Holding(channel_id=other, entry_class=INVITE, day=DAY, size=512, count=1)
        expected = [held(512, 2), held(1024, 1), held(512, 1, day=DAY + 1), held(512, 1, CONTROL), in_other]
        for _ in range(3):
            assert store.holdings() == expected
            self.check_sums(store)
            store.tend()
        self.one(store, acknowledge(channel, b"a", 2))
        assert store.holdings() == [held(512, 1), *expected[1:]]
        self.check_sums(store)
        store = self.again(store)
        self.check_sums(store)
        while expire(store, DAY + 3):
            self.check_sums(store)
        assert {holding.entry_class for holding in store.holdings()} == {MESSAGE, CONTROL, INVITE}
        self.check_sums(store)

    def check_sums(self, store: Store) -> None:
        """What costs nothing to ask is what counting says; by class too, from a store that counts those."""
        holdings, sums = store.holdings(), store.held()
        assert sums.entries == sum(holding.count for holding in holdings)
        assert sums.bytes == sum(holding.count * holding.size for holding in holdings)
        if sums.by_class is not None:
            for kind in EntryClass:
                assert sums.by_class[kind] == sum(h.count for h in holdings if h.entry_class is kind)

    def test_an_empty_batch_is_nothing(self, store: Store) -> None:
        assert store.apply([], day=DAY) == []
        assert not store.tend()
        assert expire(store, DAY) == Expired(0, 0)
