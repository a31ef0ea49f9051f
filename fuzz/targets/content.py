"""What stands inside an entry: the sealed layer, envelopes, bodies, commit contexts, policies (T-019, T-020)."""

import unicodedata
from collections.abc import Iterator

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from fuzz.mutation import tree
from fuzz.target import Attack, Target, hold
from hanatalk.client.engine.conversations import annexes
from hanatalk.client.engine.formats import content, emoji, pieces, policy, references, sealing
from hanatalk.errors import ContentError
from hanatalk.ids import AccountId, ChannelId, MessageId
from hanatalk.wire.classes import EntryClass

KEY, CHANNEL = b"s" * 32, ChannelId(b"c" * 32)
NONCE = bytes(12)
OVERHEAD = 12 + 16
REFERENCE = references.Reference(
    secret=b"s" * 32,
    place=references.Place(b"k" * 32, b"w" * 32),
    digest=b"d" * 32,
    size=2_000_000,
    type="image/jpeg",
    name="사진.jpg",
    width=4_032,
    height=3_024,
    preview=bytes(66),
)


def _unseal() -> Attack:
    cipher = AESGCMSIV(KEY)

    def attack(given: bytes) -> None:
        flags, rest = given[:1] or b"\0", given[1:]
        entry_class, commit = EntryClass(1 + flags[0] % 4), bool(flags[0] & 4)
        plain = b""
        if flags[0] & 8:  # an outsider, or the relay: bytes as they are, or cut to a declared size
            entry = rest if flags[0] & 16 else rest.ljust(512, b"\0")[:512]
        else:  # an insider, who has the key
            size = next(size for size in sealing.SIZES if len(rest) + OVERHEAD <= size)
            plain = rest.ljust(size - OVERHEAD, bytes([flags[0] >> 7]))
            entry = NONCE + cipher.encrypt(NONCE, plain, CHANNEL + bytes([entry_class, commit]))
        kind, body = sealing.unseal(KEY, CHANNEL, entry_class=entry_class, commit=commit, entry=entry)
        if not flags[0] & 8:
            hold(plain[:1] == bytes([kind]) and plain[5:].startswith(body), "another body than was sealed")
            hold(len(body) == int.from_bytes(plain[1:5]), "another length than was declared (HT-M-022)")
            hold(not any(plain[5 + len(body) :]), "something in the padding (HT-M-022)")
        sealed = sealing.seal(KEY, CHANNEL, entry_class=entry_class, commit=commit, kind=kind, body=body)
        hold(len(sealed) in sealing.SIZES, "a size that tells")

    return attack


def _sealed() -> Iterator[bytes]:
    for kind in sealing.BodyKind:
        yield bytes([0, kind]) + (5).to_bytes(4) + b"hello"
    yield bytes([8 | 16]) + sealing.seal(
        KEY, CHANNEL, entry_class=EntryClass.MESSAGE, kind=sealing.BodyKind.MLS, body=b"hello"
    )
    yield bytes([0, 1]) + (600).to_bytes(4) + bytes(600)


def _envelope() -> Attack:
    def attack(given: bytes) -> None:
        envelope, body = content.parse(given)
        again, same = content.parse(content.encode(envelope))
        hold(again == envelope, "what was read is not what is written")
        if isinstance(body, content.Unknown):
            hold(body.body == bytes(envelope.body), "an unknown body that is not kept as it came")
        else:
            hold(same == body, "a body that reads differently the second time")
            content.encode(body)
        if isinstance(body, content.Text):
            hold(len(body.text.encode("utf-8", "surrogatepass")) <= content.TEXT_LIMIT, "a text above HT-C-004")
        if isinstance(body, content.Text | content.Edit):
            hold(len(body.mentions) <= content.MENTIONS_LIMIT, "more mentions than HT-C-100 allows")
            hold(
                all(mention.start + mention.length <= len(body.text) for mention in body.mentions),
                "a mention beyond the text",
            )
        if isinstance(body, content.Edit):
            hold(0 < body.step <= content.EDITS_LIMIT and body.text, "an edit outside of HT-C-107")
        if isinstance(body, content.Hello):
            hold(0 < len(body.name) <= content.NAME_LIMIT, "a name above HT-C-005")

    return attack


