"""Topic `search`: finding in a long history, and what the index costs."""

import asyncio
import itertools
import os
import random
import time

import msgspec

from bench.client import Two
from bench.load import run
from bench.machine import DRIVER_CORE, percentile
from bench.options import Options
from bench.report import Table
from hanatalk.client import calls, open_profile
from hanatalk.client.engine.indexing import Index
from hanatalk.ids import MessageId
from hanatalk.localdb.database import FILE, Database
from hanatalk.localdb.rows import Content, Message, MessageKind
from hanatalk.localdb.vault import Vault

NEEDLE = "회의록愛 Needle"  # in one message, a third of the way back
# What is searched for, by what makes it hard; `{rare}` and `{common}` are words of the invented language.
QUERIES = {
    "a word that is once there": "needle",
    "half typed, once there": "회의로",
    "initials, once there": "ㅎㅇㄹ",
    "one Chinese character": "愛",
    "one jamo": "ㅎ",
    "a common word": "{common}",
    "a rare word": "{rare}",
    "two words": "{common} {rare}",
    "a word that is nowhere": "없는말이야",
}


def language(seed: int) -> list[str]:
    """25,000 words: syllables at random, harder to tell apart than a language's; the first are used most."""
    rng = random.Random(seed)
    syllables = [chr(0xAC00 + rng.randrange(11_172)) for _ in range(900)]
    words = ["".join(rng.choices(syllables, k=rng.randrange(1, 4))) for _ in range(20_000)]
    words += ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randrange(2, 9))) for _ in range(5_000)]
    rng.shuffle(words)
    return words


def _write(database: Database, count: int, words: list[str]) -> None:
    rng = random.Random(2)
    weights = list(itertools.accumulate(1 / (rank + 5) for rank in range(len(words))))
    (like,) = database.find(Message, "kind = ?", MessageKind.PERSON)
    for start in range(0, count, 10_000):
        with database.transaction():
            for number in range(start, min(start + 10_000, count)):
                text = " ".join(rng.choices(words, cum_weights=weights, k=rng.randrange(2, 14)))
                if number == count * 2 // 3:
                    text += " " + NEEDLE
                message = msgspec.structs.replace(
                    like,
                    number=None,
                    message=MessageId(os.urandom(16)),
                    counter=like.counter + 1 + number,
                    sent_at=like.sent_at + number,
                    read=1,
                )
                database.insert(Content(database.insert(message), msgspec.msgpack.encode([1, text, None, None])))


def _index(database: Database, table: Table, count: int) -> None:
    before = database.number("PRAGMA page_count")
    index, now, times = Index(database), 0, []
    while (due := index.next_due(now)) is not None:
        began = time.process_time()
        with database.transaction():
            index.step(due)
        times.append(time.process_time() - began)
        now = due
    size = (database.number("PRAGMA page_count") - before) * database.number("PRAGMA page_size")
    table.row("the index, per message", "hanatalk", "bytes", digits=0).values.append(size / count)
    table.row("making it, in the background, per message", "hanatalk", "µs CPU", digits=0).values.append(
        sum(times) / count * 1e6
    )
    table.row("… one step of it, p99", "hanatalk", "ms CPU").values.append(percentile(times, 0.99) * 1e3)


async def _search(options: Options, table: Table) -> None:
    two = Two()
    try:
        await two.meet()
        await two.one.leave()
        home, words = two.one.home, language(1)
        database = Database(home / FILE, Vault(home).open(passphrase=None).key)
        _write(database, options.searched, words)
        database.close()
        asked = {what: query.format(rare=words[15_000], common=words[20]) for what, query in QUERIES.items()}
        first = next(iter(QUERIES))
        for indexed in (False, True):
            async with open_profile(home, passphrase=None) as profile:
                for what, query in asked.items() if indexed else [(first, asked[first])]:
                    row = table.row(what if indexed else f"{what}, no index yet", "hanatalk", "ms CPU")
                    for _ in range(options.rounds):
                        began = time.process_time()
                        found = await profile.call(calls.Search(text=query))
                        row.values.append((time.process_time() - began) * 1e3)
                        assert isinstance(found, calls.FoundList)
                        assert bool(found.found) != (what == "a word that is nowhere") or options.quick, what
                        await asyncio.sleep(0)
            if not indexed:
                database = Database(home / FILE, Vault(home).open(passphrase=None).key)
                _index(database, table, options.searched)
                database.close()
    finally:
        await two.part()


def search(options: Options) -> Table:
    """Through the call that `hana search` makes, in an open profile."""
    table = Table(
        "search",
        f"searching {options.searched:,} messages of 2 to 13 invented words, the newest 50",
        [
            "in an open profile, its file in the disk's cache: nothing is waited for, CPU time is what it takes",
            "an index is made in the background, 256 messages at a time (docs/adr/0017)",
        ],
    )
    os.sched_setaffinity(0, {DRIVER_CORE})
    run(_search(options, table))
    for what in QUERIES:
        table.bound(what, table.row(what, "hanatalk", "ms CPU"), 50, higher=False)
    return table
