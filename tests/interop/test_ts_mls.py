"""A live group of our binding (OpenMLS) and npm `ts-mls` clients, both suites, founded by either side.

Another implementation, in another language, of the protocol and of all its cryptography: what both agree on is MLS.
They agree on the epoch_authenticator, an exported secret, the roster, and every message.
"""

import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.mls.people import GROUP_ID, SUITES, Newcomer, Person, founder, newcomer

from hanatalk import mls

HERE = Path(__file__).parent
NODE = shutil.which("node")
X_WING_KEM_OF_OLDER_DRAFTS = 0x004D

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        NODE is None or not (HERE / "node_modules" / "ts-mls").exists(),
        reason="needs Node and `npm ci --prefix tests/interop`",
    ),
]
suites = pytest.mark.parametrize("suite", [suite for suite, _ in SUITES], ids=[name for _, name in SUITES])


class PeerError(Exception):
    """ts-mls refused; `args` are its class and its text."""


class TsPeer:
    """One ts-mls client, in its own process."""

    def __init__(self) -> None:
        assert NODE is not None
        self.process = subprocess.Popen(
            [NODE, HERE / "peer.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.name = b""
        self.key_package = b""

    def ask(self, operation: str, **parameters: Any) -> dict[str, Any]:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"op": operation, **parameters}) + "\n")
        stdin.flush()
        answer: dict[str, Any] = json.loads(stdout.readline())
        if "error" in answer:
            raise PeerError(answer["error"], answer["text"])
        return answer

    def start(self, suite: int, name: bytes, **parameters: Any) -> "TsPeer":
        self.name = name
        self.key_package = bytes.fromhex(self.ask("start", suite=suite, name=name.hex(), **parameters)["keyPackage"])
        return self

    def join(self, welcome: bytes) -> "TsPeer":
        self.ask("join", welcome=welcome.hex())
        return self

    def say(self, text: bytes, *, aad: bytes = b"") -> bytes:
        return bytes.fromhex(self.ask("say", plaintext=text.hex(), aad=aad.hex())["message"])

    def hear(self, message: bytes) -> bytes:
        return bytes.fromhex(self.ask("process", message=message.hex())["plaintext"])

    def follow(self, commit: bytes) -> None:
        assert self.ask("process", message=commit.hex())["kind"] == "newState"

    def commit(self, *, adds: list[bytes] = [], removes: list[int] = []) -> tuple[bytes, bytes | None]:  # noqa: B006
        made = self.ask("commit", adds=[add.hex() for add in adds], removes=removes)
        return bytes.fromhex(made["commit"]), bytes.fromhex(made["welcome"]) if made["welcome"] else None

    def view(self) -> dict[str, Any]:
        return self.ask("look")

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()


class OurPeer:
    """One of ours, with the same face."""

    def __init__(self, person: Person | None = None, *, waiting: Newcomer | None = None) -> None:
        self.person = person
        self.waiting = waiting

    @property
    def me(self) -> Person:
        assert self.person is not None
        return self.person

    @property
    def name(self) -> bytes:
        return self.me.name if self.person else self._newcomer.name

    @property
    def _newcomer(self) -> Newcomer:
        assert self.waiting is not None
        return self.waiting

    @property
    def key_package(self) -> bytes:
        return self._newcomer.key_package

    def join(self, welcome: bytes) -> "OurPeer":
        self.person = self._newcomer.join(welcome)
        return self

    def say(self, text: bytes) -> bytes:
        return self.me.say(text)

    def hear(self, message: bytes) -> bytes:
        return self.me.hear(message)

    def follow(self, commit: bytes) -> None:
        self.me.follow(commit)
        self.me.reload()

    def commit(self, *, adds: list[bytes] = [], removes: list[int] = []) -> tuple[bytes, bytes | None]:  # noqa: B006
        made = self.me.group.commit(adds=adds, removes=removes, self_update=not adds)
        self.me.keep(made.writes)
        echo = self.me.group.process(made.commit)
        assert isinstance(echo, mls.OwnMessage)
        assert echo.pending
        self.me.merge()
        return made.commit, made.welcome

    def view(self) -> dict[str, Any]:
        group = self.me.group
        return {
            "epoch": group.epoch,
            "active": group.is_active,
            "authenticator": group.epoch_authenticator.hex(),
            "exported": group.export_secret("hana era", b"\x01\x02\x03", 32).hex(),
            "roster": [member.credential.hex() for member in group.roster()],
        }


Peer = TsPeer | OurPeer


