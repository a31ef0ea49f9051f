"""One host, several keys: each relay is itself (HT-R-097)."""

import os
import time
from pathlib import Path

import pytest

from hanatalk.client import Profile, calls, create_profile, open_profile
from hanatalk.client.engine.formats import links
from hanatalk.client.runtime.owner import Owner
from hanatalk.errors import HanaError, UsageError
from hanatalk.transport.urls import pin_text

HOST = "wss://127.0.0.1:9"  # the discard port: nothing listens there
ONE, OTHER = (f"{HOST}#pin={pin_text(bytes([number]) * 32)}" for number in (1, 2))
PASS = b"a pass of sixteen"


async def meet(profile: Profile, url: str) -> None:
    """Somebody's invite names that relay."""
    link = links.InviteLink(1, url, *(os.urandom(32) for _ in range(5)), int(time.time()) + 86_400)
    with pytest.raises(HanaError):
        await profile.call(calls.Accept(link=links.compose(link), wait=0.05))


async def test_a_pass_goes_to_ones_own_relay_and_no_impostor(tmp_path: Path) -> None:
    """HT-R-097, HT-R-125: the address without its pin means the relay this person chose."""
    create_profile(tmp_path, name="민지", relay=ONE, passphrase=None)
    async with open_profile(tmp_path, passphrase=None) as profile:
        assert isinstance(profile, Owner)
        await meet(profile, OTHER)
        assert profile._engine.wanted_relays() == {ONE, OTHER}
        await profile.call(calls.RelayPass(relay=HOST, access_pass=PASS, wait=0))
        assert (profile._engine.access_pass(ONE), profile._engine.access_pass(OTHER)) == (PASS, None)


async def test_a_pass_for_one_of_two_keys_needs_the_pin(tmp_path: Path) -> None:
    """HT-R-097: never guessed."""
    create_profile(tmp_path, name="민지", relay="ws://127.0.0.1:9", passphrase=None)
    async with open_profile(tmp_path, passphrase=None) as profile:
        assert isinstance(profile, Owner)
        for url in (ONE, OTHER):
            await meet(profile, url)
        with pytest.raises(UsageError, match=r"relay\.pin-needed"):
            await profile.call(calls.RelayPass(relay=HOST, access_pass=PASS, wait=0))
        await profile.call(calls.RelayPass(relay=OTHER, access_pass=PASS, wait=0))
        assert (profile._engine.access_pass(ONE), profile._engine.access_pass(OTHER)) == (None, PASS)
