"""What nobody confirmed for 30 days, as a person sees it (HT-C-070, HT-C-072). The clock is moved from outside."""

import sys
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.commands import Person, running_relay

MOVED = """
import pathlib, runpy, sys, time
real, clock = time.time_ns, pathlib.Path(sys.argv.pop(1))
time.time_ns = lambda: real() + int(clock.read_text()) * 86_400 * 10**9
runpy.run_module("hanatalk.cli", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Moved(Person):
    """Somebody whose device's clock is so many days ahead as a file says."""

    def __post_init__(self) -> None:
        if not self.clock.exists():
            self.ahead(0)

    @property
    def clock(self) -> Path:
        return self.home.with_suffix(".clock")

    def ahead(self, days: int) -> None:
        new = self.clock.with_suffix(".new")
        new.write_text(str(days))
        new.replace(self.clock)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", MOVED, str(self.clock), *self.options, *arguments]


def test_t086_what_nobody_confirmed_is_said_and_can_be_sent_again(tmp_path: Path) -> None:
    """T-086, HT-C-070: not ✓ for ever; in words of both languages; `resend` tries again, and then it arrives."""
    with running_relay(tmp_path / "relay") as relay:
        minji = Moved(tmp_path / "minji")
        minji.join("민지", relay.url)
        jihoon = Person(tmp_path / "jihoon").join("Jihoon", relay.url)
        conversation = jihoon.do("accept", minji.do("invite").object["invite"]).object["conversation"]
        minji.do("sync")
        jihoon.do("sync")
        message = minji.do("send", conversation, "아직 거기 있어?").object["message"]
        assert minji.do("messages", conversation).object["state"] == "stored"
        minji.ahead(31)
        shown = minji.do("messages", conversation).object
        assert (shown["message"], shown["state"], shown["unread"]) == (message, "failed", 1)
        assert "✗ 전달되지 않음" in minji.prose("ko").type("messages", conversation).out
        assert "✗ not delivered" in minji.prose("en").type("messages", conversation).out
        refused = jihoon.type("resend", message)
        assert refused.code == 2
        assert refused.error["error"] == "message.unknown"
        assert minji.do("resend", message).object == {"message": message, "state": "stored"}
        assert minji.do("messages", conversation).object["state"] == "stored"
        again = minji.type("resend", message)
        assert (again.code, again.error["error"]) == (2, "resend.not-failed")
        jihoon.do("sync")
        assert jihoon.texts(conversation) == ["아직 거기 있어?"]
        minji.do("sync")
        assert minji.do("messages", conversation).object["state"] == "delivered"


def test_listen_says_that_a_message_was_not_delivered(tmp_path: Path) -> None:
    """HT-C-070: whoever listens when the 30 days are over hears of it."""
    with running_relay(tmp_path / "relay") as relay:
        minji = Moved(tmp_path / "minji")
        minji.join("민지", relay.url)
        jihoon = Person(tmp_path / "jihoon").join("Jihoon", relay.url)
        conversation = jihoon.do("accept", minji.do("invite").object["invite"]).object["conversation"]
        minji.do("sync")
        message = minji.do("send", conversation, "hello?").object["message"]
        with minji.listening() as listening:
            minji.ahead(31)
            minji.do("chats")  # whatever is asked, the one that listens looks at its clock
            listening.until("state", message=message, state="failed")
            assert minji.do("resend", message).object["state"] == "stored"
            listening.until("state", message=message, state="queued")
            listening.until("state", message=message, state="stored")
