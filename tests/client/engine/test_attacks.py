"""A malicious relay and a malicious member against one conversation (threats.md B and C)."""

import hashlib
import os

import msgspec
import pytest
from tests.client.engine.conftest import Pair
from tests.client.people import URL, Person, World

from hanatalk import mls
from hanatalk.client import events
from hanatalk.client.engine.conversations import key_packages
from hanatalk.client.engine.formats import accounts, content, keys, links, policy, sealing
from hanatalk.client.engine.people import invites
from hanatalk.errors import HanaError
from hanatalk.ids import ConversationId, MessageId
from hanatalk.localdb.rows import Channel, IntentKind, Message, MessageKind, OutboxKind, Outgoing
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.frames import PushedEntry


def _id(pair: Pair) -> ConversationId:
    return ConversationId(bytes.fromhex(pair.conversation))


def _epochs(pair: Pair) -> set[bytes]:
    return {person.engine._core.group(_id(pair)).epoch_authenticator for person in (pair.minji, pair.jihoon)}


def _channel(person: Person, pair: Pair) -> Channel:
    core = person.engine._core
    found = core.channel(core.conversation(_id(pair)).channel)
    assert found is not None
    return found


def _flip(entry: PushedEntry, index: int) -> PushedEntry:
    changed = bytearray(entry.entry)
    changed[index] ^= 0x01
    return msgspec.structs.replace(entry, entry=bytes(changed))


def _is_message(entry: PushedEntry) -> bool:
    return entry.entry_class is EntryClass.MESSAGE


def test_t011_replayed_entries_are_shown_once(pair: Pair) -> None:
    """T-011: any frame replayed, at any age: shown once, no state change."""
    for number in range(5):
        pair.minji.send(pair.conversation, f"{number}")
    pair.world.settle()
    assert pair.jihoon.pipe is not None
    pair.jihoon.pipe.replay()
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["0", "1", "2", "3", "4"]
    entry = pair.jihoon.pipe._pushed[-1][1].entry  # the relay appends the old bytes as new ones
    pair.world.relay.plant(_channel(pair.jihoon, pair).channel, entry)
    pair.jihoon.restart()
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["0", "1", "2", "3", "4"]
    assert len(_epochs(pair)) == 1


def test_t012_reordered_within_the_tolerance_all_shown(pair: Pair) -> None:
    """T-012: the relay numbers the entries in another order than they came."""
    assert pair.jihoon.pipe is not None
    pair.jihoon.pipe.hold()
    for number in range(8):
        pair.minji.send(pair.conversation, f"{number}")
    pair.world.run()

    def shuffled(held):  # type: ignore[no-untyped-def]
        first = min(entry.seq for _, entry in held)
        order = [3, 0, 7, 1, 2, 6, 5, 4]
        return [(held[i][0], msgspec.structs.replace(held[i][1], seq=first + place)) for place, i in enumerate(order)]

    pair.jihoon.pipe.release(shuffled)
    pair.world.settle()
    assert sorted(pair.jihoon.texts(pair.conversation)) == [str(number) for number in range(8)]
    assert pair.jihoon.of(events.GapFound), "the reordering must be seen"
    assert pair.jihoon.engine._core.db.number("SELECT count(*) FROM gap") == 0


def test_t013_a_withheld_message_is_a_gap_and_comes_again(pair: Pair) -> None:
    """T-013, HT-C-030, HT-C-031: shown as a gap at the next message, asked for, sent again, closed."""
    assert pair.jihoon.pipe is not None
    pair.minji.send(pair.conversation, "하나")
    pair.world.run()
    withheld: list[int] = []

    def second(entry: PushedEntry) -> bool:
        if _is_message(entry) and not withheld:
            withheld.append(entry.seq)
        return entry.seq in withheld

    pair.jihoon.pipe.withhold(second)
    pair.minji.send(pair.conversation, "둘")
    pair.world.run()
    pair.minji.send(pair.conversation, "셋")
    pair.world.run()
    (gap,) = pair.jihoon.of(events.GapFound)
    assert isinstance(gap, events.GapFound)
    assert gap.from_ == "민지"
    assert gap.first == gap.last
    pair.world.settle()
    assert sorted(pair.jihoon.texts(pair.conversation)) == ["둘", "셋", "하나"]
    assert len(pair.jihoon.of(events.GapClosed)) == 1
    assert {message.state for message in pair.minji.messages(pair.conversation)} == {"delivered"}


