"""A profile in the hands of an examiner who has the passphrase, and so the key (T-037, T-049; HT-S-060 … HT-S-065).

Every page and every frame of the log is decrypted without SQLite (tests/stores/carving.py) and searched as bytes,
whatever SQLite thinks of it. Each search has a control that finds what is still there.
"""

import os
import random
import re
import signal
import unicodedata
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.client.engine.conftest import Pair
from tests.client.people import URL, Person
from tests.stores.carving import decrypted, decrypted_wal

from hanatalk.cipherfile import companions
from hanatalk.client.engine.conversations import commits
from hanatalk.client.engine.engine import Engine
from hanatalk.client.engine.messages import bodies, expiry
from hanatalk.client.events import MessageGone
from hanatalk.errors import StorageError
from hanatalk.ids import ConversationId
from hanatalk.localdb.database import Database
from hanatalk.localdb.rows import IntentKind, Message, MessageKind

PIECE = 14  # bytes of a mark: what counts as found
MARK = re.compile(rb"kanari-(\d{6})\.")


def raw(path: Path, key: bytes) -> bytes:
    """Every page and frame there is, decrypted; the database and what SQLite keeps beside it."""
    found = b""
    for file in companions(path):
        if file.name.endswith("-wal"):
            found += decrypted_wal(file.read_bytes(), key)
        elif file == path:
            found += decrypted(file.read_bytes(), key)
        else:
            found += file.read_bytes()  # the log's index, page numbers in the clear
    return found


def forms(text: str) -> list[bytes]:
    """As UTF-8, as its letters one by one (what an index over jamo would hold), and as UTF-16."""
    return [
        text.encode(),
        unicodedata.normalize("NFD", text).encode(),
        text.encode("utf-16-le"),
        text.encode("utf-16-be"),
    ]


def found_in(person: Person, text: str) -> bool:
    content = raw(person.path, person.key)
    return any(form in content for form in forms(text))


