"""Conversations as lines of text. Pure: the time zone and the painter are arguments."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from hanatalk.cli import shown
from hanatalk.cli.sizes import in_bytes
from hanatalk.client.calls import Chat, Found, MemberShown, Message, Reader

Paint = Callable[[str, str], str]  # (text, SGR parameter) -> text


@dataclass(frozen=True, kw_only=True)
class Words:
    """In the reader's language. `me`: what my own messages are signed with; the others stand beside or for a text.

    `once`: unopened; `once_opened`: opened, or my own. `no_text`: what is answered is not here.
    """

    me: str
    recalled: str
    failed: str
    edited: str
    once: str
    once_opened: str
    whisper: str
    no_text: str
    sticker: str


YELLOW, DIM, BOLD, RED, GREEN = "33", "2", "1", "31", "32"

_SMALL = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_MARKS = {"queued": "…", "stored": "✓", "delivered": "✓✓"}


def moment(stamp: str, zone: tzinfo | None = None) -> datetime:
    """An RFC 3339 time in the reader's time zone (None: this machine's)."""
    return datetime.fromisoformat(stamp).astimezone(zone)


def chat(chat: Chat, *, state: str = "", paint: Paint) -> str:
    """One line per conversation: name, what is wrong (`state`), unread pill, the last message, the id's beginning."""
    name = shown.name(chat.name) + (f" ({chat.members})" if chat.kind == "group" else "")
    unread = f" {paint(f'[{chat.unread}]', BOLD)}" if chat.unread else ""
    last = "" if chat.last is None else f"  {_one_line(chat.last)}"
    wrong = f" {paint(f'({state})', YELLOW)}" if state else ""
    return f"{paint(name, BOLD)}{wrong}{unread}{last}  {paint(chat.conversation[:8], DIM)}"


def history(
    messages: Sequence[Message],
    *,
    own: str,
    words: Words,
    paint: Paint,
    zone: tzinfo | None = None,
    ids: bool = False,
) -> Iterator[str]:
    """A date above each day's messages, then one `message` each.

    :param own: my account id
    :param ids: with the beginning of each message's id, for commands that name one
    """
    day = None
    for one in messages:
        sent = moment(one.sent_at, zone)
        if sent.date() != day:
            day = sent.date()
            yield paint(f"── {day.isoformat()} ──", DIM)
        line = message(one, own=own, words=words, paint=paint, zone=zone)
        yield f"{line}  {paint(one.message[:8], DIM)}" if ids else line


def message(message: Message, *, own: str, words: Words, paint: Paint, zone: tzinfo | None = None) -> str:
    """Time, name, text; at an own message how far it got and, small, how many have not read it (the 1)."""
    mine = message.from_account == own
    name = words.me if mine else shown.name(message.from_)
    start = f"{moment(message.sent_at, zone):%H:%M}  "
    if message.recalled:
        return f"{paint(start, DIM)}{paint(name, BOLD)}: {paint(words.recalled, DIM)}"
    below = "\n" + " " * len(start) + "  "
    body = _body(message, mine=mine, words=words, paint=paint).replace("\n", below)
    whisper = f" {paint(words.whisper, YELLOW)}" if message.thread else ""
    answered = ""
    if message.reply is not None:
        asked = words.no_text if message.reply.gone else _one_line(message.reply.text)
        answered = paint(f"↳ {shown.name(message.reply.from_)}: {asked}", DIM) + below
    edited = f" {paint(words.edited, DIM)}" if message.edited_at else ""
    progress = _progress(message, words, paint) if mine else ""
    line = f"{paint(start, DIM)}{paint(name, BOLD)}{whisper}: {answered}{body}{edited}{progress}{_reactions(message)}"
    return line + "".join(below + paint(each, DIM) for each in _attachments(message))


def _attachments(message: Message) -> Iterator[str]:
    """Name and size of each, and the id that `save` wants."""
    for each in message.attachments:
        yield f"📎 {shown.name(each.name)} ({in_bytes(each.size)})  {message.message[:8]}"


def _body(message: Message, *, mine: bool, words: Words, paint: Paint) -> str:
    if message.view_once:
        return paint(words.once_opened if mine or message.opened else words.once, DIM)
    if message.sticker and not message.text:
        return paint(f"{words.sticker} {shown.name(message.sticker)}", DIM)
    shown_text, end = "", 0
    for mention in message.mentions:
        shown_text += shown.text(message.text[end : mention.start])
        end = mention.start + mention.length
        shown_text += paint(shown.text(message.text[mention.start : end]), BOLD)
    return shown_text + shown.text(message.text[end:])


def _reactions(message: Message) -> str:
    counted = [
        shown.name(reaction.emoji) + (str(reaction.count) if reaction.count > 1 else "")
        for reaction in message.reactions
    ]
    return f"  [{' '.join(counted)}]" if counted else ""


def found(one: Found, *, own: str, me: str, paint: Paint, zone: tzinfo | None = None) -> str:
    """Day, time, conversation, who, the text with what was looked for standing out, the id's beginning."""
    name = me if one.from_account == own else shown.name(one.from_)
    start = f"{moment(one.sent_at, zone):%Y-%m-%d %H:%M}  "
    where = f"{shown.name(one.name)} · " if one.name != one.from_ else ""
    parts, at = [], 0
    for first, end in one.matches:
        parts += [shown.text(one.text[at:first]), paint(shown.text(one.text[first:end]), YELLOW)]
        at = end
    lines = "".join([*parts, shown.text(one.text[at:])]).split("\n")
    lines = [line for line in (*lines, *(f"📎 {shown.name(file)}" for file in one.files)) if line or one.text]
    body = ("\n" + " " * len(start) + "  ").join(lines)
    return f"{paint(start, DIM)}{where}{paint(name, BOLD)}: {body}  {paint(one.message[:8], DIM)}"


def _progress(message: Message, words: Words, paint: Paint) -> str:
    mark = _MARKS.get(message.state)
    shown_mark = f" {paint(mark, DIM)}" if mark else ""
    if message.state == "failed":
        shown_mark = f" {paint(f'✗ {words.failed}', RED)}"
    about = "≈" if message.approximate else ""
    count = f" {paint(about + str(message.unread).translate(_SMALL), YELLOW)}" if message.unread else ""
    return shown_mark + count


def _one_line(text: str, longest: int = 60) -> str:
    line = " ".join(shown.text(text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def member(member: MemberShown, *, marks: Sequence[str], paint: Paint) -> str:
    """Name, what is to be known of them, the account's beginning."""
    said = f" ({', '.join(marks)})" if marks else ""
    return f"{paint(shown.name(member.name), BOLD)}{said}  {paint(member.account[:8], DIM)}"


def reader(reader: Reader, *, state: str, paint: Paint) -> str:
    """Name and whether they have read it."""
    return f"{paint(shown.name(reader.name), BOLD)}  {paint(state, DIM)}"