@pytest.fixture(scope="module")
def processes() -> Iterator[list[TsPeer]]:
    peers = [TsPeer() for _ in range(3)]
    yield peers
    for peer in peers:
        peer.close()


def ours(suite: int, name: bytes) -> OurPeer:
    return OurPeer(waiting=newcomer(suite, name))


def agree(members: list[Peer]) -> None:
    """Same epoch, keys and roster at all; and everybody is heard by everybody."""
    views = [member.view() for member in members]
    assert all(view == views[0] for view in views)
    assert sorted(views[0]["roster"]) == sorted(member.name.hex() for member in members)
    for speaker in members:
        message = speaker.say(b"from " + speaker.name)
        for listener in members:
            if listener is not speaker:
                assert listener.hear(message) == b"from " + speaker.name


def leaf_of(members: list[Peer], one: Peer) -> int:
    """Our roster knows the leaf indices."""
    ours_among = next(member for member in members if isinstance(member, OurPeer))
    return next(leaf.leaf for leaf in ours_among.me.group.roster() if leaf.credential == one.name)


def change(members: list[Peer], committer: Peer, *, add: list[Peer] = [], remove: list[Peer] = []) -> list[Peer]:  # noqa: B006
    """One commit, followed by all who stay; those added join by its Welcome. Returns the new members."""
    leaves = {id(member): leaf_of(members, member) for member in members} if remove else {}
    commit, welcome = committer.commit(
        adds=[one.key_package for one in add], removes=[leaves[id(one)] for one in remove]
    )
    staying = [member for member in members if member not in remove]
    for member in staying:
        if member is not committer:
            member.follow(commit)
    for one in remove:
        # A removed ts-mls client (2.0.0-rc.10) fails over its own removal: it looks for its path secret, and where the
        # tree shrinks past its leaf it never comes back. It is not given the commit.
        if isinstance(one, OurPeer):
            assert one.me.follow(commit).self_removed
        else:
            with pytest.raises(PeerError):
                one.hear(staying[0].say(b"without you"))
    for one in add:
        assert welcome is not None
        one.join(welcome)
    members = [*staying, *add]
    agree(members)
    return members


@suites
def test_a_group_that_we_founded(suite: int, processes: list[TsPeer]) -> None:
    """Create, add from both sides, join, speak, update, remove from both sides."""
    minji = OurPeer(founder(suite, name=b"minji"))
    ts_one, ts_two, ts_three = (peer.start(suite, b"ts %d" % number) for number, peer in enumerate(processes))
    jihoon = ours(suite, b"jihoon")
    members = change([minji], minji, add=[ts_one])
    members = change(members, ts_one, add=[jihoon, ts_two])
    members = change(members, jihoon, add=[ts_three])
    for member in members:
        change(members, member)
    members = change(members, ts_two, remove=[jihoon, ts_three])
    members = change(members, minji, remove=[ts_one])
    change(members, ts_two)
    change(members, minji)


@suites
def test_a_group_that_ts_mls_founded(suite: int, processes: list[TsPeer]) -> None:
    """The reverse: our clients join by its Welcome, with the profile's checks on, and then the founder is removed."""
    ts_one, ts_two, ts_three = (peer.start(suite, b"ts %d" % number) for number, peer in enumerate(processes))
    ts_one.ask("create", groupId=GROUP_ID.hex(), policy=b"policy".hex())
    minji, jihoon = ours(suite, b"minji"), ours(suite, b"jihoon")
    members = change([ts_one], ts_one, add=[minji])
    assert minji.me.group.extensions() == [(0xF0A0, b"policy")]
    members = change(members, minji, add=[jihoon, ts_two])
    members = change(members, ts_two, add=[ts_three])
    for member in members:
        change(members, member)
    members = change(members, ts_three, remove=[ts_one, jihoon])
    members = change(members, minji, remove=[ts_three])
    change(members, ts_two)
    change(members, minji)


@suites
def test_ts_mls_cannot_follow_where_half_the_tree_is_blank(suite: int, processes: list[TsPeer]) -> None:
    """RFC 9420, 7.4: the commit secret follows the last node of the *filtered* direct path. Where the other half of the
    tree is blank the root is not on it; ts-mls 2.0.0-rc.10 as a receiver (not as a committer: `pathToRoot`) walks on to
    the root and comes to another secret. The groups above keep a member in each half."""
    minji = OurPeer(founder(suite, name=b"minji"))
    jihoon, sora = ours(suite, b"jihoon"), ours(suite, b"sora")
    ts_one, ts_two, _ = (peer.start(suite, b"ts %d" % number) for number, peer in enumerate(processes))
    members = change([minji], minji, add=[ts_one, sora, ts_two])  # leaves 0 to 3
    members = change(members, ts_two, add=[jihoon])
    commit, _ = sora.commit(removes=[0, 1])  # 2, 3 and 4 stay: their half is (2, 3), and 4 keeps the tree wide
    members = [sora, ts_two, jihoon]
    for other in members[1:]:
        other.follow(commit)
    agree(members)
    commit, _ = jihoon.commit()
    sora.follow(commit)
    ts_two.follow(commit)
    agree(members)
    lost, _ = sora.commit(removes=[4])  # now the tree is four wide, and its left half blank
    with pytest.raises(PeerError) as caught:
        ts_two.follow(lost)
    assert caught.value.args[0] == "CryptoVerificationError"


