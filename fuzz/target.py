"""What a target is: one way in for bytes that somebody else chose, and everything that may come of them."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

Attack = Callable[[bytes], None]
"""Takes one input; raises `Broken` if what must hold afterwards does not."""

Mutator = Callable[[bytes, int, int], bytes]
"""(input, longest result in bytes, seed) -> another input."""


class Broken(AssertionError):
    """The input did no typed harm, but something that must hold does not."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One parser, or several that stand behind one another.

    :param parsers: dotted names of the functions and classes under attack (tests/fuzz checks that each exists, and that
        no parser of the source has no target).
    :param allowed: the exceptions that an input may cause; everything else is a finding.
    :param ready: sets up once per process and returns the attack.
    :param seeds: inputs made from what the real thing writes; `python -m fuzz --seed` puts them into the corpus.
    :param longest: bytes of an input.
    :param short: inputs tried by the short run of `make test`.
    """

    name: str
    parsers: tuple[str, ...]
    allowed: tuple[type[Exception], ...]
    ready: Callable[[], Attack]
    seeds: Callable[[], Iterable[bytes]]
    mutate: Mutator | None = None
    longest: int = 4096
    short: int = 1500

    def guarded(self) -> Attack:
        """The attack, with what is allowed swallowed."""
        attack, allowed = self.ready(), self.allowed

        def attempt(given: bytes) -> None:
            with contextlib.suppress(*allowed):
                attack(given)

        return attempt


def hold(condition: object, what: str) -> None:
    """:raises Broken: `what`"""
    if not condition:
        raise Broken(what)
