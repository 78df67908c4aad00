"""From the log into the journals: one native thread that copies committed records.

The log is the commit point; a session's own files follow behind it, in batches, and are complete
when the session is closed. Rules owned here:

- A journal receives its records in commit order, each payload as it stands in the log.
- ``Stream.materialised`` moves only after the bytes are in the file: whoever reads up to there
  reads committed records.
- A journal that can not be written keeps its records waiting and is tried again with the next
  flush; nothing acknowledged depends on it. What waits is bounded, and over the bound the log
  takes no new submits.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from ..actors.errors import StorageError, StoreOverloadedError
from .commits import Clock, Done, Post, Stream, Submit
from .compaction_queue import PAUSE_S, CompactionDone, CompactionQueue
from .failpoints import FailPoint, reach
from .native import Signal, Threads, Worker
from .table_journal import TableJournal

JOURNAL_BATCH_BYTES = 256 * 1024
"""Bytes waiting for one journal at which they are written."""
BATCH_AGE_S = 10.0
"""Seconds after which a journal's waiting records are written, however few."""
TOTAL_BYTES = 32 * 1024 * 1024
"""Bytes waiting for all journals at which all of them are written."""
BACKLOG_BYTES_MAX = 256 * 1024 * 1024
"""Bytes waiting for journals that can not be written; over it the log refuses submits."""
HANDLES_MAX = 64
"""Journals kept open; the least recently written one is closed first."""


class Segments(Protocol):
    """The log's segments, as the thread that empties them sees them."""

    wal_bytes_max: int

    @property
    def full_bytes(self) -> int: ...
    def full_segments(self) -> list[int]: ...
    def retire(self, numbers: Sequence[int]) -> None: ...


class Target(Protocol):
    """A journal as it is fed: one file, or one that is sealed in parts."""

    @property
    def end(self) -> int: ...
    def append(self, payloads: Sequence[bytes]) -> object: ...
    def complete(self) -> None: ...
    def sync(self) -> None: ...
    def park(self) -> None: ...


class _Waiting:
    """Records of one journal that are committed and not yet in its file."""

    __slots__ = ("bytes", "journal", "payloads", "since")

    def __init__(self, journal: Target, since: float) -> None:
        self.journal = journal
        self.payloads: list[bytes] = []
        self.bytes = 0
        self.since = since


