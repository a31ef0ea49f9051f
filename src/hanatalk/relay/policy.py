"""What the relay allows. Pure: no clock (times are arguments, in seconds of any monotonic clock), no I/O, no state but
the token buckets'.
"""

import hmac

import msgspec

from hanatalk.ids import ReadToken, WriteToken
from hanatalk.wire import frames
from hanatalk.wire.channels import channel_id_of, read_verifier, write_verifier
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.frames import ENTRY_SIZE, PROTOCOL_VERSION
from hanatalk.wire.proofs import access_proof, is_worked
from hanatalk.wire.refusals import RefusalCode

OWN_FILES = 64  # files of a relay that are no connections
_MESSAGE = EntryClass.MESSAGE  # most entries are; a name of the module is found faster than a member of an enum
BURN_AFTER = 9  # readers: eight other devices and the sender (docs/adr/0007); more would be a fingerprint (HT-R-043)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one relay accepts; an operator sets it. Rates are per second, 0 means no limit (HT-R-090 …)."""

    entry_size: int = ENTRY_SIZE
    connections: int = 20_000
    connections_per_address: int = 256
    handshakes: int = 1_024  # connections whose WebSocket is not open yet (HT-R-135)
    handshakes_per_address: int = 64
    channels: int = 4_096  # open at once on one connection
    channels_in_all: int = 1_000_000  # open at once on all connections
    requests_per_second: int = 2_000  # one connection
    bytes_per_second: int = 32 << 20  # one connection
    address_requests_per_second: int = 8_000
    address_bytes_per_second: int = 64 << 20
    burst_seconds: int = 10  # how much of an unused rate may be used at once
    hello_deadline: float = 10.0  # seconds from connecting to HELLO, and to PROOF if no work is asked
    work: int = 18  # bits of work asked for under pressure (HT-R-124): a quarter of a second; 0: never
    work_from: int = 15_000  # connections from which on it is
    work_deadline: float = 30.0  # seconds from connecting to PROOF if work is asked
    idle_deadline: float = 120.0  # seconds without one complete WebSocket frame
    unfinished_size: int = 64 << 20  # bytes of messages that are not whole yet, on all connections (HT-R-137)
    unborn_channels: int = 65_536  # incarnations remembered in RAM for channels nobody appended to
    unsent_size: int = 1 << 20  # bytes that wait for one connection before its pushes are read from the store instead

    def within(self, files: int) -> "Limits":
        """These limits as far as a process can hold them that may have so many files open (HT-R-090).

        Work is asked for when three quarters of the connections are taken at the latest (HT-R-124).
        """
        handshakes = min(self.handshakes, max(1, files // 8))
        connections = min(self.connections, max(1, files - handshakes - OWN_FILES))
        work_from = min(self.work_from, connections * 3 // 4)
        return msgspec.structs.replace(self, connections=connections, handshakes=handshakes, work_from=work_from)


class Capability(msgspec.Struct, frozen=True):
    """What an OPEN proved about a channel (HT-R-004)."""

    read: bool
    write: bool


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection has to show before anything else (HT-R-120). The challenge is fresh, 32 random bytes."""

    challenge: bytes
    pass_wanted: bool
    work: int  # bits


def check_hello(hello: frames.Hello) -> RefusalCode | None:
    """The version (HT-R-020)."""
    return None if PROTOCOL_VERSION in hello.versions else RefusalCode.VERSION


def check_proof(
    proof: frames.Proof, asked: Challenge, *, access_pass: bytes | None, relay_key: bytes
) -> RefusalCode | None:
    """The pass, in constant time, and the work (HT-R-123)."""
    challenge = asked.challenge
    if access_pass is not None and asked.pass_wanted:
        right = access_proof(access_pass, challenge=challenge, relay_key=relay_key)
        if proof.access is None or not hmac.compare_digest(proof.access, right):
            return RefusalCode.ACCESS_PASS
    if asked.work:
        nonce = proof.nonce
        if nonce is None or not is_worked(nonce, challenge=challenge, relay_key=relay_key, work=asked.work):
            return RefusalCode.WORK
    return None


def check_open(request: frames.Open) -> Capability | RefusalCode:
    """Whether tokens and verifiers make this channel id, and what they allow (HT-R-001, HT-R-004, HT-R-030)."""
    read = read_verifier(ReadToken(request.read)) if request.read_is_token else request.read
    write = write_verifier(WriteToken(request.write)) if request.write_is_token else request.write
    if not hmac.compare_digest(channel_id_of(read, write), request.channel_id):
        return RefusalCode.WRONG_CHANNEL_ID
    return Capability(read=request.read_is_token, write=request.write_is_token)


def check_append(request: frames.Append, capability: Capability, *, entry_size: int) -> RefusalCode | None:
    """Token, size and the combination of fields (HT-R-004, HT-R-042, HT-R-043)."""
    if not capability.write:
        return RefusalCode.WRITE_TOKEN_NEEDED
    if len(request.entry) > entry_size:
        return RefusalCode.ENTRY_SIZE
    entry_class = request.entry_class
    if entry_class is _MESSAGE:
        forbidden = request.commit
    elif entry_class is EntryClass.CONTROL:
        # Else an insider commits, lets half the group follow, and erases it (T-028).
        forbidden = request.burn_after is not None or request.erase_hash is not None
    elif entry_class is EntryClass.ATTACHMENT:
        forbidden = request.commit or request.turn is not None
    else:
        forbidden = request.commit or request.turn is not None or request.burn_after is not None
    if forbidden or (request.burn_after is not None and request.burn_after > BURN_AFTER):
        return RefusalCode.FIELDS
    return None


class TokenBucket:
    """How much of a rate is left. Lives in RAM only; overdrawn, it names how long to wait (HT-R-091)."""

    __slots__ = ("_burst", "_level", "_rate", "_then")

    def __init__(self, rate: float, *, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._then = now

    def spend(self, cost: float, *, now: float) -> float:
        """Take `cost` out, always. Returns the seconds until the bucket is no longer overdrawn, mostly 0."""
        if not self._rate:
            return 0.0
        level = self._level + (now - self._then) * self._rate
        if level > self._burst:
            level = self._burst
        self._then = now
        self._level = level = level - cost
        return 0.0 if level >= 0 else -level / self._rate

    def full(self, *, now: float) -> bool:
        """True if nothing is owed: such a bucket need not be remembered."""
        return self._level + (now - self._then) * self._rate >= self._burst
