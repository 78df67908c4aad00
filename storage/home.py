"""The store of a home: one commit log, its sessions, and what the bus and the queries read.

Opening takes the home's lock, replays what a crash left in the log and begins a new segment;
closing completes every journal and leaves an empty one. Rules owned here: the layout and its
modes, and which segments may go (03 13, 14.1).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from ..actors.errors import StorageError, StoreClosedError
from ..actors.model.ids import normalize_stored_session_id
from .clear_files import begin_clear
from .commit_log import CommitLog
from .commits import Clock, Done, Durability, Post, Stream
from .failpoints import FailPoint, reach
from .files import FileSystem, OsFileSystem
from .home_reads import HomeReads
from .layout import EVENTS, STATE, Layout, segment_numbers, stream_name
from .lockfile import HomeLock
from .materialiser import Materialiser
from .native import NATIVE, Threads
from .readonly import SessionReader
from .replay import ReplayReport, replay_log
from .segments import WAL_BYTES_MAX, LogSegments, make_directories
from .session_files import open_event_rows, open_state
from .session_store import SessionStore, StateOp
from .sources import event_ids, utc_now
from .state_documents import epoch_given, given_epoch
from .stored_sessions import StoredSessions, session_not_found


class HomeStore(HomeReads):
    """The one writer of a home. Methods are for the hub's thread; readers for any."""

    def __init__(
        self,
        layout: Layout,
        fs: FileSystem,
        lock: HomeLock,
        report: ReplayReport,
        segments: LogSegments,
        log: CommitLog,
        materialiser: Materialiser,
        new_event_id: Callable[[], str],
        now: Callable[[], datetime],
    ) -> None:
        self.layout = layout
        self.report = report
        self._fs = fs
        self._lock = lock
        self._segments = segments
        self._log = log
        self._materialiser = materialiser
        self._new_event_id = new_event_id
        self._now = now
        self._incomplete: dict[str, Exception] = {}
        super().__init__(StoredSessions(layout, fs))
        self._closed = False

    @classmethod
    def open(
        cls,
        home: Path,
        *,
        post: Post,
        durability: str = Durability.DEFAULT,
        sync_interval: float = 0.05,
        wal_bytes_max: int = WAL_BYTES_MAX,
        fs: FileSystem | None = None,
        threads: Threads = NATIVE,
        clock: Clock = time.monotonic,
        now: Callable[[], datetime] = utc_now,
        new_event_id: Callable[[], str] | None = None,
        lock: Callable[[Path], HomeLock] = HomeLock.acquire,
    ) -> HomeStore:
        """Open a home for writing, making it when it is missing.

        :param post: runs a callable in the hub; called from native threads.
        :param durability: ``default``, ``power`` or ``process`` (03 13).
        :param sync_interval: seconds after which class P is synced.
        :param wal_bytes_max: bytes of the log that may wait for the journals.
        :param lock: takes the home's lock; replaced where the home is on a simulated disk.
        :raises HomeInUseError: another runtime has it.
        :raises StoreCorruptError: the log is damaged before whole records.
        :raises StorageError: the home can not be made, read or written.
        """
        fs = fs or OsFileSystem()
        layout = Layout(home.absolute())
        make_directories(fs, layout)
        held = lock(layout.lock)
        try:
            numbers = segment_numbers(fs.names(layout.wal))
            report = replay_log(fs, layout, numbers)
            reach(FailPoint.REPLAYED)
            segments = LogSegments(fs, layout, numbers, wal_bytes_max=wal_bytes_max)
            segment = segments.begin(keep=bool(report.failed))
        except OSError as error:
            held.release()
            raise StorageError(f"open {home}: {error}", operation="open", path=str(home)) from error
        except BaseException:
            held.release()
            raise
        materialiser = Materialiser(threads=threads, clock=clock, post=post, segments=segments)
        log = CommitLog(
            segment,
            materialiser,
            threads=threads,
            clock=clock,
            post=post,
            durability=Durability(durability),
            sync_interval=sync_interval,
            next_segment=segments.following,
        )
        new_id = new_event_id or event_ids()
        return cls(layout, fs, held, report, segments, log, materialiser, new_id, now)

    @property
    def error(self) -> StorageError | None:
        """Why the home takes no more writes, or why journals fall behind; else ``None``."""
        return self._log.error or self._materialiser.error

    @property
    def log(self) -> CommitLog:
        """The commit log, for its counters."""
        return self._log

    def open_session(
        self, session_id: str, *, create: bool, done: Done | None = None
    ) -> SessionStore:
        """Open a session's store for writing: a new epoch of it.

        :param create: make the session's directory and journals when they are missing.
        :param done: told when the activation of the epoch is committed (class F).
        :raises SessionNotFoundError: not there, and ``create`` is false; or no safe id.
        :raises StoreCorruptError: a journal is damaged; it is left as it is.
        :raises StorageError: it is open already, or its files can not be read or written.
        """
        session_id = self._closed_session(session_id, "open")
        made = self._make_session(session_id, create)
        self.stored.finish_clear(session_id)
        self.stored.forget(session_id)
        store = self._load(session_id, made)
        self._open[session_id] = store
        store.activate(done or _ignore)
        return store

    def clear_session(
        self, session_id: str, change: Callable[[SessionReader], Sequence[StateOp]], *, done: Done
    ) -> SessionStore:
        """Set the conversation of a closed session aside and open an empty one (03 12.1).

        ``stored.commit_clear`` or ``stored.abandon_clear`` must follow; a crash before that brings
        the old conversation back. No read of the session may be under way.

        :param change: told what is there; says what changes in the state, which is not cleared,
            in the commit that activates the new conversation.
        :param done: told when that is committed (class F).
        :raises SessionNotFoundError: no such session, or no safe id.
        :raises StoreCorruptError: its journal has no readable header.
        :raises StorageError: it is open, or a file could not be moved; the old one stays.
        """
        session_id = self._closed_session(session_id, "clear")
        before = self.stored.open(session_id)
        epoch, changed = before.epoch(), list(change(before))
        before.close()
        directory = self.layout.session(session_id)
        begin_clear(self._fs, directory)
        self.stored.clearing.add(session_id)
        self.stored.forget(session_id)
        try:
            store = self._load(session_id, False, epoch)
        except BaseException:
            self.stored.abandon_clear(session_id)
            raise
        self._open[session_id] = store
        try:
            store.activate(partial(_opened, done), [*changed, given_epoch(store.epoch())])
        except BaseException:
            store.close(lambda _: self.stored.abandon_clear(session_id))
            raise
        return store

    def close(self) -> None:
        """Write, complete and sync everything and release the lock; waits. Twice is once.

        Sessions still open are closed: their stores answer :class:`StoreClosedError` as soon as
        the hub has run what was posted.

        :raises StorageError: something could not be written or synced; the log keeps it, and the
            next open brings it back.
        """
        if self._closed:
            return
        self._closed = True
        for store in list(self._open.values()):
            if not store.is_closing:
                store.close(_ignore)
        errors = [error for error in (_failure(self._log.close),) if error]
        errors += [error for error in (_failure(self._materialiser.close),) if error]
        try:
            if not errors and not self.report.failed:
                self._segments.begin(keep=False).close()
        except StorageError as error:
            errors.append(error)
        except OSError as error:
            errors.append(StorageError(f"close {self.layout.home}: {error}", operation="close"))
        finally:
            self._lock.release()
        if errors:
            raise errors[0]

    def _closed_session(self, session_id: str, operation: str) -> str:
        self._require_open()
        session_id = normalize_stored_session_id(session_id, operation)
        if session_id in self._open:
            raise StorageError(f'{operation} "{session_id}": it is open', session_id=session_id)
        if session_id in self._incomplete:
            raise StorageError(
                f'{operation} "{session_id}": its journals are incomplete; reopen the home',
                session_id=session_id,
            ) from self._incomplete[session_id]
        return session_id

    def _make_session(self, session_id: str, create: bool) -> bool:
        directory = self.layout.session(session_id)
        if not create and not self._fs.exists(directory):
            raise session_not_found(session_id, "open")
        try:
            return self._fs.make_directory(directory)
        except OSError as error:
            raise StorageError(f"make {directory}: {error}", session_id=session_id) from error

    def _load(self, session_id: str, made: bool, epoch: int = 0) -> SessionStore:
        fs, directory = self._fs, self.layout.session(session_id)
        rows, events_journal = open_event_rows(fs, directory, session_id)
        try:
            state, state_journal = open_state(fs, directory, session_id)
        except BaseException:
            events_journal.close()
            raise
        rows.end = events_journal.end
        rows.epoch_floor = max(rows.epoch_floor, epoch + 1, epoch_given(state) + 1)
        streams = (
            Stream(stream_name(session_id, EVENTS), rows.path, rows.end),
            Stream(stream_name(session_id, STATE), state.path, state.end),
        )
        new = made or not rows.number

        def prepare() -> None:
            # The names must be on the medium before anything in the log counts on them.
            fs.sync_directory(directory)
            fs.sync_directory(self.layout.sessions)

        store = SessionStore(
            rows=rows,
            state=state,
            log=self._log,
            materialiser=self._materialiser,
            streams=streams,
            reports=(events_journal.report, state_journal.report),
            new_event_id=self._new_event_id,
            now=self._now,
            prepare=prepare if new else None,
            closed=self._session_closed,
        )
        for stream in streams:
            stream.on_materialised = store.trim
        state.compact = partial(
            self._materialiser.compact, streams[1], state_journal, state.compacted
        )
        self._materialiser.adopt(streams[0], events_journal)
        self._materialiser.adopt(streams[1], state_journal)
        return store

    def _session_closed(
        self, session_id: str, head: tuple[int, int], error: Exception | None
    ) -> None:
        del self._open[session_id]
        if error is None:
            self.stored.remember(session_id, head)
        else:
            self._incomplete[session_id] = error

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosedError("the home is closed", operation="open")


def _failure(close: Callable[[], None]) -> StorageError | None:
    try:
        close()
    except StorageError as error:
        return error
    return None


def _opened(done: Done, error: Exception | None) -> None:
    if error is None:
        reach(FailPoint.CLEAR_OPENED)
    done(error)


def _ignore(error: Exception | None) -> None:
    """The outcome shows elsewhere: later submits and ``HomeStore.error`` carry it."""
