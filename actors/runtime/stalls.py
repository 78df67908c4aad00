"""Telling a stalled actor from a busy one. Pure, but for taking the signs of life.

Rules it owns: progress is a message done or a beat given; only an actor that has something to do
can be without it; and time in which the hub itself did not run is nobody's stall: a look that
comes late counts as two intervals at most.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from .childspec import ChildSpec

if TYPE_CHECKING:
    from .dispatcher import Worker

__all__ = ["LATE_MAX", "LOOKS_PER_DEADLINE", "StallKind", "StallWatch", "Vitals", "stack_of",
           "take_vitals"]

LOOKS_PER_DEADLINE = 8
"""How often a child is looked at within its shortest deadline."""

LATE_MAX = 2.0
"""Intervals that one look counts at most, however late it comes."""


class StallKind(StrEnum):
    """In which way an actor makes no progress."""

    HANDLER = "handler"
    """Its handler is blocked in one message, or in ``on_start`` or ``on_stop``."""
    MAILBOX = "mailbox"
    """It idles while all that waits for it is postponed."""
    HEARTBEAT = "heartbeat"
    """It gave no sign of life, and it said it would."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """An actor's signs of life at one moment."""

    handled: int
    beats: int
    busy: bool
    """A callback of it runs or is blocked."""
    postponed: int
    runnable: bool
    """It waits for its turn, which is the hub's load and none of its own."""


class StallWatch:
    """Watches one actor by looking at it now and then."""

    __slots__ = ("_last", "_quiet_s", "_reported", "_silent_s", "_spec")

    def __init__(self, spec: ChildSpec) -> None:
        self._spec = spec
        self._last: Vitals | None = None
        self._quiet_s = 0.0
        self._silent_s = 0.0
        self._reported: StallKind | None = None

    @property
    def interval_s(self) -> float:
        """Seconds between two looks that the deadlines ask for."""
        deadlines = (self._spec.stall_after_s, self._spec.heartbeat_s)
        return min(s for s in deadlines if s is not None) / LOOKS_PER_DEADLINE

    def look(self, seen: Vitals, elapsed_s: float) -> StallKind | None:
        """Take another look, ``elapsed_s`` after the last; a stall is told once, until it ends."""
        last, self._last = self._last, seen
        if last is None:
            return None
        self._silent_s = self._silent_s + elapsed_s if seen.beats == last.beats else 0.0
        moved = (seen.handled, seen.beats) != (last.handled, last.beats)
        stuck = (seen.busy and last.busy) or (seen.postponed > 0 and not seen.runnable)
        if moved or not (stuck or seen.runnable):
            self._quiet_s = 0.0
        elif stuck:
            self._quiet_s += elapsed_s
        kind = self._judge(seen)
        told, self._reported = self._reported, kind
        return kind if kind is not told else None

    def _judge(self, seen: Vitals) -> StallKind | None:
        spec = self._spec
        if spec.stall_after_s is not None and self._quiet_s >= spec.stall_after_s:
            return StallKind.HANDLER if seen.busy else StallKind.MAILBOX
        if spec.heartbeat_s is not None and self._silent_s >= spec.heartbeat_s:
            return StallKind.HEARTBEAT
        return None


def take_vitals(cell: Any, busy: Mapping[Any, Worker]) -> Vitals:
    """The signs of life of the actor in ``cell``; ``busy`` maps cells to the workers in them."""
    is_busy = cell in busy
    return Vitals(
        handled=cell.handled,
        beats=cell.beats,
        busy=is_busy,
        postponed=cell.postponed,
        runnable=cell.scheduled and not is_busy,
    )


def stack_of(worker: Worker | None) -> str:
    """Where a blocked handler is, as text, innermost last; empty for one that idles."""
    frame = None if worker is None else worker.gr_frame
    return "" if frame is None else "".join(traceback.format_stack(frame))