def bodies() -> list[content.Body]:
    """One of every kind."""
    return [
        content.Text("안녕, 들려?"),
        content.Text("answer", b"r" * 16),
        content.Hello("민지", [b"link"], [b"key package"]),
        content.Receipt(),
        content.SendAgain([content.Range(1, 2, 3), content.Range(0, 4, content.OPEN_END)]),
        content.Tombstone(),
        content.Text("short-lived", None, 60),
        content.Recall(b"m" * 16),
        content.Text(
            "@민지 봐",
            mentions=[content.Mention(b"a" * 32, 0, 3)],
            fate=content.Fate.ONCE,
            thread=b"g" * 16,
            sticker="openmoji:1F600",
        ),
        content.Reaction(b"m" * 16, "👍", 1),
        content.Reaction(b"m" * 16, None, 2),
        content.Edit(b"m" * 16, "other words", [], 1),
        content.Opened(b"m" * 16),
        content.Introduction(b"i" * 16, b"a" * 32, "지훈", [b"link"], None),
        content.Introduction(b"i" * 16, b"a" * 32, "지훈", [b"link"], b"key package"),
        content.Consent(b"i" * 16, b"key package"),
        content.Consent(b"i" * 16, None),
        content.Text("", attachments=[REFERENCE, REFERENCE]),
        content.KeyPackages([b"key package"]),
        content.Leave(),
        content.Begins(1, 7),
        content.Telling(False),
        content.LeaveAgain(b"m" * 16, 1),
        content.LeftAgain(b"m" * 16, 0, REFERENCE.place),
    ]


def envelopes() -> Iterator[bytes]:
    for number, body in enumerate(bodies()):
        receipts = [content.ReceiptLine(0, 3, 2), content.ReceiptLine(1, 1, 1)][: number % 3]
        yield content.make(
            body, message=MessageId(bytes([number]) * 16), counter=number, sent_at=1_800_000_000_000, receipts=receipts
        )
    unknown = content.Envelope(
        1, b"u" * 16, 9, 1_800_000_000_000, [], msgspec.Raw(msgspec.msgpack.encode([77, "later"]))
    )
    yield content.encode(unknown)


def _commit_context() -> Attack:
    def attack(given: bytes) -> None:
        found = content.parse_commit_context(given)
        hold(content.parse_commit_context(content.encode(found)) == found, "what was read is not what is written")

    return attack


def _policy() -> Attack:
    def attack(given: bytes) -> None:
        found = policy.parse([(policy.EXTENSION, given)])
        hold(policy.parse([(policy.EXTENSION, policy.encode(found))]) == found, "what was read is not what is written")
        hold(found.relays[0].relay_key and found.is_admin(found.admins[0]), "a policy without relay or admin")

    return attack


def _welcome_at() -> Attack:
    def attack(given: bytes) -> None:
        found = policy.parse_welcome_at([(policy.WELCOME_EXTENSION, given)])
        hold(
            policy.parse_welcome_at([(policy.WELCOME_EXTENSION, policy.encode(found))]) == found,
            "read and written differ",
        )
        hold(repr(found) == "WelcomeAt(…)", "a token in a repr")

    return attack


RELAY = policy.Relay("wss://relay.example:443", b"k" * 32)


def _policies() -> Iterator[bytes]:
    yield policy.encode(policy.direct([AccountId(b"a" * 32), AccountId(b"b" * 32)], RELAY))
    yield policy.encode(policy.Policy(1, policy.Kind.GROUP, "합창단", [b"a" * 32], [RELAY, RELAY]))


