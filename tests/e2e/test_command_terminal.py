"""A person at a terminal: prompts, Ctrl-C, colours."""

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.commands import PATIENCE, Person, RelayProcess, environment
from tests.e2e.conftest import acquaint

NOBODY = "ws://127.0.0.1:9"


class Terminal:
    """A command on a pseudo-terminal of its own, as a shell starts it."""

    def __init__(self, home: Path, *arguments: str, **more: str) -> None:
        self.shown = ""
        self._terminal, other_side = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hanatalk.cli", *arguments],
            stdin=other_side,
            stdout=other_side,
            stderr=other_side,
            env=environment(**{"HANA_HOME": str(home), "TERM": "xterm-256color", **more}),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 (Ctrl-C comes from the terminal)
        )
        os.close(other_side)

    def answer(self, question: str, answer: str) -> None:
        """Type a line once the question is shown."""
        self._until(lambda: self.shown.endswith(question))
        os.write(self._terminal, answer.encode())

    def end(self) -> int:
        """The exit code."""
        self._until(lambda: False)
        code = self._process.wait(PATIENCE)
        os.close(self._terminal)
        return code

    def _until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            ready, _, _ = select.select([self._terminal], [], [], deadline - time.monotonic())
            assert ready, f"hangs after {self.shown!r}"
            try:
                piece = os.read(self._terminal, 65_536)
            except OSError:  # the other side is closed
                return
            if not piece:
                return
            self.shown += piece.decode(errors="replace")


def test_a_passphrase_is_asked_twice_and_never_shown(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", "init", "--name", "민지", "--relay", NOBODY)
    terminal.answer("Choose a passphrase: ", "비밀 말\n")
    terminal.answer("Once more: ", "비밀 말\n")
    assert terminal.end() == 0
    assert "비밀" not in terminal.shown
    terminal = Terminal(tmp_path / "home", "--lang", "ko", "chats")
    terminal.answer("암호: ", "비밀 말\n")
    assert terminal.end() == 0
    assert "비밀" not in terminal.shown


def test_two_different_passphrases_make_nothing(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", "init", "--name", "민지", "--relay", NOBODY)
    terminal.answer("Choose a passphrase: ", "one\n")
    terminal.answer("Once more: ", "other\n")
    assert terminal.end() == 2
    assert not (tmp_path / "home").exists()


def test_ctrl_c_at_the_prompt_is_quiet(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", "init", "--name", "민지", "--relay", NOBODY)
    terminal.answer("Choose a passphrase: ", "\x03")
    assert terminal.end() == 130
    assert "Traceback" not in terminal.shown
    assert "Aborted" not in terminal.shown


def test_wipe_asks(tmp_path: Path) -> None:
    minji = Person(tmp_path / "home").join("민지", NOBODY)
    terminal = Terminal(minji.home, "wipe")
    terminal.answer("[y/N]: ", "n\n")
    assert terminal.end() == 2
    assert minji.do("chats").objects == []
    terminal = Terminal(minji.home, "wipe")
    terminal.answer("[y/N]: ", "y\n")
    assert terminal.end() == 0
    assert minji.type("chats").error["error"] == "profile.none"


def test_colours_at_a_terminal_and_none_with_no_color(tmp_path: Path, relay: RelayProcess) -> None:
    minji, jihoon = (Person(tmp_path / name).join(name, relay.url) for name in ("minji", "jihoon"))
    conversation = acquaint(minji, jihoon)
    minji.do("send", conversation, "색깔")
    for more, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        terminal = Terminal(minji.home, "messages", conversation, **more)
        assert terminal.end() == 0
        assert "색깔" in terminal.shown
        assert ("\x1b[" in terminal.shown) is coloured
