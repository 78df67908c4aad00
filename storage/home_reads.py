"""Reading the sessions of a home, whoever writes them: what queries and followers ask (03 7).

A session that is open is read from its live store, any other from its files.
"""

from __future__ import annotations

from ..actors.errors import SessionNotFoundError, StorageError
from ..actors.model.ids import normalize_stored_session_id
from .readonly import SessionReader
from .session_store import SessionStore
from .stored_sessions import RowsPage, StoredSessions


class HomeReads:
    """The reads of a home, for the hub's thread; the readers are for any."""

    def __init__(self, stored: StoredSessions) -> None:
        self.stored = stored
        """The sessions that nobody has open."""
        self._open: dict[str, SessionStore] = {}

    def is_open(self, session_id: str) -> bool:
        """Whether a session has a live store."""
        return session_id in self._open

    def reader(self, session_id: str) -> SessionReader:
        """Read a session, live or stored; the caller closes the reader.

        :raises SessionNotFoundError: no such session, or no safe id.
        :raises StorageError: its journal can not be read.
        """
        session_id = normalize_stored_session_id(session_id, "read")
        live = self._open.get(session_id)
        return self.stored.open(session_id) if live is None else live.reader()

    def session_ids(self) -> list[str]:
        """The ids of all stored sessions, sorted."""
        return self.stored.ids()

    def head(self, session_id: str) -> tuple[int, int]:
        """The cursor after everything committed; ``(0, 0)`` for a session without a journal.

        :raises SessionNotFoundError: no such session.
        :raises StorageError: its journal can not be read.
        """
        session_id = normalize_stored_session_id(session_id, "read")
        live = self._open.get(session_id)
        return self.stored.head(session_id) if live is None else live.head()

    def heads(self) -> dict[str, tuple[int, int]]:
        """The head of every stored session that can be read, by id."""
        heads = {}
        for session_id in self.session_ids():
            try:
                heads[session_id] = self.head(session_id)
            except (StorageError, SessionNotFoundError):
                # A damaged or just deleted session must not hide the others from a subscriber.
                continue
        return heads

    def rows_after(self, session_id: str, epoch: int, sequence: int, bytes_max: int) -> RowsPage:
        """The next rows for a follower whose cursor is ``(epoch, sequence)``.

        ``(0, 0)`` is the beginning. Committed rows only; at least one if there is one.

        :raises SessionNotFoundError: no such session.
        :raises StorageError: its journal can not be read.
        """
        session_id = normalize_stored_session_id(session_id, "read")
        source: SessionStore | SessionReader | None = self._open.get(session_id)
        if source is None:
            source = self.stored.cached(session_id)
        head_epoch, head_sequence = source.head()
        place = source.resolve(epoch, sequence)
        rows = source.rows_after(place.sequence, bytes_max=bytes_max, until=head_sequence)
        return RowsPage(rows, head_epoch, head_sequence, place.reset)
