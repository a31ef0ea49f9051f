"""Frames waiting to be written, cut into messages that keep HT-R-010."""

from hanatalk.wire import frames
from hanatalk.wire.frames import FRAME_OVERHEAD, MESSAGE_FRAMES, MESSAGE_SIZE, Frame

_ARRAY_HEADER = 5  # bytes, the largest a MessagePack array starts with


class Outgoing:
    """A queue of frames; `size` is an upper bound of their encoded bytes."""

    __slots__ = ("frames", "size")

    def __init__(self) -> None:
        self.frames: list[Frame] = []  # to be looked at only
        self.size = 0

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def only(self) -> Frame | None:
        """The frame that waits, if it is the only one."""
        return self.frames[0] if len(self.frames) == 1 else None

    def add(self, frame: Frame, size: int) -> None:
        """Queue a frame that encodes to at most `size` bytes, itself at most `frame_size`."""
        self.frames.append(frame)
        self.size += size

    def clear(self) -> None:
        """Forget what waits."""
        self.frames = []
        self.size = 0

    def drain(self, limit: int = MESSAGE_SIZE) -> list[bytes]:
        """Everything that waits as messages of at most `limit` bytes and `MESSAGE_FRAMES` frames."""
        waiting = self.frames
        if not waiting:
            return []
        size, self.size, self.frames = self.size, 0, []
        if size + _ARRAY_HEADER <= limit and len(waiting) <= MESSAGE_FRAMES:
            return [frames.encode(waiting)]
        return [frames.encode(group) for group in _groups(waiting, limit - _ARRAY_HEADER)]


def _groups(waiting: list[Frame], limit: int) -> list[list[Frame]]:
    groups: list[list[Frame]] = []
    group: list[Frame] = []
    size = 0
    for frame in waiting:
        bound = frame_size(frame)
        if group and (size + bound > limit or len(group) == MESSAGE_FRAMES):
            groups.append(group)
            group, size = [], 0
        group.append(frame)
        size += bound
    groups.append(group)
    return groups


def frame_size(frame: Frame) -> int:
    """An upper bound of a frame's encoded size, without encoding it."""
    if isinstance(frame, frames.SharedEntries):
        return FRAME_OVERHEAD + len(memoryview(frame.entries))
    if isinstance(frame, frames.Append | frames.Taken):
        return FRAME_OVERHEAD + (len(frame.entry) if frame.entry is not None else 0)
    if isinstance(frame, frames.Limits):
        return FRAME_OVERHEAD + 4 * len(frame.policy)
    if isinstance(frame, frames.Stored | frames.Pong | frames.Ack):
        return 64
    return FRAME_OVERHEAD
