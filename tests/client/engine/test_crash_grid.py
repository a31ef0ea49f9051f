"""A person's process dies, or its disk fails, at every step of everything it does (T-011, T-029, T-033, T-081 … T-083).

Kinds of steps: SQL statement, transaction, call of the disk under the cipher, message into the socket. What happens at
one: SIGKILL, a cut message, a power cut (anything not synced is lost in sectors), no room, a broken disk, another
process that has locked the database. The oracle is case 81's: what was acknowledged to the person is shown at the other
side, once; what was refused is not; no key encrypts twice; both sides are in the same epoch; nothing is left undone,
damaged or missing. Each point is a process forked from this one (`mortal`).
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client.engine.mortal import Broken, Record, Scenario, Stage, Victim
from tests.client.engine.scenarios import SCENARIOS, Commit, Receive, Send
from tests.faults.children import fast_folder, in_a_child
from tests.faults.points import FAMILIES, NOTHING, Point, failures, points, sample, whole

from hanatalk.client.engine import Engine
from hanatalk.localdb.database import Database, MlsWrites
from hanatalk.localdb.rows import Channel
from hanatalk.wire import events as wire

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])


def _lived(stage: Stage) -> Record:
    """The steps of the run without a fault."""
    record = in_a_child(lambda: stage.play(NOTHING))
    assert isinstance(record, Record)
    assert record.done is not None
    assert min(record.done[kind] for kind in ("statement", "begin", "frame", "change", "read", "sync")) >= 3
    return record


def _steps(stage: Stage) -> dict[str, int]:
    return _lived(stage).done or {}


@pytest.fixture
def folder() -> Iterator[Path]:
    with fast_folder() as found:
        yield found


@every_scenario
def test_t081_a_sample_of_the_crash_grid(scenario: Scenario, folder: Path) -> None:
    """HT-S-017 for people, HT-C-010, HT-C-011: some ways to die, a fourth of the ways to fail; together all."""
    stage = Stage(scenario, folder)
    chosen = sample(_steps(stage), SCENARIOS.index(scenario))
    assert len(chosen) >= 8
    assert not failures(chosen, stage.play)


@pytest.mark.soak
@pytest.mark.parametrize("family", FAMILIES)
@every_scenario
def test_t081_the_whole_crash_grid(scenario: Scenario, family: str, folder: Path) -> None:
    """Every step, every fault; of those that repeat each other one (HANA_GRID=every: all of them)."""
    stage = Stage(scenario, folder)
    lived = _lived(stage)
    print(f"\n{scenario.name}, {whole(lived.done or {}, family, stage.play, places=lived.places)}")


# Each promise broken once: the grid must see it.


def _caught(scenario: Scenario, folder: Path, broken: Broken, *, kind: str, fault: str, words: str) -> None:
    stage = Stage(scenario, folder)
    chosen = [point for point in points(_steps(stage), most=60) if (point.kind, point.fault) == (kind, fault)]

    def play(point: Point) -> object:
        return stage.play(point, broken)

    for point in chosen:
        found = failures([point], play)
        if found and words in found[0]:
            return
    pytest.fail(f"not one of {len(chosen)} points saw it")


def _ratchet_outside_of_the_transaction(victim: Victim) -> None:
    """The new ratchet state is written with whatever comes next, not with the message it encrypted."""
    write, late = Database.mls_write, []

    def mls_write(self: Database, owner: bytes, writes: MlsWrites) -> None:
        for _ in range(len(late)):
            write(self, *late.pop(0))
        late.append((owner, writes))

    Database.mls_write = mls_write  # type: ignore[method-assign]


def _acknowledge_before_commit(victim: Victim) -> None:
    """The relay may forget an entry before it is stored here."""
    received = Engine.received

    def received_early(self: Engine, url: str, arrived: list[wire.Event], now: int) -> None:
        connection = self._core.links[url].connection
        for event in arrived:
            if isinstance(event, wire.EntryReceived):
                channel = self._core.db.first(Channel, "channel = ?", event.channel_id)
                if channel is not None:
                    connection.acknowledge(channel.channel, reader=channel.reader, seq=event.seq)
        for message in connection.messages_to_send():
            victim.wire.send(["write", url, message])
        victim._ask("pump", victim.now)
        received(self, url, arrived, now)

    Engine.received = received_early  # type: ignore[method-assign]


def _no_sync(victim: Victim) -> None:
    """SQLite's usual setting: the log is synced when it is copied, not when it is committed."""
    opened = Database._migrate

    def migrate(self: Database) -> None:
        self._connection.pragma("synchronous", "NORMAL")
        opened(self)

    Database._migrate = migrate  # type: ignore[method-assign]


def test_the_grid_sees_a_ratchet_outside_of_the_transaction(folder: Path) -> None:
    _caught(
        Send(), folder, _ratchet_outside_of_the_transaction, kind="statement", fault="kill", words="(key, nonce) used"
    )


def test_the_grid_sees_an_acknowledgement_before_the_commit(folder: Path) -> None:
    _caught(Receive(), folder, _acknowledge_before_commit, kind="statement", fault="kill", words="GapFound")


def test_the_grid_sees_a_log_that_is_not_synced(folder: Path) -> None:
    _caught(Commit(), folder, _no_sync, kind="change", fault="power-0", words="Assertion")
