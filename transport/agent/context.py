"""How long a call may take, and whether its caller still wants it (04 conventions)."""

from __future__ import annotations

import time

import gevent
from gevent.event import AsyncResult, Event


class CallContext:
    """A deadline and a cancellation, handed down through the waits of one call.

    :param deadline: on the monotonic clock, in seconds; ``None`` for no limit.
    :param cancelled: set when the caller gave up; made when absent.
    """

    __slots__ = ("cancelled", "cause", "deadline")

    def __init__(self, deadline: float | None = None, cancelled: Event | None = None) -> None:
        self.deadline = deadline
        self.cancelled = Event() if cancelled is None else cancelled
        self.cause: Exception | None = None

    @classmethod
    def after(cls, seconds: float | None) -> CallContext:
        """A context that ends ``seconds`` from now; ``None`` for no limit."""
        return cls(None if seconds is None else time.monotonic() + seconds)

    def remaining(self) -> float | None:
        """Seconds left, never negative; ``None`` for no limit."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def cancel(self, cause: Exception) -> None:
        """Wake every wait; they raise ``cause``. Only the first call counts."""
        if not self.cancelled.is_set():
            self.cause = cause
            self.cancelled.set()

    def error(self) -> Exception | None:
        """What ended the context: the cause, a :class:`TimeoutError`, or ``None`` so far."""
        if self.cancelled.is_set():
            return self.cause or TimeoutError("the call was cancelled")
        if self.remaining() == 0:
            return TimeoutError("the deadline of the call has passed")
        return None

    def check(self) -> None:
        """Raise what ended the context, if anything.

        :raises TimeoutError: the deadline has passed.
        """
        error = self.error()
        if error is not None:
            raise error

    def wait(self, event: Event | AsyncResult, seconds: float | None = None) -> bool:
        """Wait for ``event``, at most ``seconds`` and no longer than the context lasts.

        Never raises for the context: whoever must clean up first decides when to :meth:`check`.

        :returns: whether the event is set, or the result there.
        """
        left = self.remaining()
        limits = [limit for limit in (left, seconds) if limit is not None]
        if not event.ready():
            gevent.wait((event, self.cancelled), timeout=min(limits, default=None), count=1)
        return bool(event.ready())
