"""Stubs of the binding: bytes in, bytes out (spec/02-mls-profile.md).

Every call that changes stored state returns ``writes``: ``[(key, value | None), ...]``, ``None`` meaning
*delete*. The caller stores them in the same SQLite transaction as what they belong to and, on any rollback, throws
the handle away and loads a new one from the stored rows (`Group.load`).
"""

from typing import Final, final

type Writes = list[tuple[bytes, bytes | None]]
type Rows = list[tuple[bytes, bytes]]
type Extensions = list[tuple[int, bytes]]

SUITE_X_WING: Final[int]  # 0x004E, a draft's id: defined here and nowhere else
SUITE_X25519: Final[int]  # 0x0001
OPENMLS_VERSION: Final[str]

class MlsError(Exception): ...
class WrongEpoch(MlsError): ...
class PubliclyInvalidCommit(MlsError): ...
class PathFault(MlsError): ...
class Evicted(MlsError): ...
class PendingCommit(MlsError): ...
class BadKeyPackage(MlsError):  # args: (index: int, why: str)
    ...
class Replay(MlsError): ...  # the generation's key is used up (an own message comes back as OwnMessage, not as an error)
class TooOld(MlsError): ...  # beyond the out-of-order tolerance or the forward distance
class Unsupported(MlsError): ...
class BadMessage(MlsError): ...  # malformed, forged, of another group, or not allowed by the profile
class Poisoned(MlsError): ...  # a panic was caught in this handle: load it again

@final
class Signer:
    """A leaf's Ed25519 signature key, not yet in a group. ``repr`` shows the public key only."""

    @property
    def public_key(self) -> bytes: ...  # 32 bytes

def signer_new() -> Signer: ...

@final
class KeyPackageMade:
    key_package: bytes  # serialised MLSMessage(KeyPackage)
    ref: bytes  # KeyPackageRef
    writes: Writes  # the private rows; stored by the caller under this KeyPackage until it is used

def key_package_new(
    signer: Signer,
    *,
    suite: int,
    credential: bytes,  # identity of the BasicCredential
    extensions: Extensions,  # KeyPackage extensions
    not_before: int,  # seconds since 1970
    not_after: int,
    last_resort: bool = False,
) -> KeyPackageMade: ...

@final
class KeyPackageInfo:
    suite: int
    ref: bytes
    credential: bytes
    signature_key: bytes
    extensions: Extensions
    not_before: int
    not_after: int
    last_resort: bool

def key_package_inspect(key_package: bytes) -> KeyPackageInfo:
    """Full validation (signatures, suite, lifetime present, profile capabilities) except against a clock. :raises BadKeyPackage:"""

@final
class Member:
    leaf: int
    credential: bytes
    signature_key: bytes

@final
class CommitMade:
    commit: bytes  # MLSMessage(PrivateMessage)
    welcome: bytes | None  # MLSMessage(Welcome), carries the ratchet tree when the group was created so
    group_info: bytes | None
    digest: bytes  # SHA-256 of `commit`
    writes: Writes

@final
class Application:
    plaintext: bytes
    aad: bytes
    sender: int  # leaf index
    epoch: int
    writes: Writes

@final
class StagedCommit:
    """A commit was staged in the handle: look at it, then `Group.staged_merge` or `Group.staged_drop`."""

    sender: int
    epoch: int  # the epoch it ends
    digest: bytes  # SHA-256 of the message
    aad: bytes
    adds: list[Member]  # as they will stand in the new tree
    removes: list[int]
    updates: list[Member]  # changed leaves, the committer's included
    extensions: Extensions | None  # new GroupContext extensions of unknown types, None if unchanged
    self_removed: bool
    writes: Writes

@final
class OwnMessage:
    """The message was made by this very leaf (an echo). `pending` is True when it is the pending commit (digest)."""

    digest: bytes
    pending: bool

@final
class StagedWelcome:
    """A Welcome that was opened but not yet joined. Nothing is written before `join`."""

    group_id: bytes
    suite: int
    epoch: int
    sender: int
    extensions: Extensions  # GroupContext, unknown types
    members: list[Member]
    own_leaf: int
    def join(self) -> tuple["Group", Writes]:
        """Rows of the new group, the leaf's signer included. The KeyPackage's rows are the caller's to delete."""

