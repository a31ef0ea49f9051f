"""The oracle of case 81, and more: what must hold after every act, and what must hold at every quiet point."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.client.machine.witness import Witness
from tests.client.people import Person, World

from hanatalk.client import calls
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import ConversationState, Gap, Stream

RANK = {"queued": 0, "stored": 1, "failed": 2, "received": 2, "delivered": 3, "read": 4}
NEVER = {"message.reused-id", "message.reused-counter", "message.counter-jump", "mls.path-fault", "mls.evicted"}
GIVE_UP = 30 * 86_400_000  # milliseconds (HT-C-032)
INVITE_LASTS = 3 * 86_400_000  # milliseconds


@dataclass(frozen=True)
class Talk:
    """A conversation of two of the people on stage (or of one with somebody who is not there)."""

    conversation: str
    people: tuple[int, ...]

    @property
    def id(self) -> ConversationId:
        return ConversationId(bytes.fromhex(self.conversation))


@dataclass
class Sent:
    """A message whose send returned (or that was found durable after a death)."""

    who: int
    talk: Talk
    text: str
    expire: int | None = None  # seconds
    certain: bool = False
    recalled: bool = False
    lost: bool = False  # its sender's profile is a copy that does not know it, or not that it was taken back
    told: bool = False  # it was confirmed by a profile that is an older copy now

    @property
    def stays(self) -> bool:
        return self.expire is None and not self.recalled and not self.lost


class Oracle:
    """Knows what people did; judges what engines show."""

    def __init__(self) -> None:
        self.looking = False
        self.talks: list[Talk] = []
        self.sent: dict[str, Sent] = {}
        self.attacked = False
        self.nobody_restored = True
        self._forgot: set[tuple[int, str]] = set()  # whose copy of a profile does not know which conversation
        self._maybe: dict[str, Sent] = {}
        self._gone: set[tuple[int, str]] = set()
        self._shown: set[tuple[int, str]] = set()
        self._ranks: dict[tuple[int, str], tuple[int, int]] = {}
        self._ahead: defaultdict[int, int] = defaultdict(int)  # how far a clock was ever ahead

    def begin(self, world: World, witness: Witness) -> None:
        self._world, self._witness = world, witness
        with self.aside():
            self._discover()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is asked in here is not asked by the people: it cannot kill them."""
        before, self.looking = self.looking, True
        try:
            yield
        finally:
            self.looking = before

    # what happened ------------------------------------------------------------------------------------------------

    def talks_of(self, who: int) -> list[Talk]:
        """Conversations that this person has and that go on."""
        with self.aside():
            self._discover()
            database = self._world.people[who].database
            going_on = {
                conversation
                for (conversation,) in database.tuples(
                    "SELECT conversation FROM conversation WHERE state = ?", ConversationState.JOINED
                )
            }
        return [talk for talk in self.talks if who in talk.people and talk.id in going_on]

    def _discover(self) -> None:
        known = {talk.conversation for talk in self.talks}
        accounts = {person.engine._core.identity.account: who for who, person in enumerate(self._world.people)}
        for person in self._world.people:
            for (conversation,) in person.database.tuples("SELECT conversation FROM conversation ORDER BY created_at"):
                assert isinstance(conversation, bytes)
                if conversation.hex() not in known:
                    members = person.database.tuples("SELECT account FROM member WHERE conversation = ?", conversation)
                    people = sorted(accounts[account] for (account,) in members if account in accounts)
                    self.talks.append(Talk(conversation.hex(), tuple(people)))
                    known.add(conversation.hex())

    def may_send(self, person: Person, talk: Talk, text: str, *, expire: int | None = None) -> None:
        self._maybe[text] = Sent(self._world.people.index(person), talk, text, expire)

    def has_sent(self, person: Person, text: str) -> None:
        self._maybe[text].certain = True

    def settled(self, person: Person, text: str) -> None:
        """Sending it has returned or has died: now it is durable or never was."""
        with self.aside():
            sent = self._maybe.pop(text)
            durable = text in person.texts(sent.talk.conversation)
            assert durable or not sent.certain, "acknowledged and not durable"
            if durable:
                self.sent[text] = sent

    def own(self, person: Person, talk: Talk) -> list[tuple[str, str]]:
        """Ids and texts of what this person wrote and has not taken back."""
        who = self._world.people.index(person)
        with self.aside():
            return [
                (message.message, message.text)
                for message in person.messages(talk.conversation)
                if not message.recalled and self.sent[message.text].who == who
            ]

    def has_recalled(self, person: Person, message: str, text: str) -> None:
        """Taking it back has returned or has died."""
        with self.aside():
            sent = self.sent[text]
            shown = {each.message: each for each in person.messages(sent.talk.conversation)}
            sent.recalled = message not in shown or shown[message].recalled

    def clock_was(self, person: Person) -> None:
        who = self._world.people.index(person)
        self._ahead[who] = max(self._ahead[who], person.skew)

    def has_restored(self, person: Person) -> None:
        """A copy has taken this profile's place: what it does not know, nobody can ask it for."""
        who, self.nobody_restored = self._world.people.index(person), False
        with self.aside():
            self._shown = {each for each in self._shown if each[0] != who}
            self._gone = {each for each in self._gone if each[0] != who}
            self._ranks = {each: rank for each, rank in self._ranks.items() if each[0] != who}
            self._forgot |= {
                (who, talk.conversation) for talk in self.talks if who in talk.people and not self._has(person, talk)
            }
            known = {
                message.text for talk in self.talks if who in talk.people for message in self._messages(person, talk)
            }
            for sent in self.sent.values():
                sent.lost = sent.lost or (sent.who == who and (sent.recalled or sent.text not in known))
                sent.recalled = sent.recalled and sent.who != who
                sent.told = sent.told or who in sent.talk.people

    def _messages(self, person: Person, talk: Talk) -> list[calls.Message]:
        return person.messages(talk.conversation) if self._has(person, talk) else []

    def epochs(self, talk: Talk) -> set[int]:
        with self.aside():
            found = set()
            for who in talk.people:
                person = self._world.people[who]
                epoch = person.database.value("SELECT epoch FROM conversation WHERE conversation = ?", talk.id)
                if isinstance(epoch, int):
                    found.add(epoch)
                pending = person.database.value(
                    "SELECT 1 FROM outbox WHERE owner = ? AND kind = 4 AND stored_seq IS NOT NULL", talk.id
                )
                if pending:
                    found.add(-1)
            return found

    def may_forget(self) -> bool:
        """A commit that one side has merged and the other never saw cannot be told from none once the log is lost."""
        return all(len(self.epochs(talk)) == 1 for talk in self.talks)

    # after every act ----------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Shown once, only what was sent, in order; states go forward and are true; nothing is lost silently."""
        with self.aside():
            self._discover()
            shown = {
                (who, talk.conversation): person.messages(talk.conversation)
                for talk in self.talks
                for who in talk.people
                if self._has(person := self._world.people[who], talk)
            }
            for (who, conversation), messages in shown.items():
                self._texts(who, conversation, messages)
                self._states(who, conversation, messages, shown)
                self._gaps(self._world.people[who], conversation)

    def _has(self, person: Person, talk: Talk) -> bool:
        return person.database.value("SELECT 1 FROM conversation WHERE conversation = ?", talk.id) is not None

    def _texts(self, who: int, conversation: str, messages: list[calls.Message]) -> None:
        texts = [message.text for message in messages if not message.recalled]
        assert len({message.message for message in messages}) == len(messages), "shown twice"
        assert len(texts) == len(set(texts)), "shown twice"
        for text in texts:
            sent = self.sent.get(text)
            assert sent is not None, f"shown and never sent: {text}"
            assert sent.talk.conversation == conversation, "shown in another conversation"
        own = [text for text in texts if self.sent[text].who == who]
        expected = [
            sent.text
            for sent in self.sent.values()
            if (sent.who, sent.talk.conversation) == (who, conversation) and (sent.stays or sent.text in own)
        ]
        assert own == expected, "own messages out of order"
        here = {(who, text) for text in texts}
        before = {
            each for each in self._shown if each[0] == who and self.sent[each[1]].talk.conversation == conversation
        }
        assert not here & self._gone, "what was gone is shown again"
        assert all(not self.sent[text].stays for _, text in before - here), "what was shown is gone"
        self._gone |= before - here
        self._shown |= here

    def _states(
        self,
        who: int,
        conversation: str,
        messages: list[calls.Message],
        shown: dict[tuple[int, str], list[calls.Message]],
    ) -> None:
        talk = next(talk for talk in self.talks if talk.conversation == conversation)
        others = [
            {message.message: message for message in shown.get((other, conversation), [])}
            for other in talk.people
            if other != who
        ]
        for message in messages:
            now = (RANK[message.state], -message.unread)
            before = self._ranks.get((who, message.message), (0, -2))
            if before[0] >= RANK["delivered"]:  # before, what a relay lost is queued again (HT-C-074)
                assert now[0] >= before[0], f"{message.state} after more than that"
            assert now[1] >= before[1], "unread by more people than before"
            self._ranks[who, message.message] = now
            if message.recalled or self.sent[message.text].who != who or not self.sent[message.text].stays:
                continue
            if self.sent[message.text].told:
                continue
            there = [other.get(message.message) for other in others]
            if message.state in ("delivered", "read"):
                assert any(there), "delivered, and nobody has it"
            if message.unread == 0:
                assert any(each and each.state == "read" for each in there), "read, and nobody has read it"

    def _gaps(self, person: Person, conversation: str) -> None:
        """A number that is known to exist is here or shown as missing (HT-C-030)."""
        talk = ConversationId(bytes.fromhex(conversation))
        for known in person.database.find(Stream, "conversation = ?", talk):
            here = {
                counter
                for (counter,) in person.database.tuples(
                    "SELECT counter FROM message WHERE conversation = ? AND device = ?", talk, known.device
                )
            }
            missing = {
                number
                for gap in person.database.find(Gap, "conversation = ? AND device = ?", talk, known.device)
                for number in range(gap.first, gap.last + 1)
            }
            for number in range(1, known.highest + 1):
                assert number in here or number in missing, "a known number is neither here nor missing"
            if missing:
                assert not person.engine.caught_up(), "caught up, and something is known to be missing"

    # at a quiet point ---------------------------------------------------------------------------------------------

    def at_rest(self) -> None:
        """Everything has healed: then everything is everywhere."""
        with self.aside():
            self.look()
            for talk in self.talks:
                if all(person < len(self._world.people) for person in talk.people) and len(talk.people) == 2:
                    self._talk_at_rest(talk)
            for person in self._world.people:
                self._person_at_rest(person)

    def _talk_at_rest(self, talk: Talk) -> None:
        people = [self._world.people[who] for who in talk.people]
        if not all(self._has(person, talk) for person in people):
            self._never_joined(talk)
            return
        cores = [person.engine._core for person in people]
        rows = [core.conversation(talk.id) for core in cores]
        assert {row.state for row in rows} == {ConversationState.JOINED}, "broken"
        assert len({core.group(talk.id).epoch_authenticator for core in cores}) == 1, "forked"
        assert len({tuple(member.device for member in core.members(talk.id)) for core in cores}) == 1, "rosters differ"
        assert len({row.channel for row in rows}) == 1, "in different eras"
        expected = [sent for sent in self.sent.values() if sent.talk == talk]
        self._gone_at_rest(talk, people, expected)
        for who, person in zip(talk.people, people, strict=True):
            messages = {message.text: message for message in person.messages(talk.conversation) if not message.recalled}
            missing = {sent.text for sent in expected if sent.stays} - messages.keys()
            assert not missing, f"acknowledged and not shown: {sorted(missing)}"
            all_read, exact = True, True
            for sent in expected:
                if sent.who != who:
                    continue
                there = self._world.people[next(each for each in talk.people if each != who)]
                if not sent.stays:  # it may or may not have been read before it went
                    exact = False
                    continue
                state, unread = messages[sent.text].state, messages[sent.text].unread
                other = there.message(talk.conversation, messages[sent.text].message)
                all_read = all_read and other.state == "read"  # cumulative: up to the first that is not (HT-C-023)
                assert state in ("delivered", "read"), f"shown there, {state} here"
                exact = exact and not sent.told
                assert sent.told or unread or other.state == "read", "read here, and not there"
                assert not exact or (unread == 0) == all_read, f"the 1 is not true: {unread}, all read: {all_read}"

    def _gone_at_rest(self, talk: Talk, people: list[Person], expected: list[Sent]) -> None:
        """What was taken back is nowhere; what had a timer is only where nobody has read it (HT-C-040, HT-C-045)."""
        for person in people:
            for message in person.messages(talk.conversation):
                if message.recalled:
                    assert not message.text, "taken back, and its text is here"
                    continue
                sent = self.sent[message.text]
                assert not sent.recalled, "taken back, and shown"
                assert sent.expire is None or message.state == "received", "its time is over, and it is shown"

    def _never_joined(self, talk: Talk) -> None:
        """The inviter's own clock had let the invite expire: then nobody is told that something was delivered. Or one
        of the two is an older copy, from before: then there is no way back (HT-M-054)."""
        for who in talk.people:
            person = self._world.people[who]
            if self._has(person, talk):
                other = next(each for each in talk.people if each != who)
                if (other, talk.conversation) in self._forgot:
                    continue
                assert self._ahead[other] > INVITE_LASTS, "accepted, and the inviter never joined"
                assert all(RANK[message.state] < 3 for message in person.messages(talk.conversation))

    def _person_at_rest(self, person: Person) -> None:
        database = person.database
        restored = {sent.talk for sent in self.sent.values() if sent.lost}
        here = {
            talk.id
            for talk in self.talks
            if len(talk.people) == 2 and self._everybody_has(talk) and talk not in restored
        }
        for table in ("gap", "receipt_due"):
            query = (
                "SELECT conversation FROM gap"
                if table == "gap"
                else "SELECT conversation FROM conversation WHERE receipt_due IS NOT NULL"
            )
            assert not here & {conversation for (conversation,) in database.tuples(query)}, f"{table} is left"
        left = database.tuples("SELECT owner, kind, refused_turn FROM outbox")
        assert not left, f"outbox not empty: {left}"
        assert database.number("SELECT count(*) FROM restoring") == 0, "still restoring"
        waiting = {conversation for (conversation,) in database.tuples("SELECT conversation FROM gap")}
        assert person.engine.caught_up() or waiting - here, "not caught up"
        if not self.attacked:
            alarms = NEVER & set(person.alarms())
            assert not alarms, f"alarm: {alarms}"
        with_rows = database.tuples("SELECT owner, count(*) FROM mls GROUP BY owner")
        assert all(isinstance(rows, int) and rows < 80 for _, rows in with_rows), "group state grows"

    def _everybody_has(self, talk: Talk) -> bool:
        return all(self._has(self._world.people[who], talk) for who in talk.people)
