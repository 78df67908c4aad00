"""What ``greenroom doctor --fix`` does: one function per problem that can be put right.

Nothing here loses what was acknowledged: damaged bytes are set aside, and what is removed is the
rest of a write that never counted.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from ..actors.errors import StorageError
from .catalog import CATALOG_FILE, SessionCatalog
from .checkup import Finding, Problem
from .clear_files import finish_clear
from .files import OsFileSystem
from .home import HomeStore
from .table_storage import JournalStorage, Sync

WAIT_S = 60.0
"""Seconds a journal may take to be written and closed."""


def mend(home: Path, findings: Iterable[Finding]) -> list[tuple[Finding, Exception | None]]:
    """Put right what can be, in an order that works; what failed has its error.

    :raises HomeInUseError: a runtime has the home; nothing was changed.
    """
    chosen = [finding for finding in findings if finding.problem in _STEPS]
    chosen.sort(key=lambda finding: _ORDER.index(finding.problem))
    outcomes: list[tuple[Finding, Exception | None]] = []
    posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    # Opening replays the log, and takes the lock.
    store = HomeStore.open(home, post=posted.put)
    try:
        for finding in chosen:
            try:
                _STEPS[finding.problem](store, posted, finding)
            except (StorageError, OSError) as error:
                outcomes.append((finding, error))
            else:
                outcomes.append((finding, None))
    finally:
        store.close()
    return outcomes


Posted = queue.SimpleQueue[Callable[[], None]]


def _opened_already(store: HomeStore, posted: Posted, finding: Finding) -> None:
    """The log was taken in when the home was opened, and the lock was taken."""
    if store.report.failed:
        raise next(iter(store.report.failed.values()))


def _open_session(store: HomeStore, posted: Posted, finding: Finding) -> None:
    """A writable open cuts what is torn and sets aside what is damaged."""
    done: list[Exception | None] = []
    session = store.open_session(finding.session_id, create=False)
    session.close(done.append)
    while not done:
        posted.get(timeout=WAIT_S)()
    if done[0] is not None:
        raise done[0]


def _end_clear(store: HomeStore, posted: Posted, finding: Finding) -> None:
    finish_clear(OsFileSystem(), finding.path)


def _remove(
    remove: Callable[[str], None], store: HomeStore, posted: Posted, finding: Finding
) -> None:
    remove(finding.path)


def _list(store: HomeStore, posted: Posted, finding: Finding) -> None:
    home = store.layout.home
    storage = JournalStorage(home / CATALOG_FILE, sync=Sync.NONE)
    try:
        catalog = SessionCatalog(storage, home / "sessions")
        for _ in catalog.sessions():
            pass
        if catalog.error is not None:
            raise catalog.error
    finally:
        storage.close()


_STEPS: dict[Problem, Callable[[HomeStore, Posted, Finding], None]] = {
    Problem.LOG_WAITS: _opened_already,
    Problem.LOCK_STALE: _opened_already,
    Problem.CLEAR_INTERRUPTED: _end_clear,
    Problem.TEMP_FILE: partial(_remove, os.unlink),
    Problem.ENDPOINTS_STALE: partial(_remove, os.unlink),
    Problem.DIRECTORY_EMPTY: partial(_remove, os.rmdir),
    Problem.JOURNAL_DAMAGED: _open_session,
    Problem.JOURNAL_TORN: _open_session,
    Problem.CATALOG_DRIFT: _list,
}
_ORDER = list(_STEPS)
