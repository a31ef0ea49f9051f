"""The relay as a process: sockets (on uvloop), the clock, signals and the sweep around `RelayCore`.

Everything runs on one thread. Messages that arrive in one turn of the event loop go into one batch: an idle relay
commits at once, a busy one commits what came in while it was committing. Each connection gets at most one write per
turn.
"""

import asyncio
import contextlib
import datetime as dt
import errno
import gc
import hashlib
import ipaddress
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
import uvloop

from hanatalk import __version__
from hanatalk.errors import StorageError, UsageError
from hanatalk.relay.admin import AdminPort
from hanatalk.relay.certificates import Certificates, in_files, self_signed
from hanatalk.relay.core import RelayCore, Terms
from hanatalk.relay.folder import DataFolder
from hanatalk.relay.logs import RelayLog, relay_log
from hanatalk.relay.opened import Peer
from hanatalk.relay.options import Listening, RelayOptions, TlsFiles
from hanatalk.relay.pages import give_back
from hanatalk.relay.reporting import PROBE_SECONDS, Reporting
from hanatalk.relay.signing import ephemeral_key, key_in
from hanatalk.stores.opening import open_store
from hanatalk.transport.accepting import Accepted, Rooms, listen
from hanatalk.transport.arriving import Door, place_of
from hanatalk.transport.unfinished import Unfinished
from hanatalk.transport.urls import pin_text
from hanatalk.wire.refusals import RefusalCode

SWEEP_SECONDS = 5.0  # deadlines and the disk
EXPIRY_SECONDS = 60.0  # between looks at the day: the lag of HT-R-071
TEND_SECONDS = 2.0  # between rounds of what the store puts off (HT-S-022)
CERTIFICATE_SECONDS = 60.0  # between looks at the certificate files (HT-R-104)
SUM_UP_SECONDS = 60.0  # between lines that sum up (HT-R-134)
UNSTORED_SECONDS = 10.0  # after a batch that could not be stored, for which the relay is not ready (HT-R-132)
STEP_SECONDS = 0.02  # between two steps of such work others are served
SECONDS_PER_DAY = 86_400