@pytest.mark.parametrize("index", [0, 11, 12, 40, 300, 495, 511])
def test_t019_a_flipped_byte_is_refused_shown_and_healed(pair: Pair, index: int) -> None:
    """T-019, HT-C-013: damaged is said, nothing is shown wrongly, the message comes again by itself."""
    assert pair.jihoon.pipe is not None
    pair.jihoon.pipe.alter(lambda entry: _flip(entry, index) if _is_message(entry) else entry)
    pair.minji.send(pair.conversation, "안녕")
    pair.world.run()
    assert pair.jihoon.texts(pair.conversation) == []
    assert {event.code for event in pair.jihoon.of(events.EntryDamaged)} == {"entry.damaged"}  # type: ignore[attr-defined]
    pair.jihoon.pipe.behave()
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["안녕"]
    assert len(_epochs(pair)) == 1


def test_t019_truncated_entries_are_refused(pair: Pair) -> None:
    """T-019, HT-M-022: another size than the declared ones is refused before anything is decrypted."""
    assert pair.jihoon.pipe is not None
    sizes = iter((0, 1, 28, 511))

    def cut(entry: PushedEntry) -> PushedEntry:
        size = next(sizes, None) if _is_message(entry) else None
        return entry if size is None else msgspec.structs.replace(entry, entry=entry.entry[:size] or b"\0")

    pair.jihoon.pipe.alter(cut)
    for number in range(4):
        pair.minji.send(pair.conversation, f"{number}")
    pair.world.run()
    assert len(pair.jihoon.of(events.EntryDamaged)) >= 4
    pair.jihoon.pipe.behave()
    pair.world.settle(120)
    assert sorted(pair.jihoon.texts(pair.conversation)) == ["0", "1", "2", "3"]


def _insider_entry(person: Person, pair: Pair, plaintext: bytes) -> None:
    """A member with a modified client sends whatever it likes (encrypted and queued like any message)."""
    core = person.engine._core
    with core.transaction():
        row = core.conversation(_id(pair))
        from hanatalk.client.engine.messages import sending

        sending._post(core, row, core.members(_id(pair)), kind=OutboxKind.REQUEST, plaintext=plaintext, message=None)
    person.engine.tick(pair.world.now)


def test_t028_an_insider_cannot_resend_anothers_content(pair: Pair) -> None:
    """T-028, HT-C-003: the same message id under another sender is refused with an alarm."""
    pair.minji.send(pair.conversation, "민지가 쓴 글")
    pair.world.settle()
    core = pair.jihoon.engine._core
    stolen = core.db.first(Message, "kind = ? ORDER BY number DESC", MessageKind.PERSON)
    assert stolen is not None
    _insider_entry(
        pair.jihoon,
        pair,
        content.make(content.Text("바뀐 글"), message=stolen.message, counter=2, sent_at=pair.world.now),
    )
    pair.world.settle()
    assert pair.minji.alarms() == ["message.reused-id"]
    assert pair.minji.texts(pair.conversation) == ["민지가 쓴 글"]


def test_a_repeated_counter_with_another_id_is_refused(pair: Pair) -> None:
    """HT-C-003: (device, counter) is used once."""
    pair.jihoon.send(pair.conversation, "처음")
    pair.world.settle()
    _insider_entry(
        pair.jihoon,
        pair,
        content.make(content.Text("다시"), message=MessageId(os.urandom(16)), counter=2, sent_at=0),
    )
    pair.world.settle()
    assert pair.minji.alarms() == ["message.reused-counter"]
    assert pair.minji.texts(pair.conversation) == ["처음"]


def test_t035_a_counter_far_ahead_is_refused(pair: Pair) -> None:
    """HT-C-007: no gap of millions."""
    _insider_entry(
        pair.jihoon,
        pair,
        content.make(content.Text("x"), message=MessageId(os.urandom(16)), counter=1 << 40, sent_at=0),
    )
    pair.world.settle()
    assert pair.minji.alarms() == ["message.counter-jump"]


