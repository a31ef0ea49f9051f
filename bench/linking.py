"""Topic `link`: a second device joins every conversation of an account, and takes its history in."""

import os
import time

import msgspec

from bench.load import run
from bench.machine import DRIVER_CORE, NotMeasured, cpu_seconds, own_cpu_seconds
from bench.options import Options
from bench.peers.hanatalk import Hanatalk
from bench.report import Table
from hanatalk.client import calls, events, group_calls
from hanatalk.drill.people import Person
from hanatalk.ids import AccountId, DeviceKey, MessageId
from hanatalk.localdb.database import FILE, Database
from hanatalk.localdb.rows import Account, Content, Conversation, Message, MessageKind
from hanatalk.localdb.vault import Vault
from hanatalk.wire.client import ClientConnection

PATIENCE = 280.0  # seconds
BOUND = 60.0  # seconds
LENGTH = 60  # characters of a text
WHO = "hanatalk"


class Line:
    """Bytes of messages between the devices and the relay, without WebSocket. Counts from when it is made."""

    def __init__(self) -> None:
        self.up = self.down = 0
        receive, messages_to_send = ClientConnection.receive, ClientConnection.messages_to_send

        def received(connection: ClientConnection, message: bytes) -> object:
            self.down += len(message)
            return receive(connection, message)

        def sent(connection: ClientConnection) -> list[bytes]:
            found = messages_to_send(connection)
            self.up += sum(map(len, found))
            return found

        ClientConnection.receive, ClientConnection.messages_to_send = received, sent  # type: ignore[method-assign,assignment]


def _write(database: Database, count: int) -> None:
    """A history of `count` messages in all conversations by turns, every other one of somebody else."""
    account = AccountId(database.setting("account") or b"")
    (me,) = database.find(Account, "account = ?", account)
    rows = database.find(Conversation, "kind != 3 ORDER BY created_at")
    own = database.value("SELECT device FROM member WHERE account = ? LIMIT 1", me.account)
    assert isinstance(own, bytes)
    theirs = [(AccountId(os.urandom(32)), DeviceKey(os.urandom(32))) for _ in rows]
    mine = (me.account, DeviceKey(own))
    began = int(time.time() * 1000) - count
    for start in range(0, count, 10_000):
        with database.transaction():
            for number in range(start, min(start + 10_000, count)):
                place = number % len(rows)
                row, turn = rows[place], number // len(rows)
                account, device = mine if turn % 2 else theirs[place]
                message = Message(
                    None,
                    MessageId(os.urandom(16)),
                    row.conversation,
                    account,
                    device,
                    row.counter + 1 + turn // 2,
                    1,
                    MessageKind.PERSON,
                    began + number,
                    None,
                    read=1,
                    stored_at=began + number,
                )
                text = f"{number} ".ljust(LENGTH, "가")
                database.insert(Content(database.insert(message), msgspec.msgpack.encode([1, text, None, None])))
    with database.transaction():
        for row in rows:
            upto = database.number(
                "SELECT max(counter) FROM message WHERE conversation = ? AND device = ?", row.conversation, own
            )
            database.execute(
                "UPDATE conversation SET counter = max(counter, ?), base = max(counter, ?) WHERE conversation = ?",
                upto,
                upto,
                row.conversation,
            )


async def _link(options: Options, table: Table) -> None:
    server = Hanatalk("sqlite")
    url = f"ws://127.0.0.1:{server.port}"
    old, new = (Person(server.folder / name, name=name) for name in ("old", "new"))
    try:
        for person in (old, new):
            person.sign_up(url)
            await person.arrive()
        await old.sync()
        for number in range(options.conversations):
            await old.ask(group_calls.GroupCreate(name=f"group {number}"), group_calls.GroupDone)
        await old.sync(wait=60)
        await old.leave()
        database = Database(old.home / FILE, Vault(old.home).open(passphrase=None).key)
        _write(database, options.linked)
        database.close()
        await old.arrive()
        await old.sync(wait=60)
        line = Line()
        began, own, theirs = time.perf_counter(), own_cpu_seconds(), cpu_seconds(server.pids)

        def done(what: str) -> None:
            table.row(what, WHO, "s").values.append(time.perf_counter() - began)

        shown = await new.ask(calls.Link(language="en"), calls.Linking)
        await old.ask(calls.Approve(link=shown.link or ""), calls.Approving)
        approving = await old.ask(calls.ApproveState(seen="offered", wait=20), calls.Approving)
        linking = await new.ask(calls.LinkState(seen="shown", wait=20), calls.Linking)
        if approving.words != linking.words:
            raise NotMeasured("other words on the two screens")
        await new.ask(calls.LinkConfirm(yes=True), calls.Linking)
        await old.ask(calls.ApproveConfirm(yes=True), calls.Approving)

        async def in_account() -> bool:
            return (await new.ask(calls.LinkState(), calls.Linking)).state != "consented"

        async def in_one() -> bool:
            return new.saw(events.ConversationChanged) > 1  # the first is the account's own

        async def there() -> bool:
            state = await new.ask(calls.LinkState(), calls.Linking)
            if state.state == "failed":
                raise NotMeasured(state.failure or "failed")
            return state.state == "linked" and not state.awaited

        for what, holds in (
            ("until it is one of the account's", in_account),
            ("until its history is there and it is in the first conversation", in_one),
            ("until it is in all of them", there),
        ):
            if not await new.until(holds, patience=PATIENCE):
                raise NotMeasured(f"not {what} after {PATIENCE:g} s")
            done(what)
        chats = await new.ask(calls.Chats(), calls.ChatList)
        found = await new.ask(
            calls.Messages(conversation=chats.chats[-1].conversation, limit=10_000), calls.MessageList
        )
        wanted = options.linked // options.conversations
        if len(chats.chats) != options.conversations or len(found.messages) != wanted:
            raise NotMeasured(f"{len(chats.chats)} conversations, {len(found.messages)} of {wanted} messages")
        table.row("both devices", WHO, "s CPU").values.append(own_cpu_seconds() - own)
        table.row("the relay", WHO, "s CPU").values.append(cpu_seconds(server.pids) - theirs)
        table.row("to the relay", WHO, "MB").values.append(line.up / 1e6)
        table.row("from the relay", WHO, "MB").values.append(line.down / 1e6)
    finally:
        for person in (old, new):
            await person.leave()
        server.stop()


def link(options: Options) -> Table:
    """From the code to the last conversation; both devices are in this process."""
    table = Table(
        "link",
        f"linking a device to an account with {options.conversations:,} conversations and {options.linked:,} messages",
        [
            "groups of this account alone, suite X-Wing; nobody has to compare words; texts of 60 Korean letters",
            "both devices in one process on the driver's core, a relay with sqlite on the other; durable at all three",
        ],
    )
    os.sched_setaffinity(0, {DRIVER_CORE})
    run(_link(options, table))
    table.bound("linked", table.row("until it is in all of them", WHO, "s"), BOUND, higher=False)
    return table
