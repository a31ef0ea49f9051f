"""The conversation's policy: a GroupContext extension that every client enforces on every commit (HT-M-032). Pure."""

import enum
from typing import Annotated

import msgspec

from hanatalk.client.engine import accounts, content
from hanatalk.errors import ContentError, VerificationError
from hanatalk.ids import AccountId, RelayKey
from hanatalk.mls import StagedCommit

EXTENSION = 0xF0A0  # GroupContext extension, private use range
WELCOME_EXTENSION = 0xF0A1  # KeyPackage extension

Thirty2 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Kind(enum.IntEnum):
    """A conversation of two people, or a group."""

    DIRECT = 1
    GROUP = 2


class Relay(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Where the conversation's channels are; its key goes into every channel's tokens."""

    url: Annotated[str, msgspec.Meta(max_length=512)]
    key: Thirty2

    @property
    def relay_key(self) -> RelayKey:
        return RelayKey(self.key)


class Policy(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Who may do what. `relays` in order of preference."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    kind: Kind
    name: Annotated[str, msgspec.Meta(max_length=content.NAME_LIMIT)] | None
    admins: Annotated[list[Thirty2], msgspec.Meta(min_length=1, max_length=256)]
    relays: Annotated[list[Relay], msgspec.Meta(min_length=1, max_length=8)]

    def is_admin(self, account: bytes) -> bool:
        return account in self.admins


class WelcomeAt(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """KeyPackage extension: where its Welcome is left and what it is sealed with (HT-M-012)."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    relay_url: Annotated[str, msgspec.Meta(max_length=512)]
    read_verifier: Thirty2
    write_token: Thirty2
    seal_key: Thirty2

    def __repr__(self) -> str:
        return "WelcomeAt(…)"


def direct(accounts_of: list[AccountId], *relays: Relay) -> Policy:
    """A conversation of two people: both are admins. The relays in order of preference."""
    return Policy(1, Kind.DIRECT, None, sorted(accounts_of), list(relays))


def encode(value: Policy | WelcomeAt) -> bytes:
    return msgspec.msgpack.encode(value)


def _find(extensions: list[tuple[int, bytes]], number: int) -> bytes | None:
    found = [body for kind, body in extensions if kind == number]
    return found[0] if len(found) == 1 else None


def parse(extensions: list[tuple[int, bytes]]) -> Policy:
    """:raises ContentError: ``policy.malformed``"""
    raw = _find(extensions, EXTENSION)
    try:
        return msgspec.msgpack.decode(raw or b"", type=Policy)
    except content.MALFORMED:
        raise ContentError("policy.malformed") from None


def parse_welcome_at(extensions: list[tuple[int, bytes]]) -> WelcomeAt:
    """:raises ContentError: ``key-package.malformed``"""
    raw = _find(extensions, WELCOME_EXTENSION)
    try:
        return msgspec.msgpack.decode(raw or b"", type=WelcomeAt)
    except content.MALFORMED:
        raise ContentError("key-package.malformed", why="extension") from None


class Leaf(msgspec.Struct, frozen=True):
    """A member as this client knows it before a commit."""

    leaf: int
    account: AccountId
    device: bytes
    height: int
    signature_key: bytes
    path_commits: int  # path-only commits of this leaf in the current era


PATH_COMMITS_PER_ERA = 2  # HT-M-033


def check_commit(
    staged: StagedCommit,
    *,
    policy: Policy,
    members: dict[int, Leaf],
    chains: dict[AccountId, accounts.Chain],
    at: bytes | None = None,
) -> content.CommitContext:
    """Judge a staged commit as every other client does (HT-M-032); own commits are judged before they are sent.

    :param at: the key of the fallback relay that it came from; None: from the conversation's first
    :param members: by leaf index, before the commit
    :returns: the commit's context (its AAD)
    :raises VerificationError, ContentError: the commit is not valid for anyone and is skipped
    """
    context = content.parse_commit_context(staged.aad)
    committer = members.get(staged.sender)
    if committer is None:
        raise VerificationError("commit.stranger")
    if policy.kind is Kind.DIRECT and (staged.adds or staged.removes):
        _check_replacement(staged, context, members=members, chains=chains)
    admin = policy.is_admin(committer.account)
    if context.new_era and not admin:
        raise VerificationError("commit.not-allowed", why="era")
    if at is not None or staged.extensions is not None:
        _check_move(staged, context, policy=policy, admin=admin, at=at)
    for update in staged.updates:
        before = members.get(update.leaf)
        if before is None or update.leaf != staged.sender:
            raise VerificationError("commit.not-allowed", why="update")
        chain = chains.get(before.account)
        if chain is None:
            raise VerificationError("credential.not-in-chain")
        now = accounts.verify_credential(update.credential, update.signature_key, chain)
        if now.account != before.account or now.device != before.device or now.height < before.height:
            raise VerificationError("commit.not-allowed", why="identity")
    if not context.new_era and committer.path_commits >= PATH_COMMITS_PER_ERA:
        raise VerificationError("commit.not-allowed", why="too-many")
    return context


def _check_replacement(
    staged: StagedCommit,
    context: content.CommitContext,
    *,
    members: dict[int, Leaf],
    chains: dict[AccountId, accounts.Chain],
) -> None:
    """Another member's leaf may be replaced by a leaf of the same device, and nothing else (HT-M-032, HT-M-059)."""
    if len(staged.adds) != 1 or len(staged.removes) != 1 or not context.new_era:
        raise VerificationError("commit.not-allowed", why="members")
    before, added = members.get(staged.removes[0]), staged.adds[0]
    if before is None or before.leaf == staged.sender or before.account not in chains:
        raise VerificationError("commit.not-allowed", why="members")
    now = accounts.verify_credential(added.credential, added.signature_key, chains[before.account])
    if now.account != before.account or now.device != before.device or now.height < before.height:
        raise VerificationError("commit.not-allowed", why="members")


def _check_move(
    staged: StagedCommit, context: content.CommitContext, *, policy: Policy, admin: bool, at: bytes | None
) -> None:
    """At a fallback relay, and only there, an admin puts that relay first; nothing else changes (HT-M-065)."""
    if at is None or staged.extensions is None or not admin or not context.new_era or staged.adds or staged.removes:
        raise VerificationError("commit.not-allowed", why="policy")  # roles and names come with groups
    new = parse(staged.extensions)
    same = new == with_relays(policy, new.relays) and all(relay in policy.relays for relay in new.relays)
    if not same or new.relays[0].key != at or len({relay.key for relay in new.relays}) != len(new.relays):
        raise VerificationError("commit.not-allowed", why="policy")


def with_relays(policy: Policy, relays: list[Relay]) -> Policy:
    """The same policy at other relays."""
    return msgspec.structs.replace(policy, relays=relays)