def run(options: RelayOptions, on_listening: Callable[[Listening], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain (HT-R-096). Blocks. `on_listening` is called once it accepts.

    :raises UsageError: ``relay.plain-host``, ``relay.data-needed``, ``relay.address-in-use``, ``relay.address``, or
        what is wrong with the TLS files (see `certificates.in_files`)
    :raises StorageError: the data folder is locked, the store cannot be opened, or the own TLS key is not one
    """
    # One pass over what the imports left, then never again; and rarer passes: a batch makes thousands of objects that
    # reference counting frees.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve_until_signal(options, on_listening))
    except BaseException:
        # Whoever could not begin is not at its end: the process and its children go on hearing signals.
        for number, handler in handlers.items():
            signal.signal(number, handler)
        raise
    for number in handlers:
        signal.signal(number, signal.SIG_IGN)  # else the interpreter gives them back to the system at its end


async def _serve_until_signal(options: RelayOptions, on_listening: Callable[[Listening], None]) -> None:
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def stop(*_: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stopping.set)

    # Not the loop's handlers: those end with the loop, and a second signal would spoil an orderly end (HT-R-096).
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    await serve(options, on_listening, stopping=stopping)


async def serve(
    options: RelayOptions, on_listening: Callable[[Listening], None], *, stopping: asyncio.Event | None = None
) -> None:
    """`run`, on a running loop, until `stopping` is set or this is cancelled. See there for what is raised."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    limits = options.limits.within(files)
    few_files = limits.connections < options.limits.connections
    options = msgspec.structs.replace(options, limits=limits)
    if options.tls is None:
        _check_host(options.host)
    elif not options.host:
        raise UsageError("relay.address", host="", port=options.port)
    certificates = None
    if isinstance(options.tls, TlsFiles):  # an operator's mistake is said before anything is made
        certificates = Certificates(in_files(options.tls), files=options.tls)
    folder = DataFolder(options.data) if options.data is not None else None
    try:
        key = key_in(folder.signing_key) if folder is not None else ephemeral_key()
        if options.tls == "self":
            certificates = Certificates(self_signed(folder.tls_key if folder is not None else None), files=None)
        store = open_store(
            options.store,
            data=options.data,
            key_source=options.key,
            retention=options.retention,
            quota=options.quota,
        )
        try:
            terms = Terms(
                limits=options.limits,
                retention=options.retention,
                quota=options.quota,
                policy=options.policy,
                access_pass=options.access_pass,
            )
            core = RelayCore(store, key=key, terms=terms, random=os.urandom)
            log = relay_log(sys.stderr, form=options.log, level=options.log_level)
            serving = _Serving(core, options=options, folder=folder, log=log, tls=certificates, stopping=stopping)
            serving.few_files = few_files
            await serving.run(on_listening)
        finally:
            store.close()
    finally:
        if folder is not None:
            folder.close()


def _check_host(host: str) -> None:
    if host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise UsageError("relay.plain-host", host=host)


def _day() -> int:
    return int(time.time()) // SECONDS_PER_DAY


class _Serving:
    """One run of the relay."""

    def __init__(
        self,
        core: RelayCore,
        *,
        options: RelayOptions,
        folder: DataFolder | None,
        log: RelayLog,
        tls: Certificates | None,
        stopping: asyncio.Event | None,
    ) -> None:
        self.core = core
        self.loop = asyncio.get_running_loop()
        self.now = time.monotonic
        self._options = options
        self._folder = folder
        self._log = log
        self._tls = tls
        self.few_files = False  # fewer than the limits would need
        self._door = Door(most=options.limits.handshakes, most_of_one=options.limits.handshakes_per_address)
        self._unfinished = Unfinished(options.limits.unfinished_size, reclaim=give_back)
        self._connections: dict[Peer, _Connection] = {}
        self._ticking = False
        self._tending = False
        self._ended = False  # the store is about to close
        self._stopping = stopping if stopping is not None else asyncio.Event()
        self._nobody = asyncio.Event()  # set while nobody is connected
        self._failure: BaseException | None = None
        self._unstored_until = 0.0  # a batch could not be stored; until then this relay is not ready
        self._reporting = Reporting(
            core,
            folder=folder,
            log=log,
            now=self.now,
            every=options.metrics_every,
            door=self._door,
            unfinished=self._unfinished,
            sockets=lambda: [connection.socket for connection in self._connections.values()],
        )
        self._swept_day = -1
        self._address_salt = os.urandom(16)

    async def run(self, on_listening: Callable[[Listening], None]) -> None:
        loop, options = self.loop, self._options
        admin = AdminPort(ready=self._why_not_ready, metrics=self._reporting.metrics)
        loop.set_exception_handler(self._on_loop_error)
        self._look_at_disk()
        self._expire()
        try:
            context = self._tls.context if self._tls is not None else None
            server = await listen(
                options.host, options.port, self.welcome, door=self._door, unfinished=self._unfinished, tls=context
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UsageError("relay.address-in-use", port=options.port) from error
            raise UsageError("relay.address", host=options.host, port=options.port) from error
        try:
            admin_url = await self._open_admin(admin)
        except UsageError:
            server.close()
            raise
        timers = [asyncio.create_task(self._every(SWEEP_SECONDS, self._sweep))]
        timers.append(asyncio.create_task(self._every(EXPIRY_SECONDS, self._expire)))
        timers.append(asyncio.create_task(self._every(TEND_SECONDS, self._tend)))
        timers.append(asyncio.create_task(self._every(CERTIFICATE_SECONDS, self._look_at_certificate)))
        timers.append(asyncio.create_task(self._every(SUM_UP_SECONDS, self._reporting.sum_up)))
        timers.append(asyncio.create_task(self._every(PROBE_SECONDS, self._reporting.probe)))
        with contextlib.suppress(RuntimeError, ValueError):  # not on the main thread: whoever runs us cancels us
            if isinstance(options.tls, TlsFiles):
                loop.add_signal_handler(signal.SIGHUP, self._renew_certificate)
        port = server.port
        try:
            self._log.info(
                "listening",
                version=__version__,
                store=options.store,
                tls=self._tls is not None,
                access_pass=options.access_pass is not None,
                admin=admin_url is not None,
            )
            if self.few_files:
                self._log.warning("few-files", connections=options.limits.connections)
            self._warn_of_certificate()
            on_listening(Listening(url=self._url(port), admin=admin_url))
            await self._stopping.wait()
        finally:
            self._stopping.set()
            for timer in timers:
                timer.cancel()
            server.close()
            await self._drain()
            admin.close()
        if self._failure is not None:
            raise self._failure
        self._log.info("stopped")

    def _url(self, port: int) -> str:
        host = self._options.host
        at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return f"ws://{at}" if self._tls is None else f"wss://{at}#pin={pin_text(self._tls.shown.pin)}"

    async def _open_admin(self, admin: AdminPort) -> str | None:
        wanted = self._options.admin_port
        if wanted is None:
            return None
        try:
            return f"http://127.0.0.1:{await admin.listen(wanted)}"
        except OSError as error:
            raise UsageError("relay.address-in-use", port=wanted) from error

    def _why_not_ready(self) -> str | None:
        """None while appends are taken, else a short code (HT-R-132)."""
        if self._stopping.is_set():
            return "draining"
        if self.core.disk_full:
            return "disk-full"
        # Not for good: who is turned away by a load balancer sends no batch that could show that it is well again.
        return "storage" if self.now() < self._unstored_until else None

    # --- the batch ---

    def schedule(self) -> None:
        """Something arrived or drained: commit, feed and write at the end of this turn of the loop."""
        if not self._ticking:
            self._ticking = True
            self.loop.call_soon(self.tick)

    def tick(self) -> None:
        """Commit, feed, write."""
        self._ticking = False
        try:
            if self.core.pending:
                began = self.now()
                committed = self.core.commit(day=_day())
                counters = self.core.counters
                counters.batch_seconds.observe(self.now() - began)
                counters.batch_sizes.observe(committed.operations)
                self._unstored_until = self.now() + UNSTORED_SECONDS if committed.failure is not None else 0.0
                if committed.failure is not None:
                    self._log.error("commit-failed", code=committed.failure, operations=committed.operations)
                    self._look_at_disk()
            self.core.feed()
            self._write()
        except Exception as error:  # noqa: BLE001 (logged, and ends the process: what is in RAM cannot be trusted)
            self._fail(error)
            return
        if self.core.hungry:
            self.schedule()

    def _write(self) -> None:
        rooms = Rooms()
        for peer, messages in self.core.output():
            connection = self._connections.get(peer)
            if connection is not None:
                connection.socket.write(messages, rooms=rooms, last=peer.ended)

    def log_bug(self, error: BaseException) -> None:
        """Something escaped that should not exist."""
        self._reporting.error("bug", error)

    def _fail(self, error: BaseException) -> None:
        self.log_bug(error)
        self._failure = error
        self._stopping.set()

    def _on_loop_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # The default handler prints transports, and with them addresses.
        self._reporting.error("loop", context.get("exception"))

    # --- connections ---

    def welcome(self, socket: Accepted) -> "_Connection":
        """A WebSocket is open."""
        place = place_of(socket.address) if socket.address is not None else None
        name = None
        if place is not None:  # salted and hashed (HT-R-091)
            name = hashlib.blake2b(place, key=self._address_salt, digest_size=16).digest()
        peer = self.core.connect(address=name, now=self.now())
        connection = self._connections[peer] = _Connection(self, socket, peer)
        self._nobody.clear()
        self.schedule()
        return connection

    def disconnected(self, peer: Peer) -> None:
        """It is gone."""
        self._connections.pop(peer, None)
        self.core.disconnect(peer)
        if not self._connections:
            self._nobody.set()

    # --- timers ---

    async def _every(self, seconds: float, work: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                work()
            except Exception as error:  # noqa: BLE001
                self._fail(error)

    def _sweep(self) -> None:
        self._look_at_disk()
        for peer in self.core.sweep(now=self.now()):
            self._connections[peer].socket.ping()
        now = self.now()
        for peer, connection in list(self._connections.items()):
            if peer.ended:
                connection.socket.hurry()
            elif connection.socket.late(now=now):
                self.core.end(peer, RefusalCode.SLOW)
        self._unfinished.give_back()
        self.schedule()

    def _tend(self) -> None:
        if self._tending:
            return
        self._tending = True
        self._tend_step()

    def _tend_step(self) -> None:
        more = False
        if self._ended:
            return
        try:
            more = self.core.tend()
        except StorageError as error:
            self._log.error("tending", code=error.code)
        self._tending = more
        if more:
            self.loop.call_later(STEP_SECONDS, self._tend_step)

    def _look_at_disk(self) -> None:
        if self._folder is None:
            return
        free = self._folder.free_bytes()
        full = free < self._options.least_free
        if full is not self.core.disk_full:
            self.core.disk_full = full
            self._log.warning("disk-full" if full else "disk-free", free_mib=free >> 20)

    def _expire(self) -> None:
        day = _day()
        if day != self._swept_day:
            if self._swept_day >= 0:
                self._warn_of_certificate()  # daily
            self._swept_day = day
            self._expire_step(day)

    def _expire_step(self, day: int) -> None:
        if self._ended:
            return
        try:
            expired = self.core.expire(day=day)
        except StorageError as error:
            self._log.error("expiry", code=error.code)
            self._swept_day = -1  # again at the next look
            return
        if expired:
            self._log.info("expired", entries=expired.entries, channels=expired.channels)
            self.loop.call_later(STEP_SECONDS, self._expire_step, day)
        self.schedule()

    # --- the certificate ---

    def _look_at_certificate(self) -> None:
        if self._tls is not None and self._tls.changed():
            self._renew_certificate()

    def _renew_certificate(self) -> None:
        if self._tls is None:
            return
        outcome = self._tls.renew()
        (self._log.info if outcome == "renewed" else self._log.warning)("certificate", code=outcome)
        self._warn_of_certificate()

    def _warn_of_certificate(self) -> None:
        warning = None if self._tls is None else self._tls.shown.warning(dt.datetime.now(dt.UTC))
        if warning is not None:
            self._log.warning("certificate", code=warning)

    # --- the end ---

    async def _drain(self) -> None:
        self._log.info("draining", connections=len(self._connections), operations=self.core.pending)
        if self.core.pending and self._failure is None:
            self.tick()
        self.core.drain()
        self._write()
        if self._connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._nobody.wait(), self._options.drain)
        late = list(self._connections.values())
        for connection in late:
            connection.socket.abort()
        self._ended = True
        if self._failure is None:
            self._log.info("drained", cut_off=len(late))


class _Connection:
    """Between one WebSocket and its peer in the core (a `transport.accepting.Served`)."""

    __slots__ = ("_peer", "_serving", "socket")

    def __init__(self, serving: _Serving, socket: Accepted, peer: Peer) -> None:
        self.socket = socket
        self._serving = serving
        self._peer = peer

    def arrived(self, message: bytes) -> float:
        serving = self._serving
        try:
            seconds = serving.core.receive(self._peer, message, now=serving.now())
        except Exception as error:  # noqa: BLE001 (a bug must not take other people's connections with it)
            serving.log_bug(error)
            serving.core.end(self._peer, RefusalCode.MALFORMED)
            seconds = 0.0
        if seconds:
            serving.core.counters.overdrawn += 1
        if serving.core.crowded:
            serving.tick()
        serving.schedule()
        return seconds

    def heard(self) -> None:
        self._peer.seen = self._serving.now()

    def no_message(self, code: RefusalCode) -> None:
        self._serving.core.end(self._peer, code)
        self._serving.schedule()

    def choked(self, choked: bool) -> None:
        if choked:
            self._serving.core.pause(self._peer)
        else:
            self._serving.core.resume(self._peer)
            self._serving.schedule()

    def gone(self) -> None:
        self._serving.disconnected(self._peer)
