"""The timers of one session, each known by its name; arming one again replaces it."""

from __future__ import annotations

from collections.abc import Callable

from ..runtime.clock import TimerHandle, Timers


class NamedTimers:
    """The pending timers.

    :param timers: what calls later.
    :param fired: told the name of each that is due.
    """

    def __init__(self, timers: Timers, fired: Callable[[str], None]) -> None:
        self._timers = timers
        self._fired = fired
        self._pending: dict[str, TimerHandle] = {}

    def arm(self, name: str, seconds: float) -> None:
        """Have it fire in ``seconds``, instead of when it was to fire before."""
        self.disarm(name)
        self._pending[name] = self._timers.call_later(seconds, self._fire, name)

    def disarm(self, name: str) -> None:
        """Forget it; one that is not armed is left alone."""
        timer = self._pending.pop(name, None)
        if timer is not None:
            timer.cancel()

    def disarm_all(self) -> None:
        """Forget all of them."""
        for name in list(self._pending):
            self.disarm(name)

    def _fire(self, name: str) -> None:
        self._pending.pop(name, None)
        self._fired(name)
