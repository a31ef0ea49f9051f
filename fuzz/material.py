"""Two small MLS groups, frozen: rows, messages, Welcomes. Inputs in the corpus were made for exactly these keys.

`python -m fuzz --seed` makes them, if the file is gone, together with the seeds that belong to them.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import hanatalk_mls
import msgspec
from tests.mls import people

from fuzz.insider import SUITES, Insider
from hanatalk import mls

FILE = Path(__file__).with_name("material.msgpack")
Rows = dict[bytes, bytes]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Minji (leaf 0) is under attack, Jihoon (leaf 1) attacks; `newcomer` holds a KeyPackage. All in one suite."""

    suite: int
    group_id: bytes
    epoch: int
    minji: Rows
    jihoon: Rows
    good: bytes  # Jihoon's next message, unless he sends another one first
    commit: bytes  # Jihoon's next commit: a path and nothing else
    adding: bytes  # … or this one, with the newcomer's KeyPackage
    newcomer: Rows
    key_package: bytes
    welcome: bytes  # to another group, with its tree
    bare_welcome: bytes  # to another group, without
    tree: bytes
    others: list[bytes]  # messages that the profile refuses: public, proposals, external commits

    def insider(self) -> Insider:
        return Insider.of(self.jihoon, suite=self.suite, group_id=self.group_id, epoch=self.epoch)

    def load(self) -> mls.Group:
        """Minji's group as it was frozen."""
        return mls.Group.load(self.group_id, list(self.minji.items()))

    @property
    def tail_length(self) -> int:
        """Bytes of a commit's confirmation tag with its length."""
        return 1 + SUITES[self.suite].hash_length


@cache  # of a file that does not change while we run
def groups() -> list[Group]:
    """Suite X-Wing first, then 0x0001."""
    return msgspec.msgpack.decode(FILE.read_bytes(), type=list[Group])


def make() -> None:
    """Write the file."""
    FILE.write_bytes(msgspec.msgpack.encode([_make(suite) for suite, _ in people.SUITES]))


def _make(suite: int) -> Group:
    minji, jihoon = people.conversation(suite, b"minji", b"jihoon")
    newcomer = people.newcomer(suite, b"sumin")
    frozen = dict(jihoon.rows)

    def again() -> mls.Group:
        return mls.Group.load(jihoon.group.group_id, list(frozen.items()))

    founder = people.founder(suite)
    welcome = founder.group.commit(adds=[newcomer.key_package], self_update=True).welcome
    bare = people.founder(suite, tree_in_welcome=False)
    bare_welcome = bare.group.commit(adds=[newcomer.key_package]).welcome
    bare.merge()
    assert welcome is not None
    assert bare_welcome is not None
    return Group(
        suite=suite,
        group_id=jihoon.group.group_id,
        epoch=jihoon.group.epoch,
        minji=dict(minji.rows),
        jihoon=frozen,
        good=again().encrypt(b"good")[0],
        commit=again().commit(self_update=True, aad=b"context").commit,
        adding=again().commit(adds=[newcomer.key_package], extensions=[(people.POLICY, b"other policy")]).commit,
        newcomer=dict(newcomer.rows),
        key_package=newcomer.key_package,
        welcome=welcome,
        bare_welcome=bare_welcome,
        tree=bare.group.ratchet_tree(),
        others=_others(again),
    )


def _others(again: Callable[[], mls.Group]) -> list[bytes]:
    def inner() -> hanatalk_mls.Group:
        return again()._inner

    public, _, _ = hanatalk_mls.testing_commit(inner(), public=True)
    senders, _, _ = hanatalk_mls.testing_commit(inner(), group_context="external-senders")
    proposal, _ = hanatalk_mls.testing_proposal(inner(), remove=0)
    update, _ = hanatalk_mls.testing_proposal(inner())
    group = again()
    external = hanatalk_mls.testing_external_commit(mls.signer_new(), b"eve", group.group_info(), group.ratchet_tree())
    return [public, senders, proposal, update, external, group.group_info()]
