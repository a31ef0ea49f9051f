"""The typed face of the MLS binding: bytes in, bytes out, every stored write returned (spec/02-mls-profile.md).

Only this room imports `hanatalk_mls`. Callers see nothing but `HanaError`s (`hanatalk.mls.errors`).

Every call that changes stored state returns `Writes`: rows to store, or to delete where the value is None. Store them
in the same transaction as what they belong to; on any rollback throw the `Group` away and load a new one from the
stored rows. A call that raises leaves the group as it was and has nothing to write.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

import hanatalk_mls
from hanatalk_mls import (
    Application,
    CommitMade,
    KeyPackageInfo,
    KeyPackageMade,
    Member,
    OwnMessage,
    Signer,
    StagedCommit,
)

from hanatalk.mls.errors import (
    BadKeyPackage,
    BadMessage,
    Evicted,
    Misuse,
    MlsError,
    PathFault,
    PendingCommit,
    Poisoned,
    PubliclyInvalidCommit,
    Replay,
    TooOld,
    Unsupported,
    WrongEpoch,
    mapped,
)

__all__ = [
    "OPENMLS_VERSION",
    "SUITE_X25519",
    "SUITE_X_WING",
    "Application",
    "BadKeyPackage",
    "BadMessage",
    "CommitMade",
    "Evicted",
    "Extensions",
    "Group",
    "KeyPackageInfo",
    "KeyPackageMade",
    "Member",
    "Misuse",
    "MlsError",
    "OwnMessage",
    "PathFault",
    "PendingCommit",
    "Poisoned",
    "PubliclyInvalidCommit",
    "Replay",
    "Rows",
    "Signer",
    "StagedCommit",
    "StagedWelcome",
    "TooOld",
    "Unsupported",
    "Writes",
    "WrongEpoch",
    "key_package_inspect",
    "key_package_new",
    "signer_new",
    "welcome_stage",
]

Writes: TypeAlias = list[tuple[bytes, bytes | None]]
Rows: TypeAlias = Sequence[tuple[bytes, bytes]]
Extensions: TypeAlias = list[tuple[int, bytes]]

SUITE_X_WING: Final = hanatalk_mls.SUITE_X_WING
SUITE_X25519: Final = hanatalk_mls.SUITE_X25519
OPENMLS_VERSION: Final = hanatalk_mls.OPENMLS_VERSION


def signer_new() -> Signer:
    """A fresh Ed25519 leaf signature key. Its secret stays inside and in the rows it comes with."""
    with mapped():
        return hanatalk_mls.signer_new()


def key_package_new(
    signer: Signer,
    *,
    suite: int,
    credential: bytes,
    extensions: Extensions,
    not_before: int,
    not_after: int,
    last_resort: bool = False,
) -> KeyPackageMade:
    """A KeyPackage with its private rows.

    :param credential: identity of the BasicCredential.
    :param extensions: KeyPackage extensions, of type 0xF0A1 only.
    :param not_before: seconds since 1970, as `not_after`; carried in a signed extension, checked by whoever adds.
    :raises Unsupported: the suite or an extension is outside the profile.
    :raises Misuse: a number is out of range.
    """
    with mapped():
        return hanatalk_mls.key_package_new(
            signer,
            suite=suite,
            credential=credential,
            extensions=extensions,
            not_before=not_before,
            not_after=not_after,
            last_resort=last_resort,
        )


def key_package_inspect(key_package: bytes) -> KeyPackageInfo:
    """Verify a KeyPackage in every way that needs no clock, and say what is in it.

    The caller compares `not_before` and `not_after` with its time.

    :raises BadKeyPackage: malformed, forged, or outside the profile.
    """
    with mapped():
        return hanatalk_mls.key_package_inspect(key_package)


class StagedWelcome:
    """A Welcome that was opened but not yet joined. Nothing is written before `join`."""

    def __init__(self, inner: hanatalk_mls.StagedWelcome) -> None:
        self._inner = inner

    @property
    def group_id(self) -> bytes:
        """The MLS group id."""
        return self._inner.group_id

    @property
    def suite(self) -> int:
        """Suite id of the group."""
        return self._inner.suite

    @property
    def epoch(self) -> int:
        """The epoch the Welcome leads into."""
        return self._inner.epoch

    @property
    def sender(self) -> int:
        """Leaf index of the committer."""
        return self._inner.sender

    @property
    def extensions(self) -> Extensions:
        """GroupContext extensions of unknown types."""
        return self._inner.extensions

    @property
    def members(self) -> list[Member]:
        """The roster, this leaf included."""
        return self._inner.members

    @property
    def own_leaf(self) -> int:
        """This leaf's index."""
        return self._inner.own_leaf

    def join(self) -> tuple["Group", Writes]:
        """The group and all its rows, the leaf's signer included. The KeyPackage's rows are the caller's to delete.

        :raises Misuse: it was joined already.
        """
        with mapped():
            group, writes = self._inner.join()
        return Group(group), writes


