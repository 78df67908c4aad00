"""Reading a session's store without owning it (03 4, 7).

:class:`SessionReader` is what every read of a store offers; the live store has one, and
:class:`ReadOnlySessionStore` is one over the files of a session that nobody writes. Opening
creates nothing, repairs nothing and takes no lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from ..actors.errors import (
    ReadOnlyRecordEventsError,
    ReadOnlyRecordTokenUsageError,
    StoreClosedError,
)
from ..actors.model.event import SessionEvent
from ..actors.model.query import EventQuery, TurnHistory
from .event_rows import Cursor, EventRows
from .files import File, FileSystem, OsFileSystem
from .format.operations import DocID
from .journal import RecoveryReport, read_journal
from .layout import STATE
from .session_files import read_event_rows
from .state_documents import StateDocuments


class SessionReader:
    """Reads of one session. Committed rows only; safe in any thread."""

    __slots__ = ("_closed", "_rows", "_state", "session_id")

    def __init__(self, session_id: str, rows: EventRows, state: StateDocuments) -> None:
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

    __slots__ = ("report",)

    def __init__(
        self, session_id: str, rows: EventRows, state: StateDocuments, report: RecoveryReport
    ) -> None:
        super().__init__(session_id, rows, state)
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
        state = StateDocuments(*_opener(fs, f"{directory}/{STATE}.journal"))
        if fs.exists(state.path):
            file, _ = read_journal(fs, state.path, kind=STATE, name=session_id, replay=state.replay)
            file.close()
        return cls(session_id, rows, state, report)


def _opener(fs: FileSystem, path: str) -> tuple[str, Callable[[], File]]:
    return path, lambda: fs.open_read(path)
