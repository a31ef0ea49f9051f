"""Values that fit the form and that nothing behind it can hold (T-088).

Each could stop an engine, found by the fuzz targets or while they were written: the exception undid the transaction,
the cursor stayed, and the relay delivered the same entry again and again.
"""

import os

import msgspec
import pytest
from tests.client.engine.conftest import Pair
from tests.client.people import Person

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine.conversations import commits
from hanatalk.client.engine.formats import accounts, content, policy
from hanatalk.client.engine.formats.content import Envelope
from hanatalk.client.engine.messages import sending
from hanatalk.client.engine.people import invites
from hanatalk.errors import ContentError
from hanatalk.ids import ConversationId, MessageId
from hanatalk.localdb.rows import ContactKeyPackage, IntentKind, OutboxKind
from hanatalk.wire.channels import receipt_statement

BAD_TEXT = msgspec.Raw(b"\xa3\xff\xfe\x80")  # MessagePack: a text of three bytes that are no UTF-8
BAD_WELCOME_AT = msgspec.msgpack.encode([1, BAD_TEXT, b"r" * 32, b"w" * 32, b"s" * 32])


def _id(pair: Pair) -> ConversationId:
    return ConversationId(bytes.fromhex(pair.conversation))


def _say(person: Person, pair: Pair, plaintext: bytes) -> None:
    """A member with a modified client says it, properly encrypted."""
    core = person.engine._core
    with core.transaction():
        row = core.conversation(_id(pair))
        members = core.members(_id(pair))
        sending._post(core, row, members, kind=OutboxKind.REQUEST, plaintext=plaintext, message=None)
    person.engine.tick(pair.world.now)
    pair.world.settle()


def _goes_on(pair: Pair) -> None:
    """Both directions still work, and nothing waits that should not."""
    pair.jihoon.send(pair.conversation, "아직 들려?")
    pair.world.settle()
    assert "아직 들려?" in pair.minji.texts(pair.conversation)
    pair.minji.send(pair.conversation, "들려")
    pair.world.settle()
    assert "들려" in pair.jihoon.texts(pair.conversation)


def _hello(pair: Pair, key_package: bytes) -> bytes:
    identity = pair.jihoon.engine._core.identity
    hello = content.Hello(identity.name, list(identity.chain.links), [key_package])
    return content.encode(Envelope(1, os.urandom(16), 3, pair.world.now, [], msgspec.Raw(content.encode(hello))))


def _key_package(pair: Pair, welcome_at: bytes, *, not_after: int = 2**33) -> bytes:
    identity, signer = pair.jihoon.engine._core.identity, mls.signer_new()
    return mls.key_package_new(
        signer,
        suite=mls.SUITE_X_WING,
        credential=accounts.credential(identity.chain, identity.device, signer.public_key),
        extensions=[(policy.WELCOME_EXTENSION, welcome_at)],
        not_before=0,
        not_after=not_after,
    ).key_package


def _kept(pair: Pair) -> int:
    return len(pair.minji.engine._core.db.find(ContactKeyPackage, "1"))


@pytest.mark.parametrize("parse", [policy.parse, policy.parse_welcome_at])
def test_t088_a_text_that_is_no_utf8_is_malformed(parse) -> None:  # type: ignore[no-untyped-def]
    """T-088: msgspec raises UnicodeDecodeError, which is no DecodeError."""
    group = msgspec.msgpack.encode([1, 1, BAD_TEXT, [b"a" * 32], [["ws://127.0.0.1", b"k" * 32]]])
    with pytest.raises(ContentError) as refused:
        parse([(policy.EXTENSION, group), (policy.WELCOME_EXTENSION, BAD_WELCOME_AT)])
    assert refused.value.code.endswith("malformed")


def test_t088_a_contacts_key_package_with_such_a_text_is_passed_over(pair: Pair) -> None:
    before = _kept(pair)
    _say(pair.jihoon, pair, _hello(pair, _key_package(pair, BAD_WELCOME_AT)))
    assert _kept(pair) == before
    _goes_on(pair)


def test_t088_a_key_package_that_never_expires_is_passed_over(pair: Pair) -> None:
    """HT-M-010: its milliseconds did not fit into the database."""
    before = _kept(pair)
    at = policy.encode(policy.WelcomeAt(1, "ws://127.0.0.1:7710", b"r" * 32, b"w" * 32, b"s" * 32))
    _say(pair.jihoon, pair, _hello(pair, _key_package(pair, at, not_after=2**63 - 1)))
    assert _kept(pair) == before
    _goes_on(pair)


def test_t088_an_offer_with_such_a_text_is_damaged() -> None:
    with pytest.raises(content.MALFORMED):
        msgspec.msgpack.decode(msgspec.msgpack.encode([1, b"kp", BAD_TEXT, []]), type=invites.Offer)


@pytest.mark.parametrize("sent_at", [content.SENT_LIMIT, 2**48 - 1])
def test_t088_a_time_without_a_date_is_damaged(pair: Pair, sent_at: int) -> None:
    """HT-C-001: a message of the year 10889 could not be shown, and so nothing after it."""
    body = msgspec.Raw(content.encode(content.Text("from the future")))
    envelope = msgspec.structs.replace(Envelope(1, os.urandom(16), 3, 0, [], body), sent_at=sent_at)
    _say(pair.jihoon, pair, content.encode(envelope))
    assert pair.minji.texts(pair.conversation) == []
    damaged = pair.minji.of(events.EntryDamaged)
    assert [event.code for event in damaged if isinstance(event, events.EntryDamaged)] == ["content.malformed"]
    _goes_on(pair)


def test_t088_the_latest_date_can_be_shown(pair: Pair) -> None:
    body = content.Text("옛날옛적에")
    plain = content.make(body, message=MessageId(os.urandom(16)), counter=2, sent_at=content.SENT_LIMIT - 1)
    _say(pair.jihoon, pair, plain)
    (shown,) = pair.minji.messages(pair.conversation)
    assert shown.sent_at == "9998-12-31T23:59:59.999Z"


def test_t088_a_receipt_beyond_every_seq_says_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """HT-M-034: signed by a relay that works together with a member; no database holds 2⁶⁴ − 1."""
    core = pair.jihoon.engine._core
    channel = core.channel(core.conversation(_id(pair)).channel)
    assert channel is not None
    assert channel.incarnation is not None
    seq = 2**64 - 1
    statement = receipt_statement(channel.channel, channel.incarnation, seq=seq, control_hash=bytes(32))
    receipt = seq.to_bytes(8) + bytes(32) + pair.world.relay.key.sign(statement)
    before = core.group(_id(pair)).epoch

    def forged(value: object) -> bytes:
        if isinstance(value, content.CommitContext):
            value = msgspec.structs.replace(value, receipt=receipt)
        return msgspec.msgpack.encode(value)

    monkeypatch.setattr(content, "encode", forged)
    with core.transaction():
        commits.want(core, _id(pair), IntentKind.UPDATE, pair.world.now)
    pair.jihoon.engine.tick(pair.world.now)
    pair.world.settle()
    assert core.group(_id(pair)).epoch > before
    assert pair.minji.engine._core.group(_id(pair)).epoch == core.group(_id(pair)).epoch
    _goes_on(pair)
