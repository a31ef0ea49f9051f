"""A device that is linked, and members of its conversations who know its KeyPackage (HT-M-122, HT-M-150).

Whoever is in a conversation sees, in the commit that adds a device, where its Welcome is left and under which key. With
a relay that helps, they can read and replace it there.
"""

from collections.abc import Callable, Iterator

import msgspec
import pytest
from tests.client import gatherings
from tests.client.engine.test_forensics import raw
from tests.client.people import World

from hanatalk import mls
from hanatalk.client.engine.conversations import history, key_packages
from hanatalk.client.engine.files import bundles
from hanatalk.client.engine.formats import chunking, content, keys, policy, records, sealing
from hanatalk.client.engine.formats.references import Reference
from hanatalk.errors import ContentError
from hanatalk.ids import WriteToken
from hanatalk.wire import frames
from hanatalk.wire.classes import EntryClass
from hanatalk.wire.frames import PushedEntry

CANARY = "카나리아가 지나간 뒤"
Keys = dict[bytes, keys.WriteCapability]


class Circle:
    """민지, 지훈, 서연 in a group and in conversations of two with 민지."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.people = gatherings.acquainted(world, 3)
        self.minji, self.jihoon, self.seoyeon = self.people
        self.group = gatherings.founded(world, self.people)
        self.stored: list[frames.Append] = []  # all that the relay was ever given
        world.relay.observers.append(self._keep)
        self.known: Keys = {}  # Welcome channels that a member learns of

    def _keep(self, pipe: object, frame: frames.ClientFrame) -> None:
        if isinstance(frame, frames.Append):
            self.stored.append(frame)


@pytest.fixture
def circle(world: World) -> Circle:
    return Circle(world)


@pytest.fixture
def member_sees(circle: Circle, monkeypatch: pytest.MonkeyPatch) -> Keys:
    """Whatever KeyPackage a commit adds, 지훈 sees it: where its Welcome will lie, and the key."""
    made = mls.Group.commit

    def commit(group: mls.Group, **asked: object) -> object:
        for each in asked.get("adds") or []:  # type: ignore[attr-defined]
            at = policy.parse_welcome_at(mls.key_package_inspect(each).extensions)
            where = keys.WriteCapability(at.read_verifier, WriteToken(at.write_token), at.seal_key)
            circle.known[where.channel] = where
        return made(group, **asked)  # type: ignore[arg-type]

    monkeypatch.setattr(mls.Group, "commit", commit)
    return circle.known


def opened(where: keys.WriteCapability, entry: bytes) -> tuple[sealing.BodyKind, bytes]:
    return sealing.unseal(where.seal_key, where.channel, entry_class=EntryClass.CONTROL, entry=entry)


def replaced(where: keys.WriteCapability, entry: bytes, change: Callable[[list[object]], None]) -> bytes:
    """The entry with another body."""
    kind, body = opened(where, entry)
    assert kind is sealing.BodyKind.WELCOME
    parts: list[object] = msgspec.msgpack.decode(body)
    change(parts)
    return sealing.seal(
        where.seal_key, where.channel, entry_class=EntryClass.CONTROL, kind=kind, body=msgspec.msgpack.encode(parts)
    )


def forged(circle: Circle) -> key_packages.Beside:
    """민지's new device is to believe that 서연 wrote this."""
    who = circle.seoyeon.engine._core.identity
    body = content.encode(content.Text("나는 그렇게 말한 적이 없어"))
    row = records.Kept(
        b"f" * 16, 0, 1, 2, 1, circle.world.now, None, False, None, None, False, content.Fate.STAYS, None, body
    )
    batch = records.Batch(bytes.fromhex(circle.group), [records.Sender(who.account, who.device.key)], [row])
    return key_packages.Beside(None, [], [], [], False, True, [batch])


