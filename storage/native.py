"""Native threads and the one signal they wait on, from the two lowest calls of the interpreter.

The default is the ``_thread`` module itself. In a monkey-patched host the original calls are
injected instead, so nothing here uses :mod:`threading`, whose parts would be patched too.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable
from typing import Any, Protocol


class Lock(Protocol):
    """A native lock, used as a binary semaphore."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it; ``False`` when ``timeout`` seconds passed first."""

    def release(self) -> None:
        """Give it; :class:`RuntimeError` when nobody has it."""

    def locked(self) -> bool:
        """Whether it is taken."""


class Threads(Protocol):
    """What ``_thread`` offers, or the originals of a patched host."""

    def start_new_thread(self, function: Callable[..., object], args: tuple[Any, ...], /) -> int:
        """Run ``function(*args)`` in a new native thread."""

    def allocate_lock(self) -> Lock:
        """A new, free lock."""


class _Native:
    """The calls of ``_thread``, taken when this module is imported."""

    start_new_thread = staticmethod(_thread.start_new_thread)
    allocate_lock = staticmethod(_thread.allocate_lock)


NATIVE: Threads = _Native()


class Signal:
    """A flag that one thread waits for and any thread sets; waiting clears it."""

    __slots__ = ("_lock",)

    def __init__(self, threads: Threads) -> None:
        self._lock = threads.allocate_lock()
        self._lock.acquire()

    def set(self) -> None:
        """Let the waiter go on, now or when it comes to wait."""
        if self._lock.locked():
            try:
                self._lock.release()
            except RuntimeError:
                # Another thread set it in between: set is set.
                return

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is set, and clear it; ``False`` when the time passed first."""
        return self._lock.acquire(True, -1 if timeout_s is None else max(timeout_s, 0.0))


class Worker:
    """One native thread, from :meth:`start` to the return of its function."""

    __slots__ = ("_ended",)

    def __init__(self, threads: Threads, run: Callable[[], None]) -> None:
        self._ended = Signal(threads)
        threads.start_new_thread(self._main, (run,))

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; ``False`` when the time passed first."""
        ended = self._ended.wait(timeout_s)
        if ended:
            self._ended.set()
        return ended

    def _main(self, run: Callable[[], None]) -> None:
        try:
            run()
        finally:
            self._ended.set()
