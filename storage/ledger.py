"""The forensic ledger of a stopped session: ``ledger.jsonl``, apart from its home (03 12.3).

Rules owned here: line 1 tells whose it is, one line follows per row; the source is read and not
changed, and one with damage gives no ledger; an equal file stays as it is, one whose events are
the beginning of the new ones is replaced, any other is an error and stays.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec

from ..actors.errors import (
    InvalidLedgerRecordError,
    LedgerExistsError,
    SessionError,
    StorageError,
    StoreCorruptError,
)
from ..actors.model.event import SessionEvent
from ..actors.model.ids import normalize_stored_session_id
from ..actors.model.session import SessionLineage
from .atomic_file import TEMP_PREFIX
from .files import FILE_MODE, OsFileSystem
from .format.rows import decode_row
from .format.times import time_text
from .readonly import ReadOnlySessionStore

LEDGER_FILE = "ledger.jsonl"
UNBOUND = "_unbound"
"""Stands for a workspace without an id."""
VERSION = 1
PAGE_BYTES = 1024 * 1024
"""Bytes of rows held in memory at a time."""


@dataclass(frozen=True, slots=True)
class SessionLedgerRecord:
    """The session a ledger is made of."""

    session_id: str
    events_db_path: str
    workspace_id: str = ""
    agent_name: str = ""
    session_type: str = ""
    lineage: SessionLineage | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class LedgerMaterializer(Protocol):
    """Keeps the ledgers of stopped sessions. Calls do file work, in a thread of their own."""

    def materialize_session_ledger(self, record: SessionLedgerRecord) -> None:
        """Make the ledger of a session that has stopped."""
        ...

    def discard_session_ledger(self, record: SessionLedgerRecord) -> None:
        """Remove it; one that is missing is no error."""
        ...


class FileLedgerMaterializer:
    """Ledgers as ``<root>/<workspace id>/<session id>/ledger.jsonl``.

    :param root: made when missing.
    """

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)

    def path_of(self, record: SessionLedgerRecord) -> Path:
        """Where the ledger of a session is, or would be.

        :raises InvalidLedgerRecordError: an id that is no safe single segment.
        """
        session_id = _segment(record.session_id, "session_id")
        workspace = record.workspace_id.strip() and _segment(record.workspace_id, "workspace_id")
        return self._root / (workspace or UNBOUND) / session_id / LEDGER_FILE

    def materialize_session_ledger(self, record: SessionLedgerRecord) -> None:
        """Make or extend the ledger; see the rules above.

        :raises InvalidLedgerRecordError: an id that is no safe single segment; nothing was read.
        :raises LedgerExistsError: there is one of another history; it stays.
        :raises StoreCorruptError: the source is damaged; nothing was written.
        :raises StorageError: the source can not be read, or the ledger not written.
        """
        path = self.path_of(record)
        fs = OsFileSystem()
        temp = f"{path.parent}/{TEMP_PREFIX}{secrets.token_hex(8)}"
        try:
            fs.make_parents(str(path))
            try:
                file = fs.create(temp, FILE_MODE)
                try:
                    for line in ledger_lines(record):
                        file.append(line)
                    file.sync()
                finally:
                    file.close()
                if _may_replace(path, temp):
                    fs.rename(temp, str(path))
                    fs.sync_directory(str(path.parent))
            finally:
                with contextlib.suppress(FileNotFoundError):
                    fs.remove(temp)
        except OSError as error:
            raise StorageError(
                f"ledger {path}: {error.strerror or error}", operation="ledger", path=str(path)
            ) from error

    def discard_session_ledger(self, record: SessionLedgerRecord) -> None:
        """Remove the ledger, and its directory when nothing else is in it.

        :raises InvalidLedgerRecordError: an id that is no safe single segment.
        :raises StorageError: it could not be removed.
        """
        path = self.path_of(record)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"discard {path}: {error.strerror or error}", operation="ledger", path=str(path)
            ) from error
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def ledger_lines(record: SessionLedgerRecord) -> Iterator[bytes]:
    """The lines of a ledger, from the session's files.

    :raises StoreCorruptError: a file is damaged.
    :raises StorageError: a file can not be read.
    """
    directory = os.path.dirname(record.events_db_path)
    store = ReadOnlySessionStore.open(directory, record.session_id)
    try:
        if store.damage is not None:
            path, offset = store.report.path, store.damage
            raise StoreCorruptError(f"{path} is damaged", path=path, offset=offset)
        yield _line(_head(record))
        sequence, last = 0, store.last_sequence()
        while sequence < last:
            page = store.rows_after(sequence, bytes_max=PAGE_BYTES)
            for row in page:
                yield _line(_event(decode_row(row)))
            sequence += len(page)
    finally:
        store.close()


def _head(record: SessionLedgerRecord) -> dict[str, Any]:
    lineage = record.lineage or SessionLineage()
    return {
        "type": "ledger_meta",
        "version": VERSION,
        "session_id": record.session_id,
        "workspace_id": record.workspace_id,
        **_present(
            spawn_parent_id=lineage.parent_session_id,
            root_session_id=lineage.root_session_id,
            spawn_depth=lineage.spawn_depth,
            agent_name=record.agent_name,
            session_type=str(record.session_type),
            started_at=_time(record.started_at),
            ended_at=_time(record.ended_at),
        ),
    }


def _event(row: SessionEvent) -> dict[str, Any]:
    return {
        "type": "session_event",
        "version": VERSION,
        "session_id": row.session_id,
        "sequence": row.sequence,
        "event_id": row.id,
        **_present(
            turn_id=row.turn_id,
            event_type=row.type,
            agent_name=row.agent_name,
            content=_content(row.content),
            timestamp=_time(row.timestamp),
        ),
    }


def _content(content: str) -> Any:
    """The content as the JSON value it is; other text is a string."""
    try:
        return msgspec.json.decode(content) if content else ""
    except msgspec.DecodeError:
        return content


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value not in ("", None, 0)}


def _time(moment: datetime | None) -> str:
    return "" if moment is None else time_text(moment)


def _line(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _may_replace(path: Path, temp: str) -> bool:
    """Whether the new ledger takes the place of what is there; an equal one need not.

    :raises LedgerExistsError: what is there tells something else.
    """
    try:
        have = path.open("rb")
    except FileNotFoundError:
        return True
    with have, open(temp, "rb") as fresh:
        equal = have.readline() == fresh.readline()
        return not (_begins(have, fresh, path) and equal)


def _begins(have: BinaryIO, fresh: BinaryIO, path: Path) -> bool:
    """Whether the events of both are the same; else the new ones must go on where these end."""
    for old, new in zip_longest(have, fresh):
        if old is None:
            return False
        if old != new:
            raise LedgerExistsError(
                f"ledger {path} tells another history", path=str(path), operation="ledger"
            )
    return True


def _segment(value: str, field: str) -> str:
    try:
        return normalize_stored_session_id(value, "ledger")
    except SessionError as error:
        raise InvalidLedgerRecordError(f"ledger: {field}: {error}", field=field) from error
