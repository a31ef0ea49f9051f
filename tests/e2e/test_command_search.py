"""`hana search` as people type it, in both languages, with and without another process that has the profile open."""

from collections.abc import Callable

import pytest
from tests.e2e.commands import Person, RelayProcess
from tests.e2e.conftest import acquaint


@pytest.fixture
def pair(relay: RelayProcess, person: Callable[[str], Person]) -> tuple[Person, Person, str]:
    minji, jihoon = person("minji").join("민지", relay.url), person("jihoon").join("Jihoon", relay.url)
    conversation = acquaint(minji, jihoon)
    jihoon.do_here("sync")
    return minji, jihoon, conversation


def test_search_typed_by_a_person(pair: tuple[Person, Person, str]) -> None:
    """HT-C-185 … HT-C-189: jamo, initials, case; newest first; what was taken back is not found."""
    minji, jihoon, conversation = pair
    first = minji.do_here("send", conversation, "안녕, 내일 Café 에서 만나").object["message"]
    second = minji.do_here("send", conversation, "회의는 안녕 다음에").object["message"]
    jihoon.do_here("sync")
    for who in (minji, jihoon):
        assert [one["message"] for one in who.do_here("search", "안ㄴ").objects] == [second, first]
        (found,) = who.do_here("search", "ㅎㅇ").objects
        assert found | {"from_account": "", "sent_at": ""} == {
            "message": second,
            "conversation": conversation,
            "name": "Jihoon" if who is minji else "민지",
            "from": "민지",
            "from_account": "",
            "text": "회의는 안녕 다음에",
            "sent_at": "",
            "matches": [[0, 2]],
            "files": [],
        }
    assert [one["message"] for one in jihoon.do_here("search", "cafe 만나").objects] == [first]
    assert [one["message"] for one in jihoon.do_here("search", "안녕", "--limit", "1").objects] == [second]
    assert [one["message"] for one in jihoon.do_here("search", "안녕", "--before", second).objects] == [first]
    assert jihoon.do_here("search", "안녕", "--in", conversation[:8]).objects
    assert jihoon.do("search", "-", stdin="카페도 안녕\n").objects == []
    with jihoon.listening() as listening:
        assert len(jihoon.do("search", "안녕").objects) == 2  # through the process that has the profile open
        minji.do("recall", second)
        listening.until("gone")
        assert [one["message"] for one in jihoon.do("search", "안녕").objects] == [first]


def test_search_in_prose_and_what_it_refuses(pair: tuple[Person, Person, str]) -> None:
    minji, _, conversation = pair
    for text in ("안녕 하나", "안녕 둘"):
        minji.do_here("send", conversation, text)
    shown = minji.prose("ko").do_here("search", "안녕", "--limit", "1")
    assert "안녕 둘" in shown.out
    assert "안녕 하나" not in shown.out
    assert "--before" in shown.err
    assert "없어요" in minji.prose("ko").do_here("search", "zzz").err
    assert "No message" in minji.prose("en").do_here("search", "* OR zzz").err
    assert minji.type_here("search", " ").error["error"] == "search.empty"
    assert minji.type_here("search", "a" * 257).error["error"] == "search.too-long"
    assert minji.type_here("search", "a", "--in", "nobody").error["error"] == "name.unknown"
