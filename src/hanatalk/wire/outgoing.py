"""Frames waiting to be written, cut into messages that keep HT-R-010."""

from hanatalk.wire import frames
from hanatalk.wire.frames import FRAME_OVERHEAD, MESSAGE_FRAMES, MESSAGE_SIZE, Frame

_ARRAY_HEADER = 5  # bytes, the largest a MessagePack array starts with


class Outgoing:
    """A queue of frames; `size` is an upper bound of their encoded bytes."""

    __slots__ = ("_frames", "_sizes", "size")

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._sizes: list[int] = []
        self.size = 0

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: Frame, size: int) -> None:
        """Queue a frame that encodes to at most `size` bytes."""
        self._frames.append(frame)
        self._sizes.append(size)
        self.size += size

    def clear(self) -> None:
        """Forget what waits."""
        self._frames.clear()
        self._sizes.clear()
        self.size = 0

    def drain(self, limit: int = MESSAGE_SIZE) -> list[bytes]:
        """Everything that waits as messages of at most `limit` bytes and `MESSAGE_FRAMES` frames."""
        waiting = self._frames
        if not waiting:
            return []
        if self.size + _ARRAY_HEADER <= limit and len(waiting) <= MESSAGE_FRAMES:
            messages = [frames.encode(waiting)]
        else:
            messages = [frames.encode(group) for group in self._groups(limit - _ARRAY_HEADER)]
        self.clear()
        return messages

    def _groups(self, limit: int) -> list[list[Frame]]:
        groups: list[list[Frame]] = []
        group: list[Frame] = []
        size = 0
        for frame, frame_size in zip(self._frames, self._sizes, strict=True):
            if group and (size + frame_size > limit or len(group) == MESSAGE_FRAMES):
                groups.append(group)
                group, size = [], 0
            group.append(frame)
            size += frame_size
        groups.append(group)
        return groups


def frame_size(frame: Frame) -> int:
    """An upper bound of a frame's encoded size, without encoding it."""
    entry = getattr(frame, "entry", None)
    policy = getattr(frame, "policy", "")
    return FRAME_OVERHEAD + (len(entry) if entry is not None else 0) + 4 * len(policy)
