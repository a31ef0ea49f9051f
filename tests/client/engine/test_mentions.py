"""Who is named in a text (HT-C-100)."""

import pytest

from hanatalk.client.engine.formats import content, mentions
from hanatalk.errors import ContentError
from hanatalk.ids import AccountId

MINJI, MINJIN, LEE, LEE_TOO = (AccountId(bytes([n]) * 32) for n in range(4))
PEOPLE = {MINJI: "민지", MINJIN: "민지인", LEE: "Lee", LEE_TOO: "Lee"}


def found(text: str) -> list[tuple[AccountId, str]]:
    return [(AccountId(m.account), text[m.start : m.start + m.length]) for m in mentions.found(text, PEOPLE)]


def test_the_longest_name_that_fits_is_named_whatever_follows_it() -> None:
    assert found("@민지야 안녕") == [(MINJI, "@민지")]
    assert found("👍 @민지인은? (@민지)") == [(MINJIN, "@민지인"), (MINJI, "@민지")]


def test_a_name_of_two_people_names_nobody() -> None:
    assert found("@Lee") == []


def test_no_name_in_an_address_or_alone() -> None:
    assert found("a@민지.example @ @@ @누구") == []


def test_mentions_are_bounded_on_both_sides() -> None:
    text = "@민지 " * 100
    assert len(found(text)) == content.MENTIONS_LIMIT
    many = [content.Mention(MINJI, 4 * number, 3) for number in range(content.MENTIONS_LIMIT + 1)]
    with pytest.raises(ContentError):
        content.parse_body(content.encode(content.Text(text, mentions=many)))


@pytest.mark.parametrize("places", [[(0, 4)], [(0, 2), (1, 2)], [(2, 1), (0, 1)], [(3, 1)], [(0, 0)], [(-1, 1)]])
def test_a_mention_lies_inside_of_the_text_and_apart_from_others(places: list[tuple[int, int]]) -> None:
    raw = content.encode([1, "abc", None, None, [[bytes(32), start, length] for start, length in places]])
    with pytest.raises(ContentError, match=r"content\.malformed"):
        content.parse_body(raw)
