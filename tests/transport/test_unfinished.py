"""The sum of what unfinished messages cost (HT-R-137)."""

from hanatalk.transport.unfinished import SMALL, Unfinished


class Holding:
    """One connection."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.pages = 0
        self._name = name
        self._log = log

    def give_back(self) -> None:
        self._log.append(f"{self._name} gave back")

    def drop(self) -> None:
        self._log.append(f"{self._name} dropped")


def test_first_what_is_not_needed_then_who_has_been_longest() -> None:
    """HT-R-137, T-076"""
    log: list[str] = []
    a, b, c, d = (Holding(name, log) for name in "abcd")
    unfinished = Unfinished(10 * SMALL)
    unfinished.weigh(a, 4 * SMALL, 0)  # whole, but its buffer stays
    unfinished.weigh(b, 2 * SMALL, 2 * SMALL)
    unfinished.weigh(c, 2 * SMALL, 2 * SMALL)
    unfinished.weigh(b, 4 * SMALL, 4 * SMALL)  # goes on; b still was the first
    assert (unfinished.bytes, log) == (10 * SMALL, [])
    unfinished.weigh(d, 2 * SMALL, 2 * SMALL)
    assert (unfinished.bytes, log) == (8 * SMALL, ["a gave back"])
    unfinished.weigh(d, 5 * SMALL, 5 * SMALL)
    assert (unfinished.bytes, log[1:], unfinished.dropped) == (7 * SMALL, ["b dropped"], 1)
    unfinished.leave(b)
    unfinished.leave(b)
    unfinished.weigh(c, 2 * SMALL, 0)
    unfinished.give_back()
    assert (unfinished.bytes, log[2:]) == (5 * SMALL, ["c gave back"])
    unfinished.leave(d)
    assert unfinished.bytes == 0
    assert (unfinished._growing, unfinished._left) == ({}, {})
