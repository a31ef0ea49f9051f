"""The index's rows (HT-S-091): each segment sealed with a random key of its own, which goes when a text in it goes.

A key seals the buckets of one writing of one segment, with the bucket's number as nonce. It stands in table `seal`,
where it is overwritten in place, so that what SQLite leaves of old rows opens nothing (HT-S-062).
"""

from collections.abc import Collection

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hanatalk.errors import StorageError
from hanatalk.localdb.database import Database

LENGTH = 256  # message numbers in a segment
BUCKETS = 16


def segment_of(number: int) -> int:
    """The segment of a message number."""
    return number // LENGTH


def written(db: Database, first: int = 0, last: int = 2**62) -> set[int]:
    """The segments from `first` to `last` that have an index."""
    found = db.tuples("SELECT segment FROM segment WHERE segment BETWEEN ? AND ?", first, last)
    return {segment for (segment,) in found if isinstance(segment, int)}


def is_written(db: Database, segment: int) -> bool:
    """Whether this one has."""
    return db.value("SELECT 1 FROM segment WHERE segment = ?", segment) is not None


def write(db: Database, segment: int, buckets: list[bytes]) -> None:
    """Write a segment that has no index. :param buckets: `BUCKETS` values"""
    slot, key = db.seal_new()
    seal = AESGCM(key)
    db.execute("INSERT INTO segment (segment, slot) VALUES (?, ?)", segment, slot)
    for bucket, value in enumerate(buckets):
        place = segment * BUCKETS + bucket
        sealed = seal.encrypt(bucket.to_bytes(12), value, _name(place))
        db.execute("INSERT OR REPLACE INTO gram (place, value) VALUES (?, ?)", place, sealed)


def drop(db: Database, segment: int) -> None:
    """A segment's index can be read no more, nor what is left of it on the disk; its rows are replaced later."""
    slot = db.value("SELECT slot FROM segment WHERE segment = ?", segment)
    if isinstance(slot, int):
        db.seal_free(slot)
        db.execute("DELETE FROM segment WHERE segment = ?", segment)


def read(db: Database, bucket: int, among: Collection[int]) -> dict[int, bytes]:
    """One bucket of each of these segments that is indexed. :raises StorageError: ``storage.broken``"""
    rows = db.tuples(
        "SELECT segment, seal.key, value FROM segment JOIN seal USING (slot) JOIN gram ON place = segment * ? + ? "
        "WHERE segment BETWEEN ? AND ?",
        BUCKETS,
        bucket,
        min(among),
        max(among),
    )
    found: dict[int, bytes] = {}
    for segment, key, value in rows:
        if not (isinstance(segment, int) and isinstance(key, bytes) and isinstance(value, bytes)):
            raise StorageError("storage.broken", what="index")
        if segment not in among:
            continue
        try:
            found[segment] = AESGCM(key).decrypt(bucket.to_bytes(12), value, _name(segment * BUCKETS + bucket))
        except InvalidTag as error:
            raise StorageError("storage.broken", what="index") from error
    return found


def _name(place: int) -> bytes:
    return b"gram" + place.to_bytes(8)
