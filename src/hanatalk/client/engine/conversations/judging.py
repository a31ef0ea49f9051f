"""Judging a staged commit as every other client does (HT-M-032, HT-M-080 … HT-M-085). Pure.

Only what the commit says and what the group's state says counts, never what this device happens to know besides: else
two members with different knowledge would part.
"""

import msgspec

from hanatalk.client.engine.conversations.membership import Leaf, agreed_chains, check_devices
from hanatalk.client.engine.formats import accounts, content, policy
from hanatalk.errors import VerificationError
from hanatalk.ids import AccountId, DeviceKey
from hanatalk.mls import SUITE_X_WING, StagedCommit

PATH_COMMITS_PER_ERA = 2  # HT-M-033
DEVICES_MOST = 256  # of a group with X-Wing (HT-M-085)
DEVICES_MOST_LARGE = 5_000


__all__ = ["Leaf", "check_commit", "devices_most"]

Members = dict[int, Leaf]  # by leaf index, before the commit
Chains = dict[AccountId, accounts.Chain]


def devices_most(suite: int) -> int:
    """How many devices a group of this suite may have (HT-M-085)."""
    return DEVICES_MOST if suite == SUITE_X_WING else DEVICES_MOST_LARGE


def refused(why: str) -> VerificationError:
    """The error of a commit that breaks a rule."""
    return VerificationError("commit.not-allowed", why=why)


def check_commit(
    staged: StagedCommit,
    *,
    agreed: policy.Policy,
    members: Members,
    chains: Chains,
    suite: int,
    at: bytes | None = None,
) -> content.CommitContext:
    """Judge a staged commit (HT-M-032); own commits keep the same rules when they are made.

    :param at: the key of the fallback relay that it came from; None: from the conversation's first
    :param chains: known ones of the members
    :returns: the commit's context (its AAD)
    :raises VerificationError, ContentError: the commit is not valid for anyone and is skipped
    """
    context = content.parse_commit_context(staged.aad)
    committer = members.get(staged.sender)
    if committer is None:
        raise VerificationError("commit.stranger")
    admin = agreed.is_admin(committer.account)
    membership = bool(staged.adds or staged.removes)
    if agreed.kind is not policy.Kind.GROUP:
        chains = agreed_chains(context, members, chains)
        check_devices(staged, context, committer=committer, members=members, chains=chains)
    if context.new_era and not admin and not membership:
        raise refused("era")
    carried = _carried(context, staged, members) if agreed.kind is policy.Kind.GROUP else {}
    if at is not None:
        _check_move(staged, context, agreed=agreed, admin=admin, at=at)
    elif agreed.kind is policy.Kind.GROUP:
        _check_group(staged, context, agreed=agreed, members=members, carried=carried, most=devices_most(suite))
    elif staged.extensions is not None and agreed.kind is not policy.Kind.DIRECT:
        raise refused("policy")
    elif staged.extensions is not None:
        _check_keeping(staged, agreed=agreed, admin=admin)
    for update in staged.updates:
        before = members.get(update.leaf)
        if before is None or update.leaf != staged.sender:
            raise refused("update")
        chain = carried.get(before.account) or chains.get(before.account)
        if chain is None:
            raise VerificationError("credential.not-in-chain")
        if agreed.kind is policy.Kind.GROUP and before.account not in carried:
            chain = _as_before(before, chain)
        now = accounts.verify_credential(update.credential, update.signature_key, chain)
        if now.account != before.account or now.device != before.device or now.height < before.height:
            raise refused("identity")
    if not context.new_era and staged.extensions is None and committer.path_commits >= PATH_COMMITS_PER_ERA:
        raise refused("too-many")
    return context


def _as_before(before: Leaf, chain: accounts.Chain) -> accounts.Chain:
    """The chain up to where the leaf's credential stood: without a chain in the commit nothing else can be named, and
    its device counts as current, whatever this client learnt since (HT-M-083)."""
    if before.height > chain.height:
        raise VerificationError("credential.not-in-chain")
    cut = before.height + 1
    return msgspec.structs.replace(
        chain,
        links=chain.links[:cut],
        hashes=chain.hashes[:cut],
        devices=frozenset({DeviceKey(before.device)}),
    )


