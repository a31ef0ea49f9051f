"""Sees every frame that any relay ever sees: no key and nonce twice, nothing acknowledged before it is durable.

For each epoch a handle of the receiving leaf is kept as it was when that leaf entered it; every ciphertext that leaves
a device is decrypted with it at once, delivered or not. A ciphertext that is new and whose generation is used up was
encrypted with a key and nonce that encrypted something else before.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.client.people import Person
from tests.simulated_relay import Pipe

from hanatalk import mls
from hanatalk.client.engine.formats import sealing
from hanatalk.errors import HanaError
from hanatalk.ids import ChannelId, ConversationId
from hanatalk.localdb.database import Database, MlsWrites
from hanatalk.localdb.rows import Channel, Conversation
from hanatalk.wire import frames
from hanatalk.wire.classes import EntryClass

APPLICATION = 1  # ContentType of RFC 9420


class Witness:
    """See the module."""

    def __init__(self, people: list[Person]) -> None:
        self._people = people
        self._seal_keys: dict[ChannelId, bytes] = {}
        self._outer: dict[tuple[ChannelId, bytes], bytes] = {}
        self._seen: set[bytes] = set()
        self._handles: dict[tuple[bytes, int], dict[int, mls.Group]] = defaultdict(dict)
        self._waiting: dict[tuple[bytes, int], list[tuple[int, bytes]]] = defaultdict(list)
        self.heard: Callable[[tuple[bytes, int], bytes], None] | None = None  # told of what was encrypted in an epoch
        self.frames = 0
        self.decrypted = 0

    def begin(self) -> None:
        """The epochs everybody is in now."""
        for person in self._people:
            for row in person.database.find(Conversation, "1"):
                self.entered(person.database, row.conversation)

    def entered(self, database: Database, conversation: ConversationId) -> None:
        """A leaf has entered its next epoch; what it stored is what it knows."""
        handle = mls.Group.load(conversation, database.mls_rows(conversation))
        epoch = (bytes(conversation), handle.epoch)
        if self._handles[epoch].setdefault(handle.own_leaf, handle) is handle:
            for sender, ciphertext in self._waiting.pop(epoch, []):
                self._ciphertext(epoch, sender, ciphertext)

    def rosters(self, conversation: bytes, epoch: int) -> set[bytes]:
        """The credentials of all who were in that epoch, as every device that entered it saw it."""
        handles = self._handles.get((conversation, epoch), {}).values()
        return {member.credential for handle in handles for member in handle.roster()}

    def saw(self, pipe: Pipe, frame: frames.ClientFrame) -> None:
        """A relay sees a frame."""
        self.frames += 1
        if isinstance(frame, frames.Append):
            self._append(pipe, frame)
        elif isinstance(frame, frames.Ack):
            channel, person = self._where(pipe, frame.handle)
            row = person.database.first(Channel, "channel = ?", channel)
            assert row is None or row.cursor >= frame.seq, "acknowledged before it was durable"

    def _where(self, pipe: Pipe, handle: int) -> tuple[ChannelId, Person]:
        opened = pipe.relay.core._at(pipe._peer, handle)
        assert opened is not None
        return opened.channel.channel_id, next(person for person in self._people if pipe in person.pipes.values())

    def _append(self, pipe: Pipe, frame: frames.Append) -> None:
        channel, person = self._where(pipe, frame.handle)
        nonce, entry = (channel, frame.entry[:12]), bytes(frame.entry)
        assert self._outer.setdefault(nonce, entry) == entry, "an outer nonce was used twice"
        row = person.database.first(Channel, "channel = ?", channel)
        if row is not None:
            self._seal_keys[channel] = row.seal_key
        key = self._seal_keys.get(channel)
        if key is None or frame.entry_class is not EntryClass.MESSAGE:
            return
        kind, body = sealing.unseal(key, channel, entry_class=EntryClass.MESSAGE, entry=entry)
        if kind is not sealing.BodyKind.MLS:
            return
        digest = hashlib.sha256(body).digest()
        if digest in self._seen:
            return
        self._seen.add(digest)
        epoch = (body[5 : 5 + body[4]], int.from_bytes(body[5 + body[4] : 13 + body[4]]))
        assert body[13 + body[4]] == APPLICATION
        own = person.database.first(Conversation, "conversation = ?", epoch[0])
        if own is not None:
            self._ciphertext(epoch, own.own_leaf, body)

    def _ciphertext(self, epoch: tuple[bytes, int], sender: int, ciphertext: bytes) -> None:
        handle = next((handle for leaf, handle in self._handles[epoch].items() if leaf != sender), None)
        if handle is None:
            self._waiting[epoch].append((sender, ciphertext))
            return
        try:
            found = handle.process(ciphertext)
            self.decrypted += 1
            if self.heard is not None and isinstance(found, mls.Application):
                self.heard(epoch, found.plaintext)
        except mls.Replay:
            raise AssertionError("a key and nonce were used twice") from None
        except HanaError:
            pass  # too far out of order for this handle, or of another history: says nothing


@contextmanager
def watching() -> Iterator[list[Witness]]:
    """While it lasts, whoever merges or joins is seen by the witnesses in the list."""
    witnesses: list[Witness] = []
    moved: dict[bytes, mls.Writes] = {}  # what the last merge or join of a group is about to store
    staged_merge, pending_merge, join = mls.Group.staged_merge, mls.Group.pending_merge, mls.StagedWelcome.join
    write = Database.mls_write

    def _staged(self: mls.Group) -> mls.Writes:
        group = self.group_id
        moved[group] = staged_merge(self)
        return moved[group]

    def _pending(self: mls.Group) -> mls.Writes:
        group = self.group_id
        moved[group] = pending_merge(self)
        return moved[group]

    def _joined(self: mls.StagedWelcome) -> tuple[mls.Group, mls.Writes]:
        group, writes = join(self)
        moved[self.group_id] = writes
        return group, writes

    def _write(self: Database, owner: bytes, writes: MlsWrites) -> None:
        write(self, owner, writes)
        expected = moved.get(owner)
        if expected and any(each is expected[0] for each in writes):  # a merge that was never stored is none
            del moved[owner]
            for witness in witnesses:
                witness.entered(self, ConversationId(owner))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mls.Group, "staged_merge", _staged)
        patch.setattr(mls.Group, "pending_merge", _pending)
        patch.setattr(mls.StagedWelcome, "join", _joined)
        patch.setattr(Database, "mls_write", _write)
        yield witnesses
