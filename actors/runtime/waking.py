"""Waking a greenlet that waits, through its own hub's loop and from any thread.

Rules it owns: a greenlet is woken once at most, never after it has gone on for another reason,
and never by a switch that was meant for something else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from .inlet import Inlet
from .originals import get_ident

__all__ = ["Lender", "Sleep", "Waking", "wake_up"]

logger = logging.getLogger(__name__)

Waking = tuple[Callable[[], object], Any, int]
"""How to wake a greenlet: its sleep's end, its hub's loop, the ident of its thread."""


class Lender(Protocol):
    """Who runs in the turn of a greenlet that waits for him: a cell."""

    @property
    def dispatcher(self) -> Any:
        """Wakes the greenlet, with the methods of a loop."""

    def run_now(self) -> None:
        """Take the turn."""


class Sleep:
    """A greenlet that waits; :meth:`end` wakes it, once, and does nothing when it is gone."""

    __slots__ = ("greenlet", "unset_alarm")

    greenlet: Any
    unset_alarm: Callable[[], object] | None

    def end(self) -> None:
        """Wake the greenlet. Only in its hub's loop."""
        sleeper, self.greenlet = self.greenlet, None
        if sleeper is not None:
            sleeper.switch()

    def set_alarm(self, hub: Any, seconds: float) -> None:
        """Wake it in ``seconds`` at the latest, by the clock that was put into its hub, if any."""
        clock = Inlet.of(hub).timekeeper
        if clock is None:
            timer = hub.loop.timer(seconds)
            timer.start(self.end)
            self.unset_alarm = timer.close
        else:
            wake = hub.loop.run_callback  # such a clock fires its timers in whatever greenlet
            self.unset_alarm = clock.call_later(seconds, wake, self.end).cancel

    def close(self) -> None:
        """It is awake, for whatever reason: let nothing wake it again."""
        self.greenlet = None
        if self.unset_alarm is not None:
            self.unset_alarm()


def wake_up(end: Callable[[], object], loop: Any, ident: int) -> None:
    """Have ``end`` called in ``loop``, whose thread is ``ident``. From any thread."""
    try:
        if get_ident() == ident:
            loop.run_callback(end)
        else:
            loop.run_callback_threadsafe(end)
    except Exception:
        logger.exception("nobody to wake: the hub of a waiting greenlet is gone")
