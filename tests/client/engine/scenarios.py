"""What the victims of the crash grid do: send, receive, read, invite, join, accept, commit, lose a race, tidy up, move,
come back as an old copy, found a group, join one."""

import contextlib
from typing import TYPE_CHECKING

from tests.client.people import URL, Person, World
from tests.simulated_relay import SimulatedRelay

from hanatalk.client import calls
from hanatalk.client.engine import Fate
from hanatalk.client.engine.conversations import commits
from hanatalk.errors import UsageError
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import IntentKind

if TYPE_CHECKING:
    from tests.client.engine.mortal import Scenario, Victim

OTHER = "ws://127.0.0.1:7711"
DAY = 86_400  # seconds
COMMITS = "SELECT count(*) FROM outbox WHERE is_commit = 1"
Given = dict[str, str]


class _Friends:
    """Victim and peer know each other; everything is confirmed."""

    name = ""
    expected = frozenset({"MemberJoined"})
    peers_relay = URL

    def prepare(self, world: World) -> tuple[Person, Person, Given]:
        if self.peers_relay != URL:
            world.relays[self.peers_relay] = SimulatedRelay(day=world.relay.day)
        victim, peer = world.person("victim"), world.person("peer", relay=self.peers_relay)
        world.run()
        conversation = world.befriend(victim, peer)
        world.settle(3600)
        given = {"conversation": conversation}
        self.set_up(world, victim, peer, given)
        return victim, peer, given

    def set_up(self, world: World, victim: Person, peer: Person, given: Given) -> None:
        """Nothing more."""

    def live(self, victim: "Victim", given: Given) -> None:
        victim.wait(10)

    def peer_does(self, what: str, world: World, peer: Person, given: Given) -> None:
        raise AssertionError(what)

    def after(self, world: World, victim: Person, peer: Person, given: Given) -> str:
        return given["conversation"]

    def judge(self, victim: Person, peer: Person, given: Given, said: list[str]) -> None:
        """Nothing more."""


class Send(_Friends):
    """Two messages, one after the other, and whatever comes back."""

    name = "send"

    def live(self, victim: "Victim", given: Given) -> None:
        victim.exchange()
        victim.say(given["conversation"], "하나")
        victim.say(given["conversation"], "둘")
        victim.exchange()
        victim.wait(5)


class Receive(_Friends):
    """Three messages that waited, read, the confirmation sent, and an answer."""

    name = "receive"

    def set_up(self, world: World, victim: Person, peer: Person, given: Given) -> None:
        victim.offline()
        texts = ["first", "second", "third"]
        for text in texts:
            peer.send(given["conversation"], text)
        world.settle(60)
        given["texts"] = "\n".join(texts)

    def live(self, victim: "Victim", given: Given) -> None:
        victim.exchange()
        victim.does(lambda: victim.engine.read(given["conversation"], victim.now))
        victim.wait(5)
        victim.say(given["conversation"], "answer")
        victim.exchange()


class Join(_Friends):
    """The peer has accepted the victim's invite: a Welcome waits."""

    name = "join"

    def prepare(self, world: World) -> tuple[Person, Person, Given]:
        victim, peer = world.person("victim"), world.person("peer")
        world.run()
        link = victim.invite()
        victim.offline()
        conversation = peer.accept(link).conversation
        peer.send(conversation, "early")
        world.settle(60)
        return victim, peer, {"conversation": conversation, "texts": "early"}

    def live(self, victim: "Victim", given: Given) -> None:
        victim.exchange()
        victim.wait(5)
        victim.say(given["conversation"], "joined")
        victim.exchange()


class Accept(_Friends):
    """The victim accepts an invite; after a crash the person tries the same link again."""

    name = "accept"

    def prepare(self, world: World) -> tuple[Person, Person, Given]:
        victim, peer = world.person("victim"), world.person("peer")
        world.run()
        return victim, peer, {"link": peer.invite()}

    def live(self, victim: "Victim", given: Given) -> None:
        victim.exchange()
        channel = victim.does(lambda: victim.engine.accept(given["link"], victim.now))
        victim.exchange()
        accepted = victim.does(lambda: victim.engine.accepted(channel))
        victim.wait(5)
        victim.say(accepted.conversation, "here I am")
        victim.exchange()

    def after(self, world: World, victim: Person, peer: Person, given: Given) -> str:
        return victim.accept(given["link"]).conversation


