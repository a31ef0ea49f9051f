"""Relays for tests: on this event loop, or as a process of their own."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from hanatalk.relay.options import Listening, RelayOptions
from hanatalk.relay.serve import serve


@contextlib.asynccontextmanager
async def running_relay(*, began: Callable[[Listening], None] = lambda _: None, **options: Any) -> AsyncIterator[str]:
    """A relay on this loop; yields its URL. In memory unless `store` says otherwise."""
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    chosen = RelayOptions(**{"store": "memory", "port": 0, **options})

    def listens(listening_at: Listening) -> None:
        began(listening_at)
        listening.set_result(listening_at.url)

    task = asyncio.create_task(serve(chosen, listens))
    task.add_done_callback(lambda _: listening.done() or listening.cancel())
    try:
        await listening
    except asyncio.CancelledError:
        await task  # raises what kept the relay from listening
    try:
        yield listening.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


# Everything that logging, asyncio and the interpreter can be made to say.
_DEBUGGING = """
import logging, runpy
logging.basicConfig(level=1)
runpy.run_module("hanatalk.relay", run_name="__main__", alter_sys=False)
"""


class RelayProcess:
    """`python -m hanatalk.relay` with these options."""

    def __init__(self, *, debug: bool = False, **options: Any) -> None:
        self.options = {"port": 0, **options}
        self._run = ["-X", "dev", "-c", _DEBUGGING] if debug else ["-m", "hanatalk.relay"]
        self._start()

    def _start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
        self.process = subprocess.Popen(
            [sys.executable, *self._run, msgspec.json.encode(self.options).decode()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        self.url, _, self.admin = self.process.stdout.readline().strip().partition(" ")

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.log = self._finish()

    def restart(self) -> None:
        """After `kill` or `terminate`: again with the same options."""
        self._start()

    def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.terminate()
        self.log = self._finish()
        return self.process.returncode

    def _finish(self) -> str:
        _, log = self.process.communicate(timeout=20)
        return log


@contextlib.contextmanager
def relay_process(**options: Any) -> Iterator[RelayProcess]:
    """A relay process, gone at the end."""
    relay = RelayProcess(**options)
    try:
        yield relay
    finally:
        if relay.process.poll() is None:
            relay.kill()
