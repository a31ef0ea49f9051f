"""People named in a text: "@" and a name (HT-C-100). Pure."""

from collections.abc import Mapping

from hanatalk.client.engine.formats import content
from hanatalk.ids import AccountId


def found(text: str, people: Mapping[AccountId, str]) -> list[content.Mention]:
    """Who is named where: the longest name that fits counts, one that two people have names nobody.

    A name may be followed by anything: in Korean a particle is.

    :param people: names of those who can be named
    """
    by_name: dict[str, AccountId | None] = {}
    for person, name in people.items():
        if name:
            by_name[name] = None if name in by_name else person
    longest_first = sorted(by_name, key=len, reverse=True)
    mentions: list[content.Mention] = []
    place = text.find("@")
    while place >= 0 and len(mentions) < content.MENTIONS_LIMIT:
        end = place + 1
        if place == 0 or not text[place - 1].isalnum():  # not the middle of an e-mail address
            named = next((name for name in longest_first if text.startswith(name, place + 1)), "")
            account = by_name.get(named)
            if account is not None:
                mentions.append(content.Mention(account, place, 1 + len(named)))
                end = place + 1 + len(named)
        place = text.find("@", end)
    return mentions
