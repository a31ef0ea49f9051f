"""Our relay, as operators run it: one process, sqlite FULL and encrypted, or memory."""

import json
import os
import sys
from typing import Any, ClassVar

from bench import lines
from bench.load import Pair
from bench.machine import NotMeasured, Running
from bench.peers import Kept
from hanatalk.wire import frames


class Hanatalk(Kept):
    """`python -m hanatalk.relay`, its default limits."""

    name: ClassVar[str] = "hanatalk"

    def __init__(self, store: str = "sqlite", *, echo: bool = False, **options: Any) -> None:
        self.store = store
        self._echo = echo
        self._options = options
        super().__init__()

    def start(self) -> Running:
        options = {"port": self.port, "store": self.store, **self._options}
        if self.store != "memory":
            (self.folder / "data").mkdir(mode=0o700)
            options["data"] = str(self.folder / "data")
        command = [sys.executable, "-m", "hanatalk.relay", json.dumps(options)]
        return Running(command, folder=self.folder)

    async def pairs(self, count: int) -> list[Pair]:
        return await lines.hanatalk_pairs(self.port, count, echo=self._echo)

    async def idle(self, count: int) -> list[lines.Line]:
        """Connections that said HELLO, opened a channel and subscribed to it."""
        found: list[lines.Line] = []
        for _ in range(count):
            line = await lines.dial(lines.HanatalkLine, self.port)
            if not isinstance(line, lines.HanatalkLine):
                raise NotMeasured("not a WebSocket")
            await line.greet()
            handle = await line.open(os.urandom(32), os.urandom(32), reads=True, writes=True)
            line.say([frames.Subscribe(handle, 0)])
            await line.answer(frames.CaughtUp)
            found.append(line)
        return found
