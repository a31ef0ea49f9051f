"""The unix socket (0600) in the profile folder through which other commands reach the owner. JSON, one value a line."""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import msgspec

from hanatalk import errors
from hanatalk.client import calls, events
from hanatalk.client.runtime.owner import Owner
from hanatalk.errors import HanaError, ProfileError

NAME = "hana.sock"
LINE = 64 << 20  # bytes of one answer at most
CALL_WAIT = 12.0  # seconds a call may take to end once the door is closed
HOLD_WAIT = 3.0  # seconds the owner may take to say that it is there; one that is stopped never does (HT-S-083)
ANSWER_WAIT = 30.0  # seconds it may take for a call, beyond what the call itself says
HOLD, HELD = b"hold\n", b"held\n"  # "a call is coming, wait for it", "I do": nobody is sent away in between


class Failure(msgspec.Struct, frozen=True, tag="error", tag_field="answer"):
    """An error as it travels: class name, code, detail."""

    kind: str
    code: str
    detail: dict[str, str | int]


class Answer(msgspec.Struct, frozen=True, tag="result", tag_field="answer"):
    """The result of a call, as that call's result type."""

    result: msgspec.Raw


MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_KINDS = {
    kind.__name__: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HanaError)
}
_calls = msgspec.json.Decoder(calls.Call)
_answers = msgspec.json.Decoder(Answer | Failure)
_events = msgspec.json.Decoder(events.Event)
_encode = msgspec.json.Encoder().encode


@contextlib.contextmanager
def _address(home: Path) -> Iterator[str]:
    """A path short enough for a unix socket (108 bytes), however deep the folder lies."""
    folder = os.open(home, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{NAME}"
    finally:
        os.close(folder)


class Doorway:
    """The owner's side."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._listener: asyncio.Server | None = None
        self._closing = False
        self._open: set[asyncio.Task[None]] = set()
        self._busy: set[asyncio.Task[None]] = set()  # of these, held or in the middle of a call

    async def start(self, home: Path) -> None:
        """Listen. A socket left by a killed owner is replaced: the caller holds the profile's lock."""
        with contextlib.suppress(FileNotFoundError):
            (home / NAME).unlink()
        with _address(home) as address:
            before = os.umask(0o177)
            try:
                self._listener = await asyncio.start_unix_server(self._accept, path=address, limit=LINE)
            finally:
                os.umask(before)

    async def stop(self, home: Path) -> None:
        """Stop listening; who was told to be held is answered, then everything is closed."""
        self._closing = True
        if self._listener is not None:
            self._listener.close()
        for task in self._open - self._busy:
            task.cancel()
        if self._busy:
            await asyncio.wait(self._busy, timeout=CALL_WAIT)
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        with contextlib.suppress(FileNotFoundError):
            (home / NAME).unlink()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError, asyncio.LimitOverrunError, ValueError, HanaError):
            pass  # HanaError: the profile has failed; a listener hears of it by the end of the connection
        finally:
            self._open.discard(task)
            self._busy.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not _same_person(writer.get_extra_info("socket")):
            return
        task = asyncio.current_task()
        assert task is not None
        while line := await reader.readline():
            if self._closing and task not in self._busy:
                return
            self._busy.add(task)
            if line == HOLD:
                writer.write(HELD)
                continue
            try:
                call = _calls.decode(line)
            except MALFORMED:
                writer.write(_encode(Failure("UsageError", "call.malformed", {})) + b"\n")
                return
            if isinstance(call, calls.Listen):
                writer.write(_encode(Answer(msgspec.Raw(_encode(calls.Done())))) + b"\n")
                self._busy.discard(task)
                await self._tell(writer)
                return
            try:
                answer: Answer | Failure = Answer(msgspec.Raw(_encode(await self._owner.call(call))))
            except HanaError as error:
                answer = Failure(type(error).__name__, error.code, dict(error.detail))
            writer.write(_encode(answer) + b"\n")
            await writer.drain()
            self._busy.discard(task)

    async def _tell(self, writer: asyncio.StreamWriter) -> None:
        async for event in self._owner.events():
            writer.write(_encode(event) + b"\n")
            await writer.drain()


def _same_person(connection: socket.socket) -> bool:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid == os.getuid()


class Remote:
    """An open profile that another process owns; the same interface as `Owner`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._held: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def hold(self) -> None:
        """Connect now for the next call: the owner does not end before it. :raises ProfileError: ``profile.in-use``"""
        if self._held is None:
            self._held = await self._connect()

    def let_go(self) -> None:
        """No call is coming after all."""
        if self._held is not None:
            self._held[1].close()
            self._held = None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        held, self._held = self._held, None
        if held is not None:
            return held
        try:
            with _address(self._home) as address:
                reader, writer = await asyncio.open_unix_connection(address, limit=LINE)
            try:
                writer.write(HOLD)
                async with asyncio.timeout(HOLD_WAIT):
                    if await reader.readline() == HELD:
                        return reader, writer
            except BaseException:
                writer.close()
                raise
            writer.close()
        except OSError:  # a timeout is one
            pass
        raise ProfileError("profile.in-use")

    async def call(self, call: calls.Call) -> calls.Result:
        """Have the owner carry out one call.

        :raises HanaError: as the owner raised it; ``profile.closed``: it ended, or stopped answering; what the call
            asked for may be done or not
        """
        reader, writer = await self._connect()
        try:
            return await _ask(reader, writer, call)
        finally:
            writer.close()

    async def events(self, begun: asyncio.Event | None = None) -> AsyncIterator[events.Event]:
        """What happens from now on, until the owner ends."""
        reader, writer = await self._connect()
        try:
            await _ask(reader, writer, calls.Listen())
            if begun is not None:
                begun.set()
            while line := await reader.readline():
                yield _events.decode(line)
        finally:
            writer.close()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, call: calls.Call) -> calls.Result:
    try:
        writer.write(_encode(call) + b"\n")
        await writer.drain()
        async with asyncio.timeout(ANSWER_WAIT + getattr(call, "wait", 0.0)):
            line = await reader.readline()
    except (OSError, ValueError):  # ValueError: longer than LINE
        line = b""
    if not line:
        raise ProfileError("profile.closed")
    try:
        answer = _answers.decode(line)
        if isinstance(answer, Answer):
            return cast(calls.Result, msgspec.json.decode(answer.result, type=type(call).Result))
        failure = _KINDS.get(answer.kind, HanaError)(answer.code, **answer.detail)
    except (*MALFORMED, TypeError):
        raise ProfileError("profile.closed") from None  # another version's owner
    raise failure
