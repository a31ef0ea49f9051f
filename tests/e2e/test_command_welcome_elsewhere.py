"""An inviter whose KeyPackage names a dead relay: the accepting side's commands end well (HT-C-076)."""

import sys
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.commands import Person, running_relay

NOWHERE = "ws://127.0.0.1:9"
ELSEWHERE = f"""
import runpy
from hanatalk.client.engine.conversations import key_packages
from hanatalk.client.engine.formats import policy
make = key_packages.make
key_packages.make = lambda core, relay, **more: make(core, policy.Relay({NOWHERE!r}, relay.key), **more)
runpy.run_module("hanatalk.cli", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Elsewhere(Person):
    """Somebody whose KeyPackages want their Welcomes at a relay that is not there."""

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", ELSEWHERE, *self.options, *arguments]


def test_sync_names_the_invitation_that_could_not_be_delivered(tmp_path: Path) -> None:
    """HT-C-076: exit 0, the conversation by name, in both languages."""
    with running_relay(tmp_path / "relay") as relay:
        minji = Elsewhere(tmp_path / "minji").join("민지", relay.url)
        jihoon = Person(tmp_path / "jihoon").join("Jihoon", relay.url)
        conversation = jihoon.do("accept", minji.do("invite").object["invite"]).object["conversation"]
        synced = jihoon.do("sync").object
        assert synced["pending"] == 0
        assert synced["invitations"] == [{"conversation": conversation, "name": "민지", "relay": NOWHERE}]
        assert jihoon.do("send", conversation, "hello?").object["state"] == "stored"
        assert "초대를 아직 전하지 못했어요: 민지" in jihoon.prose("ko").type("sync").err
        assert "could not be delivered yet: 민지" in jihoon.prose("en").type("sync").err
