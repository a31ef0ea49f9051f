"""Search over all conversations, newest first (HT-C-185 …): the index names candidates, the texts themselves decide."""

from collections.abc import Iterator

from hanatalk.client import calls
from hanatalk.client.engine import indexing
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import folding, grams
from hanatalk.client.engine.formats.folding import Word
from hanatalk.client.engine.formats.grams import Gram
from hanatalk.client.engine.messages import actions
from hanatalk.client.engine.seen import views
from hanatalk.ids import ConversationId
from hanatalk.localdb import segments
from hanatalk.localdb.rows import Message, MessageKind

STRIDES = 8, 128  # segments that are looked up together: at first, at most
FEW = 32  # texts that are sooner read than narrowed down
_ALL = (1 << segments.LENGTH) - 1


def found(
    core: Core, query: str, *, conversation: str | None, before: str | None, limit: int
) -> Iterator[calls.Found | None]:
    """At most `limit` messages, as people see them; None now and then: time to do something else.

    :raises UsageError: ``search.empty``, ``search.too-long``, ``name.unknown``, ``name.ambiguous``, ``message.unknown``
    """
    wanted = folding.words(query)
    within = views.resolve(core, conversation).conversation if conversation is not None else None
    older = views.resolve_message(core, before).number if before is not None else None
    return _found(core, wanted, search(core, wanted, conversation=within, before=older), limit)


def _found(core: Core, wanted: list[Word], numbers: Iterator[int | None], limit: int) -> Iterator[calls.Found | None]:
    count = 0
    for number in numbers:
        if count >= limit:
            return
        one = shown(core, number, wanted) if number is not None else None
        count += one is not None
        yield one


def search(
    core: Core, wanted: list[Word], *, conversation: ConversationId | None = None, before: int | None = None
) -> Iterator[int | None]:
    """Numbers of the messages that have every word, newest first. None now and then: time to do something else.

    Messages that come while this runs are not seen; one that went meanwhile may have been given already.

    :param before: only older ones than the message of this number
    """
    last = core.db.number("SELECT max(number) FROM content") if before is None else before - 1
    at = segments.segment_of(last)
    stride, most = STRIDES
    while at >= 0:
        first = max(0, at - stride + 1)
        candidates = _candidates(core, wanted, first, at)
        for segment in range(at, first - 1, -1):
            places = candidates.get(segment)
            if places != 0:
                yield from _look_through(core, wanted, segment, places, conversation, last)
            if places is None:
                yield None
        yield None
        at, stride = first - 1, min(most, stride * 2)


def _candidates(core: Core, wanted: list[Word], first: int, last: int) -> dict[int, int]:
    """For each indexed segment a bitmap of the messages that may match."""
    found = dict.fromkeys(segments.written(core.db, first, last), _ALL)
    for word in wanted:
        either = dict.fromkeys(found, 0)
        for pattern in grams.of_word(word):
            for segment, places in _having(core, pattern, found).items():
                either[segment] |= places
        found = either
    return found


def _having(core: Core, pattern: list[Gram], among: dict[int, int]) -> dict[int, int]:
    found = {segment: places for segment, places in among.items() if places}
    for bucket, name in pattern:
        if sum(map(int.bit_count, found.values())) <= FEW:
            break
        rows = segments.read(core.db, bucket, found.keys())
        found = {segment: left for segment, row in rows.items() if (left := found[segment] & grams.find(row, name))}
    return found


def _look_through(
    core: Core,
    wanted: list[Word],
    segment: int,
    places: int | None,
    conversation: ConversationId | None,
    last: int,
) -> Iterator[int]:
    start = segment * segments.LENGTH
    where: str = "1"
    values: tuple[bytes, ...] = ()
    if places is not None:
        chosen = (str(start + place) for place in range(segments.LENGTH) if places >> place & 1)
        where = f"number IN ({','.join(chosen)})"
    if conversation is not None:  # a whisper is shown in its group's thread too (HT-C-117)
        where, values = f"{where} AND (conversation = ? OR thread = ?)", (conversation, conversation)
    end = min(last, start + segments.LENGTH - 1)
    for number, text in indexing.wordings(core.db, start, end, where, *values):
        if folding.matches(folding.fold(text), wanted):
            yield number


def shown(core: Core, number: int, wanted: list[Word]) -> calls.Found | None:
    """A message that was found, as people see it; None when it is gone."""
    message = core.db.first(Message, "number = ? AND kind = ?", number, MessageKind.PERSON)
    text = actions.wording(core, message) if message else None
    if message is None or text is None:
        return None
    row = core.conversation(message.conversation)
    return calls.Found(
        message=message.message.hex(),
        conversation=row.conversation.hex(),
        name=core.conversation_name(row),
        from_=core.name(message.account),
        from_account=message.account.hex(),
        text=text.text,
        sent_at=views.rfc3339(message.sent_at),
        matches=folding.places(text.text, wanted),
        files=[attached.name for attached in text.attachments],
    )
