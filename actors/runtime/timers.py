"""Messages that are sent later, once or again and again.

Rules it owns: a repeated message keeps its rhythm (the n-th is due n periods after the start) and
makes up for none that is missed; it ends with its actor. They go by the clock of the actor's
dispatcher, which a test may replace.
"""

from __future__ import annotations

import math
from typing import Any

from pykka import ActorDeadError

from .clock import Timekeeper, TimerHandle, clock_of
from .errors import ForkedError, HubClosedError, MailboxFullError
from .parcels import Lane
from .ref import GreenRef

__all__ = ["MessageTimer", "tell_after", "tell_every"]


class MessageTimer:
    """A message that is due. Attributes: ``sent``, ``missed`` (the mailbox was full)."""

    __slots__ = ("_clock", "_due", "_handle", "_lane", "_message", "_over", "_period_s", "_ref",
                 "missed", "sent")

    def __init__(
        self,
        ref: GreenRef[Any],
        message: Any,
        lane: Lane,
        clock: Timekeeper,
        first_s: float,
        period_s: float | None,
    ) -> None:
        self.sent = 0
        self.missed = 0
        self._ref = ref
        self._message = message
        self._lane = lane
        self._clock = clock
        self._period_s = period_s
        self._over = False
        self._due = clock.monotonic() + first_s
        self._handle: TimerHandle = clock.call_later(first_s, self._fire)

    @property
    def over(self) -> bool:
        """Whether nothing will be sent any more."""
        return self._over

    def cancel(self) -> None:
        """Send nothing from now on; what was sent is in the mailbox. From any thread."""
        self._over = True
        self._handle.cancel()

    def _fire(self) -> None:
        if self._over:
            return
        self._over = self._period_s is None
        try:
            self._ref.tell(self._message, lane=self._lane)
            self.sent += 1
        except MailboxFullError:
            self.missed += 1
        except (ActorDeadError, ForkedError):
            self._over = True
        if self._period_s is not None and not self._over:
            now = self._clock.monotonic()
            late = max(0.0, now - self._due)
            self._due += self._period_s * (1 + math.floor(late / self._period_s))
            try:
                self._handle = self._clock.call_later(max(0.0, self._due - now), self._fire)
            except HubClosedError:
                self._over = True


def tell_after(
    ref: GreenRef[Any],
    seconds: float,
    message: Any,
    *,
    lane: Lane = Lane.WORK,
    clock: Timekeeper | None = None,
) -> MessageTimer:
    """Tell an actor something in ``seconds``. From any thread.

    :raises HubClosedError: the actor's hub is closed.
    """
    clock = clock_of(ref.actor_inbox.dispatcher) if clock is None else clock
    return MessageTimer(ref, message, lane, clock, seconds, None)


def tell_every(
    ref: GreenRef[Any],
    period_s: float,
    message: Any,
    *,
    lane: Lane = Lane.WORK,
    clock: Timekeeper | None = None,
) -> MessageTimer:
    """Tell an actor the same every ``period_s`` seconds, first in one period. From any thread.

    :raises ValueError: the period is not positive.
    :raises HubClosedError: the actor's hub is closed.
    """
    if not period_s > 0:
        raise ValueError(f"a period may not be {period_s!r} s")
    clock = clock_of(ref.actor_inbox.dispatcher) if clock is None else clock
    return MessageTimer(ref, message, lane, clock, period_s, period_s)
