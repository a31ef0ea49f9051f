"""Topics `groups` and `message`: what a group's life costs with MLS, beside others; and one message to all of it."""

import asyncio
import os
import time
from collections.abc import Callable
from typing import TypeVar, cast

from bench import lines, load
from bench.lines import HanatalkLine
from bench.machine import DRIVER_CORE, NotMeasured, cpu_seconds
from bench.options import Options
from bench.pairwise import Session
from bench.peers import mls as peers
from bench.peers.hanatalk import Hanatalk
from bench.report import Table
from hanatalk import mls
from hanatalk.client.engine.formats import sealing
from hanatalk.ids import ChannelId, EntryId
from hanatalk.wire import frames
from hanatalk.wire.classes import EntryClass

T = TypeVar("T")
# Suite, size, members that update their leaf, members added in one commit, kinds.
LIVES = [
    ("X-Wing", 2, 0, 0, ("ours-xwing", "ts-xwing", "rine-xwing")),
    ("X-Wing", 16, 8, 0, ("ours-xwing", "ts-xwing", "rine-xwing")),
    ("X-Wing", 256, 16, 100, ("ours-xwing", "rine-xwing")),
    ("X25519", 1_000, 16, 100, ("ours-x25519", "mls-rs")),
]
LARGE = [
    ("X-Wing", 256, 0, 100, ("ts-xwing",)),
    ("X25519", 1_000, 0, 100, ("ts-x25519",)),
    ("X25519", 3_000, 16, 100, ("ours-x25519", "mls-rs")),
]
QUICK = [("X-Wing", 2, 0, 0, ("ours-xwing",)), ("X25519", 5, 2, 3, ("ours-x25519",))]
WITHIN = 1.5  # times the fastest other one
LEAST = 0.005  # seconds: below, a ratio says more about Python than about MLS
LIFE_SECONDS = 240.0


def groups(options: Options) -> Table:
    """Every life in a process of its own, implementations in turn."""
    table = Table(
        "groups",
        "the life of a group through the binding, beside other implementations on the same suite",
        [
            "seconds of CPU, all threads; each call with what it hands out or stores of the group's state",
            "another follows: a member takes the commit in; rine-mls writes its state to files",
            "of ts-mls the removals are of two at once; only ours and mls-rs update leaves (bench/peers/mls.py)",
        ],
    )
    lives = QUICK if options.quick else LIVES + (LARGE if options.large else [])
    os.sched_setaffinity(0, {DRIVER_CORE})
    for _ in range(options.rounds):
        for suite, size, warm, adds, kinds in lives:
            for kind in kinds:
                who = peers.NAMES[kind]
                try:
                    found = peers.play(kind, size, warm, adds, seconds=LIFE_SECONDS)
                except NotMeasured as error:
                    table.row(f"{suite}, {size:,}: add all, CPU", who, "s").why = str(error)
                    continue
                for name, value in found.items():
                    unit = "s" if name.endswith("CPU") else "bytes"
                    row = table.row(f"{suite}, {size:,}: {name}", who, unit, digits=4 if unit == "s" else 0)
                    if unit == "s" or not row.values:
                        row.values.append(value)
    table.rows.sort(key=lambda row: _order(row.what))
    for row in [row for row in table.rows if row.who == "hanatalk" and row.unit == "s" and row.median >= LEAST]:
        others = [other for other in table.rows if other.what == row.what and other is not row and other.values]
        if others:
            table.ratio(
                f"{row.what}: to the fastest", row, min(others, key=lambda one: one.median), WITHIN, higher=False
            )
    return table


def _order(what: str) -> tuple[str, int]:
    start, _, _ = what.partition(":")
    suite, _, size = start.partition(", ")
    return suite, int(size.replace(",", ""))


# --- one message to all ----------------------------------------------------------------------------------------------

TEXT = bytes(120)
KEY, CHANNEL = bytes(range(32)), ChannelId(bytes(32))
SAMPLE = 24  # members of which receipts are really made and read; the rest is as many times that
BURSTS = 10


def _cpu(work: Callable[[], T], count: int) -> tuple[float, list[T]]:
    """Milliseconds of CPU of one call, and what the calls gave."""
    began = time.process_time()
    done = [work() for _ in range(count)]
    return (time.process_time() - began) / count * 1e3, done