class InviteSomebody(_Friends):
    """The victim makes an invite. A link that a person has seen works."""

    name = "invite"

    def prepare(self, world: World) -> tuple[Person, Person, Given]:
        victim, peer = world.person("victim"), world.person("peer")
        world.run()
        return victim, peer, {"link": ""}

    def live(self, victim: "Victim", given: Given) -> None:
        victim.exchange()
        row = victim.does(lambda: victim.engine.invite(expires=DAY, now=victim.now))
        victim.wire.send(["given", "link", row.link])
        victim.exchange()
        victim.wait(5)

    def after(self, world: World, victim: Person, peer: Person, given: Given) -> str:
        world.run()
        conversation = peer.accept(given["link"] or victim.invite()).conversation
        world.settle(60)
        return conversation


class Commit(_Friends):
    """An own commit of either kind, with messages around it."""

    name = "commit"

    def live(self, victim: "Victim", given: Given) -> None:
        victim.exchange()
        for kind in (IntentKind.UPDATE, IntentKind.NEW_ERA):
            victim.say(given["conversation"], f"before {kind.name}")
            victim.does(lambda kind=kind: _want(victim, given, kind))  # type: ignore[misc]
            victim.wait(2)
            victim.say(given["conversation"], f"after {kind.name}")
            victim.exchange()
        victim.wait(5)


class Follow(_Friends):
    """The peer's commits of either kind, with messages around them."""

    name = "follow"

    def live(self, victim: "Victim", given: Given) -> None:
        victim.exchange()
        for kind in (IntentKind.UPDATE, IntentKind.NEW_ERA):
            victim.peer(kind.name)
            victim.say(given["conversation"], f"across {kind.name}")
            victim.exchange()
            victim.wait(3)

    def peer_does(self, what: str, world: World, peer: Person, given: Given) -> None:
        peer.send(given["conversation"], f"peer before {what}")
        given["texts"] = given.get("texts", "") + f"\npeer before {what}"
        core = peer.engine._core
        with core.transaction():
            commits.want(core, ConversationId(bytes.fromhex(given["conversation"])), IntentKind[what], world.now)
        peer.engine.tick(world.now)


class Race(_Friends):
    """Both commit in the same turn, the peer is faster: the victim's intent is done once, in the next epoch."""

    name = "race"

    def live(self, victim: "Victim", given: Given) -> None:
        victim.exchange()
        victim.does(lambda: _want(victim, given, IntentKind.UPDATE))
        victim.step(lambda: victim.engine.tick(victim.now))
        victim.exchange(until=lambda: victim.does(lambda: bool(victim.opened.number(COMMITS))))
        victim.say(given["conversation"], "while racing")
        victim.peer("UPDATE")
        victim.exchange()
        victim.wait(10)

    peer_does = Follow.peer_does


class Chores(_Friends):
    """Days later: what the relay has dropped unconfirmed is published again, keys are renewed, old rows go."""

    name = "chores"

    def set_up(self, world: World, victim: Person, peer: Person, given: Given) -> None:
        peer.offline()
        texts = ["unheard", "of"]
        for text in texts:
            victim.send(given["conversation"], text)
        world.settle(60)
        given["texts"] = "\n".join(texts)
        victim.offline()
        world.now += 8 * DAY * 1000
        world.relay.pass_days(8)
        world.run()

    def live(self, victim: "Victim", given: Given) -> None:
        victim.exchange()
        victim.step(lambda: victim.engine.tick(victim.now))
        victim.exchange()
        victim.wait(60)


class Expire(_Friends):
    """Messages go: another's by its timer once it was read, an own one by its timer, an own one taken back."""

    name = "expire"

    def set_up(self, world: World, victim: Person, peer: Person, given: Given) -> None:
        victim.offline()
        peer.engine.send(given["conversation"], "going", expire=4, now=world.now)
        peer.send(given["conversation"], "staying")
        world.settle(60)
        given["texts"], given["going"] = "staying", "going"

    def live(self, victim: "Victim", given: Given) -> None:
        victim.exchange()
        victim.does(lambda: victim.engine.read(given["conversation"], victim.now))
        victim.say(given["conversation"], "own, going", expire=4)
        victim.exchange()
        message = victim.say(given["conversation"], "taken back")
        victim.exchange()
        victim.take_back(message)
        victim.exchange()
        victim.wait(8)


