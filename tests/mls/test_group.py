"""The life of a group through the face: found, add, join, speak, update, remove, load; on both suites."""

import random
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tests.mls.people import GROUP_ID, POLICY, SUITES, conversation, founder, grow, in_step, newcomer, store

from hanatalk import mls
from hanatalk.mls import Application, OwnMessage

suites = pytest.mark.parametrize("suite", [suite for suite, _ in SUITES], ids=[name for _, name in SUITES])


@suites
def test_two_people_talk_and_both_load_again(suite: int) -> None:
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    in_step([minji, jihoon])
    assert jihoon.hear(minji.say("안녕".encode())) == "안녕".encode()
    minji.reload()
    jihoon.reload()
    assert minji.hear(jihoon.say(b"hi")) == b"hi"
    assert (minji.group.suite, minji.group.group_id) == (suite, GROUP_ID)
    assert [member.credential for member in jihoon.group.roster()] == [b"minji", b"jihoon"]
    assert (minji.group.own_leaf, jihoon.group.own_leaf) == (0, 1)


@suites
def test_an_application_message_names_its_sender_epoch_and_aad(suite: int) -> None:
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    message, _ = jihoon.group.encrypt(b"text", aad=b"beside")
    heard = minji.group.process(message)
    assert isinstance(heard, Application)
    assert (heard.plaintext, heard.aad, heard.sender, heard.epoch) == (b"text", b"beside", 1, 1)


@suites
def test_an_update_changes_the_keys_and_everybody_follows(suite: int) -> None:
    people = minji, jihoon, sora = conversation(suite, b"minji", b"jihoon", b"sora")
    before = minji.group.export_secret("hana era", b"", 32)
    made = sora.group.commit(self_update=True, aad=b"receipt", credential=b"sora, second device")
    sora.keep(made.writes)
    assert made.welcome is None
    assert made.group_info is None
    for other in (minji, jihoon):
        staged = other.follow(made.commit)
        assert (staged.sender, staged.epoch, staged.aad, staged.digest) == (2, 1, b"receipt", made.digest)
        assert [(leaf.leaf, leaf.credential) for leaf in staged.updates] == [(2, b"sora, second device")]
        assert (staged.adds, staged.removes, staged.extensions, staged.self_removed) == ([], [], None, False)
    sora.merge()
    in_step(people)
    assert minji.group.export_secret("hana era", b"", 32) != before


@suites
def test_secrets_of_the_next_epoch_are_known_before_the_merge(suite: int) -> None:
    """The committer's pending ones and the receiver's staged ones are those of the epoch that follows."""
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    made = minji.group.commit(self_update=True)
    jihoon.group.process(made.commit)
    pending = (minji.group.pending_export("hana era", b"c", 48), minji.group.pending_epoch_authenticator())
    staged = (jihoon.group.staged_export("hana era", b"c", 48), jihoon.group.staged_epoch_authenticator())
    minji.group.pending_merge()
    jihoon.group.staged_merge()
    now = (jihoon.group.export_secret("hana era", b"c", 48), jihoon.group.epoch_authenticator)
    assert pending == staged == now
    assert len(pending[0]) == 48


@suites
def test_a_removed_member_is_told_and_can_do_no_more(suite: int) -> None:
    """T-026 at this level: nothing of the next epoch can be computed."""
    minji, jihoon, sora = conversation(suite, b"minji", b"jihoon", b"sora")
    made = minji.group.commit(removes=[1])
    minji.keep(made.writes)
    minji.merge()
    sora.follow(made.commit)
    staged = jihoon.group.process(made.commit)
    assert isinstance(staged, mls.StagedCommit)
    assert staged.self_removed
    assert staged.removes == [1]
    with pytest.raises(mls.Evicted):
        jihoon.group.staged_export("hana era", b"", 32)
    with pytest.raises(mls.Evicted):
        jihoon.group.staged_epoch_authenticator()
    jihoon.keep(staged.writes)
    jihoon.keep(jihoon.group.staged_merge())
    for _ in range(2):
        assert not jihoon.group.is_active
        for call in (
            lambda: jihoon.group.encrypt(b"still here"),
            lambda: jihoon.group.process(sora.say(b"is he gone?")),
            lambda: jihoon.group.export_secret("hana era", b"", 32),
            lambda: jihoon.group.commit(self_update=True),
            lambda: jihoon.group.leaf_sign(b"I am a member"),
            jihoon.group.group_info,
        ):
            with pytest.raises(mls.Evicted):
                call()
        jihoon.reload()
    in_step([minji, sora])