def test_t039_receipts_beyond_what_was_sent_or_backwards_change_nothing(pair: Pair) -> None:
    """T-039, HT-C-021."""
    message = pair.minji.send(pair.conversation, "안녕")
    pair.world.settle()
    jihoon = pair.jihoon.engine._core
    row = jihoon.conversation(_id(pair))
    other = next(member.leaf for member in jihoon.members(_id(pair)) if member.leaf != row.own_leaf)
    for line in (
        content.ReceiptLine(other, 1_000, 1_000),
        content.ReceiptLine(other, 1, 2),
        content.ReceiptLine(row.own_leaf, 1_000, 1_000),
        content.ReceiptLine(other, 0, 0),
        content.ReceiptLine(99, 1, 1),
    ):
        _insider_entry(
            pair.jihoon,
            pair,
            content.make(content.Receipt(), message=MessageId(os.urandom(16)), counter=0, sent_at=0, receipts=[line]),
        )
    pair.world.settle()
    seen = pair.minji.message(pair.conversation, message)
    assert (seen.state, seen.unread) == ("delivered", 1)


def test_malformed_content_is_damaged_not_fatal(pair: Pair) -> None:
    """HT-C-001: what a member encrypts is not trusted to parse."""
    for plaintext in (b"", b"\xc1", b"\x96", os.urandom(200), content.encode([1, 2, 3])):
        _insider_entry(pair.jihoon, pair, plaintext)
    pair.jihoon.send(pair.conversation, "그래도 온다")
    pair.world.settle()
    assert {event.code for event in pair.minji.of(events.EntryDamaged)} == {"content.malformed"}  # type: ignore[attr-defined]
    assert pair.minji.texts(pair.conversation) == ["그래도 온다"]


def test_an_unknown_kind_is_kept_and_confirmed(pair: Pair) -> None:
    """HT-C-006: a newer client's message is no gap for an older one."""
    envelope = content.Envelope(1, os.urandom(16), 2, 0, [], msgspec.Raw(content.encode([200, "new"])))
    _insider_entry(pair.jihoon, pair, content.encode(envelope))
    pair.jihoon.engine._core.db.execute("UPDATE conversation SET counter = 2 WHERE 1")
    pair.world.run()
    pair.jihoon.send(pair.conversation, "danach")
    pair.world.settle()
    assert pair.minji.of(events.GapFound) == []
    assert pair.minji.texts(pair.conversation) == ["danach"]


# commits ----------------------------------------------------------------------------------------------------------


def _want_update(person: Person, pair: Pair, kind: IntentKind = IntentKind.UPDATE) -> None:
    from hanatalk.client.engine.conversations import commits

    core = person.engine._core
    with core.transaction():
        commits.want(core, _id(pair), kind, pair.world.now)


def test_t029_two_simultaneous_commits_one_winner_both_intents_once(pair: Pair) -> None:
    """T-029, HT-M-031, HT-M-037."""
    before = pair.minji.engine._core.conversation(_id(pair)).epoch
    _want_update(pair.minji, pair, IntentKind.NEW_ERA)
    _want_update(pair.jihoon, pair)
    pair.minji.engine.tick(pair.world.now)
    pair.jihoon.engine.tick(pair.world.now)
    pair.world.settle()
    assert len(_epochs(pair)) == 1
    assert pair.minji.engine._core.conversation(_id(pair)).epoch == before + 2
    for person in (pair.minji, pair.jihoon):
        assert person.engine._core.db.number("SELECT count(*) FROM intent") == 0
        assert person.engine.pending(pair.world.now) == 0
        assert person.alarms() == []
    pair.minji.send(pair.conversation, "nach dem Rennen")
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["nach dem Rennen"]


