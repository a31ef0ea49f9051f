"""The points of a crash grid, and the process that counts its steps and dies, or fails, at one of them."""

import errno
import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import apsw
from tests.faults.children import ChildFailed, die, in_a_child
from tests.faults.disk import CHANGES, Disk, HalfWritten

from hanatalk import cipherfile
from hanatalk.stores import landing

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
_OF_THE_DISK = {*FAMILIES["changes"], *FAMILIES["calls"]}
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


class Place(NamedTuple):
    """Where a step was, in the run without a fault."""

    call: str  # the statement's text or the disk's call
    lines: int  # of the program that led there
    statement: int  # how many statements had begun
    changes: int  # how many calls had changed the files
    said: int  # how many messages had gone to others or come from them


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


def telling(chosen: list[Point], places: dict[str, list[Place]]) -> list[Point]:
    """Of these points those that can tell something new; each of the others repeats one of them.

    - A death leaves the files, and what was said to others: one for each state of the two.
    - A statement that fails: one for the same statement, lines, files and things said; busy and broken by turns, as
      nothing here asks which it was.
    - Calls of the disk within one statement: the first two, the middle one and the last two. Those between them differ
      in how much lies in the log behind the last whole transaction, which SQLite ignores.
    """
    taken: set[object] = set()
    numbers: dict[object, int] = {}
    found = []
    for point in chosen:
        place = places[point.kind][point.number - 1]
        key: object = point
        if point.kind in _OF_THE_DISK:
            if not _at_an_end(places[point.kind], point.number - 1):
                continue
            if point.kind == "change" and point.fault == "kill":
                key = (place.changes, place.said)
        elif point.kind == "frame":
            key = (place.changes, place.said + (point.fault == "after"))
        elif point.fault == "kill" and point.kind == "statement":
            key = (place.changes, place.said)
        elif point.kind == "statement":
            key = (place.call, place.lines, place.changes, place.said)
            if (numbers.setdefault(key, len(numbers)) % 2 == 0) is not (point.fault == "busy"):
                continue
        if key not in taken:
            taken.add(key)
            found.append(point)
    return found


def _at_an_end(places: list[Place], index: int) -> bool:
    same = [at for at, place in enumerate(places) if place.statement == places[index].statement]
    return index in {*same[:2], same[len(same) // 2], *same[-2:]}


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


def whole(
    steps: dict[str, int],
    family: str,
    play: Callable[[Point], object],
    *,
    places: dict[str, list[Place]] | None = None,
) -> str:
    """Every step and every fault of a family; says how many and how long. :raises AssertionError: at the end

    :param places: of the steps, so that only what is telling is played (HANA_GRID=every: all the same)
    """
    chosen, began = [point for point in points(steps) if point.kind in FAMILIES[family]], time.monotonic()
    count = len(chosen)
    if places is not None and os.environ.get("HANA_GRID") != "every":
        chosen = telling(chosen, places)
    found = failures(chosen, play)
    said = f"{family}: {len(chosen)} of {count} points in {time.monotonic() - began:.0f} s, {len(found)} failures"
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


def _lines() -> int:
    """The lines of the program that led here."""
    frame, lines = sys._getframe(3), []
    while frame is not None:
        lines.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back  # type: ignore[assignment]
    return hash(tuple(lines))


class Steps:
    """Counts what this process does, and lets the point happen. Only for a forked child: it patches the program.

    :param folder: of the files; what a power cut leaves of it lies in ``after`` beside it
    :param locked: called where another process is to lock the database
    :param said: how many messages have gone to others or come from them
    """

    def __init__(
        self,
        point: Point,
        folder: Path,
        *,
        locked: Callable[[], None] = lambda: None,
        said: Callable[[], int] = lambda: 0,
    ) -> None:
        self.point = point
        self.counts: dict[str, int] = {}
        self.places: dict[str, list[Place]] = {}  # of the steps, in the run without a fault
        self._said = said
        self.full = False  # and stays so, until the person makes room
        self._folder = folder
        self._locked = locked
        self.disk = Disk()
        self.disk.fault = self._on_call
        cipherfile.EncryptedConnection = self._connect  # type: ignore[assignment,misc]
        landing.PlainFile = self.disk.plain  # type: ignore[assignment,misc]

    def is_now(self, kind: str, call: str = "") -> bool:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.point == NOTHING:
            changes = self.counts.get("change", 0) - (kind == "change")
            place = Place(call, _lines(), self.counts.get("statement", 0), changes, self._said())
            self.places.setdefault(kind, []).append(place)
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
        if self.is_now("statement", text):
            if self.point.fault == "kill":
                die()
            raise _ERRORS[self.point.fault]("so it shall be")
        return True

    def _on_call(self, call: str, _path: str) -> Exception | None:
        if call in ("write", "truncate") and self.full:
            return apsw.FullError("no room")
        if call in CHANGES and self.is_now("change", call):
            if self.point.fault != "kill":
                self._power_cut()
            die()
        if self.is_now(call, call):
            self.full = self.point.fault == "full-long"
            return _ERRORS[self.point.fault]("so it shall be")
        return None

    def _power_cut(self) -> None:
        after = self._folder.with_name("after")
        shutil.copytree(self._folder, after)
        for path, content in self.disk.after_a_power_cut(random.Random(str(self.point))).items():
            (after / Path(path).name).write_bytes(content)
