"""The unix socket between an owner and the commands: lines of JSON in both directions."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import msgspec

from fuzz.mutation import tree
from fuzz.target import Attack, Target, hold
from hanatalk.client import calls, events
from hanatalk.client.runtime import doorway
from hanatalk.client.runtime.owner import Owner
from hanatalk.errors import HanaError

CALLS: list[calls.Call] = [
    calls.Status(),
    calls.Invite(expires=90),
    calls.Accept(link="hana:AAAA"),
    calls.Chats(),
    calls.Send(conversation="민지", text="안녕", reply_to="00ff"),
    calls.Send(conversation="반", text="쉿", view_once=True, whisper="민지", sticker="openmoji:1F600"),
    calls.React(message="00ff", emoji="👍", wait=0.5),
    calls.Reactors(message="00ff"),
    calls.Edit(message="00ff", text="다시", wait=0.5),
    calls.Versions(message="00ff"),
    calls.Delete(message="00ff"),
    calls.View(message="00ff", folder="/tmp"),
    calls.Keep(conversation="민지", timer=60, privacy=True),
    calls.Introduce(one="민지", other="지훈"),
    calls.Introductions(),
    calls.Meet(introduction="지훈", yes=False),
    calls.Sync(wait=0.5),
    calls.Messages(conversation="민지", limit=3),
    calls.Recall(message="00ff", wait=0.5),
    calls.RelayPass(relay=None, access_pass=None),
    calls.Listen(),
    calls.Lock(),
]
MESSAGE = calls.Message(
    message="00",
    conversation="11",
    from_="민지",
    from_account="22",
    text="hi",
    sent_at="2026-11-24T00:00:00.000Z",
    state="read",
    unread=1,
)


class _Owner:
    """Answers every call with the call itself."""

    async def call(self, call: calls.Call) -> calls.Result:
        return cast(calls.Result, call)

    async def events(self) -> AsyncIterator[events.Event]:
        yield events.ConnectionChanged(relay="ws://127.0.0.1:1", connected=True, queued=0)


def _written(given: bytes) -> bytes:
    """A MessagePack list of lines: text and bytes as they are, anything else as JSON. Otherwise the bytes as given."""
    try:
        lines = msgspec.msgpack.decode(given)
        if not isinstance(lines, list):
            return given
        return b"".join(_line(line) + b"\n" for line in lines)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError, ValueError):
        return given


def _line(line: Any) -> bytes:
    if isinstance(line, bytes):
        return line
    return line.encode() if isinstance(line, str) else msgspec.json.encode(line)


def _calls() -> Attack:
    async def ask(given: bytes) -> bytes:
        door = doorway.Doorway(cast(Owner, _Owner()))
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(given[:60_000])
            theirs.shutdown(socket.SHUT_WR)
            reader, writer = await asyncio.open_connection(sock=ours, limit=doorway.LINE)
            await door._accept(reader, writer)
            await writer.wait_closed()
            theirs.setblocking(False)
            answers = b""
            while part := theirs.recv(1 << 16):
                answers += part
        hold(not door._open and not door._busy, "a connection that nobody counts any more")
        return answers

    def attack(given: bytes) -> None:
        written = _written(given)
        answers = asyncio.run(ask(written)).splitlines()
        hold(len(answers) <= written.count(b"\n") + 2, "more answers than lines")
        for answer in answers:
            if answer + b"\n" != doorway.HELD:
                msgspec.json.decode(answer)
        if written.strip() and written.endswith(b"\n"):
            hold(answers or not written.split(b"\n")[0], "a line that is not answered at all")

    return attack


def _answers() -> Attack:
    async def read(call: calls.Call, line: bytes) -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(line + b"\n")
        reader.feed_eof()
        ours, theirs = socket.socketpair()
        with theirs:
            _, writer = await asyncio.open_connection(sock=ours)
            try:
                await doorway._ask(reader, writer, call)
            finally:
                writer.close()
                await writer.wait_closed()

    def attack(given: bytes) -> None:
        call = CALLS[given[0] % len(CALLS)] if given else CALLS[0]
        asyncio.run(read(call, _written(given[1:]).partition(b"\n")[0] if len(given) > 1 else b""))

    return attack


def _as_builtins(value: msgspec.Struct) -> Any:
    return msgspec.to_builtins(value)


def _lines() -> Iterator[bytes]:
    yield msgspec.msgpack.encode([doorway.HOLD.strip(), *(_as_builtins(call) for call in CALLS)])
    for call in CALLS:
        yield msgspec.msgpack.encode([_as_builtins(call)])
    yield msgspec.msgpack.encode([b"hold", b"{", _as_builtins(CALLS[0])])


def _results() -> Iterator[bytes]:
    results: list[Any] = [
        calls.Account(account="00", device="11", name="민지", relay="ws://127.0.0.1:1", connected=True, queued=0),
        calls.InviteMade(invite="hana:A", expires_at="2026-11-24T00:00:00Z", state="stored"),
        calls.Accepted(conversation="00", name="민지"),
        calls.ChatList(chats=[]),
        calls.Sent(message="00", state="stored"),
        calls.Synced(received=1, sent=1, pending=0),
        calls.MessageList(messages=[MESSAGE]),
    ]
    for number, result in enumerate(results):
        answer = {"answer": "result", "result": _as_builtins(result)}
        yield bytes([number]) + msgspec.msgpack.encode([answer])
    failure = {"answer": "error", "kind": "ProfileError", "code": "profile.closed", "detail": {"pid": 1}}
    yield b"\0" + msgspec.msgpack.encode([failure])


def _after_the_first(given: bytes, longest: int, seed: int) -> bytes:
    return given[:1] + tree(given[1:], longest - 1, seed) if given else bytes([seed % 9])


TARGETS = [
    Target(
        name="doorway-calls",
        parsers=("hanatalk.client.runtime.doorway.Doorway",),
        allowed=(),
        ready=_calls,
        seeds=_lines,
        mutate=tree,
        short=250,
    ),
    Target(
        name="doorway-answers",
        parsers=("hanatalk.client.runtime.doorway.Remote",),
        allowed=(HanaError,),
        ready=_answers,
        seeds=_results,
        mutate=_after_the_first,
        short=250,
    ),
]
