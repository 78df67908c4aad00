"""The sessions of a home that nobody has open: which there are, and reading them.

Heads are remembered and a few readers kept, so that answering a follower page by page does not
read a journal from its beginning each time. Both are forgotten when the session is opened.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import NamedTuple

from ..actors.errors import SessionNotFoundError, StorageError
from .clear_files import commit_clear, finish_clear, undo_clear
from .files import FileSystem
from .layout import EVENTS, Layout
from .readonly import ReadOnlySessionStore

READERS_MAX = 4
"""Readers kept for the next page of a catch-up."""
HEADS_MAX = 65536
"""Heads remembered."""


class RowsPage(NamedTuple):
    """An answer to a follower: the next rows, and where the session stands.

    ``reset`` says that the follower's cursor is not in this store; the rows then begin at the
    first row of the latest epoch that the store shares with the cursor (else at the first row).
    """

    rows: list[bytes]
    head_epoch: int
    head_sequence: int
    reset: bool


class StoredSessions:
    """The closed sessions under one home."""

    def __init__(self, layout: Layout, fs: FileSystem) -> None:
        self._layout = layout
        self._fs = fs
        self._readers: OrderedDict[str, ReadOnlySessionStore] = OrderedDict()
        self._heads: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self.clearing: set[str] = set()
        """Sessions whose clear is under way: what is set aside stays there meanwhile."""

    def ids(self) -> list[str]:
        """The names of all session directories that hold a journal or a meta document."""
        return [
            name
            for name in self._fs.names(self._layout.sessions)
            if self.has_journal(name) or self._fs.exists(self._layout.meta(name))
        ]

    def open(self, session_id: str) -> ReadOnlySessionStore:
        """Read a session's journals.

        :raises SessionNotFoundError: it has no ``events.journal``.
        :raises StorageError: the journal can not be read.
        """
        self.finish_clear(session_id)
        if not self.has_journal(session_id):
            raise session_not_found(session_id, "read")
        return ReadOnlySessionStore.open(self._layout.session(session_id), session_id, self._fs)

    def cached(self, session_id: str) -> ReadOnlySessionStore:
        """The same, kept for next time; not to be closed by the caller."""
        if not self.has_journal(session_id):
            self.finish_clear(session_id)
        if not self.has_journal(session_id):
            self.forget(session_id)
            raise session_not_found(session_id, "read")
        reader = self._readers.get(session_id)
        if reader is None:
            reader = self._readers[session_id] = self.open(session_id)
            if len(self._readers) > READERS_MAX:
                self._readers.popitem(last=False)
        self._readers.move_to_end(session_id)
        return reader

    def head(self, session_id: str) -> tuple[int, int]:
        """The cursor after the last row; ``(0, 0)`` for a session that has only a meta document.

        :raises SessionNotFoundError: it has neither.
        :raises StorageError: the journal can not be read.
        """
        if not self.has_journal(session_id):
            self.finish_clear(session_id)
        if not self.has_journal(session_id):
            self.forget(session_id)
            if self._fs.exists(self._layout.meta(session_id)):
                return 0, 0
            raise session_not_found(session_id, "read")
        head = self._heads.get(session_id)
        if head is None:
            head = self.open(session_id).head()
            self.remember(session_id, head)
        return head

    def finish_clear(self, session_id: str) -> None:
        """End a clear that a crash interrupted (03 12.1); one that is under way goes on.

        For the hub's thread, like the beginning of a clear.

        :raises StorageError: a file could not be moved.
        """
        directory = self._layout.session(session_id)
        if session_id not in self.clearing and self._fs.exists(directory):
            finish_clear(self._fs, directory)

    def commit_clear(self, session_id: str) -> None:
        """The new conversation is the session's; what was set aside goes. In any thread.

        :raises StorageError: it could not be made to stay; close it and abandon the clear.
        """
        directory = self._layout.session(session_id)
        commit_clear(self._fs, directory)
        with contextlib.suppress(StorageError):
            # What is left goes with the next opening.
            finish_clear(self._fs, directory)
        self.clearing.discard(session_id)

    def abandon_clear(self, session_id: str) -> None:
        """The old conversation comes back; the new one is closed.

        :raises StorageError: a file could not be moved: the next opening does it.
        """
        self.clearing.discard(session_id)
        self.forget(session_id)
        undo_clear(self._fs, self._layout.session(session_id))

    def remember(self, session_id: str, head: tuple[int, int]) -> None:
        """Keep the head of a session that was closed."""
        self._heads[session_id] = head
        if len(self._heads) > HEADS_MAX:
            self._heads.popitem(last=False)

    def forget(self, session_id: str) -> None:
        """The session is about to change, or is gone."""
        self._heads.pop(session_id, None)
        self._readers.pop(session_id, None)

    def has_journal(self, session_id: str) -> bool:
        """Whether there is a conversation stored of it."""
        return self._fs.exists(self._layout.journal(session_id, EVENTS))


def session_not_found(session_id: str, operation: str) -> SessionNotFoundError:
    """The error of a session that is not stored."""
    return SessionNotFoundError(
        f'{operation}: session "{session_id}" not found', session_id=session_id, operation=operation
    )