class Materialiser:
    """Copies committed records into journals. ``take`` and ``full`` are for the log."""

    def __init__(
        self,
        *,
        threads: Threads,
        clock: Clock,
        post: Post,
        segments: Segments | None = None,
    ) -> None:
        """:param segments: the log's segments, retired when what they feed is synced."""
        self._segments = segments
        self._dirty: dict[Stream, Target] = {}
        self._checkpoint: Callable[[], None] | None = None
        self._checkpoint_due = 0.0
        self._clock = clock
        self._post = post
        self._journals: dict[Stream, Target] = {}
        self._inbox: deque[Callable[[], None]] = deque()
        self._compactions = CompactionQueue(post)
        self._taken_bytes = 0  # by the log's writer
        self._sorted_bytes = 0  # by the thread, as the next
        self._written_bytes = 0
        # In order of `since`: what waits longest comes first.
        self._waiting: OrderedDict[Stream, _Waiting] = OrderedDict()
        self._due: dict[Stream, None] = {}
        self._open: OrderedDict[Stream, Target] = OrderedDict()
        self._closing = False
        self._ended = False
        self.error: StorageError | None = None
        """Why a journal could not be written, until it could."""
        self.flushes = 0
        """Times a journal was written."""
        self._wake = Signal(threads)
        self._worker = Worker(threads, self._run)

    def adopt(self, stream: Stream, journal: Target) -> None:
        """Have a journal fed from now on; called before its first submit."""
        journal.park()
        self._journals[stream] = journal

    def take(self, submits: Sequence[Submit]) -> None:
        """Take over committed parts; never waits."""
        idle = self._taken_bytes == self._written_bytes
        self._taken_bytes += sum(submit.size for submit in submits)
        self._inbox.append(partial(self._sort_in, submits))
        # While something waits the thread wakes by itself; an idle one must be told.
        if idle or self._taken_bytes - self._sorted_bytes >= JOURNAL_BATCH_BYTES:
            self._wake.set()

    def full(self) -> StorageError | None:
        """The error for new submits while more than ``BACKLOG_BYTES_MAX`` waits."""
        waiting = self._taken_bytes - self._written_bytes
        segments = self._segments
        if segments is not None and segments.full_bytes > segments.wal_bytes_max:
            return StoreOverloadedError(
                f"store: {segments.full_bytes} bytes of the log wait for their journals",
                bytes=segments.full_bytes,
            )
        if waiting < BACKLOG_BYTES_MAX:
            return None
        return StoreOverloadedError(
            f"store: {waiting} bytes wait for their journals ({self.error})", bytes=waiting
        )

    def checkpoint(self) -> None:
        """The segments that are full shall go: write and sync what they feed, then retire them."""
        segments = self._segments
        if segments is None:
            return
        full = segments.full_segments()
        self._inbox.append(partial(self._begin_checkpoint, partial(segments.retire, full)))
        self._wake.set()

    def compact(self, stream: Stream, journal: TableJournal, done: CompactionDone) -> None:
        """Rewrite a journal beside everything else; ``done`` is called through ``post``."""
        self._inbox.append(partial(self._begin_compaction, stream, journal, done))
        self._wake.set()

    def finish(self, streams: Sequence[Stream], done: Done) -> None:
        """Complete, sync and close journals; ``done`` is called through ``post``."""
        if self._ended:
            # `close` has completed every journal; a store that was still busy then asks late.
            self._post(lambda: done(self.error))
            return
        self._inbox.append(partial(self._finish, streams, done))
        self._wake.set()

    def close(self) -> None:
        """Complete, sync and close every journal, then end the thread; waits for it.

        :raises StorageError: a journal could not be completed or synced.
        """
        self._closing = True
        self._wake.set()
        self._worker.join()
        self._ended = True
        if self.error is not None:
            raise self.error

    # The thread.

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            # A bug. Submits are refused once the backlog is full; nothing waits for ever.
            self.error = StorageError(f"the materialiser ended: {error!r}", operation="write")
            raise

    def _serve(self) -> None:
        while True:
            while self._inbox:
                self._inbox.popleft()()
            self._flush_due()
            self.error = self._compactions.step() or self.error
            if self._checkpoint is not None and self._checkpoint_due <= self._clock():
                self._reach(self._checkpoint)
            if not self._closing:
                self._wake.wait(self._time_left())
            elif not self._inbox:
                self._finish_all()
                return

    def _begin_checkpoint(self, retire: Callable[[], None]) -> None:
        # The later one covers the earlier.
        self._checkpoint, self._checkpoint_due = retire, self._clock()

    def _begin_compaction(
        self, stream: Stream, journal: TableJournal, done: CompactionDone
    ) -> None:
        # What waits is part of what made it worth it.
        if self._flush(stream) is None:
            self._compactions.add(stream, journal, done)
        else:
            self._post(partial(done, None))

    def _sort_in(self, submits: Sequence[Submit]) -> None:
        now = self._clock()
        for submit in submits:
            # The bytes a submit counts beyond its payloads are done with here.
            self._written_bytes += submit.size
            for stream, payload in submit.parts:
                waiting = self._waiting.get(stream)
                if waiting is None:
                    waiting = self._waiting[stream] = _Waiting(self._journals[stream], now)
                waiting.payloads.append(payload)
                waiting.bytes += len(payload)
                self._written_bytes -= len(payload)
                if waiting.bytes >= JOURNAL_BATCH_BYTES:
                    self._due[stream] = None
            self._sorted_bytes += submit.size

    def _flush_due(self) -> None:
        due = list(self._due)
        if self._sorted_bytes - self._written_bytes >= TOTAL_BYTES:
            due = list(self._waiting)
        oldest = self._clock() - BATCH_AGE_S
        for stream, waiting in self._waiting.items():
            if waiting.since > oldest:
                break
            due.append(stream)
        for stream in due:
            self._flush(stream)
        told = [stream.on_materialised for stream in due if stream.on_materialised]
        if told:
            self._post(lambda: _call_all(told))

    def _time_left(self) -> float | None:
        if self._compactions:
            return PAUSE_S
        due = [self._checkpoint_due] if self._checkpoint is not None else []
        if self._waiting:
            due.append(next(iter(self._waiting.values())).since + BATCH_AGE_S)
        return max(min(due) - self._clock(), 0.0) if due else None

    def _reach(self, retire: Callable[[], None]) -> None:
        """Write and sync every journal; one that fails is tried again with the next batches."""
        failed = False
        for stream in list(self._waiting):
            failed = self._flush(stream) is not None or failed
        for stream, journal in list(self._dirty.items()):
            try:
                journal.sync()
                del self._dirty[stream]
            except StorageError as error:
                self.error = error
                failed = True
            if stream not in self._open:
                journal.park()
        if failed:
            self._checkpoint_due = self._clock() + BATCH_AGE_S
            return
        self._checkpoint = None
        reach(FailPoint.CHECKPOINT)
        retire()

    def _flush(self, stream: Stream) -> StorageError | None:
        self._due.pop(stream, None)
        waiting = self._waiting.pop(stream, None)
        if waiting is None:
            return None
        reach(FailPoint.MATERIALISE)
        try:
            waiting.journal.append(waiting.payloads)
        except StorageError as error:
            self.error = error
            # Back in the line, as the newest: tried again with the next flush.
            waiting.since = self._clock()
            self._waiting[stream] = waiting
            return error
        reach(FailPoint.MATERIALISED)
        stream.materialised = waiting.journal.end
        self._dirty[stream] = waiting.journal
        self._written_bytes += waiting.bytes
        self.flushes += 1
        if not self._waiting:
            self.error = None
        self._keep_open(stream, waiting.journal)
        return None

    def _keep_open(self, stream: Stream, journal: Target) -> None:
        self._open[stream] = journal
        self._open.move_to_end(stream)
        if len(self._open) > HANDLES_MAX:
            _, oldest = self._open.popitem(last=False)
            oldest.park()

    def _finish(self, streams: Sequence[Stream], done: Done) -> None:
        error: Exception | None = None
        for stream in streams:
            error = self._complete(stream) or error
        self._post(lambda: done(error))

    def _finish_all(self) -> None:
        errors = [self._complete(stream) for stream in list(self._journals)]
        self.error = next((error for error in errors if error is not None), None)

    def _complete(self, stream: Stream) -> StorageError | None:
        journal = self._journals[stream]
        error = self._flush(stream)
        self._compactions.finish(stream)
        if error is None:
            try:
                journal.complete()
                journal.sync()
                del self._journals[stream]
                self._dirty.pop(stream, None)
            except StorageError as failure:
                error = failure
        self._open.pop(stream, None)
        journal.park()
        return error


def _call_all(actions: Sequence[Callable[[], None]]) -> None:
    for action in actions:
        action()
