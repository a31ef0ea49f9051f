"""The process that owns a profile: engine, relay connections, timers, the unix socket for other commands.

Everything runs on one asyncio loop; the engine is called synchronously and never waits. After each step `_settle`
writes out what is queued for the relays, publishes events, wakes waiting calls and sets the next timer.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable

from hanatalk.client import calls
from hanatalk.client.engine import Engine, Fate, Staged, parse_link
from hanatalk.client.events import Alarm, Event
from hanatalk.client.runtime import attaching
from hanatalk.client.runtime.links import RelayLink
from hanatalk.errors import (
    HanaError,
    NetworkError,
    ProfileError,
    RefusedError,
    StorageError,
    UsageError,
    VerificationError,
)
from hanatalk.localdb.rows import Message
from hanatalk.transport.urls import parse_relay_url
from hanatalk.wire import events as wire

EVENT_QUEUE = 10_000  # events a slow listener may fall behind; then it is cut off
INVITE_WAIT = 5.0  # seconds for the relay to store an invite
SEARCH_LIMIT = 10_000  # messages in one answer at most
TIMER_LEAST = 0.005  # seconds
STAGED = 64  # files at once that wait for their message
UNREACHABLE_TRIES = 2  # failed connects after which a waiting call gives up


def now() -> int:
    """Milliseconds since 1970, the only clock that the engine gets."""
    return time.time_ns() // 1_000_000


class Owner:
    """An open profile in this process (see `hanatalk.client.Profile`)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._links: dict[str, RelayLink] = {}
        self._alarmed: dict[
            str, str | None
        ] = {}  # what was said of each relay's identity, until it is reached or changes
        self._listeners: set[asyncio.Queue[Event | None]] = set()
        self._waiters: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._failure: HanaError | None = None
        self._staged: dict[str, Staged] = {}
        self.closed = asyncio.Event()

    @property
    def revoked(self) -> bool:
        """Another own device removed this one: its profile is to be wiped (HT-M-128)."""
        return self._engine.devices.revoked

    def start(self) -> None:
        """Do what is due, before anybody asks for anything; begin to connect."""
        self._tick()

    async def stop(self) -> None:
        """Close every connection; what is queued stays in the outbox."""
        self._end()
        self._engine.attachments.drop(self._staged.values())
        for link in self._links.values():
            await link.stop()

    def _end(self) -> None:
        self.closed.set()
        if self._timer is not None:
            self._timer.cancel()
        for queue in self._listeners:
            queue.put_nowait(None)
        self._wake()

    # the engine's surroundings ----------------------------------------------------------------------------------

    def _settle(self) -> None:
        """See the module. If the disk says no, this profile is closed: whoever waits, listens or calls is told why."""
        self._guarded(lambda: None)

    def _bring_in_step(self) -> None:
        for url in self._engine.wanted_relays():
            if url not in self._links:
                self._links[url] = RelayLink(
                    url,
                    self._connected,
                    self._received,
                    self._disconnected,
                    access_pass=self._engine.access_pass,
                )
        for link in self._links.values():
            link.flush()
        for event in self._engine.take_events():
            self._publish(event)
        if self._engine.devices.revoked:
            raise ProfileError("profile.revoked")
        self._wake()
        if self._timer is not None:
            self._timer.cancel()
        delay = max(TIMER_LEAST, (self._engine.next_tick() - now()) / 1000)
        self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _publish(self, event: Event) -> None:
        for queue in list(self._listeners):
            if queue.qsize() >= EVENT_QUEUE:
                self._listeners.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def _guarded(self, step: Callable[[], None]) -> None:
        """The disk may say no at any step: then this profile is closed, and whoever waits is told why."""
        if self.closed.is_set():
            return
        try:
            step()
            if not self.closed.is_set():
                self._bring_in_step()
        except HanaError as error:
            self._failure = error
            self._end()

    def _tick(self) -> None:
        self._guarded(lambda: self._engine.tick(now()))

    def _connected(self, link: RelayLink) -> None:
        self._guarded(lambda: self._engine.connected(link.url, link.connection, now()))

    def _received(self, link: RelayLink, arrived: list[wire.Event]) -> None:
        self._guarded(lambda: self._engine.received(link.url, arrived, now()))

    def _disconnected(self, link: RelayLink) -> None:
        failed = link.error.code if isinstance(link.error, VerificationError) else None
        if failed is not None and failed != self._alarmed.get(link.url):
            self._publish(Alarm(conversation=None, code=failed))  # somebody else answers in the relay's place (T-046)
        self._alarmed[link.url] = failed
        self._guarded(lambda: self._engine.disconnected(link.url))
        if link.failures:
            self._guarded(lambda: self._engine.unreachable(link.url, now()))

    # waiting ------------------------------------------------------------------------------------------------------

    async def _until(self, holds: Callable[[], bool], seconds: float, *, needs: set[str] | None = None) -> bool:
        """Wait until `holds`; False if it does not within that time, or a needed relay cannot be reached.

        :param needs: URLs; None: all that are wanted
        """
        deadline = time.monotonic() + seconds
        while True:
            self._check_open()
            if holds():
                return True
            left = deadline - time.monotonic()
            if left <= 0 or self._unreachable(needs):
                return False
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, 0.25)):
                    await waiter

    def _check_open(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self.closed.is_set():
            raise NetworkError("profile.closed")

    def _unreachable(self, needed: set[str] | None = None) -> dict[str, HanaError]:
        """Needed (None: wanted) relays that cannot be used right now, and why."""
        urls = self._engine.wanted_relays() if needed is None else needed
        return {
            link.url: link.error
            for link in self._links.values()
            if link.url in urls and link.error is not None and _final(link.error, link.failures)
        }

    def _in_reach(self) -> set[str]:
        """The needed relays, and those among the others that can be reached: a conversation may have moved there."""
        return self._engine.needed_relays() | (self._engine.wanted_relays() - set(self._unreachable()))

    def _network_error(self, needed: set[str]) -> HanaError:
        return next(iter(self._unreachable(needed).values()), NetworkError("network.timeout"))

    # calls --------------------------------------------------------------------------------------------------------

    async def call(self, call: calls.Call) -> calls.Result:
        """Carry out one call. :raises HanaError: as the call says"""
        if self._failure is not None:
            raise self._failure
        try:
            return await self._call(call)
        finally:
            self._settle()

    async def _call(self, call: calls.Call) -> calls.Result:
        match call:
            case calls.Status():
                return self._engine.account()
            case calls.Chats():
                return self._engine.chats()
            case calls.Messages(conversation=conversation, limit=limit):
                return self._engine.messages(conversation, limit)
            case calls.Verify(conversation=conversation, confirm=confirm):
                return self._engine.verify(conversation, confirm=confirm)
            case calls.Reactors(message=message):
                return self._engine.reactors(message)
            case calls.Versions(message=message):
                return self._engine.versions(message)
            case calls.Delete(message=message):
                return self._engine.delete(message, now())
            case calls.View():
                return await self._view(call)
            case calls.Introduce(one=one, other=other):
                return self._engine.introduce(one, other, now())
            case calls.Introductions():
                return self._engine.introductions()
            case calls.Meet(introduction=introduction, yes=yes):
                home = {self._engine.home_relay}
                await self._until(self._engine.knows_relay, INVITE_WAIT, needs=home)
                return self._engine.meet(introduction, yes=yes, now=now())
            case calls.Keep():
                return await self._keep(call)
            case calls.React():
                return await self._react(call)
            case calls.Edit():
                return await self._edit(call)
            case calls.Attach():
                return await self._attach(call)
            case calls.Send():
                return await self._send(call)
            case calls.Fetch():
                return await self._fetch(call)
            case calls.Save(message=message, folder=folder):
                return await asyncio.to_thread(attaching.save, self._engine.attachments.readable(message), folder)
            case calls.Thumbnail():
                return await self._thumbnail(call)
            case calls.Recall():
                return await self._recall(call)
            case calls.Move():
                return await self._move(call)
            case calls.Resend(message=message, wait=wait):
                row = self._engine.resend(message, now())
                return calls.Sent(message=row.message.hex(), state=await self._is_stored(row, wait))
            case calls.Read():
                return await self._read(call)
            case calls.Search():
                return await self._search(call)
            case calls.Sync():
                return await self._sync(call)
            case calls.Invite():
                return await self._invite(call)
            case calls.Accept():
                return await self._accept(call)
            case calls.RelayPass():
                return await self._relay_pass(call)
            case calls.GroupMembers(conversation=conversation):
                return self._engine.members(conversation)
            case calls.Readers(message=message):
                return self._engine.readers(message)
            case calls.Telling(conversation=conversation, telling=telling):
                self._engine.tell(conversation, telling, now())
                return calls.Done()
            case calls.GroupCreate():
                return await self._group(call, 0.0)
            case (
                calls.GroupAdd()
                | calls.GroupRemove()
                | calls.GroupRole()
                | calls.GroupRename()
                | calls.GroupRights()
                | calls.GroupLeave()
            ):
                return await self._group(call, call.wait)
            case (
                calls.Devices()
                | calls.Link()
                | calls.LinkState()
                | calls.LinkConfirm()
                | calls.Approve()
                | calls.ApproveState()
                | calls.ApproveConfirm()
                | calls.RemoveDevice()
            ):
                return await self._device_call(call)
            case calls.Lock():
                asyncio.get_running_loop().call_soon(self._end)
                return calls.Done()
            case calls.Listen():
                return calls.Done()

    async def _device_call(self, call: calls.DeviceCall) -> calls.Result:
        engine = self._engine
        match call:
            case calls.Link(language=language, wait=wait):
                home = {engine.home_relay}
                if engine.devices.linking().state == "none" and not await self._until(
                    engine.knows_relay, wait, needs=home
                ):
                    raise self._network_error(home)
                engine.devices.link(language=language, now=now())
            case calls.LinkConfirm(yes=yes):
                engine.devices.consent(yes=yes, now=now())
            case calls.LinkState(seen=seen, wait=wait):
                await self._until(lambda: engine.devices.linking().state != seen, wait, needs=set())
            case calls.Approve(link=link, history=history):
                engine.devices.approve(link, now(), history=history)
            case calls.ApproveConfirm(yes=yes):
                engine.devices.confirm(yes=yes, now=now())
            case calls.ApproveState(seen=seen, wait=wait):
                await self._until(lambda: engine.devices.approving().state != seen, wait, needs=set())
            case calls.RemoveDevice(device=device, paper=paper):
                return calls.DeviceRemoved(device=engine.devices.remove(device, now(), paper=paper))
            case calls.Devices():
                return engine.devices.listed()
        if isinstance(call, calls.Link | calls.LinkState | calls.LinkConfirm):
            return engine.devices.linking()
        return engine.devices.approving()

    async def _attach(self, call: calls.Attach) -> calls.Attached:
        if len(self._staged) >= STAGED:
            raise UsageError("attachment.too-many", limit=STAGED)
        staged = await asyncio.to_thread(
            lambda: attaching.stage(
                call.path, lambda size: self._engine.attachments.writer(size=size), original=call.original
            )
        )
        name = secrets.token_hex(16)
        self._staged[name] = staged
        return calls.Attached(
            attachment=name,
            name=staged.name,
            type=staged.type,
            size=staged.sealed.size,
            width=staged.width or None,
            height=staged.height or None,
        )

    async def _thumbnail(self, call: calls.Thumbnail) -> calls.ThumbnailMade:
        found = self._engine.attachments.readable(call.message)
        if not 0 <= call.position < len(found):
            raise UsageError("attachment.none", message=call.message)
        return await asyncio.to_thread(attaching.thumbnail, found[call.position], call.longest)

    async def _fetch(self, call: calls.Fetch) -> calls.Transfer:
        attachments = self._engine.attachments
        if call.cancel:
            return attachments.transfer(attachments.cancel(call.message))
        message = attachments.fetch(call.message, now())
        self._settle()
        needs = attachments.relays(message)

        def over() -> bool:
            found = attachments.transfer(message)
            return found.state == "refused" or (found.state == "here" and found.sent != "queued")

        if not await self._until(over, call.wait, needs=needs) and (unreachable := self._unreachable(needs)):
            raise next(iter(unreachable.values()))
        return attachments.transfer(message)

    async def _send(self, call: calls.Send) -> calls.Sent:
        unknown = next((name for name in call.attachments if name not in self._staged), None)
        if unknown is not None or len(set(call.attachments)) != len(call.attachments):
            raise UsageError("attachment.unknown", attachment=unknown or "")
        fate = Fate.ONCE if call.view_once else Fate.CONFIRMED if call.privacy else Fate.STAYS
        message = self._engine.send(
            call.conversation,
            call.text,
            reply_to=call.reply_to,
            expire=call.expire,
            fate=fate,
            whisper=call.whisper,
            sticker=call.sticker,
            attachments=[self._staged[name] for name in call.attachments],
            now=now(),
        )
        for name in call.attachments:
            del self._staged[name]
        return calls.Sent(message=message.message.hex(), state=await self._is_stored(message, call.wait))

    async def _is_stored(self, message: Message, wait: float) -> str:
        """The state of what a person has just written, after at most `wait` seconds for the relay."""
        self._settle()
        state = "queued"
        with contextlib.suppress(StorageError):  # it is in the outbox (HT-S-081): the next call hears of the disk
            needs = self._engine.relays_of(message)
            await self._until(lambda: self._engine.state(message) != "queued", wait, needs=needs)
            state = self._engine.state(message)
        return state

    async def _keep(self, call: calls.Keep) -> calls.Kept:
        row = self._engine.keep(call.conversation, timer=call.timer, privacy=call.privacy, now=now())
        self._settle()
        if call.timer is not None or call.privacy is not None:
            needs = self._engine.group_relays(row.conversation)
            await self._until(lambda: self._engine.kept(row.conversation).state == "done", call.wait, needs=needs)
        return self._engine.kept(row.conversation)

    async def _view(self, call: calls.View) -> calls.Viewed:
        message, attachments = call.message, self._engine.attachments
        await self._until(lambda: self._engine.may_act(message), call.wait)
        self._engine.check_view(message)
        files: list[calls.Saved] = []
        if attachments.of(message):
            if call.folder is None:
                raise UsageError("view.folder")
            saved = await asyncio.to_thread(attaching.save, attachments.readable(message, once=True), call.folder)
            files = saved.files
        seen = self._engine.view(message, now())
        return calls.Viewed(message=seen.message, text=seen.text, files=files)

    async def _react(self, call: calls.React) -> calls.Reacted:
        message, carrier = self._engine.react(call.message, call.emoji, now())
        state = await self._is_stored(carrier, call.wait) if carrier is not None else "stored"
        return calls.Reacted(message=message.message.hex(), emoji=call.emoji, state=state)

    async def _edit(self, call: calls.Edit) -> calls.Edited:
        message, carrier = self._engine.edit(call.message, call.text, now())
        state = await self._is_stored(carrier, call.wait) if carrier is not None else "stored"
        return calls.Edited(message=message.message.hex(), state=state)

    async def _search(self, call: calls.Search) -> calls.FoundList:
        found: list[calls.Found] = []
        limit = max(0, min(call.limit, SEARCH_LIMIT))
        # one more than asked for says whether there are more
        search = self._engine.search(call.text, conversation=call.conversation, before=call.before, limit=limit + 1)
        for one in search:
            if one is not None:
                found.append(one)
            else:  # a long history is searched in steps, between which messages come and go
                await asyncio.sleep(0)
                self._check_open()
        return calls.FoundList(found=found[:limit], more=len(found) > limit)

    async def _recall(self, call: calls.Recall) -> calls.Recalled:
        message = self._engine.recall(call.message, now())
        self._settle()
        done = await self._until(lambda: self._engine.pending(now()) == 0, call.wait)
        return calls.Recalled(message=message.message.hex(), state="recalled" if done else "queued")

    async def _read(self, call: calls.Read) -> calls.ReadDone:
        done = self._engine.read(call.conversation, now())
        self._settle()
        if done.read:
            await self._until(lambda: self._engine.pending(now()) == 0, call.wait)
        return done

    async def _sync(self, call: calls.Sync) -> calls.Synced:
        received, sent = self._engine.counts()
        deadline = time.monotonic() + call.wait
        needs = self._engine.needed_relays
        done = await self._until(
            lambda: self._engine.caught_up(self._in_reach()) and self._engine.pending(now()) == 0,
            call.wait,
            needs=needs(),
        )
        if not done and (unreachable := self._unreachable(needs())):
            # one relay that is gone, or somebody else's, keeps nothing of the others' from coming in
            others = self._engine.wanted_relays() - set(self._unreachable())
            await self._until(lambda: self._engine.caught_up(others), deadline - time.monotonic(), needs=others)
            raise next(iter(unreachable.values()))
        received_now, sent_now = self._engine.counts()
        return calls.Synced(
            received=received_now - received,
            sent=sent_now - sent,
            pending=self._engine.pending(now()),
            rejoining=self._engine.rejoining(),
            invitations=self._engine.invitations(),
        )

    async def _invite(self, call: calls.Invite) -> calls.InviteMade:
        home = {self._engine.home_relay}
        if not await self._until(self._engine.knows_relay, INVITE_WAIT, needs=home):
            raise self._network_error(home)
        row = self._engine.invite(expires=call.expires, now=now(), group=call.group)
        self._settle()
        await self._until(lambda: self._engine.invite_made(row).state == "stored", INVITE_WAIT, needs=home)
        return self._engine.invite_made(row)

    async def _group(self, call: calls.GroupCall, wait: float) -> calls.GroupDone:
        if isinstance(call, calls.GroupCreate):
            home = {self._engine.home_relay}
            if not await self._until(self._engine.knows_relay, INVITE_WAIT, needs=home):
                raise self._network_error(home)
        conversation = self._engine.group(call, now())
        self._settle()
        needs = self._engine.group_relays(conversation)
        await self._until(lambda: self._engine.group_done(conversation).state == "done", wait, needs=needs)
        return self._engine.group_done(conversation)

    async def _accept(self, call: calls.Accept) -> calls.Accepted:
        where = parse_link(call.link).relay_url
        parse_relay_url(where)  # one that may not be used at all is not waited for at every sync from now on
        channel = self._engine.accept(call.link, now())
        self._settle()
        await self._until(lambda: self._engine.accepted(channel) is not None, call.wait, needs={where})
        found = self._engine.accepted_so_far(channel)
        if found is None:
            raise self._network_error({where})
        return found

    async def _move(self, call: calls.Move) -> calls.Moved:
        agreed = self._engine.relays_agreed(call.conversation)
        wanted = call.relay
        if wanted is not None and wanted not in agreed:
            bare = parse_relay_url(wanted).without_fragment  # who types the address leaves the pin out
            wanted = next((url for url in agreed if parse_relay_url(url).without_fragment == bare), wanted)
        conversation = self._engine.move(call.conversation, now(), relay=wanted).hex()
        self._settle()
        needs = {wanted} if wanted is not None else set[str]()
        done = await self._until(
            lambda: self._engine.relays_agreed(conversation)[0] != agreed[0], call.wait, needs=needs
        )
        at = self._engine.relays_agreed(conversation)[0]
        return calls.Moved(conversation=conversation, relay=at, state="moved" if done else "queued")

    async def _relay_pass(self, call: calls.RelayPass) -> calls.PassKept:
        url = call.relay or self._engine.home_relay
        bare = parse_relay_url(url).without_fragment
        # Who types the address leaves the pin out: what is meant is the relay that this profile knows.
        same = {known for known in self._engine.wanted_relays() if parse_relay_url(known).without_fragment == bare}
        meant = {url} if "#" in url or not same else same & {self._engine.home_relay} or same
        if len(meant) > 1:
            raise UsageError("relay.pin-needed")  # somebody's invite names the same host with another key
        for known in meant:
            self._engine.keep_pass(known, call.access_pass)
        links = [link for known, link in self._links.items() if known in meant]
        for link in links:
            link.try_again()
        if not links or call.access_pass is None:
            return calls.PassKept(relay=url, connected=False)

        def settled() -> bool:
            return all(self._engine.is_ready(link.url) or link.error is not None for link in links)

        await self._until(settled, call.wait, needs=meant)
        for link in links:
            if isinstance(link.error, RefusedError):
                raise link.error
        return calls.PassKept(relay=url, connected=all(self._engine.is_ready(link.url) for link in links))

    async def events(self, begun: asyncio.Event | None = None) -> AsyncIterator[Event]:
        """What happens from now on, until the profile is closed or this listener falls too far behind.

        :raises HanaError: why the profile was closed, if the disk did it
        """
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._listeners.add(queue)
        if begun is not None:
            begun.set()
        if self.closed.is_set():  # before anybody listened
            queue.put_nowait(None)
        try:
            while (event := await queue.get()) is not None:
                yield event
            if self._failure is not None:
                raise self._failure
        finally:
            self._listeners.discard(queue)


def _final(error: HanaError, failures: int) -> bool:
    """Whether a waiting call gives up; at once if the relay wants a pass, or another one (HT-R-125)."""
    return failures >= UNREACHABLE_TRIES or error.code in ("relay.access-pass", "relay.access-pass-needed")
