"""Real `hana` commands in processes of their own: people with profiles, and a relay that can be killed."""

import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hanatalk.cli import main
from hanatalk.transport.urls import parse_relay_url

PATIENCE = 60  # seconds before a command counts as hanging


def environment(**more: str) -> dict[str, str]:
    """No locale, no keyring, no profile of whoever runs the tests."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "VIRTUAL_ENV") if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8", "HOME": "/nonexistent", "PYTHONWARNINGS": "error", **more}


@dataclass(frozen=True)
class Ended:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """One object per line of stdout."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def object(self) -> dict[str, Any]:
        """The only object of stdout."""
        (only,) = self.objects
        return only

    @property
    def error(self) -> dict[str, Any]:
        """The only object of stderr."""
        (line,) = self.err.splitlines()
        found: dict[str, Any] = json.loads(line)
        return found


@dataclass(frozen=True)
class Person:
    """Somebody with a profile folder who types commands."""

    home: Path
    options: tuple[str, ...] = ("--json",)
    variables: tuple[tuple[str, str], ...] = ()  # of the environment, besides the usual ones

    def type(self, *arguments: str, stdin: str | bytes | None = None) -> Ended:
        """Run one command to its end, however it ends."""
        given = stdin.encode() if isinstance(stdin, str) else stdin
        ended = subprocess.run(
            self.command(*arguments),
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            env=environment(HANA_HOME=str(self.home), **dict(self.variables)),
            timeout=PATIENCE,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    def do(self, *arguments: str, stdin: str | bytes | None = None) -> Ended:
        """Run one command that must succeed and have nothing to say beside its result."""
        return self._well(self.type(*arguments, stdin=stdin), arguments)

    def do_here(self, *arguments: str) -> Ended:
        """`do` in this process, for what a test only builds on."""
        return self._well(self.type_here(*arguments), arguments)

    def _well(self, ended: Ended, arguments: tuple[str, ...]) -> Ended:
        assert ended.code == 0, (arguments, ended)
        if "--json" in self.options:
            assert ended.err == "", (arguments, ended)
        return ended

    def prose(self, language: str) -> "Person":
        """The same person, reading sentences instead of JSON."""
        return replace(self, options=("--lang", language))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "hanatalk.cli", *self.options, *arguments]

    def join(self, name: str, relay: str, *more: str) -> "Person":
        """`init` without a passphrase."""
        self.do_here("init", "--name", name, "--relay", relay, "--no-passphrase", *more)
        return self

    def type_here(self, *arguments: str) -> Ended:
        """Run one command in this process: quicker, and as good where only the wording is looked at."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["--home", str(self.home), *self.options, *arguments])
        printed = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
        return Ended(code, *printed)

    def texts(self, conversation: str, limit: int = 50) -> list[str]:
        """The last texts of a conversation, oldest first."""
        return [message["text"] for message in self.do_here("messages", conversation, "--limit", str(limit)).objects]

    @contextmanager
    def listening(self) -> Iterator["Listening"]:
        """`listen` in the background; it has begun when this is entered."""
        with subprocess.Popen(
            self.command("listen"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(HANA_HOME=str(self.home)),
        ) as process:
            listening = Listening(process)
            try:
                listening.until("connection")
                yield listening
            finally:
                listening.interrupt()


@dataclass
class Listening:
    """A running `hana listen`."""

    process: "subprocess.Popen[bytes]"
    seen: list[dict[str, Any]] = field(default_factory=list)
    last_words: bytes = b""  # what it said on stderr, once it ended

    def until(self, event: str, **fields: object) -> dict[str, Any]:
        """Read on until an event of this kind with these fields comes."""
        assert self.process.stdout is not None
        hanging = threading.Timer(PATIENCE, self.process.kill)  # then what it said is shown, instead of nothing at all
        hanging.start()
        try:
            for line in self.process.stdout:
                found: dict[str, Any] = json.loads(line)
                self.seen.append(found)
                if found["event"] == event and all(found.get(name) == value for name, value in fields.items()):
                    return found
        finally:
            hanging.cancel()
        self.interrupt()
        raise AssertionError(f"ended without {event}: {self.seen} {self.last_words!r}")

    def interrupt(self) -> None:
        """Ctrl-C, as a person ends it."""
        if self.process.returncode is None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
            _, self.last_words = self.process.communicate(timeout=PATIENCE)


class RelayProcess:
    """`hana relay serve` on a data folder; after a kill, `start` brings it back on the same port."""

    def __init__(self, data: Path, store: str = "sqlite", *more: str) -> None:
        self.data = data
        self.store = store
        self.more = more  # further options
        self.run: tuple[str, ...] = ("-m", "hanatalk.cli")  # what Python is told to run
        self.log = data.with_suffix(".log")
        self.port = 0
        self.url = ""
        self.admin = ""  # URL of the admin port
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> "RelayProcess":
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    *self.run,
                    "relay",
                    "serve",
                    *("--port", str(self.port)),
                    *("--data", str(self.data)),
                    *("--store", self.store),
                    *self.more,
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment(),
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.log.read_text()
        begun = json.loads(line)
        self.url = begun["listening"]
        self.admin = begun.get("admin", "")
        self.port = parse_relay_url(self.url).port
        return self

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def bound_files(self, size: int) -> None:
        """The running relay can write no file beyond so many bytes, as if its disk were full there."""
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> tuple[int, str]:
        """SIGTERM. Returns the exit code and what it printed after the first line."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> tuple[int, str]:
        process = self._process
        if process is None:
            return 0, ""
        self._process = None
        process.send_signal(number)
        rest, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, rest


@contextmanager
def running_relay(data: Path, *more: str) -> Iterator[RelayProcess]:
    """A relay that is gone afterwards. `more`: further options."""
    relay = RelayProcess(data, "sqlite", *more).start()
    try:
        yield relay
    finally:
        relay.kill()
