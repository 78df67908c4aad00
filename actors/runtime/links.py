"""Links: two actors that end together when one of them ends badly.

Rules it owns: a normal end breaks the link and harms nobody; any other kills the other one, which
its monitors see as ``killed`` by a :class:`LinkBrokenError` with the first one's error as cause.
"""

from __future__ import annotations

from typing import Any

from .errors import LinkBrokenError
from .monitor import Down, Monitor
from .ref import GreenRef

__all__ = ["Link", "link"]


class Link:
    """A link between two actors, made by :func:`link`."""

    __slots__ = ("_monitors",)

    def __init__(self, one: GreenRef[Any], other: GreenRef[Any]) -> None:
        self._monitors: tuple[Monitor, ...] = ()
        self._monitors = (
            one.monitor(lambda down: self._broken(down, other)),
            other.monitor(lambda down: self._broken(down, one)),
        )

    def cancel(self) -> None:
        """Unlink. A second time it does nothing."""
        monitors, self._monitors = self._monitors, ()
        for monitor in monitors:
            monitor.cancel()

    def _broken(self, down: Down, survivor: GreenRef[Any]) -> None:
        self.cancel()
        if not down.reason.normal:
            error = LinkBrokenError(down.ref.actor_urn)
            error.__cause__ = down.error
            survivor.kill(error)


def link(one: GreenRef[Any], other: GreenRef[Any]) -> Link:
    """Link two actors, of whatever hubs; one that has ended badly takes the other along at once.

    :raises ForkedError: one lives in the parent process.
    """
    return Link(one, other)