def test_a_message_sent_against_a_commit_is_encrypted_anew(pair: Pair) -> None:
    """HT-C-012: offline messages of an old epoch and an old era arrive once, in order."""
    pair.minji.offline()
    for number in range(3):
        pair.minji.send(pair.conversation, f"{number}")
    _want_update(pair.jihoon, pair, IntentKind.NEW_ERA)
    pair.world.settle()
    pair.minji.online()
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["0", "1", "2"]
    assert pair.jihoon.of(events.GapFound) == []
    assert len(_epochs(pair)) == 1
    assert _channel(pair.minji, pair).channel == _channel(pair.jihoon, pair).channel
    assert pair.minji.engine.pending(pair.world.now) == 0


def test_garbage_commits_of_the_relay_do_not_stop_a_commit(pair: Pair) -> None:
    """HT-M-031: garbage moves the turn; the own commit is appended again until it wins (T-022 at 1:1)."""
    channel = _channel(pair.minji, pair).channel
    before = pair.minji.engine._core.conversation(_id(pair)).epoch
    pair.minji.offline()
    for _ in range(5):
        pair.world.relay.plant(channel, os.urandom(512), entry_class=EntryClass.CONTROL, commit=True)
    pair.minji.online()
    pair.jihoon.restart()
    _want_update(pair.minji, pair)
    pair.minji.send(pair.conversation, "trotzdem")
    pair.world.settle()
    assert pair.minji.engine._core.conversation(_id(pair)).epoch == before + 1
    assert len(_epochs(pair)) == 1
    assert pair.jihoon.texts(pair.conversation) == ["trotzdem"]


def test_a_policy_breaking_commit_is_skipped_by_everyone(pair: Pair) -> None:
    """HT-M-032 (T-032 at 1:1): a member's removal commit is valid MLS and still counts for nobody."""
    core = pair.jihoon.engine._core
    channel = _channel(pair.jihoon, pair)
    group = core.group(_id(pair))
    before = group.epoch
    other = next(member.leaf for member in core.members(_id(pair)) if member.leaf != group.own_leaf)
    made = group.commit(removes=[other], aad=content.encode(content.CommitContext(1, False)))
    group.pending_discard()
    entry = sealing.seal(
        channel.seal_key,
        channel.channel,
        entry_class=EntryClass.CONTROL,
        commit=True,
        kind=sealing.BodyKind.MLS,
        body=made.commit,
    )
    core._groups.clear()
    pair.world.relay.plant(channel.channel, entry, entry_class=EntryClass.CONTROL, commit=True)
    for person in (pair.minji, pair.jihoon):
        person.restart()
    pair.world.settle()
    assert pair.minji.engine._core.conversation(_id(pair)).epoch == before
    assert "commit.not-allowed" in {event.code for event in pair.minji.of(events.EntryDamaged)}  # type: ignore[attr-defined]
    pair.minji.send(pair.conversation, "noch da")
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["noch da"]


def test_a_killed_committer_goes_on_with_the_same_commit(pair: Pair) -> None:
    """HT-M-031: the pending commit is durable; after a restart the same bytes go out and merge."""
    _want_update(pair.minji, pair)
    pair.minji.engine.tick(pair.world.now)
    assert pair.minji.pipe is not None
    pair.minji.step()  # asks for the relay's receipt
    pair.minji.engine.tick(pair.world.now)
    frame = pair.minji.engine._core.db.first(Outgoing, "kind = ?", OutboxKind.COMMIT)
    assert frame is not None
    pair.minji.restart()
    pair.world.settle()
    assert len(_epochs(pair)) == 1
    assert pair.minji.engine._core.db.first(Outgoing, "kind = ?", OutboxKind.COMMIT) is None


def test_weekly_a_new_era_starts_and_messages_go_on(pair: Pair) -> None:
    """HT-M-021, HT-M-035: after seven days an admin starts a new era; old channels are left."""
    before = _channel(pair.minji, pair).channel
    pair.world.pass_days(8)
    pair.world.settle(13 * 3600)
    assert _channel(pair.minji, pair).channel != before
    assert _channel(pair.minji, pair).channel == _channel(pair.jihoon, pair).channel
    pair.minji.send(pair.conversation, "neue Ära")
    pair.world.settle()
    assert pair.jihoon.texts(pair.conversation) == ["neue Ära"]
    assert len(_epochs(pair)) == 1


