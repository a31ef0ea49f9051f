"""A real relay in a process of its own, which can be killed and brought back on its port and data folder."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from hanatalk.errors import NetworkError

START_WAIT = 15.0  # seconds until the first line
STOP_WAIT = 10.0  # seconds for a drain


class RelayProcess:
    """`hana relay serve --port … --data …`, and `more` options."""

    def __init__(self, data: Path, *, log: Path, more: Sequence[str] = ()) -> None:
        self.data = data
        self.log = log
        self._more = more
        self.url = ""
        self.port = 0
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start, or start again where it was. :raises NetworkError: ``relay.not-started``"""
        arguments = ["relay", "serve", "--host", "127.0.0.1", "--port", str(self.port), "--data", str(self.data)]
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "hanatalk.cli"),
                *arguments,
                *self._more,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops its relay in order
                env={**os.environ, "HANA_HOME": str(self.data)},
            )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(START_WAIT):
                line = await self._process.stdout.readline()
            self.url = str(json.loads(line)["listening"])
        except (TimeoutError, ValueError, KeyError):
            raise NetworkError("relay.not-started") from None
        self.port = int(self.url.rpartition(":")[2])

    async def kill(self) -> None:
        """SIGKILL: no last words, no flush."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM, and wait for the drain. Returns the exit code, 0 also if it was not running."""
        return await self._end(signal.SIGTERM)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def _end(self, number: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(number)
            try:
                async with asyncio.timeout(STOP_WAIT):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        self._process = None
        return process.returncode or 0
