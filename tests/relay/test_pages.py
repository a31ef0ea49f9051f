"""Giving memory back that somebody else goes on using."""

import mmap
import sys

import pytest

from hanatalk.relay.pages import give_back


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere nothing is given back")
def test_pages_that_are_given_back_are_gone_and_their_neighbours_stay() -> None:
    """HT-R-137: whole pages inside what is given, no byte outside."""
    page = mmap.PAGESIZE
    with mmap.mmap(-1, 8 * page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory[:] = b"x" * (8 * page)
        room = memoryview(memory)[100 : 5 * page + 100]
        give_back(room)
        del room
        assert memory[:page] == b"x" * page
        assert memory[page : 5 * page] == bytes(4 * page)
        assert memory[5 * page :] == b"x" * (3 * page)
        give_back(memoryview(memory)[6 * page + 1 : 7 * page])  # no whole page: nothing
        assert memory[5 * page :] == b"x" * (3 * page)
