"""One mapping of the binding's exceptions into the error tree (spec/02-mls-profile.md).

    ContentError
    └── MlsError                    somebody's message, commit, Welcome or KeyPackage
        ├── WrongEpoch                  mls.wrong-epoch           message, group (epochs)
        ├── PubliclyInvalidCommit       mls.invalid-commit        why
        ├── PathFault                   mls.path-fault            why
        ├── BadKeyPackage               mls.bad-key-package       index, why
        ├── Replay                      mls.replay
        ├── TooOld                      mls.too-old               why ("past" or "future")
        ├── Unsupported                 mls.unsupported           why
        └── BadMessage                  mls.bad-message           why
    LocalError
    ├── Evicted                     mls.evicted                   this leaf was removed
    ├── PendingCommit               mls.pending-commit            why ("own" or "staged")
    ├── Poisoned                    mls.poisoned                  why; load the group again
    └── UsageError
        └── Misuse                      mls.misuse                why

`why` is a sentence of the MLS layer: about structure, never about content.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import hanatalk_mls

from hanatalk.errors import ContentError, HanaError, LocalError, UsageError


class MlsError(ContentError):
    """A message, commit, Welcome or KeyPackage that is not taken. The group's state is as it was."""


class WrongEpoch(MlsError):
    """A message of another epoch. `message` and `group` in the detail are the epochs."""


class PubliclyInvalidCommit(MlsError):
    """It decrypts and a member signed it, but it breaks the rules as every member sees them."""


class PathFault(MlsError):
    """Valid as far as everyone sees; this client's path secret or confirmation tag fails."""


class BadKeyPackage(MlsError):
    """Malformed, forged, of another suite, outside the profile, or colliding. `index` says which of the list."""

    @property
    def index(self) -> int:
        """Position in the list given to `Group.commit` (0 from `key_package_inspect`)."""
        return int(self.detail["index"])


class Replay(MlsError):
    """The key of this message's generation is used up."""


class TooOld(MlsError):
    """Beyond the out-of-order tolerance (64) or the forward distance (4,096)."""


class Unsupported(MlsError):
    """A suite, version, credential or extension outside the profile."""


class BadMessage(MlsError):
    """Malformed, forged, of another group, or a kind that the profile does not take."""


class Evicted(LocalError):
    """This leaf was removed from the group."""


class PendingCommit(LocalError):
    """A commit of our own, or a staged one, waits for merge or discard."""


class Poisoned(LocalError):
    """The handle is unusable (a panic was caught, or its rows cannot be read): load the group again."""


class Misuse(UsageError):
    """A leaf that does not exist, a merge with nothing pending, a number out of range."""


def _why(make: Callable[..., HanaError], code: str) -> Callable[[Exception], HanaError]:
    return lambda error: make(code, why=str(error.args[0]) if error.args else "")


def _wrong_epoch(error: Exception) -> HanaError:
    message, group = error.args
    return WrongEpoch("mls.wrong-epoch", message=message, group=group)


def _bad_key_package(error: Exception) -> HanaError:
    index, why = error.args
    return BadKeyPackage("mls.bad-key-package", index=index, why=why)


_MAPPING: dict[type[Exception], Callable[[Exception], HanaError]] = {
    hanatalk_mls.WrongEpoch: _wrong_epoch,
    hanatalk_mls.PubliclyInvalidCommit: _why(PubliclyInvalidCommit, "mls.invalid-commit"),
    hanatalk_mls.PathFault: _why(PathFault, "mls.path-fault"),
    hanatalk_mls.BadKeyPackage: _bad_key_package,
    hanatalk_mls.Replay: lambda _: Replay("mls.replay"),
    hanatalk_mls.TooOld: _why(TooOld, "mls.too-old"),
    hanatalk_mls.Unsupported: _why(Unsupported, "mls.unsupported"),
    hanatalk_mls.BadMessage: _why(BadMessage, "mls.bad-message"),
    hanatalk_mls.Evicted: lambda _: Evicted("mls.evicted"),
    hanatalk_mls.PendingCommit: _why(PendingCommit, "mls.pending-commit"),
    hanatalk_mls.Poisoned: _why(Poisoned, "mls.poisoned"),
    ValueError: _why(Misuse, "mls.misuse"),
    OverflowError: _why(Misuse, "mls.misuse"),
}


@contextmanager
def mapped() -> Iterator[None]:
    """Raise what the binding raises as one of the classes above. A `TypeError` stays: it is a bug of the caller."""
    try:
        yield
    except (hanatalk_mls.MlsError, ValueError, OverflowError) as error:
        make = _MAPPING.get(type(error))
        if make is None:
            raise
        raise make(error) from None
