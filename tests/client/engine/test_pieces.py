"""Commits and Welcomes larger than one entry (HT-M-088, HT-M-089). Entries are made small here, so that four people
fill several."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client import gatherings
from tests.client.people import World
from tests.simulated_relay import SimulatedRelay

from hanatalk.client import events
from hanatalk.client.engine.formats import pieces, sealing
from hanatalk.errors import ContentError
from hanatalk.ids import ChannelId
from hanatalk.localdb.rows import OutboxKind
from hanatalk.stores.interface import Append
from hanatalk.wire.classes import EntryClass

SMALL = 4_000


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "CAPACITY", SMALL)
    monkeypatch.setattr(pieces, "PIECE", SMALL)


@given(st.binary(min_size=1, max_size=5 * SMALL))
def test_what_is_cut_is_put_together_again(whole: bytes) -> None:
    """HT-M-088: and neither more nor less than it was."""
    named, found = pieces.cut(whole * 30)
    assert pieces.join(named, found) == whole * 30
    assert [pieces.digest(piece) for piece in found] == list(named.digests)
    with pytest.raises(ContentError):
        pieces.join(named, found[:-1] if len(found) > 1 else [])


def test_the_number_of_pieces_tells_little_of_the_size() -> None:
    """T-042: 1, 2, 4 or 8 pieces, then multiples of eight."""
    counts = {len(pieces.cut(bytes(pieces.PIECE * size - 1))[1]) for size in range(1, 40)}
    assert counts == {1, 2, 4, 8, 16, 24, 32, 40}


@pytest.mark.usefixtures("small")
def test_a_large_commit_and_a_large_welcome(world: World) -> None:
    """The commit goes in pieces before it, the Welcome's body in a channel of its own; everybody follows."""
    people = gatherings.acquainted(world, 5)
    group = gatherings.founded(world, people[:4])
    assert gatherings.together(people[:4], group)
    gatherings.add(people[0], group, people[4])
    world.settle()
    assert gatherings.together(people, group)
    people[4].send(group, "안녕하세요")
    world.settle()
    assert all(person.texts(group) == ["안녕하세요"] for person in people)
    assert not any(person.alarms() or person.of(events.EntryDamaged) for person in people)


@pytest.mark.usefixtures("small")
def test_a_committer_that_dies_between_the_pieces_goes_on(world: World) -> None:
    """HT-M-088: the commit waits for its last piece, also after a restart."""
    people = gatherings.acquainted(world, 4)
    group = gatherings.founded(world, people[:3])
    founder = people[0]
    founder.offline()
    founder.online()
    gatherings.add(founder, group, people[3])
    for _ in range(50):
        founder.step()
        if founder.engine._core.db.number("SELECT count(*) FROM outbox WHERE kind = ?", OutboxKind.PIECE) > 1:
            break
    founder.restart()
    world.settle()
    assert gatherings.together(people, group)


@pytest.mark.usefixtures("small")
def test_a_relay_that_forgot_gets_the_pieces_again(world: World) -> None:
    """HT-M-050: who was away while the relay was wiped follows the commit, pieces and all."""
    people = gatherings.acquainted(world, 5)
    group = gatherings.founded(world, people[:4])
    away = people[3]
    away.offline()
    gatherings.rename(people[0], group, "새 이름")
    world.settle()
    world.relay.forget()
    for person in people:
        if person is not away:
            person.online()
    world.settle(120)
    away.online()
    world.settle(120)
    assert gatherings.together(people[:4], group)


@pytest.mark.usefixtures("small")
def test_a_commit_without_a_piece_is_invalid_for_everyone(world: World) -> None:
    """HT-M-088: the relay swallows a piece; nobody takes the commit, its maker tries again."""
    people = gatherings.acquainted(world, 5)
    group = gatherings.founded(world, people[:4])
    epoch = gatherings.row(people[0], group).epoch
    swallowed = _swallow_one_piece(world.relay, gatherings.row(people[0], group).channel)
    gatherings.add(people[0], group, people[4])
    world.settle(120)
    assert swallowed
    assert gatherings.row(people[1], group).epoch > epoch
    assert gatherings.together(people, group)


def _swallow_one_piece(relay: SimulatedRelay, channel: ChannelId) -> list[int]:
    """The next control entry of the channel that is no commit gets another body."""
    apply = relay.store.apply
    done: list[int] = []

    def swallowing(appends, *, day):  # type: ignore[no-untyped-def]
        for place, append in enumerate(appends):
            if not isinstance(append, Append):
                continue
            piece = append.channel_id == channel and append.entry_class is EntryClass.CONTROL and not append.commit
            if piece and not done:
                done.append(place)
                appends = list(appends)
                appends[place] = Append(
                    **{
                        **{name: getattr(append, name) for name in append.__struct_fields__},
                        "entry": bytes(len(append.entry)),
                    }
                )
        return apply(appends, day=day)

    relay.store.apply = swallowing  # type: ignore[method-assign]
    return done
