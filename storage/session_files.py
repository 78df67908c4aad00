"""Opening the journals of one session: for writing, with what was damaged set aside, or to read.

Rules owned here (03 4.6, 14.1): sealed parts are taken in by their indexes, and read where an
index is missing; damage before the end leaves the correct prefix, and what a writable open can
not serve goes to ``<file>.corrupt.<stamp>``, at most once per open; the epoch after damage is
above every one that the lost records may have had.
"""

from __future__ import annotations

import dataclasses

from ..actors.errors import StoreCorruptError
from .event_files import EventFiles, SealedPart
from .event_rows import EventRows
from .files import FileSystem
from .format.table_index import TableHistory
from .journal import RecoveryReport, read_journal
from .layout import EVENTS, STATE
from .quarantine import Quarantine, set_aside
from .segmented_journal import (
    SegmentedJournal,
    open_events,
    part_facts,
    read_index,
    sealed_names,
)
from .state_documents import StateDocuments
from .table_file import HeldFile
from .table_journal import TableJournal, read_tables, recover_tables


def event_files(fs: FileSystem, directory: str, session_id: str) -> EventFiles:
    """The files of a session's events, none of them looked at."""
    path = f"{directory}/{EVENTS}.journal"
    return EventFiles(path, fs.open_read, kind=EVENTS, name=session_id)


def open_event_rows(
    fs: FileSystem, directory: str, session_id: str
) -> tuple[EventRows, SegmentedJournal]:
    """Open ``events.journal`` for appending, making it when it is missing.

    :raises StoreCorruptError: a header of another session.
    :raises StorageError: a file can not be opened, read or written.
    """
    files = event_files(fs, directory, session_id)
    rows = EventRows(session_id, files)
    damage = _take_sealed(fs, rows)
    lost: Quarantine | None = None
    if damage is not None:
        lost = set_aside(fs, [*damage.paths, files.path], damage.offset, files.path)
        rows = EventRows(session_id, event_files(fs, directory, session_id))
        _take_sealed(fs, rows)
    try:
        journal = _open_tail(fs, rows)
    except StoreCorruptError as error:
        if error.foreign or lost is not None:
            raise
        lost = set_aside(fs, [files.path], error.offset, files.path)
        rows = EventRows(session_id, event_files(fs, directory, session_id))
        _take_sealed(fs, rows)
        journal = _open_tail(fs, rows)
    if lost is not None:
        rows.epoch_floor = lost.epoch
        journal.report = dataclasses.replace(
            journal.report, damage=lost.offset, quarantine=lost.path
        )
    return rows, journal


def read_event_rows(
    fs: FileSystem, directory: str, session_id: str
) -> tuple[EventRows, RecoveryReport]:
    """Read the events of a session and change nothing; damage ends them and is reported.

    :raises StoreCorruptError: no readable header, or one of another session.
    :raises StorageError: ``events.journal`` is missing or can not be read.
    """
    rows = EventRows(session_id, event_files(fs, directory, session_id))
    damage = _take_sealed(fs, rows)
    files = rows.files
    if damage is not None:
        files.tail_path = damage.paths[0]
        return rows, RecoveryReport(damage.paths[0], 0, rows.end, damage=damage.offset)
    shift = files.tail_start - files.header_bytes
    try:
        file, report = read_journal(
            fs,
            files.path,
            kind=EVENTS,
            name=session_id,
            replay=lambda offset, payload: rows.replay(offset + shift, payload),
        )
    except StoreCorruptError as error:
        if error.foreign or not (rows.number or files.sealed):
            raise
        return rows, RecoveryReport(files.path, 0, rows.end, damage=error.offset)
    file.close()
    return rows, report


def open_state(
    fs: FileSystem, directory: str, session_id: str
) -> tuple[StateDocuments, TableJournal]:
    """Open ``state.journal`` for appending, making it when it is missing; errors as the events."""
    path = f"{directory}/{STATE}.journal"
    history, journal = recover_tables(fs, path, kind=STATE, name=session_id, sync_name=False)
    return StateDocuments(path, history, journal.file, journal.end), journal


def read_state(fs: FileSystem, directory: str, session_id: str) -> tuple[StateDocuments, HeldFile]:
    """Read the state of a session and change nothing; without a file it is empty.

    :return: the documents, and the file they are read from, to be closed.

    :raises StoreCorruptError: no readable header, or one of another session.
    :raises StorageError: the file can not be read.
    """
    path = f"{directory}/{STATE}.journal"
    history = TableHistory()
    if not fs.exists(path):
        nothing = HeldFile(None)
        return StateDocuments(path, history, nothing, 0), nothing
    file, report = read_tables(fs, path, history, kind=STATE, name=session_id)
    held = HeldFile(file)
    return StateDocuments(path, history, held, report.end), held


def _open_tail(fs: FileSystem, rows: EventRows) -> SegmentedJournal:
    journal = open_events(
        fs, rows.files, name=rows.session_id, replay=rows.replay, indexed=rows.index_of
    )
    rows.end = journal.end
    return journal


class _Damage:
    """Where the sealed parts stop being whole: an offset in the first of ``paths``."""

    def __init__(self, paths: list[str], offset: int) -> None:
        self.paths = paths
        self.offset = offset


def _take_sealed(fs: FileSystem, rows: EventRows) -> _Damage | None:
    names = sealed_names(fs, rows.path)
    for number, path in enumerate(names):
        try:
            _take_part(fs, rows, path)
        except StoreCorruptError as error:
            if error.foreign:
                raise
            return _Damage(names[number:], error.offset)
    return None


def _take_part(fs: FileSystem, rows: EventRows, path: str) -> None:
    files = rows.files
    start = files.tail_start
    index = read_index(fs, path, rows.session_id, start)
    if index is not None and rows.take_index(index):
        part = SealedPart(path, start, index.end, index.number, index.last_number, index.epoch)
        part.blocks = index.blocks
        files.seal(part)
        return
    shift = start - files.header_bytes
    file, report = read_journal(
        fs,
        path,
        kind=EVENTS,
        name=rows.session_id,
        replay=lambda offset, payload: rows.replay(offset + shift, payload),
    )
    file.close()
    if report.damage is not None or report.torn_bytes or not report.records:
        raise StoreCorruptError(
            f"{path} is damaged at byte {report.end}", path=path, offset=report.end
        )
    first, last, epoch = part_facts(fs, path, EVENTS, rows.session_id)
    files.seal(SealedPart(path, start, rows.end, first, last, epoch))
