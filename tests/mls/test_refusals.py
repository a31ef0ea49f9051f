"""Every class of error, from what a relay, an outsider or a member can really send; the state stays as it was.

The cheating member is the binding's test-only surface (`testing_commit` and friends).
"""

from collections.abc import Callable

import hanatalk_mls
import pytest
from tests.mls import crafted
from tests.mls.people import POLICY, SUITES, Person, conversation, founder, in_step, newcomer

from hanatalk import mls
from hanatalk.errors import ContentError, HanaError, LocalError

suites = pytest.mark.parametrize("suite", [suite for suite, _ in SUITES], ids=[name for _, name in SUITES])


def inner(person: Person) -> hanatalk_mls.Group:
    return person.group._inner


def refused(person: Person, message: bytes, error: type[HanaError]) -> HanaError:
    """The message is refused with this error, the group is as it was, and there is nothing to write."""
    before = (person.group.epoch, person.group.epoch_authenticator, person.group.roster(), person.group.extensions())
    pending = person.group.has_pending_commit
    with pytest.raises(error) as caught:
        person.group.process(message)
    assert before == (
        person.group.epoch,
        person.group.epoch_authenticator,
        person.group.roster(),
        person.group.extensions(),
    )
    assert person.group.has_pending_commit is pending
    # The next call's writes are its own: had the refused one left some behind, they would come along now.
    assert person.group.psk_put(b"probe", len(message).to_bytes(8, "big"))[0][0][:2] == b"ps"
    assert len(person.group.psk_put(b"probe", b"x" * 8)) == 1
    assert type(caught.value) is error
    return caught.value


# --- messages ---


@suites
def test_a_message_of_another_epoch(suite: int) -> None:
    """T-037: the founder and the joiner alike keep no past epoch (`max_past_epochs = 0`); a future one is not here."""
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    late = {person.name: person.say(b"late") for person in (minji, jihoon)}
    made = minji.group.commit(self_update=True)
    minji.keep(made.writes)
    minji.merge()
    early = minji.say(b"early")
    error = refused(jihoon, early, mls.WrongEpoch)
    assert error.detail == {"message": 2, "group": 1}
    jihoon.follow(made.commit)
    assert jihoon.hear(early) == b"early"
    for _ in range(2):
        refused(minji, late[b"jihoon"], mls.WrongEpoch)
        refused(jihoon, late[b"minji"], mls.WrongEpoch)
        refused(jihoon, made.commit, mls.WrongEpoch)
        minji.reload()
        jihoon.reload()


@suites
def test_a_message_again(suite: int) -> None:
    """T-011 at this level: the generation's key is gone, also after loading."""
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    message = minji.say(b"once")
    assert jihoon.hear(message) == b"once"
    refused(jihoon, message, mls.Replay)
    refused(jihoon.reload(), message, mls.Replay)


def test_messages_out_of_order() -> None:
    """T-012: all within the tolerance of 64 are shown; one further back is too old; none is lost by the attempt."""
    minji, jihoon = conversation(mls.SUITE_X25519, b"minji", b"jihoon")
    messages = [minji.say(str(n).encode()) for n in range(70)]
    assert jihoon.hear(messages[69]) == b"69"
    for number in range(5):
        refused(jihoon, messages[number], mls.TooOld)
    jihoon.reload()
    for number in reversed(range(6, 69)):
        assert jihoon.hear(messages[number]) == str(number).encode()
    refused(jihoon, messages[6], mls.Replay)


def test_a_generation_far_ahead() -> None:
    """T-035: up to 4,096 ahead is taken, beyond it refused at once; the policy survives joining and loading."""
    minji, jihoon = conversation(mls.SUITE_X25519, b"minji", b"jihoon")
    for sender, receiver in ((minji, jihoon), (jihoon, minji)):
        receiver.reload()
        first = sender.say(b"first")
        for _ in range(4095):
            sender.group.encrypt(b"")
        reachable = sender.say(b"reachable")
        beyond = sender.say(b"beyond")
        error = refused(receiver, beyond, mls.TooOld)
        assert error.detail == {"why": "future"}
        assert receiver.hear(reachable) == b"reachable"
        assert receiver.hear(beyond) == b"beyond"
        refused(receiver, first, mls.TooOld)


