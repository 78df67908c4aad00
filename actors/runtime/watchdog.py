"""Tells when a hub is blocked: a handler that never yields, which nobody inside the hub can see.

Rules it owns (G2): a native thread watches a counter that the hub's loop moves; no tracing, no
cost per switch. A block is reported once, while it lasts, with the stack of the hub's thread and
the actor it is in. Time in which the watcher itself did not run (the process was suspended) is
nobody's block. What holds the interpreter itself is seen only when it lets go.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from types import FrameType
from typing import Any

from .cell import Cell
from .errors import HubClosedError
from .hub import Hub
from .originals import NativeEvent, start_thread
from .ref import GreenRef

__all__ = ["BLOCK_S", "BlockReport", "Watchdog"]

logger = logging.getLogger(__name__)

BLOCK_S = 0.25
"""Seconds without a turn of the loop that are a block."""

BEATS_PER_BLOCK = 5
"""How often the loop gives a sign of life, and the watcher looks, within that time."""

LATE_MAX = 3.0
"""A watcher that wakes later than so many intervals was itself kept from running, by a suspended
process or a busy machine: it looks a second time before it reports."""

STACK_LINES_MAX = 200
"""Lines of a stack that are kept, the innermost."""


@dataclass(frozen=True, slots=True)
class BlockReport:
    """A hub that does not come round. ``ref``: the actor it is in, None if in none.

    ``blocked_s``: seconds so far, when it was noticed; ``stack``: of the hub's thread, as text,
    innermost last.
    """

    hub: str
    blocked_s: float
    ref: GreenRef[Any] | None
    stack: str


class Watchdog:
    """Watches one hub from a native thread, from :meth:`start` to :meth:`stop`.

    :param hub: which; its thread gets a timer of its own, five times per ``block_s``.
    :param on_block: called with each :class:`BlockReport`, in the watcher's thread; it must not
        touch the hub. None: log a warning.
    :param block_s: seconds that are a block.

    Attribute: ``blocks``, how many were reported.
    """

    __slots__ = ("_beats", "_hub", "_interval_s", "_on_block", "_over", "_thread", "_timer",
                 "block_s", "blocks")

    def __init__(
        self,
        hub: Hub,
        on_block: Callable[[BlockReport], object] | None = None,
        *,
        block_s: float = BLOCK_S,
    ) -> None:
        self.block_s = block_s
        self.blocks = 0
        self._hub = hub
        self._on_block = _log if on_block is None else on_block
        self._interval_s = block_s / BEATS_PER_BLOCK
        self._beats = 0
        self._over = NativeEvent()
        self._timer: Any = None
        self._thread: Any = None

    def __enter__(self) -> Watchdog:
        self.start()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to watch. Once only; from any thread.

        :raises HubClosedError: the hub is closed.
        """
        self._hub.call(self._start_beating)
        self._thread = start_thread(self._watch, f"{self._hub.name}-watchdog")

    def stop(self) -> None:
        """Watch no more, and wait for the watcher's end. May be called again; from any thread."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        try:
            self._hub.post(self._stop_beating)
        except HubClosedError:
            self._timer = None  # it went with the loop

    def _start_beating(self) -> None:
        self._timer = self._hub.loop.timer(self._interval_s, self._interval_s)
        self._timer.start(self._beat)

    def _stop_beating(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()
            timer.close()

    def _beat(self) -> None:
        self._beats += 1

    def _watch(self) -> None:
        seen, seen_at, looked = self._beats, monotonic(), monotonic()
        told = doubtful = False
        while not self._over.wait(self._interval_s / (BEATS_PER_BLOCK if doubtful else 1)):
            if self._hub.closed:
                return
            now = monotonic()
            # After a pause of its own the watcher lets the loop show that it has been paused too.
            doubtful = not doubtful and now - looked > LATE_MAX * self._interval_s
            looked = now
            if self._beats != seen:
                seen, seen_at, told = self._beats, now, False
            elif now - seen_at >= self.block_s and not told and not doubtful:
                told = True
                self._report(now - seen_at)

    def _report(self, blocked_s: float) -> None:
        frame = sys._current_frames().get(self._hub.thread_ident)
        lines = "".join(traceback.format_stack(frame)).splitlines(keepends=True)
        stack = "".join(lines[-STACK_LINES_MAX:]) if frame is not None else ""
        self.blocks += 1
        try:
            self._on_block(BlockReport(self._hub.name, blocked_s, _actor_in(frame), stack))
        except BaseException:
            logger.exception("a watchdog's callback failed: %r", self._on_block)


def _actor_in(frame: FrameType | None) -> GreenRef[Any] | None:
    while frame is not None:
        cell = frame.f_locals.get("self") if frame.f_code is Cell.run.__code__ else None
        if isinstance(cell, Cell):
            return cell.ref
        frame = frame.f_back
    return None


def _log(report: BlockReport) -> None:
    logger.warning(
        "hub %r has been blocked for %.3f s in %s\n%s",
        report.hub, report.blocked_s, report.ref, report.stack,
    )
