"""The index of search grows in the background, segment by segment, and loses the one of each text that goes (HT-S-090).

Nothing depends on it but speed: what is not indexed yet, or no more, is looked through one by one.
"""

import msgspec

from hanatalk.client.engine.formats import content, folding, grams
from hanatalk.errors import ContentError
from hanatalk.localdb import segments
from hanatalk.localdb.database import Database
from hanatalk.localdb.rows import ActionKind, MessageKind

PAUSE = 200  # milliseconds between two segments, so that it is never felt
CALM = 600_000  # milliseconds after which a segment that lost a text is indexed again: more may go soon


def searched(text: content.Text) -> str:
    """What search looks at in a message: its text, and the names of its files on lines of their own."""
    return "\n".join((text.text, *(attached.name for attached in text.attachments)))


def _searched(body: bytes, edited: bytes | None) -> str:
    """Empty: there is nothing, or this version cannot read it."""
    try:
        found = content.parse_body(body)
        said = content.parse_body(edited) if edited is not None else None
    except ContentError:
        return ""
    if not isinstance(found, content.Text):
        return ""
    return searched(msgspec.structs.replace(found, text=said.text) if isinstance(said, content.Edit) else found)


def wordings(database: Database, first: int, last: int, where: str = "1", *values: bytes) -> list[tuple[int, str]]:
    """Numbers and texts (`searched`), as they read now (`actions.wording`), of what can be found; the newest first.

    :param where: an own literal that says more about the row of `message`
    """
    rows = database.tuples(
        "SELECT number, body, (SELECT edited.body FROM action JOIN content AS edited USING (number) "  # noqa: S608
        "WHERE target = message.message AND action.kind = ? AND waits = 0 AND edited.body IS NOT NULL "
        "ORDER BY step DESC, action.device DESC LIMIT 1) FROM message JOIN content USING (number) "
        f"WHERE number BETWEEN ? AND ? AND kind = ? AND fate != ? AND body IS NOT NULL AND {where} "
        "ORDER BY number DESC",
        ActionKind.EDIT,
        first,
        last,
        MessageKind.PERSON,
        content.Fate.ONCE,
        *values,
    )
    found = []
    for number, body, edited in rows:
        if isinstance(number, int) and isinstance(body, bytes):
            text = _searched(body, edited if isinstance(edited, bytes) else None)
            if text:
                found.append((number, text))
    return found


class Index:
    """What of the index is to be written, and when."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dropped: set[int] = set()  # since it was last looked what is due
        self._missing: dict[int, int] | None = None  # segment -> not before; None: not looked yet
        self._known = 0  # segments below are written or missing
        self._next = 0  # not before

    @property
    def end(self) -> int:
        """The segment that is still being filled; it is not indexed."""
        return segments.segment_of(self._database.number("SELECT max(number) FROM content"))

    def forgotten(self, number: int) -> None:
        """A text goes or changes: within this transaction nothing of it stands in the index any more (HT-S-092).

        :param number: of the text, or of an edit that came or goes
        """
        edited = "SELECT message.number FROM action JOIN message ON message.message = target WHERE action.number = ?"
        for one in {number, self._database.number(edited, number)}:
            segment = segments.segment_of(one)
            if segments.is_written(self._database, segment):
                segments.drop(self._database, segment)
                self._dropped.add(segment)

    def step(self, now: int) -> None:
        """Write one segment, the newest that is due: some 15 ms of work, inside the caller's transaction."""
        missing = self._look(now)
        if now < self._next:
            return
        self._next = now + PAUSE
        for segment in sorted((segment for segment, at in missing.items() if at <= now), reverse=True):
            if not segments.is_written(self._database, segment):
                segments.write(self._database, segment, _buckets(self._database, segment))
                return  # stays in the list until it is seen to be there: the transaction may not come to its end
            del missing[segment]

    def next_due(self, now: int) -> int | None:
        """When the next step is due; None: there is nothing to do."""
        missing = self._look(now)
        return max(self._next, min(missing.values())) if missing else None

    def _look(self, now: int) -> dict[int, int]:
        if self._missing is None:
            self._known, there = self.end, segments.written(self._database)
            self._missing = {segment: 0 for segment in range(self._known) if segment not in there}
        while self._known < self.end:
            self._missing[self._known] = 0
            self._known += 1
        while self._dropped:
            self._missing[self._dropped.pop()] = now + CALM
        return self._missing


def _buckets(database: Database, segment: int) -> list[bytes]:
    first = segment * segments.LENGTH
    found = wordings(database, first, first + segments.LENGTH - 1)
    return grams.build((number - first, folding.fold(text)) for number, text in reversed(found))
