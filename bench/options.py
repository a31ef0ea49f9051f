"""What a run is asked for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """`quick` is for looking whether a topic works at all; its figures say nothing."""

    rounds: int = 3
    seconds: float = 3.0
    pairs: int = 100
    window: int = 16
    connections: int = 1_000
    subscribers: int = 1_000
    pending: int = 100_000
    messages: int = 10_000  # to catch up with
    opened: int = 1_000_000  # messages in a profile that is opened
    searched: int = 100_000  # messages in a profile that is searched
    crowd: int = 16  # people in a group
    conversations: int = 200  # of an account to which a device is linked
    linked: int = 100_000  # messages in them
    large: bool = False  # groups of 3,000, and others' that take minutes
    quick: bool = False


QUICK = Options(
    rounds=1,
    seconds=0.3,
    pairs=2,
    window=4,
    connections=10,
    subscribers=5,
    pending=300,
    messages=30,
    opened=500,
    searched=600,
    crowd=3,
    conversations=3,
    linked=300,
    quick=True,
)