@pytest.mark.parametrize("kind", ["application", "commit"])
def test_every_byte_flipped_or_cut(kind: str) -> None:
    """T-019: a typed error, no crash, and the genuine message is still taken afterwards."""
    minji, jihoon = conversation(mls.SUITE_X25519, b"minji", b"jihoon")
    message = minji.say(b"whole") if kind == "application" else minji.group.commit(self_update=True).commit
    for position in range(len(message)):
        spoilt = bytearray(message)
        spoilt[position] ^= 0x40
        with pytest.raises((mls.BadMessage, mls.WrongEpoch)):
            jihoon.group.process(bytes(spoilt))
        with pytest.raises(mls.BadMessage):
            jihoon.group.process(message[:position])
    with pytest.raises(mls.BadMessage):
        jihoon.group.process(message + b"\x00")
    assert jihoon.group.process(message)


def private_message(message: bytes) -> tuple[bytes, bytes, bytes]:
    """Split MLSMessage(PrivateMessage) into what precedes the sender data, the sender data, and the ciphertext."""

    def take(position: int) -> tuple[int, int]:
        length = 1 << (message[position] >> 6)
        size = int.from_bytes(message[position : position + length], "big") & ((1 << (8 * length - 2)) - 1)
        return position + length, position + length + size

    _, position = take(4)  # group id
    position += 9  # epoch and content type
    _, before = take(position)  # authenticated data
    data_start, data_end = take(before)
    text_start, text_end = take(data_end)
    assert text_end == len(message)
    return message[:before], message[data_start:data_end], message[text_start:text_end]


@suites
def test_an_empty_or_short_aead_tag(suite: int) -> None:
    """T-020: no tag, half a tag, a tag alone, nothing at all: refused for the sender data and for the content."""
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    message = minji.say(b"authentic")
    head, data, text = private_message(message)
    assert head + crafted.vector(data) + crafted.vector(text) == message
    for cut in range(1, 17):
        refused(jihoon, head + crafted.vector(data) + crafted.vector(text[:-cut]), mls.BadMessage)
        refused(jihoon, head + crafted.vector(data[:-cut]) + crafted.vector(text), mls.BadMessage)
    for short in (b"", bytes(8), bytes(16), text[-16:], text[:-16]):
        refused(jihoon, head + crafted.vector(data) + crafted.vector(short), mls.BadMessage)
        refused(jihoon, head + crafted.vector(short) + crafted.vector(text), mls.BadMessage)
    assert jihoon.hear(message) == b"authentic"


@suites
def test_a_message_of_another_group(suite: int) -> None:
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    group, _ = mls.Group.create(
        mls.signer_new(), suite=suite, group_id=b"elsewhere-------", credential=b"minji", extensions=[]
    )
    message, _ = group.encrypt(b"elsewhere")
    refused(jihoon, message, mls.BadMessage)
    assert minji.group.extensions() == [(POLICY, b"policy")]


@suites
def test_what_is_not_a_private_message(suite: int) -> None:
    """HT-M-009, T-016: KeyPackage, Welcome, GroupInfo, PublicMessage, and a commit by somebody from outside."""
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    sora = newcomer(suite, b"sora")
    made = minji.group.commit(adds=[sora.key_package])
    for message in (sora.key_package, made.welcome, made.group_info):
        assert message is not None
        refused(jihoon, message, mls.BadMessage)
    info, tree = jihoon.group.group_info(), jihoon.group.ratchet_tree()
    external = hanatalk_mls.testing_external_commit(mls.signer_new(), b"intruder", info, tree)
    assert external[:4] == b"\x00\x01\x00\x01"  # OpenMLS lets it past the wire format policy; the binding does not
    refused(jihoon, external, mls.BadMessage)
    refused(minji, external, mls.BadMessage)
    minji.group.pending_discard()
    public, _, _ = hanatalk_mls.testing_commit(inner(minji), public=True)
    refused(jihoon, public, mls.BadMessage)


