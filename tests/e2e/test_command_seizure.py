"""T-001: the relay is seized. A thousand canaries through a real `hana relay serve`, then every file is searched."""

import asyncio
from pathlib import Path

from hanatalk.client import calls
from hanatalk.drill import seizing
from hanatalk.drill.people import Person
from hanatalk.drill.processes import RelayProcess
from hanatalk.drill.searching import Search

CANARIES = [f"카나리아 canary {number:04} 새장 속" for number in range(1_000)]
NAMES = ["민지 이름카나리아", "Jihoon Namecanary"]


async def test_t001_a_thousand_canaries_and_not_one_at_the_relay(tmp_path: Path) -> None:
    """Raw, UTF-16, base64 and hex, in the database, WAL, journal, temporary files, log and the decrypted store: while
    the relay runs with half of them waiting, and after kill -9. The positive control finds all of them in the profiles.
    """
    relay = RelayProcess(tmp_path / "relay", log=tmp_path / "relay-log.txt")
    minji, jihoon = Person(tmp_path / "minji", name=NAMES[0]), Person(tmp_path / "jihoon", name=NAMES[1])
    search = Search([*CANARIES, *NAMES])
    await relay.start()
    try:
        for person in (minji, jihoon):
            person.sign_up(relay.url)
            await person.arrive()
        link = await minji.ask(calls.Invite(), calls.InviteMade)
        conversation = (await jihoon.ask(calls.Accept(link=link.invite), calls.Accepted)).conversation

        async def acquainted() -> bool:
            return len((await minji.ask(calls.Chats(), calls.ChatList)).chats) == 1

        assert await minji.until(acquainted)
        for canary in CANARIES[:500]:
            await minji.send(conversation, canary, wait=0)

        async def half_arrived() -> bool:
            return len(await jihoon.messages(conversation)) == 500

        assert await jihoon.until(half_arrived, patience=60)
        await jihoon.sync()
        await jihoon.leave()
        for canary in CANARIES[500:]:
            await minji.send(conversation, canary, wait=0)
        assert (await minji.sync(wait=60)).pending == 0

        running = seized(relay, search)
        await relay.kill()
        killed = seized(relay, search)
        assert min(running, killed) >= 500 * 512  # the other half is there, as padded entries

        await relay.start()
        await jihoon.arrive()

        async def all_arrived() -> bool:
            return len(await jihoon.messages(conversation)) == 1_000

        assert await jihoon.until(all_arrived, patience=60)
        assert await jihoon.texts(conversation) == CANARIES
        await asyncio.gather(minji.leave(), jihoon.leave())
        for person in (minji, jihoon):
            found = {hit.needle for hit in search.content(seizing.profile_rows(person.home), place="opened")}
            assert found == {*CANARIES, *NAMES}  # the positive control: this search finds them where they are
            assert search.files(person.home) == []  # T-047
    finally:
        await asyncio.gather(minji.leave(), jihoon.leave())
        await relay.stop()


def seized(relay: RelayProcess, search: Search) -> int:
    """Nothing is found in the files, the log and the opened store; returns the size of the opened store."""
    rows = seizing.relay_rows(relay.data)
    assert search.files(relay.data) == []
    assert search.content(relay.log.read_bytes(), place="log") == []
    assert search.content(rows, place="opened") == []
    assert search.content(rows + CANARIES[7].encode(), place="planted") != []
    return len(rows)
