"""Looking a home over without changing it: what is damaged, left over, or not what it should be.

Reads every record of every journal; memory holds one session's index at a time. What a running
runtime has open is in motion: of an owned home only what can not be motion is told.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ..actors.errors import SessionError, SessionNotFoundError, StorageError, StoreCorruptError
from ..actors.model.session import State
from .atomic_file import TEMP_PREFIX
from .catalog import CATALOG_FILE, view_catalog
from .clear_files import has_clear
from .files import FileSystem, OsFileSystem
from .journal import RecoveryReport, read_journal
from .layout import EVENTS, STATE, Layout, segment_numbers
from .meta import read_meta
from .readonly import ReadOnlySessionStore
from .replay import ReplayReport, read_segment
from .segmented_journal import part_facts, sealed_names


class Severity(StrEnum):
    """How bad a finding is: ``info`` is no problem."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Problem(StrEnum):
    """What can be found."""

    LOG_DAMAGED = "log_damaged"
    LOG_WAITS = "log_waits"
    JOURNAL_DAMAGED = "journal_damaged"
    JOURNAL_TORN = "journal_torn"
    QUARANTINE = "quarantine"
    CLEAR_INTERRUPTED = "clear_interrupted"
    META_MISSING = "meta_missing"
    META_UNREADABLE = "meta_unreadable"
    SESSION_CUT_OFF = "session_cut_off"
    DIRECTORY_EMPTY = "directory_empty"
    TEMP_FILE = "temp_file"
    CATALOG_DRIFT = "catalog_drift"
    LOCK_STALE = "lock_stale"
    ENDPOINTS_STALE = "endpoints_stale"
    PROCESS_LEFT = "process_left"
    READ_ONLY = "read_only"


@dataclass(frozen=True, slots=True)
class Advice:
    """What a problem means for who has it.

    :param fix: what ``--fix`` does about it; blank when it does nothing.
    """

    severity: Severity
    next_step: str
    fix: str = ""