@suites
def test_a_standalone_proposal_and_a_commit_that_refers_to_it(suite: int) -> None:
    """HT-M-009, T-035: proposals are refused before decryption, so none pile up; by reference they are void."""
    minji, jihoon, sora = conversation(suite, b"minji", b"jihoon", b"sora")
    proposal, _ = hanatalk_mls.testing_proposal(inner(minji), remove=1)
    for _ in range(100):
        refused(sora, proposal, mls.BadMessage)
    commit, _, _ = hanatalk_mls.testing_commit(inner(minji), queued=True)
    refused(jihoon, commit, mls.PubliclyInvalidCommit)
    refused(sora, commit, mls.PubliclyInvalidCommit)


# --- commits ---


@suites
@pytest.mark.parametrize("kind", ["external-senders", "no-required-capabilities", "fewer-required-capabilities"])
def test_a_commit_that_changes_the_group_context_outside_the_profile(suite: int, kind: str) -> None:
    minji, jihoon, sora = conversation(suite, b"minji", b"jihoon", b"sora")
    commit, _, writes = hanatalk_mls.testing_commit(inner(minji), group_context=kind)
    assert writes
    refused(jihoon, commit, mls.PubliclyInvalidCommit)
    refused(sora, commit, mls.PubliclyInvalidCommit)


@pytest.mark.parametrize(
    "flawed",
    [
        crafted.KeyPackage(lifetime=(0, 4_000_000_000)),
        crafted.KeyPackage(lifetime=(0, 1_000_000_000)),
        crafted.KeyPackage(extensions=b""),
        crafted.KeyPackage(extension_types=(0xF0A0, 0xF0A2)),
        crafted.KeyPackage(suites=(mls.SUITE_X25519,), encryption_key=bytes(31)),
        crafted.KeyPackage(init_key=b"\x09" + bytes(40)),
    ],
    ids=["bounded-lifetime", "expired", "no-lifetime", "capabilities", "encryption-key", "init-key"],
)
def test_a_commit_that_adds_a_key_package_outside_the_profile(flawed: crafted.KeyPackage) -> None:
    """What OpenMLS would take on one machine's clock and not on another's is refused on all."""
    minji, jihoon = conversation(mls.SUITE_X25519, b"minji", b"jihoon")
    message = flawed.message()
    with pytest.raises(mls.BadKeyPackage):
        mls.key_package_inspect(message)
    try:
        commit, _, _ = hanatalk_mls.testing_commit(inner(minji), adds=[message])
    except hanatalk_mls.BadMessage:
        return  # OpenMLS does not even let the cheater make it
    refused(jihoon, commit, mls.PubliclyInvalidCommit)


@suites
def test_a_path_that_one_member_cannot_decrypt(suite: int) -> None:
    """The victim stops with PathFault; for the others the very same commit is valid."""
    minji, jihoon, sora = conversation(suite, b"minji", b"jihoon", b"sora")
    commit, _, writes = hanatalk_mls.testing_commit(inner(minji), victim_leaf=2)
    minji.keep(writes)
    refused(sora, commit, mls.PathFault)
    refused(sora.reload(), commit, mls.PathFault)
    jihoon.follow(commit)
    minji.merge()
    in_step([minji, jihoon])


@suites
def test_a_wrong_confirmation_tag(suite: int) -> None:
    minji, jihoon = conversation(suite, b"minji", b"jihoon")
    commit, _, _ = hanatalk_mls.testing_commit(inner(minji), spoil_tag=True)
    error = refused(jihoon, commit, mls.PathFault)
    assert error.code == "mls.path-fault"
    assert jihoon.hear(minji.say(b"still here")) == b"still here"