@suites
def test_the_policy_changes_with_a_commit_and_only_then(suite: int) -> None:
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    made = minji.group.commit(extensions=[(POLICY, b"policy 2")])
    staged = jihoon.group.process(made.commit)
    assert isinstance(staged, mls.StagedCommit)
    assert staged.extensions == [(POLICY, b"policy 2")]
    assert jihoon.group.extensions() == [(POLICY, b"policy")]
    jihoon.keep(staged.writes)
    jihoon.keep(jihoon.group.staged_merge())
    assert jihoon.reload().group.extensions() == [(POLICY, b"policy 2")]


@suites
def test_a_psk_binds_the_next_epoch(suite: int) -> None:
    minji, jihoon, sora = conversation(suite, b"minji", b"jihoon", b"sora")
    for person in (minji, jihoon):
        person.keep(person.group.psk_put(b"id", b"p" * 32))
        person.reload()
    made = minji.group.commit(psks=[b"id"])
    jihoon.follow(made.commit)
    with pytest.raises(mls.PathFault):
        sora.group.process(made.commit)
    minji.keep(made.writes)
    minji.merge()
    in_step([minji, jihoon])
    with pytest.raises(mls.Misuse):
        minji.group.commit(psks=[b"unknown"])


@suites
def test_a_joiner_sees_the_group_before_joining(suite: int) -> None:
    minji, _ = conversation(suite, b"minji", b"jihoon")
    sora = newcomer(suite, b"sora")
    made = minji.group.commit(adds=[sora.key_package])
    assert made.welcome is not None
    staged = mls.welcome_stage(made.welcome, sora.rows)
    assert (staged.group_id, staged.suite, staged.epoch, staged.sender) == (GROUP_ID, suite, 2, 0)
    assert staged.extensions == [(POLICY, b"policy")]
    assert [member.credential for member in staged.members] == [b"minji", b"jihoon", b"sora"]
    assert staged.own_leaf == 2
    staged.join()
    with pytest.raises(mls.Misuse):
        staged.join()


@suites
def test_the_tree_travels_beside_the_welcome_if_asked(suite: int) -> None:
    """Also for those who join by the joiner's commits: the founder's choice is everybody's."""
    minji = founder(suite, tree_in_welcome=False)
    jihoon, sora = newcomer(suite, b"jihoon"), newcomer(suite, b"sora")
    made = minji.group.commit(adds=[jihoon.key_package])
    minji.keep(made.writes)
    minji.merge()
    assert made.welcome is not None
    with pytest.raises(mls.BadMessage):
        mls.welcome_stage(made.welcome, jihoon.rows)
    with pytest.raises(mls.BadMessage):
        mls.welcome_stage(made.welcome, jihoon.rows, ratchet_tree=b"\x00")
    second = jihoon.join(made.welcome, ratchet_tree=minji.group.ratchet_tree())
    made = second.group.commit(adds=[sora.key_package])
    second.keep(made.writes)
    second.merge()
    minji.follow(made.commit)
    assert made.welcome is not None
    with pytest.raises(mls.BadMessage):
        mls.welcome_stage(made.welcome, sora.rows)
    in_step([minji, second, sora.join(made.welcome, ratchet_tree=minji.group.ratchet_tree())])


def test_added_members_stand_where_the_staged_commit_said() -> None:
    """Adds take the leftmost free leaves after the removes; checked against the roster over a random history."""
    random_source = random.Random(20260101)
    people = conversation(mls.SUITE_X25519, b"0", b"1", b"2", b"3")
    named = 4
    for _ in range(12):
        committer = random_source.choice(people)
        others = [person for person in people if person is not committer]
        removed = random_source.sample(others, random_source.randint(0, min(3, len(others) - 1)))
        added = [newcomer(mls.SUITE_X25519, str(named + n).encode()) for n in range(random_source.randint(0, 4))]
        named += len(added)
        made = committer.group.commit(
            adds=[one.key_package for one in added], removes=[person.group.own_leaf for person in removed]
        )
        committer.keep(made.writes)
        committer.merge()
        people = [person for person in people if person not in removed]
        for person in people:
            if person is committer:
                continue
            staged = person.follow(made.commit)
            roster = {member.leaf: member for member in person.group.roster()}
            assert [roster[add.leaf] for add in staged.adds] == staged.adds
            assert [add.credential for add in staged.adds] == [one.name for one in added]
            assert set(roster) == {member.leaf for member in committer.group.roster()}
        people += [one.join(made.welcome or b"") for one in added]
        in_step(people)


def test_a_last_resort_key_package_says_so() -> None:
    for last_resort in (False, True):
        made = newcomer(mls.SUITE_X25519, b"sora", last_resort=last_resort)
        info = mls.key_package_inspect(made.key_package)
        assert info.last_resort is last_resort
        assert (info.not_before, info.not_after) == (1_700_000_000, 1_800_000_000)
        assert (info.suite, info.credential, info.ref) == (mls.SUITE_X25519, b"sora", made.made.ref)
        assert info.extensions == [(0xF0A1, b"channel")]


