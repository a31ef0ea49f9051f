"""Attachments as a person's calls see them: writing one, fetching, what is here to be read."""

from collections.abc import Iterable, Iterator

import msgspec

from hanatalk.client import calls
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.files import downloads, transfers
from hanatalk.client.engine.files.uploads import Staged
from hanatalk.client.engine.formats import chunking
from hanatalk.client.engine.formats.content import Fate
from hanatalk.client.engine.formats.references import Reference
from hanatalk.client.engine.messages import attached
from hanatalk.client.engine.seen import views
from hanatalk.errors import ContentError, UsageError
from hanatalk.ids import MessageId
from hanatalk.localdb.chunks import ChunkFiles
from hanatalk.localdb.rows import Attachment, Message, MessageKind, Transfer


class Readable(msgspec.Struct, frozen=True):
    """An attachment that is here, every chunk of it. Reading needs neither the database nor its thread."""

    name: str  # as its sender calls it
    type: str
    size: int
    _files: ChunkFiles
    _file: str
    _reference: Reference

    def __iter__(self) -> Iterator[bytes]:
        """:raises ContentError: ``attachment.damaged``; :raises StorageError: it is gone, or the disk said no"""
        return chunking.read(self._files, self._file, self._reference)

    def __repr__(self) -> str:
        return f"Readable(size={self.size})"


class Attachments:
    """Part of the engine's face."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def writer(self, *, size: int | None = None) -> chunking.Writer:
        """A new sealed file, for any thread; it may be dropped. :raises StorageError: ``storage.full``"""
        return chunking.Writer(self._core.db.files, size=size)

    def drop(self, staged: Iterable[Staged]) -> None:
        """No message comes for these."""
        for each in staged:
            self._core.db.files.remove(each.sealed.name)

    def fetch(self, message: str, now: int) -> MessageId:
        """Fetch what of a message's attachments is not here.

        :raises UsageError: ``message.unknown``, ``name.ambiguous``, ``attachment.none``
        :raises ContentError: ``attachment.relay``, ``attachment.damaged``; :raises StorageError: ``storage.full``
        """
        found, rows = self._rows(message)
        with self._core.transaction():
            for row in rows:
                downloads.fetch(self._core, row)
        return found

    def cancel(self, message: str) -> MessageId:
        """Stop fetching; what is here of it goes. :raises UsageError: as `fetch`, and ``attachment.own``"""
        found, rows = self._rows(message)
        with self._core.transaction():
            for row in rows:
                downloads.cancel(self._core, row)
        return found

    def transfer(self, message: MessageId) -> calls.Transfer:
        """How far a message's attachments are."""
        rows = attached.rows(self._core, message)
        states = {transfers.STATES[Transfer(row.state)] for row in rows}
        state = next((state for state in transfers.URGENT if state in states), "here")
        return calls.Transfer(
            message=message.hex(),
            state=state,
            done=sum(transfers.done(self._core, row) for row in rows),
            size=sum(row.size for row in rows),
            failure=next((row.failure for row in rows if row.failure), None),
            sent=self._sent(message),
        )

    def _sent(self, message: MessageId) -> str | None:
        row = self._core.db.first(Message, "message = ?", message)
        own = row is not None and row.device == self._core.identity.device.key
        return views.state(self._core, row) if row is not None and own else None

    def relays(self, message: MessageId) -> set[str]:
        """Where they are fetched from, or brought to."""
        return {row.relay for row in attached.rows(self._core, message)}

    def of(self, message: str) -> bool:
        """Whether a message has any. :raises UsageError: ``message.unknown``, ``name.ambiguous``"""
        return bool(attached.rows(self._core, views.resolve_message(self._core, message).message))

    def readable(self, message: str, *, once: bool = False) -> list[Readable]:
        """A message's attachments, all of which are here.

        :param once: it is to be seen for the only time (HT-C-113): what can be seen once is not read otherwise
        :raises UsageError: as `fetch`, and ``message.gone``, ``view.hidden``
        :raises ContentError: ``attachment.remote``, or why one was refused
        """
        _, rows = self._rows(message)
        said_by = views.resolve_message(self._core, message)
        if said_by.kind != MessageKind.PERSON or said_by.recalled:
            raise UsageError("message.gone")
        if said_by.fate == Fate.ONCE and not once:
            raise UsageError("view.hidden")
        found = []
        for row in rows:
            said = downloads.reference(self._core, row)
            if said is None or row.file is None or row.state not in (*transfers.WHOLE,):
                raise ContentError(row.failure or "attachment.remote")
            found.append(Readable(said.name, said.type, said.size, self._core.db.files, row.file, said))
        return found

    def _rows(self, message: str) -> tuple[MessageId, list[Attachment]]:
        row = views.resolve_message(self._core, message)
        rows = attached.rows(self._core, row.message)
        if not rows:
            raise UsageError("attachment.none", message=message)
        return row.message, rows
