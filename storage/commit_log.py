"""The write-ahead log of a runtime: the point at which a write is kept (03 13).

One native thread takes everything that was submitted meanwhile and writes it as ONE record in one
call; a second one waits for the medium (group commit). Rules owned here:

- Class F is acknowledged after the sync, class P after the write, also while a sync runs; within a
  lane (a session) always in the order of submission. Class P is synced at most ``sync_interval``
  later.
- A failed write is cut back and fails its batch. The lanes of that batch are broken: what they
  submitted later fails too, until the owner has seen the failure and opens a new lane.
- After a failed sync the log takes nothing more (:class:`StoreSyncFailedError`); nor after a failed
  write that could not be cut back.
- A full segment is followed by a new one; that this fails is no failure of a write.
- Acknowledgements are handed over in one call of ``post`` per batch and class.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence

from ..actors.errors import (
    StorageError,
    StoreClosedError,
    StoreOverloadedError,
    StoreValidationError,
)
from .acknowledgements import Acknowledgements
from .commits import (
    Clock,
    Done,
    Durability,
    Lane,
    Outcomes,
    Part,
    Post,
    Sink,
    Submit,
)
from .failpoints import FailPoint, reach
from .format.commits import encode_commit
from .format.records import PAYLOAD_BYTES_MAX
from .journal import Journal
from .native import Signal, Threads, Worker
from .syncer import Syncer, SyncResult, sync_now

SUBMITS_MAX = 65536
"""Submits waiting for the writer; one more is refused."""
SUBMIT_BYTES_MAX = 128 * 1024 * 1024
"""Bytes of payload waiting for the writer; one submit more is refused."""
PART_BYTES = 16
"""What a part takes beyond its payload and the name of its stream, at most."""
BATCH_BYTES = 4 * 1024 * 1024
"""Payload bytes after which a batch takes no further submit."""


class CommitLog:
    """Group commit on a line of segments. ``submit`` is called by one thread, the hub's."""

    def __init__(
        self,
        segment: Journal,
        sink: Sink,
        *,
        threads: Threads,
        clock: Clock,
        post: Post | None = None,
        durability: Durability = Durability.DEFAULT,
        sync_interval: float = 0.05,
        next_segment: Callable[[Journal], Journal | None] | None = None,
    ) -> None:
        """:param next_segment: asked after each write; a new segment once this one is full."""
        self._segment = segment
        self._sink = sink
        self._clock = clock
        self._post: Post = post or _call
        self._durability = durability
        self._sync_interval = sync_interval
        self._next_segment = next_segment or _stay
        self._queue: deque[Submit] = deque()
        self._queued_bytes = 0
        self._taken_bytes = 0
        self._acks = Acknowledgements()
        self._sync_due: float | None = None
        self._unsynced = False
        self._synced_end = self._syncing_end = segment.end
        self._closing = False
        self._pid = os.getpid()
        self.error: StorageError | None = None
        """Why the log takes nothing more, once it does not."""
        self.commits = 0
        """Records written."""
        self.syncs = 0
        """Syncs of the segment."""
        self._wake = Signal(threads)
        self._syncer = Syncer(threads, self._wake.set)
        self._worker = Worker(threads, self._run)

    def submit(
        self,
        parts: Sequence[Part],
        *,
        lane: Lane,
        durable: bool,
        done: Done,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        """Queue one atomic write; returns at once.

        :param parts: journal records that are committed together or not at all.
        :param durable: class F; else class P. The log's durability may override it.
        :param done: called once, with the error or ``None``, through ``post``.
        :param prepare: called before the sync, for what must be on the medium as well; an
            :class:`OSError` of it fails the submit. Class F only.
        :raises StoreClosedError: the log is closed, or the process was forked.
        :raises StoreSyncFailedError: a sync failed earlier.
        :raises StoreOverloadedError: ``SUBMITS_MAX`` or ``SUBMIT_BYTES_MAX`` is reached.
        :raises StoreValidationError: the parts are longer than one record may be.
        """
        size = 0
        for stream, payload in parts:
            size += len(payload) + len(stream.name) + PART_BYTES
        self._check(size)
        if self._durability is not Durability.DEFAULT:
            durable = self._durability is Durability.POWER
        self._queued_bytes += size
        self._queue.append(Submit(lane, parts, size, durable, done, prepare))
        self._wake.set()

    def close(self) -> None:
        """Write and sync what was submitted, then end the threads; waits for them.

        :raises StorageError: the last sync failed.
        """
        self._closing = True
        self._wake.set()
        self._worker.join()
        self._syncer.close()
        self._segment.close()
        if self.error is not None:
            raise self.error

    def _check(self, size: int) -> None:
        if self._closing or os.getpid() != self._pid:
            raise StoreClosedError("the log is closed")
        if self.error is not None:
            raise self.error
        if size > PAYLOAD_BYTES_MAX - 16:
            raise StoreValidationError(
                f"store: a commit of {size} bytes, the limit is {PAYLOAD_BYTES_MAX - 16}",
                field="commit",
            )
        waiting = self._queued_bytes - self._taken_bytes
        if len(self._queue) >= SUBMITS_MAX or waiting + size > SUBMIT_BYTES_MAX:
            raise StoreOverloadedError(
                f"store: {len(self._queue)} writes of {waiting} bytes wait for the log",
                submits=len(self._queue),
                bytes=waiting,
            )
        if (full := self._sink.full()) is not None:
            raise full

    # The writer thread.

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            # A bug. It must not leave callers waiting for a writer that is gone.
            self.error = StorageError(f"the log's writer ended: {error!r}", operation="write")
            raise

    def _serve(self) -> None:
        while True:
            self._take_result()
            batch = self._next_batch()
            if batch:
                self._commit(batch)
                self._begin_sync()
            elif not self._begin_sync():
                idle = not self._queue and not self._syncer.busy
                if self._closing and idle and not self._unsynced:
                    return
                self._wake.wait(self._time_left())

    def _next_batch(self) -> list[Submit]:
        batch: list[Submit] = []
        size = 0
        while self._queue and size < BATCH_BYTES:
            if size + self._queue[0].size > PAYLOAD_BYTES_MAX - 16:
                break
            submit = self._queue.popleft()
            self._taken_bytes += submit.size
            size += submit.size
            batch.append(submit)
        return batch

    def _time_left(self) -> float | None:
        if self._sync_due is None or self._syncer.busy:
            return None
        return self._sync_due - self._clock()

    def _commit(self, batch: list[Submit]) -> None:
        # A lane breaks only after everything it had written was told, so this is told in order.
        refused: Outcomes = []
        accepted: list[Submit] = []
        for submit in batch:
            error = self.error or submit.lane.error
            if error is None:
                accepted.append(submit)
            else:
                submit.lane.error = error
                refused.append((submit, error))
        self._settle(refused)
        if accepted:
            self._write(accepted)

    def _write(self, batch: list[Submit]) -> None:
        self._pass_on_segment()
        if self.error is not None:
            self._fail([(submit, self.error) for submit in batch])
            return
        reach(FailPoint.LOG_WRITE)
        try:
            self._segment.append([_record_of(batch, self._synced_end)])
        except StorageError as error:
            # What these lanes have written before is told before this failure of theirs.
            self._sync_all()
            self.error = self.error or self._segment.broken
            self._fail([(submit, error) for submit in batch])
            return
        self.commits += 1
        self._unsynced = True
        reach(FailPoint.LOG_WRITTEN)
        self._keep(self._acks.written(batch))
        if self._sync_due is None:
            self._sync_due = self._clock() + self._sync_interval

    def _pass_on_segment(self) -> None:
        following = self._next_segment(self._segment)
        if following is None:
            return
        self._sync_all()
        self._segment.close()
        self._segment = following
        self._synced_end = following.end
        self._sink.checkpoint()

    def _begin_sync(self) -> bool:
        """Have the log synced if somebody waits for it, or it is due; whether it was begun."""
        if self._syncer.busy or not self._unsynced or self.error is not None:
            return False
        left = self._time_left()
        due = (self._closing and not self._queue) or (left is not None and left <= 0)
        if not (self._acks.waiting or due):
            return False
        self._syncer.start(self._segment.sync, self._note_sync())
        return True

    def _note_sync(self) -> list[Submit]:
        self.syncs += 1
        self._syncing_end = self._segment.end
        self._unsynced = False
        self._sync_due = None
        return self._acks.begin_sync()

    def _take_result(self) -> None:
        if self._syncer.busy:
            result = self._syncer.result()
            if result is not None:
                self._synced(result)

    def _sync_all(self) -> None:
        """Wait until everything written is synced and told."""
        while self._syncer.busy:
            self._wake.wait(None)
            self._take_result()
        if self._unsynced and self.error is None:
            self._synced(sync_now(self._segment.sync, self._note_sync()))

    def _synced(self, result: SyncResult) -> None:
        if result.error is not None:
            # Class P was acknowledged already: for it this can only stop what comes later.
            self.error = result.error
            self._unsynced = False
            self._sync_due = None
        else:
            self._synced_end = self._syncing_end
            reach(FailPoint.LOG_SYNCED)
        kept, failed = self._acks.end_sync(result)
        self._keep(kept)
        self._fail(failed)

    def _keep(self, submits: list[Submit]) -> None:
        if submits:
            self._sink.take(submits)
            self._settle([(submit, None) for submit in submits])

    def _fail(self, outcomes: Outcomes) -> None:
        for submit, error in outcomes:
            submit.lane.error = error
        self._settle(outcomes)

    def _settle(self, outcomes: Outcomes) -> None:
        if outcomes:
            self._post(lambda: _tell(outcomes))


def _record_of(batch: Sequence[Submit], synced: int) -> bytes:
    return encode_commit(
        [(stream.name, payload) for submit in batch for stream, payload in submit.parts], synced
    )


def _call(action: Callable[[], None]) -> None:
    action()


def _stay(segment: Journal) -> None:
    """A log of one segment."""


def _tell(outcomes: Outcomes) -> None:
    for submit, error in outcomes:
        submit.done(error)
