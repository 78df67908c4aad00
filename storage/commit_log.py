"""The write-ahead log of a runtime: the point at which a write is kept (03 13, DESIGN 7).

One native thread takes everything that was submitted meanwhile, writes it as ONE record in one
call, and syncs it when something in it asks for that (group commit). Rules owned here:

- Class F is acknowledged after the sync, class P after the write; within a lane (a session) always
  in the order of submission. Class P is synced at most ``sync_interval`` later.
- A failed write is cut back and fails its batch. The lanes of that batch are broken: what they
  submitted later fails too, until the owner has seen the failure and opens a new lane.
- After a failed sync the log takes nothing more (:class:`StoreSyncFailedError`); nor after a failed
  write that could not be cut back.
- Acknowledgements are handed over in one call of ``post`` per batch and class.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence

from ..actors.errors import (
    StorageError,
    StoreClosedError,
    StoreSyncFailedError,
    StoreValidationError,
)
from .commits import (
    Clock,
    Done,
    Durability,
    Lane,
    Outcomes,
    Part,
    Post,
    Sink,
    StoreOverloadedError,
    Submit,
)
from .failpoints import FailPoint, reach
from .format.commits import encode_commit
from .format.records import PAYLOAD_BYTES_MAX
from .journal import Journal
from .native import Signal, Threads, Worker

SUBMITS_MAX = 65536
"""Submits waiting for the writer; one more is refused."""
SUBMIT_BYTES_MAX = 128 * 1024 * 1024
"""Bytes of payload waiting for the writer; one submit more is refused."""
PART_BYTES = 16
"""What a part takes beyond its payload and the name of its stream, at most."""
BATCH_BYTES = 4 * 1024 * 1024
"""Payload bytes after which a batch takes no further submit."""

class CommitLog:
    """Group commit on one segment file. ``submit`` is called by one thread, the hub's."""

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
    ) -> None:
        self._segment = segment
        self._sink = sink
        self._clock = clock
        self._post: Post = post or _call
        self._durability = durability
        self._sync_interval = sync_interval
        self._queue: deque[Submit] = deque()
        self._queued_bytes = 0
        self._taken_bytes = 0
        self._sync_due: float | None = None
        self._closing = False
        self._pid = os.getpid()
        self.error: StorageError | None = None
        """Why the log takes nothing more, once it does not."""
        self.commits = 0
        """Records written."""
        self.syncs = 0
        """Syncs of the segment."""
        self._wake = Signal(threads)
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
        :param prepare: called by the writer before the write, for what must be on the medium
            first; an :class:`OSError` of it fails the submit.
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
        """Write and sync what was submitted, then end the thread; waits for it.

        :raises StorageError: the last sync failed.
        """
        self._closing = True
        self._wake.set()
        self._worker.join()
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
            batch = self._next_batch()
            if batch:
                self._commit(batch)
            elif self._sync_due is not None and self._due():
                self._sync_late()
            elif self._closing and not self._queue:
                return
            else:
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

    def _due(self) -> bool:
        left = self._time_left()
        return self._closing or (left is not None and left <= 0)

    def _time_left(self) -> float | None:
        return None if self._sync_due is None else self._sync_due - self._clock()

    def _commit(self, batch: list[Submit]) -> None:
        refused, accepted, late = self._prepared(batch)
        self._settle(refused)
        if accepted:
            self._write(accepted)
        self._settle(late)

    def _write(self, batch: list[Submit]) -> None:
        reach(FailPoint.LOG_WRITE)
        try:
            self._segment.append([_record_of(batch)])
        except StorageError as error:
            self.error = self._segment.broken
            self._fail(batch, error)
            return
        self.commits += 1
        reach(FailPoint.LOG_WRITTEN)
        self._acknowledge(batch)

    def _prepared(self, batch: list[Submit]) -> tuple[Outcomes, list[Submit], Outcomes]:
        """What is refused, what may be written, what is refused but must be told after that.

        A session that failed and went on may have submits of its old and its new lane in one
        batch: the old ones are told first. A lane that breaks here is told of it last.
        """
        refused: Outcomes = []
        accepted: list[Submit] = []
        late: Outcomes = []
        healthy: set[int] = set()
        for submit in batch:
            error = self.error or submit.lane.error
            if error is None and submit.prepare is not None:
                error = _prepare(submit.prepare)
            if error is None:
                accepted.append(submit)
                healthy.add(id(submit.lane))
                continue
            submit.lane.error = error
            (late if id(submit.lane) in healthy else refused).append((submit, error))
        return refused, accepted, late

    def _acknowledge(self, batch: list[Submit]) -> None:
        """Class P now, as far as no class F of the same lane stands before it; the rest synced."""
        waiting: list[Submit] = []
        written: list[Submit] = []
        held: set[int] = set()
        for submit in batch:
            if submit.durable or id(submit.lane) in held:
                held.add(id(submit.lane))
                waiting.append(submit)
            else:
                written.append(submit)
        if written:
            self._sink.take(written)
            self._settle([(submit, None) for submit in written])
            if self._sync_due is None:
                self._sync_due = self._clock() + self._sync_interval
        if not waiting:
            return
        error = self._sync()
        if error is None:
            reach(FailPoint.LOG_SYNCED)
            self._sink.take(waiting)
            self._settle([(submit, None) for submit in waiting])
        else:
            self._fail(waiting, error)

    def _sync(self) -> StorageError | None:
        self.syncs += 1
        try:
            self._segment.sync()
        except StoreSyncFailedError as error:
            self.error = error
            self._sync_due = None
            return error
        self._sync_due = None
        return None

    def _sync_late(self) -> None:
        # Class P was acknowledged already: a failure here can only stop what comes later.
        self._sync()

    def _fail(self, batch: list[Submit], error: Exception) -> None:
        for submit in batch:
            submit.lane.error = error
        self._settle([(submit, error) for submit in batch])

    def _settle(self, outcomes: Outcomes) -> None:
        if outcomes:
            self._post(lambda: _tell(outcomes))


def _record_of(batch: Sequence[Submit]) -> bytes:
    return encode_commit(
        [(stream.name, payload) for submit in batch for stream, payload in submit.parts]
    )


def _call(action: Callable[[], None]) -> None:
    action()


def _prepare(prepare: Callable[[], None]) -> StorageError | None:
    try:
        prepare()
    except OSError as error:
        failure = StorageError(f"prepare a commit: {error}", operation="prepare")
        failure.__cause__ = error
        return failure
    return None


def _tell(outcomes: Outcomes) -> None:
    for submit, error in outcomes:
        submit.done(error)
