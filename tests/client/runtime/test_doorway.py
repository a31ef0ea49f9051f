"""Lines between an owner and a command of another version, or of somebody who writes into the socket by hand."""

import asyncio
import socket

import msgspec
import pytest

from hanatalk.client import calls
from hanatalk.client.runtime import doorway
from hanatalk.errors import HanaError, ProfileError, UsageError


async def _ask(line: bytes) -> calls.Result:
    reader = asyncio.StreamReader()
    reader.feed_data(line + b"\n")
    reader.feed_eof()
    ours, theirs = socket.socketpair()
    with theirs:
        _, writer = await asyncio.open_connection(sock=ours)
        try:
            return await doorway._ask(reader, writer, calls.Status())
        finally:
            writer.close()
            await writer.wait_closed()


def _failure(kind: str, **detail: str | int) -> bytes:
    return msgspec.json.encode({"answer": "error", "kind": kind, "code": "name.unknown", "detail": detail})


async def test_a_failure_is_raised_as_the_owner_raised_it() -> None:
    with pytest.raises(UsageError) as raised:
        await _ask(_failure("UsageError", name="민지"))
    assert (raised.value.code, raised.value.detail) == ("name.unknown", {"name": "민지"})


async def test_an_error_of_another_room_keeps_its_code() -> None:
    with pytest.raises(HanaError) as raised:
        await _ask(_failure("WrongEpoch"))
    assert raised.value.code == "name.unknown"


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"\xff\xfe",
        b"[" * 10_000,
        b'{"answer":"result","result":{"account":1}}',
        _failure("Mapping"),  # T-088: any name of the errors' module was called
        _failure("UsageError", code="twice"),
        _failure("UsageError", self="me"),
    ],
)
async def test_t088_an_answer_that_cannot_be_read_is_an_error_with_a_code(line: bytes) -> None:
    with pytest.raises(HanaError) as raised:
        await _ask(line)
    assert raised.value.code in ("profile.closed", "name.unknown")
    assert isinstance(raised.value, ProfileError) or raised.value.code == "name.unknown"