def test_a_commit_while_another_waits() -> None:
    minji, jihoon, sora = conversation(mls.SUITE_X25519, b"minji", b"jihoon", b"sora")
    first, second = minji.group.commit(self_update=True), sora.group.commit(self_update=True)
    jihoon.group.process(first.commit)
    for call in (lambda: jihoon.group.process(second.commit), lambda: jihoon.group.commit(self_update=True)):
        with pytest.raises(mls.PendingCommit) as caught:
            call()
        assert caught.value.detail == {"why": "staged"}
    message = sora.say(b"meanwhile")
    assert jihoon.hear(message) == b"meanwhile"
    assert jihoon.group.staged_drop() == []
    jihoon.follow(second.commit)
    with pytest.raises(mls.PendingCommit) as caught:
        minji.group.commit(self_update=True)
    assert caught.value.detail == {"why": "own"}


def test_a_dropped_commit_can_not_be_staged_again_but_another_can() -> None:
    """Staging used up its generation, as the writes of `process` say; it comes back only with rows that lack them."""
    minji, jihoon = conversation(mls.SUITE_X25519, b"minji", b"jihoon")
    made = minji.group.commit(self_update=True)
    staged = jihoon.group.process(made.commit)
    assert isinstance(staged, mls.StagedCommit)
    jihoon.group.staged_drop()
    refused(jihoon, made.commit, mls.Replay)
    in_step_before = jihoon.group.epoch_authenticator
    jihoon.reload()
    assert jihoon.group.epoch_authenticator == in_step_before
    jihoon.follow(made.commit)


# --- KeyPackages and Welcomes ---

X_WING_KEY = 1216

FLAWED: dict[str, Callable[[], crafted.KeyPackage]] = {
    "suite": lambda: crafted.KeyPackage(suite=3, suites=(1, 3)),
    "version": lambda: crafted.KeyPackage(version=2),
    "lifetime": lambda: crafted.KeyPackage(lifetime=(0, 1)),
    "no lifetime extension": lambda: crafted.KeyPackage(extensions=b""),
    "short lifetime extension": lambda: crafted.KeyPackage(extensions=crafted.extension(0xF0A2, bytes(15))),
    "an extension twice": lambda: crafted.KeyPackage(extensions=2 * crafted.KeyPackage().extensions),
    "required_capabilities": lambda: crafted.KeyPackage(extensions=crafted.extension(3, b"\x00\x00\x00")),
    "credential type": lambda: crafted.KeyPackage(credential=b"\x00\x02" + crafted.vector(b"")),
    "credential capability": lambda: crafted.KeyPackage(credential_types=(2,)),
    "extension capability": lambda: crafted.KeyPackage(extension_types=(0xF0A2,)),
    "suite capability": lambda: crafted.KeyPackage(suites=(2,)),
    "a leaf extension": lambda: crafted.KeyPackage(leaf_extensions=crafted.extension(0xF0A1, b"x")),
    "init key length": lambda: crafted.KeyPackage(init_key=bytes(33)),
    "encryption key length": lambda: crafted.KeyPackage(encryption_key=bytes(31)),
    "X-Wing key length": lambda: crafted.KeyPackage(
        suite=mls.SUITE_X_WING, init_key=bytes(X_WING_KEY), encryption_key=bytes(X_WING_KEY - 1)
    ),
    "X-Wing with X25519 keys": lambda: crafted.KeyPackage(suite=mls.SUITE_X_WING),
}


def test_the_crafted_key_package_is_valid_until_spoilt() -> None:
    info = mls.key_package_inspect(crafted.KeyPackage().message())
    assert (info.credential, info.suite) == (b"crafted", mls.SUITE_X25519)


@pytest.mark.parametrize("flaw", FLAWED)
def test_a_key_package_outside_the_profile(flaw: str) -> None:
    """T-018 at this level: named by its place in the list, and the group is as it was."""
    message = FLAWED[flaw]().message()
    with pytest.raises(mls.BadKeyPackage) as caught:
        mls.key_package_inspect(message)
    assert caught.value.index == 0
    minji = founder(mls.SUITE_X25519)
    good = newcomer(mls.SUITE_X25519, b"jihoon").key_package
    with pytest.raises(mls.BadKeyPackage) as caught:
        minji.group.commit(adds=[good, message])
    assert caught.value.index == 1
    assert not minji.group.has_pending_commit
    assert minji.group.commit(adds=[good]).welcome is not None


