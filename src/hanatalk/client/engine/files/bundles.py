"""Bytes for an own or another device outside of any message, through an attachment channel (HT-C-159).

Who has the `Reference` can fetch: hand it over sealed. One bundle has one id of 16 bytes that its maker picks; both
sides may use the same. How far one is: `progress`, and the events `AttachmentProgress` (without a conversation).

    writer = bundles.writer(core)              # write pieces of any size, with or without knowing how many come
    reference = bundles.publish(core, writer.finish(), bundle=…, relay=…, readers=1)
    bundles.fetch(core, reference, bundle=…, relay=…)
    if bundles.progress(core, bundle).state == "here":
        for piece in bundles.read(core, bundle): …
    bundles.forget(core, bundle)               # both sides, once it is used: file, key, and what the relay holds

Everything but `writer` and `read` runs inside a transaction of the caller.
"""

from collections.abc import Iterator

import msgspec

from hanatalk.client.engine.core import Core
from hanatalk.client.engine.files import downloads, transfers, uploads
from hanatalk.client.engine.formats import chunking, policy
from hanatalk.client.engine.formats.references import Reference
from hanatalk.client.engine.messages import attached
from hanatalk.errors import ContentError, UsageError
from hanatalk.ids import MessageId, exact
from hanatalk.localdb.rows import Attachment, Transfer

TYPE, NAME = "application/x-hana-bundle", "bundle"


class Progress(msgspec.Struct, frozen=True):
    """`state` as in `calls.Attachment`; for one's own, ``here`` means that the relay has all of it."""

    state: str
    done: int  # bytes
    size: int
    failure: str | None = None


def writer(core: Core, *, size: int | None = None) -> chunking.Writer:
    """See `Writer`; usable in any thread. :raises StorageError: ``storage.full``"""
    return chunking.Writer(core.db.files, size=size)


def publish(core: Core, sealed: chunking.Sealed, *, bundle: bytes, relay: policy.Relay, readers: int) -> Reference:
    """Begin to bring it to a relay; goes on by itself, also after a restart.

    :param readers: devices that will fetch it; when so many have (1 to 8), the relay forgets it at once
    :raises ContentError: ``id.length``; :raises UsageError: ``attachment.too-many``: that id is in use
    """
    found = MessageId(exact(bundle, 16, "bundle"))
    _check_new(core, found)
    location = uploads.at(relay)
    uploads.begin(core, found, 0, sealed, location, readers=readers, bundle=True)
    staged = uploads.Staged(sealed=sealed, type=TYPE, name=NAME)
    return uploads.refer(staged, location.place)


def fetch(core: Core, reference: Reference, *, bundle: bytes, relay: policy.Relay) -> None:
    """Begin to fetch it; goes on by itself, also after a restart. `relay` is where both sides agreed that it lies.

    It may be on its way up still. One that never becomes whole stays ``fetching``: whoever made it publishes another.

    :raises ContentError: ``id.length``; ``attachment.relay``: it lies elsewhere
    :raises UsageError: ``attachment.too-many``: that id is in use; :raises StorageError: ``storage.full``
    """
    found = MessageId(exact(bundle, 16, "bundle"))
    if reference.place.relay_key != relay.key:
        raise ContentError("attachment.relay")
    _check_new(core, found)
    core.db.mls_write(downloads.bundle_owner(found), [(b"reference", msgspec.msgpack.encode(reference))])
    downloads.fetch(core, downloads.insert(core, found, 0, reference, relay.url, bundle=True))


def _check_new(core: Core, bundle: MessageId) -> None:
    if attached.rows(core, bundle):
        raise UsageError("attachment.too-many", limit=1)


def progress(core: Core, bundle: bytes) -> Progress | None:
    """None: there is no such bundle (any more)."""
    row = _row(core, bundle)
    if row is None:
        return None
    return Progress(transfers.STATES[Transfer(row.state)], transfers.done(core, row), row.size, row.failure)


def read(core: Core, bundle: bytes) -> Iterator[bytes]:
    """What came, piece by piece, each verified before it is given out.

    :raises ContentError: ``attachment.remote``: not all of it is here; ``attachment.damaged``
    :raises StorageError: the disk said no
    """
    row = _row(core, bundle)
    found = downloads.reference(core, row) if row is not None else None
    if row is None or found is None or row.file is None or row.state != Transfer.HERE:
        raise ContentError((row.failure if row is not None else None) or "attachment.remote")
    return chunking.read(core.db.files, row.file, found)


def forget(core: Core, bundle: bytes) -> None:
    """It was used, or is not wanted: everywhere."""
    attached.forget(core, MessageId(bundle))
    core.db.mls_delete(downloads.bundle_owner(bundle))


def _row(core: Core, bundle: bytes) -> Attachment | None:
    found = attached.rows(core, MessageId(bundle))
    return found[0] if found and found[0].bundle else None
