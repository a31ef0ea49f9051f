"""An operator's limits by name: what they change, what is refused, and that the help text tells the truth."""

import pytest

from hanatalk.errors import UsageError
from hanatalk.relay.limiting import MOST, NAMED, limited, shown, value
from hanatalk.relay.options import RelayOptions
from hanatalk.words import Language, sentence

OPTIONS = RelayOptions()


@pytest.mark.parametrize("name", NAMED)
def test_every_limit_can_be_set_and_changes_nothing_else(name: str) -> None:
    """HT-R-126"""
    number = max(NAMED[name].least, 2 if NAMED[name].most < 1 << 20 else 1 << 20)
    changed = limited(OPTIONS, [(name, str(number))])
    assert value(changed, name) == number
    assert {other for other in NAMED if value(changed, other) != value(OPTIONS, other)} <= {name}
    assert limited(changed, [(name, shown(name, value(OPTIONS, name)))]) == OPTIONS


def test_the_last_of_a_repeated_limit_counts() -> None:
    assert value(limited(OPTIONS, [("size", "1G"), ("size", "3M")]), "size") == 3 << 20


@pytest.mark.parametrize(
    ("name", "number", "code"),
    [
        ("", "1", "limit.unknown"),
        ("connection", "1", "limit.unknown"),
        ("hello_deadline", "1", "limit.unknown"),
        ("connections", "", "limit.number"),
        ("connections", "-1", "limit.number"),
        ("connections", "1.5", "limit.number"),
        ("connections", "1e3", "limit.number"),
        ("connections", "１２", "limit.number"),
        ("connections", "10K", "limit.number"),  # a count is no size
        ("size", "10k", "limit.number"),
        ("size", "10 M", "limit.number"),
        ("connections", "0", "limit.range"),
        ("connections", "1000001", "limit.range"),
        ("size", "1", "limit.range"),
        ("size", "9999999999999999T", "limit.range"),
        ("work", "23", "limit.range"),  # no client would do it (HT-R-122)
    ],
)
def test_what_is_no_limit_is_refused(name: str, number: str, code: str) -> None:
    """HT-R-126"""
    with pytest.raises(UsageError, match=code):
        limited(OPTIONS, [(name, number)])


def test_what_limits_tells_clients_fits_its_frame() -> None:
    """HT-R-018, HT-R-022"""
    assert all(named.most <= MOST == 2**53 - 1 for named in NAMED.values())


@pytest.mark.parametrize("language", list(Language))
def test_the_help_text_has_every_name_with_what_holds_otherwise(language: Language) -> None:
    """HT-R-126"""
    said = sentence(language, "cli.relay.limit")
    assert ", ".join(f"{name}={shown(name, value(OPTIONS, name))}" for name in NAMED) in said
