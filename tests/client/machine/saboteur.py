"""What a relay does to one person: faults that outlive the connection, frame by frame."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from tests.simulated_relay import Pipe

from hanatalk.wire import frames
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.frames import PushedEntry

Act = Callable[[Pipe, Any], list[Any]]

UP: tuple[type[frames.Frame], ...] = (
    frames.Append,
    frames.Open,
    frames.Subscribe,
    frames.Ack,
    frames.Take,
    frames.Receipt,
)
DOWN: tuple[type[frames.Frame], ...] = (
    frames.Entries,
    frames.Stored,
    frames.Opened,
    frames.CaughtUp,
    frames.Taken,
    frames.ReceiptSigned,
)


@dataclass
class Fault:
    """`act` happens to `times` frames of one kind, the first `skip` of them excepted."""

    kind: type[frames.Frame]
    act: Act
    skip: int = 0
    times: int = 1


@dataclass
class Saboteur:
    """Between one person and one relay."""

    up: list[Fault] = field(default_factory=list)
    down: list[Fault] = field(default_factory=list)
    withheld: list[Callable[[PushedEntry], bool]] = field(default_factory=list)
    altered: list[Callable[[PushedEntry], PushedEntry]] = field(default_factory=list)
    kept_back: list[tuple[Pipe, int, PushedEntry]] = field(default_factory=list)
    delayed: list[tuple[int, frames.RelayFrame]] = field(default_factory=list)  # frames to pass before, and what waits
    hits: int = 0

    def attach(self, pipe: Pipe) -> None:
        """A connection is up."""
        self.delayed.clear()
        pipe.rewrite(lambda message: self._downwards(pipe, message))
        pipe.rewrite_up(lambda message: self._upwards(pipe, message))

    @property
    def idle(self) -> bool:
        return not (self.up or self.down or self.withheld or self.altered or self.delayed)

    def behave(self) -> None:
        """No more faults; what was kept back stays away, as with a relay that was repaired."""
        for faults in (self.up, self.down, self.withheld, self.altered, self.kept_back, self.delayed):
            faults.clear()

    def release(self) -> None:
        """What was withheld comes after all, out of its time."""
        self.withheld.clear()
        for pipe, handle, entry in self.kept_back:
            if not pipe.dropped:
                pipe.write(frames.Entries(handle, [entry]))
        self.kept_back.clear()

    def delay(self, pipe: Pipe, frame: frames.RelayFrame, frames_later: int) -> list[frames.RelayFrame]:
        """It comes after so many others."""
        self.delayed.append((frames_later, frame))
        return []

    def _upwards(self, pipe: Pipe, message: list[frames.ClientFrame]) -> list[frames.ClientFrame]:
        return self._pass(self.up, pipe, message) if self.up else message

    def _downwards(self, pipe: Pipe, message: list[frames.RelayFrame]) -> list[frames.RelayFrame]:
        if self.idle:
            return message
        message = self._pass(self.down, pipe, [self._entries(pipe, frame) for frame in message])
        if not self.delayed:
            return [frame for frame in message if frame is not None]
        passed = []
        for frame in message:
            if frame is None:
                continue
            passed.append(frame)
            self.delayed = [(left - 1, waiting) for left, waiting in self.delayed]
            passed.extend(waiting for left, waiting in self.delayed if left < 0)
            self.delayed = [pair for pair in self.delayed if pair[0] >= 0]
        return passed

    def _pass(self, faults: list[Fault], pipe: Pipe, message: list[Any]) -> list[Any]:
        passed = []
        for frame in message:
            fault = next((fault for fault in faults if isinstance(frame, fault.kind)), None)
            if fault is None:
                passed.append(frame)
            elif fault.skip:
                fault.skip -= 1
                passed.append(frame)
            else:
                fault.times -= 1
                if fault.times <= 0:
                    faults.remove(fault)
                self.hits += 1
                passed.extend(fault.act(pipe, frame))
        return passed

    def _entries(self, pipe: Pipe, frame: frames.RelayFrame) -> frames.RelayFrame | None:
        if not isinstance(frame, frames.Entries) or not (self.withheld or self.altered):
            return frame
        entries = []
        for entry in frame.entries:
            if any(held(entry) for held in self.withheld):
                self.hits += 1
                self.kept_back.append((pipe, frame.handle, entry))
                continue
            changed = entry
            for alter in self.altered:
                changed = alter(changed)
            self.hits += changed is not entry
            entries.append(changed)
        return frames.Entries(frame.handle, entries) if entries else None


def flipped(index: int, every: int, entry_class: EntryClass) -> Callable[[PushedEntry], PushedEntry]:
    """One bit of every so many entries of a class is another."""

    def flip(entry: PushedEntry) -> PushedEntry:
        if entry.entry_class is not entry_class or entry.seq % every:
            return entry
        changed = bytearray(entry.entry)
        changed[index % len(changed)] ^= 1
        return msgspec.structs.replace(entry, entry=bytes(changed))

    return flip


def withholding(what: int) -> Callable[[PushedEntry], bool]:
    """The next message, all messages, all commits and Welcomes, everything, every third entry."""
    if what == 0:
        first: list[tuple[int, bytes]] = []

        def one(entry: PushedEntry) -> bool:
            if entry.entry_class is EntryClass.MESSAGE and not first:
                first.append((entry.seq, bytes(entry.entry)))
            return bool(first) and first[0] == (entry.seq, bytes(entry.entry))

        return one
    return (
        lambda entry: entry.entry_class is EntryClass.MESSAGE,
        lambda entry: entry.entry_class is EntryClass.CONTROL,
        lambda entry: True,
        lambda entry: entry.seq % 3 == 0,
    )[what - 1]
