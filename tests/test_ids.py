"""Typed identifiers are byte strings of one length each."""

import pytest

from hanatalk.errors import ContentError
from hanatalk.ids import LENGTHS, exact


@pytest.mark.parametrize(("what", "length"), LENGTHS.items())
def test_exact_length_only(what: str, length: int) -> None:
    value = bytes(range(length))
    assert exact(value, length, what) is value
    for wrong in (b"", value[:-1], value + b"\0"):
        with pytest.raises(ContentError) as refused:
            exact(wrong, length, what)
        assert refused.value.code == "id.length"
        assert refused.value.detail == {"what": what, "expected": length, "got": len(wrong)}
