"""OS threads for work that blocks: the primitives, and a small pool that keeps it off the hub.

Rules: the line in front of a pool is bounded (``queue_max``), everything accepted is answered
through its future, and work is never started after :meth:`NativeWorker.close`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic
from typing import Any, TypeVar

from .errors import ForkedError, WorkerClosedError, WorkerFullError
from .future import GreenFuture
from .originals import (
    Lock,
    NativeEvent,
    NativeThread,
    ReentrantLock,
    SimpleQueue,
    get_ident,
    start_thread,
)

__all__ = ["WORKER_QUEUE_MAX", "Lock", "NativeEvent", "NativeThread", "NativeWorker",
           "SimpleQueue", "get_ident", "start_thread"]

WORKER_QUEUE_MAX = 1024
"""Calls that may wait in front of one :class:`NativeWorker` unless it is told otherwise."""

T = TypeVar("T")
Call = tuple[GreenFuture[Any], Callable[..., Any], tuple[Any, ...]]


class NativeWorker:
    """Runs blocking calls (files, name look-ups) in OS threads of its own, first in, first out.

    :param name: for threads, errors and logs.
    :param threads: how many calls may run at once; with one, calls never overlap.
    :param queue_max: calls that may be accepted and not yet finished, those running included.
    """

    def __init__(self, name: str, threads: int = 1, *, queue_max: int = WORKER_QUEUE_MAX) -> None:
        self.name = name
        self.queue_max = queue_max
        self._line: SimpleQueue[Call | None] = SimpleQueue()
        # Native threads and hubs meet here, so this is a lock between threads. It is re-entrant
        # because a finalizer may submit while the same thread holds it.
        self._lock = ReentrantLock()
        self._unfinished = 0
        self._closed = False
        self._pid = os.getpid()
        self._threads = [start_thread(self._serve, f"{name}-{n}") for n in range(threads)]

    def __repr__(self) -> str:
        return f"<NativeWorker {self.name!r}, {self._unfinished} of {self.queue_max} calls>"

    @property
    def unfinished(self) -> int:
        """Calls accepted and not yet finished."""
        return self._unfinished

    def submit(self, fn: Callable[..., T], *args: Any) -> GreenFuture[T]:
        """Have ``fn(*args)`` called in an OS thread; its result or any exception is the future's.

        :raises WorkerFullError: ``queue_max`` calls are unfinished; nothing was accepted.
        :raises WorkerClosedError: the worker is closed.
        :raises ForkedError: this process is a fork of the one that started the threads.
        """
        if self._pid != os.getpid():
            raise ForkedError(f"worker {self.name!r} belongs to the parent process")
        future: GreenFuture[T] = GreenFuture()
        with self._lock:
            if self._closed:
                raise WorkerClosedError(self.name)
            if self._unfinished >= self.queue_max:
                raise WorkerFullError(self.name, self.queue_max)
            self._unfinished += 1
            self._line.put((future, fn, args))
        return future

    def close(self, timeout: float | None = None) -> bool:
        """Take no more calls, finish the accepted ones, end the threads. May be called again.

        Blocks the calling OS thread up to ``timeout`` seconds (None: until they have ended).

        :returns: whether all threads have ended.
        """
        if self._pid != os.getpid():
            raise ForkedError(f"worker {self.name!r} belongs to the parent process")
        with self._lock:
            if not self._closed:
                self._closed = True
                for _ in self._threads:
                    self._line.put(None)
        deadline = None if timeout is None else monotonic() + timeout
        return all(
            thread.join(None if deadline is None else deadline - monotonic())
            for thread in self._threads
        )

    def _serve(self) -> None:
        while (call := self._line.get()) is not None:
            future, fn, args = call
            try:
                result = fn(*args)
            except BaseException as error:
                self._finish()
                future.set_exception(error)
            else:
                self._finish()
                future.set(result)
            # An idle thread must not keep the last call's objects alive.
            del call, future, fn, args

    def _finish(self) -> None:
        with self._lock:
            self._unfinished -= 1
