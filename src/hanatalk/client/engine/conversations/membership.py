"""Which leaves a commit may add and remove because of devices, whatever the conversation's kind (HT-M-121). Pure.

An account is a member; its devices come and go with its sigchain. A device is added by one of its siblings and removed
by anybody once the chain removed it; a leaf is replaced by another one of the same device (HT-M-059).
"""

import msgspec

from hanatalk.client.engine.formats import accounts
from hanatalk.client.engine.formats.content import CommitContext
from hanatalk.errors import VerificationError
from hanatalk.ids import AccountId, DeviceKey
from hanatalk.mls import StagedCommit


class Leaf(msgspec.Struct, frozen=True):
    """A member as this client knows it before a commit."""

    leaf: int
    account: AccountId
    device: DeviceKey
    height: int
    signature_key: bytes
    path_commits: int  # path-only commits of this leaf in the current era


def agreed_chains(
    context: CommitContext, members: dict[int, Leaf], known: dict[AccountId, accounts.Chain]
) -> dict[AccountId, accounts.Chain]:
    """The sigchains that a commit is judged by: the same for every member, whatever else it knows (HT-M-120).

    Of each account as far as a leaf's credential names it, or as the commit's context carries it.

    :param known: by account; at least as long as the members' credentials say
    :raises VerificationError: ``chain.broken``, ``chain.fork``, ``credential.not-in-chain``
    """
    heights: dict[AccountId, int] = {}
    for leaf in members.values():
        heights[leaf.account] = max(leaf.height, heights.get(leaf.account, 0))
    found = {
        account: accounts.prefix(known[account], height) for account, height in heights.items() if account in known
    }
    for person in context.people:
        chain = accounts.verify_chain(person.chain)
        before = found.get(chain.account)
        if before is None:
            raise VerificationError("commit.not-allowed", why="chains")
        if accounts.longer(before, chain) is before and chain.hashes != before.hashes:
            raise VerificationError("chain.fork")  # it is older, or a branch that does not count (HT-M-130)
        found[chain.account] = chain
    return found


def check_devices(
    staged: StagedCommit,
    context: CommitContext,
    *,
    committer: Leaf,
    members: dict[int, Leaf],
    chains: dict[AccountId, accounts.Chain],
) -> None:
    """Where accounts neither come nor go, only devices do (HT-M-121).

    :param chains: of `agreed_chains`
    :raises VerificationError: the commit is not valid
    """
    if (staged.adds or staged.removes) and not context.new_era:
        raise _refused("era")  # HT-M-021: the removed would read on, the joiners read back
    removed = {}
    for index in staged.removes:
        leaf = members.get(index)
        if leaf is None or index == committer.leaf:
            raise _refused("members")
        removed[leaf.device] = leaf
    inside = {leaf.device for leaf in members.values() if leaf.device not in removed}
    replaced = set()
    for added in staged.adds:
        account = AccountId(accounts.read_credential(added.credential).account)
        if account not in chains:
            raise _refused("members")
        found = accounts.verify_credential(added.credential, added.signature_key, chains[account])
        if found.device in inside:
            raise _refused("twice")
        before = removed.get(DeviceKey(found.device))
        if before is not None and before.account == account and found.height >= before.height:
            replaced.add(before.device)
        elif account != committer.account:
            raise _refused("members")
        inside.add(DeviceKey(found.device))
    for device, leaf in removed.items():
        if device not in replaced and leaf.device in chains[leaf.account].devices:
            raise _refused("members")


def _refused(why: str) -> VerificationError:
    return VerificationError("commit.not-allowed", why=why)
