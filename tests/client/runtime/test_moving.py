"""A relay that is gone for good, with real relays in processes of their own (HT-M-066)."""

import asyncio
from pathlib import Path
from typing import TypeVar

from tests.e2e.commands import running_relay

from hanatalk.client import Profile, calls, create_profile, events, open_profile
from hanatalk.client.engine import Patience

R = TypeVar("R", bound=calls.Result)


async def _asked(profile: Profile, call: calls.Call, kind: type[R]) -> R:
    found = await profile.call(call)
    assert isinstance(found, kind)
    return found


async def _heard(profile: Profile, text: str) -> None:
    async for event in profile.events():
        if isinstance(event, events.MessageReceived) and event.message.text == text:
            return


async def test_the_first_relay_is_stopped_for_good(tmp_path: Path) -> None:
    """Nothing is lost: what the dead relay had stored and what was written after its death arrives by the fallback."""
    impatient = Patience(queued=500, idle=60_000)
    with running_relay(tmp_path / "first") as first, running_relay(tmp_path / "second") as second:
        create_profile(tmp_path / "minji", name="민지", relay=first.url, passphrase=None)
        create_profile(tmp_path / "jihoon", name="Jihoon", relay=second.url, passphrase=None)
        async with (
            asyncio.timeout(60),
            open_profile(tmp_path / "minji", passphrase=None, patience=impatient) as minji,
            open_profile(tmp_path / "jihoon", passphrase=None, patience=impatient) as jihoon,
        ):
            link = (await _asked(minji, calls.Invite(), calls.InviteMade)).invite
            conversation = (await _asked(jihoon, calls.Accept(link=link), calls.Accepted)).conversation
            hello = asyncio.create_task(_heard(minji, "안녕"))
            await asyncio.sleep(0)
            await jihoon.call(calls.Send(conversation=conversation, text="안녕"))
            await hello
            first.kill()
            last = asyncio.create_task(_heard(jihoon, "after its death"))
            await asyncio.sleep(0)
            sent = await _asked(
                minji, calls.Send(conversation=conversation, text="after its death", wait=0.1), calls.Sent
            )
            assert sent.state == "queued"
            await last
            answer = asyncio.create_task(_heard(minji, "yes"))
            await asyncio.sleep(0)
            await jihoon.call(calls.Send(conversation=conversation, text="yes"))
            await answer
            for profile in (minji, jihoon):
                found = await _asked(profile, calls.Messages(conversation=conversation), calls.MessageList)
                assert [message.text for message in found.messages] == ["안녕", "after its death", "yes"]