def _carried(context: content.CommitContext, staged: StagedCommit, members: Members) -> Chains:
    """The chains that the commit brings for those it adds and for its committer's new credential (HT-M-083)."""
    wanted = {accounts.read_credential(added.credential).account for added in staged.adds}
    wanted.add(members[staged.sender].account)
    heights: dict[bytes, int] = {}
    for member in members.values():
        if member.account in wanted:
            heights[member.account] = max(heights.get(member.account, 0), member.height)
    found: Chains = {}
    for person in context.people:
        chain = accounts.verify_chain(person.chain)
        if chain.account not in wanted or chain.account in found:
            raise refused("chains")
        if chain.height < heights.get(chain.account, 0):
            raise refused("old-chain")
        found[chain.account] = chain
    return found


def _check_group(
    staged: StagedCommit,
    context: content.CommitContext,
    *,
    agreed: policy.Policy,
    members: Members,
    carried: Chains,
    most: int,
) -> None:
    """Who may do what in a group (HT-M-081, HT-M-082, HT-M-085)."""
    committer = members[staged.sender]
    admin = agreed.is_admin(committer.account)
    if (staged.adds or staged.removes) and not context.new_era:
        raise refused("era")
    removed: dict[bytes, Leaf] = {}
    for place in staged.removes:
        if place not in members or place == staged.sender:
            raise refused("members")
        removed[members[place].device] = members[place]
    after = {leaf.device: leaf.account for leaf in members.values() if leaf.device not in removed}
    replaced = set()
    for added in staged.adds:
        account = AccountId(accounts.read_credential(added.credential).account)
        if account not in carried:
            raise VerificationError("credential.not-in-chain")
        now = accounts.verify_credential(added.credential, added.signature_key, carried[account])
        if now.device in after:
            raise refused("twice")
        before = removed.get(now.device)
        if before is not None and before.account == account and now.height >= before.height:
            replaced.add(now.device)
        elif account != committer.account and not admin and not agreed.rights & policy.Right.ADD:
            raise refused("add")
        after[DeviceKey(now.device)] = account
    for device, leaf in removed.items():
        if device not in replaced and leaf.account != committer.account and not admin:
            raise refused("remove")
    if len(after) > most:
        raise refused("too-large")
    new = _check_policy(staged, agreed=agreed, admin=admin) if staged.extensions is not None else agreed
    if not set(new.admins) <= set(after.values()):
        raise refused("admins")


def _check_policy(staged: StagedCommit, *, agreed: policy.Policy, admin: bool) -> policy.Policy:
    """Name, admins, rights and how long texts stay may change; kind and relays do not change here."""
    new = policy.parse(staged.extensions or [])
    changeable = msgspec.structs.replace(
        agreed, name=new.name, admins=new.admins, rights=new.rights, timer=new.timer, privacy=new.privacy
    )
    if new != changeable or len(set(new.admins)) != len(new.admins) or not new.name:
        raise refused("policy")
    renamed_only = new == msgspec.structs.replace(agreed, name=new.name)
    if not admin and not (renamed_only and agreed.rights & policy.Right.RENAME):
        raise refused("policy")
    return new


def _check_keeping(staged: StagedCommit, *, agreed: policy.Policy, admin: bool) -> None:
    """In a conversation of two only how long texts stay may change, by an admin (HT-C-120)."""
    new = policy.parse(staged.extensions or [])
    same = new == policy.with_keeping(agreed, timer=new.timer, privacy=new.privacy)
    if not same or not admin or staged.adds or staged.removes:
        raise refused("policy")


def _check_move(
    staged: StagedCommit, context: content.CommitContext, *, agreed: policy.Policy, admin: bool, at: bytes
) -> None:
    """At a fallback relay, and only there, an admin puts that relay first; nothing else changes (HT-M-065)."""
    if staged.extensions is None or not admin or not context.new_era or staged.adds or staged.removes:
        raise refused("policy")
    new = policy.parse(staged.extensions)
    same = new == policy.with_relays(agreed, new.relays) and all(relay in agreed.relays for relay in new.relays)
    if not same or new.relays[0].key != at or len({relay.key for relay in new.relays}) != len(new.relays):
        raise refused("policy")
