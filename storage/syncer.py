"""A native thread that only waits for the medium, so that the log's writer never does (03 13).

One job at a time: first what the written submits need on the medium besides the log (the names of
a new session's files), then the sync of the log itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..actors.errors import StorageError
from .commits import Submit
from .native import Signal, Threads, Worker


class SyncResult:
    """What became of one job.

    :param error: why the sync failed, or ``None``.
    :param refused: the submits whose own preparation failed, and why.
    """

    __slots__ = ("error", "refused")

    def __init__(self) -> None:
        self.error: StorageError | None = None
        self.refused: list[tuple[Submit, StorageError]] = []


class Syncer:
    """Runs one sync at a time; ``told`` is called from its thread when one is over."""

    def __init__(self, threads: Threads, told: Callable[[], None]) -> None:
        self._told = told
        self._job: Callable[[], SyncResult] | None = None
        self._result: SyncResult | None = None
        self._closing = False
        self.busy = False
        """Whether a job was started and its result not taken; for the starter's thread."""
        self._wake = Signal(threads)
        self._worker = Worker(threads, self._run)

    def start(self, sync: Callable[[], None], submits: Sequence[Submit]) -> None:
        """Begin a job; the one before it must be over."""
        self.busy = True
        self._job = lambda: sync_now(sync, submits)
        self._wake.set()

    def result(self) -> SyncResult | None:
        """The outcome of the job, once; ``None`` while it runs."""
        result, self._result = self._result, None
        if result is not None:
            self.busy = False
        return result

    def close(self) -> None:
        """End the thread; waits for it."""
        self._closing = True
        self._wake.set()
        self._worker.join()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            job, self._job = self._job, None
            if job is not None:
                try:
                    self._result = job()
                except BaseException as error:
                    # A bug. The writer must hear of it, or it would wait for ever.
                    self._result = result = SyncResult()
                    result.error = StorageError(f"the sync ended: {error!r}", operation="sync")
                    raise
                finally:
                    self._told()
            elif self._closing:
                return


def sync_now(sync: Callable[[], None], submits: Sequence[Submit]) -> SyncResult:
    """Prepare the submits and sync, in this thread."""
    result = SyncResult()
    for submit in submits:
        if submit.prepare is not None:
            error = _prepared(submit.prepare)
            if error is not None:
                result.refused.append((submit, error))
    try:
        sync()
    except StorageError as error:
        result.error = error
    return result


def _prepared(prepare: Callable[[], None]) -> StorageError | None:
    try:
        prepare()
    except OSError as error:
        failure = StorageError(f"prepare a commit: {error}", operation="prepare")
        failure.__cause__ = error
        return failure
    return None
