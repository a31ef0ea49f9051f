"""ejabberd, one scheduler, online only or with an archive in SQLite."""

import contextlib
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import ClassVar

from bench import lines
from bench.load import Pair
from bench.machine import NotMeasured, Running
from bench.peers import Kept

_CONFIG = """
loglevel: error
hosts: [localhost]
certfiles: []
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    starttls: false
    access: c2s
acl: {{loopback: {{ip: [127.0.0.0/8]}}}}
access_rules: {{c2s: {{allow: all}}, register: {{allow: all}}}}
auth_method: [internal]
auth_password_format: plain
registration_timeout: infinity
default_db: mnesia
{sql}
modules:
  mod_register: {{ip_access: all, access: register}}
  mod_roster: {{}}
  {archive}
"""
_SQL = """
sql_type: sqlite
sql_database: "{database}"
sql_pool_size: 1
"""


def _libraries() -> list[Path]:
    return sorted(Path("/usr/lib").glob("*/ejabberd-*/ebin")) + sorted(Path("/usr/lib/ejabberd").glob("ebin"))


class Ejabberd(Kept):
    """Debian's package, run by hand from a temporary folder."""

    name: ClassVar[str] = "ejabberd"

    def __init__(self, *, archive: bool = False) -> None:
        self._archive = archive
        super().__init__()

    @staticmethod
    def version() -> str:
        if not _libraries():
            raise NotMeasured("ejabberd is not installed")
        found = re.search(r"ejabberd-([\d.]+)", str(_libraries()[0]))
        return f"ejabberd {found[1] if found else '?'}"

    def start(self) -> Running:
        self.version()
        database = self.folder / "archive.db"
        if self._archive:
            schema = next(
                (path for path in (*Path("/usr/lib").glob("*/ejabberd-*/priv/sql/lite.sql"),) if path.exists()),
                Path("/usr/share/ejabberd/sql/lite.sql"),
            )
            with contextlib.closing(sqlite3.connect(database)) as connection:
                connection.executescript(schema.read_text())
        (self.folder / "ejabberd.yml").write_text(
            _CONFIG.format(
                port=self.port,
                sql=_SQL.format(database=database) if self._archive else "",
                archive="mod_mam: {db_type: sql, default: always}" if self._archive else "",
            )
        )
        (self.folder / "inetrc").write_text('{lookup,["file","native"]}.\n')
        erl = shutil.which("erl")
        if erl is None:
            raise NotMeasured("erl is not installed")
        command = [
            erl, "-noinput", "+K", "true", "+P", "250000", "+S", "1:1", "+SDio", "1",
            "-pa", *map(str, _libraries()),
            "-mnesia", "dir", f'"{self.folder}/mnesia"',
            "-kernel", "inetrc", f'"{self.folder}/inetrc"',
            "-s", "ejabberd",
        ]  # fmt: skip
        env = {
            "EJABBERD_CONFIG_PATH": str(self.folder / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(self.folder / "ejabberd.log"),
            "ERL_CRASH_DUMP": str(self.folder / "crash"),
            "HOME": str(self.folder),
        }
        return Running(command, folder=self.folder, env=env)

    async def pairs(self, count: int) -> list[Pair]:
        return await lines.xmpp_pairs(self.port, count, register=True)

    async def idle(self, count: int, *, first: int = 0) -> list[lines.Line]:
        return await lines.xmpp_idle(self.port, count, register=True, first=first)


def installed() -> bool:
    """Whether the package is there."""
    return bool(_libraries()) and subprocess.run(["which", "erl"], capture_output=True, check=False).returncode == 0
