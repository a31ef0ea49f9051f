"""What messages can do, done at random by people whose relay drops, reorders and repeats (HT-C-104 … HT-C-114).

In the end everybody who has a message sees the same wording, history and reactions; what was taken back says nothing
anywhere; what can be seen once was seen at most once by each; nothing is missing, nobody is alarmed.
"""

import random
from collections import Counter
from contextlib import suppress

import pytest
from tests.client import gatherings
from tests.client.people import Person, World

from hanatalk.client.engine import Fate
from hanatalk.errors import UsageError

EMOJI = ("👍", "❤️", "👀", None)


class Play:
    """One conversation, its people, and what was done so far."""

    def __init__(self, world: World, rng: random.Random, count: int) -> None:
        self.world = world
        self.rng = rng
        self.people = gatherings.acquainted(world, count)
        if count == 2:
            self.conversation = self.people[0].engine.chats().chats[0].conversation
        else:
            self.conversation = gatherings.founded(world, self.people)
        world.settle(60)
        for person in self.people:
            person.events.clear()
        self.sender: dict[str, Person] = {}
        self.once: set[str] = set()
        self.seen: Counter[tuple[str, str]] = Counter()
        self.recalled: set[str] = set()
        self.deleted: set[tuple[str, str]] = set()

    def act(self) -> None:
        """Something, by somebody."""
        person = self.rng.choice(self.people)
        what = self.rng.choices(
            ["send", "once", "react", "edit", "recall", "delete", "view", "read", "trouble", "time"],
            [4, 2, 6, 4, 1, 1, 3, 2, 5, 6],
        )[0]
        if what in ("send", "once"):
            fate = Fate.ONCE if what == "once" else Fate.STAYS
            text = f"{len(self.sender)}"
            message = person.engine.send(self.conversation, text, fate=fate, now=person.now).message.hex()
            self.sender[message] = person
            if what == "once":
                self.once.add(message)
        elif what == "time":
            self.world.settle(self.rng.choice([0, 1, 5]))
        elif what == "trouble":
            self.trouble(person)
        elif what == "read":
            person.engine.read(self.conversation, person.now)
        elif self.sender:
            self.about(what, person, self.rng.choice(list(self.sender)))

    def about(self, what: str, person: Person, message: str) -> None:
        """What is refused (not there yet, gone, not one's own) is refused."""
        with suppress(UsageError):
            if what == "react":
                person.engine.react(message, self.rng.choice(EMOJI), person.now)
            elif what == "edit":
                person.engine.edit(message, f"edited {self.rng.randrange(1000)}", person.now)
            elif what == "recall":
                person.engine.recall(message, person.now)
                self.recalled.add(message)
            elif what == "delete":
                person.engine.delete(message, person.now)
                self.deleted.add((person.name, message))
            elif what == "view":
                person.engine.view(message, person.now)
                self.seen[(person.name, message)] += 1

    def trouble(self, person: Person) -> None:
        pipe = person.pipe
        if pipe is None:
            person.online()
        elif pipe._held is not None:
            order = self.rng.choice([lambda held: held, lambda held: list(reversed(held)), self._shuffled])
            pipe.release(order)  # type: ignore[arg-type]
        else:
            self.rng.choice([pipe.hold, pipe.hold, person.offline, person.restart])()

    def _shuffled(self, held: list[object]) -> list[object]:
        again = [*held, *self.rng.sample(held, len(held) // 2)]
        self.rng.shuffle(again)
        return again

    def end(self) -> None:
        for person in self.people:
            if person.pipe is not None and person.pipe._held is not None:
                person.pipe.release()
            person.restart()
        self.world.settle(3 * 3600)

    def judge(self) -> None:
        """See the module."""
        assert not [count for count in self.seen.values() if count > 1]
        for person in self.people:
            assert set(person.alarms()) <= {"relay.dropped"}  # it does not show everything in time (HT-C-074)
            assert person.engine.pending(person.now) == 0
            assert person.database.number("SELECT count(*) FROM gap") == 0
            assert person.database.number("SELECT count(*) FROM action WHERE waits = 1") == 0
        for message, sender in self.sender.items():
            views = set()
            for person in self.people:
                if (person.name, message) in self.deleted:
                    continue
                shown = [each for each in person.messages(self.conversation) if each.message == message]
                if not shown:
                    # taken back before it was delivered, or seen and let go before it came: a tombstone
                    assert message in self.recalled | self.once, (person.name, message)
                    continue
                (found,) = shown
                if message in self.recalled:
                    assert (found.recalled, found.text, found.reactions) == (True, "", [])
                    continue
                who = tuple(
                    sorted((each.from_account, each.emoji) for each in person.engine.reactors(message).reactions)
                )
                wordings: tuple[str, ...] = ()
                if message not in self.once:
                    wordings = tuple(each.text for each in person.engine.versions(message).versions)
                    assert found.text == wordings[-1]
                    assert found.text
                views.add((wordings, who, found.recalled))
            assert len(views) <= 1, (message, sender.name, views)


def play(world: World, seed: int, count: int, steps: int) -> None:
    """:raises AssertionError: with the seed, so that it can be played again"""
    playing = Play(world, random.Random(seed), count)
    for _ in range(steps):
        playing.act()
    playing.end()
    playing.judge()


@pytest.mark.parametrize("seed", range(4))
def test_two_people_do_anything_in_any_order(world: World, seed: int) -> None:
    play(world, seed, 2, 120)


@pytest.mark.parametrize("seed", range(2))
def test_three_people_do_anything_in_any_order(world: World, seed: int) -> None:
    play(world, 1_000 + seed, 3, 120)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(200))
def test_many_times_over(world: World, seed: int) -> None:
    play(world, 10_000 + seed, 2 + seed % 2, 250)