def welcome_stage(
    welcome: bytes, key_package_rows: Rows, *, ratchet_tree: bytes | None = None
) -> StagedWelcome:
    """Works on a copy of the rows: the KeyPackage stays usable until the caller deletes it. :raises BadMessage, Unsupported:"""

@final
class Group:
    @staticmethod
    def create(
        signer: Signer,
        *,
        suite: int,
        group_id: bytes,
        credential: bytes,
        extensions: Extensions,  # GroupContext extensions
        ratchet_tree_in_welcome: bool = True,
    ) -> tuple["Group", Writes]: ...
    @staticmethod
    def load(group_id: bytes, rows: Rows) -> "Group": ...
    @property
    def group_id(self) -> bytes: ...
    @property
    def suite(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def own_leaf(self) -> int: ...
    @property
    def is_active(self) -> bool: ...  # False once removed
    @property
    def has_pending_commit(self) -> bool: ...
    @property
    def epoch_authenticator(self) -> bytes: ...
    def extensions(self) -> Extensions: ...
    def roster(self) -> list[Member]: ...
    def export_secret(self, label: str, context: bytes, length: int) -> bytes: ...
    def ratchet_tree(self) -> bytes: ...
    def group_info(self) -> bytes: ...
    def leaf_sign(self, message: bytes) -> bytes: ...
    def encrypt(self, plaintext: bytes, *, aad: bytes = ...) -> tuple[bytes, Writes]:
        """:raises PendingCommit: never; :raises Evicted, Poisoned:"""
    def commit(
        self,
        *,
        adds: list[bytes] = ...,  # KeyPackages
        removes: list[int] = ...,
        self_update: bool = False,  # force a path
        extensions: Extensions | None = None,  # replaces the GroupContext extensions of unknown types
        psks: list[bytes] = ...,  # ids of PSKs stored by psk_put
        credential: bytes | None = None,  # new credential of the own leaf (same leaf signature key)
        aad: bytes = ...,
    ) -> CommitMade: ...
    def pending_merge(self) -> Writes: ...
    def pending_discard(self) -> Writes: ...
    def pending_export(self, label: str, context: bytes, length: int) -> bytes: ...
    def pending_epoch_authenticator(self) -> bytes: ...
    def process(self, message: bytes) -> Application | StagedCommit | OwnMessage:
        """:raises WrongEpoch, PubliclyInvalidCommit, PathFault, Evicted, Replay, TooOld, BadMessage, Poisoned:

        An error leaves the state as it was (nothing to write)."""
    def staged_export(self, label: str, context: bytes, length: int) -> bytes: ...
    def staged_epoch_authenticator(self) -> bytes: ...
    def staged_merge(self) -> Writes: ...
    def staged_drop(self) -> Writes: ...
    def psk_put(self, psk_id: bytes, psk: bytes) -> Writes: ...

# --- Test-only: absent from wheels built with --no-default-features -----------------------------------------------

@final
class TestingPassiveClient:
    """A client without the profile, for the official passive-client vectors."""

    def __new__(
        cls, key_package: bytes, *, init_private: bytes, encryption_private: bytes, psks: list[tuple[bytes, bytes]]
    ) -> TestingPassiveClient: ...
    def join(self, welcome: bytes, ratchet_tree: bytes | None) -> None: ...
    def process(self, message: bytes) -> str: ...  # "proposal" (kept), "commit" (merged), "application"
    def reload(self) -> None: ...  # from its rows
    @property
    def epoch_authenticator(self) -> bytes: ...

def testing_reencode(kind: str, bytes: bytes) -> bytes: ...
def testing_commit(
    group: Group,
    *,
    adds: list[bytes] = ...,  # unchecked
    victim_leaf: int | None = None,  # path secrets sealed to this leaf's key are spoilt
    spoil_tag: bool = False,  # the confirmation tag is
    group_context: str | None = None,  # external-senders, no-required-capabilities, fewer-required-capabilities
    queued: bool = False,  # include proposals of testing_proposal by reference
    public: bool = False,  # as PublicMessage
    self_update: bool = True,
) -> tuple[bytes, bytes | None, Writes]:
    """A commit outside the rules, pending in the cheater's handle."""

def testing_proposal(group: Group, *, remove: int | None = None) -> tuple[bytes, Writes]: ...
def testing_external_commit(signer: Signer, credential: bytes, group_info: bytes, ratchet_tree: bytes) -> bytes: ...
def testing_panic(group: Group) -> None: ...
