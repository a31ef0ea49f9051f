"""The oracle for groups and devices: what must hold after every act, and when everything has healed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.client.machine.oracle import NEVER
from tests.client.machine.witness import Witness
from tests.client.people import Person, World

from hanatalk.client.engine.formats import accounts, content, policy
from hanatalk.errors import ContentError
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import Change, ChangeKind, Conversation, ConversationState, Member, Message, MessageKind

IN, OUT = ConversationState.JOINED, ConversationState.REMOVED


@dataclass
class Wrote:
    """A message whose sending returned (or that was found durable after a death)."""

    who: Person
    conversation: str
    message: str
    expire: int | None
    wordings: set[str] = field(default_factory=set)
    recalled: bool = False


class TownOracle:
    """Knows what people did; judges what engines show."""

    def __init__(self) -> None:
        self.looking = False
        self.wrote: dict[str, Wrote] = {}  # by message
        self.excused = 0  # missing texts that the spec lets go: written before somebody joined (HT-C-083)
        self._changed: dict[Person, int] = {}
        self._epochs: dict[str, set[int]] = {}  # in which a text was ever encrypted

    def begin(self, world: World, witness: Witness) -> None:
        self._world, self._witness = world, witness
        witness.heard = self._heard

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is asked in here is not asked by the people: it cannot kill them."""
        before, self.looking = self.looking, True
        try:
            yield
        finally:
            self.looking = before

    def clock_was(self, person: Person) -> None:
        """Nothing is judged by clocks here."""

    def may_forget(self) -> bool:
        """Whoever is behind is brought back by the others, who keep the commits."""
        return True

    def _heard(self, epoch: tuple[bytes, int], plaintext: bytes) -> None:
        try:
            envelope, body = content.parse(plaintext)
        except ContentError:
            return
        if isinstance(body, content.Text):
            self._epochs.setdefault(envelope.message.hex(), set()).add(epoch[1])

    # after every act ----------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Shown once, only what was written, only to those who were members when it was encrypted."""
        with self.aside():
            for person in self._world.people:
                changes = person.database._connection.total_changes()
                if self._changed.get(person) != changes:
                    self._changed[person] = changes
                    for row in conversations(person):
                        self._shown(person, row)

    def _shown(self, person: Person, row: Conversation) -> None:
        messages = person.messages(row.conversation.hex())
        ids = [message.message for message in messages]
        assert len(set(ids)) == len(ids), "shown twice"
        for message in messages:
            wrote = self.wrote.get(message.message)
            assert wrote is not None, f"shown and never written: {message.text}"
            assert wrote.conversation == row.conversation.hex(), "shown in another conversation"
            assert message.from_account == account(wrote.who).hex(), "shown as somebody else's"
            if message.recalled:
                assert not message.text, "taken back, and its text is here"
                continue
            assert message.text in wrote.wordings, "shown otherwise than written"
            self._might_read(person, row, message.message)

    def _might_read(self, person: Person, row: Conversation, message: str) -> None:
        """Who was removed reads nothing later, who joined nothing earlier (T-026)."""
        wrote = self.wrote[message]
        if account(wrote.who) == account(person):
            return
        epochs = self._epochs.get(message)
        if not epochs:
            return
        there = {
            accounts.read_credential(credential).account
            for epoch in epochs
            for credential in self._witness.rosters(row.conversation, epoch)
        }
        assert account(person) in there, "read by somebody who was no member"

    # at a quiet point ---------------------------------------------------------------------------------------------

    def restless(self) -> str | None:
        """What is not done yet; None: everything has come to an end."""
        with self.aside():
            for person in self._world.people:
                for row in person.database.find(Conversation, "1"):
                    where = f"{person.name}: {row.conversation.hex()[:8]}"
                    if row.state not in (IN, OUT):
                        return f"{where} is {ConversationState(row.state).name}"
                    if row.state == IN and person.database.value(
                        "SELECT 1 FROM joining WHERE conversation = ?", row.conversation
                    ):
                        return f"{where}: nobody was heard"
                left = person.database.tuples("SELECT owner, kind FROM outbox")
                if left:
                    return f"{person.name}: outbox {left}"
                if person.database.find(Change, "kind != ?", ChangeKind.LEFT):
                    return f"{person.name}: changes wait"
                if person.database.number("SELECT count(*) FROM gap"):
                    return f"{person.name}: gaps"
                if not person.engine.caught_up():
                    return f"{person.name}: not caught up"
            for conversation in self.all_conversations():
                inside = self.inside(conversation)
                if inside and len({core.group(conversation).epoch_authenticator for core in cores(inside)}) != 1:
                    return f"{conversation.hex()[:8]}: parted"
        return None

    def all_conversations(self) -> list[ConversationId]:
        found = {row.conversation for person in self._world.people for row in person.database.find(Conversation, "1")}
        return sorted(found)

    def inside(self, conversation: ConversationId) -> list[Person]:
        """Devices that take themselves for members."""
        query = "conversation = ? AND state = ?"
        return [each for each in self._world.people if each.database.first(Conversation, query, conversation, IN)]

    def at_rest(self) -> None:
        """One history; the same people, roles and name for all; what was acknowledged is everywhere."""
        with self.aside():
            self.look()
            for conversation in self.all_conversations():
                inside = self.inside(conversation)
                if inside:
                    self._one_history(conversation, inside)
                    self._everything_shown(conversation, inside)
            for person in self._world.people:
                alarms = NEVER & set(person.alarms())
                assert not alarms, f"alarm: {alarms}"

    def _one_history(self, conversation: ConversationId, inside: list[Person]) -> None:
        rows = [core.conversation(conversation) for core in cores(inside)]
        assert len({(row.epoch, row.channel) for row in rows}) == 1, "in different eras"
        assert len({core.group(conversation).epoch_authenticator for core in cores(inside)}) == 1, "forked"
        assert len({row.policy for row in rows}) == 1, "roles or names differ"
        devices = {core.identity.device.key for core in cores(inside)}
        for core in cores(inside):
            roster = {member.device for member in core.members(conversation)}
            assert roster == devices, "a roster is not who is there"

    def _everything_shown(self, conversation: ConversationId, inside: list[Person]) -> None:
        for wrote in self.wrote.values():
            if wrote.conversation != conversation.hex() or wrote.who not in inside:
                continue
            own = wrote.who.database.first(Message, "message = ?", bytes.fromhex(wrote.message))
            assert own is not None
            if wrote.recalled or wrote.expire is not None:
                continue
            since = {
                member.account: member.since_epoch
                for member in wrote.who.database.find(
                    Member, "conversation = ? ORDER BY since_epoch DESC", conversation
                )
            }
            if since[account(wrote.who)] > own.epoch:
                continue  # it was out meanwhile: nobody owes it anything from before
            joined_since = any(epoch > own.epoch for epoch in since.values())
            for person in inside:
                here = person.database.first(Message, "message = ?", bytes.fromhex(wrote.message))
                of = person.database.first(
                    Member,
                    "conversation = ? AND device = ?",
                    conversation,
                    wrote.who.engine._core.identity.device.key,
                )
                mine = min(
                    member.since_epoch
                    for member in person.database.find(Member, "conversation = ?", conversation)
                    if member.account == account(person)
                )
                if since[account(person)] > own.epoch or mine > own.epoch or of is None:
                    continue
                if here is not None and here.kind == MessageKind.PERSON:
                    continue
                assert joined_since, f"acknowledged and not shown: {wrote.wordings} at {person.name}"
                self.excused += 1

    def all_read(self) -> None:
        """Everybody has read everything: no 1 is left at a message that all who are here were sent."""
        with self.aside():
            for conversation in self.all_conversations():
                for person in self.inside(conversation):
                    if person.engine._core.conversation(conversation).kind == policy.Kind.ACCOUNT:
                        continue
                    for message in person.messages(conversation.hex()):
                        assert message.unread == 0, f"the 1 is not true: {message.text} {message.unread}"


def cores(people: list[Person]) -> list:
    return [person.engine._core for person in people]


def account(person: Person) -> bytes:
    return person.engine._core.identity.account


def conversations(person: Person) -> list[Conversation]:
    """Those that people see."""
    return person.database.find(Conversation, "kind != ?", policy.Kind.ACCOUNT)
