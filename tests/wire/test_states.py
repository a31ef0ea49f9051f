"""The transition tables are complete: every state has a row, every frame of the other side is somewhere."""

import typing

from hanatalk.wire import frames
from hanatalk.wire.refusals import RefusalCode
from hanatalk.wire.states import CLIENT_RECEIVES, RELAY_RECEIVES, State, why_unexpected


def test_every_state_has_a_row() -> None:
    assert set(RELAY_RECEIVES) == set(CLIENT_RECEIVES) == set(State)


def test_nothing_is_received_after_the_end() -> None:
    """HT-R-017"""
    assert not RELAY_RECEIVES[State.CLOSED]
    assert not CLIENT_RECEIVES[State.CLOSED]


def test_every_frame_of_the_other_side_can_be_received() -> None:
    for table, union in ((RELAY_RECEIVES, frames.ClientFrame), (CLIENT_RECEIVES, frames.RelayFrame)):
        known = {kind for row in table.values() for kind in row}
        assert known == set(typing.get_args(union))


def test_nobody_returns_to_before_hello() -> None:
    """HT-R-013"""
    for table in (RELAY_RECEIVES, CLIENT_RECEIVES):
        assert State.AWAITING_HELLO not in {following for row in table.values() for following in row.values()}


def test_an_unexpected_frame_has_its_code() -> None:
    """HT-R-013"""
    assert why_unexpected(State.AWAITING_HELLO, frames.Ping) is RefusalCode.HELLO_FIRST
    assert why_unexpected(State.OPEN, frames.Hello) is RefusalCode.HELLO_TWICE
    assert why_unexpected(State.OPEN, frames.Limits) is RefusalCode.HELLO_TWICE
    assert why_unexpected(State.CLOSED, frames.Ping) is RefusalCode.MALFORMED