def welcome_stage(welcome: bytes, key_package_rows: Rows, *, ratchet_tree: bytes | None = None) -> StagedWelcome:
    """Open a Welcome. Works on a copy of the rows: the KeyPackage stays usable until the caller deletes it.

    :param ratchet_tree: the tree, if the Welcome does not carry it.
    :raises BadMessage: malformed, forged, not for these rows, or without a tree.
    :raises Unsupported: the group is outside the profile.
    """
    with mapped():
        return StagedWelcome(hanatalk_mls.welcome_stage(welcome, list(key_package_rows), ratchet_tree=ratchet_tree))


class Group:
    """An MLS group of one leaf. Any call may raise `Poisoned`: then load it by `group_id` from its stored rows."""

    def __init__(self, inner: hanatalk_mls.Group) -> None:
        self._inner = inner

    @staticmethod
    def create(
        signer: Signer,
        *,
        suite: int,
        group_id: bytes,
        credential: bytes,
        extensions: Extensions,
        ratchet_tree_in_welcome: bool = True,
    ) -> tuple["Group", Writes]:
        """Found a group with this leaf as its only member.

        :param extensions: GroupContext extensions (0xF0A0: the policy).
        :raises Unsupported: the suite or an extension is outside the profile.
        """
        with mapped():
            group, writes = hanatalk_mls.Group.create(
                signer,
                suite=suite,
                group_id=group_id,
                credential=credential,
                extensions=extensions,
                ratchet_tree_in_welcome=ratchet_tree_in_welcome,
            )
        return Group(group), writes

    @staticmethod
    def load(group_id: bytes, rows: Rows) -> "Group":
        """Load a group from its stored rows.

        :raises Poisoned: the rows are not this group's or not readable.
        """
        with mapped():
            return Group(hanatalk_mls.Group.load(group_id, list(rows)))

    @property
    def group_id(self) -> bytes:
        """The MLS group id."""
        return self._inner.group_id

    @property
    def suite(self) -> int:
        """Suite id."""
        return self._inner.suite

    @property
    def epoch(self) -> int:
        """The current epoch."""
        with mapped():
            return self._inner.epoch

    @property
    def own_leaf(self) -> int:
        """This leaf's index."""
        with mapped():
            return self._inner.own_leaf

    @property
    def is_active(self) -> bool:
        """False once this leaf was removed."""
        with mapped():
            return self._inner.is_active

    @property
    def has_pending_commit(self) -> bool:
        """Whether an own commit waits for merge or discard."""
        with mapped():
            return self._inner.has_pending_commit

    @property
    def epoch_authenticator(self) -> bytes:
        """Equal at all members that followed the same commits."""
        with mapped():
            return self._inner.epoch_authenticator

    def extensions(self) -> Extensions:
        """GroupContext extensions of unknown types."""
        with mapped():
            return self._inner.extensions()

    def roster(self) -> list[Member]:
        """The members, by leaf index."""
        with mapped():
            return self._inner.roster()

    def export_secret(self, label: str, context: bytes, length: int) -> bytes:
        """MLS-Exporter of the current epoch. :raises Evicted, Misuse:"""
        with mapped():
            return self._inner.export_secret(label, context, length)

    def ratchet_tree(self) -> bytes:
        """The ratchet tree, for a Welcome that does not carry it."""
        with mapped():
            return self._inner.ratchet_tree()

    def group_info(self) -> bytes:
        """MLSMessage(GroupInfo), signed, without the tree. :raises Evicted:"""
        with mapped():
            return self._inner.group_info()

    def leaf_sign(self, message: bytes) -> bytes:
        """Ed25519 signature of the leaf key over exactly `message`.

        :raises Misuse: the message reads as a structure that only MLS signs.
        :raises Evicted: this leaf was removed.
        """
        with mapped():
            return self._inner.leaf_sign(message)

    def encrypt(self, plaintext: bytes, *, aad: bytes = b"") -> tuple[bytes, Writes]:
        """An application message. Also while a commit is pending. :raises Evicted:"""
        with mapped():
            return self._inner.encrypt(plaintext, aad=aad)

    def commit(
        self,
        *,
        adds: Sequence[bytes] = (),
        removes: Sequence[int] = (),
        self_update: bool = False,
        extensions: Extensions | None = None,
        psks: Sequence[bytes] = (),
        credential: bytes | None = None,
        aad: bytes = b"",
    ) -> CommitMade:
        """Make a commit; it stays pending until `pending_merge` or `pending_discard`.

        :param adds: KeyPackages.
        :param removes: leaf indices.
        :param self_update: force a path.
        :param extensions: replaces the GroupContext extensions of unknown types.
        :param psks: ids of PSKs stored by `psk_put`.
        :param credential: new identity of the own leaf, same signature key.
        :raises BadKeyPackage: `index` says which of `adds`.
        :raises PendingCommit: an own or a staged commit waits.
        :raises Evicted, Misuse, Unsupported:
        """
        with mapped():
            return self._inner.commit(
                adds=list(adds),
                removes=list(removes),
                self_update=self_update,
                extensions=extensions,
                psks=list(psks),
                credential=credential,
                aad=aad,
            )

    def pending_merge(self) -> Writes:
        """Merge the own pending commit. :raises Misuse: none is pending."""
        with mapped():
            return self._inner.pending_merge()

    def pending_discard(self) -> Writes:
        """Forget the own pending commit. :raises Misuse: none is pending."""
        with mapped():
            return self._inner.pending_discard()

    def pending_export(self, label: str, context: bytes, length: int) -> bytes:
        """MLS-Exporter of the epoch that the pending commit starts. :raises Misuse: none is pending."""
        with mapped():
            return self._inner.pending_export(label, context, length)

    def pending_epoch_authenticator(self) -> bytes:
        """Authenticator of the epoch that the pending commit starts. :raises Misuse: none is pending."""
        with mapped():
            return self._inner.pending_epoch_authenticator()

    def process(self, message: bytes) -> Application | StagedCommit | OwnMessage:
        """Take an incoming MLSMessage. A commit is staged in the handle: look at it, then merge or drop it.

        :raises WrongEpoch, PubliclyInvalidCommit, PathFault, Replay, TooOld, BadMessage:
        :raises PendingCommit: a commit is staged already.
        :raises Evicted: this leaf was removed.
        """
        with mapped():
            return self._inner.process(message)

    def staged_export(self, label: str, context: bytes, length: int) -> bytes:
        """MLS-Exporter of the epoch that the staged commit starts. :raises Evicted, Misuse:"""
        with mapped():
            return self._inner.staged_export(label, context, length)

    def staged_epoch_authenticator(self) -> bytes:
        """Authenticator of the epoch that the staged commit starts. :raises Evicted, Misuse:"""
        with mapped():
            return self._inner.staged_epoch_authenticator()

    def staged_merge(self) -> Writes:
        """Merge the staged commit; an own pending one is gone then. :raises Misuse: none is staged."""
        with mapped():
            return self._inner.staged_merge()

    def staged_drop(self) -> Writes:
        """Drop the staged commit. :raises Misuse: none is staged."""
        with mapped():
            return self._inner.staged_drop()

    def psk_put(self, psk_id: bytes, psk: bytes) -> Writes:
        """Store an external PSK among the group's rows."""
        with mapped():
            return self._inner.psk_put(psk_id, psk)
