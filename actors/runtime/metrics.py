"""What the actors of one dispatcher are doing, in numbers, at one moment.

Rule it owns: nothing is counted for it on the way of a message but what the mailboxes count
anyway; a snapshot costs time in proportion to the actors alive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .clock import clock_of
from .dispatcher import Dispatcher

__all__ = ["Meter", "MetricsSnapshot"]


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """One look at a dispatcher.

    ``at_s`` is the clock's monotonic time; ``handled``, ``restarts`` and ``dead_letters`` count
    since the beginning; ``handled_per_s`` is the rate since the meter's last look.
    """

    at_s: float
    actors: int
    runnable: int
    busy_workers: int
    depth: int
    depth_max: int
    high_water: int
    postponed: int
    blocked_senders: int
    handled: int
    handled_per_s: float
    restarts: int
    dead_letters: int


class Meter:
    """Takes snapshots, and rates from one to the next. Only in the dispatcher's thread."""

    __slots__ = ("_at_s", "_dispatcher", "_handled")

    def __init__(self, dispatcher: Dispatcher | None = None) -> None:
        self._dispatcher = Dispatcher.current() if dispatcher is None else dispatcher
        self._at_s = clock_of(self._dispatcher).monotonic()
        self._handled = self._count()

    def look(self) -> MetricsSnapshot:
        """Take a snapshot."""
        dispatcher = self._dispatcher
        now = clock_of(dispatcher).monotonic()
        handled = self._count()
        passed_s = now - self._at_s
        rate = (handled - self._handled) / passed_s if passed_s > 0 else 0.0
        self._at_s, self._handled = now, handled
        cells: list[Any] = list(dispatcher.cells)
        depths = [cell.depth for cell in cells]
        return MetricsSnapshot(
            at_s=now,
            actors=len(cells),
            runnable=dispatcher.runnable,
            busy_workers=dispatcher.busy,
            depth=sum(depths),
            depth_max=max(depths, default=0),
            high_water=max((cell.high_water for cell in cells), default=0),
            postponed=sum(cell.postponed for cell in cells),
            blocked_senders=sum(cell.blocked for cell in cells),
            handled=handled,
            handled_per_s=rate,
            restarts=dispatcher.restarts,
            dead_letters=dispatcher.dead_letters.count,
        )

    def _count(self) -> int:
        dispatcher = self._dispatcher
        return dispatcher.retired_handled + sum(cell.handled for cell in dispatcher.cells)