def test_a_key_package_with_any_byte_flipped_or_cut() -> None:
    """T-017, T-019: both signatures cover everything."""
    message = newcomer(mls.SUITE_X25519, b"sora").key_package
    for position in range(len(message)):
        spoilt = bytearray(message)
        spoilt[position] ^= 0x01
        with pytest.raises(mls.BadKeyPackage):
            mls.key_package_inspect(bytes(spoilt))
        with pytest.raises(mls.BadKeyPackage):
            mls.key_package_inspect(message[:position])


@pytest.mark.parametrize(
    ("suite", "key"),
    [
        (mls.SUITE_X25519, bytes(32)),
        (mls.SUITE_X25519, b"\x01" + bytes(31)),
        (mls.SUITE_X_WING, b"\xff" * X_WING_KEY),
    ],
    ids=["x25519-zero", "x25519-low-order", "x-wing-not-a-field-element"],
)
def test_a_key_of_the_right_length_that_the_kem_refuses(suite: int, key: bytes) -> None:
    """Trap: a malformed X-Wing key panicked in another provider. Here it is BadKeyPackage, and whose."""
    minji = founder(suite)
    good = newcomer(suite, b"jihoon").key_package
    flawed = crafted.KeyPackage(suite=suite, init_key=key, encryption_key=b"\x09" + bytes(len(key) - 1)).message()
    with pytest.raises(mls.BadKeyPackage) as caught:
        minji.group.commit(adds=[good, flawed])
    assert caught.value.index == 1
    assert minji.reload().group.commit(adds=[good]).welcome is not None


@suites
def test_a_key_package_that_collides(suite: int) -> None:
    minji, _ = conversation(suite, b"minji", b"jihoon")
    sora = newcomer(suite, b"sora")
    with pytest.raises(mls.BadKeyPackage) as caught:
        minji.group.commit(adds=[sora.key_package, sora.key_package])
    assert caught.value.index == 1
    people = conversation(suite, b"minji", b"jihoon")
    made = people[0].group.commit(adds=[sora.key_package])
    people[0].keep(made.writes)
    people[0].merge()
    with pytest.raises(mls.BadKeyPackage) as caught:
        people[0].group.commit(adds=[sora.key_package])
    assert caught.value.index == 0
    leaf = next(member.leaf for member in people[0].group.roster() if member.credential == b"sora")
    assert people[0].group.commit(adds=[sora.key_package], removes=[leaf]).welcome is not None


def test_a_group_does_not_change_its_suite() -> None:
    """A KeyPackage of the other suite cannot be added: a conversation that outgrows X-Wing moves to a new group."""
    minji = founder(mls.SUITE_X_WING)
    with pytest.raises(mls.BadKeyPackage):
        minji.group.commit(adds=[newcomer(mls.SUITE_X25519, b"jihoon").key_package])


@suites
def test_a_welcome_spoilt_or_for_somebody_else(suite: int) -> None:
    minji = founder(suite)
    jihoon, sora = newcomer(suite, b"jihoon"), newcomer(suite, b"sora")
    made = minji.group.commit(adds=[jihoon.key_package])
    assert made.welcome is not None
    with pytest.raises(mls.BadMessage):
        mls.welcome_stage(made.welcome, sora.rows)
    for position in range(0, len(made.welcome), 7):
        spoilt = bytearray(made.welcome)
        spoilt[position] ^= 0x10
        with pytest.raises((mls.BadMessage, mls.Unsupported)):
            mls.welcome_stage(bytes(spoilt), jihoon.rows)
        with pytest.raises(mls.BadMessage):
            mls.welcome_stage(made.welcome[:position], jihoon.rows)
    for other in (made.commit, jihoon.key_package, b""):
        with pytest.raises(mls.BadMessage):
            mls.welcome_stage(other, jihoon.rows)
    assert mls.welcome_stage(made.welcome, jihoon.rows).join()


@suites
def test_a_welcome_twice(suite: int) -> None:
    """T-033 at this level: staging takes nothing away, so both lead to the same group."""
    minji = founder(suite)
    jihoon = newcomer(suite, b"jihoon")
    made = minji.group.commit(adds=[jihoon.key_package])
    assert made.welcome is not None
    first, second = jihoon.join(made.welcome), jihoon.join(made.welcome)
    minji.merge()
    in_step([minji, first, second])


