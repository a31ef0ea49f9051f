"""Forked children for tests that kill: each does one thing from where the parent stands, and nothing of it comes back.

A child never returns into pytest. What it found comes through a pipe; if it was killed, what it had written by then.
"""

import os
import pickle
import signal
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 60  # seconds a child may live
_RAM = Path("/dev/shm")


@contextmanager
def fast_folder() -> Iterator[Path]:
    """A folder whose syncs take no time, if there is one: what a power cut leaves, `tests.faults.disk` works out."""
    with tempfile.TemporaryDirectory(dir=_RAM if os.access(_RAM, os.W_OK) else None) as name:
        yield Path(name)


class ChildFailed(AssertionError):
    """What a child raised, as text."""


def fork(act: Callable[[], None]) -> int:
    """Run `act` in a child; returns its pid. It ends with 0, or 1 and a traceback on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # a worker of xdist has threads; the child uses none of them
        child = os.fork()
    if child:
        return child
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        act()
    except BaseException:  # noqa: BLE001 (it must not return into pytest)
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ended_by(child: int) -> int:
    """Wait for a child; the signal that ended it, 0 for none. :raises ChildFailed: it raised"""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    if os.WEXITSTATUS(status):
        raise ChildFailed("see its traceback on stderr")
    return 0


def in_a_child(find: Callable[[], Any]) -> Any:
    """What `find` returns, found in a child. :raises ChildFailed: with its traceback"""
    reading, writing = os.pipe()

    def act() -> None:
        os.close(reading)
        try:
            answer = (True, find())
        except BaseException:  # noqa: BLE001 (told to the parent)
            answer = (False, traceback.format_exc())
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(answer, pipe)

    child = fork(act)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        written = pipe.read()
    ended = ended_by(child)
    if ended or not written:
        raise ChildFailed(f"a child was ended by signal {ended}")
    fine, answer = pickle.loads(written)
    if not fine:
        raise ChildFailed(answer)
    return answer


def die() -> None:
    """What `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)
