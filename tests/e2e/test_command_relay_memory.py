"""T-002: the memory of a running relay, read through /proc/PID/mem, after a thousand canaries went through it.

What must not be there: texts, names, message keys, exporter secrets, seal keys. What is there is counted and stated in
spec/threat-model.md: entries as they lie in the store, channel ids, tokens of channels opened since the relay started.
"""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.e2e.commands import Person as Typist
from tests.e2e.commands import RelayProcess

from hanatalk.client import calls
from hanatalk.drill import seizing
from hanatalk.drill.people import Person
from hanatalk.localdb.database import FILE, Database
from hanatalk.localdb.vault import Vault, os_keyring

CANARY = "카나리아 canary in memory"
NAMES = ["민지 이름카나리아", "Jihoon Namecanary"]
COUNT = 1_000
CHUNK = 16 << 20  # bytes read at once; neighbours overlap by what could be cut


def memory(pid: int) -> Iterator[bytes]:
    """Everything a process could write to, piece by piece."""
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as mem:
        for line in maps:
            where, rights, *_ = line.split()
            start, end = (int(part, 16) for part in where.split("-"))
            if not rights.startswith("rw"):
                continue
            for at in range(start, end, CHUNK):
                mem.seek(at)
                try:
                    yield mem.read(min(CHUNK + 4_096, end - at))
                except OSError:
                    break


def counted(pid: int, needles: dict[str, list[bytes]]) -> dict[str, int]:
    """Of each kind of needle, how many are somewhere in the process's memory."""
    found: dict[str, set[bytes]] = {kind: set() for kind in needles}
    for piece in memory(pid):
        for kind, each in needles.items():
            found[kind].update(needle for needle in each if needle not in found[kind] and needle in piece)
    return {kind: len(each) for kind, each in found.items()}


def spelt(text: str) -> list[bytes]:
    return [text.encode(), unicodedata.normalize("NFD", text).encode(), text.encode("utf-16-le")]


def secrets(home: Path) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Of a stopped profile: secrets of its groups, seal keys of its channels, tokens of its channels."""
    database = Database(home / FILE, Vault(home, keyring=os_keyring()).open(passphrase=None).key)
    owners = {bytes(owner) for (owner,) in database.tuples("SELECT DISTINCT owner FROM mls")}  # type: ignore[arg-type]
    groups: set[bytes] = set()

    def walk(value: object) -> None:
        if isinstance(value, bytes) and len(value) in (32, 48):
            groups.add(value)
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(each)

    for owner in owners:
        for key, value in database.mls_rows(owner):
            if key[:2] in (b"ms", b"es", b"ep", b"sk"):  # ratchets, key schedule, private keys
                walk(msgspec.msgpack.decode(value[1:]))
    rows = database.tuples("SELECT seal_key, read_token, write_token FROM channel")
    device = database.setting("device-seed")
    assert device is not None
    database.close()
    seal_keys = [bytes(row[0]) for row in rows] + [device]  # type: ignore[arg-type]
    return sorted(groups), seal_keys, [bytes(token) for row in rows for token in row[1:]]  # type: ignore[arg-type]


@pytest.mark.skipif(not os.access("/proc/self/mem", os.R_OK), reason="no /proc/PID/mem here")
async def test_t002_the_running_relays_memory_holds_no_text_and_no_key(tmp_path: Path) -> None:
    relay = RelayProcess(tmp_path / "relay").start()
    minji, jihoon = Person(tmp_path / "minji", name=NAMES[0]), Person(tmp_path / "jihoon", name=NAMES[1])
    try:
        for person in (minji, jihoon):
            person.sign_up(relay.url)
            await person.arrive()
        link = await minji.ask(calls.Invite(), calls.InviteMade)
        conversation = (await jihoon.ask(calls.Accept(link=link.invite), calls.Accepted)).conversation

        async def acquainted() -> bool:
            return len((await minji.ask(calls.Chats(), calls.ChatList)).chats) == 1

        assert await minji.until(acquainted)
        await jihoon.leave()
        with Typist(jihoon.home).listening() as listening:  # the receiver is `hana listen`, a process of its own
            for number in range(COUNT):
                await minji.send(conversation, f"{CANARY} {number:04}", wait=0)
            await minji.sync(wait=60)
            for _ in range(COUNT):
                listening.until("message")
            control = counted(listening.process.pid, {"texts": spelt(CANARY), "names": [NAMES[0].encode()]})
            assert control["texts"] >= 1  # the control: the same search finds the texts where they are
            assert control["names"] == 1
        for number in range(20):
            await minji.send(conversation, f"{CANARY} waits {number}", wait=0)
        await minji.sync()
        await minji.leave()
        groups, seal_keys, tokens = (
            [*of_minji, *of_jihoon]
            for of_minji, of_jihoon in zip(secrets(minji.home), secrets(jihoon.home), strict=True)
        )
        assert len(groups) > 20
        waiting = seizing.entries(relay.data)
        found = counted(
            relay.pid,
            {
                "texts": spelt(CANARY),
                "names": [form for name in NAMES for form in spelt(name)],
                "secrets of groups": groups,
                "seal keys": seal_keys,
                "entries": [entry[:64] for entry in waiting],
                "tokens": tokens,
            },
        )
        print("in the relay's memory:", found, "of", {"entries": len(waiting), "tokens": len(tokens)})
        assert found["texts"] == found["names"] == found["secrets of groups"] == found["seal keys"] == 0
        assert found["entries"] >= 10  # the control: what the relay has to handle is found
    finally:
        await minji.leave()
        await jihoon.leave()
        relay.kill()
