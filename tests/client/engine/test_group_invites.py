"""An invite that leads into a group (HT-M-093)."""

import pytest
from tests.client import gatherings
from tests.client.people import World

from hanatalk.errors import UsageError


def test_whoever_comes_by_the_link_is_in_the_group(world: World) -> None:
    """Accepted while the inviter is offline; once it is back, the newcomer is added, once, and talks to all."""
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    row = people[0].engine.invite(expires=86_400, now=people[0].now, group=group)
    world.run()
    people[0].offline()
    newcomer = world.person("새벽")
    world.run()
    accepted = newcomer.accept(row.link)
    world.settle()
    assert [chat.kind for chat in newcomer.engine.chats().chats] == ["direct"]
    people[0].online()
    world.settle(60)
    assert gatherings.together([*people, newcomer], group)
    newcomer.send(group, "링크로 왔어요")
    people[0].send(accepted.conversation, "둘이서도")
    world.settle()
    assert all(person.texts(group) == ["링크로 왔어요"] for person in [*people, newcomer])
    gatherings.remove(people[0], group, newcomer)
    world.settle(60)
    newcomer.restart()
    world.settle(600)
    assert gatherings.names(people[0], group) == {person.name for person in people}, "added once, not for ever"


def test_who_may_not_add_may_not_invite(world: World) -> None:
    people = gatherings.acquainted(world, 3)
    group = gatherings.founded(world, people)
    with pytest.raises(UsageError, match=r"group\.not-allowed"):
        people[1].engine.invite(expires=86_400, now=people[1].now, group=group)