ADVICE: dict[Problem, Advice] = {
    Problem.LOG_DAMAGED: Advice(
        Severity.ERROR,
        "copy the home, then move the segment away: what it holds beyond the damage is lost",
    ),
    Problem.LOG_WAITS: Advice(
        Severity.INFO, "the next runtime takes it into the journals", "takes it in"
    ),
    Problem.JOURNAL_DAMAGED: Advice(
        Severity.ERROR,
        "the history before the damage can be read; a resume sets the rest aside",
        "sets the damaged bytes aside, beside the journal",
    ),
    Problem.JOURNAL_TORN: Advice(
        Severity.INFO, "a write that was never acknowledged; a resume cuts it off", "cuts it off"
    ),
    Problem.QUARANTINE: Advice(
        Severity.WARNING, "bytes that were set aside earlier; keep or delete the file"
    ),
    Problem.CLEAR_INTERRUPTED: Advice(
        Severity.WARNING, "the next read of the session ends the clear", "ends it"
    ),
    Problem.META_MISSING: Advice(
        Severity.ERROR, "the journals are there, but nothing says whose; `greenroom rm` removes it"
    ),
    Problem.META_UNREADABLE: Advice(
        Severity.ERROR, "restore meta.json from a backup, or remove the session: greenroom rm ID"
    ),
    Problem.SESSION_CUT_OFF: Advice(
        Severity.WARNING, "its runtime ended without stopping it: greenroom repair ID, or resume"
    ),
    Problem.DIRECTORY_EMPTY: Advice(Severity.INFO, "nothing is in it", "removes it"),
    Problem.TEMP_FILE: Advice(
        Severity.INFO, "a write that was cut off left it behind", "removes it"
    ),
    Problem.CATALOG_DRIFT: Advice(
        Severity.INFO, "the next listing brings it up to date", "brings it up to date"
    ),
    Problem.LOCK_STALE: Advice(
        Severity.INFO,
        "a runtime was killed; nobody holds the lock, and it hinders nobody",
        "clears it",
    ),
    Problem.ENDPOINTS_STALE: Advice(
        Severity.WARNING, "nobody serves these addresses any more", "removes the file"
    ),
    Problem.PROCESS_LEFT: Advice(
        Severity.WARNING, "a process of a runtime that ended; the next one ends it", "ends it"
    ),
    Problem.READ_ONLY: Advice(
        Severity.ERROR,
        "the runtime takes no more writes: look at the disk, then stop and start the runtime",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found."""

    problem: Problem
    path: str
    detail: str = ""
    session_id: str = ""

    @property
    def advice(self) -> Advice:
        """What it means, and what can be done."""
        return ADVICE[self.problem]


_LEFTOVER = re.compile(rf"^({re.escape(TEMP_PREFIX)}.*|.*\.part|.*\.compact)$")
_QUARANTINE = re.compile(r".*\.corrupt\.\d{8}T\d{6}\.\d{9}Z$")


def examine(home: Path, *, owned: bool, fs: FileSystem | None = None) -> Iterator[Finding]:
    """Look at everything of a home, the log first; yields as it goes.

    :param owned: whether a runtime has it: what it may be doing just now is no finding.
    :raises StorageError: the home, or its sessions, can not be listed.
    """
    fs = fs or OsFileSystem()
    layout = Layout(home)
    try:
        if not owned:
            yield from _log(fs, layout)
        for name in fs.names(layout.home.as_posix()):
            if _LEFTOVER.match(name):
                yield Finding(Problem.TEMP_FILE, f"{home}/{name}")
        for session_id in session_names(fs, layout):
            yield from examine_session(fs, layout, session_id, owned=owned)
    except OSError as error:
        raise StorageError(
            f"examine {home}: {error.strerror or error}", operation="examine", path=str(home)
        ) from error
    if not owned:
        yield from _catalog(home)


def session_names(fs: FileSystem, layout: Layout) -> list[str]:
    """What lies in the directory of the sessions, sorted.

    :raises OSError: it can not be read.
    """
    return fs.names(layout.sessions) if fs.exists(layout.sessions) else []


def examine_session(
    fs: FileSystem, layout: Layout, session_id: str, *, owned: bool
) -> Iterator[Finding]:
    """Look at one session's directory; see :func:`examine`."""
    directory = layout.session(session_id)
    try:
        names = fs.names(directory)
    except NotADirectoryError:
        return
    if not names:
        yield Finding(Problem.DIRECTORY_EMPTY, directory, session_id=session_id)
        return
    for name in names:
        if _QUARANTINE.match(name):
            yield Finding(Problem.QUARANTINE, f"{directory}/{name}", session_id=session_id)
        elif _LEFTOVER.match(name) and not owned:
            yield Finding(Problem.TEMP_FILE, f"{directory}/{name}", session_id=session_id)
    if not owned and has_clear(fs, directory):
        yield Finding(Problem.CLEAR_INTERRUPTED, directory, session_id=session_id)
        return
    has_journal = fs.exists(layout.journal(session_id, EVENTS))
    yield from _meta(layout, session_id, has_journal=has_journal, owned=owned)
    if has_journal:
        yield from _journals(fs, layout, session_id, owned=owned)


def _meta(layout: Layout, session_id: str, *, has_journal: bool, owned: bool) -> Iterator[Finding]:
    path = layout.meta(session_id)
    try:
        meta = read_meta(Path(path))
    except SessionNotFoundError:
        if has_journal:
            yield Finding(Problem.META_MISSING, path, session_id=session_id)
        return
    except SessionError as error:
        yield Finding(Problem.META_UNREADABLE, path, str(error), session_id)
        return
    if not owned and meta.state != State.STOPPED:
        yield Finding(Problem.SESSION_CUT_OFF, path, f"state {meta.state}", session_id)


def _journals(fs: FileSystem, layout: Layout, session_id: str, *, owned: bool) -> Iterator[Finding]:
    directory = layout.session(session_id)
    events = layout.journal(session_id, EVENTS)
    try:
        for part in sealed_names(fs, events):
            part_facts(fs, part, EVENTS, session_id)
        store = ReadOnlySessionStore.open(directory, session_id, fs)
        store.close()
        yield from _verdict(store.report, session_id, owned)
    except StorageError as error:
        yield _unreadable(error, events, session_id)
    state = layout.journal(session_id, STATE)
    if not fs.exists(state):
        return
    try:
        file, report = read_journal(
            fs, state, kind=STATE, name=session_id, replay=lambda offset, payload: None
        )
        file.close()
        yield from _verdict(report, session_id, owned)
    except StorageError as error:
        yield _unreadable(error, state, session_id)


def _verdict(report: RecoveryReport, session_id: str, owned: bool) -> Iterator[Finding]:
    if report.damage is not None:
        detail = f"from byte {report.damage} on"
        yield Finding(Problem.JOURNAL_DAMAGED, report.path, detail, session_id)
    elif report.torn_bytes and not owned:
        detail = f"{report.torn_bytes} bytes"
        yield Finding(Problem.JOURNAL_TORN, report.path, detail, session_id)


def _unreadable(error: StorageError, path: str, session_id: str) -> Finding:
    where = str(getattr(error, "path", "") or path)
    detail = str(error)
    if isinstance(error, StoreCorruptError) and error.offset:
        detail = f"from byte {error.offset} on"
    return Finding(Problem.JOURNAL_DAMAGED, where, detail, session_id)


def _log(fs: FileSystem, layout: Layout) -> Iterator[Finding]:
    if not fs.exists(layout.wal):
        return
    report = ReplayReport()
    for number in segment_numbers(fs.names(layout.wal)):
        try:
            read_segment(fs, layout, number, lambda parts: _count(report, parts))
        except StorageError as error:
            yield Finding(Problem.LOG_DAMAGED, layout.segment(number), str(error))
    if report.commits:
        yield Finding(Problem.LOG_WAITS, layout.wal, f"{report.commits} commits")


def _count(report: ReplayReport, parts: Sequence[object]) -> None:
    report.commits += 1


def _catalog(home: Path) -> Iterator[Finding]:
    catalog = view_catalog(home)
    with contextlib.suppress(StorageError):
        rows = set(catalog.rows())
        read = seen = 0
        for listed in catalog.sessions():
            seen += listed.session_id in rows
            read += listed.read and listed.meta is not None
        gone = len(rows) - seen
        if rows and (read or gone):
            detail = f"{read} sessions changed, {gone} gone"
            yield Finding(Problem.CATALOG_DRIFT, f"{home}/{CATALOG_FILE}", detail)