def test_away_for_three_weeks_the_sender_publishes_again(pair: Pair) -> None:
    """HT-C-032: the relay kept it three days, the sender remembers."""
    pair.jihoon.offline()
    pair.minji.send(pair.conversation, "Drei Wochen")
    pair.world.pass_days(20)
    pair.jihoon.online()
    pair.world.settle(14 * 3600)
    assert pair.jihoon.texts(pair.conversation) == ["Drei Wochen"]
    assert pair.minji.messages(pair.conversation)[0].state == "delivered"


# invites ----------------------------------------------------------------------------------------------------------


def _offer(world: World, inviter: Person, change) -> str:  # type: ignore[no-untyped-def]
    """An invite of `inviter` whose entry at the relay the relay (which knows no key) or an accomplice has changed."""
    link = links.parse(inviter.invite())
    entry = world.relay.store.read(link.capability.channel, after=0, entries=1, size=1 << 20)[0].entry
    _, raw = sealing.unseal(
        link.capability.seal_key, link.capability.channel, entry_class=EntryClass.INVITE, entry=entry
    )
    offer, link = change(msgspec.msgpack.decode(raw, type=invites.Offer), link)
    secret = os.urandom(32)
    link = msgspec.structs.replace(link, secret=secret)
    read_token, seal_key = keys.invite(secret, link.relay_key)
    at = keys.TakeCapability(read_token, link.write_verifier, seal_key)
    sealed = sealing.seal(
        seal_key,
        at.channel,
        entry_class=EntryClass.INVITE,
        kind=sealing.BodyKind.OFFER,
        body=msgspec.msgpack.encode(offer),
    )
    world.relay.plant(at.channel, sealed, entry_class=EntryClass.INVITE)
    return links.compose(link)


def _refusal(world: World, person: Person, link: str) -> str:
    channel = person.engine.accept(link, world.now)
    world.run()
    with pytest.raises(HanaError) as caught:
        person.engine.accepted(channel)
    assert person.engine.chats().chats == []
    return caught.value.code


def test_t017_a_swapped_key_package_is_refused(world: World) -> None:
    """T-017, HT-M-036: the link says which KeyPackage it is."""
    minji, jihoon, eve = world.person("민지"), world.person("Jihoon"), world.person("Eve")
    world.run()
    other = links.parse(eve.invite())
    entry = world.relay.store.read(other.capability.channel, after=0, entries=1, size=1 << 20)[0].entry
    _, raw = sealing.unseal(
        other.capability.seal_key, other.capability.channel, entry_class=EntryClass.INVITE, entry=entry
    )
    swapped = msgspec.msgpack.decode(raw, type=invites.Offer)
    link = _offer(world, minji, lambda offer, link: (swapped, link))
    assert _refusal(world, jihoon, link) == "invite.swapped"
    # with the matching hash the account still does not fit
    link = _offer(
        world,
        minji,
        lambda offer, link: (
            swapped,
            msgspec.structs.replace(link, key_package_hash=hashlib.sha256(swapped.key_package).digest()),
        ),
    )
    assert _refusal(world, jihoon, link) == "chain.other-account"
    own_chain = lambda offer, link: (  # noqa: E731
        msgspec.structs.replace(swapped, chain=offer.chain),
        msgspec.structs.replace(link, key_package_hash=hashlib.sha256(swapped.key_package).digest()),
    )
    assert _refusal(world, jihoon, _offer(world, minji, own_chain)) == "credential.not-in-chain"


def test_t018_an_expired_key_package_is_refused(world: World) -> None:
    """T-018, HT-M-010: even if the link claims to be valid for longer."""
    minji, jihoon = world.person("민지"), world.person("Jihoon")
    world.run()
    link = _offer(
        world, minji, lambda offer, link: (offer, msgspec.structs.replace(link, expires_at=link.expires_at + 10**6))
    )
    world.now += 2 * 86_400_000
    assert _refusal(world, jihoon, link) == "key-package.expired"


def test_an_expired_link_is_refused_without_asking_the_relay(world: World) -> None:
    minji, jihoon = world.person("민지"), world.person("Jihoon")
    world.run()
    link = minji.invite()
    world.now += 2 * 86_400_000
    with pytest.raises(HanaError, match=r"invite\.expired"):
        jihoon.engine.accept(link, world.now)


