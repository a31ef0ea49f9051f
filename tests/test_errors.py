"""The error tree: exit codes are the command's contract, and an error never says more than its code and figures."""

import pytest

from hanatalk import errors


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (errors.LocalError, 1),
        (errors.ProfileError, 1),
        (errors.StorageError, 1),
        (errors.WireError, 1),
        (errors.ContentError, 1),
        (errors.UsageError, 2),
        (errors.NetworkError, 3),
        (errors.VerificationError, 4),
        (errors.RefusedError, 5),
    ],
)
def test_exit_codes(error: type[errors.HanaError], exit_code: int) -> None:
    """1 error, 2 usage, 3 network, 4 identity changed or verification failed, 5 refused by limits."""
    assert issubclass(error, errors.HanaError)
    assert error("some.code").exit_code == exit_code


def test_an_error_shows_its_code_and_figures() -> None:
    error = errors.ContentError("entry.too-large", size=70_000, limit=65_536)
    assert error.code == "entry.too-large"
    assert error.detail == {"size": 70_000, "limit": 65_536}
    assert str(error) == "entry.too-large (size=70000, limit=65536)"
    assert str(errors.NetworkError("network.lost")) == "network.lost"


def test_our_mistakes_and_others_are_apart() -> None:
    """Who was at fault decides what the person is told, so no class may be both."""
    classes = [item for item in vars(errors).values() if isinstance(item, type) and item.__module__ == errors.__name__]
    assert len(classes) > 8
    assert not [one for one in classes if issubclass(one, errors.LocalError) and issubclass(one, errors.PeerError)]
