"""The first answer to each entry_id that has settled, so that a repeated append is answered and not stored again.

They stand in runs: what of one channel settled together is one row, appended behind the earlier ones (HT-S-028). Which
channel has answered an entry_id is asked at every append and mostly answered no by a filter in RAM; else its runs are
searched.
"""

import struct
from collections.abc import Iterable
from typing import Any

from hanatalk.cipherfile import EncryptedConnection
from hanatalk.ids import EntryId
from hanatalk.stores.held import Channel

_ANSWER = struct.Struct(">16sII")  # entry_id, seq, turn after the entry
BITS_EACH = 16  # of the filter: at most one in 16 of the ids that are new is searched for in vain
LEAST_BITS = 512


class Answers:
    """The table `answers`. A channel's filter goes with the `Channel`, and so after every rollback."""

    def __init__(self, connection: EncryptedConnection) -> None:
        self._connection = connection

    def find(self, channel: Channel, entry_id: EntryId) -> tuple[int, int, int] | None:
        """Seq, turn and day of the newest answer."""
        bits = channel.answered if channel.answered is not None else self._filter(channel)
        place = hash(entry_id) % (len(bits) * 8)
        if not bits[place >> 3] >> (place & 7) & 1:
            return None
        for day, run in self._connection.all(
            "SELECT day, run FROM answers WHERE n > ? AND n < ? ORDER BY n DESC", (channel.first_key, channel.end_key)
        ):
            at = run.find(entry_id)
            while at >= 0 and at % _ANSWER.size:
                at = run.find(entry_id, at + 1)
            if at >= 0:
                _, seq, turn = _ANSWER.unpack_from(run, at)
                return seq, turn, day
        return None

    def add(self, runs: Iterable[tuple[Channel, int, list[tuple[EntryId, int, int]]]]) -> None:
        """Runs of a channel and a day: entry_id, seq and turn after it of each, by ascending seq."""
        rows = []
        for channel, day, answers in runs:
            rows.append((channel.first_key | answers[0][1], day, b"".join(_ANSWER.pack(*answer) for answer in answers)))
            channel.has_answers = True
            bits = channel.answered
            if bits is not None:
                channel.answers += len(answers)
                if channel.answers * BITS_EACH > len(bits) * 8:
                    channel.answered = None
                else:
                    _mark(bits, answers)
        self._connection.executemany("INSERT OR REPLACE INTO answers (n, day, run) VALUES (?, ?, ?)", rows)

    def _filter(self, channel: Channel) -> bytearray:
        found = self._connection.all(
            "SELECT run FROM answers WHERE n > ? AND n < ?", (channel.first_key, channel.end_key)
        )
        channel.answers = sum(len(run) for (run,) in found) // _ANSWER.size
        bits = bytearray(max(LEAST_BITS, 1 << (2 * channel.answers * BITS_EACH).bit_length()) // 8)
        for (run,) in found:
            _mark(bits, _ANSWER.iter_unpack(run))
        channel.answered = bits
        return bits

    def clean(self, channel: Channel, *, until: int) -> None:
        """Remove the answers of this day and earlier ones; once a day is enough (HT-S-012)."""
        if channel.ids_cleaned < until:
            channel.ids_cleaned = until
            self._connection.execute(
                "DELETE FROM answers WHERE n > ? AND n < ? AND day <= ?", (channel.first_key, channel.end_key, until)
            )


def _mark(bits: bytearray, answers: Iterable[tuple[Any, ...]]) -> None:
    """Let the filter know the entry_ids, the first of each."""
    size = len(bits) * 8
    for entry_id, *_ in answers:
        place = hash(entry_id) % size
        bits[place >> 3] |= 1 << (place & 7)