class About(_Friends):
    """An own message is edited twice, the peer's gets a reaction, another one, none; the peer does likewise."""

    name = "about"

    def set_up(self, world: World, victim: Person, peer: Person, given: Given) -> None:
        given["own"] = victim.send(given["conversation"], "mine")
        given["theirs"] = peer.send(given["conversation"], "theirs")
        world.settle(60)
        given["texts"] = "mine\ntheirs\ntheirs, edited"

    def live(self, victim: "Victim", given: Given) -> None:
        victim.exchange()
        victim.reword(given["own"], "mine, edited", before="mine")
        for reaction in ("👍", "❤️"):
            victim.did(reaction, lambda reaction=reaction: self._react(victim, given, reaction))  # type: ignore[misc]
        victim.peer("act")
        victim.exchange()
        victim.reword(given["own"], "mine, edited again", before="mine, edited")
        victim.exchange()
        victim.did("none", lambda: self._react(victim, given, None))
        victim.wait(8)

    def _react(self, victim: "Victim", given: Given, reaction: str | None) -> None:
        victim.engine.react(given["theirs"], reaction, victim.now)

    def peer_does(self, what: str, world: World, peer: Person, given: Given) -> None:
        peer.engine.edit(given["theirs"], "theirs, edited", world.now)
        peer.engine.react(given["own"], "👀", world.now)
        given["acted"] = "yes"

    def judge(self, victim: Person, peer: Person, given: Given, said: list[str]) -> None:
        for own in victim.messages(given["conversation"]):
            other = peer.message(given["conversation"], own.message)
            assert [(each.emoji, each.count) for each in own.reactions] == [
                (each.emoji, each.count) for each in other.reactions
            ]
            assert victim.engine.versions(own.message) == peer.engine.versions(own.message)
        found = [each.emoji for each in peer.message(given["conversation"], given["theirs"]).reactions]
        last = {"👍": ["👍"], "❤️": ["❤️"], "none": []}
        steps = [[], *last.values()]
        behind = 1 + list(last).index(said[-1]) if said else 0
        assert found in steps[behind : behind + 2], (said, found)
        acted = [each.emoji for each in victim.message(given["conversation"], given["own"]).reactions]
        assert acted == (["👀"] if "acted" in given else [])


class ViewOnce(_Friends):
    """The victim opens what can be seen once, and sends such a thing itself, which the peer opens."""

    name = "view once"

    def set_up(self, world: World, victim: Person, peer: Person, given: Given) -> None:
        message = peer.engine.send(given["conversation"], "theirs, once", fate=Fate.ONCE, now=world.now)
        given["theirs"] = message.message.hex()
        world.settle(60)
        given["going"] = "theirs, once"

    def live(self, victim: "Victim", given: Given) -> None:
        victim.exchange()
        seen = victim.did("seen", lambda: victim.engine.view(given["theirs"], victim.now))
        assert seen.text == "theirs, once"
        victim.exchange()
        own = victim.did(
            "sent",
            lambda: victim.engine.send(given["conversation"], "own, once", fate=Fate.ONCE, now=victim.now),
        )
        victim.wire.send(["given", "own", own.message.hex()])
        victim.wire.send(["gone", "own, once"])
        victim.exchange()
        victim.wait(4)
        victim.peer("open")
        victim.wait(8)

    def peer_does(self, what: str, world: World, peer: Person, given: Given) -> None:
        assert peer.engine.view(given["own"], world.now).text == "own, once"

    def after(self, world: World, victim: Person, peer: Person, given: Given) -> str:
        world.settle(60)
        for person, name in ((victim, "theirs"), (peer, "own")):
            if name in given and not person.message(given["conversation"], given[name]).opened:
                given[f"{name} was closed"] = "yes"
                assert person.engine.view(given[name], world.now).text == f"{name}, once"
        return given["conversation"]

    def judge(self, victim: Person, peer: Person, given: Given, said: list[str]) -> None:
        assert not ("seen" in said and "theirs was closed" in given), "seen twice"
        for name in ("theirs", "own"):
            for person in (victim, peer) if name in given else ():
                assert person.message(given["conversation"], given[name]).opened


class Move(_Friends):
    """The relay is gone, with a message that waits for it: the victim moves the conversation to the other one."""

    name = "move"
    expected = _Friends.expected | {"ConversationMoved"}
    peers_relay = OTHER

    def set_up(self, world: World, victim: Person, peer: Person, given: Given) -> None:
        gone = world.relays.pop(URL)
        gone.restart()
        for person in (victim, peer):
            person.send(given["conversation"], f"waits, of {person.name}")
        world.settle(60)
        given["texts"] = "waits, of victim\nwaits, of peer"

    def live(self, victim: "Victim", given: Given) -> None:
        victim.exchange()
        victim.say(given["conversation"], "before")
        self.move(victim, given)
        victim.exchange()
        victim.say(given["conversation"], "after")
        victim.wait(10)

    def move(self, victim: "Victim", given: Given) -> None:
        victim.does(lambda: victim.engine.move(given["conversation"], victim.now))

    def after(self, world: World, victim: Person, peer: Person, given: Given) -> str:
        """Whoever was told to move and died before it was written down is told again."""
        world.settle(60)
        core = victim.engine._core
        here = core.channel(core.conversation(ConversationId(bytes.fromhex(given["conversation"]))).channel)
        if here is not None and here.relay == URL:
            victim.engine.move(given["conversation"], victim.now)
            world.settle(60)
        return given["conversation"]


