"""A clock that stands still until it is told to move, or jumps when everybody waits.

::

    with VirtualClock() as clock:             # the clock of all actors of this hub
        ref.tell_after(3600, "wake up")
        clock.advance(3600)                   # an hour, in no time

    with VirtualClock(autojump=True):         # time passes as soon as nothing else happens
        supervisor.terminate_child("slow")    # its grace of 5 s costs nothing

Rules it owns: timers fire in the order they are due, those due at the same time in the order they
were made; between two of them the hub runs until nothing is left to do. It knows nothing of
native threads, sockets and processes: who waits for one of these must not jump. Timeouts of
``ask`` and of futures go by this clock in the hub's thread; those that gevent itself counts do not.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import gevent
from gevent.hub import Waiter

from ..runtime.dispatcher import Dispatcher

__all__ = ["SETTLE_ROUNDS_MAX", "VirtualClock", "VirtualTimer"]

logger = logging.getLogger(__name__)

SETTLE_ROUNDS_MAX = 100_000
"""Rounds of the hub after which :meth:`VirtualClock.settle` holds that it will never be idle."""

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualTimer:
    """One pending call of a :class:`VirtualClock`."""

    __slots__ = ("_args", "_fn", "due")

    def __init__(self, due: float, fn: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.due = due
        self._fn: Callable[..., object] | None = fn
        self._args = args

    @property
    def pending(self) -> bool:
        """Whether it will still be called."""
        return self._fn is not None

    def cancel(self) -> None:
        """Do not call. After the call, or a second time, it does nothing."""
        self._fn, self._args = None, ()

    def fire(self) -> None:
        """Call, unless that was done or cancelled; what it raises is logged, as with a real one."""
        fn, args = self._fn, self._args
        self.cancel()
        if fn is not None:
            try:
                fn(*args)
            except BaseException:
                logger.exception("a timer's callback failed: %r", fn)


class VirtualClock:
    """Time for tests: ``Clock`` and ``Timers`` of the kernel in one. Only in the hub's thread.

    A context manager: inside, it is the clock of the actors of the calling thread's hub that are
    given none of their own.

    :param autojump: whether time jumps to the next timer whenever the hub has nothing to do.
    :param start: what time of day it is at first.
    """

    def __init__(self, *, autojump: bool = False, start: datetime = EPOCH) -> None:
        self._dispatcher = Dispatcher.current()
        self._loop = self._dispatcher.inlet.loop
        self._start = start
        self._passed_s = 0.0
        self._timers: list[tuple[float, int, VirtualTimer]] = []
        self._serials = itertools.count()
        self._autojump = autojump
        self._idle: Any = None
        self._before: Any = None

    def __enter__(self) -> VirtualClock:
        self._dispatcher = Dispatcher.current()
        inlet = self._dispatcher.inlet
        self._before, inlet.timekeeper = inlet.timekeeper, self
        if self._autojump:
            self._idle = self._loop.idle()
            self._watch_idle()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._dispatcher.inlet.timekeeper = self._before
        if self._idle is not None:
            self._idle.stop()
            self._idle.close()
            self._idle = None

    def now(self) -> datetime:
        """The time of day, as an aware UTC datetime."""
        return self._start + timedelta(seconds=self._passed_s)

    def monotonic(self) -> float:
        """Seconds that have passed on this clock."""
        return self._passed_s

    @property
    def pending(self) -> int:
        """Timers that will still fire."""
        return sum(timer.pending for _, _, timer in self._timers)

    def call_later(self, seconds: float, fn: Callable[..., object], *args: Any) -> VirtualTimer:
        """Call ``fn(*args)`` once, ``seconds`` of this clock from now. It must not block."""
        timer = VirtualTimer(self._passed_s + max(seconds, 0.0), fn, args)
        heapq.heappush(self._timers, (timer.due, next(self._serials), timer))
        self._watch_idle()
        return timer

    def advance(self, seconds: float) -> None:
        """Let so much time pass, and all happen that is due in it. Blocks the calling greenlet."""
        until = self._passed_s + seconds
        self.settle()
        while self.jump(until):
            self.settle()
        self._passed_s = until

    def settle(self) -> None:
        """Let the hub run until nothing is left to do at this time.

        :raises AssertionError: that does not happen within :data:`SETTLE_ROUNDS_MAX` rounds.
        """
        gevent.sleep(0)
        for _ in range(SETTLE_ROUNDS_MAX):
            if not self.busy:
                return
            gevent.sleep(0)
        raise AssertionError(f"the hub is busy after {SETTLE_ROUNDS_MAX} rounds")

    @property
    def busy(self) -> bool:
        """Whether the hub has something to do at this time."""
        dispatcher = self._dispatcher
        return bool(len(self._loop._callbacks) or dispatcher.runnable or dispatcher.kicked)

    def _next_due(self, until: float) -> float | None:
        while self._timers and not self._timers[0][2].pending:
            heapq.heappop(self._timers)
        if self._timers and self._timers[0][0] <= until:
            return self._timers[0][0]
        return None

    def jump(self, until_s: float = math.inf) -> bool:
        """Let time pass to the next timer and fire it; False if none is due by ``until_s``."""
        if self._next_due(until_s) is None:
            return False
        due, _, timer = heapq.heappop(self._timers)
        self._passed_s = max(self._passed_s, due)
        timer.fire()
        return True

    def sleep(self, seconds: float) -> None:
        """Let the calling greenlet wait for so much of this clock's time."""
        waiter: Any = Waiter(self._dispatcher.inlet.hub)
        self.call_later(seconds, self._loop.run_callback, waiter.switch, None)
        waiter.get()

    def forget(self) -> None:
        """Cancel every timer."""
        for _, _, timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _watch_idle(self) -> None:
        if self._idle is not None and not self._idle.active and self._timers:
            self._idle.start(self._on_idle)

    def _on_idle(self) -> None:
        if not self.busy and not self.jump():
            self._idle.stop()