def _emoji() -> Attack:
    def attack(given: bytes) -> None:
        text = given.decode("utf-8", "surrogatepass")
        if not emoji.is_one(text):
            return
        hold(0 < len(text.encode()) <= content.EMOJI_LIMIT, "longer than HT-C-106 allows")
        parts = [
            character for character in text if character != "\u200d" and not "\U000e0020" <= character <= "\U000e007f"
        ]
        hold(not any(unicodedata.category(part) in ("Cc", "Cf", "Cs", "Co") for part in parts), "something hidden")
        hold(
            not any(character.isspace() or (character.isalpha() and character != "ℹ") for character in text), "a letter"
        )

    return attack


def _pieces() -> Attack:
    def attack(given: bytes) -> None:
        found = annexes.parse(given)
        hold(annexes.parse(msgspec.msgpack.encode(found)) == found, "what was read is not what is written")
        hold(repr(found) == "At(…)", "a token in a repr")
        whole = pieces.parse(msgspec.msgpack.encode(found.whole))
        hold(0 < len(whole.digests) <= pieces.PIECES_LIMIT, "more pieces than HT-M-088 allows")

    return attack


def _annexes() -> Iterator[bytes]:
    for size in (1, pieces.PIECE, 3 * pieces.PIECE):
        whole, _ = pieces.cut(bytes(size))
        yield msgspec.msgpack.encode(annexes.At(1, RELAY.url, b"r" * 32, b"w" * 32, b"s" * 32, whole))


TARGETS = [
    Target(
        name="annex",
        parsers=("hanatalk.client.engine.conversations.annexes.parse", "hanatalk.client.engine.formats.pieces.parse"),
        allowed=(ContentError,),
        ready=_pieces,
        seeds=_annexes,
        mutate=tree,
        short=2000,
    ),
    Target(
        name="emoji",
        parsers=("hanatalk.client.engine.formats.emoji.is_one",),
        allowed=(UnicodeDecodeError,),
        ready=_emoji,
        seeds=lambda: [
            each.encode()
            for each in ("👍", "❤️", "👩🏻‍❤️‍💋‍👨🏿", "1️⃣", "🇰🇷", "🏴\U000e0067\U000e0062\U000e007f", "👍👍", "a", "")
        ],
        longest=96,
        short=3000,
    ),
    Target(
        name="unseal",
        parsers=("hanatalk.client.engine.formats.sealing.unseal",),
        allowed=(ContentError,),
        ready=_unseal,
        seeds=_sealed,
        longest=2048,
        short=3000,
    ),
    Target(
        name="envelope",
        parsers=("hanatalk.client.engine.formats.content.parse", "hanatalk.client.engine.formats.content.parse_body"),
        allowed=(ContentError,),
        ready=_envelope,
        seeds=envelopes,
        mutate=tree,
        short=3000,
    ),
    Target(
        name="commit-context",
        parsers=("hanatalk.client.engine.formats.content.parse_commit_context",),
        allowed=(ContentError,),
        ready=_commit_context,
        seeds=lambda: (
            content.encode(content.CommitContext(1, new, receipt))
            for new in (True, False)
            for receipt in (None, b"r" * 104)
        ),
        mutate=tree,
        short=3000,
    ),
    Target(
        name="policy",
        parsers=("hanatalk.client.engine.formats.policy.parse",),
        allowed=(ContentError,),
        ready=_policy,
        seeds=_policies,
        mutate=tree,
        short=3000,
    ),
    Target(
        name="welcome-at",
        parsers=("hanatalk.client.engine.formats.policy.parse_welcome_at",),
        allowed=(ContentError,),
        ready=_welcome_at,
        seeds=lambda: [policy.encode(policy.WelcomeAt(1, RELAY.url, b"r" * 32, b"w" * 32, b"s" * 32))],
        mutate=tree,
        short=3000,
    ),
]
