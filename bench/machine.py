"""What is asked of the machine: cores, CPU seconds, memory, load; and how a server is started and stopped."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = _CORES[0]
DRIVER_CORE = _CORES[-1]  # the same one on a machine with one core: the table says so
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hanatalk" / "bench"


class NotMeasured(Exception):
    """A row that cannot be had here; its text says why."""


def free_port() -> int:
    """A port on loopback that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def load_average() -> float:
    """Of the last minute."""
    return os.getloadavg()[0]


def tree(pid: int) -> list[int]:
    """The process and everything that came of it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry))
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += children.get(one, [])
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system seconds of these processes, ended children included."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS


def own_cpu_seconds() -> float:
    """Of this process, the driver."""
    times = os.times()
    return times.user + times.system


def resident_mib(pids: Iterable[int]) -> float:
    """Proportional set size of these processes: shared pages count once."""
    kib = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kib += int(line.split()[1])
    return kib / 1024


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which `part` of them lie; of none, not a number."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else float("nan")


def _begin(core: int) -> None:
    """In the child, before the server: its core, and to end with us."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    os.sched_setaffinity(0, {core})


class Running:
    """A server process on the servers' core, in a session of its own; stopped by its id."""

    def __init__(
        self, command: Sequence[str | Path], *, folder: Path, env: dict[str, str] | None = None, core: int = SERVER_CORE
    ) -> None:
        if shutil.which(str(command[0])) is None:
            raise NotMeasured(f"{command[0]} is not installed")
        self._log = folder / "output.log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                cwd=folder,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: _begin(core),  # noqa: PLW1509 (here is one thread)
            )

    @property
    def pids(self) -> list[int]:
        return tree(self.process.pid)

    def log(self, lines: int = 6) -> str:
        """The end of what it printed."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def wait_for_port(self, port: int, *, seconds: float = 30.0) -> None:
        """Until it accepts connections. :raises NotMeasured: it ended, or does not in time"""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise NotMeasured(f"ended with {self.process.returncode}: {self.log()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.05)
        raise NotMeasured(f"does not listen: {self.log()}")

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to what is left of its session."""
        pids = self.pids
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(8)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                if pid == self.process.pid or os.getpgid(pid) == self.process.pid:
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(5)