def test_own_and_malformed_links_are_refused(world: World) -> None:
    minji = world.person("민지")
    world.run()
    link = minji.invite()
    with pytest.raises(HanaError, match=r"invite\.own"):
        minji.engine.accept(link, world.now)
    for broken in (link[:-1], link[:40], link + "A", link.replace("hana:", "http:"), "", "hana:", "hana:!!!!"):
        with pytest.raises(HanaError, match=r"invite\.malformed"):
            minji.engine.accept(broken, world.now)


def test_t033_a_welcome_twice_is_one_conversation(world: World) -> None:
    """T-033, HT-M-011: the relay delivers the Welcome twice; a second Welcome for the KeyPackage is ignored."""
    minji, jihoon = world.person("민지"), world.person("Jihoon")
    world.run()
    link = minji.invite()
    minji.offline()
    jihoon.accept(link)
    welcome = next(
        row for row in minji.engine._core.db.find(Channel, "purpose = 2") if world.relay.store.channel(row.channel)
    )
    (entry,) = world.relay.store.read(welcome.channel, after=0, entries=9, size=1 << 20)
    world.relay.plant(welcome.channel, entry.entry, entry_class=EntryClass.CONTROL)
    minji.online()
    world.settle()
    assert len(minji.engine.chats().chats) == 1
    assert minji.alarms() == []
    minji.restart()
    world.settle()
    assert len(minji.engine.chats().chats) == 1


def test_t033_a_welcome_that_does_not_open_leaves_the_key_package_usable(world: World) -> None:
    """A garbage Welcome before the real one: said, and the real one still joins."""
    minji, jihoon = world.person("민지"), world.person("Jihoon")
    world.run()
    link = minji.invite()
    minji.offline()
    (welcome,) = minji.engine._core.db.find(Channel, "purpose = 2")
    world.relay.plant(welcome.channel, os.urandom(4096), entry_class=EntryClass.CONTROL)
    jihoon.accept(link)
    minji.online()
    world.settle()
    assert minji.alarms() == ["entry.damaged"]
    assert len(minji.engine.chats().chats) == 1


def test_a_founder_who_lies_about_its_account_is_not_joined(world: World) -> None:
    """HT-M-014: the Welcome's chain must carry the leaf's credential."""
    minji, mallory = world.person("민지"), world.person("Mallory")
    world.run()
    link = links.parse(minji.invite())
    minji.offline()
    entry = world.relay.store.read(link.capability.channel, after=0, entries=1, size=1 << 20)[0].entry
    _, raw = sealing.unseal(
        link.capability.seal_key, link.capability.channel, entry_class=EntryClass.INVITE, entry=entry
    )
    offer = msgspec.msgpack.decode(raw, type=invites.Offer)
    at = policy.parse_welcome_at(mls.key_package_inspect(offer.key_package).extensions)
    victim = accounts.create(accounts.Device(accounts.new_seed()))  # somebody else's chain, without the key
    core = mallory.engine._core
    signer = mls.signer_new()
    agreed = policy.direct([victim.account, minji.engine._core.identity.account], policy.Relay(URL, link.relay_key))
    group, _ = mls.Group.create(
        signer,
        suite=mls.SUITE_X_WING,
        group_id=os.urandom(16),
        credential=accounts.credential(victim, core.identity.device, signer.public_key),
        extensions=[(policy.EXTENSION, policy.encode(agreed))],
    )
    made = group.commit(adds=[offer.key_package])
    assert made.welcome is not None
    enclosed = key_packages.Enclosed(1, made.welcome, list(victim.links))
    where = keys.WriteCapability(at.read_verifier, at.write_token, at.seal_key)  # type: ignore[arg-type]
    sealed = sealing.seal(
        at.seal_key,
        where.channel,
        entry_class=EntryClass.CONTROL,
        kind=sealing.BodyKind.WELCOME,
        body=msgspec.msgpack.encode(enclosed),
    )
    world.relay.plant(where.channel, sealed, entry_class=EntryClass.CONTROL)
    minji.online()
    world.settle()
    assert minji.engine.chats().chats == []
    assert minji.alarms() == ["credential.not-in-chain"]