def marked(rng: random.Random, number: int) -> str:
    """A text of a random length, up to several overflow pages, made of nothing but its own mark."""
    mark = f"kanari-{number:06}."
    length = min(int(rng.expovariate(1 / 120)) + len(mark), 14_000)
    return (mark * (length // len(mark) + 1))[:length]


def carved(person: Person) -> set[int]:
    return {int(found) for found in MARK.findall(raw(person.path, person.key))}


# Two people


@pytest.mark.parametrize("way", ["expired", "recalled"])
def test_t049_what_is_gone_is_gone_from_both_profiles_files(pair: Pair, way: str) -> None:
    """HT-S-060, HT-S-063, HT-S-064: at once, while both run; in no other file either."""
    text = "카나리아 노래 canary song"
    message = pair.minji.send(pair.conversation, text, expire=60 if way == "expired" else None)
    stays = "남는 말 that stays"
    pair.minji.send(pair.conversation, stays)
    pair.world.settle()
    pair.jihoon.read(pair.conversation)
    pair.world.settle(20)
    for person in (pair.minji, pair.jihoon):
        assert found_in(person, text)  # the control
    if way == "recalled":
        pair.minji.recall(message)
        assert not found_in(pair.minji, text)  # when the call returns
        pair.world.run()
    else:
        while not pair.jihoon.of(MessageGone):
            pair.world.now = max(pair.world.now + 1, min(p.next_tick() for p in (pair.minji, pair.jihoon)))
            for person in (pair.minji, pair.jihoon):
                person.engine.tick(person.now)
                person.events.extend(person.engine.take_events())
            pair.world.run()
    for person in (pair.minji, pair.jihoon):
        assert not found_in(person, text)
        assert found_in(person, stays)
        person.restart()
        assert not found_in(person, text)
    files = {path.name for path in pair.world.folder.rglob("*")}
    known = {f"{person.path.name}{end}" for person in (pair.minji, pair.jihoon) for end in ("", "-wal", "-shm")}
    assert files <= known


def test_a_log_that_cannot_be_emptied_fails_nobody_and_is_emptied_later(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HT-S-064, T-083: the disk is full or somebody reads; sending goes on, and the text goes with the next try."""
    text = "canary 카나리아"
    message = pair.minji.send(pair.conversation, text)
    pair.world.settle()
    real = pair.minji.database.empty_log

    def full() -> bool:
        raise StorageError("storage.full")

    monkeypatch.setattr(pair.minji.database, "empty_log", full)
    pair.minji.recall(message)
    pair.minji.send(pair.conversation, "goes on")
    pair.world.settle(20)
    assert pair.jihoon.texts(pair.conversation) == ["", "goes on"]
    assert found_in(pair.minji, text)  # the control
    monkeypatch.setattr(pair.minji.database, "empty_log", real)
    pair.world.settle(20)
    assert not found_in(pair.minji, text)


def test_t049_nothing_but_the_row_is_left(pair: Pair) -> None:
    """HT-S-061: id, sender, number and times; the other tables hold nothing of it."""
    message = pair.minji.send(pair.conversation, "x" * 50, expire=5)
    pair.world.settle(60)
    row = pair.minji.database.first(Message, "message = ?", bytes.fromhex(message))
    assert row is not None
    assert (row.kind, row.expires_at) == (MessageKind.EXPIRED, None)
    assert bodies.find(pair.minji.engine._core, row) is None
    assert pair.minji.database.number("SELECT count(*) FROM outbox") == 0


@pytest.mark.parametrize("moment", ["before the commit", "after the commit", "before the log is empty"])
def test_t049_killed_at_the_worst_moment_the_next_start_finishes(pair: Pair, moment: str) -> None:
    """HT-S-064: SIGKILL around the commit that forgets; the first tick of the next process does the rest."""
    text = "killed canary 카나리아"
    pair.minji.send(pair.conversation, text, expire=60)
    pair.world.settle(20)
    path, key, at = pair.minji.path, pair.minji.key, pair.minji.now + 100_000
    pair.minji.offline()
    pair.minji.database.close()
    if (child := os.fork()) == 0:
        try:
            _expire_and_die(path, key, at, moment)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert found_in(pair.minji, text)  # the control: it is still in the files
    pair.minji.database = Database(path, key)
    pair.minji.engine = Engine(pair.minji.database)
    pair.minji.engine.tick(at + 1_000)
    assert pair.minji.texts(pair.conversation) == []
    assert not found_in(pair.minji, text)


def _expire_and_die(path: Path, key: bytes, at: int, moment: str) -> None:
    database = Database(path, key)
    engine = Engine(database)
    engine.take_events()

    def trace(_: object, sql: str, __: object) -> bool:
        deadly = {"before the commit": "COMMIT", "before the log is empty": "PRAGMA wal_checkpoint"}.get(moment)
        if deadly is not None and sql.startswith(deadly):
            os.kill(os.getpid(), signal.SIGKILL)
        return True

    database._connection.exec_trace = trace  # type: ignore[assignment]
    if moment == "after the commit":
        core = engine._core
        expiry.expire(core, core.clock.at(at))
        os.kill(os.getpid(), signal.SIGKILL)
    engine.tick(at)


# A long history, in the product's own tables


def _history(person: Person, count: int, rng: random.Random) -> tuple[set[int], set[int]]:
    """Messages of random length that arrive and go at random; returns what is there and what went."""
    core = person.engine._core
    core.db.execute("PRAGMA synchronous = OFF")  # quicker, and the same pages
    (row,) = core.db.tuples("SELECT conversation, account, device FROM conversation JOIN member USING (conversation)")[
        :1
    ]
    live: list[Message] = []
    marks: dict[int, int] = {}
    went: set[int] = set()
    conversation, account, device = row
    for number in range(count):
        with core.transaction():
            message = Message(
                None,
                rng.randbytes(16),  # type: ignore[arg-type]
                conversation,  # type: ignore[arg-type]
                account,  # type: ignore[arg-type]
                device,  # type: ignore[arg-type]
                count * 1_000 + number,
                1,
                MessageKind.PERSON,
                number,
                None,
                read=1,
            )
            body = msgspec.msgpack.encode([1, marked(rng, number), None, None])
            live.append(bodies.insert(core, message, body))
            marks[live[-1].number or 0] = number
            if rng.random() < 0.9:  # what else changes about a message
                core.db.execute("UPDATE message SET stored_at = ? WHERE number = ?", number, live[-1].number)
        if rng.random() < 0.3:
            with core.transaction():
                for _ in range(rng.randrange(1, 3)):
                    start = max(0, len(live) - rng.choice([3, 300, 100_000]))
                    gone = live.pop(rng.randrange(start, len(live))) if live else None
                    if gone is not None:
                        core.db.execute(
                            "UPDATE message SET kind = ? WHERE number = ?", MessageKind.EXPIRED, gone.number
                        )
                        bodies.forget(core, gone)
                        went.add(marks[gone.number or 0])
    return set(marks.values()) - went, went


@pytest.mark.parametrize("seed", [1, 2])
def test_t049_in_a_long_history_no_copy_is_left_anywhere(pair: Pair, seed: int) -> None:
    """HT-S-060, HT-S-065: slack, freelist and overflow pages too. 1,500 messages; 20,000 in the soak run."""
    stays, went = _history(pair.minji, 1_500, random.Random(seed))
    assert went & carved(pair.minji)  # the control: the last ones are in the log yet
    assert pair.minji.database.empty_log()
    assert carved(pair.minji) == stays
    pair.minji.database.close()
    assert carved(pair.minji) == stays


@pytest.mark.soak
def test_t049_in_a_history_of_20000_messages_no_copy_is_left(pair: Pair) -> None:
    stays, went = _history(pair.minji, 20_000, random.Random(3))
    assert len(went) > 5_000
    assert pair.minji.database.empty_log()
    assert carved(pair.minji) == stays


def test_t049_the_carving_finds_what_deleting_rows_would_have_left(pair: Pair) -> None:
    """The control of the controls, and the reason for HT-S-060: rows that are deleted leave copies in slack."""
    rng = random.Random(7)
    database = pair.minji.database
    database.execute("PRAGMA synchronous = OFF")
    database.execute("CREATE TABLE plain (number INTEGER PRIMARY KEY, id BLOB UNIQUE, state INTEGER, body BLOB)")
    live: list[int] = []
    for number in range(6_000):
        with database.transaction():
            database.execute(
                "INSERT INTO plain VALUES (?, ?, NULL, ?)", number, rng.randbytes(16), marked(rng, number).encode()
            )
            live.append(number)
        if rng.random() < 0.9:
            with database.transaction():
                database.execute("UPDATE plain SET state = 1800000000000 WHERE number = ?", number - rng.randrange(3))
        while live and rng.random() < 0.35:
            start = max(0, len(live) - rng.choice([5, 200, 100_000]))
            with database.transaction():
                database.execute("DELETE FROM plain WHERE number = ?", live.pop(rng.randrange(start, len(live))))
    assert database.empty_log()
    assert carved(pair.minji) - set(live)


# Ratchet secrets


def _secrets(rows: dict[bytes, bytes]) -> set[bytes]:
    """Byte strings as long as a secret in the rows of a group: ratchets, path secrets, private keys, public ones."""
    found: set[bytes] = set()

    def walk(value: object) -> None:
        if isinstance(value, bytes) and len(value) in (32, 48, 64):
            found.add(value)
        elif isinstance(value, dict):
            for key, each in value.items():
                walk(key)
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    for value in rows.values():
        walk(msgspec.msgpack.decode(value[1:]))
    return found


def _watch(person: Person) -> tuple[set[bytes], Callable[[], set[bytes]]]:
    """Collects every secret that is ever written for any group; and says which are there now."""
    ever: set[bytes] = set()
    write = person.database.mls_write

    def watched(owner: bytes, writes: list[tuple[bytes, bytes | None]]) -> None:
        ever.update(_secrets({key: value for key, value in writes if value is not None}))
        write(owner, writes)

    person.database.mls_write = watched  # type: ignore[method-assign]

    def now() -> set[bytes]:
        owners = {bytes(owner) for (owner,) in person.database.tuples("SELECT owner FROM mls")}  # type: ignore[arg-type]
        return _secrets({key: value for owner in owners for key, value in person.database.mls_rows(owner)})

    return ever, now


def test_t037_used_ratchet_secrets_open_nothing_in_the_files(pair: Pair) -> None:
    """HT-S-062: after 60 messages and 5 commits no secret once written stands in the files, nor a key that sealed one.

    Sealed copies may lie in slack. The keys of today's rows are found (the control), no key of yesterday's is.
    """
    ever, now = _watch(pair.minji)
    sealed: dict[bytes, bytes] = {}  # a sealed value -> the key it was sealed with
    database = pair.minji.database
    begun = pair.minji.engine._core.conversation(_id(pair)).epoch
    for round_ in range(30):
        pair.minji.send(pair.conversation, f"{round_}")
        pair.jihoon.send(pair.conversation, f"{round_}")
        if round_ % 6 == 3:  # new epochs, one of them a new era
            with pair.minji.engine._core.transaction():
                kind = IntentKind.NEW_ERA if round_ == 15 else IntentKind.UPDATE
                commits.want(pair.minji.engine._core, _id(pair), kind, pair.minji.now)
        pair.world.settle(3)
        for key, value in database.tuples("SELECT seal.key, value FROM mls JOIN seal USING (slot)"):
            assert isinstance(key, bytes)
            assert isinstance(value, bytes)
            sealed[value] = key
    pair.world.settle(60)
    assert pair.minji.engine._core.conversation(_id(pair)).epoch >= begun + 5
    living = now()
    public = {bytes(key) for (key,) in database.tuples("SELECT signature_key FROM member")}  # type: ignore[arg-type]
    old = ever - living - public
    assert len(old) > 60
    content = raw(pair.minji.path, pair.minji.key)
    assert not [secret for secret in old if secret in content]
    assert not [secret for secret in living if secret in content and secret in _private(pair)]
    live_keys = {key for (key,) in database.tuples("SELECT key FROM seal WHERE slot IN (SELECT slot FROM mls)")}
    assert all(key in content for key in live_keys if isinstance(key, bytes))  # the control
    assert len(set(sealed.values())) == len(sealed)  # each value had a key of its own
    left = [key for key in sealed.values() if key not in live_keys and key in content]
    assert left == []
    pair.minji.database.close()
    content = raw(pair.minji.path, pair.minji.key)
    assert not [secret for secret in old if secret in content]
    assert not [key for key in sealed.values() if key not in live_keys and key in content]


def _id(pair: Pair) -> ConversationId:
    return ConversationId(bytes.fromhex(pair.conversation))


def _private(pair: Pair) -> set[bytes]:
    """Secrets of the rows of today: even these stand nowhere in the open."""
    rows = pair.minji.database.mls_rows(bytes.fromhex(pair.conversation))
    return _secrets({key: value for key, value in rows if key[:2] in (b"ms", b"es", b"ep")})


def test_t037_killed_after_a_ratchet_moved_the_next_start_blanks_the_old_key(pair: Pair) -> None:
    """HT-S-064: a value is replaced and committed, then SIGKILL; the first tick of the next process empties the log."""
    path, key = pair.minji.path, pair.minji.key
    pair.minji.offline()
    before = {bytes(old) for (old,) in pair.minji.database.tuples("SELECT key FROM seal WHERE slot > 0")}  # type: ignore[arg-type]
    pair.minji.database.close()
    if (child := os.fork()) == 0:
        try:
            engine = Engine(Database(path, key))
            engine.tick(pair.minji.now)
            engine._core.counted.add(URL)  # as once its start was counted (HT-M-071)
            engine.send(pair.conversation, "moves the ratchet", now=pair.minji.now)
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    database = Database(path, key)
    moved = before - {bytes(new) for (new,) in database.tuples("SELECT key FROM seal")}  # type: ignore[arg-type]
    assert len(moved) == 1
    assert [old for old in moved if old in raw(path, key)]  # the control: it is still in the files
    Engine(database).tick(pair.minji.now)
    assert not [old for old in moved if old in raw(path, key)]
    database.close()


def test_t037_without_seals_used_secrets_would_have_been_found(pair: Pair, tmp_path: Path) -> None:
    """The control of the controls: rows written as they are and replaced again and again leave old ones in slack."""
    rng = random.Random(5)
    database = Database(tmp_path / "open", pair.minji.key)
    database.execute("PRAGMA synchronous = OFF")
    database.execute("CREATE TABLE open (owner BLOB, key BLOB, value BLOB, PRIMARY KEY (owner, key)) WITHOUT ROWID")
    ever: set[bytes] = set()
    for _ in range(4_000):
        secret = rng.randbytes(32)
        ever.add(secret)
        with database.transaction():
            value = secret * rng.randrange(2, 30)
            database.execute("INSERT OR REPLACE INTO open VALUES (?, ?, ?)", rng.randbytes(1), b"ms", value)
    assert database.empty_log()
    content = raw(tmp_path / "open", pair.minji.key)
    living = {bytes(value)[-32:] for (value,) in database.tuples("SELECT value FROM open")}  # type: ignore[arg-type]
    assert [secret for secret in ever - living if secret in content]
    database.close()


def test_the_slots_of_a_group_that_is_forgotten_are_blank_and_used_again(pair: Pair) -> None:
    """HT-S-062."""
    database = pair.minji.database
    before = database.number("SELECT count(*) FROM seal")
    with database.transaction():
        database.mls_write(b"a", [(b"%d" % n, b"v") for n in range(20)])
        keys = {
            key for (key,) in database.tuples("SELECT seal.key FROM seal JOIN mls USING (slot) WHERE owner = ?", b"a")
        }
    assert database.empty_log()
    assert all(bytes(key) in raw(pair.minji.path, pair.minji.key) for key in keys)  # type: ignore[arg-type]
    with database.transaction():
        database.mls_delete(b"a")
    assert database.empty_log()
    assert not any(bytes(key) in raw(pair.minji.path, pair.minji.key) for key in keys)  # type: ignore[arg-type]
    with database.transaction():
        database.mls_write(b"b", [(b"%d" % n, b"v") for n in range(20)])
    assert database.number("SELECT count(*) FROM seal") <= before + 20
    assert database.number("SELECT count(*) FROM free_slot WHERE slot IN (SELECT slot FROM mls)") == 0


def test_forgetting_costs_the_same_in_a_large_profile(pair: Pair) -> None:
    """docs/adr/0010: what is written to forget one message does not depend on how many there are."""
    core, database = pair.minji.engine._core, pair.minji.database
    log = pair.minji.path.with_name(pair.minji.path.name + "-wal")
    sizes = []
    for count in (300, 3_000):
        _history(pair.minji, count, random.Random(count))
        assert database.empty_log()
        victim = database.first(Message, "kind = ? ORDER BY number", MessageKind.PERSON)
        assert victim is not None
        with core.transaction():
            bodies.forget(core, victim)
            core.db.execute("UPDATE message SET kind = ? WHERE number = ?", MessageKind.EXPIRED, victim.number)
        sizes.append(log.stat().st_size)
    assert max(sizes) <= 16 * 4_120
