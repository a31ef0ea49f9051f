"""Whole messages over a socketpair between a test's process and one that is to die."""

import socket
import struct
from contextlib import suppress
from typing import Any

import msgspec


class Talk:
    """One end. A message cut short by a death is no message."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self.count = 0  # of messages, both ways

    def send(self, value: Any, *, cut: bool = False) -> None:
        """:param cut: only the first half goes out"""
        self.count += 1
        encoded = msgspec.msgpack.encode(value)
        framed = struct.pack(">I", len(encoded)) + encoded
        self._end.sendall(framed[: len(framed) // 2] if cut else framed)

    def receive(self) -> Any:
        """None once the other side is gone."""
        head = self._exactly(4)
        encoded = self._exactly(struct.unpack(">I", head)[0]) if head else None
        self.count += 1
        return msgspec.msgpack.decode(encoded) if encoded is not None else None

    def close(self) -> None:
        self._end.close()

    def _exactly(self, count: int) -> bytes | None:
        got = b""
        while len(got) < count:
            with suppress(ConnectionResetError):
                part = self._end.recv(count - len(got))
                if part:
                    got += part
                    continue
            return None
        return got
