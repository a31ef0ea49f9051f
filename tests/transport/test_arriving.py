"""The door: who may arrive, and who makes room (HT-R-135, HT-R-136)."""

from collections.abc import Callable

import pytest

from hanatalk.transport.arriving import PATIENCE, Door, Visit, place_of

HERE, THERE = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])


class Street:
    """A door, a clock, and who was dropped."""

    def __init__(self, *, most: int, most_of_one: int) -> None:
        self.door = Door(most=most, most_of_one=most_of_one)
        self.now = 0.0
        self.dropped: list[str] = []

    def enter(self, name: str, place: bytes | None = HERE) -> Visit | None:
        return self.door.enter(place, self._dropping(name), now=self.now)

    def _dropping(self, name: str) -> Callable[[], None]:
        return lambda: self.dropped.append(name)


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.1", HERE),
        ("::ffff:192.0.2.1", HERE),
        ("127.0.0.1", None),
        ("127.9.9.9", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("2001:db8:1:2:3:4:5:6", bytes.fromhex("20010db800010002")),
        ("2001:db8:1:2::", bytes.fromhex("20010db800010002")),
        ("fe80::1%eth0", bytes.fromhex("fe80000000000000")),
        ("", None),
    ],
)
def test_where_somebody_comes_from(address: str, place: bytes | None) -> None:
    """HT-R-136: who has an IPv6 network has 2^64 addresses, and counts once."""
    assert place_of(address) == place


def test_only_so_many_from_one_place() -> None:
    """HT-R-135: who comes then is dropped; handshakes that are over count no more, nothing of them is kept."""
    street = Street(most=100, most_of_one=2)
    visits = [street.enter("a"), street.enter("b"), street.enter("c"), street.enter("d", THERE)]
    assert [visit is not None for visit in visits] == [True, True, False, True]
    assert all(street.enter("loopback", None) for _ in range(4))
    assert (street.door.arriving, street.door.turned_away, street.dropped) == (7, 1, [])
    for visit in visits:
        if visit is not None:
            visit.over()
            visit.over()
    assert street.door.arriving == 4
    assert street.door._places == {}
    assert street.enter("a") is not None


def test_who_has_been_long_makes_room_for_one_from_the_same_place() -> None:
    """HT-R-135"""
    street = Street(most=100, most_of_one=2)
    street.enter("a")
    street.now = PATIENCE / 2
    street.enter("b")
    street.now = PATIENCE
    assert street.enter("c") is not None
    assert street.dropped == ["a"]
    assert street.enter("d") is None, "b is not late yet"
    assert street.door.arriving == 2


def test_while_the_house_is_full_everybody_waits_outside() -> None:
    """HT-R-135: until somebody leaves, or has been in for long enough; who is quick is never dropped."""
    street = Street(most=2, most_of_one=2)
    called: list[float] = []
    street.door.on_room = lambda: called.append(street.now)
    first = street.enter("a")
    street.now = 0.5
    street.enter("b", THERE)
    assert street.door.wait(now=0.5) == PATIENCE - 0.5
    assert first is not None
    first.over()
    assert called == [0.5]
    assert street.door.wait(now=0.5) == 0
    street.enter("c")
    street.now = PATIENCE + 0.5
    assert street.door.wait(now=street.now) == 0
    assert street.enter("d", None) is not None
    assert street.dropped == ["b"]
    street.door.clear()
    assert sorted(street.dropped) == ["b", "c", "d"]
    assert street.door.arriving == 0