@pytest.mark.parametrize("way", ["its own part", "without one", "its own key"])
def test_a_member_and_the_relay_cannot_put_words_into_a_new_device(circle: Circle, member_sees: Keys, way: str) -> None:
    """HT-M-150: a Welcome whose part for siblings was replaced is refused; nothing in anybody's name is shown."""
    new = circle.minji.new_device(settle=False)
    attacks = []

    def change(parts: list[object]) -> None:
        assert len(parts) == 6
        beside = msgspec.msgpack.encode(forged(circle))
        parts[5] = {"its own part": beside, "without one": None, "its own key": b"n" * 12 + beside + b"t" * 16}[way]

    def attack(entry: PushedEntry) -> PushedEntry:
        for where in member_sees.values():
            try:
                kind, body = opened(where, entry.entry)
            except ContentError:
                continue  # of another channel
            tree = msgspec.msgpack.decode(body)[3] if kind is sealing.BodyKind.WELCOME else None
            if tree is not None:  # into the group
                attacks.append(entry.seq)
                return msgspec.structs.replace(entry, entry=replaced(where, entry.entry, change))
        return entry

    assert new.pipe is not None
    new.pipe.alter(attack)
    circle.world.settle(60)
    assert attacks
    assert "나는 그렇게 말한 적이 없어" not in [
        text for chat in new.engine.chats().chats for text in new.texts(chat.conversation)
    ]
    assert circle.group not in [chat.conversation for chat in new.engine.chats().chats]
    assert "welcome.refused" in new.alarms()


def test_a_member_and_the_relay_read_nothing_of_what_siblings_say(circle: Circle, member_sees: Keys) -> None:
    """HT-M-150: with every Welcome of a new device in hand and its key: no text, no resync secret."""
    new = circle.minji.new_device(settle=False)
    for number in range(40):
        circle.world.settle(0.1)
        circle.seoyeon.send(circle.group, f"{CANARY} {number}")
    circle.world.settle(60)
    assert any(CANARY in text for text in new.texts(circle.group))
    secrets = [
        bytes(secret)
        for (secret,) in circle.minji.database.tuples("SELECT exported FROM resync WHERE length(exported) = 32")
        if isinstance(secret, bytes)
    ]
    read = []
    for frame in circle.stored:
        for where in member_sees.values():
            try:
                read.append(opened(where, frame.entry)[1])
            except ContentError:
                continue  # of another channel
    assert len(read) >= 3
    for body in read:
        assert CANARY.encode() not in body
        assert not [secret for secret in secrets if secret in body]


# What is left of linking (T-037, T-049)


@pytest.fixture
def references(monkeypatch: pytest.MonkeyPatch) -> list[Reference]:
    """Every reference of a bundle that was ever made."""
    made: list[Reference] = []
    publish = bundles.publish

    def published(*arguments: object, **more: object) -> Reference:
        made.append(publish(*arguments, **more))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(history.bundles, "publish", published)
    return made


def test_t049_no_key_to_the_history_that_was_given_is_left(circle: Circle, references: list[Reference]) -> None:
    """HT-C-210, HT-C-159: a relay that kept every chunk and both devices' files with their passphrase: the history,
    of which much expired since, stays closed."""
    circle.minji.send(circle.group, CANARY, expire=3600)
    circle.world.settle(10)
    new = circle.minji.new_device()
    circle.world.settle(60)
    (reference,) = references
    plain = b"".join(_chunks(circle, reference))
    assert CANARY.encode() in plain  # the control: what the key would be worth
    tablet = new.new_device()
    circle.world.settle(60)
    assert CANARY in tablet.texts(circle.group)
    circle.world.pass_days(1)
    for person in (*circle.people, new, tablet):
        person.online()
    circle.world.settle(60)
    for person in (circle.minji, new, tablet):
        assert person.texts(circle.group) == []
        found = raw(person.path, person.key)
        for each in references:
            assert each.secret not in found
        assert CANARY.encode() not in found
        assert list(person.path.with_suffix(".files").glob("*")) == []


def _chunks(circle: Circle, reference: Reference) -> Iterator[bytes]:
    """What somebody with the reference reads in what the relay was given."""
    key = chunking.ChunkKey(reference.secret)
    for frame in circle.stored:
        if frame.entry_class is EntryClass.ATTACHMENT:
            yield key.open(frame.entry, chunks=chunking.chunks_of(reference.size))[1]
