"""Synapse with SQLite, in a virtual environment of its own; and the little HTTP that its clients need."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

from bench.machine import CACHE, NotMeasured, Running
from bench.peers import Kept

_CONFIG = """
server_name: localhost
pid_file: {folder}/pid
listeners:
  - port: {port}
    bind_addresses: [127.0.0.1]
    type: http
    resources: [{{names: [client], compress: false}}]
database: {{name: sqlite3, args: {{database: {folder}/home.db}}}}
log_config: {folder}/log.yaml
media_store_path: {folder}/media
signing_key_path: {folder}/signing.key
report_stats: false
enable_registration: true
enable_registration_without_verification: true
trusted_key_servers: []
suppress_key_server_warning: true
rc_message: {{per_second: 100000, burst_count: 100000}}
rc_registration: {{per_second: 100000, burst_count: 100000}}
rc_joins: {{local: {{per_second: 100000, burst_count: 100000}}}}
rc_invites:
  per_user: {{per_second: 100000, burst_count: 100000}}
  per_room: {{per_second: 100000, burst_count: 100000}}
presence: {{enabled: false}}
"""
_LOG = "version: 1\nhandlers: {n: {class: logging.NullHandler}}\nroot: {handlers: [n], level: ERROR}\n"


def environment() -> Path:
    """Its Python."""
    return CACHE / "synapse" / "bin" / "python"


class Synapse(Kept):
    """One process, SQLite."""

    name: ClassVar[str] = "synapse"

    @staticmethod
    def version() -> str:
        if not environment().exists():
            raise NotMeasured("synapse is not installed")
        asked = [str(environment()), "-c", "import importlib.metadata as m; print(m.version('matrix-synapse'))"]
        said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        if not said:
            raise NotMeasured("synapse is not installed")
        return f"Synapse {said}"

    def start(self) -> Running:
        self.version()
        (self.folder / "homeserver.yaml").write_text(_CONFIG.format(folder=self.folder, port=self.port))
        (self.folder / "log.yaml").write_text(_LOG)
        config = self.folder / "homeserver.yaml"
        command = [str(environment()), "-m", "synapse.app.homeserver", "-c", str(config)]
        made = subprocess.run(
            [*command, "--generate-keys"], cwd=self.folder, capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise NotMeasured(f"synapse: {made.stderr[-300:]}")
        return Running(command, folder=self.folder)


def install() -> None:
    """Make the environment. :raises NotMeasured: the package cannot be had"""
    if environment().exists():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    for command in (
        [sys.executable, "-m", "venv", str(CACHE / "synapse")],
        [str(environment()), "-m", "pip", "install", "--quiet", "matrix-synapse==1.163.0"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise NotMeasured(f"synapse: {done.stderr[-300:]}")


class Client:
    """One HTTP/1.1 connection that is kept."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self.token = ""
        self._transaction = 0

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request."""
        if self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        content = b"" if body is None else json.dumps(body).encode()
        token = f"Authorization: Bearer {self.token}\r\n" if self.token else ""
        self._writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{token}Content-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n".encode()
            + content
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        if "transfer-encoding: chunked" in head:
            answer = b""
            while size := int(await self._reader.readline(), 16):
                answer += (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readline()
        else:
            length = next(int(line.split(":")[1]) for line in head.splitlines() if line.startswith("content-length"))
            answer = await self._reader.readexactly(length)
        if " 200" not in head.splitlines()[0]:
            raise NotMeasured(f"synapse: {answer[:200]!r}")
        return json.loads(answer)

    async def register(self, name: str) -> None:
        body = {"username": name, "password": os.urandom(8).hex(), "auth": {"type": "m.login.dummy"}}
        self.token = (await self.ask("POST", "/_matrix/client/v3/register", body))["access_token"]

    async def send(self, room: str, text: str) -> None:
        self._transaction += 1
        await self.ask(
            "PUT",
            f"/_matrix/client/v3/rooms/{room}/send/m.room.message/{self._transaction}",
            {"msgtype": "m.text", "body": text},
        )

    def close(self) -> None:
        if self._reader is not None:
            self._writer.transport.abort()
