"""Reading a session's store without owning it (03 4, 7).

:class:`SessionReader` is what every read of a store offers; the live store has one, and
:class:`ReadOnlySessionStore` is one over the files of a session that nobody writes. Opening
creates nothing, repairs nothing and takes no lock.
"""

from __future__ import annotations

from typing import Any, NoReturn, Protocol

from ..actors.errors import (
    ReadOnlyRecordEventsError,
    ReadOnlyRecordTokenUsageError,
    StoreClosedError,
)
from ..actors.model.event import SessionEvent
from ..actors.model.query import EventQuery, TurnHistory
from .event_rows import Cursor, EventRows
from .files import FileSystem, OsFileSystem
from .format.operations import DocID
from .journal import RecoveryReport
from .session_files import read_event_rows, read_state
from .state_documents import StateDocuments
from .table_file import HeldFile


class StateReader(Protocol):
    """The tables of one session's state, to be read."""

    def document(self, table: str, doc_id: DocID) -> dict[str, Any] | None:
        """A committed document, or ``None``."""

    def documents(self, table: str) -> dict[DocID, dict[str, Any]]:
        """All committed documents of a table by id."""


class SessionReader:
    """Reads of one session. Committed rows only; safe in any thread."""

    __slots__ = ("_closed", "_rows", "_state", "session_id")

    def __init__(self, session_id: str, rows: EventRows, state: StateReader) -> None:
        self.session_id = session_id
        self._rows = rows
        self._state = state
        self._closed = False

    @property
    def path(self) -> str:
        """The ``events.journal``."""
        return self._rows.path

    def epoch(self) -> int:
        """Epoch of the last committed record; 0 for an empty store."""
        return self._readable().epoch

    def last_sequence(self) -> int:
        """Sequence of the last committed row; 0 when there is none."""
        return self._readable().committed

    def head(self) -> tuple[int, int]:
        """The cursor after everything committed."""
        rows = self._readable()
        return rows.epoch, rows.committed

    def epochs(self) -> frozenset[int]:
        """The epochs this conversation was written in; a cleared one had others."""
        return self._readable().epochs

    def resolve(self, epoch: int, sequence: int) -> Cursor:
        """Where a follower goes on; see :meth:`EventRows.resolve`."""
        return self._readable().resolve(epoch, sequence)

    def query(self, query: EventQuery) -> list[SessionEvent]:
        """The events asked for, ascending by sequence (03 7).

        :raises StoreClosedError: this reader is closed.
        :raises StorageError: the journal can not be read.
        """
        return self._readable().query(query)

    def history(self, query: EventQuery) -> list[TurnHistory]:
        """The same, grouped by turn; errors as :meth:`query`."""
        return self._readable().history(query)

    def rows_after(self, sequence: int, *, bytes_max: int, until: int | None = None) -> list[bytes]:
        """Raw rows after ``sequence``, up to ``bytes_max`` bytes but at least one."""
        return self._readable().rows_after(sequence, bytes_max=bytes_max, until=until)

    def state_document(self, table: str, doc_id: DocID) -> dict[str, Any] | None:
        """One committed document of the state, or ``None``."""
        self._readable()
        return self._state.document(table, doc_id)

    def state_documents(self, table: str) -> dict[DocID, dict[str, Any]]:
        """All committed documents of a table of the state, by id."""
        self._readable()
        return self._state.documents(table)

    def record(self, *_: object, **__: object) -> NoReturn:
        """:raises ReadOnlyRecordEventsError: always."""
        raise ReadOnlyRecordEventsError(
            f'record "{self.session_id}": the store is read-only',
            session_id=self.session_id,
            operation="record",
        )

    def record_token_usage(self, *_: object, **__: object) -> NoReturn:
        """:raises ReadOnlyRecordTokenUsageError: always."""
        raise ReadOnlyRecordTokenUsageError(
            f'record usage "{self.session_id}": the store is read-only',
            session_id=self.session_id,
            operation="record_token_usage",
        )

    def close(self) -> None:
        """End this reader; the store it reads is not touched. A second call does nothing."""
        self._closed = True

    def _readable(self) -> EventRows:
        if self._closed:
            raise StoreClosedError(
                f'the store of "{self.session_id}" is closed', session_id=self.session_id
            )
        return self._rows


class ReadOnlySessionStore(SessionReader):
    """The files of a session that no runtime has open.

    ``damage`` is the offset in ``events.journal`` from which on it could not be read, or ``None``.
    """

    __slots__ = ("_stored_state", "report")

    def __init__(
        self, session_id: str, rows: EventRows, state: StoredState, report: RecoveryReport
    ) -> None:
        super().__init__(session_id, rows, state)
        self._stored_state = state
        self.report = report

    @property
    def damage(self) -> int | None:
        """Where damage begins; what lies before it is served."""
        return self.report.damage

    @classmethod
    def open(
        cls, directory: str, session_id: str, fs: FileSystem | None = None
    ) -> ReadOnlySessionStore:
        """Read the journals in a session's directory.

        :raises StorageError: ``events.journal`` is missing or can not be read.
        :raises StoreCorruptError: it has no readable header.
        """
        fs = fs or OsFileSystem()
        rows, report = read_event_rows(fs, directory, session_id)
        return cls(session_id, rows, StoredState(fs, directory, session_id), report)

    def close(self) -> None:
        """See :meth:`SessionReader.close`."""
        super().close()
        self._stored_state.close()


class StoredState:
    """The state of a session that no runtime has open, read when it is first asked for.

    From then on the file is held: its name may be given to another.
    """

    __slots__ = ("_directory", "_fs", "_read", "_session_id")

    def __init__(self, fs: FileSystem, directory: str, session_id: str) -> None:
        self._fs = fs
        self._directory = directory
        self._session_id = session_id
        self._read: tuple[StateDocuments, HeldFile] | None = None

    def document(self, table: str, doc_id: DocID) -> dict[str, Any] | None:
        """A document, or ``None``."""
        return self._documents().document(table, doc_id)

    def documents(self, table: str) -> dict[DocID, dict[str, Any]]:
        """All documents of a table by id."""
        return self._documents().documents(table)

    def close(self) -> None:
        """Give the file back."""
        if self._read is not None:
            self._read[1].close()

    def _documents(self) -> StateDocuments:
        if self._read is None:
            self._read = read_state(self._fs, self._directory, self._session_id)
        return self._read[0]
