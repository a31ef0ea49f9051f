"""The points of a crash grid, and the process that counts its steps and dies, or fails, at one of them."""

import errno
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
from tests.faults.children import ChildFailed, die, in_a_child
from tests.faults.disk import CHANGES, Disk, HalfWritten

from hanatalk import cipherfile

POWER_CUTS = ("power-0", "power-1")  # each loses something else
FAULTS: dict[str, tuple[str, ...]] = {
    "statement": ("kill", "busy", "io"),
    "begin": ("busy",),
    "frame": ("kill", "half", "after"),
    "change": ("kill", *POWER_CUTS),
    "write": ("full", "full-long", "half", "io"),
    "truncate": ("io",),
    "sync": ("io", "full"),
    "delete": ("io",),
    "open": ("io",),
    "read": ("io",),
    "size": ("io",),
    "lock": ("io", "busy"),
    "file": ("kill", "io", "full"),
}
FAMILIES = {  # of kinds, so that the whole grid runs in pieces
    "deaths": ("statement", "begin", "frame", "file"),
    "changes": ("change",),
    "calls": ("write", "truncate", "sync", "delete", "open", "read", "size", "lock"),
}
_ERRORS = {
    "full": apsw.FullError,
    "full-long": apsw.FullError,
    "half": HalfWritten,
    "io": apsw.IOError,
    "busy": apsw.BusyError,
}


@dataclass(frozen=True)
class Point:
    """At the `number`-th step of this kind, this happens. Number 0: nothing does, the steps are counted.

    :param kind: ``statement`` (of SQL), ``begin`` (of a transaction), ``frame`` (a message into a socket), ``change``
        (a call of the disk after which it may hold something else), the name of a disk's call, or ``file`` (a call
        that makes a file durable without SQLite)
    """

    kind: str = ""
    number: int = 0
    fault: str = ""

    @property
    def kills(self) -> bool:
        return self.kind in ("frame", "change") or self.fault == "kill"


NOTHING = Point()


def points(steps: dict[str, int], *, most: int | None = None) -> list[Point]:
    """All of them, or at most `most` of each kind and fault, spread evenly, each fault at other steps."""
    found = []
    for kind, faults in FAULTS.items():
        count = steps.get(kind, 0)
        for which, fault in enumerate(faults):
            if most is None or count <= most:
                chosen = list(range(1, count + 1))
            else:
                chosen = [1 + (n * count // most + (2 * which + 1) * count // (2 * most)) % count for n in range(most)]
            found += [Point(kind, number, fault) for number in chosen]
    return found


def sample(steps: dict[str, int], number: int) -> list[Point]:
    """A few: dying at a statement, at a call of the disk, by a power cut, around a message; a fourth of the failures.

    `number` chooses which.
    """
    one_of_each = points(steps, most=1)
    dying = [point for point in one_of_each if point.kills and point.kind in ("statement", "file")]
    for kind in ("frame", "change"):
        of_kind = [point for point in one_of_each if point.kind == kind]
        dying += [of_kind[number % len(of_kind)], of_kind[(number + 1) % len(of_kind)]][: 1 + (kind == "change")]
    failing = [point for point in one_of_each if not point.kills]
    return dying + failing[number % 4 :: 4]


def whole(steps: dict[str, int], family: str, play: Callable[[Point], object]) -> str:
    """Every step and every fault of a family; says how many and how long. :raises AssertionError: at the end"""
    chosen, began = [point for point in points(steps) if point.kind in FAMILIES[family]], time.monotonic()
    found = failures(chosen, play)
    said = f"{family}: {len(chosen)} points in {time.monotonic() - began:.0f} s, {len(found)} failures"
    assert not found, "\n".join([said, *found])
    return said


def failures(chosen: list[Point], play: Callable[[Point], object]) -> list[str]:
    """Play each point in a child of its own; what went wrong where, the last lines of it."""
    found = []
    for point in chosen:
        try:
            in_a_child(lambda point=point: play(point))  # type: ignore[misc]
        except ChildFailed as error:
            found.append(f"{point}: " + "\n".join(str(error).strip().splitlines()[-12:]))
    return found


class Steps:
    """Counts what this process does, and lets the point happen. Only for a forked child: it patches the program.

    :param folder: of the files; what a power cut leaves of it lies in ``after`` beside it
    :param locked: called where another process is to lock the database
    """

    def __init__(self, point: Point, folder: Path, *, locked: Callable[[], None] = lambda: None) -> None:
        self.point = point
        self.counts: dict[str, int] = {}
        self.full = False  # and stays so, until the person makes room
        self._folder = folder
        self._locked = locked
        self.disk = Disk()
        self.disk.fault = self._on_call
        cipherfile.EncryptedConnection = self._connect  # type: ignore[assignment,misc]

    def is_now(self, kind: str) -> bool:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return self.point.kind == kind and self.point.number == self.counts[kind]

    def frame(self, send: Callable[[bool], None]) -> None:
        """A message goes out: the process may die before, within and after. `send` is told whether to cut it."""
        now = self.is_now("frame")
        if now and self.point.fault == "kill":
            die()
        send(now and self.point.fault == "half")
        if now:
            die()

    def watch_files(self) -> None:
        """What is written without SQLite: each sync, renaming and removal is a step."""
        for name in ("fsync", "replace", "unlink"):
            setattr(os, name, self._watched(getattr(os, name)))

    def _watched(self, call: Callable[..., None]) -> Callable[..., None]:
        def watched(*values: Any, **more: Any) -> None:
            if self.is_now("file"):
                if self.point.fault == "kill":
                    die()
                number = errno.EIO if self.point.fault == "io" else errno.ENOSPC
                raise OSError(number, os.strerror(number))
            call(*values, **more)

        return watched

    def _connect(self, name: str, *, flags: int) -> cipherfile.EncryptedConnection:
        connection = self.disk.connection(name, flags=flags)
        connection.exec_trace = self._on_statement
        return connection

    def _on_statement(self, _cursor: object, text: str, _values: object) -> bool:
        if text.startswith("BEGIN") and self.is_now("begin"):
            self._locked()
        if self.is_now("statement"):
            if self.point.fault == "kill":
                die()
            raise _ERRORS[self.point.fault]("so it shall be")
        return True

    def _on_call(self, call: str, _path: str) -> Exception | None:
        if call in ("write", "truncate") and self.full:
            return apsw.FullError("no room")
        if call in CHANGES and self.is_now("change"):
            if self.point.fault != "kill":
                self._power_cut()
            die()
        if self.is_now(call):
            self.full = self.point.fault == "full-long"
            return _ERRORS[self.point.fault]("so it shall be")
        return None

    def _power_cut(self) -> None:
        after = self._folder.with_name("after")
        shutil.copytree(self._folder, after)
        for path, content in self.disk.after_a_power_cut(random.Random(str(self.point))).items():
            (after / Path(path).name).write_bytes(content)