def _entry(body: bytes) -> bytes:
    """As a relay gets it: sealed in a 512-byte bucket, in an APPEND frame."""
    sealed = sealing.seal(
        KEY, CHANNEL, entry_class=EntryClass.MESSAGE, commit=False, kind=sealing.BodyKind.MLS, body=body
    )
    append = frames.Append(1, 1, EntryId(os.urandom(16)), EntryClass.MESSAGE, False, 0, None, None, sealed)
    return frames.encode([append])


def _taken(entry: bytes) -> bytes:
    """What was sealed."""
    (append,) = frames.decode_client_frames(entry)
    assert isinstance(append, frames.Append)
    _, body = sealing.unseal(KEY, CHANNEL, entry_class=EntryClass.MESSAGE, commit=False, entry=append.entry)
    return body


def _group(size: int) -> tuple[mls.Group, list[mls.Group]]:
    """A founder and some of the members of a group of this size."""
    made = [
        mls.key_package_new(
            mls.signer_new(),
            suite=mls.SUITE_X_WING,
            credential=b"member %06d" % number,
            extensions=[(0xF0A1, b"channel")],
            not_before=1_700_000_000,
            not_after=1_800_000_000,
        )
        for number in range(size - 1)
    ]
    founder, _ = mls.Group.create(
        mls.signer_new(),
        suite=mls.SUITE_X_WING,
        group_id=bytes(16),
        credential=b"founder",
        extensions=[(0xF0A0, b"policy")],
    )
    commit = founder.commit(adds=[one.key_package for one in made])
    founder.pending_merge()
    members = []
    for one in made[:SAMPLE]:
        rows = [(key, value) for key, value in one.writes if value is not None]
        members.append(mls.welcome_stage(commit.welcome or b"", rows).join()[0])
    return founder, members


def _ours(table: Table, founder: mls.Group, members: list[mls.Group], others: int) -> None:
    who = "hanatalk"
    sending, sent = _cpu(lambda: _entry(founder.encrypt(TEXT)[0]), BURSTS)
    reading = time.process_time()
    for entry in sent:
        members[0].process(_taken(entry))
    reading = (time.process_time() - reading) / BURSTS * 1e3
    for member in members[1:]:
        for entry in sent:
            member.process(_taken(entry))
    confirming = time.process_time()
    receipts = [_entry(member.encrypt(bytes(40))[0]) for member in members]
    confirming = (time.process_time() - confirming) / len(members) * 1e3
    hearing = time.process_time()
    for receipt in receipts:
        founder.process(_taken(receipt))
    hearing = (time.process_time() - hearing) / len(members) * 1e3
    size = len(sent[0])
    _tell(table, who, sending, reading, size)
    table.row("all confirm: sender in all", who, "ms CPU").values.append(sending + hearing * others)
    table.row("all confirm: each other device in all", who, "ms CPU").values.append(
        reading + confirming + hearing * (others - 1)
    )
    table.row("all confirm: through the relay", who, "bytes in", digits=0).values.append(size * (1 + others))


def _tell(table: Table, who: str, sending: float, reading: float, size: int) -> None:
    table.row("sender", who, "ms CPU", digits=3).values.append(sending)
    table.row("sender", f"{who}: bytes", "bytes", digits=0).values.append(size)
    table.row("a receiver", who, "ms CPU", digits=3).values.append(reading)


