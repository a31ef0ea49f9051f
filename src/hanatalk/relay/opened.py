"""What the relay keeps in RAM, and only there: connections, opened channels, subscriptions, addresses."""

from hanatalk.ids import ChannelId, Incarnation
from hanatalk.relay.policy import Capability, Challenge, Limits, TokenBucket
from hanatalk.wire.relay import RelayConnection


class Address:
    """Where connections come from, by an opaque name; forgotten when nothing is owed."""

    __slots__ = ("bytes", "connections", "requests")

    def __init__(self, limits: Limits, *, now: float) -> None:
        self.connections = 0
        burst = limits.burst_seconds
        rate = limits.address_requests_per_second
        self.requests = TokenBucket(rate, burst=rate * burst, now=now)
        rate = limits.address_bytes_per_second
        self.bytes = TokenBucket(rate, burst=rate * burst, now=now)

    def forgettable(self, *, now: float) -> bool:
        return not self.connections and self.requests.full(now=now) and self.bytes.full(now=now)


class Channel:
    """A channel that some connection has open."""

    __slots__ = ("channel_id", "head", "incarnation", "openers", "subscriptions")

    def __init__(self, channel_id: ChannelId, incarnation: Incarnation, *, head: int) -> None:
        self.channel_id = channel_id
        self.incarnation = incarnation
        self.head = head  # last committed seq
        self.openers = 0
        self.subscriptions: dict[Subscription, None] = {}


class Opened:
    """One handle of one connection."""

    __slots__ = ("acknowledged", "capability", "channel", "subscription")

    def __init__(self, channel: Channel, capability: Capability) -> None:
        # The acknowledgement in the batch that waits: number of the batch, reader, index of its operation.
        self.acknowledged: tuple[int, bytes, int] | None = None
        self.channel = channel
        self.capability = capability
        self.subscription: Subscription | None = None


class Subscription:
    """Where one subscriber stands. Behind, it reads from the store; else it gets what is committed."""

    __slots__ = ("behind", "caught_up", "channel", "cursor", "handle", "peer")

    def __init__(self, peer: "Peer", channel: Channel, *, handle: int, cursor: int) -> None:
        self.peer = peer
        self.channel = channel
        self.handle = handle
        self.cursor = cursor
        self.behind = True
        self.caught_up = False  # CAUGHT_UP was sent


class Peer:
    """One connection."""

    __slots__ = (
        "_credit_bytes",
        "_credit_requests",
        "_unpaid_bytes",
        "_unpaid_requests",
        "address",
        "behind",
        "bytes",
        "challenge",
        "connected_at",
        "connection",
        "ended",
        "handles",
        "paused",
        "requests",
        "seen",
    )

    def __init__(
        self, limits: Limits, *, address: Address | None, challenge: Challenge | None = None, now: float
    ) -> None:
        self.connection = RelayConnection(challenged=challenge is not None)
        self.challenge = challenge
        self.address = address
        self.handles: dict[int, Opened] = {}
        self.behind: dict[Subscription, None] = {}
        self.paused = False
        self.ended = False
        self.connected_at = now
        self.seen = now
        burst = limits.burst_seconds
        self.requests = TokenBucket(limits.requests_per_second, burst=limits.requests_per_second * burst, now=now)
        self.bytes = TokenBucket(limits.bytes_per_second, burst=limits.bytes_per_second * burst, now=now)
        # Up to a hundredth of a second's worth goes unpaid for a while.
        self._credit_requests = limits.requests_per_second // 100
        self._credit_bytes = limits.bytes_per_second // 100
        self._unpaid_requests = 0
        self._unpaid_bytes = 0

    def spend(self, requests: int, size: int, *, now: float) -> float:
        """Seconds until this connection, and its address, are no longer overdrawn."""
        self._unpaid_requests += requests
        self._unpaid_bytes += size
        if self._unpaid_requests < self._credit_requests and self._unpaid_bytes < self._credit_bytes:
            return 0.0  # paid together later: asking four buckets per message costs more than the message
        requests, size = self._unpaid_requests, self._unpaid_bytes
        self._unpaid_requests = self._unpaid_bytes = 0
        wait = max(self.requests.spend(requests, now=now), self.bytes.spend(size, now=now))
        if self.address is not None:
            wait = max(wait, self.address.requests.spend(requests, now=now), self.address.bytes.spend(size, now=now))
        return wait


class Unborn:
    """Incarnations of channels that were opened but never appended to; the oldest go first (HT-R-005)."""

    __slots__ = ("_incarnations", "_most")

    def __init__(self, most: int) -> None:
        self._incarnations: dict[ChannelId, Incarnation] = {}
        self._most = most

    def pop(self, channel_id: ChannelId) -> Incarnation | None:
        return self._incarnations.pop(channel_id, None)

    def remember(self, channel_id: ChannelId, incarnation: Incarnation) -> None:
        self._incarnations[channel_id] = incarnation
        if len(self._incarnations) > self._most:
            del self._incarnations[next(iter(self._incarnations))]
