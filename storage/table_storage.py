"""A TinyDB storage that appends: one journal, its index, and when it is synced (03 14).

Memory holds the place of each document; a document is read when it is asked for. All changes of one
:meth:`JournalStorage.commit` are one record: after a crash all of them are there, or none.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import StrEnum
from os import fspath
from pathlib import Path
from typing import Any

from tinydb.storages import Storage

from ..actors.errors import (
    StorageError,
    StoreCorruptError,
    StoreValidationError,
)
from .files import FileSystem, OsFileSystem
from .format.operations import (
    DocID,
    DropTable,
    Location,
    Operation,
    Put,
    Remove,
    decode_document,
    encode_document,
    encode_payload,
)
from .format.snapshot import empty_table, is_compaction_due
from .format.table_index import TableHistory
from .journal import RecoveryReport
from .journal_view import JournalView
from .table_journal import Source, TableJournal, recover_tables

_log = logging.getLogger(__name__)
TABLES = "tables"
"""Kind of a journal that is used alone."""
GROUP_RECORDS = 64
"""Commits between two syncs of ``sync="group"``."""
WORK_RATIO = 3
"""Bytes a compaction reads or writes for each byte that is appended meanwhile."""
NEVER = 1 << 63
"""Longer than any journal."""
RETRY_RATIO = 1.5
"""How much longer than when it failed a journal is when its compaction is tried again."""
EPOCH = 1
"""A database used alone has no followers, and so one epoch only."""


class Sync(StrEnum):
    """When a call's changes are on the medium."""

    EACH = "each"
    GROUP = "group"
    NONE = "none"


