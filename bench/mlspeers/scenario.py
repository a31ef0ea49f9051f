"""The life of a group that every implementation plays (topic `groups`). Runs with the standard library alone.

`python scenario.py KIND SIZE WARM ADDS`; KIND: `ours-xwing`, `ours-x25519`, `mls-rs`, `rine-xwing`. One JSON object is
printed: figures by name, seconds of CPU (all threads) or bytes.
"""

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

TEXT = bytes(200)
MESSAGES = 20
T = TypeVar("T")


class Member(Protocol):
    """One leaf. Commits are merged at once; what is to be stored is handed out or stored."""

    def commit(self, *, adds: Sequence[bytes] = (), removes: Sequence[int] = ()) -> tuple[bytes, bytes]: ...
    def process(self, message: bytes) -> None: ...
    def encrypt(self, text: bytes) -> bytes: ...


class Kind(Protocol):
    """An implementation on one suite."""

    def newcomer(self) -> tuple[bytes, Any]: ...
    def found(self) -> Member: ...
    def join(self, private: Any, welcome: bytes) -> Member: ...


class Figures:
    """What was measured."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def timed(self, name: str, work: Callable[[], T], count: int = 1) -> T:
        began = time.process_time()
        done = work()
        self.values[name] = (time.process_time() - began) / count
        return done


def play(kind: Kind, size: int, warm: int, adds: int) -> dict[str, float]:
    """:param warm: members that commit an update of their own before somebody is removed again"""
    figures, rng = Figures(), random.Random(1)
    first = [kind.newcomer() for _ in range(size - 1)]
    figures.timed("KeyPackage, CPU", kind.newcomer)
    founder = figures.timed("create, CPU", kind.found)
    commit, welcome = figures.timed("add all, CPU", lambda: founder.commit(adds=[public for public, _ in first]))
    figures.values |= {"add all, commit": len(commit), "add all, Welcome": len(welcome)}
    member = figures.timed("join, CPU", lambda: kind.join(first[0][1], welcome))
    chosen = sorted(rng.sample(range(1, size - 1), min(warm, size - 2))) if size > 2 else []
    others = [kind.join(first[place][1], welcome) for place in chosen]
    everybody = [founder, member, *others]

    def follow(commit: bytes, but: Member) -> None:
        for one in everybody:
            if one is not but:
                one.process(commit)

    def grow(name: str, count: int) -> None:
        more = [kind.newcomer()[0] for _ in range(count)]
        commit, welcome = figures.timed(f"{name}, CPU", lambda: founder.commit(adds=more))
        figures.values |= {f"{name}, commit": len(commit), f"{name}, Welcome": len(welcome)}
        figures.timed(f"{name}, another follows, CPU", lambda: member.process(commit))
        for one in others:
            one.process(commit)

    def shrink(name: str, leaf: int) -> None:
        commit, _ = figures.timed(f"{name}, CPU", lambda: founder.commit(removes=[leaf]))
        figures.values[f"{name}, commit"] = len(commit)
        figures.timed(f"{name}, another follows, CPU", lambda: member.process(commit))
        for one in others:
            one.process(commit)

    grow("add one", 1)
    if adds:
        grow(f"add {adds}", adds)
    last = size + adds  # leaf of the last one that was added
    shrink("remove one, cold tree", last)
    for one in others:
        commit, _ = one.commit()
        follow(commit, one)
    if others:
        shrink(f"remove one, after {len(others)} updates", last - 1)
    messages = figures.timed("message, CPU", lambda: [founder.encrypt(TEXT) for _ in range(MESSAGES)], MESSAGES)
    figures.values["message, bytes"] = len(messages[0])
    figures.timed("message read, CPU", lambda: [member.process(message) for message in messages], MESSAGES)
    return figures.values


# --- Hanatalk's binding ----------------------------------------------------------------------------------------------


class _Ours:
    def __init__(self, suite: str) -> None:
        from hanatalk import mls

        self.mls = mls
        self.suite = mls.SUITE_X_WING if suite == "xwing" else mls.SUITE_X25519
        self.count = 0

    def newcomer(self) -> tuple[bytes, Any]:
        self.count += 1
        made = self.mls.key_package_new(
            self.mls.signer_new(),
            suite=self.suite,
            credential=b"member %06d" % self.count,
            extensions=[(0xF0A1, b"channel")],
            not_before=1_700_000_000,
            not_after=1_800_000_000,
        )
        return made.key_package, [(key, value) for key, value in made.writes if value is not None]

    def found(self) -> Member:
        group, _writes = self.mls.Group.create(
            self.mls.signer_new(),
            suite=self.suite,
            group_id=bytes(16),
            credential=b"founder",
            extensions=[(0xF0A0, b"policy")],
        )
        return _OurMember(group)

    def join(self, private: Any, welcome: bytes) -> Member:
        group, _writes = self.mls.welcome_stage(welcome, private).join()
        return _OurMember(group)


class _OurMember:
    def __init__(self, group: Any) -> None:
        self.group = group

    def commit(self, *, adds: Sequence[bytes] = (), removes: Sequence[int] = ()) -> tuple[bytes, bytes]:
        made = self.group.commit(adds=adds, removes=removes, self_update=not adds)
        self.group.pending_merge()
        return made.commit, made.welcome or b""

    def process(self, message: bytes) -> None:
        if type(self.group.process(message)).__name__ == "StagedCommit":
            self.group.staged_merge()

    def encrypt(self, text: bytes) -> bytes:
        message: bytes = self.group.encrypt(text)[0]
        return message


# --- mls-rs, by its UniFFI wheel -------------------------------------------------------------------------------------


class _MlsRs:
    def __init__(self) -> None:
        import mls_rs_uniffi

        self.mls = mls_rs_uniffi
        self.count = 0
        self.identities: list[Any] = []  # by leaf, which this life of a group never uses twice

    def _client(self) -> Any:
        self.count += 1
        keys = self.mls.generate_signature_keypair(self.mls.CipherSuite.CURVE25519_AES128)
        return self.mls.Client(b"member %06d" % self.count, keys, self.mls.client_config_default())

    def newcomer(self) -> tuple[bytes, Any]:
        client = self._client()
        public = client.generate_key_package_message().to_bytes()
        self.identities.append((public, client.signing_identity()))
        return public, client

    def found(self) -> Member:
        return _MlsRsMember(self, self._client().create_group(None), [None])

    def join(self, private: Any, welcome: bytes) -> Member:
        group = private.join_group(None, self.mls.Message.from_bytes(welcome)).group
        group.write_to_storage()
        return _MlsRsMember(self, group, [])


class _MlsRsMember:
    def __init__(self, kind: _MlsRs, group: Any, leaves: list[Any]) -> None:
        self.kind, self.group, self.leaves = kind, group, leaves

    def commit(self, *, adds: Sequence[bytes] = (), removes: Sequence[int] = ()) -> tuple[bytes, bytes]:
        if adds:
            known = dict(self.kind.identities)
            self.leaves += [known[public] for public in adds]
            made = self.group.add_members([self.kind.mls.Message.from_bytes(public) for public in adds])
        elif removes:
            made = self.group.remove_members([self.leaves[leaf] for leaf in removes])
        else:
            made = self.group.commit()
        self.group.process_incoming_message(made.commit_message)
        self.group.write_to_storage()
        return made.commit_message.to_bytes(), made.welcome_message.to_bytes() if made.welcome_message else b""

    def process(self, message: bytes) -> None:
        self.group.process_incoming_message(self.kind.mls.Message.from_bytes(message))
        self.group.write_to_storage()

    def encrypt(self, text: bytes) -> bytes:
        message: bytes = self.group.encrypt_application_message(text).to_bytes()
        self.group.write_to_storage()
        return message


# --- rine-mls, its own wheel -----------------------------------------------------------------------------------------


class _Rine:
    def __init__(self, folder: str) -> None:
        import rine_mls

        self.mls, self.folder, self.count = rine_mls, folder, 0

    def _client(self) -> Any:
        self.count += 1
        place = f"{self.folder}/{self.count}"
        return self.mls.MlsClient(place, self.count.to_bytes(32, "big"), self.mls.CIPHER_SUITE_XWING)

    def newcomer(self) -> tuple[bytes, Any]:
        client = self._client()
        return client.generate_key_package(), client

    def found(self) -> Member:
        return _RineMember(self, self._client().create_group(b"g" * 16))

    def join(self, private: Any, welcome: bytes) -> Member:
        return _RineMember(self, private.join_from_welcome(welcome))


class _RineMember:
    def __init__(self, kind: _Rine, group: Any) -> None:
        self.group, self.tag = group, kind.mls.APP_MESSAGE_TAG

    def commit(self, *, adds: Sequence[bytes] = (), removes: Sequence[int] = ()) -> tuple[bytes, bytes]:
        if not adds and not removes:
            raise NotImplementedError("no update of the own leaf")
        made = self.group.add_members(list(adds)) if adds else self.group.remove_member(removes[0])
        self.group.save()
        return made.commit, made.welcomes[0] if made.welcomes else b""

    def process(self, message: bytes) -> None:
        if message[0] == self.tag:
            self.group.decrypt_application_message(message)
        else:
            self.group.apply_commit(message)
        self.group.save()

    def encrypt(self, text: bytes) -> bytes:
        message: bytes = self.group.encrypt_application_message(text)
        self.group.save()
        return message


def main() -> None:
    """See the module."""
    name, size, warm, adds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    with tempfile.TemporaryDirectory() as folder:
        kinds: dict[str, Callable[[], Kind]] = {
            "ours-xwing": lambda: _Ours("xwing"),
            "ours-x25519": lambda: _Ours("x25519"),
            "mls-rs": _MlsRs,
            "rine-xwing": lambda: _Rine(folder),
        }
        print(json.dumps(play(kinds[name](), size, warm, adds)))


if __name__ == "__main__":
    main()
