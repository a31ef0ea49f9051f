"""Search in a profile: what is there is found, indexed or not, and what is gone is not (HT-S-090 … HT-S-093)."""

import itertools
import random
from pathlib import Path

import msgspec
import pytest
from tests.client.engine.conftest import Pair
from tests.client.people import Person, World
from tests.localdb.test_steps import KEY, first_version

from hanatalk.client import calls
from hanatalk.client.engine.formats import content, folding, grams, references
from hanatalk.client.engine.indexing import Index
from hanatalk.client.engine.messages import bodies
from hanatalk.client.engine.seen import searching
from hanatalk.errors import StorageError, UsageError
from hanatalk.localdb import segments
from hanatalk.localdb.database import Database
from hanatalk.localdb.rows import Message, MessageKind

WORDS = [
    *("안녕", "하세요", "회의", "내일", "저녁", "밥", "먹었어", "ㅋㅋㅋ", "ㅠㅠ", "값", "닭갈비", "과자"),
    *("Meeting", "tomorrow", "ÉTÉ", "café", "ok", "👍", "愛", "12:30", "a_b%"),
]
QUERIES = [
    *(
        "안녕",
        "안ㄴ",
        "아",
        "ㅇㄴ",
        "ㅎ",
        "닭",
        "달",
        "고",
        "값",
        "ㄱㅅ",
        "meet",
        "ete",
        "e",
        "愛",
        "👍",
        "%",
        "_",
        "ㅋㅋ",
        "zzz",
    ),
    *("회의 내일", "ㅎㅇ ㄴㅇ", "밥 meeting", "한", "녁 ", '" OR 1=1', "12:30"),
]


def search(person: Person, query: str, limit: int = 10_000, **more: str) -> list[calls.Found]:
    return [one for one in person.engine.search(query, limit=limit, **more) if one is not None]  # type: ignore[arg-type]


def texts(person: Person, query: str) -> list[str]:
    return [one.text for one in search(person, query)]


def history(person: Person, count: int, seed: int = 1, *, mark: str = "") -> list[str]:
    """Messages straight into the tables; returns their texts."""
    core, rng = person.engine._core, random.Random(seed)
    core.db.execute("PRAGMA synchronous = OFF")  # quicker, and the same pages
    ((conversation, account, device),) = core.db.tuples(
        "SELECT conversation, account, device FROM conversation JOIN member USING (conversation) LIMIT 1"
    )
    written = []
    start = core.db.number("SELECT max(counter) FROM message")
    with core.transaction():
        for number in range(count):
            text = " ".join(rng.choices(WORDS, k=rng.randrange(1, 8))) + (f" {mark}{number:05}" if mark else "")
            message = Message(
                None,
                rng.randbytes(16),  # type: ignore[arg-type]
                conversation,  # type: ignore[arg-type]
                account,  # type: ignore[arg-type]
                device,  # type: ignore[arg-type]
                start + 1 + number,
                1,
                MessageKind.PERSON,
                number,
                None,
                read=1,
            )
            bodies.insert(core, message, msgspec.msgpack.encode([1, text, None, None]))
            written.append(text)
    return written


def index_all(person: Person) -> int:
    """Let the background do all it has to do; returns how many steps that took."""
    index, now = person.engine._core.index, person.now
    for step in itertools.count():
        due = index.next_due(now)
        if due is None:
            return step
        now = max(now, due)
        with person.engine._core.transaction():
            index.step(now)
    raise AssertionError


def indexed(person: Person) -> set[int]:
    return segments.written(person.database)


# What people see


def test_all_conversations_newest_first(world: World) -> None:
    """HT-C-185: own and others' messages, wherever they are; who, where, when and which part."""
    minji, jihoon, sora = world.person("민지"), world.person("Jihoon"), world.person("소라")
    world.run()
    one, other = world.befriend(minji, jihoon), world.befriend(minji, sora)
    minji.send(one, "내일 회의 있어요")
    world.settle()
    jihoon.send(one, "무슨 회의?")
    world.settle()
    sora.send(other, "회의는 취소!")
    sora.send(other, "밥 먹자")
    world.settle()
    found = search(minji, "회의")
    assert [(one.name, one.from_, one.text) for one in found] == [
        ("소라", "소라", "회의는 취소!"),
        ("Jihoon", "Jihoon", "무슨 회의?"),
        ("Jihoon", "민지", "내일 회의 있어요"),
    ]
    assert [one.matches for one in found] == [[(0, 2)], [(3, 5)], [(3, 5)]]
    assert {one.conversation for one in found} == {one, other}
    assert [one.text for one in search(minji, "회의", conversation="소라")] == ["회의는 취소!"]
    assert [one.text for one in search(minji, "회의", before=found[0].message)] == ["무슨 회의?", "내일 회의 있어요"]
    assert [one.text for one in search(minji, "회의", limit=1)] == ["회의는 취소!"]
    shown = minji.message(one, found[2].message)
    assert (found[2].sent_at, found[2].from_account) == (shown.sent_at, shown.from_account)


