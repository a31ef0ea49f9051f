"""What an operator decides about one relay."""

from pathlib import Path
from typing import Literal

import msgspec

from hanatalk.relay.policy import Limits
from hanatalk.stores.interface import Quota, Retention


class TlsFiles(msgspec.Struct, frozen=True):
    """An operator's certificate: the relay's own, then intermediates; and its private key. Both PEM (HT-R-103)."""

    certificate: Path
    key: Path


class RelayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Arguments of `relay.serve.run`. The access pass stays out of the repr.

    :param host: without TLS a loopback address or name: plain ``ws://`` is refused elsewhere (HT-R-093).
    :param port: 0 picks a free one.
    :param data: folder for the store, its key and the signing key; None only with the memory store.
    :param tls: ``"self"``: a key of the relay's own; None: plain (HT-R-100).
    :param key: where the store's key lies: ``"beside"`` it, only in ``"ram"``, or the path of a file elsewhere.
    :param policy: the operator's own words to every client, at most 1,024 characters.
    :param least_free: bytes of disk below which new appends are refused (HT-R-044).
    :param drain: seconds that stopping may take.
    :param admin_port: of the admin port on 127.0.0.1 (HT-R-130); 0 picks a free one, None: there is none.
    :param metrics_every: seconds for which the page of metrics stays as it is (HT-R-131).
    """

    host: str = "127.0.0.1"
    port: int = 7710
    tls: TlsFiles | Literal["self"] | None = None
    data: Path | None = None
    store: Literal["sqlite", "memory"] = "sqlite"
    key: str = "beside"
    retention: Retention = Retention()
    quota: Quota = Quota()
    limits: Limits = Limits()
    access_pass: bytes | None = None
    policy: str = ""
    least_free: int = 256 << 20
    drain: float = 5.0
    admin_port: int | None = None
    metrics_every: float = 60.0
    log: Literal["json", "text"] = "json"
    log_level: Literal["info", "warning", "error"] = "info"

    def __repr__(self) -> str:
        return f"RelayOptions(store={self.store!r}, access_pass={self.access_pass is not None})"


class Listening(msgspec.Struct, frozen=True, kw_only=True):
    """Where a relay that runs can be reached: its URL, and the admin port's, if there is one."""

    url: str
    admin: str | None