# --- misuse and the tree of errors ---


def test_what_the_caller_may_not_ask() -> None:
    minji, jihoon = conversation(mls.SUITE_X25519, b"minji", b"jihoon")
    for call in (
        minji.group.pending_merge,
        minji.group.pending_discard,
        minji.group.pending_epoch_authenticator,
        minji.group.staged_merge,
        minji.group.staged_drop,
        lambda: minji.group.pending_export("x", b"", 1),
        lambda: minji.group.staged_export("x", b"", 1),
        lambda: minji.group.export_secret("x", b"", 65_536),
        lambda: minji.group.export_secret("x", b"", -1),
        lambda: minji.group.commit(removes=[0]),
        lambda: minji.group.commit(removes=[7]),
        lambda: minji.group.commit(removes=[1, 1]),
    ):
        with pytest.raises(mls.Misuse):
            call()
    assert not minji.group.has_pending_commit
    assert jihoon.group.epoch == 1


def test_what_is_outside_the_profile_when_making() -> None:
    signer = mls.signer_new()
    for suite in (2, 3, 0x004D, 0x004F, 0):
        with pytest.raises(mls.Unsupported):
            mls.Group.create(signer, suite=suite, group_id=b"g", credential=b"c", extensions=[])
        with pytest.raises(mls.Unsupported):
            mls.key_package_new(signer, suite=suite, credential=b"c", extensions=[], not_before=0, not_after=1)
    with pytest.raises(mls.Misuse):
        mls.Group.create(signer, suite=70_000, group_id=b"g", credential=b"c", extensions=[])
    for extensions in ([(5, b"")], [(0xF0A3, b"")], [(POLICY, b""), (POLICY, b"")]):
        with pytest.raises(mls.Unsupported):
            mls.Group.create(signer, suite=1, group_id=b"g", credential=b"c", extensions=extensions)
    with pytest.raises(mls.Unsupported):
        mls.key_package_new(signer, suite=1, credential=b"c", extensions=[(POLICY, b"")], not_before=0, not_after=1)


def test_every_error_of_the_binding_is_mapped() -> None:
    """Callers see nothing but the error tree, and each class has its own code."""
    raised = {
        name for name, value in vars(hanatalk_mls).items() if isinstance(value, type) and issubclass(value, Exception)
    }
    mapped = {
        name for name in raised if isinstance(getattr(mls, name), type) and issubclass(getattr(mls, name), HanaError)
    }
    assert raised == mapped
    assert all(issubclass(getattr(mls, name), ContentError | LocalError) for name in mapped)


def test_a_panic_poisons_the_handle_and_says_nothing_of_its_content(capfd: pytest.CaptureFixture[str]) -> None:
    minji, jihoon = conversation(mls.SUITE_X25519, b"minji", b"jihoon")
    with pytest.raises(hanatalk_mls.Poisoned) as panicked:
        hanatalk_mls.testing_panic(inner(minji))
    assert "adversary.rs" in str(panicked.value)
    assert "hunter2" not in str(panicked.value)
    for call in (lambda: minji.group.encrypt(b"x"), lambda: minji.group.epoch, minji.group.roster):
        with pytest.raises(mls.Poisoned):
            call()
    captured = capfd.readouterr()
    assert "hunter2" not in captured.out + captured.err
    assert jihoon.hear(minji.reload().say(b"back")) == b"back"


def test_rows_that_are_not_ours() -> None:
    minji, _ = conversation(mls.SUITE_X25519, b"minji", b"jihoon")
    rows = list(minji.rows.items())
    for wrong in (
        [],
        rows[1:],
        [(key, b"\x02" + value[1:]) for key, value in rows],
        [(key, value[:-1]) for key, value in rows],
    ):
        with pytest.raises(mls.Poisoned):
            mls.Group.load(minji.group.group_id, wrong)
    with pytest.raises(mls.Poisoned):
        mls.Group.load(b"another", rows)
