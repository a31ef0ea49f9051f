"""Groups by command, on a real relay: made, joined, talked in, managed (the contract of the command)."""

from collections.abc import Callable

import pytest
from tests.e2e.commands import Person, RelayProcess

from hanatalk.drill import seizing
from hanatalk.drill.searching import Search


@pytest.fixture
def circle(person: Callable[[str], Person], relay: RelayProcess) -> list[Person]:
    """Three people; the first has a conversation with each of the others."""
    people = [person(name).join(name, relay.url) for name in ("minji", "jihoon", "seoyeon")]
    for other in people[1:]:
        link = people[0].do_here("invite").object["invite"]
        other.do_here("accept", link)
        people[0].do_here("sync")
        other.do_here("sync")
        people[0].do_here("sync")
    return people


def settle(people: list[Person], rounds: int = 2) -> None:
    for _ in range(rounds):
        for each in people:
            each.do_here("sync")


def test_three_people_talk_in_a_group(circle: list[Person], relay: RelayProcess) -> None:
    """HT-M-080: create, add, send, receive, the 1 among three, members, rename, remove, leave."""
    minji, jihoon, seoyeon = circle
    group = minji.do("group", "create", "모임").object
    assert group.keys() >= {"conversation", "name", "state"}
    conversation = group["conversation"]
    done = minji.do("group", "add", "모임", "jihoon", "seoyeon").object
    assert (done["conversation"], done["state"]) == (conversation, "done")
    settle(circle)
    chats = [chat for chat in seoyeon.do("chats").objects if chat["kind"] == "group"]
    assert [(chat["name"], chat["members"], chat["state"]) for chat in chats] == [("모임", 3, "joined")]
    sent = jihoon.do("send", "모임", "다들 안녕").object
    assert sent["state"] == "stored"
    settle(circle)
    for each in circle:
        (shown,) = each.do("messages", "모임").objects
        assert (shown["text"], shown["from"], shown["unread"]) == ("다들 안녕", "jihoon", 2)
    minji.do("read", "모임")
    seoyeon.do("read", "모임")
    settle(circle)
    assert {each.do("messages", "모임").objects[0]["unread"] for each in circle} == {0}
    members = {shown["name"]: shown for shown in jihoon.do("group", "members", "모임").objects}
    assert members.keys() == {"minji", "jihoon", "seoyeon"}
    assert [name for name, shown in members.items() if shown["admin"]] == ["minji"]
    refused = jihoon.type("group", "remove", "모임", "seoyeon")
    assert (refused.code, refused.error["error"]) == (2, "group.not-allowed")
    minji.do("group", "promote", "모임", "jihoon")
    settle(circle)
    jihoon.do("group", "rename", "모임", "산책")
    settle(circle)
    assert {chat["name"] for chat in seoyeon.do("chats").objects if chat["kind"] == "group"} == {"산책"}
    jihoon.do("group", "remove", "산책", "seoyeon")
    settle(circle)
    minji.do("send", "산책", "둘만 남았네")
    settle(circle)
    assert jihoon.texts("산책") == ["다들 안녕", "둘만 남았네"]
    assert seoyeon.texts("산책") == ["다들 안녕"]
    gone = seoyeon.type("send", "산책", "나는?")
    assert (gone.code, gone.error["error"]) == (2, "group.not-a-member")


def test_the_relay_learns_neither_name_nor_roster(circle: list[Person], relay: RelayProcess) -> None:
    """T-001 for groups: name, members and roles are nowhere in what the relay holds; the profile has them."""
    minji = circle[0]
    minji.do_here("group", "create", "카나리아모임")
    minji.do_here("group", "add", "카나리아모임", "jihoon", "seoyeon")
    settle(circle)
    members = minji.do_here("group", "members", "카나리아모임").objects
    assert len(members) == 3
    ids = [shown["account"] for shown in members]
    search = Search(["카나리아모임", *ids])
    rows = seizing.relay_rows(relay.data)
    assert search.files(relay.data) == []
    assert search.content(rows, place="opened") == []
    assert not any(bytes.fromhex(each) in rows for each in ids)
    profile = seizing.profile_rows(minji.home)
    assert search.content(profile, place="opened") != []  # the positive control
    assert all(bytes.fromhex(each) in profile for each in ids)