def _pairwise(table: Table, others: int) -> None:
    """A double ratchet with each device, turned by every confirmation."""
    pairs = [Session.pair() for _ in range(others)]
    for one, other in pairs:
        other.decrypt(one.encrypt(TEXT))
    for turned in (False, True):
        who = "pairwise" if turned else "pairwise, nobody had answered"
        if turned:
            for one, other in pairs:
                one.decrypt(other.encrypt(TEXT))
        sending, (sent,) = _cpu(lambda: [_entry(one.encrypt(TEXT)) for one, _ in pairs], 1)
        reading = time.process_time()
        for (_, other), entry in zip(pairs, sent, strict=True):
            other.decrypt(_taken(entry))
        reading = (time.process_time() - reading) / others * 1e3
        _tell(table, who, sending, reading, sum(map(len, sent)))
        if not turned:
            continue
        confirming, (receipts,) = _cpu(lambda: [_entry(other.encrypt(bytes(40))) for _, other in pairs], 1)
        hearing = time.process_time()
        for (one, _), receipt in zip(pairs, receipts, strict=True):
            one.decrypt(_taken(receipt))
        hearing = (time.process_time() - hearing) * 1e3
        table.row("all confirm: sender in all", who, "ms CPU").values.append(sending + hearing)
        confirm, hear, size = confirming / others, hearing / others, len(sent[0])
        for name, copies in (("to the sender only", 1), ("to all, as ours", others)):
            row = f"{who}, {name}"
            table.row("all confirm: each other device in all", row, "ms CPU").values.append(
                reading + confirm * copies + hear * (copies - 1)
            )
            table.row("all confirm: through the relay", row, "bytes in", digits=0).values.append(
                size * others * (1 + copies)
            )


async def _relay(table: Table, who: str, *, channels: int, readers: int, messages: int) -> None:
    """CPU of a relay for one message: an entry in each channel, each read by some devices."""
    server = Hanatalk("sqlite")
    try:
        sender = cast(HanatalkLine, await lines.dial(HanatalkLine, server.port))
        await sender.greet()
        handles, subscribers, seen = [], [], 0
        everything = asyncio.Event()

        def arrived(got: list[frames.RelayFrame]) -> None:
            nonlocal seen
            seen += sum(len(frame.entries) for frame in got if type(frame) is frames.Entries)
            if seen >= messages * channels * readers:
                everything.set()

        for _ in range(channels):
            read, write = os.urandom(32), os.urandom(32)
            handles.append(await sender.open(read, write, reads=False, writes=True))
            for _ in range(readers):
                line = cast(HanatalkLine, await lines.dial(HanatalkLine, server.port))
                await line.greet()
                reading = await line.open(read, write, reads=True, writes=False)
                line.say([frames.Subscribe(reading, 0)])
                await line.answer(frames.CaughtUp)
                line.on_frames = arrived
                subscribers.append(line)
        sender.on_frames = lambda _: None
        before = cpu_seconds(server.pids)
        for _ in range(messages):
            made = []
            for handle in handles:
                sender.request += 1
                entry_id, entry = EntryId(os.urandom(16)), os.urandom(512)
                burn = 1 if readers == 1 else None
                made.append(
                    frames.Append(sender.request, handle, entry_id, EntryClass.MESSAGE, False, 0, burn, None, entry)
                )
            sender.say(made)
            await asyncio.sleep(0.02)
        async with asyncio.timeout(60):
            await everything.wait()
        cpu = cpu_seconds(server.pids) - before
        table.row("the relay", who, "ms CPU").values.append(cpu / messages * 1e3)
        for line in [sender, *subscribers]:
            line.transport.abort()
    finally:
        server.stop()


def message(options: Options) -> Table:
    """MLS against an encryption per device."""
    size = 8 if options.quick else 256
    table = Table(
        "message",
        f"one message in a group of {size} devices, and its 1 going to 0",
        [
            "our group has suite X-Wing; pairwise: a double ratchet per device, X25519, AES-GCM (bench/pairwise.py)",
            "both sealed in 512-byte buckets and framed alike; databases are not counted",
            f"what all confirm is reckoned from {SAMPLE} of ours and from all of theirs",
        ],
    )
    os.sched_setaffinity(0, {DRIVER_CORE})
    founder, members = _group(size)
    for _ in range(options.rounds):
        _ours(table, founder, members, size - 1)
        _pairwise(table, size - 1)
        load.run(_relay(table, "hanatalk", channels=1, readers=size - 1, messages=5 if options.quick else 100))
        load.run(_relay(table, "pairwise", channels=size - 1, readers=1, messages=5 if options.quick else 20))
    for what, unit in (("sender", "ms CPU"), ("sender", "bytes")):
        ours, theirs = (f"{who}: bytes" if unit == "bytes" else who for who in ("hanatalk", "pairwise"))
        name = f"sender, {'bytes' if unit == 'bytes' else 'CPU'}: pairwise to ours"
        table.ratio(name, table.row(what, theirs, unit), table.row(what, ours, unit), 100, higher=True)
    return table
