"""What other people wrote, on somebody's terminal; and what somebody typed, or pasted, as a command (T-073, T-034)."""

import io
import json
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from gettext import GNUTranslations
from pathlib import Path
from typing import Any

import click
import msgspec

from fuzz.mutation import TEXTS, tree
from fuzz.target import Attack, Target, hold
from hanatalk import words
from hanatalk.cli import durations, errors, handing_over, listening, output, relays, rendering, settings, talk
from hanatalk.cli.command import Command, Group
from hanatalk.cli.entry import COMMANDS
from hanatalk.client import calls, events
from hanatalk.errors import HanaError, RefusedError, UsageError
from hanatalk.relay import limiting
from hanatalk.relay.options import RelayOptions
from hanatalk.relay.warrant import FileHeld, Part, Report
from hanatalk.words import particles
from hanatalk.words.catalogue import Language

# Unicode's Default_Ignorable_Code_Point, and the two blanks that are letters: written down here once more, from the
# standard, so that a range forgotten in `shown` is seen.
_IGNORABLE = [(0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)]
_IGNORABLE += [
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
]
_IGNORABLE += [
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
    (0x2800, 0x2800),
]
IGNORABLE = frozenset(chr(number) for first, last in _IGNORABLE for number in range(first, last + 1))
JOINERS = "\u200c\u200d"
SELECTORS = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), *range(0x180B, 0x180E), 0x180F)))
STAMP = "2026-11-24T12:34:56.789Z"