@pytest.mark.parametrize(
    ("query", "more", "code"),
    [
        ("", {}, "search.empty"),
        ("a" * 300, {}, "search.too-long"),
        ("a", {"conversation": "nobody"}, "name.unknown"),
        ("a", {"before": "ffff"}, "message.unknown"),
    ],
)
def test_what_cannot_be_searched_is_said(pair: Pair, query: str, more: dict[str, str], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        search(pair.minji, query, **more)
    assert caught.value.code == code


@pytest.mark.parametrize("way", ["expired", "recalled", "recalled by its sender"])
def test_what_is_gone_is_not_found(pair: Pair, way: str) -> None:
    """HT-S-090: from the call that takes it away on."""
    message = pair.minji.send(pair.conversation, "비밀 회의", expire=5 if way == "expired" else None)
    pair.world.settle()
    who = pair.jihoon if way == "recalled by its sender" else pair.minji
    if way == "expired":
        pair.world.settle(60)
    else:
        assert texts(who, "비밀") == ["비밀 회의"]
        pair.minji.recall(message)
        pair.world.settle()
    assert texts(who, "비밀") == []
    assert texts(who, "회의") == []


def test_other_things_than_peoples_messages_are_not_found(pair: Pair) -> None:
    """A name in a Hello, a recall: numbered, but nothing that somebody wrote."""
    assert texts(pair.minji, "Jihoon") == []


def test_a_message_that_was_edited_is_found_by_what_it_says_now(pair: Pair) -> None:
    """HT-S-092, HT-C-107: at its old place, by the last wording; indexed or not, here and at the other."""
    first = pair.minji.send(pair.conversation, "화요일 회의")
    second = pair.minji.send(pair.conversation, "점심 회의")
    pair.world.settle()
    for person in (pair.minji, pair.jihoon):
        history(person, 600)
        index_all(person)
        assert indexed(person) == {0, 1}
        assert texts(person, "화요일") == ["화요일 회의"]
    for wording in ("수요일 회의", "목요일 회의"):
        pair.minji.engine.edit(first, wording, pair.minji.now)
        pair.world.settle(5)
    for person in (pair.minji, pair.jihoon):
        for _ in range(2):
            assert texts(person, "요일") == ["목요일 회의"]
            assert texts(person, "화요일") == []
            assert [one.message for one in search(person, "ㅎㅇ") if "회의" in one.text][-2:] == [second, first]
            index_all(person)
        assert indexed(person) == {0, 1}


def test_what_is_hidden_is_not_found(pair: Pair) -> None:
    """HT-C-110, HT-C-112: deleted here, or to be seen once; nor does the index know of it."""
    gone = pair.minji.send(pair.conversation, "지울 말 하나")
    pair.minji.engine.send(pair.conversation, "한 번만 볼 말", fate=content.Fate.ONCE, now=pair.minji.now)
    pair.world.settle()
    for person in (pair.minji, pair.jihoon):
        history(person, 300)
        index_all(person)
        assert texts(person, "지울") == ["지울 말 하나"]
        assert texts(person, "번만") == []
        person.engine.delete(gone, person.now)
        assert indexed(person) == set()
        assert texts(person, "지울") == []
        index_all(person)
        assert indexed(person) == {0}
        ((bucket, name),) = grams.of_pattern(folding.fold("번")[:2], by_initials=False)
        assert not grams.find(segments.read(person.database, bucket, [0])[0], name)


def test_names_of_files_are_found_too(pair: Pair) -> None:
    """HT-C-185: beside the text, edited or not; a word of the name and one of the text find it together."""
    place = references.Place(b"k" * 32, b"v" * 32)
    file = references.Reference(b"s" * 32, place, b"d" * 32, 5, "application/pdf", "계약서 Final.PDF")
    history(pair.minji, 300)
    core = pair.minji.engine._core
    with core.transaction():
        for number, text in ((100, ""), (101, "여기 있어요")):
            body = content.encode(content.Text(text, attachments=[file]))
            core.db.execute("UPDATE content SET body = ? WHERE number = ?", body, number)
    for _ in range(2):
        found = search(pair.minji, "계약 pdf")
        assert [(one.text, one.files, one.matches) for one in found] == [
            ("여기 있어요", ["계약서 Final.PDF"], []),
            ("", ["계약서 Final.PDF"], []),
        ]
        assert [one.matches for one in search(pair.minji, "final 있어")] == [[(3, 5)]]
        index_all(pair.minji)
    assert indexed(pair.minji) == {0}


# The index


def test_the_index_and_the_texts_say_the_same(pair: Pair) -> None:
    """HT-S-090, HT-S-093: for each query the same messages in the same order as looking through everything."""
    history(pair.minji, 1_100)
    looked_through = {query: search(pair.minji, query) for query in QUERIES}
    assert indexed(pair.minji) == set()
    assert index_all(pair.minji) >= 4
    assert indexed(pair.minji) == set(range(4))
    for query in QUERIES:
        assert search(pair.minji, query) == looked_through[query], query
    assert len([query for query in QUERIES if looked_through[query]]) >= 20
    pair.minji.restart()
    assert {query: search(pair.minji, query) for query in QUERIES} == looked_through


def test_the_index_leaves_texts_out(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes it quick: of 1,000 texts only the candidates are read."""
    history(pair.minji, 1_030)
    index_all(pair.minji)
    core = pair.minji.engine._core
    with core.transaction():
        last = core.db.first(Message, "number = 300")
        assert last is not None
        core.db.execute(
            "UPDATE content SET body = ? WHERE number = 300", msgspec.msgpack.encode([1, "바늘", None, None])
        )
        core.index.forgotten(300)
    index_all(pair.minji)
    read = []
    real = folding.matches
    monkeypatch.setattr(folding, "matches", lambda folded, wanted: read.append(folded) or real(folded, wanted))
    assert texts(pair.minji, "바늘") == ["바늘"]
    assert len(read) <= 30


def test_segments_are_written_by_the_engine_while_nothing_else_is_to_do(pair: Pair) -> None:
    """HT-S-090: newest first, one at a tick, never the one that is being filled."""
    history(pair.minji, 800)
    seen = []
    while len(indexed(pair.minji)) < 3:
        pair.world.now = max(pair.world.now + 1, pair.minji.next_tick())
        pair.minji.tick()
        if indexed(pair.minji) not in seen:
            seen.append(indexed(pair.minji))
    assert seen[-3:] == [{2}, {1, 2}, {0, 1, 2}]
    pair.world.now = pair.minji.next_tick()
    pair.minji.tick()
    assert pair.minji.engine._core.index.next_due(pair.minji.now) is None
    history(pair.minji, 300, seed=2)
    assert index_all(pair.minji) >= 1
    assert indexed(pair.minji) == {0, 1, 2, 3}


def test_a_text_that_goes_takes_its_segment_along_and_the_rest_comes_back(pair: Pair) -> None:
    """HT-S-092: at once out of the index; 10 minutes later the other texts of the segment are in it again."""
    written = history(pair.minji, 600, mark="mark-")
    index_all(pair.minji)
    core = pair.minji.engine._core
    victim = core.db.first(Message, "number = 100")
    assert victim is not None
    text = core.db.value("SELECT body FROM content WHERE number = 100")
    assert isinstance(text, bytes)
    gone = msgspec.msgpack.decode(text)[1].split()[-1]
    assert len(texts(pair.minji, gone)) == 1
    with core.transaction():
        bodies.forget(core, victim)
    assert indexed(pair.minji) == {1}
    assert texts(pair.minji, gone) == []
    assert len(texts(pair.minji, "mark-")) == len(written) - 1
    now = pair.minji.now
    due = core.index.next_due(now)
    assert due is not None
    assert due >= now + 600_000
    index_all(pair.minji)
    assert indexed(pair.minji) == {0, 1}
    assert texts(pair.minji, gone) == []
    assert len(texts(pair.minji, "mark-")) == len(written) - 1


def test_what_is_rolled_back_is_still_to_be_done(pair: Pair) -> None:
    """HT-S-051: neither a segment that was written nor one that was dropped is taken for what it is not."""
    history(pair.minji, 600)
    core = pair.minji.engine._core
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), core.transaction():
            core.index.step(pair.minji.now + 1_000_000)
            raise ZeroDivisionError
    assert indexed(pair.minji) == set()
    index_all(pair.minji)
    assert indexed(pair.minji) == {0, 1}
    victim = core.db.first(Message, "number = 100")
    assert victim is not None
    with pytest.raises(ZeroDivisionError), core.transaction():
        bodies.forget(core, victim)
        raise ZeroDivisionError
    assert indexed(pair.minji) == {0, 1}
    index_all(pair.minji)
    assert len(search(pair.minji, "안녕")) == len([one for one in search(pair.minji, "안") if "안녕" in one.text])


def test_messages_that_come_and_go_while_a_search_goes_on(pair: Pair) -> None:
    """Between two steps everything may happen; nothing is shown that is gone."""
    history(pair.minji, 900, mark="mark-")
    running = pair.minji.engine.search("mark-", limit=10_000)
    seen = [next(running)]
    core = pair.minji.engine._core
    pair.minji.send(pair.conversation, "mark- later")
    victims = core.db.find(Message, "number BETWEEN 3 AND 500")
    with core.transaction():
        for victim in victims:
            bodies.forget(core, victim)
    seen += list(running)
    numbers = {one.text.split()[-1] for one in seen if one is not None}
    assert "later" not in numbers
    assert len(numbers) == 900 - 498 + (1 if core.db.value("SELECT 1 FROM content WHERE number = 3") is None else 0)


def test_an_index_that_was_tampered_with_is_said(pair: Pair) -> None:
    """HT-S-093."""
    history(pair.minji, 600)
    index_all(pair.minji)
    with pair.minji.database.transaction():
        pair.minji.database.execute("UPDATE gram SET value = (SELECT value FROM gram WHERE place = 3) WHERE place < 16")
    with pytest.raises(StorageError) as caught:
        for query in QUERIES:
            search(pair.minji, query)
    assert caught.value.code == "storage.broken"


def test_a_profile_from_before_the_index_gets_it_by_and_by(tmp_path: Path) -> None:
    """HT-S-050, HT-S-090: a database of the first version opens without an index; then a segment at a time."""
    first_version(tmp_path / "profile", 700)
    database = Database(tmp_path / "profile", KEY)
    assert segments.written(database) == set()
    index, grown = Index(database), []
    for now in range(0, 1_000, 200):
        assert index.next_due(now) == (now if len(grown) < 3 else None)
        with database.transaction():
            index.step(now)
        grown.append(segments.written(database))
    assert grown[:3] == [{1}, {0, 1}, {0, 1}]
    database.close()


def test_buckets_leave_out_nothing() -> None:
    """HT-S-091: whatever a text has, its place is among the candidates; long texts and full lists included."""
    rng = random.Random(9)
    letters = "가나다라각낙닥안녕ㅋㅎㅠabcdeéß愛👍"
    for count in (1, 3, 40, 256) * 5:
        texts = ["".join(rng.choices(letters + "  ", k=rng.choice([1, 5, 60, 900]))) for _ in range(count)]
        folded = [(place, folding.fold(text)) for place, text in enumerate(texts)]
        buckets = grams.build(folded)
        for _ in range(40):
            some = rng.choice(texts)
            start = rng.randrange(len(some))
            query = (
                some[start : start + rng.randrange(1, 6)] if rng.random() < 0.7 else "".join(rng.choices(letters, k=3))
            )
            for word in folding.words(query + rng.choice(["ㅋ", "ㅎㅋ", "각"])) + folding.words(
                "ㅎㅋㄱㄴ"[: rng.randrange(1, 5)]
            ):
                candidates = 0
                for pattern in grams.of_word(word):
                    places = (1 << 256) - 1
                    for bucket, name in pattern:
                        places &= grams.find(buckets[bucket], name)
                    candidates |= places
                missing = [
                    place for place, text in folded if folding.matches(text, [word]) and not candidates >> place & 1
                ]
                assert missing == [], word


def test_searching_pauses_between_strides(pair: Pair) -> None:
    """A long history is no long silence: None comes at least once for each segment that is looked through."""
    history(pair.minji, 600)
    assert list(searching.search(pair.minji.engine._core, folding.words("zzzz"))).count(None) >= 3
