"""The servers that are measured: each in a temporary folder, on a free loopback port, on the servers' core."""

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import ClassVar, Protocol

from bench.load import Pair
from bench.machine import Running, free_port


class Server(Protocol):
    """What a topic needs of any of them."""

    name: ClassVar[str]

    @property
    def pids(self) -> list[int]: ...

    async def pairs(self, count: int) -> list[Pair]: ...

    def stop(self) -> None: ...


class Kept:
    """A process with a folder of its own; both are gone after `stop`."""

    name: ClassVar[str] = ""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hanatalk-bench-"))
        self.folder.chmod(0o755)
        self.port = free_port()
        try:
            self.running = self.start()
            self.running.wait_for_port(self.port)
        except BaseException:
            self.stop()
            raise

    def start(self) -> Running:
        raise NotImplementedError

    @property
    def pids(self) -> list[int]:
        return self.running.pids

    def stop(self) -> None:
        if hasattr(self, "running"):
            self.running.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


Start = Callable[[], Server]
Pairs = Callable[[int], Awaitable[list[Pair]]]
