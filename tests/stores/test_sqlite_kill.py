"""SIGKILL at any moment: what `apply` returned is there afterwards, in its channel, under its seq (T-081, HT-S-017)."""

import hashlib
import random
import signal
import subprocess
import sys
from pathlib import Path

from hanatalk.ids import ChannelId
from hanatalk.stores.sqlite import SqliteStore

KEY = bytes(range(32))
WRITER = """
import hashlib, os, random, sys
from pathlib import Path
from hanatalk.stores.interface import Acknowledge, Append
from hanatalk.stores.sqlite import SqliteStore
from hanatalk.wire.classes import EntryClass

folder, seed = Path(sys.argv[1]), int(sys.argv[2])
chance = random.Random(seed)
store = SqliteStore(folder / "store.db", key=bytes(range(32)))
print("open", flush=True)
while True:
    batch = []
    for _ in range(chance.choice((1, 3, 40))):
        batch.append(Append(
            channel_id=bytes([chance.randrange(20)]) * 32, entry_id=os.urandom(16),
            entry_class=chance.choice(list(EntryClass)), entry=os.urandom(chance.choice((100, 1000, 5000))),
            incarnation=b"i" * 16,
        ))
        if chance.random() < 0.3:
            batch[-1] = Append(
                channel_id=bytes([20]) * 32, entry_id=os.urandom(16), entry_class=EntryClass.MESSAGE,
                entry=os.urandom(1000), burn_after=1, incarnation=b"i" * 16,
            )
    results = store.apply(batch, day=20_000)
    lines = [f"stored {a.channel_id[0]} {r.seq} {hashlib.sha256(a.entry).hexdigest()} {a.entry_id.hex()}"
             for a, r in zip(batch, results)]
    print("\\n".join(lines), flush=True)
    if chance.random() < 0.3:
        head = store.channel(bytes([20]) * 32)
        if head is not None:
            store.apply([Acknowledge(channel_id=bytes([20]) * 32, reader=b"r" * 16, seq=head.head)], day=20_000)
            print("burned", head.head, flush=True)
    for _ in range(chance.randrange(4)):
        store.tend()
"""


def test_what_was_returned_is_there_after_kill_9(tmp_path: Path) -> None:
    chance = random.Random(11)
    stored: dict[tuple[int, int], tuple[str, str]] = {}
    burned = 0
    for round_number in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(round_number)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            lines = chance.randrange(1, 400)
            for count, line in enumerate(writer.stdout):
                if count == lines:
                    writer.send_signal(signal.SIGKILL)
                match line.split():
                    case ["stored", channel, seq, digest, entry_id] if line.endswith("\n"):
                        assert (int(channel), int(seq)) not in stored, "a seq was given out twice"
                        stored[int(channel), int(seq)] = digest, entry_id
                    case ["burned", seq] if line.endswith("\n"):
                        burned = int(seq)
        store = SqliteStore(tmp_path / "store.db", key=KEY)
        found: dict[tuple[int, int], str] = {}
        for channel_number in range(21):
            channel = ChannelId(bytes([channel_number]) * 32)
            for entry in store.read(channel, after=0, entries=100_000, size=1 << 30):
                found[channel_number, entry.seq] = hashlib.sha256(entry.entry).hexdigest()
        store.close()
        for (channel_number, seq), (digest, _) in stored.items():
            if channel_number != 20 or seq > burned:
                held = found.get((channel_number, seq))
                # Burned in the moment of the kill, before the writer could say so.
                assert held == digest or (held is None and channel_number == 20), (channel_number, seq)
            else:
                assert (channel_number, seq) not in found
    assert len(stored) > 300
    assert burned
