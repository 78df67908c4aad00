"""All sessions of a home without opening each: rows in ``catalog.journal`` (03 14.2, 01 16.4).

A row holds the meta document of one session and the stamp of the file it was read from: time of
change, length and inode. ``meta.json`` is replaced by a rename, so whoever wrote it, and whenever,
the stamp tells. Rules owned here:

- A row is believed while its stamp is that of the file; else the document is read, and the row put
  again. So the catalog is never ahead of, or behind, the sessions: it can be deleted at any time.
- The row of a session whose document is gone goes too.
- What can not be written to the catalog is read again the next time; that is all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..actors.errors import SessionError, SessionNotFoundError, StorageError
from ..actors.model.session import SessionMeta
from .format.operations import DocID, Operation, Put, Remove, encode_document
from .meta import read_meta
from .table_storage import JournalStorage

CATALOG_FILE = "catalog.journal"
SESSIONS_TABLE = "sessions"
META_FILE = "meta.json"
ROWS_PER_COMMIT = 1000
"""Rows put by one record of the journal."""

Stamp = tuple[int, int, int]


class Listed(NamedTuple):
    """One session that has a meta document: the document, or why it can not be read.

    :param read: whether the document was read, and not its row.
    """

    session_id: str
    meta: SessionMeta | None
    error: SessionError | None = None
    read: bool = False


class SessionCatalog:
    """The rows of a home's sessions. All methods do file work, and are for one thread.

    :param storage: ``catalog.journal``; ``None`` has no rows. A read-only one is not written.
    :param sessions: the directory of the sessions; it may be missing.
    """

    def __init__(
        self, storage: JournalStorage | None, sessions: Path, *, read_only: bool = False
    ) -> None:
        self.storage = storage
        """Where the rows are."""
        self._sessions = sessions
        self._read_only = read_only or storage is None
        self._decode = msgspec.json.Decoder(SessionMeta).decode
        self.error: StorageError | None = None
        """Why rows could not be read or put, until they could."""

    def sessions(self) -> Iterator[Listed]:
        """Every session that has a meta document, in no order; rows are brought up to date.

        :raises StorageError: the directory of the sessions can not be read.
        """
        changes: list[Operation] = []
        seen: set[DocID] = set()
        for session_id, stamp in self._stamps():
            seen.add(session_id)
            meta = self._believed(session_id, stamp)
            if meta is not None:
                yield Listed(session_id, meta)
                continue
            try:
                meta = read_meta(self._sessions / session_id / META_FILE)
            except SessionNotFoundError:
                continue
            except SessionError as error:
                yield Listed(session_id, None, error, read=True)
                continue
            yield Listed(session_id, meta, read=True)
            changes.append(_row(session_id, stamp, meta))
            if len(changes) >= ROWS_PER_COMMIT:
                self._commit(changes)
                changes = []
        changes += [Remove(SESSIONS_TABLE, row_id) for row_id in self.rows() if row_id not in seen]
        self._commit(changes)

    def rows(self) -> list[DocID]:
        """The ids that have a row, whether there is such a session or not."""
        return [] if self.storage is None else list(self.storage.places(SESSIONS_TABLE))

    def _believed(self, session_id: str, stamp: Stamp) -> SessionMeta | None:
        if self.storage is None:
            return None
        place = self.storage.places(SESSIONS_TABLE).get(session_id)
        if place is None:
            return None
        try:
            row = self.storage.load(place)
            if row.get("stamp") != list(stamp):
                return None
            return self._decode(row["meta"])
        except StorageError as error:
            self.error = error
            return None
        except (KeyError, TypeError, msgspec.MsgspecError):
            # A row of another version: read again, and put anew.
            return None

    def _commit(self, changes: list[Operation]) -> None:
        if not changes or self._read_only or self.storage is None:
            return
        try:
            self.storage.commit(changes)
            self.error = None
        except StorageError as error:
            self.error = error

    def _stamps(self) -> Iterator[tuple[str, Stamp]]:
        try:
            with os.scandir(self._sessions) as entries:
                for entry in entries:
                    try:
                        found = os.stat(f"{entry.path}/{META_FILE}")
                    except (FileNotFoundError, NotADirectoryError):
                        continue
                    yield entry.name, (found.st_mtime_ns, found.st_size, found.st_ino)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(
                f"list {self._sessions}: {error.strerror or error}",
                operation="list",
                path=str(self._sessions),
            ) from error


def view_catalog(home: Path) -> SessionCatalog:
    """The sessions of a home, whoever owns it; nothing is made or written.

    A catalog that is missing or damaged has no rows.
    """
    path = home / CATALOG_FILE
    storage: JournalStorage | None = None
    with contextlib.suppress(StorageError):
        if path.exists():
            storage = JournalStorage(path, read_only=True)
    return SessionCatalog(storage, home / "sessions", read_only=True)


def _row(session_id: str, stamp: Stamp, meta: SessionMeta) -> Operation:
    row = {"stamp": list(stamp), "meta": msgspec.json.encode(meta).decode()}
    return Put(SESSIONS_TABLE, session_id, encode_document(row))
