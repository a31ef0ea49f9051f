"""Installs the peers: Debian packages as root, Synapse into a virtual environment; their own services never run."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.machine import NotMeasured
from bench.peers import mls, synapse
from bench.peers.ejabberd import Ejabberd
from bench.peers.mosquitto import Mosquitto
from bench.peers.prosody import Prosody

PACKAGES = ("prosody", "lua-dbi-sqlite3", "ejabberd", "mosquitto")
NEEDED = {"chat": PACKAGES, "single": ("ejabberd", "mosquitto"), "idle": ("prosody", "ejabberd")}
_POLICY = Path("/usr/sbin/policy-rc.d")  # asked before any service is started
_MANUAL = "DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends"


def prepare(topics: Sequence[str], *, install: bool) -> Iterator[str]:
    """Install what the topics need; yields what there is, line by line."""
    wanted = sorted({package for topic in topics for package in NEEDED.get(topic, ())})
    missing = [package for package in wanted if not _installed(package)]
    if missing and install:
        yield _install(missing)
    if "synapse" in topics and install:
        try:
            synapse.install()
        except (NotMeasured, OSError, subprocess.TimeoutExpired) as error:
            yield f"synapse cannot be installed: {error}"
    if "groups" in topics and install:
        try:
            mls.install()
        except (NotMeasured, OSError, subprocess.SubprocessError) as error:
            yield f"other implementations of MLS cannot be installed: {error}"
    versions: list[tuple[bool, Callable[[], str]]] = [
        ("ejabberd" in wanted, Ejabberd.version),
        ("prosody" in wanted, Prosody.version),
        ("mosquitto" in wanted, Mosquitto.version),
        ("synapse" in topics, synapse.Synapse.version),
    ]
    for asked, version in versions:
        if asked:
            try:
                yield f"peer: {version()}"
            except NotMeasured as error:
                yield f"peer missing: {error}"


def _installed(package: str) -> bool:
    asked = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout == "installed"
    except OSError:
        return False


def _install(missing: list[str]) -> str:
    command = f"{_MANUAL} {' '.join(missing)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return f"missing: {', '.join(missing)}. As root: {command}"
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")  # no service is started by an installation
        _POLICY.chmod(0o755)
    try:
        done = subprocess.run(
            ["apt-get", "install", "-y", "--no-install-recommends", *missing],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"cannot be installed: {', '.join(missing)} ({error}). By hand: {command}"
    finally:
        if ours:
            _POLICY.unlink()
    if done.returncode:
        return f"cannot be installed: {', '.join(missing)} ({done.stderr.strip()[-200:]}). By hand: {command}"
    return f"installed: {', '.join(missing)}"
