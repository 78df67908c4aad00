"""Time as something that is handed in: two Protocols, and the real thing on a hub."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from .dispatcher import Dispatcher
from .hub import Hub

__all__ = ["Clock", "GeventClock", "Timekeeper", "TimerHandle", "Timers", "clock_of"]

logger = logging.getLogger(__name__)


class Clock(Protocol):
    """What time it is."""

    def now(self) -> datetime:
        """The time of day, as an aware UTC datetime."""

    def monotonic(self) -> float:
        """Seconds since some fixed point; never runs backwards."""


class TimerHandle(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Do not call. After the call, or a second time, it does nothing."""


class Timers(Protocol):
    """Calls things later."""

    def call_later(self, seconds: float, fn: Callable[..., object], *args: Any) -> TimerHandle:
        """Call ``fn(*args)`` once, ``seconds`` from now. It must not block."""


class Timekeeper(Clock, Timers, Protocol):
    """Both: what supervisors, timers and metrics are handed."""


class GeventClock:
    """The system's clock, and timers that fire in the loop of a hub (about 1 ms late)."""

    __slots__ = ("_hub",)

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def now(self) -> datetime:
        """The time of day, as an aware UTC datetime."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some fixed point; never runs backwards."""
        return time.monotonic()

    def call_later(self, seconds: float, fn: Callable[..., object], *args: Any) -> GeventTimer:
        """Call ``fn(*args)`` in the hub's loop, ``seconds`` from now; what it raises is logged.

        May be called from any thread. A timer that is due when its hub closes is not called.

        :raises HubClosedError: the hub is closed.
        :raises ForkedError: this is the child of a fork.
        """
        timer = GeventTimer(self._hub, fn, args)
        due = time.monotonic() + seconds
        if self._hub.is_current():
            timer.start(due)
        else:
            self._hub.post(timer.start, due)
        return timer


def clock_of(dispatcher: Dispatcher) -> Timekeeper:
    """The clock of a dispatcher's actors: the one that was put in, else the hub's own."""
    clock: Timekeeper | None = dispatcher.inlet.timekeeper
    return GeventClock(Hub.of(dispatcher.inlet)) if clock is None else clock


class GeventTimer:
    """One pending call of a :class:`GeventClock`."""

    __slots__ = ("_args", "_fn", "_hub", "_watcher")

    def __init__(self, hub: Hub, fn: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._hub = hub
        self._fn: Callable[..., object] | None = fn
        self._args = args
        self._watcher: Any = None

    def cancel(self) -> None:
        """Do not call. May be called from any thread; after the call it does nothing."""
        self._fn, self._args = None, ()
        if self._hub.is_current():
            self._stop()
        elif not self._hub.closed:
            self._hub.post(self._stop)

    def start(self, due: float) -> None:
        """Arm the timer for the monotonic time ``due``. Only in the hub's thread."""
        if self._fn is None:
            return
        self._watcher = self._hub.loop.timer(max(0.0, due - time.monotonic()))
        self._watcher.start(self._fire)

    def _fire(self) -> None:
        fn, args = self._fn, self._args
        self._fn, self._args = None, ()
        self._stop()
        if fn is None:
            return
        try:
            fn(*args)
        except BaseException:
            logger.exception("a timer's callback failed: %r", fn)

    def _stop(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.stop()
            watcher.close()
