"""Native threads that are greenlets: the store's writer, syncer and materialiser from one seed.

The same two calls as the interpreter's ``_thread`` (:class:`greenroom.storage.native.Threads`). A
thread goes on some drawn time after it was woken; nothing else is changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from gevent.hub import get_hub
from greenlet import GreenletExit, getcurrent, greenlet

from ....storage.native import Signal, Threads, Worker
from ...runtime.future import GreenFuture
from ..clock import VirtualClock, VirtualTimer

__all__ = ["SimThreads", "SimWorker"]

LEAST_WAIT_S = 0.000001
"""Even a wait of no time takes some."""


class _SimLock:
    """A lock of which one thread at a time waits, as :class:`Signal` uses it."""

    __slots__ = ("_alarm", "_locked", "_threads", "_waiter")

    def __init__(self, threads: SimThreads) -> None:
        self._threads = threads
        self._locked = False
        self._waiter: Any = None
        self._alarm: VirtualTimer | None = None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it, or let the calling greenlet wait for it."""
        if not self._locked:
            self._locked = True
            return True
        if not blocking:
            return False
        assert self._waiter is None, "one thread waits at a time"
        self._waiter = getcurrent()
        if timeout >= 0:
            # Time that stands still would let a thread that polls spin for ever.
            patience = max(timeout, LEAST_WAIT_S)
            self._alarm = self._threads.clock.call_later(patience, self._wake, False, 0.0)
        return bool(self._threads.park())

    def release(self) -> None:
        """Give it to the waiter, who goes on after a drawn time."""
        if not self._locked:
            raise RuntimeError("release unlocked lock")
        if self._waiter is None:
            self._locked = False
        else:
            self._wake(True, self._threads.delay())

    def locked(self) -> bool:
        """Whether it is taken and nobody is about to go on with it."""
        return self._locked

    def _wake(self, got_it: bool, delay_s: float) -> None:
        waiter, self._waiter = self._waiter, None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if waiter is not None:
            self._threads.resume(waiter, got_it, delay_s)


class SimThreads:
    """Starts greenlets where others start threads.

    :param clock: their time.
    :param delay: draws how many seconds a thread takes to get going once it is woken.
    """

    def __init__(self, clock: VirtualClock, delay: Callable[[], float]) -> None:
        self.clock = clock
        self.delay = delay
        self._hub = get_hub()
        self._greenlets: dict[Any, None] = {}

    def start_new_thread(self, function: Callable[..., object], args: tuple[Any, ...], /) -> int:
        """Run ``function(*args)`` in a greenlet of its own."""
        thread = greenlet(self._run, parent=self._hub)
        self._greenlets[thread] = None
        self.clock.call_later(
            self.delay(), self._hub.loop.run_callback, thread.switch, thread, function, args
        )
        return len(self._greenlets)

    def allocate_lock(self) -> _SimLock:
        """A new, free lock."""
        return _SimLock(self)

    @property
    def idle(self) -> bool:
        """Whether every thread has ended."""
        return not self._greenlets

    @property
    def inside(self) -> bool:
        """Whether the caller runs in one of these threads."""
        return getcurrent() in self._greenlets

    def pause(self, seconds: float) -> None:
        """Let the calling thread wait: its disk is slow."""
        self.resume(getcurrent(), None, seconds)
        self.park()

    def park(self) -> Any:
        """Let the calling greenlet wait until it is resumed."""
        return self._hub.switch()

    def resume(self, thread: Any, value: Any, seconds: float) -> None:
        """Let a parked greenlet go on in so many seconds."""
        self.clock.call_later(seconds, self._hub.loop.run_callback, thread.switch, value)

    def kill(self) -> None:
        """The power is gone: no thread goes on, once the hub has had its turn."""
        for thread in self._greenlets:
            if thread:
                self._hub.loop.run_callback(thread.throw, GreenletExit)
        self._greenlets = {}

    def _run(self, thread: Any, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        try:
            function(*args)
        except GreenletExit:
            return
        finally:
            self._greenlets.pop(thread, None)


class SimWorker:
    """The worker for blocking file work: one call after the other, in a simulated thread."""

    def __init__(self, threads: Threads) -> None:
        self._line: deque[tuple[GreenFuture[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._closing = False
        self._wake = Signal(threads)
        self._worker = Worker(threads, self._serve)

    def submit(self, fn: Callable[..., Any], *args: Any) -> GreenFuture[Any]:
        """Have ``fn(*args)`` called; its result or any exception is the future's."""
        future: GreenFuture[Any] = GreenFuture()
        self._line.append((future, fn, args))
        self._wake.set()
        return future

    def close(self, timeout: float | None = None) -> bool:
        """Finish what was accepted."""
        self._closing = True
        self._wake.set()
        return self._worker.join(timeout)

    def _serve(self) -> None:
        while self._line or not self._closing:
            while self._line:
                future, fn, args = self._line.popleft()
                try:
                    result = fn(*args)
                except Exception as error:
                    future.set_exception(error)
                else:
                    future.set(result)
            if not self._closing:
                self._wake.wait()