class FollowMove(Move):
    """The same, and the peer moves it."""

    name = "follow-move"

    def move(self, victim: "Victim", given: Given) -> None:
        victim.peer("move")

    def peer_does(self, what: str, world: World, peer: Person, given: Given) -> None:
        peer.engine.move(given["conversation"], world.now)


class PutBack(_Friends):
    """The victim's profile is an old copy: it finds that out, asks, is added again and goes on."""

    name = "put-back"
    expected = _Friends.expected | {
        "profile.old-copy",
        "conversation.old-copy",
        "MemberRejoined",
        "ConversationChanged",
        "GapFound",
    }

    def set_up(self, world: World, victim: Person, peer: Person, given: Given) -> None:
        copy = world.folder / "copy"
        victim.copy_to(copy)
        world.settle(60)
        peer.send(given["conversation"], "meanwhile")
        core = victim.engine._core
        with core.transaction():
            commits.want(core, ConversationId(bytes.fromhex(given["conversation"])), IntentKind.NEW_ERA, world.now)
        world.settle(60)
        victim.put_back(copy, online=False)
        given["texts"] = "meanwhile"

    def live(self, victim: "Victim", given: Given) -> None:
        victim.say(given["conversation"], "of the copy")
        victim.exchange()
        victim.wait(40)
        victim.say(given["conversation"], "back")
        victim.wait(10)


class FoundGroup(_Friends):
    """The victim founds a group and adds the peer. Told of neither, the person does it again."""

    name = "found-group"
    expected = _Friends.expected | {"ConversationChanged"}

    def live(self, victim: "Victim", given: Given) -> None:
        victim.exchange()
        group = victim.does(lambda: victim.engine.group(calls.GroupCreate(name="모임"), victim.now)).hex()
        victim.wire.send(["given", "group", group])
        victim.does(lambda: self._add(victim, group))
        victim.exchange()
        victim.say(group, "새 모임")
        victim.wait(8)

    def _add(self, victim: "Victim | Person", group: str) -> None:
        with contextlib.suppress(UsageError):  # done already
            victim.engine.group(calls.GroupAdd(conversation=group, people=["peer"]), victim.now)

    def after(self, world: World, victim: Person, peer: Person, given: Given) -> str:
        world.settle(60)
        if "group" not in given:
            given["group"] = victim.engine.group(calls.GroupCreate(name="모임"), victim.now).hex()
        self._add(victim, given["group"])
        world.settle(60)
        return given["group"]

    def judge(self, victim: Person, peer: Person, given: Given, said: list[str]) -> None:
        for person in (victim, peer):
            assert {each.name for each in person.engine.members(given["group"]).members} == {"victim", "peer"}


class JoinGroup(_Friends):
    """The peer has added the victim to a group: a Welcome waits, and a message after it."""

    name = "join-group"
    expected = _Friends.expected | {"ConversationChanged"}

    def set_up(self, world: World, victim: Person, peer: Person, given: Given) -> None:
        victim.offline()
        given["group"] = peer.engine.group(calls.GroupCreate(name="모임"), peer.now).hex()
        peer.engine.group(calls.GroupAdd(conversation=given["group"], people=["victim"]), peer.now)
        world.settle(60)
        peer.send(given["group"], "early")
        world.settle(60)
        given["texts"] = "early"

    def live(self, victim: "Victim", given: Given) -> None:
        victim.exchange()
        victim.wait(5)
        victim.say(given["group"], "joined")
        victim.exchange()

    def after(self, world: World, victim: Person, peer: Person, given: Given) -> str:
        world.settle(60)
        return given["group"]


def _want(victim: "Victim", given: Given, kind: IntentKind) -> None:
    core = victim.engine._core
    with core.transaction():
        commits.want(core, ConversationId(bytes.fromhex(given["conversation"])), kind, victim.now)


SCENARIOS: list["Scenario"] = [
    each()
    for each in (
        Send,
        Receive,
        Join,
        Accept,
        InviteSomebody,
        Commit,
        Follow,
        Race,
        Chores,
        Expire,
        About,
        ViewOnce,
        Move,
        FollowMove,
        PutBack,
        FoundGroup,
        JoinGroup,
    )
]
