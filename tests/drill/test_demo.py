"""Every claim of the demo can fail: each is sabotaged once and must say so."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hanatalk.client import calls
from hanatalk.drill import demo, seizing
from hanatalk.drill.demo import CLAIMS, HELLO, Stage
from hanatalk.drill.people import Person
from hanatalk.ids import EntryId, ReadToken, WriteToken
from hanatalk.transport.link import connect
from hanatalk.wire.channels import channel_id
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.client import ClientConnection
from hanatalk.wire.events import EntryStored

Sabotage = Callable[[Stage, pytest.MonkeyPatch], Awaitable[None]]


async def outcome(claim: str, folder: Path, sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch) -> demo.Claim:
    """Carry out the claims up to this one, which is sabotaged just before it is tried."""
    stage = Stage(folder)
    try:
        for name, step in CLAIMS.items():
            if name == claim:
                with monkeypatch.context() as patch:
                    patch.setattr(demo, "CLAIM_WAIT", 12.0)
                    patch.setattr("hanatalk.drill.people.PATIENCE", 4.0)
                    await sabotage(stage, patch)
                    return await demo._tried(name, step, stage)
            held = await demo._tried(name, step, stage)
            assert held.ok, held
    finally:
        await stage.close()
    raise AssertionError(claim)


def lie(person: Person, call: type, answer: Callable[[Any], Any], patch: pytest.MonkeyPatch) -> None:
    """One person's answers to one kind of call are falsified."""
    honest = person.ask

    async def ask(asked: Any, kind: Any) -> Any:
        found = await honest(asked, kind)
        return answer(found) if isinstance(asked, call) else found

    patch.setattr(person, "ask", ask)


async def relay_folder_taken(stage: Stage, _: pytest.MonkeyPatch) -> None:
    stage.relay.data.write_text("a file where the folder should be")


async def one_account_for_all(stage: Stage, patch: pytest.MonkeyPatch) -> None:
    made = stage.minji.sign_up(stage.relay.url)
    for person in (stage.minji, stage.jihoon, stage.third):
        patch.setattr(person, "sign_up", lambda _: made)


async def conversation_missing(stage: Stage, patch: pytest.MonkeyPatch) -> None:
    lie(stage.minji, calls.Chats, lambda _: calls.ChatList(chats=[]), patch)


async def another_number(stage: Stage, patch: pytest.MonkeyPatch) -> None:
    digits = " ".join(["12345"] * 12)
    lie(stage.jihoon, calls.Verify, lambda _: calls.Safety(safety_number=digits, verified=False), patch)


async def another_text(stage: Stage, patch: pytest.MonkeyPatch) -> None:
    honest = stage.minji.send
    patch.setattr(stage.minji, "send", lambda conversation, text: honest(conversation, text + "!"))


async def read_too_early(stage: Stage, _: pytest.MonkeyPatch) -> None:
    await stage.jihoon.ask(calls.Read(conversation=stage.conversation), calls.ReadDone)


async def never_read(stage: Stage, patch: pytest.MonkeyPatch) -> None:
    honest = stage.jihoon.ask

    async def ask(asked: Any, kind: Any) -> Any:
        return calls.ReadDone(read=1) if isinstance(asked, calls.Read) else await honest(asked, kind)

    patch.setattr(stage.jihoon, "ask", ask)


async def link_still_good(stage: Stage, _: pytest.MonkeyPatch) -> None:
    stage.link = (await stage.minji.ask(calls.Invite(), calls.InviteMade)).invite


async def relay_stays_dead(stage: Stage, patch: pytest.MonkeyPatch) -> None:
    async def start() -> None:
        return None

    patch.setattr(stage.relay, "start", start)


async def relay_never_killed(stage: Stage, patch: pytest.MonkeyPatch) -> None:
    """Then the second message was not queued, and the claim has not been shown."""

    async def nothing() -> None:
        return None

    patch.setattr(stage.relay, "kill", nothing)
    patch.setattr(stage.relay, "start", nothing)