@suites
def test_group_info_and_ratchet_tree_can_be_exported(suite: int) -> None:
    minji, _ = conversation(suite, b"minji", b"jihoon")
    assert minji.group.group_info()[:4] == b"\x00\x01\x00\x04"
    assert len(minji.group.ratchet_tree()) > 100


@suites
def test_a_leaf_signs_but_never_what_mls_signs(suite: int) -> None:
    minji = founder(suite)
    key = Ed25519PublicKey.from_public_bytes(minji.group.roster()[0].signature_key)
    key.verify(minji.group.leaf_sign(b"fault report"), b"fault report")
    for label in (b"MLS 1.0 LeafNodeTBS", b"MLS 1.0 FramedContentTBS"):
        for prefix in (b"", len(label).to_bytes(1, "big"), b"\x40\x20", b"\x80\x00\x00\x20"):
            with pytest.raises(mls.Misuse):
                minji.group.leaf_sign(prefix + label + b"\x01x")


@suites
def test_a_message_can_be_sent_while_a_commit_is_pending(suite: int) -> None:
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    minji.keep(minji.group.commit(self_update=True).writes)
    assert jihoon.hear(minji.say(b"still this epoch")) == b"still this epoch"
    assert minji.reload().group.has_pending_commit


@suites
def test_two_commits_for_one_epoch_have_one_winner(suite: int) -> None:
    """T-029: the loser drops its own when the winner's is merged, and can commit again."""
    people = minji, jihoon, sora = conversation(suite, b"minji", b"jihoon", b"sora")
    won, lost = minji.group.commit(self_update=True), jihoon.group.commit(removes=[2])
    minji.keep(won.writes)
    jihoon.keep(lost.writes)
    jihoon.reload()
    echo = minji.group.process(won.commit)
    assert isinstance(echo, OwnMessage)
    assert echo.pending
    minji.merge()
    jihoon.follow(won.commit)
    sora.follow(won.commit)
    in_step(people)
    for person in people:
        with pytest.raises(mls.WrongEpoch):
            person.group.process(lost.commit)
        assert not person.group.has_pending_commit
    assert not jihoon.reload().group.has_pending_commit
    again = jihoon.group.commit(removes=[2])
    jihoon.keep(again.writes)
    minji.follow(again.commit)
    jihoon.merge()
    in_step([minji, jihoon])


@suites
def test_the_losers_welcome_leads_nowhere_and_the_key_package_still_works(suite: int) -> None:
    """T-030: who joined by the Welcome of a commit that lost hears nobody, and joins again by the winner's."""
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    sora = newcomer(suite, b"sora")
    lost = jihoon.group.commit(adds=[sora.key_package])
    won = minji.group.commit(adds=[sora.key_package], extensions=[(POLICY, b"policy 2")])
    minji.keep(won.writes)
    minji.merge()
    jihoon.follow(won.commit)
    assert lost.welcome is not None
    assert won.welcome is not None
    stranded = sora.join(lost.welcome)
    assert stranded.group.epoch_authenticator != minji.group.epoch_authenticator
    with pytest.raises(mls.BadMessage):
        stranded.group.process(minji.say(b"welcome, sora"))
    joined = sora.join(won.welcome)
    in_step([minji, jihoon, joined])
    assert joined.hear(jihoon.say(b"there you are")) == b"there you are"


def test_a_large_commit_lets_other_threads_run() -> None:
    """The GIL is released while the cryptography works: another thread counts meanwhile."""
    minji = founder(mls.SUITE_X_WING)
    newcomers = [newcomer(mls.SUITE_X_WING, str(n).encode()).key_package for n in range(150)]
    worker = threading.Thread(target=lambda: minji.group.commit(adds=newcomers))
    worker.start()
    counted = 0
    while worker.is_alive():
        counted += 1
    assert counted > 1000


def test_fifty_join_at_once() -> None:
    people = grow([founder(mls.SUITE_X_WING)], [newcomer(mls.SUITE_X_WING, str(n).encode()) for n in range(50)])
    in_step(people)
    assert people[7].hear(people[50].say(b"hi")) == b"hi"


def test_rows_name_a_version_and_writes_name_each_key_once() -> None:
    minji, jihoon = conversation(mls.SUITE_X25519, b"minji", b"jihoon")
    made = minji.group.commit(removes=[1])
    assert len({key for key, _ in made.writes}) == len(made.writes)
    store(minji.rows, made.writes)
    assert {value[0] for value in minji.rows.values()} == {1}
    assert jihoon.group.has_pending_commit is False
