"""T-081 at the level of the binding: killed at every write, forked, rolled back; no torn group, no key used twice.

The database is SQLite with the caller's rule: one transaction holds the group's rows and what they belong to.
"""

import json
import os
import random
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.mls.people import GROUP_ID, SUITES, Person, conversation, in_step, newcomer

from hanatalk import mls

suites = pytest.mark.parametrize("suite", [suite for suite, _ in SUITES], ids=[name for _, name in SUITES])
FIXTURES = Path(__file__).with_name("fixtures")


class Database:
    """Rows, outbox and cursor of one device. `kill_at` ends the process before that write, as `kill -9` does."""

    def __init__(self, path: Path, *, kill_at: int | None = None) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("CREATE TABLE IF NOT EXISTS row (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
        self.connection.execute("CREATE TABLE IF NOT EXISTS outbox (message BLOB)")
        self.writes = 0
        self.kill_at = kill_at

    def _write(self, statement: str, *values: object) -> None:
        if self.writes == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.writes += 1
        self.connection.execute(statement, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._write("BEGIN IMMEDIATE")
        yield
        self._write("COMMIT")

    def keep(self, writes: mls.Writes) -> None:
        for key, value in writes:
            if value is None:
                self._write("DELETE FROM row WHERE key = ?", key)
            else:
                self._write(
                    "INSERT INTO row VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value
                )

    def post(self, message: bytes) -> None:
        self._write("INSERT INTO outbox VALUES (?)", message)

    def outbox(self) -> list[bytes]:
        return [message for (message,) in self.connection.execute("SELECT message FROM outbox ORDER BY rowid")]

    def group(self) -> mls.Group:
        return mls.Group.load(GROUP_ID, self.connection.execute("SELECT key, value FROM row").fetchall())


def in_child(act: Callable[[], None]) -> int:
    """Run in a forked child; returns the signal that ended it, or 0."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except BaseException:  # noqa: BLE001  (the child must not return into pytest)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def killed_at_every_write(path: Path, rows: dict[bytes, bytes], act: Callable[[Database], None]) -> Iterator[Database]:
    """For each write of `act` a database in which the process died just before it; at last one where it did not."""
    for kill_at in range(1000):
        file = path / f"{kill_at}.sqlite"
        database = Database(file)
        with database.transaction():
            database.keep(list(rows.items()))
        database.connection.close()
        died = in_child(lambda file=file, kill_at=kill_at: act(Database(file, kill_at=kill_at)))  # type: ignore[misc]
        assert died in (0, signal.SIGKILL)
        yield Database(file)
        if not died:
            assert kill_at > 5
            return
    pytest.fail("never came to the end")


@suites
def test_a_merge_killed_at_every_write(suite: int, tmp_path: Path) -> None:
    """The receiver is in the old epoch or in the new one, whole; read again, the commit leads it to the committer."""
    minji, jihoon, sora = conversation(suite, b"minji", b"jihoon", b"sora")
    made = minji.group.commit(removes=[2], self_update=True)
    minji.merge()
    hello = minji.say(b"in the new epoch")

    def follow(database: Database) -> None:
        group = database.group()
        with database.transaction():
            staged = group.process(made.commit)
            assert isinstance(staged, mls.StagedCommit)
            database.keep(staged.writes)
            database.keep(group.staged_merge())

    epochs = []
    for database in killed_at_every_write(tmp_path, jihoon.rows, follow):
        restarted = Person(b"jihoon", database.group())
        epochs.append(restarted.group.epoch)
        if restarted.group.epoch == 1:
            restarted.follow(made.commit)
        in_step([minji, restarted])
        assert restarted.hear(hello) == b"in the new epoch"
    assert epochs == [1] * (len(epochs) - 1) + [2]
    assert len(epochs) > 10
    assert sora.group.epoch == 1


@suites
def test_an_own_commit_killed_at_every_write(suite: int, tmp_path: Path) -> None:
    """Commit with its outbox entry, then merge at the echo: whatever survives, the group goes on and nobody forks."""
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    sora = newcomer(suite, b"sora")

    def commit_and_merge(database: Database) -> None:
        group = database.group()
        with database.transaction():
            made = group.commit(adds=[sora.key_package])
            database.keep(made.writes)
            database.post(made.commit)
        with database.transaction():
            echo = group.process(made.commit)
            assert isinstance(echo, mls.OwnMessage)
            assert echo.pending
            database.keep(group.pending_merge())

    seen = set()
    for database in killed_at_every_write(tmp_path, minji.rows, commit_and_merge):
        restarted = Person(b"minji", database.group())
        outbox = database.outbox()
        seen.add((restarted.group.epoch, restarted.group.has_pending_commit, len(outbox)))
        other = Person(b"jihoon", mls.Group.load(GROUP_ID, list(jihoon.rows.items())))
        if outbox:
            if restarted.group.has_pending_commit:
                echo = restarted.group.process(outbox[0])
                assert isinstance(echo, mls.OwnMessage)
                assert echo.pending
                restarted.merge()
            other.follow(outbox[0])
        in_step([restarted, other])
        assert other.hear(restarted.say(b"on we go")) == b"on we go"
    assert seen == {(1, False, 0), (1, True, 1), (2, False, 1)}


@suites
def test_a_message_killed_at_every_write(suite: int, tmp_path: Path) -> None:
    """Sent is what the outbox holds. What was encrypted and not stored is never sent; its key is free for another."""
    minji, jihoon = conversation(suite, b"minji", b"jihoon")

    def say(database: Database) -> None:
        group = database.group()
        for text in (b"one", b"two"):
            with database.transaction():
                message, writes = group.encrypt(text)
                database.keep(writes)
                database.post(message)

    heard = set()
    for database in killed_at_every_write(tmp_path, minji.rows, say):
        group = database.group()
        with database.transaction():
            message, writes = group.encrypt(b"after the crash")
            database.keep(writes)
            database.post(message)
        other = Person(b"jihoon", mls.Group.load(GROUP_ID, list(jihoon.rows.items())))
        heard.add(tuple(other.hear(message) for message in database.outbox()))
    last = b"after the crash"
    assert heard == {(last,), (b"one", last), (b"one", b"two", last)}


@suites
def test_no_generation_is_used_for_two_messages(suite: int) -> None:
    """Crashes between encrypting and storing: the receiver, who refuses a generation's second use, hears everything."""
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    random_source = random.Random(20260101)
    sent = []
    for number in range(200):
        message, writes = minji.group.encrypt(number.to_bytes(2, "big"))
        if random_source.random() < 0.3:
            minji.reload()  # died before the transaction: neither the rows nor the outbox have it
            continue
        minji.keep(writes)
        sent.append((number.to_bytes(2, "big"), message))
        if random_source.random() < 0.2:
            minji.reload()  # died after it
    random_source.shuffle(sent)
    tolerated = [pair for start in range(0, len(sent), 40) for pair in sorted(sent)[start : start + 40][::-1]]
    assert all(jihoon.hear(message) == plaintext for plaintext, message in tolerated)


@suites
def test_a_restored_snapshot_would_use_a_generation_twice_and_is_noticed(suite: int) -> None:
    """The control for the test above, and T-058: why a backup holds no ratchet state."""
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    snapshot = dict(minji.rows)
    jihoon.hear(minji.say(b"before"))
    minji.rows = snapshot
    again = minji.reload().say(b"after restoring")
    with pytest.raises(mls.Replay):
        jihoon.group.process(again)


@suites
def test_a_forked_process_draws_other_randomness(suite: int, tmp_path: Path) -> None:
    """A fork copies the memory: with a generator in it, parent and child would make the same keys and nonces."""
    minji, _ = conversation(suite, b"minji", b"jihoon")
    minji.group.encrypt(b"warm")
    newcomer(suite, b"warm")

    def draw() -> list[str]:
        made = newcomer(suite, b"sora")
        commit = minji.group.commit(self_update=True)
        minji.group.pending_discard()
        message, _ = minji.group.encrypt(b"same plaintext, same generation")
        return [
            made.key_package.hex(),
            commit.commit.hex(),
            commit.digest.hex(),
            message.hex(),
            mls.signer_new().public_key.hex(),
        ]

    files = [tmp_path / "1", tmp_path / "2"]
    for file in files:
        in_child(lambda file=file: file.write_text(json.dumps(draw())) and None)  # type: ignore[misc]
    first, second = (json.loads(file.read_text()) for file in files)
    assert [a for a, b in zip(first, second, strict=True) if a == b] == []


@suites
def test_a_child_forked_from_a_process_that_has_committed_can_commit(suite: int) -> None:
    """OpenMLS spreads paths over threads; a child has none of its parent's, and must not wait for them."""
    minji, jihoon, *_ = conversation(suite, b"minji", b"jihoon", b"sora", b"hana", b"duri")
    made = minji.group.commit(self_update=True)
    jihoon.group.process(made.commit)
    minji.group.pending_discard()

    def live() -> None:
        signal.alarm(20)
        in_step(conversation(suite, b"a", b"b", b"c"))
        jihoon.group.staged_drop()
        jihoon.reload().follow(minji.group.commit(self_update=True).commit)

    assert in_child(live) == 0
    assert minji.group.commit(self_update=True)


def test_rows_written_by_the_first_version_are_still_read() -> None:
    """The stored format is frozen: two people's rows of version 1, a message and a commit between them (fixtures/)."""
    fixture = json.loads((FIXTURES / "rows-1.json").read_text())
    for one in fixture:
        minji, jihoon = (
            Person(
                name.encode(), mls.Group.load(GROUP_ID, [(bytes.fromhex(k), bytes.fromhex(v)) for k, v in one[name]])
            )
            for name in ("minji", "jihoon")
        )
        assert minji.group.suite == one["suite"]
        assert minji.group.epoch_authenticator.hex() == one["epoch_authenticator"]
        assert jihoon.hear(bytes.fromhex(one["message"])) == b"frozen"
        jihoon.follow(bytes.fromhex(one["commit"]))
        echo = minji.group.process(bytes.fromhex(one["commit"]))
        assert isinstance(echo, mls.OwnMessage)
        assert echo.pending
        minji.merge()
        in_step([minji, jihoon])
