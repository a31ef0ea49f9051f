"""Groups for tests: some people who know each other in pairs, one of whom founds a group."""

from tests.client.people import Person, World

from hanatalk.client import calls
from hanatalk.ids import ConversationId
from hanatalk.localdb.rows import Conversation

NAMES = ("민지", "Jihoon", "서연", "도윤", "하은", "Yuna", "준서", "Mina", "시우", "지아", "건우", "유나")


def acquainted(world: World, count: int) -> list[Person]:
    """`count` people; the first knows all the others."""
    people = [world.person(f"{NAMES[n % len(NAMES)]}{n or ''}") for n in range(count)]
    world.run()
    for other in people[1:]:
        world.befriend(people[0], other)
    return people


def founded(world: World, people: list[Person], name: str = "모임", *, large: bool = False) -> str:
    """The first founds a group and adds the others, all at once. Returns its id."""
    group = create(people[0], name, large=large)
    add(people[0], group, *people[1:])
    world.settle()
    for person in people:
        person.events.clear()
    return group


def create(person: Person, name: str, *, large: bool = False, members_add: bool = False) -> str:
    call = calls.GroupCreate(name=name, large=large, members_add=members_add)
    return person.engine.group(call, person.now).hex()


def add(person: Person, group: str, *people: Person) -> None:
    person.engine.group(calls.GroupAdd(conversation=group, people=[each.name for each in people]), person.now)


def remove(person: Person, group: str, *people: Person) -> None:
    person.engine.group(calls.GroupRemove(conversation=group, people=[each.name for each in people]), person.now)


def promote(person: Person, group: str, *people: Person, admin: bool = True) -> None:
    names = [each.name for each in people]
    person.engine.group(calls.GroupRole(conversation=group, people=names, admin=admin), person.now)


def rename(person: Person, group: str, name: str) -> None:
    person.engine.group(calls.GroupRename(conversation=group, name=name), person.now)


def leave(person: Person, group: str) -> None:
    person.engine.group(calls.GroupLeave(conversation=group), person.now)


def row(person: Person, group: str) -> Conversation:
    return person.engine._core.conversation(ConversationId(bytes.fromhex(group)))


def authenticator(person: Person, group: str) -> bytes:
    return person.engine._core.group(ConversationId(bytes.fromhex(group))).epoch_authenticator


def together(people: list[Person], group: str) -> bool:
    """Everybody stands in the same epoch of the same group, and sees the same people, roles and name."""
    seen = {
        (
            row(person, group).epoch,
            row(person, group).state,
            authenticator(person, group),
            row(person, group).policy,
            tuple(sorted(shown.account for shown in person.engine.members(group).members)),
        )
        for person in people
    }
    return len(seen) == 1


def names(person: Person, group: str) -> set[str]:
    """Who is in the group, as this person sees it."""
    return {shown.name for shown in person.engine.members(group).members}
