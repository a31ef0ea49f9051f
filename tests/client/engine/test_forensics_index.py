"""The index of search in the hands of an examiner who has the passphrase (T-049; HT-S-091, HT-S-092).

Every page and frame is decrypted without SQLite. The examiner looks for texts, for letters in any form, and for keys
that once sealed a segment: with one of them what is left of old rows could be opened.
"""

import os
import random
import re
import signal
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tests.client.engine.conftest import Pair
from tests.client.engine.test_forensics import forms, raw
from tests.client.engine.test_searching import history, index_all, texts
from tests.client.people import Person

from hanatalk.client.engine.engine import Engine
from hanatalk.client.engine.formats import folding, grams
from hanatalk.client.engine.messages import bodies, expiry
from hanatalk.localdb import segments
from hanatalk.localdb.database import Database
from hanatalk.localdb.rows import Message


class Watch:
    """Every key and every sealed row of the index that was ever there."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.keys: dict[bytes, int] = {}  # key -> segment
        self.rows: dict[bytes, tuple[bytes, int]] = {}  # sealed row -> key, place

    def look(self) -> None:
        found = self.person.database.tuples(
            "SELECT segment, seal.key, place, value FROM segment JOIN seal USING (slot) "
            "JOIN gram ON place / 16 = segment"
        )
        for segment, key, place, value in found:
            assert isinstance(segment, int)
            assert isinstance(key, bytes)
            assert isinstance(place, int)
            assert isinstance(value, bytes)
            self.keys[key] = segment
            self.rows[value] = (key, place)

    def living(self) -> set[bytes]:
        found = self.person.database.tuples("SELECT key FROM segment JOIN seal USING (slot)")
        return {bytes(key) for (key,) in found}  # type: ignore[arg-type]


def forget(person: Person, number: int) -> None:
    core = person.engine._core
    message = core.db.first(Message, "number = ?", number)
    assert message is not None
    with core.transaction():
        bodies.forget(core, message)


def test_t049_what_is_gone_is_gone_from_the_index_too(pair: Pair) -> None:
    """HT-S-092: its letters could be read with the key (the control); the key is nowhere any more, nor the letters."""
    history(pair.minji, 600, mark="mark-")
    index_all(pair.minji)
    watch = Watch(pair.minji)
    watch.look()
    ((key, place),) = {(key, place) for key, place in watch.rows.values() if place == _place(100, "9")}
    opened = _opened(watch, key, place)
    assert grams.find(opened, _name("9"))  # the control: with the passphrase, before, the index tells
    forget(pair.minji, 100)
    assert pair.minji.database.empty_log()
    content = raw(pair.minji.path, pair.minji.key)
    gone = {key for key, segment in watch.keys.items() if segment == 0}
    stays = watch.living()
    assert gone
    assert not [key for key in gone if key in content]
    assert stays
    assert all(key in content for key in stays)  # the control
    index_all(pair.minji)
    assert pair.minji.database.empty_log()
    pair.minji.database.close()
    content = raw(pair.minji.path, pair.minji.key)
    assert not [key for key in gone if key in content]


def _name(gram: str) -> int:
    ((_, name),) = grams.of_pattern(gram, by_initials=False)
    return name


def _place(number: int, gram: str) -> int:
    ((bucket, _),) = grams.of_pattern(gram, by_initials=False)
    return segments.segment_of(number) * segments.BUCKETS + bucket


def _opened(watch: Watch, key: bytes, place: int) -> bytes:
    (sealed,) = [row for row, where in watch.rows.items() if where == (key, place)]
    return AESGCM(key).decrypt((place % segments.BUCKETS).to_bytes(12), sealed, b"gram" + place.to_bytes(8))


def test_t049_in_a_long_life_no_key_of_yesterday_is_left(pair: Pair) -> None:
    """HT-S-062, HT-S-092: texts come and go at random, segments are written again and again.

    Whatever is left of rows that were replaced, no key in the files opens it.
    """
    rng = random.Random(4)
    watch, core = Watch(pair.minji), pair.minji.engine._core
    live: list[int] = []
    now = pair.minji.now
    for round_ in range(12):
        history(pair.minji, 140, seed=round_, mark=f"mark-{round_:02}")
        live = [
            int(number)  # type: ignore[arg-type]
            for (number,) in core.db.tuples("SELECT number FROM content WHERE body IS NOT NULL AND number > 2")
        ]
        for _ in range(rng.randrange(1, 40)):
            forget(pair.minji, live.pop(rng.randrange(len(live))))
        for _ in range(rng.randrange(1, 6)):
            now += rng.choice([200, 700_000])
            with core.transaction():
                core.index.step(now)
            watch.look()
    index_all(pair.minji)
    watch.look()
    assert len(watch.keys) > 15
    assert pair.minji.database.empty_log()
    content = raw(pair.minji.path, pair.minji.key)
    living = watch.living()
    assert len(living) == 6
    assert not [key for key in watch.keys.keys() - living if key in content]
    assert all(key in content for key in living)  # the control
    for row, (key, place) in watch.rows.items():  # an examiner tries each of today's keys on each row of yesterday
        if key not in living:
            for other in living:
                try:
                    AESGCM(other).decrypt((place % 16).to_bytes(12), row, b"gram" + place.to_bytes(8))
                except InvalidTag:
                    continue
                raise AssertionError
    gone = set(range(3, 12 * 140)) - set(live)
    shown = {int(one) for one in re.findall(rb"mark-(\d{7})", content)}
    assert len(shown) == len(live)
    assert len(gone) > 100


def test_t049_the_index_holds_no_letters_in_the_open(pair: Pair) -> None:
    """HT-S-091: neither texts nor their jamo, initials or pairs of letters stand in the rows, while they are there."""
    history(pair.minji, 600)
    text = "카나리아노래"
    core = pair.minji.engine._core
    with core.transaction():
        core.db.execute("UPDATE content SET body = NULL WHERE number > 4")
        core.db.execute(
            "UPDATE content SET body = ? WHERE number = 50", bytes([0x94, 1, 0xA0 | 18]) + text.encode() + b"\xc0\xc0"
        )
    index_all(pair.minji)
    assert texts(pair.minji, "ㅋㄴㄹㅇ") == [text]
    forget(pair.minji, 50)
    assert pair.minji.database.empty_log()
    content = raw(pair.minji.path, pair.minji.key)
    folded = folding.fold(text)
    for form in (*forms(text), *forms(folded), *forms(folding.initials(folded))):
        assert form not in content
    for first, second in zip(folded[::2], folded[1::2], strict=False):
        assert (first + second).encode() not in content


def test_t049_killed_after_it_was_forgotten_the_next_start_blanks_the_key(pair: Pair) -> None:
    """HT-S-064: committed, then SIGKILL before the log was emptied; the first tick of the next process empties it."""
    history(pair.minji, 600)
    index_all(pair.minji)
    watch = Watch(pair.minji)
    watch.look()
    path, key, at = pair.minji.path, pair.minji.key, pair.minji.now
    pair.minji.offline()
    pair.minji.database.close()
    if (child := os.fork()) == 0:
        try:
            _forget_and_die(path, key, at)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    gone = {key for key, segment in watch.keys.items() if segment == 0}
    assert [one for one in gone if one in raw(path, key)]  # the control: it is still in the files
    database = Database(path, key)
    Engine(database).tick(at)
    assert not [one for one in gone if one in raw(path, key)]
    database.close()


def _forget_and_die(path: Path, key: bytes, at: int) -> None:
    engine = Engine(Database(path, key))
    engine.tick(at)
    core = engine._core
    message = core.db.first(Message, "number = 100")
    assert message is not None
    with core.transaction():
        core.db.execute("UPDATE message SET expires_at = ? WHERE number = 100", core.clock.at(at))
    assert core.db.empty_log()
    expiry.expire(core, core.clock.at(at))
    os.kill(os.getpid(), signal.SIGKILL)