async def shown_twice(stage: Stage, patch: pytest.MonkeyPatch) -> None:
    lie(stage.jihoon, calls.Messages, lambda found: calls.MessageList(messages=found.messages * 2), patch)


async def entry_of_an_odd_size(stage: Stage, _: pytest.MonkeyPatch) -> None:
    connection = ClientConnection()
    stored = asyncio.Event()

    def arrived(events: list[Any]) -> None:
        if any(isinstance(event, EntryStored) for event in events):
            stored.set()

    link = await connect(stage.relay.url, connection, arrived)
    channel = channel_id(ReadToken(b"r" * 32), WriteToken(b"w" * 32))
    connection.open(channel, read=b"r" * 32, write=b"w" * 32)
    entry_id = EntryId(b"e" * 16)
    connection.append(channel, entry_id=entry_id, entry_class=EntryClass.MESSAGE, entry=b"x" * 700)
    link.flush()
    async with asyncio.timeout(5):
        await stored.wait()
    link.close()


async def text_in_a_log(stage: Stage, _: pytest.MonkeyPatch) -> None:
    (stage.relay.data / "debug.log").write_bytes(b'{"entry": "' + base64.b64encode(b"x" + HELLO.encode()) + b'"}')


async def nothing_to_find(stage: Stage, _: pytest.MonkeyPatch) -> None:
    stage.minji.home = stage.third.home


async def text_in_a_profile_folder(stage: Stage, _: pytest.MonkeyPatch) -> None:
    (stage.jihoon.home / "cache").write_text(HELLO)


async def nothing_flipped(_: Stage, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(seizing, "flip_byte", lambda *_, **__: None)


async def place_left_in(stage: Stage, patch: pytest.MonkeyPatch) -> None:
    """As if the photo went as it is."""
    honest = stage.minji.ask

    async def ask(asked: Any, kind: Any) -> Any:
        if isinstance(asked, calls.Attach):
            asked = calls.Attach(path=asked.path, original=True)
        return await honest(asked, kind)

    patch.setattr(stage.minji, "ask", ask)


SABOTAGE: list[tuple[str, Sabotage]] = [
    ("relay-up", relay_folder_taken),
    ("two-people", one_account_for_all),
    ("invite-accepted", conversation_missing),
    ("safety-number", another_number),
    ("message-arrives", another_text),
    ("the-one-goes-out", read_too_early),
    ("the-one-goes-out", never_read),
    ("photo-without-place", place_left_in),
    ("used-invite-refused", link_still_good),
    ("relay-killed", relay_stays_dead),
    ("relay-killed", relay_never_killed),
    ("relay-killed", shown_twice),
    ("what-the-relay-saw", entry_of_an_odd_size),
    ("nothing-in-the-relay", text_in_a_log),
    ("found-in-the-profile", nothing_to_find),
    ("nothing-in-locked-profiles", text_in_a_profile_folder),
    ("flipped-byte-refused", nothing_flipped),
]


def test_every_claim_has_a_sabotage() -> None:
    assert {claim for claim, _ in SABOTAGE} == set(CLAIMS)


@pytest.mark.soak
@pytest.mark.parametrize(("claim", "sabotage"), SABOTAGE, ids=lambda value: getattr(value, "__name__", value))
async def test_a_claim_that_does_not_hold_says_so(
    claim: str, sabotage: Sabotage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await outcome(claim, tmp_path, sabotage, monkeypatch)
    assert not found.ok
    assert found.evidence


@pytest.mark.soak
async def test_a_claim_that_hangs_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "CLAIM_WAIT", 0.01)

    async def hang(_: Stage) -> demo.Evidence:
        await asyncio.Event().wait()
        return {}

    assert (await demo._tried("x", hang, Stage(tmp_path))).evidence == {"error": "timeout"}
