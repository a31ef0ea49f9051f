"""Prosody, online only or with an archive in SQLite."""

import re
import subprocess
from typing import ClassVar

from bench import lines
from bench.load import Pair
from bench.machine import NotMeasured, Running
from bench.peers import Kept

_CONFIG = """
run_as_root = true
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
daemonize = false
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
s2s_ports = {{}}
c2s_direct_tls_ports = {{}}
modules_enabled = {{ "saslauth", "roster", "disco"{archive} }}
modules_disabled = {{ "s2s", "tls", "offline", "posix" }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
c2s_timeout = 300
log = {{ error = "{folder}/prosody.log" }}
{storage}
VirtualHost "localhost"
"""
_STORAGE = """
storage = {{ archive = "sql" }}
sql = {{ driver = "SQLite3", database = "{folder}/archive.db" }}
default_archive_policy = true
"""


class Prosody(Kept):
    """Debian's package, run by hand from a temporary folder."""

    name: ClassVar[str] = "prosody"
    accounts: ClassVar[int] = 2_000

    def __init__(self, *, archive: bool = False) -> None:
        self._archive = archive
        super().__init__()

    @staticmethod
    def version() -> str:
        try:
            said = subprocess.run(
                ["prosodyctl", "about"], capture_output=True, text=True, timeout=20, check=False
            ).stdout
        except (OSError, subprocess.TimeoutExpired):
            raise NotMeasured("prosody is not installed") from None
        found = re.search(r"Prosody ([\d.]+)", said)
        return f"Prosody {found[1] if found else '?'}"

    def start(self) -> Running:
        accounts = self.folder / "data" / "localhost" / "accounts"
        accounts.mkdir(parents=True)
        for number in range(self.accounts // 2):
            for name in (f"a{number}", f"b{number}"):
                (accounts / f"{name}.dat").write_text(f'return {{\n\t["password"] = "{name}";\n}};\n')
        config = self.folder / "prosody.cfg.lua"
        storage = _STORAGE.format(folder=self.folder) if self._archive else ""
        archive = ', "mam"' if self._archive else ""
        config.write_text(_CONFIG.format(folder=self.folder, port=self.port, storage=storage, archive=archive))
        return Running(["prosody", "--config", config, "-F"], folder=self.folder)

    async def pairs(self, count: int) -> list[Pair]:
        return await lines.xmpp_pairs(self.port, count, register=False)

    async def idle(self, count: int, *, first: int = 0) -> list[lines.Line]:
        return await lines.xmpp_idle(self.port, count, register=False, first=first)