@suites
def test_one_removal_by_ts_mls_lacks_its_path_and_is_refused(suite: int, processes: list[TsPeer]) -> None:
    """RFC 9420, 12.4: a commit that covers a Remove must have a path. ts-mls 2.0.0-rc.10 makes none for a single one
    (it asks `length > 1`); every receiver that follows the RFC refuses. That is why it removes two at a time above."""
    minji = OurPeer(founder(suite, name=b"minji"))
    peer = processes[0].start(suite, b"ts")
    jihoon = ours(suite, b"jihoon")
    change([minji], minji, add=[peer, jihoon])
    commit, _ = peer.commit(removes=[2])
    for person in (minji.me, jihoon.me):
        with pytest.raises(mls.PubliclyInvalidCommit, match="path"):
            person.group.process(commit)
        assert person.group.epoch == 1


@suites
def test_a_random_history(suite: int, processes: list[TsPeer]) -> None:
    """Whoever commits whatever: adds, removes and updates at random, blank leaves included."""
    source = random.Random(20260102)
    idle = [peer.start(suite, b"ts %d" % number) for number, peer in enumerate(processes)]
    members: list[Peer] = [OurPeer(founder(suite, name=b"minji"))]
    named = 0
    for _ in range(12):
        committer = source.choice(members)
        add: list[Peer] = []
        if len(members) < 6:
            named += 1
            add = [ours(suite, b"ours %d" % named)] if not idle or source.random() < 0.5 else [idle.pop()]
        keep = next(member for member in members if isinstance(member, OurPeer))
        removable = [member for member in members if member not in (committer, keep)]
        number = 2 if isinstance(committer, TsPeer) else 1  # see the test above
        remove = source.sample(removable, number) if len(removable) > number and source.random() < 0.5 else []
        members = change(members, committer, add=add, remove=remove)
        for one in remove:
            if isinstance(one, TsPeer):
                named += 1
                idle.append(one.start(suite, b"ts again %d" % named))


@suites
def test_authenticated_data_passes_both_ways(suite: int, processes: list[TsPeer]) -> None:
    minji = OurPeer(founder(suite, name=b"minji"))
    peer = processes[0].start(
        suite, b"ts", grease=True
    )  # GREASE among the capabilities; see spec/vectors for extensions
    change([minji], minji, add=[peer])
    heard = minji.me.group.process(peer.say(b"text", aad=b"receipt"))
    assert isinstance(heard, mls.Application)
    assert (heard.plaintext, heard.aad) == (b"text", b"receipt")
    message, _ = minji.me.group.encrypt(b"text", aad=b"receipt")
    assert bytes.fromhex(peer.ask("process", message=message.hex())["aad"]) == b"receipt"


def test_the_x_wing_kem_has_one_id(processes: list[TsPeer]) -> None:
    """Trap: 0x647A enters HPKE's key schedule, older drafts' 0x004D makes mutually unreadable ciphertexts.

    Where they part: the KEM, its keys and their derivation are the same; HPKE's suite_id, and so the AEAD key, is not.
    """
    suite = mls.SUITE_X_WING
    new, old = processes[0].start(suite, b"new"), processes[1].start(suite, b"old", kemId=X_WING_KEM_OF_OLDER_DRAFTS)
    for ikm in (bytes(32), b"k" * 48):
        assert new.ask("kem", ikm=ikm.hex()) == old.ask("kem", ikm=ikm.hex())
    minji = OurPeer(founder(suite, name=b"minji"))
    made = minji.me.group.commit(adds=[new.key_package, old.key_package])
    assert made.welcome is not None
    minji.me.merge()
    new.join(made.welcome)
    assert new.view()["authenticator"] == minji.me.group.epoch_authenticator.hex()
    with pytest.raises(PeerError) as caught:
        old.join(made.welcome)
    assert caught.value.args[0] == "CryptoError"