class JournalStorage(Storage):
    """A TinyDB storage on one journal.

    :param path: the journal; made when missing.
    :param create_dirs: make missing parent directories.
    :param sync: ``each``, ``group`` or ``none``.
    :param kind: what the file is; with ``name``, whose. A session's own journals are read with
        ``kind="events"`` or ``"state"``, ``name`` its id and ``read_only=True``.
    :param read_only: create and change nothing; a torn tail is left out.

    Damage before whole records leaves the correct prefix; what follows it is set aside beside the
    file (or only left out, when reading), and ``report`` and the log of the program say so.

    :raises StoreCorruptError: the file is no such journal.
    :raises StorageError: the file can not be opened or read.
    """

    def __init__(
        self,
        path: str | Path,
        create_dirs: bool = False,
        *,
        sync: str = Sync.EACH,
        kind: str = TABLES,
        name: str = "",
        read_only: bool = False,
        fs: FileSystem | None = None,
    ) -> None:
        self._sync = Sync(sync)
        self._history = TableHistory()
        self._unsynced = 0
        self._compact_at = NEVER if read_only else 0
        self.compaction_error: StorageError | None = None
        """Why the last compaction failed, until one succeeded."""
        fs = fs or OsFileSystem()
        self._journal: TableJournal | JournalView
        if read_only:
            self._journal = JournalView(fs, fspath(path), kind, name, self._history)
            return
        if create_dirs:
            fs.make_parents(fspath(path))
        self._history, self._journal = recover_tables(
            fs, fspath(path), kind=kind, name=name, begin_anew=False
        )
        if self.report.quarantine:
            _log.warning(
                "%s: damaged at byte %s; what follows was set aside as %s",
                self.report.path,
                self.report.damage,
                self.report.quarantine,
            )

    @property
    def report(self) -> RecoveryReport:
        """What opening found: how many records; whether a torn tail was cut or left out; where
        damage begins, and as what it was set aside.
        """
        return self._journal.report

    @property
    def size(self) -> int:
        """Length of the journal in bytes."""
        return self._journal.size

    @property
    def source(self) -> Source | JournalView:
        """What the present places are read from, however much is changed meanwhile."""
        return self._journal.source

    def places(self, table: str) -> dict[DocID, Location]:
        """Where each document of a table lies; not to be changed."""
        return self._history.index.tables.get(table, {})

    def table_names(self) -> set[str]:
        """The tables that exist, also empty ones."""
        return set(self._history.index.tables)

    def load(self, place: Location, source: Source | JournalView | None = None) -> dict[str, Any]:
        """The document at a place; earlier versions stay readable.

        :param source: what the place was taken for, when something was written since.
        :raises StoreCorruptError: what lies there is no document.
        """
        try:
            return decode_document((source or self._journal.source).read(*place))
        except StoreValidationError as error:
            path, offset = self._journal.path, place.offset
            raise StoreCorruptError(f"{path}: {error}", path=path, offset=offset) from error

    def commit(self, operations: list[Operation]) -> None:
        """Append operations as one record, all or nothing; none is no record.

        :raises StoreValidationError: they can not be encoded, or are too long for one record.
        :raises StorageError: they were not written.
        :raises StoreSyncFailedError: they may not be on the medium; the storage takes no more.
        """
        if not operations:
            return
        payload = encode_payload(EPOCH, self._history.number + 1, operations)
        (position,) = self._journal.append([payload])
        self._unsynced += 1
        self._history.commit(position, payload, operations)
        if self._sync is Sync.EACH or (
            self._sync is Sync.GROUP and self._unsynced >= GROUP_RECORDS
        ):
            self.sync()
        if self._journal.is_compacting or self._is_compaction_due():
            self._compact(WORK_RATIO * len(payload))

    def sync(self) -> None:
        """Return when every change so far is on the medium.

        :raises StoreSyncFailedError: it may not be.
        """
        self._journal.sync()
        self._unsynced = 0

    def close(self) -> None:
        """Compact what is worth it, sync, unless ``sync="none"``, and close; once."""
        try:
            if self._journal.is_compacting or self._is_compaction_due(ending=True):
                while self._compact(self.size):
                    continue
            if self._unsynced and self._sync is not Sync.NONE:
                self.sync()
        finally:
            self._unsynced = 0
            self._compact_at = NEVER
            self._journal.close()

    # The two calls of a stock TinyDB.

    def read(self) -> dict[str, dict[str, Any]] | None:
        """The whole database in memory; ``None`` when it has no tables."""
        tables = {
            name: {str(doc_id): self.load(place) for doc_id, place in places.items()}
            for name, places in self._history.index.tables.items()
        }
        return tables or None

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        """Make the database equal to ``data`` by appending the difference."""
        operations: list[Operation] = [
            DropTable(name) for name in self._history.index.tables if name not in data
        ]
        for name, documents in data.items():
            operations += self.difference(name, documents)
        self.commit(operations)

    def difference(self, table: str, documents: Mapping[Any, Any]) -> list[Operation]:
        """The operations that make a table equal to ``documents``."""
        places = self.places(table)
        wanted = {stored_id(doc_id): document for doc_id, document in documents.items()}
        operations: list[Operation] = [
            Remove(table, doc_id) for doc_id in places if doc_id not in wanted
        ]
        for doc_id, document in wanted.items():
            encoded = encode_document(document)
            place = places.get(doc_id)
            if place is None or self.source.read(*place) != encoded:
                operations.append(Put(table, doc_id, encoded))
        if not wanted and table not in self._history.index.tables:
            operations += empty_table(table)
        return operations

    def _is_compaction_due(self, *, ending: bool = False) -> bool:
        history = self._history
        return self.size >= self._compact_at and is_compaction_due(
            self.size, history.records, history.index.live_bytes, ending=ending
        )

    def _compact(self, budget: int) -> bool:
        """Go on with the compaction; whether there is more to do. That it fails fails no write."""
        try:
            compacted = self._journal.compact(budget)
        except StorageError as error:
            self.compaction_error = error
            self._compact_at = int(self.size * RETRY_RATIO)
            return False
        if compacted is None:
            return True
        self._history = compacted.history
        self._unsynced = 0
        self._compact_at = 0
        self.compaction_error = None
        return False


def stored_id(doc_id: Any) -> DocID:
    """The id as it is stored: an integer wherever it is one, also where it came as text."""
    if isinstance(doc_id, int):
        return int(doc_id)
    text = str(doc_id)
    return int(text) if text.isdecimal() and str(int(text)) == text else text
