"""`hana devices`: real processes of one account on a real relay."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e.commands import PATIENCE, Ended, Person, RelayProcess, environment
from tests.e2e.conftest import acquaint


class Asked:
    """A command that asks something on the way."""

    def __init__(self, person: Person, *arguments: str) -> None:
        self.process = subprocess.Popen(
            person.command(*arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(HANA_HOME=str(person.home)),
        )

    def line(self) -> dict[str, Any]:
        """The next object of its stdout."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate(timeout=PATIENCE)
        found: dict[str, Any] = json.loads(line)
        return found

    def answer(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n".encode())
        self.process.stdin.flush()

    def end(self) -> Ended:
        out, err = self.process.communicate(timeout=PATIENCE)
        return Ended(self.process.returncode, out.decode(), err.decode())


@contextmanager
def asking(person: Person, *arguments: str) -> Iterator[Asked]:
    asked = Asked(person, *arguments)
    try:
        yield asked
    finally:
        if asked.process.returncode is None:
            asked.process.kill()
            asked.process.communicate()


def link(old: Person, new: Person, relay: str) -> dict[str, Any]:
    """Both people compare the words and say yes. Returns what the approving side says at the end."""
    with asking(new, "devices", "link", "--relay", relay, "--no-passphrase") as linking:
        code = linking.line()["link"]
        with asking(old, "devices", "approve", code) as approving:
            mine, theirs = approving.line(), linking.line()
            assert mine["words"] == theirs["words"]
            assert len(mine["words"].split()) == 3
            linking.answer("yes")
            approving.answer("네")
            done = approving.end()
            assert done.code == 0, done
            joined = linking.end()
            assert joined.code == 0, joined
            assert joined.object["device"] == done.object["device"]
    return done.object


def test_three_processes_of_two_people(relay: RelayProcess, person: Callable[[str], Person]) -> None:
    """HT-M-123 … HT-M-125: linked by words; both devices receive; the 1 is one for a person; removed, it is wiped."""
    minji, jihoon = (person(name).join(name, relay.url) for name in ("민지", "Jihoon"))
    conversation = acquaint(minji, jihoon)
    jihoon.do_here("sync")
    laptop = person("laptop")
    done = link(minji, laptop, relay.url)
    assert (done["state"], done["conversations"], done["of"]) == ("current", 1, 1)
    assert [chat["name"] for chat in laptop.do("chats").objects] == ["Jihoon"]
    jihoon.do_here("sync")
    sent = jihoon.do("send", conversation, "두 기기 모두에게").object["message"]
    for device in (minji, laptop):
        device.do_here("sync")
        assert device.texts(conversation) == ["두 기기 모두에게"]
    laptop.do_here("send", conversation, "노트북에서")
    for device in (minji, jihoon):
        device.do_here("sync")
    (own,) = [message for message in minji.do_here("messages", conversation).objects if message["text"] == "노트북에서"]
    assert own["from"] == "민지"
    laptop.do_here("read", conversation)
    jihoon.do_here("sync")
    (seen,) = [message for message in jihoon.do_here("messages", conversation).objects if message["message"] == sent]
    assert (seen["state"], seen["unread"]) == ("read", 0)
    minji.do_here("sync")
    assert minji.do_here("chats").object["unread"] == 0
    listed = minji.do("devices").objects
    assert [device["this"] for device in listed] == [True, False]
    removed = minji.do("devices", "remove", done["device"][:8], "--yes").object
    assert removed == {"device": done["device"], "left": 0, "state": "removed"}
    jihoon.do_here("sync")
    jihoon.do_here("send", conversation, "비밀")
    told = laptop.type("sync")
    assert (told.code, told.error["error"]) == (1, "profile.revoked")
    assert laptop.type("chats").error["error"] == "profile.none"
    minji.do_here("sync")
    assert minji.texts(conversation)[-1] == "비밀"


def test_the_paper_device(relay: RelayProcess, person: Callable[[str], Person]) -> None:
    """HT-M-131: its words are shown once; with them a device is removed, with a wrong word nothing is."""
    minji = person("민지")
    made = minji.do("init", "--name", "민지", "--relay", relay.url, "--no-passphrase", "--paper").object
    words = made["paper"].split()
    assert len(words) == 24
    laptop = person("laptop")
    device = link(minji, laptop, relay.url)["device"]
    refused = minji.type("devices", "remove", device, "--yes", "--paper", stdin=" ".join(words[:-1]) + "\n")
    assert refused.error["error"] == "paper.words"
    other = (
        person("other").type("init", "--name", "X", "--relay", relay.url, "--no-passphrase", "--paper").object["paper"]
    )
    assert minji.type("devices", "remove", device, "--yes", "--paper", stdin=other).error["error"] == "paper.other"
    done = minji.do("devices", "remove", device, "--yes", "--paper", stdin=made["paper"]).object
    assert done["state"] == "removed"
    assert laptop.type("sync").error["error"] == "profile.revoked"


def test_t060_codes_are_not_mistaken_for_each_other(relay: RelayProcess, person: Callable[[str], Person]) -> None:
    """T-060: an invite is no linking code and the other way round; a code of an own device, or misspelt, is refused."""
    minji = person("민지").join("민지", relay.url)
    invite = minji.do_here("invite").object["invite"]
    assert minji.type_here("devices", "approve", invite).error["error"] == "link.is-invite"
    laptop = person("laptop")
    with asking(laptop, "devices", "link", "--relay", relay.url, "--no-passphrase") as linking:
        code = linking.line()["link"]
    assert minji.type_here("accept", code).error["error"] == "invite.malformed"
    assert minji.type_here("devices", "approve", code[:-4]).error["error"] == "link.malformed"
    assert laptop.type_here("invite").error["error"] == "link.first"
    with asking(laptop, "devices", "link") as linking:
        assert linking.line()["link"] == code  # killed, it goes on with the same code
        with asking(minji, "devices", "approve", code) as approving:
            linking.line()
            approving.line()
            linking.answer("yes")
            approving.answer("no")
            assert approving.end().error["error"] == "link.refused"
        assert linking.end().error["error"] == "link.refused"
    assert [device["this"] for device in minji.do_here("devices").objects] == [True]
