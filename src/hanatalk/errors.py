"""The one error tree. Errors carry codes and figures; only `cli` and `web` turn a code into a sentence (`words`).

    HanaError
    ├── LocalError          we were called wrongly, or this machine cannot do it
    │   ├── UsageError          a name, id or argument that fits nothing or several things
    │   ├── ProfileError        the profile folder: missing, foreign, locked by another process, wrong passphrase
    │   └── StorageError        the disk: full, broken, not what we wrote
    ├── PeerError           somebody else sent something we refuse
    │   ├── WireError           malformed or oversize frames (spec/01-relay.md)
    │   ├── ContentError        malformed entry, message, link or chain (spec/02, spec/03)
    │   └── VerificationError   a signature, hash, pin or identity does not hold
    ├── NetworkError        the relay cannot be reached or went away
    └── RefusedError        the relay refused by a limit or a rule; `code` from the table in spec/01-relay.md

`code` is the key of the sentence in the catalogues and the `error` field of `--json`; `exit_code` is the one of the
command's contract: 0 done, 1 error, 2 usage, 3 network, 4 identity changed or verification failed, 5 refused by limits.
"""

from collections.abc import Mapping


class HanaError(Exception):
    """Root of every error this package raises on purpose. Anything else that escapes is a bug.

    :param code: dotted key of the sentence, e.g. ``"invite.used"``.
    :param detail: values for the sentence's placeholders; never secrets, never message text.
    """

    exit_code = 1

    def __init__(self, code: str, **detail: str | int) -> None:
        super().__init__(code)
        self.code = code
        self.detail: Mapping[str, str | int] = detail

    def __str__(self) -> str:
        if not self.detail:
            return self.code
        return f"{self.code} ({', '.join(f'{key}={value}' for key, value in self.detail.items())})"


class LocalError(HanaError):
    """We were called wrongly, or this machine cannot do it."""


class UsageError(LocalError):
    """A name, id or argument that fits nothing or several things."""

    exit_code = 2


class ProfileError(LocalError):
    """The profile folder is missing, foreign, open in another process, or the passphrase is wrong."""


class StorageError(LocalError):
    """The disk is full, broken, or holds something we did not write."""


class PeerError(HanaError):
    """Somebody else sent something that we refuse."""


class WireError(PeerError):
    """Malformed or oversize frames (spec/01-relay.md). Closes the connection, never the process."""


class ContentError(PeerError):
    """A malformed entry, message, link or chain (spec/02-mls-profile.md, spec/03-messages.md)."""


class VerificationError(PeerError):
    """A signature, hash, pin or identity does not hold. Verification raises, it never returns False."""

    exit_code = 4


class NetworkError(HanaError):
    """The relay cannot be reached or went away."""

    exit_code = 3


class RefusedError(HanaError):
    """The relay refused; `code` is ``"relay.<name>"`` from the table in spec/01-relay.md."""

    exit_code = 5