def check(text: str, *, breaks: str = "") -> None:
    """:raises Broken: something that a terminal obeys, that reorders, or that nobody sees"""
    for place, character in enumerate(text):
        if character in breaks:
            continue
        before = text[place - 1] if place else " "
        if character in JOINERS:  # part of a letter or an emoji, or nothing
            hold(unicodedata.category(before)[0] in "LMS", "a joiner that joins nothing")
            continue
        if character in SELECTORS:
            named = unicodedata.name(before, "").startswith(("CJK", "MONGOLIAN"))
            keycap = before in "0123456789#*" and text[place + 1 : place + 2] == "\u20e3"
            hold(
                named or keycap or unicodedata.category(before)[0] == "S" or before in "‼⁉ℹ〰",
                "a selector that selects nothing",
            )
            continue
        category = unicodedata.category(character)
        hold(category not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"), f"U+{ord(character):04X} reaches the terminal")
        hold(character not in IGNORABLE, f"U+{ord(character):04X} is invisible")


def _texts(value: Any) -> list[str]:
    """Four texts of an input: strings of a MessagePack list, or the bytes as a lenient client would have read them."""
    found = [part for part in value if isinstance(part, str)] if isinstance(value, list) else []
    return (found + [""] * 4)[:4]


def _read(given: bytes) -> tuple[int, list[str]]:
    try:
        value = msgspec.msgpack.decode(given)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        value = [given.decode("utf-8", "surrogatepass" if len(given) % 2 else "replace")] if _decodable(given) else []
    number = value[0] if isinstance(value, list) and value and isinstance(value[0], int) else 0
    return abs(number), _texts(value)


def _decodable(given: bytes) -> bool:
    try:
        given.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _unpainted(text: str, _: str) -> str:
    return text


def _keys() -> list[str]:
    catalogue = Path(words.__file__).with_name("ko.mo")
    with catalogue.open("rb") as opened:
        found = GNUTranslations(opened)._catalog  # type: ignore[attr-defined]
    keys = {key[0] if isinstance(key, tuple) else key for key in found}
    return sorted(key.removeprefix("hint\x04") for key in keys if key)


def _outputs() -> list[output.Output]:
    return [output.Output(settings.Settings(home_given=None, json=False, language=language)) for language in Language]


def _events(name: str, text: str, other: str) -> list[events.Event]:
    message = calls.Message(
        message="00ff",
        conversation="11",
        from_=name,
        from_account="22",
        text=text,
        sent_at=STAMP,
        state="received",
        unread=1,
    )
    return [
        events.MessageReceived(message=message),
        events.MessageReceived(message=msgspec.structs.replace(message, from_account="me", state="failed", unread=3)),
        events.MessageReceived(message=msgspec.structs.replace(message, expires_at=STAMP, timer=60)),
        events.MessageReceived(message=msgspec.structs.replace(message, recalled=True)),
        events.MessageGone(conversation="11", message="00ff", reason="recalled"),
        events.MemberRejoined(conversation="11", account="22", name=name),
        events.ConversationChanged(conversation="11", state="rejoining"),
        events.OwnMissing(conversation="11", first=1, last=3),
        events.GapFound(conversation="11", from_=name, first=1, last=3),
        events.GapClosed(conversation="11", from_=name, first=1, last=3),
        events.EntryDamaged(conversation="11", seq=1, code="entry.damaged"),
        events.MemberJoined(conversation="11", account="22", name=name),
        events.InviteRefused(invite="33", refused=2),
        events.ConnectionChanged(relay=other, connected=False, queued=1),
    ]


def _terminal() -> Attack:
    outputs, keys = _outputs(), _keys()
    account = calls.Account(account="me", device="00", name="나", relay="ws://127.0.0.1:1", connected=True, queued=0)

    def attack(given: bytes) -> None:
        number, (name, text, third, fourth) = _read(given)
        for event in _events(name, text, third):
            line = listening._line(outputs[number % 2], account, event)
            if isinstance(event, events.MessageReceived):
                check(line, breaks="\n\t")
                hold(all(part.startswith("  ") for part in line.split("\n")[1:]), "a text that looks like another line")
            else:
                check(line)
            json.loads(output.encoded(event))
        chat = calls.Chat(
            conversation="11" * 16, name=name, kind="group", members=3, unread=1, last=text, verified=False
        )
        check(rendering.chat(chat, paint=_unpainted))
        spans = [(number % 5, number % 5 + 2), (number % 5 + 2, len(text))][: number % 3]
        spans = [span for span in spans if span[1] <= len(text)]
        found = calls.Found(
            message="00ff",
            conversation="11",
            name=third,
            from_=name,
            from_account="22",
            text=text,
            sent_at=STAMP,
            matches=spans,
        )
        check(rendering.found(found, own="me", me="나", paint=_unpainted), breaks="\n\t")
        values: dict[str, str | int] = {"n": number}
        for where in (
            "name",
            "text",
            "relay",
            "reason",
            "path",
            "what",
            "command",
            "option",
            "value",
            "code",
            "got",
            "detail",
            "policy",
        ):
            values[where] = (name, text, third, fourth)[len(where) % 4]
        key = keys[number % len(keys)]
        for said in (outputs[0].say(key, **values), outputs[1].say(key, **values)):
            check(said, breaks="\n")
            hold(said.count("\n") <= 20, "a value that breaks the line")
        error = (HanaError, UsageError, RefusedError)[number % 3](
            key, **{k: v for k, v in values.items() if k != "code"}
        )
        reported = _reported(error, as_json=False)
        check(reported, breaks="\n")
        hold(
            all(line.startswith("      ") for line in reported.splitlines()[1:]), "a value that looks like another line"
        )
        check(_reported(error, as_json=True), breaks="\n")

    return attack


def _reported(error: HanaError, *, as_json: bool) -> str:
    """What `hana` writes to stderr about an error."""
    buffer = io.BytesIO()
    written = io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace")
    before, sys.stderr = sys.stderr, written
    try:
        errors.report(error, settings.Settings(home_given=None, json=as_json, language=Language.KO))
        written.flush()
    finally:
        sys.stderr = before
    text: str = buffer.getvalue().decode()
    if as_json:
        json.loads(text)
    return text


def _exact_json() -> Attack:
    def attack(given: bytes) -> None:
        _, texts = _read(given)
        texts = [text.encode("utf-8", "replace").decode() for text in texts]
        line = output.encoded({"texts": texts}).decode()
        hold(json.loads(line) == {"texts": texts}, "another value than was meant")
        for character in line[:-1]:
            hold(
                character in JOINERS or unicodedata.category(character) not in ("Cc", "Zl", "Zp"),
                "a terminal obeys this",
            )
            hold(not 0x202A <= ord(character) <= 0x202E and not 0x2066 <= ord(character) <= 0x2069, "reorders the line")

    return attack


def _particles() -> Attack:
    def attack(given: bytes) -> None:
        _, texts = _read(given)
        for word in texts:
            final = particles.last_consonant(word)
            hold(final is None or len(final) < 2, "more than one consonant")
            for choice, forms in particles.PARTICLES.items():
                hold(particles.particle(word, choice) in forms, "a form that there is not")

    return attack


def _warrant() -> Attack:
    outputs = _outputs()

    def attack(given: bytes) -> None:
        number, (name, text, third, _) = _read(given)
        files = [FileHeld(name, number, [Part("pages of " + text, 1), Part(third, 1)])]
        found = msgspec.structs.replace(_report(), files=files, rows={third: number})
        for line in handing_over.lines(found, outputs[number % 2].say):
            check(line)

    return attack


def _report() -> Report:
    return Report(files=[], total=0, rows={}, entries=[], channels=[], absent=["accounts"])


def _command_line() -> Attack:
    """Words of a command line, parted by NUL: the parser of every command, and the look ahead."""
    top = Group("hana", lazy=COMMANDS, top=True, help="cli.help.hana")

    def attack(given: bytes) -> None:
        arguments = [word.decode("utf-8", "surrogateescape") for word in given.split(b"\0")][:40]
        found = settings.from_environment(arguments, {"LANG": arguments[-1], "LC_ALL": arguments[0]})
        try:
            with top.make_context("hana", list(arguments), obj=found) as context:
                _parse(top, context, [*context._protected_args, *context.args])
        except click.exceptions.Exit:
            pass
        except click.ClickException as error:
            said = errors.from_click(error)
            check(output.said(found, said.code, said.detail))
            raise

    return attack


def _parse(group: click.Group, context: click.Context, rest: Sequence[str]) -> None:
    if not rest:  # `hana --json`: invoking the group says so
        return
    name, command, after = group.resolve_command(context, list(rest))
    if command is None or name == "demo":
        return
    with command.make_context(name, after, parent=context) as inner:
        if isinstance(command, click.Group):
            _parse(command, inner, [*inner._protected_args, *inner.args])
        else:
            hold(isinstance(command, Command), "a command of another kind")


def _values() -> Attack:
    """Durations, seconds, days, channel ids, as click hands them over; and times as the engine writes them."""
    kinds: list[click.ParamType[Any]] = [durations.Duration(), talk.Seconds(), relays.Days(), relays.Channel()]

    def attack(given: bytes) -> None:
        text = given[1:].decode("utf-8", "surrogateescape")
        if given[:1] == b"\4":
            name, _, number = text.partition("=")
            options = limiting.limited(RelayOptions(), [(name, number)])
            hold(0 <= limiting.value(options, name) <= limiting.MOST, "a limit above HT-R-018")
            hold(
                limiting.limited(RelayOptions(), [(name, limiting.shown(name, limiting.value(options, name)))])
                == options,
                "shown otherwise",
            )
            return
        value = kinds[given[0] % len(kinds) if given else 0].convert(text, None, None)
        hold(value is not None, "no value")
        if isinstance(value, int | float):
            hold(0 <= value < 1e13, "a duration without end")

    return attack


def _names() -> Iterator[bytes]:
    for number, text in enumerate(TEXTS):
        safe = text.encode("utf-8", "ignore").decode()
        yield msgspec.msgpack.encode([number, "민지", "안녕, " + safe, safe, "wss://relay.example"])
        yield msgspec.msgpack.encode([number * 31, safe, "a\nb", "x", safe])
    yield msgspec.msgpack.encode([7, "葛\U000e0100城", "❤\ufe0f 1\ufe0f\u20e3", "می\u200cخواهم", "क्\u200dष"])


def _commands() -> Iterator[bytes]:
    for line in (
        "init --name 민지 --relay ws://127.0.0.1:7710 --no-passphrase",
        "invite --expires 3d --qr --json",
        "accept hana:AAAA --lang ko",
        "--json --home /tmp/x chats",
        "send CONV -- --hello --reply-to=00ff",
        "messages CONV --limit 7",
        "sync --wait 0.5",
        "relay serve --port 0 --store memory --retention 2,14 --key ram",
        "relay warrant --channel " + "0f" * 32,
        "verify CONV --confirm",
        "--help",
        "relay --help",
        "wipe --yes --version",
    ):
        yield line.replace(" ", "\0").encode()


TARGETS = [
    Target(
        name="terminal",
        parsers=("hanatalk.cli.shown.name", "hanatalk.cli.shown.text"),
        allowed=(),
        ready=_terminal,
        seeds=_names,
        mutate=tree,
        short=800,
    ),
    Target(
        name="json-output",
        parsers=("hanatalk.cli.shown.json_line",),
        allowed=(),
        ready=_exact_json,
        seeds=_names,
        mutate=tree,
        short=1500,
    ),
    Target(
        name="particles",
        parsers=("hanatalk.words.particles.particle",),
        allowed=(),
        ready=_particles,
        seeds=_names,
        mutate=tree,
        short=1500,
    ),
    Target(
        name="warrant-output",
        parsers=("hanatalk.cli.handing_over.lines",),
        allowed=(),
        ready=_warrant,
        seeds=_names,
        mutate=tree,
        short=500,
    ),
    Target(
        name="command-line",
        parsers=("hanatalk.cli.settings.from_environment", "hanatalk.cli.command.Command"),
        allowed=(click.ClickException, UsageError),
        ready=_command_line,
        seeds=_commands,
        longest=1000,
        short=400,
    ),
    Target(
        name="command-values",
        parsers=(
            "hanatalk.cli.durations.Duration",
            "hanatalk.cli.talk.Seconds",
            "hanatalk.cli.relays.Days",
            "hanatalk.cli.relays.Channel",
            "hanatalk.relay.limiting.limited",
        ),
        allowed=(click.BadParameter, UsageError),
        ready=_values,
        seeds=lambda: [
            b"\0" + b"90s",
            b"\0" + b"2w",
            b"\1" + b"0.5",
            b"\2" + b"2,14",
            b"\3" + b"0f" * 32,
            b"\4size=3G",
            b"\4work=22",
        ],
        longest=100,
        short=3000,
    ),
]
