"""People with MLS groups for the tests: each keeps its rows as a local database would, and can be killed and loaded."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hanatalk import mls

POLICY = 0xF0A0
WELCOME_CHANNEL = 0xF0A1
SUITES = [
    (mls.SUITE_X_WING, "x-wing"),
    (mls.SUITE_X25519, "x25519"),
]
GROUP_ID = b"conversation-16b"


def store(rows: dict[bytes, bytes], writes: mls.Writes) -> None:
    """What a caller does with writes."""
    for key, value in writes:
        if value is None:
            rows.pop(key, None)
        else:
            rows[key] = value


@dataclass
class Person:
    """One leaf and its stored rows."""

    name: bytes
    group: mls.Group
    rows: dict[bytes, bytes] = field(default_factory=dict)

    def keep(self, writes: mls.Writes) -> None:
        store(self.rows, writes)

    def reload(self) -> "Person":
        """As after a crash: the handle is gone, the rows are what was stored."""
        self.group = mls.Group.load(self.group.group_id, list(self.rows.items()))
        return self

    def say(self, text: bytes) -> bytes:
        message, writes = self.group.encrypt(text)
        self.keep(writes)
        return message

    def hear(self, message: bytes) -> bytes:
        heard = self.group.process(message)
        assert isinstance(heard, mls.Application)
        self.keep(heard.writes)
        return heard.plaintext

    def follow(self, commit: bytes) -> mls.StagedCommit:
        staged = self.group.process(commit)
        assert isinstance(staged, mls.StagedCommit)
        self.keep(staged.writes)
        self.keep(self.group.staged_merge())
        return staged

    def merge(self) -> None:
        self.keep(self.group.pending_merge())


@dataclass
class Newcomer:
    """Somebody with a KeyPackage and no group yet."""

    name: bytes
    made: mls.KeyPackageMade

    @property
    def key_package(self) -> bytes:
        return self.made.key_package

    @property
    def rows(self) -> list[tuple[bytes, bytes]]:
        return [(key, value) for key, value in self.made.writes if value is not None]

    def join(self, welcome: bytes, *, ratchet_tree: bytes | None = None) -> Person:
        group, writes = mls.welcome_stage(welcome, self.rows, ratchet_tree=ratchet_tree).join()
        person = Person(self.name, group)
        person.keep(writes)
        return person


def founder(suite: int, *, name: bytes = b"minji", policy: bytes = b"policy", tree_in_welcome: bool = True) -> Person:
    group, writes = mls.Group.create(
        mls.signer_new(),
        suite=suite,
        group_id=GROUP_ID,
        credential=name,
        extensions=[(POLICY, policy)],
        ratchet_tree_in_welcome=tree_in_welcome,
    )
    person = Person(name, group)
    person.keep(writes)
    return person


def newcomer(suite: int, name: bytes, *, last_resort: bool = False) -> Newcomer:
    made = mls.key_package_new(
        mls.signer_new(),
        suite=suite,
        credential=name,
        extensions=[(WELCOME_CHANNEL, b"channel")],
        not_before=1_700_000_000,
        not_after=1_800_000_000,
        last_resort=last_resort,
    )
    return Newcomer(name, made)


def grow(members: list[Person], newcomers: Sequence[Newcomer]) -> list[Person]:
    """The first member adds the newcomers; everybody follows; they join. Returns all."""
    first, *others = members
    made = first.group.commit(adds=[one.key_package for one in newcomers])
    first.keep(made.writes)
    first.merge()
    for other in others:
        other.follow(made.commit)
    assert made.welcome is not None
    return [*members, *(one.join(made.welcome) for one in newcomers)]


def conversation(suite: int, *names: bytes) -> list[Person]:
    """A group of these people, the first of whom founded it."""
    first, *others = names
    return grow([founder(suite, name=first)], [newcomer(suite, name) for name in others])


def in_step(members: Sequence[Person]) -> None:
    """Everybody is in the same epoch with the same keys."""
    assert len({member.group.epoch_authenticator for member in members}) == 1
    assert len({member.group.epoch for member in members}) == 1
